"""No ray from inside a building of an imported scene gets out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import shapely
import trimesh

from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import FrontEnd
from raymark.scenes import get_scene
from raymark.scenes.importing import ImportOptions, import_scene
from raymark.scenes.importing.local_frame import WGS84, LocalFrame

NUM_RAYS = 4000
NUM_SAMPLES = 24
INSIDE_M = 0.3
"""Rays start so far inside."""
TOLERANCE_M = 0.03
"""Outlines move to a grid of 1 cm twice, and float32 rounds hits within 500 m to 3e-5 m."""
SLOPE = (0.05, -0.03)

FRAME = LocalFrame(origin_lon_deg=11.0, origin_lat_deg=48.0)


@dataclass(frozen=True)
class House:
    """A part of a building, in the frame; heights count from the lowest point of `plot`."""

    outline: shapely.Polygon
    bottom_m: float
    top_m: float
    plot: shapely.Polygon | None = None


def town() -> list[House]:
    """Rows that share walls, overlaps at angles, a courtyard, a passage, a contact in a corner."""
    rng = np.random.default_rng(1)
    turned = [
        shapely.affinity.rotate(shapely.box(x, 0, x + 9, 12 + x % 4), 17, origin=(0, 0))
        for x in range(0, 108, 9)
    ]
    houses = [House(outline, 0.0, float(rng.uniform(6, 25))) for outline in turned]
    for _ in range(14):
        x, y = rng.uniform((-90, -90), (60, -10))
        outline = shapely.affinity.rotate(shapely.box(x, y, x + 22, y + 13), rng.uniform(0, 90))
        houses.append(House(outline, 0.0, float(rng.uniform(6, 25))))
    court = shapely.box(-90, 40, -50, 80).difference(shapely.box(-78, 52, -62, 68))
    houses += [House(court, 0.0, 18.0), House(shapely.box(-50, 80, -35, 95), 0.0, 11.0)]
    gate = [(0.0, 15.0, 0.0), (15.0, 27.0, 5.0), (27.0, 40.0, 0.0)]
    plot = shapely.box(-120, 0, -80, 14)
    houses += [House(shapely.box(-120 + a, 0, -120 + b, 14), low, 16.0, plot) for a, b, low in gate]
    return houses


def base_m(house: House, *, is_sloping: bool) -> float:
    """The lowest ground of a plane lies below a corner of the outline."""
    corners = shapely.get_coordinates(house.plot or house.outline)
    return float((corners @ SLOPE).min()) if is_sloping else 0.0


def write_map(folder: Path, houses: list[House]) -> Path:
    features = []
    for i, house in enumerate(houses):
        outline = shapely.transform(house.outline, FRAME.to_lonlat)
        tags = {"height": f"{house.top_m:.2f}", "min_height": f"{house.bottom_m:g}"}
        kind = "building:part" if house.bottom_m else "building"
        features.append(
            {
                "type": "Feature",
                "id": f"way/{i}",
                "properties": {kind: "yes", **tags},
                "geometry": json.loads(shapely.to_geojson(outline)),
            }
        )
    path = folder / "town.geojson"
    collection = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(collection), encoding="utf-8")
    return path


def write_slope(folder: Path) -> Path:
    """A plane in the frame; its CRS is the frame's own."""
    x, y = np.arange(-400, 401, 10.0), np.arange(-400, 401, 10.0)[::-1]
    heights = 500 + SLOPE[0] * x[None] + SLOPE[1] * y[:, None]
    rows = "\n".join(" ".join(f"{h:.9f}" for h in row) for row in heights)
    path = folder / "slope.asc"
    head = f"ncols {len(x)}\nnrows {len(y)}\nxllcenter -400\nyllcenter -400\ncellsize 10\n"
    path.write_text(f"{head}{rows}\n", encoding="ascii")
    path.with_suffix(".prj").write_text(FRAME.crs.to_wkt(), encoding="utf-8")
    return path


