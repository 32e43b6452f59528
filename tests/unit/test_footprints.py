"""Footprints of a scene: prisms below roofs, heights above ground, GeoJSON that an import reads."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import trimesh

from raymark.errors import ConfigError, DatasetError, SceneError
from raymark.scenes import Scene
from raymark.scenes.footprints import (
    export_footprints,
    find_buildings,
    parse_origin,
    scene_frame,
)
from raymark.scenes.importing import ImportOptions, import_scene
from raymark.scenes.importing.buildings import Building
from raymark.scenes.importing.local_frame import WGS84
from raymark.scenes.importing.material_rules import read_rules
from raymark.scenes.roofs import cut_prisms
from raymark.scenes.scene_meshes import SceneMesh, read_meshes

WriteScene = Callable[..., Path]

WELD_TOLERANCE_M2 = 0.01
"""Areas of some 100 m2 whose corners lie on a grid of 1 mm."""


def box(x: float, y: float, z: float, width: float, depth: float, height: float) -> np.ndarray:
    bounds = [[x, y, z], [x + width, y + depth, z + height]]
    return np.asarray(trimesh.creation.box(bounds=bounds).triangles)


def sheet(*corners: tuple[float, float, float]) -> np.ndarray:
    """Triangles of a convex polygon."""
    first, *rest = np.array(corners, dtype=float)
    return np.array([[first, a, b] for a, b in itertools.pairwise(rest)])


def plane(slope: float = 0.0) -> np.ndarray:
    """Ground of 200 m around the origin that rises eastwards."""
    return sheet(
        *[(x, y, slope * x) for x, y in ((-100, -100), (100, -100), (100, 100), (-100, 100))]
    )


def mesh(name: str, triangles: np.ndarray, material: str = "concrete") -> SceneMesh:
    return SceneMesh(name=name, material=material, triangles=triangles)


def buildings(*meshes: SceneMesh, slope: float = 0.0) -> tuple[Building, ...]:
    return find_buildings([mesh("ground", plane(slope)), *meshes], where="test")


def gable(eaves_m: float, ridge_m: float) -> np.ndarray:
    """A house of 20 m x 10 m, open at the bottom, whose ridge runs along y = 5 m."""
    roof = [
        sheet((0, 0, eaves_m), (20, 0, eaves_m), (20, 5, ridge_m), (0, 5, ridge_m)),
        sheet((0, 5, ridge_m), (20, 5, ridge_m), (20, 10, eaves_m), (0, 10, eaves_m)),
    ]
    walls = [
        sheet((0, 0, 0), (20, 0, 0), (20, 0, eaves_m), (0, 0, eaves_m)),
        sheet((20, 10, 0), (0, 10, 0), (0, 10, eaves_m), (20, 10, eaves_m)),
    ]
    return np.concatenate([*roof, *walls])


def top_above(found: Any, xy_m: np.ndarray) -> np.ndarray:
    """Height of the highest prism above each point."""
    points = shapely.points(xy_m)
    tops = [np.where(shapely.contains(p.footprint, points), p.top_m, 0.0) for p in found]
    return np.max(tops, axis=0)


def test_box_is_one_footprint_when_it_stands_on_the_ground() -> None:
    (found,) = buildings(mesh("house", box(3, 4, 0, 10, 8, 12), "brick"))
    assert found.footprint.equals(shapely.box(3, 4, 13, 12))
    assert (found.id, found.bottom_m, found.top_m, found.is_part) == ("house", 0.0, 12.0, False)
    assert (found.wall_material, found.roof_material) == ("brick", "brick")


def test_walls_and_roof_keep_their_materials_when_they_are_meshes_of_one_object() -> None:
    house = gable(6.0, 6.0)
    meshes = [mesh("a-roof", house[:4], "metal"), mesh("a-wall", house[4:], "marble")]
    found = buildings(*meshes)
    assert {(b.wall_material, b.roof_material) for b in found} == {("marble", "metal")}
    assert {(b.bottom_m, b.top_m) for b in found} == {(0.0, 6.0)}


def test_houses_of_one_mesh_are_apart_when_they_do_not_share_edges() -> None:
    houses = np.concatenate([box(0, 0, 0, 10, 10, 5), box(30, 0, 0, 10, 10, 8)])
    assert sorted(b.top_m for b in buildings(mesh("houses", houses))) == [5.0, 8.0]


def test_terraced_houses_share_a_border_when_their_heights_differ() -> None:
    houses = np.concatenate([box(0, 0, 0, 10, 10, 5), box(10, 0, 0, 10, 10, 8)])
    one, other = sorted(buildings(mesh("houses", houses)), key=lambda b: b.top_m)
    assert one.footprint.equals(shapely.box(0, 0, 10, 10))
    assert other.footprint.equals(shapely.box(10, 0, 20, 10))


def test_deck_hovers_when_a_passage_leads_below_it() -> None:
    legs = [box(0, 0, 0, 4, 10, 10), box(8, 0, 0, 4, 10, 10)]
    arch = np.concatenate([*legs, box(4, 0, 4, 4, 10, 6)])
    found = buildings(mesh("arch", arch))
    assert sorted((b.bottom_m, b.top_m, b.is_part) for b in found) == [
        (0.0, 10.0, False),
        (4.0, 10.0, True),
    ]
    assert sorted(b.footprint.area for b in found) == [40.0, 80.0]


def test_storeys_are_parts_of_their_own_when_one_hovers_above_another() -> None:
    tower = np.concatenate([box(0, 0, 0, 10, 10, 3), box(2, 2, 6, 6, 6, 10)])
    found = buildings(mesh("tower", tower))
    assert sorted((b.bottom_m, b.top_m, b.is_part) for b in found) == [
        (0.0, 3.0, True),
        (6.0, 16.0, True),
    ]


@pytest.mark.parametrize("tolerance_m", [0.25, 0.5, 1.0])
def test_sloped_roof_keeps_within_the_tolerance_when_it_is_cut(tolerance_m: float) -> None:
    found = cut_prisms(gable(6.0, 11.0), tolerance_m=tolerance_m)
    xy_m = np.random.default_rng(0).uniform((0.1, 0.1), (19.9, 9.9), (500, 2))
    true_m = 11.0 - np.abs(xy_m[:, 1] - 5.0)
    # A point on the border of two steps belongs to neither by `contains`: allow a millimetre.
    assert np.abs(top_above(found, xy_m) - true_m).max() <= tolerance_m + 1e-3
    assert {p.bottom_m for p in found if p.top_m <= 6.0} == {0.0}


def test_layers_lie_on_each_other_when_a_roof_is_sloped() -> None:
    found = sorted(cut_prisms(gable(6.0, 11.0), tolerance_m=0.5), key=lambda p: p.top_m)
    assert [p.bottom_m for p in found] == [0.0, *[p.top_m for p in found[:-1]]]
    # Five layers of 1 m, each as wide as the roof is at its middle.
    areas = [p.footprint.area for p in found]
    assert areas == pytest.approx([200, 180, 140, 100, 60, 20], abs=WELD_TOLERANCE_M2)


def test_sloped_roof_is_one_prism_of_mean_height_when_the_tolerance_allows_it() -> None:
    (found,) = cut_prisms(gable(6.0, 7.0), tolerance_m=0.5)
    assert (found.bottom_m, found.top_m) == (0.0, pytest.approx(6.5))


def test_heights_count_from_the_lowest_ground_when_it_slopes() -> None:
    # The ground rises from 0 m to 1 m below the house, which stands on its upper side.
    (found,) = buildings(mesh("house", box(0, 0, 1, 10, 10, 8)), slope=0.1)
    assert (found.bottom_m, found.top_m) == (0.0, 9.0)


def test_house_hovers_when_it_is_above_all_ground_below_it() -> None:
    (found,) = buildings(mesh("house", box(0, 0, 3, 10, 10, 8)), slope=0.1)
    assert (found.bottom_m, found.top_m) == (3.0, 11.0)


@pytest.mark.parametrize(
    ("name", "is_ground"), [("Terrain", True), ("mesh_ground.001", True), ("Planetarium", False)]
)
def test_small_mesh_without_walls_is_ground_when_it_is_named_so(name: str, is_ground: bool) -> None:
    lawn = sheet((0, 0, 2), (20, 0, 2), (20, 20, 2), (0, 20, 2))
    house = mesh("house", box(30, 30, 0, 10, 10, 8))
    found = buildings(mesh(name, lawn), house)
    assert [b.id for b in found] == (["house"] if is_ground else [name, "house"])


def test_widest_mesh_without_walls_is_ground_when_no_name_tells() -> None:
    meshes = [mesh("x", plane()), mesh("house", box(0, 0, 0, 10, 10, 8))]
    assert [b.id for b in find_buildings(meshes, where="test")] == ["house"]


def test_scene_is_refused_when_it_has_no_ground_or_no_building() -> None:
    with pytest.raises(SceneError, match="no mesh that is its ground; it has: house"):
        find_buildings([mesh("house", box(0, 0, 0, 10, 10, 8))], where="scene 'a'")
    with pytest.raises(SceneError, match="scene 'a' has no building; it has: ground"):
        find_buildings([mesh("ground", plane())], where="scene 'a'")


@pytest.mark.parametrize("material", ["concrete", "brick", "marble", "wood", "glass", "metal"])
def test_import_gives_the_same_materials_when_they_are_exported(material: str) -> None:
    tags = {"building:material": material, "roof:material": material}
    assert read_rules().materials_of(tags) == (material, material)


@pytest.fixture
def scene(write_scene: WriteScene) -> Scene:
    house = trimesh.creation.box(bounds=[[0, 0, 0], [10, 20, 8]])
    ground = trimesh.Trimesh(**trimesh.triangles.to_kwargs(plane()))
    meshes = {"house": (house, "brick"), "ground": (ground, "concrete")}
    return Scene(write_scene("yard", meshes, []))


def test_file_holds_lengths_in_metres_around_the_origin_when_it_is_given(
    scene: Scene, tmp_path: Path
) -> None:
    out = tmp_path / "yard.geojson"
    assert export_footprints(scene, out, origin=(11.5, 48.0)) == 1
    document = json.loads(out.read_text(encoding="utf-8"))
    (feature,) = document["features"]
    assert feature["properties"] == {
        "building": "yes",
        "height": 8.0,
        "building:material": "brick",
        "roof:material": "brick",
    }
    assert (document["licence"], document["origin_deg"]) == ("CC0-1.0", [11.5, 48.0])
    outline = shapely.geometry.shape(feature["geometry"])
    placed = scene_frame(scene, (11.5, 48.0)).project(outline, WGS84)
    # Eight decimals of a degree are 1 mm.
    assert placed.hausdorff_distance(shapely.box(0, 0, 10, 20)) < 2e-3


def test_export_lies_where_its_map_lay_when_the_scene_was_imported(
    scene: Scene, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.geojson", tmp_path / "second.geojson"
    export_footprints(scene, first, origin=(11.5, 48.0))
    import_scene(first, name="again", out=tmp_path, options=ImportOptions())
    export_footprints(Scene(tmp_path / "again"), second)
    one, other = (
        shapely.geometry.shape(json.loads(file.read_text())["features"][0]["geometry"])
        for file in (first, second)
    )
    # Imported corners lie on a grid of 1 cm, 1.3e-7 degrees of longitude there.
    assert one.hausdorff_distance(other) < 2e-7


def test_file_stays_when_overwriting_is_not_asked_for(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "yard.geojson"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"yard\.geojson exists; choose another name"):
        export_footprints(scene, out)
    assert out.read_text(encoding="utf-8") == "mine"
    export_footprints(scene, out, overwrite=True)
    assert json.loads(out.read_text(encoding="utf-8"))["type"] == "FeatureCollection"


@pytest.mark.parametrize("text", ["11.5", "north,south", "181,0", "0,86", "nan,0", "1,2,3"])
def test_origin_is_refused_when_it_is_no_place(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--origin '{text}' must be longitude,latitude"):
        parse_origin(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('type="ply"', 'type="sphere"', "'mesh-house' is of type 'sphere', expected one of ply"),
        ("meshes/house.ply", "meshes/none.ply", "meshes/none.ply is missing"),
        ("<scene", "<scene <", "cannot load the geometry"),
    ],
)
def test_geometry_is_refused_when_its_meshes_cannot_be_placed(
    scene: Scene, tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "made").mkdir()
    original = scene.xml_path(tmp_path / "made")
    text = original.read_text(encoding="utf-8").replace(old, new, 1)
    path = shutil.copytree(original.parent, tmp_path / "edited") / "scene.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SceneError, match=message):
        read_meshes(path)
