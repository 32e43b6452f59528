"""The footprints of a scene's buildings as GeoJSON, in the form that `scenes import` reads.

A scene's metric frame has no place on earth: it is laid around an origin, by default where its
import had it, else at longitude and latitude 0, by the projection that an import uses.
"""

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from raymark.errors import ConfigError, SceneError
from raymark.scenes.degrading.report import RECORD as DEGRADED_RECORD
from raymark.scenes.degrading.report import DegradeReport
from raymark.scenes.importing.buildings import Building
from raymark.scenes.importing.local_frame import LocalFrame
from raymark.scenes.importing.report import FrameRecord, ImportReport
from raymark.scenes.importing.scene_folder import RECORD
from raymark.scenes.roofs import (
    STEEPEST,
    Prism,
    Triangles,
    corner_numbers,
    cut_prisms,
    plan_normal,
)
from raymark.scenes.scene import Scene
from raymark.scenes.scene_meshes import GroundSurface, SceneMesh, are_ground, read_meshes
from raymark.storage import require_file, write_text

TOLERANCE_M = 0.5
"""Largest difference between a sloped roof and the pieces that stand for it."""

_LEAST_HEIGHT_M = 0.05
_PART_OF_NAME = re.compile(r"[-_](itu[-_]\w+|roofs?|walls?)$")
_OVERLAP_M2 = 0.01


def export_footprints(
    scene: Scene,
    out: Path,
    *,
    origin: tuple[float, float] | None = None,
    tolerance_m: float = TOLERANCE_M,
    overwrite: bool = False,
) -> int:
    """Write the footprints of a scene's buildings as GeoJSON; return their number.

    Args:
        scene: Any scene.
        out: File to write.
        origin: Longitude and latitude of the point (0, 0) [deg]; that of its import, or 0, 0.
        tolerance_m: Largest difference between a sloped roof and its pieces [m].
        overwrite: Replace the file if it is there.

    Raises:
        SceneError: If the geometry cannot be read, or has no ground or no building.
        DatasetError: If the file exists or cannot be written.
    """
    require_file(out, overwrite=overwrite)
    frame = scene_frame(scene, origin)
    buildings = scene_buildings(scene, tolerance_m=tolerance_m)
    write_text(out, to_geojson(buildings, scene, frame))
    return len(buildings)


def scene_buildings(scene: Scene, *, tolerance_m: float = TOLERANCE_M) -> tuple[Building, ...]:
    """Return the buildings of a scene; those that stack or overlap are parts.

    Args:
        scene: Any scene.
        tolerance_m: Largest difference between a sloped roof and its pieces [m].

    Raises:
        SceneError: If the geometry cannot be read, or has no ground or no building.
    """
    where = f"scene '{scene.name}'"
    with tempfile.TemporaryDirectory(prefix="raymark-") as workspace:
        xml_path = scene.xml_path(Path(workspace))
        try:
            meshes = read_meshes(xml_path)
        except SceneError as error:  # a dataset keeps the sentence: it must not name our folders
            text = str(error).replace(f"{xml_path.parent}/", "")
            raise SceneError(f"{where}: {text}") from error
    return find_buildings(meshes, where=where, tolerance_m=tolerance_m)


def scene_frame(scene: Scene, origin: tuple[float, float] | None = None) -> LocalFrame:
    """Return where a scene's frame lies on earth: at a given origin, as recorded, or at 0, 0."""
    frame = recorded_frame(scene)
    if origin is None and frame is not None:
        origin = (frame.origin_lon_deg, frame.origin_lat_deg)
    lon_deg, lat_deg = origin or (0.0, 0.0)
    return LocalFrame(origin_lon_deg=lon_deg, origin_lat_deg=lat_deg)


def recorded_frame(scene: Scene) -> FrameRecord | None:
    """Return where on earth the record of a scene's making says that it lies, if one does."""
    imported, degraded = scene.folder / RECORD, scene.folder / DEGRADED_RECORD
    if imported.is_file():
        return ImportReport.model_validate_json(imported.read_bytes()).frame
    if degraded.is_file():
        return DegradeReport.model_validate_json(degraded.read_bytes()).frame
    return None


