"""Every scene of the registry keeps the promises of its folder."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.config import validate
from raymark.dataset.campaign import Campaign
from raymark.errors import ConfigError, SceneError
from raymark.generator.outdoors import check_site
from raymark.generator.plan import Plan, check_campaign, make_plan
from raymark.radio import BAND_PRESETS
from raymark.scenes import Scene, get_scene, scene_names

NUM_POINTS = 1000
LOS_SHARE = 0.05
"""Three deviations of a share estimated from 1000 points: 3 sqrt(0.25 / 1000)."""
LEAST_NLOS_SHARE = 0.25
EXTENT_M = 1.0

every_scene = pytest.mark.parametrize("name", scene_names())


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    """Plans by scene, loaded when first asked for: uniform points over each site's sector."""
    return {}


def plan_of(plans: dict[str, Plan], name: str) -> Plan:
    if name not in plans:
        sampling = {
            "kind": "uniform",
            "num_ues": NUM_POINTS,
            "min_range_m": 10.0,
            "max_range_m": 200.0,
            "sector_half_width_deg": 60.0,
        }
        campaign = {
            "name": "survey",
            "seed": 11,
            "scenes": [name],
            "bands": ["6GHz"],
            "sampling": sampling,
        }
        plans[name] = make_plan(validate(Campaign, campaign, where="survey"))
    return plans[name]


def test_registry_holds_the_five_scenes_when_installed() -> None:
    assert set(scene_names()) >= {"munich", "etoile", "florence", "san_francisco", "street_canyon"}


@every_scene
def test_scene_has_card_licence_and_sites_when_listed(name: str) -> None:
    scene = get_scene(name)

    assert scene.card.startswith(f"# {name}\n")
    assert scene.settings.licence
    assert scene.settings.attribution
    assert scene.sites
    assert scene.settings.los_share.keys() == {site.name for site in scene.sites}


@pytest.mark.slow
@every_scene
def test_scene_materials_equal_those_of_its_meshes_when_loaded(
    name: str, plans: dict[str, Plan]
) -> None:
    loaded = plan_of(plans, name).sites[0].loaded

    assert set(loaded.object_materials) == set(get_scene(name).settings.materials)


@every_scene
@pytest.mark.parametrize("band", BAND_PRESETS)
def test_scene_can_be_traced_when_band_is_a_preset(name: str, band: str) -> None:
    campaign = {
        "name": "x",
        "scenes": [name],
        "bands": [band],
        "sampling": {"kind": "uniform", "num_ues": 1},
    }

    check_campaign(validate(Campaign, campaign, where="x"))


@every_scene
def test_scene_extent_equals_its_box_when_loaded(name: str, plans: dict[str, Plan]) -> None:
    low, high = plan_of(plans, name).sites[0].loaded.box_m

    np.testing.assert_allclose(get_scene(name).extent_m, [*low[:2], *high[:2]], atol=EXTENT_M)


@every_scene
def test_scene_sites_stand_in_the_open_when_checked(name: str, plans: dict[str, Plan]) -> None:
    plan = plan_of(plans, name)

    assert [plan_.site for plan_ in plan.sites] == list(get_scene(name).sites)
    for site in plan.sites:
        check_site(site.loaded, site.site, scene=name)


@every_scene
def test_check_site_raises_when_site_is_sunk_into_the_ground(
    name: str, plans: dict[str, Plan]
) -> None:
    site = plan_of(plans, name).sites[0]
    x, y, z = site.site.position_m
    sunk = site.site.model_copy(update={"position_m": (x, y, z - 500.0)})

    with pytest.raises(SceneError, match=f"scene '{name}', site '{sunk.name}' .*below the ground"):
        check_site(site.loaded, sunk, scene=name)


@every_scene
def test_scene_los_share_equals_its_yaml_when_measured(name: str, plans: dict[str, Plan]) -> None:
    for site in plan_of(plans, name).sites:
        bs = np.tile(site.site.position_m, (NUM_POINTS, 1))
        share = site.loaded.is_visible(bs, site.ues.position_m.astype("f8")).mean()

        promised = get_scene(name).settings.los_share[site.site.name]
        assert share == pytest.approx(promised, abs=LOS_SHARE), f"{site.key}: {share:.3f}"
        assert 1 - share > LEAST_NLOS_SHARE, site.key


def test_scene_names_the_nearest_when_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown scene 'munic'; did you mean 'munich'"):
        get_scene("munic")


