"""The denser rays from edges that matter to a UE."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import trimesh
from pydantic import ValidationError

from raymark.dataset.campaign import DISCOVERY_PRESETS, Discovery, TracerSettings
from raymark.dataset.schema import DIFFRACTION
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.generator.completeness import compare_paths
from raymark.generator.outdoors import sees_sky
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.mattering_edges import edges_that_matter
from raymark.generator.tracing.witnesses import witness_points
from raymark.radio import BAND_PRESETS, FrontEnd, Site

BANDS = (BAND_PRESETS["6GHz"], BAND_PRESETS["28GHz"])
SITE = Site(name="bs0", position_m=(-40.0, 1.0, 20.0), azimuth_deg=0.0)
NUM_SLABS = 24


@pytest.fixture(scope="module")
def fence(write_scene: Callable[..., Path]) -> LoadedScene:
    """A block, and beyond it a slanting row of narrow slabs, each in planes of its own."""
    ground = trimesh.creation.box(bounds=[[-100, -100, -0.51], [100, 100, -0.5]])
    block = trimesh.creation.box(bounds=[[-10, -10, -0.5], [10, 10, 12]])
    meshes = {"ground": (ground, "concrete"), "block": (block, "metal")}
    for k in range(NUM_SLABS):
        low = np.array([30 + 0.3 * k, k - 12.0, -0.5])
        slab = trimesh.creation.box(bounds=[low, low + np.array([0.2, 1.0, 9])])
        meshes[f"slab{k}"] = (slab, "metal")
    facts = {"name": "bs0", "position_m": list(SITE.position_m), "azimuth_deg": 0.0}
    return LoadedScene(write_scene("dense", meshes, [facts]) / "scene.xml", FrontEnd())


@pytest.fixture(scope="module")
def shadow_m() -> np.ndarray:
    """UEs between the block, which hides the BS from them, and the slabs."""
    x, y = np.meshgrid(np.linspace(14, 27, 6), np.linspace(-9, 9, 8))
    return np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 1.5)])


def search_with(
    scene: LoadedScene,
    cone_rays: int,
    dense: int | None,
    *,
    num_witnesses: int = 0,
    max_depth: int = 3,
    turn: float = 0.0,
    fields: Literal["raymark", "sionna"] = "raymark",
) -> ChainSearch:
    discovery = Discovery(
        discovery_rays=200_000,
        cone_rays=cone_rays,
        refinements=1,
        dense_cone_rays=dense,
        num_witnesses=num_witnesses,
    )
    settings = TracerSettings(
        max_depth=max_depth, diffraction=True, discovery=discovery, fields=fields
    )
    bs_m, orientation_rad = np.array(SITE.position_m), np.asarray(SITE.orientation_rad)
    return ChainSearch(scene, bs_m, orientation_rad, settings, turn=turn)


def bits_by_ue(paths: TracedPaths, num_ues: int) -> list[list[bytes]]:
    """Every path of every UE as its bytes, in the order of the rows."""
    names = [n for n in TracedPaths.__slots__ if n not in ("ue_index", "num_references")]
    result: list[list[bytes]] = [[] for _ in range(num_ues)]
    for row, ue in enumerate(paths.ue_index):
        columns = (getattr(paths, name) for name in names)
        values = [x[:, row] if x is paths.amplitude else x[row] for x in columns]
        result[ue].append(b"".join(value.tobytes() for value in values))
    return result


def test_less_is_missed_when_edges_that_matter_are_searched_again(
    fence: LoadedScene, shadow_m: np.ndarray
) -> None:
    everything = search_with(fence, 1000, None, turn=0.5).trace(shadow_m, BANDS)
    once, again, witnessed = (
        search_with(fence, 8, dense, num_witnesses=num_witnesses).trace(shadow_m, BANDS)
        for dense, num_witnesses in ((None, 0), (1000, 0), (1000, 400))
    )

    missed = [compare_paths(paths, everything, len(shadow_m)) for paths in (once, again, witnessed)]

    shares = [x.power_of(is_los=False).mean_share for x in missed]
    assert shares[0] > 0.02
    assert shares[1] < shares[0] / 4
    assert shares[2] < shares[1] / 2
    assert len(witnessed.delay_s) > len(again.delay_s) > len(once.delay_s)


@pytest.mark.parametrize(
    ("fields", "is_ranked", "num_witnesses"),
    [("raymark", False, 0), ("raymark", True, 0), ("raymark", True, 20), ("sionna", True, 0)],
)
def test_paths_are_the_same_bits_when_the_company_and_what_came_before_change(
    fence: LoadedScene,
    shadow_m: np.ndarray,
    *,
    fields: Literal["raymark", "sionna"],
    is_ranked: bool,
    num_witnesses: int,
) -> None:
    references = fence.reference_bands if is_ranked else ()
    first, other = (
        search_with(fence, 8, 500, num_witnesses=num_witnesses, fields=fields) for _ in range(2)
    )
    whole = bits_by_ue(first.trace(shadow_m, BANDS, references), 48)

    for group in ([40], [3], [7, 40], [*range(20, 44)], [*range(48)][::-1], [3]):
        part = bits_by_ue(other.trace(shadow_m[group], BANDS, references), len(group))
        assert part == [whole[ue] for ue in group]
    assert all(whole)


def test_no_path_comes_twice_when_an_edge_is_searched_twice(
    fence: LoadedScene, shadow_m: np.ndarray
) -> None:
    once = search_with(fence, 16, None).trace(shadow_m, BANDS)
    again = search_with(fence, 16, 640).trace(shadow_m, BANDS)

    assert len(again.delay_s) > len(once.delay_s)
    assert compare_paths(again, once, 48).paths_share == 0
    for paths in (once, again):
        rows = np.column_stack([paths.ue_index, paths.interaction, paths.object_index])
        rows = np.column_stack([rows, paths.primitive, paths.wedge, paths.vertex_m[:, :, 0]])
        assert len(np.unique(rows, axis=0)) == len(rows)


def test_search_is_as_before_when_nothing_can_follow_an_edge(
    fence: LoadedScene, shadow_m: np.ndarray
) -> None:
    paths = [
        search_with(fence, 8, dense, max_depth=1).trace(shadow_m, BANDS) for dense in (None, 500)
    ]

    assert bits_by_ue(paths[0], 48) == bits_by_ue(paths[1], 48)


def test_edges_matter_to_those_whose_power_comes_from_them(
    fence: LoadedScene, shadow_m: np.ndarray
) -> None:
    paths = search_with(fence, 16, None).trace(shadow_m, BANDS)
    at_edge = paths.interaction == DIFFRACTION
    power = np.abs(paths.amplitude[0].astype("c16")) ** 2
    total = np.bincount(paths.ue_index, power, 48)
    is_strong = power > 1e-3 * total[paths.ue_index]

    edges = edges_that_matter(fence, paths, 48)

    ue, rest = np.divmod(edges.key, 3 * fence.wedges.count)
    before, wedge = np.divmod(rest, fence.wedges.count)
    strong = np.flatnonzero(at_edge.any(axis=1) & is_strong)
    expected = np.column_stack([paths.ue_index[strong], at_edge[strong].argmax(axis=1)])
    found = np.column_stack([ue, before])
    np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(expected, axis=0))
    assert edges.to_any.sum() == len(np.unique(rest)) < len(rest)
    assert edges.has(ue, 0, wedge).sum() >= (before == 0).sum() > 0
    assert not edges.has(np.array([48]), 0, wedge[:1]).any()
    weaker = edges_that_matter(fence, paths.take(np.flatnonzero(~is_strong)), 48, slice(0, 0))
    assert len(weaker.key) == 0


def test_witnesses_stand_outdoors_in_front_of_the_site(fence: LoadedScene) -> None:
    bs_m = np.array(SITE.position_m)

    point_m = witness_points(fence, bs_m, 0.0, 500)

    offset_m = point_m[:, :2] - bs_m[:2]
    assert len(point_m) == 500
    assert offset_m[:, 0].min() > 0
    assert np.abs(point_m[:, :2]).max() <= 100  # the ground ends there
    assert sees_sky(fence, point_m).all()
    assert point_m[:, 2] == pytest.approx(0.99)  # 1.5 m above its lower side
    x, y = np.meshgrid(np.arange(-35, 96, 5.0), np.arange(-95, 96, 5.0))
    ground_m = np.column_stack([x.ravel(), y.ravel()])
    ground_m = ground_m[np.abs(ground_m).max(axis=1) > 30]  # away from the block and the slabs
    hole_m = np.linalg.norm(ground_m[:, None] - point_m[:, :2], axis=2).min(axis=1)
    assert hole_m.max() < 2 * np.sqrt(140 * 200 / 500)  # two spacings
    first = witness_points(fence, bs_m, 0.0, 100)
    np.testing.assert_array_equal(first, point_m[:100])
    assert len(witness_points(fence, bs_m, np.pi, 500)) < 500  # less ground is behind
    assert len(witness_points(fence, bs_m, 0.0, 0)) == 0


def test_witnesses_are_refused_when_nothing_would_follow() -> None:
    with pytest.raises(ValidationError, match=r"num_witnesses \(9\) tell where a second search"):
        Discovery(dense_cone_rays=None, num_witnesses=9)
    with pytest.raises(ValidationError, match=r"dense_cone_rays \(1280\) must exceed cone_rays"):
        Discovery(cone_rays=1280)
    assert Discovery(dense_cone_rays=None) == Discovery(dense_cone_rays=None, num_witnesses=0)


def test_only_quick_does_without() -> None:
    density = {name: found.dense_cone_rays for name, found in DISCOVERY_PRESETS.items()}

    assert density["quick"] is None
    assert density["standard"] == 5 * DISCOVERY_PRESETS["standard"].cone_rays
    assert density["thorough"] > density["standard"]