def parse_origin(text: str) -> tuple[float, float]:
    """Read "longitude,latitude" [deg].

    Raises:
        ConfigError: If these are not two numbers in range.
    """
    try:
        lon_deg, lat_deg = (float(part) for part in text.split(","))
    except ValueError:
        lon_deg, lat_deg = np.nan, np.nan
    # Written so that a NaN fails too; beyond 85 degrees a map's box is no box in metres any more.
    if not (abs(lon_deg) <= 180 and abs(lat_deg) <= 85):
        raise ConfigError(
            f"--origin '{text}' must be longitude,latitude in degrees, within +-180 and +-85, "
            "such as 11.5755,48.1374"
        )
    return lon_deg, lat_deg


def find_buildings(
    meshes: Sequence[SceneMesh], *, where: str, tolerance_m: float = TOLERANCE_M
) -> tuple[Building, ...]:
    """Return the buildings of a scene; those that stack or overlap are parts.

    Meshes that differ by the ending of their names alone, "-roof", "-wall" or "-itu_marble", are
    one object: where a roof has nothing below it, it reaches down to the lowest point of that.

    Args:
        meshes: All meshes.
        where: What errors name.
        tolerance_m: Largest difference between a sloped roof and its pieces [m].

    Raises:
        SceneError: If there is no ground or no building.
    """
    ground = [mesh for mesh, is_it in zip(meshes, are_ground(meshes), strict=True) if is_it]
    objects: dict[str, list[SceneMesh]] = defaultdict(list)
    for mesh in meshes:
        if not any(mesh is other for other in ground):
            objects[object_name(mesh)].append(mesh)
    if not ground or not objects:
        missing = "no building" if ground else "no mesh that is its ground"
        raise SceneError(f"{where} has {missing}; it has: {_names(meshes)}")
    surface = GroundSurface(np.concatenate([mesh.triangles for mesh in ground]))
    found = [
        building
        for name, parts in objects.items()
        for building in object_buildings(name, parts, surface, tolerance_m=tolerance_m)
    ]
    if not found:
        raise SceneError(f"{where}: no mesh has a roof above the ground; it has: {_names(meshes)}")
    return _mark_parts(found)


def object_name(mesh: SceneMesh) -> str:
    """Return the name that a mesh shares with the others of its object."""
    return _PART_OF_NAME.sub("", mesh.name)


def object_buildings(
    name: str, parts: Sequence[SceneMesh], ground: GroundSurface, *, tolerance_m: float
) -> Iterator[Building]:
    """Yield the buildings, or their pieces, that the meshes of one object are of.

    Args:
        name: Of the object; pieces have their number behind it.
        parts: Its meshes.
        ground: What it stands on.
        tolerance_m: Largest difference between a sloped roof and its pieces [m].
    """
    triangles = np.concatenate([part.triangles for part in parts])
    material = np.repeat([part.material for part in parts], [len(p.triangles) for p in parts])
    prisms = cut_prisms(triangles, tolerance_m=tolerance_m)
    # What stacks counts from the same ground, lest its layers come apart on a slope.
    stacks = len({prism.bottom_m for prism in prisms}) > 1
    grounds_m = [ground.range_below(prism.footprint) for prism in prisms]
    shared_m = min((low for low, _ in grounds_m), default=0.0)
    walls = _Walls(triangles, material)
    for i, (prism, (low_m, high_m)) in enumerate(zip(prisms, grounds_m, strict=True)):
        ground_m = shared_m if stacks else low_m
        if prism.top_m - ground_m < _LEAST_HEIGHT_M:
            continue
        roofs = Counter(material[prism.roof].tolist())
        # What touches the ground on one side of a slope stands on it, and does not hover.
        hovers = prism.bottom_m >= high_m + _LEAST_HEIGHT_M
        yield Building(
            id=name if len(prisms) == 1 else f"{name}/{i}",
            footprint=prism.footprint,
            bottom_m=round(prism.bottom_m - ground_m, 2) if hovers else 0.0,
            top_m=round(prism.top_m - ground_m, 2),
            ground_m=round(ground_m, 2),
            height_source="surveyed",
            wall_material=walls.material_at(prism) or roofs.most_common(1)[0][0],
            roof_material=roofs.most_common(1)[0][0],
        )


