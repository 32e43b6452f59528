"""The estimate of what a search misses, where the truth is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.dataset.campaign import Discovery, TracerSettings
from raymark.dataset.schema import DIFFRACTION, NO_INTERACTION, SPECULAR
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths
from raymark.generator.completeness import audit, compare_paths
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import BAND_PRESETS, FrontEnd, Site

BANDS = (BAND_PRESETS["6GHz"],)
NUM_SLABS = 24
FACTOR = 1.5
"""The estimate of the mean missed power is asked to be this near to the truth."""


@pytest.fixture(scope="module")
def site() -> Site:
    return Site(name="bs0", position_m=(-40.0, 1.0, 20.0), azimuth_deg=0.0)


@pytest.fixture(scope="module")
def fence(write_scene: Callable[..., Path], site: Site) -> LoadedScene:
    """A block, and beyond it a slanting row of narrow slabs, each in planes of its own."""
    meshes = {"block": (trimesh.creation.box(bounds=[[-10, -10, 0], [10, 10, 12]]), "metal")}
    for k in range(NUM_SLABS):
        low = np.array([30 + 0.3 * k, k - 12.0, 0])
        slab = trimesh.creation.box(bounds=[low, low + np.array([0.2, 1.0, 9])])
        meshes[f"slab{k}"] = (slab, "metal")
    facts = {"name": "bs0", "position_m": list(site.position_m), "azimuth_deg": 0.0}
    return LoadedScene(write_scene("audited", meshes, [facts]) / "scene.xml", FrontEnd())


@pytest.fixture(scope="module")
def shadow_m() -> np.ndarray:
    """UEs between the block, which hides the BS from them, and the slabs."""
    x, y = np.meshgrid(np.linspace(14, 27, 6), np.linspace(-9, 9, 8))
    return np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 1.5)])


def traced(
    scene: LoadedScene, site: Site, ue_m: np.ndarray, settings: TracerSettings, **options: object
) -> TracedPaths:
    place = (np.asarray(site.position_m), np.asarray(site.orientation_rad))
    return ChainSearch(scene, *place, settings, **options).trace(ue_m, BANDS)


def settings_with(cone_rays: int, refinements: int, rays: int = 20_000) -> TracerSettings:
    discovery = Discovery(
        discovery_rays=rays, cone_rays=cone_rays, refinements=refinements, dense_cone_rays=None
    )
    return TracerSettings(max_depth=2, diffraction=True, discovery=discovery)


@pytest.mark.parametrize("cone_rays", [8, 30])
def test_estimate_is_near_the_truth_when_chains_are_missed(
    fence: LoadedScene, site: Site, shadow_m: np.ndarray, cone_rays: int
) -> None:
    settings = settings_with(cone_rays, refinements=0)
    own = traced(fence, site, shadow_m, settings)
    everything = traced(fence, site, shadow_m, settings_with(1000, 4, rays=500_000), turn=0.5)

    estimate = compare_paths(own, audit(fence, site, settings, own, shadow_m, BANDS), 48)

    truth = compare_paths(own, everything, 48).power_of(is_los=False)
    found = estimate.power_of(is_los=False)
    assert truth.mean_share > 0.01
    assert found.num_ues == truth.num_ues == 48
    assert truth.mean_share / FACTOR < found.mean_share < truth.mean_share * FACTOR
    assert estimate.power_of(is_los=True) is None


def test_estimate_is_nothing_when_nothing_is_missed(
    fence: LoadedScene, site: Site, shadow_m: np.ndarray
) -> None:
    settings = settings_with(300, refinements=4)
    own = traced(fence, site, shadow_m, settings)

    estimate = compare_paths(own, audit(fence, site, settings, own, shadow_m, BANDS), 48)

    assert estimate.power_share.max() < 1e-4
    assert estimate.has_path.all()


def test_only_some_edges_diffract_when_the_others_have_no_effort(
    fence: LoadedScene, site: Site, shadow_m: np.ndarray
) -> None:
    settings = settings_with(100, refinements=2)
    number = fence.wedges.count
    whole = traced(fence, site, shadow_m, settings)
    ones = traced(fence, site, shadow_m, settings, effort=np.ones((2, number)))
    none = traced(fence, site, shadow_m, settings, effort=np.zeros((2, number)))
    edges = np.unique(whole.wedge[(whole.interaction == DIFFRACTION).any(axis=1)], axis=0)
    wedges = fence.wedges
    middle = edges[0, :3] + edges[0, 6] / 2 * edges[0, 3:6]
    middles = wedges.origin_m + wedges.length_m[:, None] / 2 * wedges.direction
    is_first = np.linalg.norm(middles - middle, axis=1) < 1e-3

    some = traced(fence, site, shadow_m, settings, effort=np.tile(1.0 * is_first, (2, 1)))

    assert ones.delay_s.tobytes() == whole.delay_s.tobytes()
    assert not (none.interaction == DIFFRACTION).any()
    diffracts = (some.interaction == DIFFRACTION).any(axis=1)
    there = (whole.wedge == edges[0]).all(axis=1)
    assert 0 < diffracts.sum() == there.sum() < len(there)
    assert (some.wedge[diffracts] == edges[0]).all()


def by_hand(ue_index: list[int], delay_ns: list[float], power: list[float]) -> TracedPaths:
    """Paths with one reflection, those of no delay to speak of the lines of sight."""
    num = len(ue_index)
    direct = np.array(delay_ns) < 100
    axis = np.tile(np.array([1.0, 0, 0], dtype="f4"), (num, 1))
    return TracedPaths(
        ue_index=np.array(ue_index, dtype="i8"),
        delay_s=np.array(delay_ns) * 1e-9,
        direction_bs=axis,
        direction_ue=-axis,
        interaction=np.where(direct, NO_INTERACTION, SPECULAR)[:, None].astype("u1"),
        vertex_m=np.zeros((num, 1, 3), dtype="f4"),
        object_index=np.zeros((num, 1), dtype="i2"),
        primitive=np.zeros((num, 1), dtype="i4"),
        wedge=np.zeros((num, 13), dtype="f4"),
        amplitude=np.sqrt(np.array(power))[None].astype("c8"),
    )


def test_missed_shares_are_those_of_both_together_when_each_has_paths_of_its_own() -> None:
    # UE 0 has the line of sight; UE 1 none; UE 2 is reached by the other alone, UE 3 by neither.
    own = by_hand([0, 0, 1], [50, 200, 300], [6, 2, 3])
    other = by_hand([0, 0, 1, 1, 2], [50, 400, 300.05, 500, 600], [6, 2, 3, 1, 5])

    missed = compare_paths(own, other, 4)

    np.testing.assert_allclose(missed.power_share, [0.2, 0.25, 1, 0], rtol=1e-6)
    assert missed.has_path.tolist() == [True, True, True, False]
    assert missed.is_los.tolist() == [True, False, False, False]
    assert missed.paths_share == pytest.approx(3 / 5)
    nlos = missed.power_of(is_los=False)
    assert (nlos.num_ues, nlos.mean_share) == (2, 0.625)
    assert nlos.p95_share == pytest.approx(0.25 + 0.95 * 0.75)


def test_nothing_is_missed_when_nobody_has_a_path() -> None:
    nobody = by_hand([], [], [])

    missed = compare_paths(nobody, nobody, 2)

    assert missed.paths_share == 0
    assert not missed.has_path.any()
    assert missed.power_of(is_los=False) is None


def test_nothing_of_the_own_is_missed_when_it_is_joined_with_itself() -> None:
    own = by_hand([0, 0, 1], [50, 200, 300], [6, 2, 3])

    missed = compare_paths(own, join_paths([own, own], [0, 0]), 2)

    assert missed.power_share.tolist() == [0, 0]