def test_scene_names_the_nearest_site_when_unknown() -> None:
    with pytest.raises(SceneError, match=r"no site 'bs'; did you mean 'bs0'\? \(it has: bs0\)"):
        get_scene("munich").site("bs")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_block_x": 3}, r"no parameter 'num_block_x'; did you mean 'num_blocks_x'"),
        ({"street_width_m": -5}, "street_width_m must be a number from 3 to 200, got -5"),
        ({"num_blocks_x": "many"}, "num_blocks_x must be a number from 1 to 60, got 'many'"),
        ({"mean_height_m": float("nan")}, "mean_height_m must be a number .*, got nan"),
    ],
)
def test_street_canyon_raises_when_a_parameter_is_wrong(
    params: dict[str, float | str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SceneError, match=message):
        get_scene("street_canyon", params).xml_path(tmp_path)


def test_scene_raises_when_it_is_not_procedural_and_gets_parameters() -> None:
    with pytest.raises(SceneError, match="scene 'munich' is not procedural"):
        get_scene("munich", {"seed": 3})


def test_street_canyon_has_the_same_hash_when_built_twice(tmp_path: Path) -> None:
    scene = get_scene("street_canyon", {"num_blocks_x": 2, "num_blocks_y": 2})

    first, second = (scene.hash(scene.xml_path(tmp_path / name)) for name in ("a", "b"))

    assert first == second
    other = get_scene("street_canyon", {"num_blocks_x": 2, "num_blocks_y": 2, "seed": 1})
    assert other.hash(other.xml_path(tmp_path / "c")) != first


def test_scene_has_another_hash_when_one_vertex_moves(
    write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    def hash_of(height_m: float) -> str:
        house = trimesh.creation.box(bounds=[[0, 0, 0], [9, 9, height_m]])
        scene = get_scene(str(write_scene("house", {"house": (house, "brick")}, [])))
        return scene.hash(scene.xml_path(tmp_path))

    assert hash_of(5.0) == hash_of(5.0)
    assert hash_of(5.0) != hash_of(5.001)


def test_street_canyon_houses_leave_the_streets_free_when_built(tmp_path: Path) -> None:
    """The centre lines of all streets, at pedestrian height, lie in no house."""
    scene = get_scene("street_canyon", {"num_blocks_x": 3, "num_blocks_y": 2})
    folder = scene.xml_path(tmp_path).parent / "meshes"
    boxes = [
        house.bounds
        for path in sorted(folder.glob("*.ply"))
        if path.stem != "ground"
        for house in trimesh.load_mesh(path).split()
    ]

    pitch = scene.params["block_size_m"] + scene.params["street_width_m"]
    half_street = scene.params["street_width_m"] / 2
    assert len(boxes) == 3 * 2 * scene.params["lots_per_side"] ** 2
    for low, high in boxes:
        for axis, num_blocks in ((0, 3), (1, 2)):
            lines = (np.arange(num_blocks + 1) - num_blocks / 2) * pitch
            gap = np.maximum(low[axis] - lines, lines - high[axis])
            assert gap.min() == pytest.approx(half_street, abs=1e-3)
        assert low[2] == 0
        assert high[2] >= 6


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 4, 5])
def test_street_canyon_site_stands_on_a_crossing_when_grid_is_any(num_blocks: int) -> None:
    scene = get_scene("street_canyon", {"num_blocks_x": num_blocks, "num_blocks_y": num_blocks})

    pitch = scene.params["block_size_m"] + scene.params["street_width_m"]
    for coordinate in scene.sites[0].position_m[:2]:
        crossing = coordinate / pitch + num_blocks / 2
        assert crossing == pytest.approx(round(crossing))


def test_scene_raises_when_a_material_is_undefined_at_a_band() -> None:
    campaign = {
        "name": "x",
        "scenes": ["street_canyon"],
        "bands": ["6GHz", {"name": "60GHz", "carrier_hz": 60e9}],
        "sampling": {"kind": "uniform", "num_ues": 1},
    }

    message = (
        r"scenes\[0\] 'street_canyon', bands\[1\] '60GHz': material 'brick' is defined for "
        "1-40 GHz and 110-330 GHz, got 60 GHz"
    )
    with pytest.raises(SceneError, match=message):
        check_campaign(validate(Campaign, campaign, where="x"))


def test_scene_reads_a_users_folder_when_given_its_path(ground_and_wall: Path) -> None:
    scene = get_scene(str(ground_and_wall))

    assert isinstance(scene, Scene)
    assert scene.name == "ground_and_wall"
    assert scene.site("bs0").orientation_rad == (math.radians(25), math.radians(8), 0.0)


def test_scene_raises_when_a_users_geometry_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    text = (
        "title: x\ngeometry: files\nsource: x\nlicence: x\nattribution: x\nmaterials: []\n"
        "extent_m: [0, 0, 1, 1]\n"
    )
    (folder / "scene.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(SceneError, match=r"scene 'empty': its geometry .*scene\.xml is missing"):
        get_scene(str(folder)).xml_path(tmp_path)
