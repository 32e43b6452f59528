"""The exploration of what leaves an edge: its rays, its book of chains, and what it finds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.chains import discover, sphere_directions
from raymark.generator.tracing.exploration import ChainBook, Fans, explore
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.prefixes import Prefixes, find_prefixes
from raymark.radio import FrontEnd

BS_M = np.array([-40.0, 1.0, 20.0])
NUM_RAYS = 20_000
RAYS_PER_M = 100
NUM_SLABS = 24
COSINE_ERROR = 1e-9
"""Rays are computed in float64."""


@pytest.fixture(scope="module")
def fence(write_scene: Callable[..., Path]) -> LoadedScene:
    """A block, and beyond it a slanting row of narrow slabs, each in planes of its own."""
    meshes = {"block": (trimesh.creation.box(bounds=[[-10, -10, 0], [10, 10, 12]]), "metal")}
    for k in range(NUM_SLABS):
        low = np.array([30 + 0.3 * k, k - 12.0, 0])
        slab = trimesh.creation.box(bounds=[low, low + np.array([0.2, 1.0, 9])])
        meshes[f"slab{k}"] = (slab, "concrete")
    site = {"name": "bs0", "position_m": BS_M.tolist(), "azimuth_deg": 0.0}
    return LoadedScene(write_scene("fence", meshes, [site]) / "scene.xml", FrontEnd())


@pytest.fixture(scope="module")
def prefixes(fence: LoadedScene) -> Prefixes:
    """The edges that the BS sees."""
    rays = sphere_directions(NUM_RAYS)
    origin, root = np.broadcast_to(BS_M, rays.shape), np.zeros(NUM_RAYS, dtype="i8")
    (bounce,) = discover(fence, origin, rays, root, 1)
    return find_prefixes(fence, BS_M, bounce, 8, turn=0.0)


def test_rays_leave_on_the_keller_cone_into_the_open_when_they_are_laid_out(
    fence: LoadedScene, prefixes: Prefixes
) -> None:
    fans = Fans(fence.wedges, prefixes, RAYS_PER_M)
    rays = fans.lattice(np.arange(len(prefixes.wedge)), turn=0.0)
    origin, direction = fans.in_space(rays)

    wedge = prefixes.wedge[rays.fan]
    edge = fence.wedges.direction[wedge]
    on_edge = fence.wedges.origin_m[wedge] + rays.along_m[:, None] * edge
    incoming = (on_edge - BS_M) / np.linalg.norm(on_edge - BS_M, axis=1)[:, None]
    towards_0 = (direction * fence.wedges.normal_0[wedge]).sum(axis=1)
    towards_n = (direction * fence.wedges.normal_n[wedge]).sum(axis=1)

    turned = (direction * edge).sum(axis=1) - (incoming * edge).sum(axis=1)
    assert np.abs(turned).max() < COSINE_ERROR
    assert (np.maximum(towards_0, towards_n) > 0).all()
    assert (np.linalg.norm(origin - on_edge, axis=1) < 2e-3).all()
    assert ((rays.along_m > 0) & (rays.along_m < fence.wedges.length_m[wedge])).all()


def test_lattice_is_as_dense_on_every_edge_when_lengths_differ(
    fence: LoadedScene, prefixes: Prefixes
) -> None:
    fans = Fans(fence.wedges, prefixes, RAYS_PER_M)
    rays = fans.lattice(np.arange(len(prefixes.wedge)), turn=0.0)

    count = np.bincount(rays.fan)
    seen = np.pad(prefixes.sees, ((0, 0), (1, 1)))
    seen_share = (seen[:, :-2] | seen[:, 1:-1] | seen[:, 2:]).mean(axis=1)
    expected = RAYS_PER_M * fence.wedges.length_m[prefixes.wedge] * seen_share

    assert np.ptp(fence.wedges.length_m[prefixes.wedge]) > 5
    np.testing.assert_allclose(count, expected, atol=1)


def test_book_numbers_chains_as_a_dictionary_does_when_rays_repeat() -> None:
    rng = np.random.default_rng(4)
    book = ChainBook(2, 5)
    naive: list[set[tuple[int, ...]]] = [set(), set()]
    for _ in range(6):
        root, plane = rng.integers(3, size=20), rng.integers(5, size=(20, 2))
        first, is_new = book.enter(0, root, plane[:, 0])
        _, is_new_2 = book.enter(1, first, plane[:, 1])
        for k in range(20):
            short, long = (root[k], plane[k, 0]), (root[k], *plane[k])
            assert is_new[k] == (short not in naive[0])
            assert is_new_2[k] == (long not in naive[1])
            naive[0].add(short)
            naive[1].add(long)

    for table, known in zip(book.tables(), naive, strict=True):
        rows = np.column_stack([table.root, table.plane])
        assert [tuple(row) for row in rows] == sorted(known)


def test_exploration_finds_more_narrow_planes_when_it_is_refined(
    fence: LoadedScene, prefixes: Prefixes
) -> None:
    def chains(cone_rays: int, refinements: int) -> set[tuple[int, ...]]:
        discovery = Discovery(cone_rays=cone_rays, refinements=refinements)
        (table,) = explore(fence, prefixes, 1, discovery, turn=0.0)
        return {tuple(row) for row in np.column_stack([table.root, table.plane]).tolist()}

    once, often, dense = chains(8, 1), chains(8, 6), chains(4000, 1)

    assert once < often <= dense
