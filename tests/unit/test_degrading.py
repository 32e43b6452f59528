"""Maps that are wrong: which building moves how far, what is left of it, and that seeds decide."""

import filecmp
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import trimesh

from raymark.errors import ConfigError, DatasetError, SceneError
from raymark.scenes import Scene, get_scene
from raymark.scenes.degrading import GRADES, Grade, get_grade
from raymark.scenes.degrading.degrade_scene import degrade_scene
from raymark.scenes.degrading.map_buildings import (
    MapBuilding,
    find_map_buildings,
    touching_pairs,
)
from raymark.scenes.degrading.rebuilding import generalise
from raymark.scenes.degrading.reshaping import stretch
from raymark.scenes.footprints import scene_frame
from raymark.scenes.importing import ImportOptions, import_scene
from raymark.scenes.importing.meshes import is_closed, weld
from raymark.scenes.scene_files import write_geometry
from raymark.scenes.scene_meshes import GroundSurface, SceneMesh, are_ground, read_meshes

WriteScene = Callable[..., Path]
MeshWithMaterial = tuple[trimesh.Trimesh, str]

ROUNDING_M = 1e-4
"""Float32 of coordinates of up to 2000 m, as PLY files have them."""

SIDE_M = 10.0


def house(x: float, y: float, height: float, width: float = SIDE_M) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=[[x, y, 0.0], [x + width, y + SIDE_M, height]])


def plane(half_m: float = 2000.0, slope: float = 0.0) -> trimesh.Trimesh:
    corners = [(-half_m, -half_m), (half_m, -half_m), (half_m, half_m), (-half_m, half_m)]
    vertices = [(x, y, slope * x) for x, y in corners]
    return trimesh.Trimesh(vertices, [[0, 1, 2], [0, 2, 3]], process=False)


