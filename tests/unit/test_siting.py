"""Where `scenes add-site` would put base stations, and what it writes."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml

from raymark.config import validate_options
from raymark.dataset.schema import LOS
from raymark.errors import ConfigError, SceneError
from raymark.generator.coverage import measure_coverage
from raymark.generator.site_candidates import SitingSettings
from raymark.generator.site_writing import add_sites, draw_proposals, require_writable
from raymark.generator.siting import SitingPlan, load_scene, propose_sites
from raymark.radio import BAND_PRESETS
from raymark.scenes import Scene, get_scene

OPTIONS = {"mast_height_m": "mast-height", "range_m": "range"}
SETTINGS = SitingSettings(range_m=80.0, num_ues=60)
HALF_STREET_M, DEPTH_M, LENGTH_M, HEIGHT_M = 10.0, 15.0, 60.0, 12.0


def test_settings_name_the_option_when_its_value_is_wrong() -> None:
    given = {"mast_height_m": -1.0, "range_m": float("nan")}
    with pytest.raises(ConfigError, match=r"^--mast-height: .*, got -1\.0; --range: .*, got nan$"):
        validate_options(SitingSettings, given, names=OPTIONS)


def ground() -> trimesh.Trimesh:
    corners = [(-100, -60, 0), (100, -60, 0), (100, 60, 0), (-100, 60, 0)]
    return trimesh.Trimesh(vertices=corners, faces=[[0, 1, 2], [0, 2, 3]], process=False)


def street_meshes() -> dict[str, trimesh.Trimesh]:
    """Two rows of two houses along a street in x, and a gap between the houses."""
    boxes = [
        [[x0, y0, 0], [x0 + LENGTH_M, y0 + DEPTH_M, HEIGHT_M]]
        for x0 in (-LENGTH_M - 8.0, 8.0)
        for y0 in (HALF_STREET_M, -HALF_STREET_M - DEPTH_M)
    ]
    houses = {f"house_{i}": trimesh.creation.box(bounds=b) for i, b in enumerate(boxes)}
    return {"ground": ground(), **houses}


@pytest.fixture(scope="module")
def street(write_scene: Callable[..., Path]) -> Path:
    meshes = {name: (mesh, "concrete") for name, mesh in street_meshes().items()}
    return write_scene("street", meshes, [])


@pytest.fixture
def scene(street: Path, tmp_path: Path) -> Scene:
    folder = tmp_path / "street"
    folder.mkdir()
    for path in street.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(street)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    return get_scene(str(folder))


@pytest.fixture(scope="module")
def plan(street: Path) -> SitingPlan:
    return propose_sites(get_scene(str(street)), SETTINGS, seed=1)


def test_roof_sites_stand_on_an_edge_and_look_away_when_proposed(plan: SitingPlan) -> None:
    roofs = [proposal.site for proposal in plan.proposals if proposal.kind == "roof"]

    assert roofs
    for site in roofs:
        x, y, z = site.position_m
        assert z == pytest.approx(HEIGHT_M + SETTINGS.mast_height_m)
        azimuth = np.radians(site.azimuth_deg)
        ahead = np.array([x, y]) + 1.5 * np.array([np.cos(azimuth), np.sin(azimuth)])
        assert is_on_roof(x, y), site
        assert not is_on_roof(*ahead), site


def is_on_roof(x: float, y: float) -> bool:
    along = 8.0 <= abs(x) <= 8.0 + LENGTH_M
    return along and HALF_STREET_M <= abs(y) <= HALF_STREET_M + DEPTH_M


def test_masts_stand_in_the_open_when_proposed(plan: SitingPlan) -> None:
    masts = [proposal.site for proposal in plan.proposals if proposal.kind == "mast"]

    assert masts
    for site in masts:
        assert site.position_m[2] == pytest.approx(SETTINGS.height_m)
        assert not is_on_roof(*site.position_m[:2])


def test_proposals_are_ranked_by_rule_and_score_when_traced(plan: SitingPlan) -> None:
    keys = [(not p.meets_rule, -round(p.score, 2)) for p in plan.proposals]

    assert keys == sorted(keys)
    for proposal in plan.proposals:
        share = proposal.coverage.nlos_of_covered
        assert proposal.meets_rule == (share >= SETTINGS.min_nlos_share)


@pytest.mark.slow
def test_proposals_are_the_same_when_the_seed_is(street: Path, plan: SitingPlan) -> None:
    again = propose_sites(get_scene(str(street)), SETTINGS, seed=1)

    assert [p.site for p in again.proposals] == [p.site for p in plan.proposals]


@pytest.mark.slow
def test_proposals_are_as_good_when_a_shed_stands_far_away(
    write_scene: Callable[..., Path], plan: SitingPlan
) -> None:
    shed = trimesh.creation.box(bounds=[[8000, 8000, 0], [8005, 8005, 3]])
    meshes = {**street_meshes(), "ground": ground().apply_scale(100), "shed": shed}
    folder = write_scene("shed", {name: (mesh, "concrete") for name, mesh in meshes.items()}, [])
    settings = yaml.safe_load((folder / "scene.yaml").read_text(encoding="utf-8"))
    settings["extent_m"] = [-100.0, -60.0, 8100.0, 8100.0]
    (folder / "scene.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    found = propose_sites(get_scene(str(folder)), SETTINGS, seed=1)
    assert len(found.proposals) == len(plan.proposals)
    assert all(math.hypot(*p.site.position_m[:2]) < 100 for p in found.proposals)
    scores = [[p.score for p in each.proposals if p.meets_rule] for each in (found, plan)]
    assert max(scores[0]) >= max(scores[1]) - 0.1
    # The map is of the sites' surroundings: its cells are those of a street, not of 8 km.
    assert np.diff(found.heights.x_m).max() <= 1.0


def test_los_share_is_that_of_single_rays_when_points_are_looked_at_one_by_one(
    street: Path, plan: SitingPlan
) -> None:
    loaded, band = load_scene(get_scene(str(street)))
    site = plan.proposals[0].site

    found = measure_coverage(loaded, site, SETTINGS.sampling, band, seed=3, scene="street")

    seen = [
        bool(loaded.is_visible(np.array([site.position_m]), point[None].astype("f8"))[0])
        for point in found.position_m
    ]
    assert (found.los == LOS).tolist() == seen
    assert band == BAND_PRESETS["2.6GHz"]


def test_sites_are_written_when_the_scene_is_the_users(scene: Scene, plan: SitingPlan) -> None:
    before = (scene.folder / "scene.yaml").read_text(encoding="utf-8")

    added = add_sites(scene, plan, 2, seed=1)

    after = get_scene(str(scene.folder))
    assert [site.name for site in after.sites] == ["bs0", "bs1"]
    assert after.sites == added
    assert set(after.settings.los_share) == {"bs0", "bs1"}
    kept = yaml.safe_load(before)
    for key in set(kept) - {"sites", "los_share"}:
        assert yaml.safe_load((scene.folder / "scene.yaml").read_text())[key] == kept[key]


def test_write_says_so_when_too_few_proposals_meet_the_rule(scene: Scene, plan: SitingPlan) -> None:
    with pytest.raises(SceneError, match=r"scene 'street': \d+ proposed sites have at least 25%"):
        add_sites(scene, plan, 13)


@pytest.mark.parametrize("name", ["munich", "street_canyon"])
def test_write_is_refused_when_the_scene_ships_with_raymark(name: str) -> None:
    with pytest.raises(SceneError, match=f"scene '{name}' ships with raymark and is not written"):
        require_writable(get_scene(name))


@pytest.fixture
def two_houses(write_scene: Callable[..., Path]) -> Scene:
    """Two houses so far apart that there is no street, and nothing hides much of the ground."""
    boxes = [trimesh.creation.box(bounds=[[x, -5, 0], [x + 10, 5, 12]]) for x in (-70, 60)]
    houses = trimesh.util.concatenate(boxes)
    meshes = {"ground": (ground(), "concrete"), "houses": (houses, "concrete")}
    return get_scene(str(write_scene("two", meshes, [])))


def test_proposals_say_so_when_no_roof_is_low_enough_for_the_range(two_houses: Scene) -> None:
    settings = SitingSettings(range_m=40.0, num_ues=60)

    with pytest.raises(SceneError, match=r"no roof edge and no street has .* try another range"):
        propose_sites(two_houses, settings)


def test_sites_are_proposed_when_nearly_everything_is_in_sight(two_houses: Scene) -> None:
    found = propose_sites(two_houses, SETTINGS).proposals

    assert found
    assert all(not proposal.meets_rule for proposal in found)
    assert max(proposal.coverage.los_share for proposal in found) == 1.0


def test_proposals_say_so_when_there_is_no_building(write_scene: Callable[..., Path]) -> None:
    folder = write_scene("bare", {"ground": (ground(), "concrete")}, [])

    with pytest.raises(SceneError, match="scene 'bare' has no building"):
        propose_sites(get_scene(str(folder)), SETTINGS)


def test_plan_is_drawn_with_its_data_when_asked_for(
    scene: Scene, plan: SitingPlan, tmp_path: Path
) -> None:
    draw_proposals(scene, plan, tmp_path / "plan.png")

    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {"plan.png", "plan.csv", "plan-points.csv", "plan.npz"}