Imported = Callable[[bool], tuple[Path, list[House]]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """Import the town on a plane or a slope: its folder, and its parts in the scene's frame."""

    def make(is_sloping: bool) -> tuple[Path, list[House]]:
        folder = tmp_path_factory.mktemp("town")
        houses = town()
        terrain = write_slope(folder) if is_sloping else None
        source = write_map(folder, houses)
        options = ImportOptions(terrain=terrain, terrain_spacing_m=25.0)
        report = import_scene(source, name="town", out=folder, options=options)
        assert report.num_buildings == len(houses)
        frame = LocalFrame(
            origin_lon_deg=report.frame.origin_lon_deg, origin_lat_deg=report.frame.origin_lat_deg
        )
        x0, y0, x1, y1 = report.extent_m
        corners = FRAME.project_points(
            frame.to_lonlat(np.array([[x, y] for x in (x0, x1) for y in (y0, y1)])), WGS84
        )
        lowest = (corners @ SLOPE).min() if is_sloping else 0.0
        placed = []
        for house in houses:
            lonlat = shapely.transform(house.outline, FRAME.to_lonlat)
            base = base_m(house, is_sloping=is_sloping) - lowest * is_sloping
            bottom = base + (house.bottom_m or -0.1)
            placed.append(House(frame.project(lonlat, WGS84), bottom, base + house.top_m))
        return folder / "town", placed

    return make


def is_inside(points_m: np.ndarray, houses: list[House]) -> np.ndarray:
    """Whether points lie in any part, within the tolerance."""
    inside = np.zeros(len(points_m), dtype=bool)
    x, y, z = points_m.T
    for house in houses:
        within = (z > house.bottom_m - TOLERANCE_M) & (z < house.top_m + TOLERANCE_M)
        inside |= within & shapely.contains_xy(house.outline.buffer(TOLERANCE_M), x, y)
    return inside


def draw_inside(houses: list[House], rng: np.random.Generator) -> np.ndarray:
    """Points of a random part each, well off its walls, and above the ground."""
    points = []
    while len(points) < NUM_RAYS:
        house = houses[rng.integers(len(houses))]
        x0, y0, x1, y1 = house.outline.bounds
        x, y = rng.uniform((x0, y0), (x1, y1))
        if shapely.contains_xy(house.outline.buffer(-INSIDE_M), x, y):
            points.append((x, y, rng.uniform(house.bottom_m + INSIDE_M, house.top_m - INSIDE_M)))
    return np.array(points)


def num_leaks(folder: Path, houses: list[House]) -> int:
    """Count the rays from inside of which a point before their end lies outside."""
    rng = np.random.default_rng(2)
    origin = draw_inside(houses, rng)
    direction = rng.normal(size=origin.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    loaded = LoadedScene(get_scene(str(folder)).xml_path(folder), FrontEnd())
    distance, _ = loaded.hit_distance(origin, direction)
    # A ray that hits nothing is followed for 1 km.
    share = np.linspace(0, 1, NUM_SAMPLES) * np.minimum(distance, 1000.0)[:, None]
    points = origin[:, None] + share[..., None] * direction[:, None]
    inside = is_inside(points.reshape(-1, 3), houses).reshape(NUM_RAYS, NUM_SAMPLES)
    return int((~inside.all(axis=1)).sum())


@pytest.mark.parametrize("is_sloping", [False, True], ids=["plane", "slope"])
def test_no_ray_gets_out_when_it_starts_in_a_building(imported: Imported, is_sloping: bool) -> None:
    folder, houses = imported(is_sloping)

    assert num_leaks(folder, houses) == 0


def test_rays_get_out_when_a_wall_is_missing(imported: Imported) -> None:
    """The test above can fail."""
    folder, houses = imported(False)
    path = folder / "meshes" / "concrete_buildings.ply"
    mesh = trimesh.load_mesh(path, process=False)
    largest = np.argsort(-mesh.area_faces)[:2]
    mesh.update_faces(~np.isin(np.arange(len(mesh.faces)), largest))
    mesh.export(path)

    assert num_leaks(folder, houses) > 0
