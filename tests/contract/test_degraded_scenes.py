"""A scene with a map of any grade keeps the promises of a scene."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raymark.config import validate
from raymark.dataset.campaign import Campaign
from raymark.generator.outdoors import check_site
from raymark.generator.plan import Plan, check_campaign, make_plan
from raymark.generator.scene_check import check_scene
from raymark.radio import BAND_PRESETS
from raymark.scenes import Scene, get_scene
from raymark.scenes.degrading import GRADES, get_grade
from raymark.scenes.degrading.degrade_scene import degrade_scene
from raymark.scenes.importing.material_rules import read_rules
from raymark.scenes.importing.report import ImportOptions
from raymark.scenes.importing.sionna_scene import read_sionna_scene

MakeOnce = Callable[[str, Callable[[Path], None]], Path]

EXTENT_M = 1.0

every_grade = pytest.mark.parametrize("name", GRADES)


def canyon() -> Scene:
    return get_scene("street_canyon", {"num_blocks_x": 3, "num_blocks_y": 3})


@pytest.fixture(scope="module")
def scenes(make_once: MakeOnce) -> Callable[[str], Scene]:
    """Scenes by grade, made when first asked for."""

    def made(name: str) -> Scene:
        def fill(folder: Path) -> None:
            degrade_scene(canyon(), folder / f"canyon-{name}", grade=get_grade(name), seed=1)

        return get_scene(str(make_once(f"degraded_{name}", fill) / f"canyon-{name}"))

    return made


def plan_of(scene: Scene) -> Plan:
    campaign = {
        "name": "survey",
        "scenes": [str(scene.folder)],
        "bands": ["6GHz"],
        "sampling": {"kind": "uniform", "num_ues": 20},
    }
    return make_plan(validate(Campaign, campaign, where="survey"))


@every_grade
def test_degraded_scene_has_card_licence_and_sites_when_read(
    name: str, scenes: Callable[[str], Scene]
) -> None:
    scene, source = scenes(name), canyon()

    assert scene.card.startswith(f"# canyon-{name}\n")
    assert scene.settings.licence == source.settings.licence
    assert scene.settings.attribution == source.settings.attribution
    assert [site.name for site in scene.sites] == [site.name for site in source.sites]
    assert (scene.sites == source.sites) == (name not in ("surveyed", "open", "pose"))


@every_grade
def test_degraded_scene_can_be_planned_and_its_sites_stand_in_the_open_when_loaded(
    name: str, scenes: Callable[[str], Scene]
) -> None:
    scene = scenes(name)
    (site,) = plan_of(scene).sites

    low, high = site.loaded.box_m
    assert site.site == scene.sites[0]
    check_site(site.loaded, site.site, scene=scene.name)
    assert set(site.loaded.object_materials) == set(scene.settings.materials)
    np.testing.assert_allclose(scene.extent_m, [*low[:2], *high[:2]], atol=EXTENT_M)


@pytest.mark.parametrize("band", BAND_PRESETS)
def test_degraded_scene_can_be_traced_when_band_is_a_preset(
    band: str, scenes: Callable[[str], Scene]
) -> None:
    campaign = {
        "name": "x",
        "scenes": [str(scenes("open").folder)],
        "bands": [band],
        "sampling": {"kind": "uniform", "num_ues": 1},
    }

    check_campaign(validate(Campaign, campaign, where="x"))


@pytest.mark.parametrize("name", ["surveyed", "missing"])
def test_check_finds_nothing_wrong_with_a_scene_when_its_map_is(
    name: str, scenes: Callable[[str], Scene]
) -> None:
    found = check_scene(scenes(name))

    assert {finding.level for finding in found} <= {"ok", "note"}
    assert any(finding.text.startswith("closed, normals outwards") for finding in found)


def test_exact_scene_is_traced_as_its_source_when_loaded(scenes: Callable[[str], Scene]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = canyon()
        before = read_sionna_scene(source.xml_path(Path(folder)), read_rules(), ImportOptions())
        copy = scenes("exact")
        after = read_sionna_scene(copy.xml_path(Path(folder)), read_rules(), ImportOptions())

    assert before.meshes.keys() == after.meshes.keys()
    assert before.thickness_m == after.thickness_m
    for name, (mesh, material) in before.meshes.items():
        np.testing.assert_array_equal(mesh.triangles, after.meshes[name][0].triangles)
        assert material == after.meshes[name][1]