def to_geojson(buildings: Sequence[Building], scene: Scene, frame: LocalFrame) -> str:
    """Return buildings as GeoJSON (RFC 7946), one feature per line."""
    settings = scene.settings
    head = {
        "type": "FeatureCollection",
        "source": f"scene '{scene.name}' ({settings.source})",
        "licence": settings.licence,
        "attribution": settings.attribution,
        "origin_deg": [frame.origin_lon_deg, frame.origin_lat_deg],
    }
    lines = ",\n".join(json.dumps(_feature(building, frame)) for building in buildings)
    return f'{json.dumps(head)[:-1]}, "features": [\n{lines}\n]}}\n'


def _names(meshes: Sequence[SceneMesh]) -> str:
    names = [mesh.name for mesh in meshes]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class _Walls:
    """What the walls of an object are made of."""

    def __init__(self, triangles: Triangles, material: np.ndarray) -> None:
        is_wall = np.abs(plan_normal(triangles)) <= STEEPEST
        self._corner = corner_numbers(triangles)
        self._wall_corner, self._material = self._corner[is_wall], material[is_wall]
        sides = triangles[is_wall]
        normal = np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0])
        self._area_m2 = np.linalg.norm(normal, axis=1) / 2

    def material_at(self, prism: Prism) -> str:
        """Return the material of most of the walls that meet a roof, else of the object's walls."""
        meets = np.isin(self._wall_corner, self._corner[prism.roof]).any(axis=1)
        rows = np.flatnonzero(meets) if meets.any() else np.arange(len(self._material))
        area_m2: Counter[str] = Counter()
        for name in np.unique(self._material[rows]).tolist():
            area_m2[name] = self._area_m2[rows][self._material[rows] == name].sum()
        return area_m2.most_common(1)[0][0] if area_m2 else ""


def _mark_parts(buildings: Sequence[Building]) -> tuple[Building, ...]:
    """Mark as parts what hovers, what overlaps that, what overlaps this, and so on.

    A map's outline gives way to the parts that lie within it, but parts never to each other.
    """
    shapes = np.array([building.footprint for building in buildings], dtype=object)
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, other = one[one < other], other[one < other]  # each pair once
    overlaps = shapely.area(shapely.intersection(shapes[one], shapes[other])) > _OVERLAP_M2
    links = (overlaps[overlaps], (one[overlaps], other[overlaps]))
    graph = coo_array(links, shape=(len(shapes), len(shapes)))
    _, stack = connected_components(graph, directed=False)
    hovers = np.array([building.bottom_m > 0 for building in buildings])
    is_part = np.isin(stack, stack[hovers])
    return tuple(
        replace(building, is_part=part)
        for building, part in zip(buildings, is_part.tolist(), strict=True)
    )


def _feature(building: Building, frame: LocalFrame) -> dict[str, Any]:
    tags: dict[str, Any] = {"building:part" if building.is_part else "building": "yes"}
    tags["height"] = building.top_m
    if building.bottom_m > 0:
        tags["min_height"] = building.bottom_m
    tags["building:material"] = building.wall_material
    tags["roof:material"] = building.roof_material
    # RFC 7946 asks for seven decimals or fewer, 1 cm; another one keeps the corners of neighbours.
    geometry = shapely.transform(
        shapely.orient_polygons(building.footprint), lambda xy: _lonlat(frame, xy)
    )
    return {
        "type": "Feature",
        "id": building.id,
        "properties": tags,
        "geometry": shapely.geometry.mapping(geometry),
    }


def _lonlat(frame: LocalFrame, xy_m: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
    return np.round(frame.to_lonlat(xy_m), 8)