def row_of_houses(count: int, gap_m: float) -> dict[str, MeshWithMaterial]:
    """Houses in rows of 20, 8 to 19 m high, as far apart as asked for."""
    pitch = SIDE_M + gap_m
    return {
        f"house{i:03d}": (house(pitch * (i % 20), 40.0 * (i // 20), 8.0 + i % 12), "brick")
        for i in range(count)
    }


@pytest.fixture
def town(write_scene: WriteScene) -> Callable[..., Scene]:
    """Make a scene of meshes on flat ground."""

    def make(
        meshes: Mapping[str, MeshWithMaterial], sites: tuple[dict[str, Any], ...] = (), **more: Any
    ) -> Scene:
        ground = {"ground": (plane(**more), "concrete")}
        return get_scene(str(write_scene("town", {**ground, **meshes}, [*sites])))

    return make


def grade(**sizes: Any) -> Grade:
    return Grade(name="test", about="of a test", **sizes)


def meshes_of(folder: Path) -> dict[str, SceneMesh]:
    return {mesh.name: mesh for mesh in read_meshes(folder / "scene.xml")}


def buildings_of(meshes: Mapping[str, SceneMesh]) -> tuple[MapBuilding, ...]:
    found = list(meshes.values())
    grounds = are_ground(found)
    ground = [mesh.triangles for mesh, is_it in zip(found, grounds, strict=True) if is_it]
    others = [mesh for mesh, is_it in zip(found, grounds, strict=True) if not is_it]
    return find_map_buildings(others, GroundSurface(np.concatenate(ground)))


def rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def box_of(mesh: SceneMesh) -> np.ndarray:
    corners = mesh.triangles.reshape(-1, 3)
    return np.array([corners.min(axis=0), corners.max(axis=0)])


def test_buildings_are_the_named_objects_when_houses_of_a_row_share_walls(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    found = buildings_of(meshes_of(town(row_of_houses(5, gap_m=0.0)).folder))

    assert [building.name for building in found] == [f"house{i:03d}" for i in range(5)]
    assert touching_pairs(found).tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert [building.roof_m for building in found] == [8.0, 9.0, 10.0, 11.0, 12.0]
    assert [building.outline.area for building in found] == pytest.approx([SIDE_M**2] * 5)


def test_buildings_are_found_when_a_mesh_holds_all_walls_and_another_all_roofs(
    town: Callable[..., Scene],
) -> None:
    houses = [house(0, 0, 8), house(50, 0, 9), house(0, 50, 12)]
    parts: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for each in houses:
        is_wall = np.abs(each.face_normals[:, 2]) < 0.5
        parts[True].append(each.triangles[is_wall])
        parts[False].append(each.triangles[~is_wall])
    walls, roofs = (weld(np.concatenate(parts[key])) for key in (True, False))

    scene = town({"brick_walls": (walls, "brick"), "concrete_roofs": (roofs, "concrete")})

    found = buildings_of(meshes_of(scene.folder))
    assert sorted(building.roof_m for building in found) == [8.0, 9.0, 12.0]
    assert sorted(building.name for building in found) == [
        "brick@0,0",
        "brick@0,500",
        "brick@500,0",
    ]


def test_building_is_one_when_a_tower_stands_on_its_block(town: Callable[..., Scene]) -> None:
    tower = trimesh.creation.box(bounds=[[4, 4, 8], [6, 6, 40]])
    church = trimesh.util.concatenate([house(0, 0, 8), tower])

    (found,) = buildings_of(meshes_of(town({"church": (church, "brick")}).folder))

    assert found.roof_m == 8.0
    assert len(found.rows) == 24


def test_buildings_are_none_when_there_is_no_mesh() -> None:
    ground = GroundSurface(np.asarray(plane().triangles))

    assert find_map_buildings([], ground) == ()


def test_exact_map_has_the_vertices_and_walls_of_its_scene_when_written(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    site = {"name": "bs0", "position_m": [-5.0, 3.3, 20.1], "azimuth_deg": 180.0}
    meshes = {**row_of_houses(4, gap_m=2.0), "ground": (plane(), "concrete")}
    folder = write_scene("town", meshes, [site])
    thick = {name: 0.1 + 0.1 * i for i, name in enumerate(meshes)}
    write_geometry(folder, meshes, thickness_m=thick, scattering={"house001": 0.3})
    scene = get_scene(str(folder))

    degrade_scene(scene, tmp_path / "copy", grade=get_grade("exact"), seed=3)

    before, after = read_meshes(folder / "scene.xml"), read_meshes(tmp_path / "copy" / "scene.xml")
    assert [mesh.name for mesh in before] == [mesh.name for mesh in after]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old.triangles, new.triangles)
    assert (folder / "scene.xml").read_bytes() == (tmp_path / "copy" / "scene.xml").read_bytes()
    assert get_scene(str(tmp_path / "copy")).sites == scene.sites


def test_another_map_differs_from_its_scene_when_the_same_check_is_made(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    """The canary of the test above."""
    scene = town(row_of_houses(4, gap_m=2.0))

    degrade_scene(scene, tmp_path / "copy", grade=grade(shift_m=1e-3), seed=3)

    before, after = meshes_of(scene.folder), meshes_of(tmp_path / "copy")
    assert not np.array_equal(before["house001"].triangles, after["house001"].triangles)


@pytest.mark.parametrize("name", ["surveyed", "open"])
def test_map_has_the_same_bytes_when_made_twice_and_others_when_the_seed_differs(
    name: str, town: Callable[..., Scene], tmp_path: Path
) -> None:
    site = {"name": "bs0", "position_m": [-30.0, 5.0, 20.0], "azimuth_deg": 0.0}
    scene = town(row_of_houses(10, gap_m=0.0), (site,))

    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        degrade_scene(scene, tmp_path / folder / "map", grade=get_grade(name), seed=seed)

    files = sorted(
        path.relative_to(tmp_path / "a").as_posix()
        for path in (tmp_path / "a").rglob("*")
        if path.is_file()
    )
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", files, shallow=False)[0] == files
    first, other = (get_scene(str(tmp_path / folder / "map")) for folder in ("a", "c"))
    assert first.hash(first.xml_path(tmp_path)) != other.hash(other.xml_path(tmp_path))


def test_building_deviates_alike_when_others_come_go_and_change_places(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    houses = row_of_houses(8, gap_m=3.0)
    few = {name: houses[name] for name in reversed([*houses][::2])}
    wrong = grade(shift_m=2.0, height_m=1.0)

    for name, meshes in (("all", houses), ("few", few)):
        degrade_scene(town(meshes), tmp_path / name, grade=wrong, seed=5)

    every, some = meshes_of(tmp_path / "all"), meshes_of(tmp_path / "few")
    assert some.keys() < every.keys()
    for name in few:
        np.testing.assert_array_equal(box_of(every[name]), box_of(some[name]))


def test_map_is_the_same_when_the_meshes_of_its_scene_come_in_another_order(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    houses = row_of_houses(8, gap_m=0.0)

    for name, meshes in (("one", houses), ("other", dict(reversed(houses.items())))):
        degrade_scene(town(meshes), tmp_path / name, grade=get_grade("open"), seed=5)

    one, other = meshes_of(tmp_path / "one"), meshes_of(tmp_path / "other")
    assert one.keys() == other.keys()
    for name, mesh in one.items():
        np.testing.assert_array_equal(mesh.triangles, other[name].triangles)


def test_mesh_moves_rigidly_and_its_roof_rises_when_outlines_stay(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town(row_of_houses(6, gap_m=5.0))

    report = degrade_scene(scene, tmp_path / "map", grade=grade(shift_m=0.5, height_m=1.0), seed=1)

    before, after = meshes_of(scene.folder), meshes_of(tmp_path / "map")
    moves = np.array([box_of(after[name]) - box_of(before[name]) for name in before])
    np.testing.assert_array_equal(moves[0], 0.0)  # the ground
    low, high = moves[1:, 0], moves[1:, 1]
    np.testing.assert_allclose(low[:, :2], high[:, :2], atol=ROUNDING_M)
    np.testing.assert_array_equal(low[:, 2], 0.0)
    assert report.rms_shift_m == pytest.approx(rms(np.linalg.norm(low, axis=1)), abs=1e-3)
    assert report.rms_height_m == pytest.approx(rms(high[:, 2]), abs=1e-3)
    assert report.rms_height_m > 0.1
    assert (report.num_moved, report.num_new_heights, report.num_rebuilt) == (6, 6, 0)


def test_walls_stay_on_a_slope_when_the_roof_rises(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    """The house stands on ground from 0 to 1 m; what lies below 1 m is where it was."""
    scene = town({"house": (house(0, 0, 9.0), "brick")}, slope=0.1)

    degrade_scene(scene, tmp_path / "map", grade=grade(height_m=2.0), seed=1)

    (found,) = buildings_of(meshes_of(scene.folder))
    assert (found.low_m, found.high_m) == pytest.approx((0.0, 1.0))
    levels_m = np.array([0.0, 1.0, 5.0, 9.0, 30.0])
    np.testing.assert_allclose(stretch(levels_m, found, 2.0), [0.0, 1.0, 6.0, 11.0, 32.0])
    before, after = (box_of(meshes_of(f)["house"]) for f in (scene.folder, tmp_path / "map"))
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1, 2] != after[1, 2]


def test_outlines_lose_details_and_share_their_borders_when_generalised() -> None:
    bay = shapely.union(shapely.box(0, 0, 10, 10), shapely.box(4, -0.4, 4.6, 0))
    crooked = shapely.Polygon([(10, 0), (20, 0), (20, 10), (10, 10), (10, 5.2), (9.9, 5), (10, 4)])
    one = shapely.difference(bay, crooked)

    left, right = generalise([one, crooked], 1.0)

    assert len(left.exterior.coords) == len(right.exterior.coords) == 5
    assert shapely.intersection(left, right).area == pytest.approx(0.0, abs=1e-6)
    assert shapely.union(left, right).area == pytest.approx(left.area + right.area)
    assert shapely.union(left, right).equals(shapely.union(left, right).convex_hull)


def test_courtyard_stays_open_when_a_slit_leads_into_it() -> None:
    """The slit of 1 cm goes, the yard of 9 m2 behind it stays."""
    left = shapely.Polygon([(0, 0), (10, 0), (10, 6), (4, 7), (10, 9), (10, 10), (0, 10)])
    right = shapely.Polygon([(10, 0), (20, 0), (20, 10), (10, 10), (10.01, 9), (10.01, 1)])

    for detail_m in (0.3, 1.0):
        one, other = generalise([left, right], detail_m)
        assert one.area == pytest.approx(left.area, abs=0.1)
        yard = shapely.box(0, 0, 20, 10).difference(shapely.union(one, other))
        assert yard.area == pytest.approx(9.0, abs=0.1)


def test_outlines_stay_when_there_is_no_detail_to_lose() -> None:
    crooked = shapely.Polygon([(0, 0), (5, 0.1), (10, 0), (10, 10), (0, 10)])

    assert generalise([crooked], 0.0) == [crooked]
    assert generalise([crooked], 0.1)[0].equals(crooked)
    assert len(generalise([crooked], 1.0)[0].exterior.coords) == 5


def test_map_is_one_closed_surface_on_the_ground_when_outlines_change(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town(row_of_houses(12, gap_m=0.0))

    report = degrade_scene(scene, tmp_path / "map", grade=get_grade("surveyed"), seed=1)

    meshes = meshes_of(tmp_path / "map")
    np.testing.assert_array_equal(
        meshes.pop("ground").triangles, meshes_of(scene.folder)["ground"].triangles
    )
    whole = weld(np.concatenate([mesh.triangles for mesh in meshes.values()]))
    assert is_closed(whole)
    assert whole.volume == pytest.approx(12 * 100 * 13.5, rel=0.1)
    assert report.num_rebuilt == 12
    assert report.num_vanished == 0
    assert {mesh.material for mesh in meshes.values()} == {"brick"}


def test_prisms_stand_on_the_slope_when_a_map_is_made_anew(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town({"house": (house(50, 0, 20.0), "brick")}, slope=0.1)
    right, (bottom_m, top_m) = buildings_of(meshes_of(scene.folder))[0], (5.0, 20.0)
    assert right.low_m == pytest.approx(bottom_m)

    degrade_scene(scene, tmp_path / "map", grade=grade(outline_m=0.3), seed=1)

    box = box_of(meshes_of(tmp_path / "map")["brick_buildings"])
    assert box[0, 2] == pytest.approx(bottom_m - 0.1, abs=0.01)
    assert box[1, 2] == pytest.approx(top_m, abs=0.01)


def test_missing_buildings_are_gone_and_counted_when_a_map_lacks_them(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town(row_of_houses(10, gap_m=5.0))

    report = degrade_scene(scene, tmp_path / "map", grade=grade(missing_share=0.5), seed=1)

    before, after = meshes_of(scene.folder), meshes_of(tmp_path / "map")
    assert 0 < report.num_missing < 10
    assert len(after) - 1 == 10 - report.num_missing == report.num_buildings
    for name, mesh in after.items():
        np.testing.assert_array_equal(mesh.triangles, before[name].triangles)


def test_merged_buildings_have_one_roof_and_others_keep_their_meshes_when_houses_are_pairs(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    pairs: dict[str, MeshWithMaterial] = {"lone": (house(0, 100, 5.0), "marble")}
    for i in range(3):
        pairs[f"low{i}"] = (house(40.0 * i, 0, 8.0), "brick")
        pairs[f"high{i}"] = (house(40.0 * i + SIDE_M, 0, 16.0, width=20.0), "wood")
    scene = town(pairs)

    report = degrade_scene(scene, tmp_path / "map", grade=grade(merged_share=1.0), seed=1)

    after = meshes_of(tmp_path / "map")
    assert (report.num_merged, report.num_rebuilt, report.num_buildings) == (3, 6, 4)
    assert after.keys() == {"ground", "lone", "wood_buildings"}  # of what the larger is made of
    mean_m = (8.0 * 10 + 16.0 * 20) / 30
    made = after["wood_buildings"].triangles
    np.testing.assert_allclose(np.unique(made[..., 2]), [-0.1, mean_m], atol=0.01)
    assert weld(made).volume == pytest.approx(3 * 300 * (mean_m + 0.1), rel=1e-3)
    np.testing.assert_array_equal(box_of(after["lone"]), box_of(meshes_of(scene.folder)["lone"]))


def test_buildings_are_of_one_material_and_the_ground_of_its_own_when_a_map_knows_no_better(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    meshes = {**row_of_houses(3, gap_m=2.0), "ground": (plane(), "medium_dry_ground")}
    scene = get_scene(str(write_scene("town", meshes, [])))

    degrade_scene(scene, tmp_path / "map", grade=get_grade("material"), seed=1)

    before, after = meshes_of(scene.folder), meshes_of(tmp_path / "map")
    assert {name: mesh.material for name, mesh in after.items()} == {
        "ground": "medium_dry_ground",
        **{name: "concrete" for name in meshes if name != "ground"},
    }
    for name, mesh in before.items():
        np.testing.assert_array_equal(mesh.triangles, after[name].triangles)
    assert get_scene(str(tmp_path / "map")).settings.materials == ("concrete", "medium_dry_ground")


def test_folder_names_its_source_and_every_size_when_made(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town(row_of_houses(5, gap_m=1.0))

    report = degrade_scene(scene, tmp_path / "town-open", grade=get_grade("open"), seed=7)

    made = get_scene(str(tmp_path / "town-open"))
    sha256 = scene.hash(scene.xml_path(tmp_path))
    assert report.source_sha256 == sha256
    assert made.settings.source.startswith(
        f"scene 'town' ({sha256}) with a map of grade 'open' and seed 7; "
    )
    assert made.card.startswith("# town-open\n")
    for name, size in get_grade("open").sizes.items():
        assert f"- `{name}` **{size}**" in made.card
    assert (made.settings.licence, made.extent_m) == (scene.settings.licence, scene.extent_m)


def test_map_can_be_degraded_again_when_it_is_one_already(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town(row_of_houses(12, gap_m=8.0))
    before = degrade_scene(scene, tmp_path / "one", grade=get_grade("open"))

    first = get_scene(str(tmp_path / "one"))
    report = degrade_scene(first, tmp_path / "two", grade=get_grade("surveyed"))

    assert report.source == "one"
    assert before.num_buildings == report.num_source_buildings == report.num_buildings
    assert len(buildings_of(meshes_of(tmp_path / "two"))) == report.num_buildings


def test_map_lies_where_its_scene_lies_on_earth_when_that_was_imported(tmp_path: Path) -> None:
    corners = [[11.5, 48.0], [11.5003, 48.0], [11.5003, 48.0002], [11.5, 48.0002], [11.5, 48.0]]
    feature = {
        "type": "Feature",
        "properties": {"building": "yes", "height": "12"},
        "geometry": {"type": "Polygon", "coordinates": [corners]},
    }
    source = tmp_path / "map.geojson"
    source.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    import_scene(source, name="quarter", out=tmp_path, options=ImportOptions())
    scene = get_scene(str(tmp_path / "quarter"))

    degrade_scene(scene, tmp_path / "wrong", grade=get_grade("surveyed"))

    assert scene_frame(get_scene(str(tmp_path / "wrong"))) == scene_frame(scene)


@pytest.mark.parametrize("name", GRADES)
def test_scene_is_refused_when_there_is_no_building(
    name: str, write_scene: WriteScene, tmp_path: Path
) -> None:
    scene = get_scene(str(write_scene("field", {"ground": (plane(), "concrete")}, [])))

    with pytest.raises(SceneError, match="scene 'field' has no building"):
        degrade_scene(scene, tmp_path / "map", grade=get_grade(name))
    assert not any(tmp_path.iterdir())


def test_scene_is_refused_when_its_map_has_no_building_left(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town(row_of_houses(1, gap_m=1.0))

    with pytest.raises(SceneError, match="has none of its 1 buildings; choose another grade"):
        degrade_scene(scene, tmp_path / "map", grade=grade(missing_share=0.999))
    assert not any(tmp_path.iterdir())


def test_walls_without_a_roof_are_left_out_and_counted_when_outlines_change(
    town: Callable[..., Scene], tmp_path: Path
) -> None:
    corners = [(0, -20, 0), (30, -20, 0), (30, -20, 9), (0, -20, 9)]
    wall = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
    alone = {"wall": (wall, "brick")}

    moved = degrade_scene(town(alone), tmp_path / "moved", grade=get_grade("shift"))
    report = degrade_scene(
        town({**alone, **row_of_houses(2, 5.0)}), tmp_path / "made", grade=get_grade("outline")
    )

    assert (moved.num_buildings, moved.num_without_roof) == (1, 0)
    assert (report.num_source_buildings, report.num_without_roof, report.num_buildings) == (3, 1, 2)
    with pytest.raises(SceneError, match="has none of its 1 buildings"):
        degrade_scene(town(alone), tmp_path / "none", grade=get_grade("outline"))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_is_refused_when_out_of_range(
    seed: int, town: Callable[..., Scene], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"--seed must be from 0 to 4294967295, got {seed}"):
        degrade_scene(
            town(row_of_houses(1, 1.0)), tmp_path / "map", grade=get_grade("open"), seed=seed
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [("munich", "'munich' is that of a built-in scene"), ("7th", "must begin with a letter")],
)
def test_folder_is_refused_when_a_scene_cannot_be_called_so(
    name: str, message: str, town: Callable[..., Scene], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        degrade_scene(town(row_of_houses(1, 1.0)), tmp_path / name, grade=get_grade("open"))


def test_folder_is_left_alone_when_it_exists(town: Callable[..., Scene], tmp_path: Path) -> None:
    (tmp_path / "map").mkdir()

    with pytest.raises(DatasetError, match="map exists; choose another folder"):
        degrade_scene(town(row_of_houses(1, 1.0)), tmp_path / "map", grade=get_grade("open"))
    assert not any((tmp_path / "map").iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('value="brick"', 'value="facade"', "mesh 'house000' is of 'facade', expected a material"),
        ('name="thickness" value="3.0"', 'name="thickness" value="x"', "a thickness of 'x'"),
        (
            'name="thickness" value="3.0"',
            'name="scattering_coefficient" value="1.5"',
            "a scattering coefficient of '1.5', expected 0 to 1",
        ),
    ],
    ids=["material", "thickness", "scattering"],
)
def test_scene_is_refused_when_its_walls_make_no_sense(
    old: str, new: str, message: str, town: Callable[..., Scene], tmp_path: Path
) -> None:
    scene = town(row_of_houses(1, 1.0))
    xml = scene.folder / "scene.xml"
    text = xml.read_text(encoding="utf-8")
    assert old in text
    xml.write_text(text.replace(old, new), encoding="utf-8")

    with pytest.raises(SceneError, match=re.escape(message)):
        degrade_scene(scene, tmp_path / "map", grade=get_grade("exact"))
    assert not any(tmp_path.iterdir())
