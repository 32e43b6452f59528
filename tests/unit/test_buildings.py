"""Buildings in a dataset: what is stored comes back, and is what stands in the scene."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
import trimesh

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.buildings import (
    BuildingPart,
    Buildings,
    HeightMap,
    buildings_file,
    read_buildings,
    write_buildings,
)
from raymark.dataset.manifest import MANIFEST_NAME, read_manifest, write_manifest
from raymark.dataset.verification import verify_dataset
from raymark.errors import DatasetError, SchemaError
from raymark.plots.inspection import inspect_dataset, num_figures

WriteScene = Callable[..., Path]
TracePoints = Callable[..., Dataset]

SQUARE_M = np.array([[0.0, 0.0], [20.0, 0.0], [20.0, 20.0], [0.0, 20.0]])


def part(**changes: object) -> BuildingPart:
    values: dict[str, object] = {
        "building": 0,
        "rings_m": (SQUARE_M, 5.0 + SQUARE_M[::-1] / 4),
        "ground_m": 500.5,
        "bottom_m": 0.0,
        "top_m": 12.25,
        "wall_material": "concrete",
        "roof_material": "metal",
    }
    return BuildingPart(**{**values, **changes})  # type: ignore[arg-type]


def buildings(*parts: BuildingPart, note: str = "") -> Buildings:
    heights = HeightMap(
        height_m=np.array([[0.0, 12.25, 0.5], [3.0, 0.0, 0.0]]),
        x_m=np.linspace(-1.0, 2.0, 4),
        y_m=np.linspace(0.0, 2.0, 3),
    )
    return Buildings(
        heights=heights, parts=parts, licence="ODbL-1.0", attribution="(c) Jürgen", note=note
    )


def as_data(found: Buildings) -> object:
    """Return plain values, which can be compared."""
    return json.loads(json.dumps(dataclasses.asdict(found), default=np.ndarray.tolist))


@pytest.mark.parametrize(
    "stored",
    [
        buildings(),
        buildings(note="scene 'x' has no building; it has: ground"),
        buildings(part(), part(building=1, bottom_m=3.5, rings_m=(SQUARE_M[:3],))),
    ],
    ids=["empty", "none found", "two"],
)
def test_buildings_come_back_when_written(tmp_path: Path, stored: Buildings) -> None:
    sha256 = write_buildings(tmp_path, "yard", stored)

    found = read_buildings(tmp_path / "buildings" / "yard.h5", sha256)

    assert as_data(found) == as_data(stored)
    assert write_buildings(tmp_path / "again", "yard", stored) == sha256


def test_buildings_are_refused_when_the_file_is_another(tmp_path: Path) -> None:
    sha256 = write_buildings(tmp_path, "yard", buildings(part()))
    write_buildings(tmp_path, "yard", buildings(part(top_m=13.0)))

    with pytest.raises(SchemaError, match=r"yard\.h5: the file differs from the manifest"):
        read_buildings(tmp_path / buildings_file("yard"), sha256)


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"top_m": np.nan}, "part/top_m"), ({"rings_m": (SQUARE_M + np.inf,)}, "point/position_m")],
)
def test_buildings_are_refused_when_a_value_is_not_finite(
    tmp_path: Path, changes: dict[str, object], place: str
) -> None:
    with pytest.raises(SchemaError, match=f"{place} holds values that are not finite"):
        write_buildings(tmp_path, "yard", buildings(part(**changes)))
    assert not (tmp_path / buildings_file("yard")).exists()


def test_buildings_are_refused_when_a_ring_has_two_points(tmp_path: Path) -> None:
    sha256 = write_buildings(tmp_path, "yard", buildings(part(rings_m=(SQUARE_M[:2],))))

    with pytest.raises(SchemaError, match="point_offset does not divide the rows of point"):
        read_buildings(tmp_path / buildings_file("yard"), sha256)


def test_dataset_has_the_walls_of_its_scene_when_generated(benchmark_dataset: Dataset) -> None:
    """The yard of the tests: three boxes of 2 m by 30 m, 25 m high, each a mesh of its own."""
    found = benchmark_dataset.buildings("yard")

    assert found is not None
    assert (found.licence, found.attribution, found.note) == ("CC0-1.0", "none", "")
    assert sorted(item.building for item in found.parts) == [0, 1, 2]
    boxes = sorted(shapely.box(*shapely.Polygon(p.rings_m[0]).bounds).bounds for p in found.parts)
    assert boxes == [(-20, -20, -18, 10), (0, -15, 2, 15), (20, -10, 22, 20)]
    for item in found.parts:
        assert (item.ground_m, item.bottom_m, item.top_m) == (0.0, 0.0, 25.0)
        assert (item.wall_material, item.roof_material) == ("concrete", "concrete")
        assert shapely.LinearRing(item.rings_m[0]).is_ccw


def test_heights_are_those_of_the_outlines_when_every_roof_is_level(
    small_dataset: Dataset,
) -> None:
    """Two ways that share nothing: rays from above, and roofs that were cut out of meshes."""
    found = small_dataset.buildings("street_canyon")

    assert found is not None
    assert len({item.building for item in found.parts}) == len(found.parts) == 16
    heights = found.heights
    x_m, y_m = np.meshgrid(*((e[1:] + e[:-1]) / 2 for e in (heights.x_m, heights.y_m)))
    expected_m = np.zeros(heights.height_m.shape)
    for item in found.parts:
        is_within = shapely.contains_xy(shapely.Polygon(item.rings_m[0]), x_m, y_m)
        expected_m = np.where(is_within, item.top_m, expected_m)
    assert expected_m.max() > 10.0
    # Tops are stored to a centimetre.
    np.testing.assert_allclose(heights.height_m, expected_m, atol=6e-3)


def test_heights_count_from_the_ground_when_it_lies_high(
    write_scene: WriteScene, trace_points: TracePoints
) -> None:
    corners = np.array([[-100, -100], [100, -100], [100, 100], [-100, 100]])
    ground = trimesh.Trimesh(
        vertices=np.column_stack([corners, np.full(4, 300.0)]),
        faces=[[0, 1, 2], [0, 2, 3]],
        process=False,
    )
    arch = trimesh.creation.box(bounds=[[20, 20, 304], [40, 30, 312]])
    site = {"name": "bs0", "position_m": [0.0, 0.0, 310.0], "azimuth_deg": 0.0}
    scene = write_scene(
        "plateau", {"ground": (ground, "concrete"), "arch": (arch, "brick")}, [site]
    )

    found = trace_points(scene, [[10.0, 0.0, 301.5]], bands=("6GHz",)).buildings("plateau")

    assert found is not None
    (item,) = found.parts
    assert (item.ground_m, item.bottom_m, item.top_m) == (300.0, 4.0, 12.0)
    assert item.wall_material == "brick"
    assert found.heights.height_m.max() == pytest.approx(12.0, abs=1e-3)


def test_dataset_is_made_and_says_why_when_its_scene_has_no_building(
    two_site_dataset: Dataset,
) -> None:
    found = two_site_dataset.buildings("two_sites")

    assert found is not None
    assert found.parts == ()
    assert found.note == "scene 'two_sites' has no building; it has: ground"
    assert not found.heights.height_m.any()


def test_dataset_is_made_and_says_so_when_no_outline_can_be_found(
    write_scene: WriteScene, trace_points: TracePoints
) -> None:
    """The ground is a block, which is none to the search for outlines."""
    box = trimesh.creation.box(bounds=[[20, 20, 0], [40, 30, 12]])
    floor = trimesh.creation.box(bounds=[[-100, -100, -1], [100, 100, 0]])
    site = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 0.0}
    scene = write_scene("block", {"ground": (floor, "concrete"), "box": (box, "brick")}, [site])

    found = trace_points(scene, [[10.0, 0.0, 1.5]], bands=("6GHz",)).buildings("block")

    assert found is not None
    assert found.parts == ()
    assert found.note == "scene 'block' has no mesh that is its ground; it has: ground, box"
    assert found.heights.height_m.max() == pytest.approx(13.0, abs=1e-3)  # the floor has a depth


def test_dataset_refuses_a_scene_that_it_does_not_have(small_dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no scene 'street'; did you mean 'street_canyon'"):
        small_dataset.buildings("street")


@pytest.mark.slow
def test_dataset_of_an_older_version_is_read_and_drawn_when_it_has_no_buildings(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    """Its manifest does not know of buildings, and its seal fits all the same."""
    folder = tmp_path / "old"
    shutil.copytree(small_dataset.folder, folder, ignore=shutil.ignore_patterns("buildings"))
    write_manifest(folder, read_manifest(folder).model_copy(update={"buildings": {}}))
    assert "buildings" not in json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))

    found = open_dataset(folder)

    assert found.buildings("street_canyon") is None
    assert verify_dataset(folder) == []
    figures = inspect_dataset(found, tmp_path / "figures")
    # A typical link of each label is drawn, at every band.
    examples = {path.stem for path in figures if path.stem.startswith("link_")}
    assert examples == {
        f"link_{label}_street_canyon_{band}" for label in ("los", "nlos") for band in found.bands
    }
    assert len(figures) == num_figures(found)
