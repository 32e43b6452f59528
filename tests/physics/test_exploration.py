"""The exploration of what the BS and edges send rays to: its rays, its book, and what it finds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.backtracking import source_images
from raymark.generator.tracing.beams import BeamTable
from raymark.generator.tracing.bundles import Fans, Sphere
from raymark.generator.tracing.chain_book import ChainBook
from raymark.generator.tracing.exploration import explore_fans, explore_sphere
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.prefixes import EdgePoints, Prefixes, find_prefixes
from raymark.radio import FrontEnd

BS_M = np.array([-40.0, 1.0, 20.0])
FEW = Discovery(discovery_rays=20_000, refinements=3)
RAYS_PER_M = 100.0
NUM_SLABS = 24
COSINE_ERROR = 1e-6
"""Rays are computed in float32."""


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
def tables(fence: LoadedScene) -> list[BeamTable]:
    """Beams of no and of one reflection."""
    return explore_sphere(fence, BS_M, 1, FEW, turn=0.0)


@pytest.fixture(scope="module")
def points(fence: LoadedScene) -> EdgePoints:
    """Points on all edges."""
    return EdgePoints(fence, np.ones(fence.wedges.count), turn=0.0)


@pytest.fixture(scope="module")
def prefixes(fence: LoadedScene, tables: list[BeamTable], points: EdgePoints) -> Prefixes:
    """The edges that the BS sees."""
    return find_prefixes(fence, BS_M, tables[0], points)


@pytest.fixture(scope="module")
def fans(fence: LoadedScene, points: EdgePoints, prefixes: Prefixes) -> Fans:
    """What leaves these edges."""
    number = np.arange(len(prefixes.wedge))
    density = np.full(len(number), RAYS_PER_M)
    return Fans(fence.wedges, points.num_parts, prefixes, density, number)


def test_prefixes_are_those_of_plain_geometry_when_every_point_is_tried(
    fence: LoadedScene, tables: list[BeamTable], points: EdgePoints
) -> None:
    wedges, planes = fence.wedges, fence.planes
    for table, least in zip(tables, (100, 5), strict=True):
        found = find_prefixes(fence, BS_M, table, points)
        expected = set()
        for chain in table.plane.tolist():
            image = source_images(BS_M, np.array([chain], dtype="i8").reshape(1, -1), planes)[0, -1]
            offset = image - wedges.origin_m[points.wedge]
            before = np.maximum(
                (offset * wedges.normal_0[points.wedge]).sum(axis=1),
                (offset * wedges.normal_n[points.wedge]).sum(axis=1),
            )
            seen, here, onward = before > 1e-4, points.position_m, None
            for plane in reversed(chain):
                normal = planes.normal[plane]
                share = (planes.offset_m[plane] - here @ normal) / ((image - here) @ normal)
                crossing = here + share[:, None] * (image - here)
                low, high = planes.low_m[plane] + 0.05, planes.high_m[plane] - 0.05
                seen &= (share > 0) & (share < 1)
                seen &= ((crossing > low - 1e-6) & (crossing < high + 1e-6)).all(axis=1)
                off_plane = crossing + 1e-3 * np.sign((here - crossing) @ normal)[:, None] * normal
                seen &= fence.is_visible(here, off_plane)
                onward = off_plane
            source = np.broadcast_to(BS_M, here.shape)
            seen &= fence.is_visible(here if onward is None else onward, source)
            expected |= {
                (*chain, wedge, part)
                for wedge, part in zip(points.wedge[seen], points.part[seen], strict=True)
            }
        row, part = np.nonzero(found.sees)
        rows = np.column_stack([found.plane[row], found.wedge[row], part]).tolist()

        assert len(rows) > least
        assert {tuple(row) for row in rows} == expected


def test_rays_leave_on_the_keller_cone_into_the_open_when_they_are_laid_out(
    fence: LoadedScene, prefixes: Prefixes, fans: Fans
) -> None:
    rays = fans.lattice(np.arange(len(prefixes.wedge)), turn=0.0)
    in_space = fans.in_space(rays)
    origin, direction = np.array(in_space.o).T, np.array(in_space.d).T

    wedge = prefixes.wedge[rays.root]
    edge = fence.wedges.direction[wedge]
    on_edge = fence.wedges.origin_m[wedge] + rays.place[:, None] * edge
    incoming = (on_edge - BS_M) / np.linalg.norm(on_edge - BS_M, axis=1)[:, None]
    towards_0 = (direction * fence.wedges.normal_0[wedge]).sum(axis=1)
    towards_n = (direction * fence.wedges.normal_n[wedge]).sum(axis=1)

    turned = (direction * edge).sum(axis=1) - (incoming * edge).sum(axis=1)
    assert np.abs(turned).max() < COSINE_ERROR
    assert (np.maximum(towards_0, towards_n) > 0).all()
    assert (np.linalg.norm(origin - on_edge, axis=1) < 2e-3).all()
    assert ((rays.place > 0) & (rays.place < fence.wedges.length_m[wedge])).all()


def test_lattice_is_as_dense_on_every_edge_when_lengths_differ(
    fence: LoadedScene, points: EdgePoints, prefixes: Prefixes, fans: Fans
) -> None:
    count = np.bincount(fans.lattice(np.arange(len(prefixes.wedge)), turn=0.0).root)
    num_parts = points.num_parts[prefixes.wedge]
    seen = np.pad(prefixes.sees, ((0, 0), (1, 1)))
    seen = seen[:, :-2] | seen[:, 1:-1] | seen[:, 2:]
    num_seen = (seen & (np.arange(seen.shape[1]) < num_parts[:, None])).sum(axis=1)
    expected = RAYS_PER_M * fence.wedges.length_m[prefixes.wedge] * num_seen / num_parts

    assert np.ptp(fence.wedges.length_m[prefixes.wedge]) > 5
    np.testing.assert_allclose(count, expected, atol=1)


def test_cones_hold_the_rays_of_their_chains_when_they_are_found(
    fence: LoadedScene, tables: list[BeamTable]
) -> None:
    sphere = Sphere(BS_M, 50_000)
    rays = sphere.lattice(turn=0.3)
    direction = sphere.directions(rays)
    distance, _ = fence.hit_distance(np.broadcast_to(BS_M, direction.shape), direction)
    direction, distance = direction[np.isfinite(distance)], distance[np.isfinite(distance)]
    hit = BS_M + distance[:, None] * direction
    planes, num_held = fence.planes, 0
    for row, (plane,) in enumerate(tables[1].plane.tolist()):
        on_plane = np.abs(hit @ planes.normal[plane] - planes.offset_m[plane]) < 1e-3
        on_plane &= ((hit > planes.low_m[plane]) & (hit < planes.high_m[plane])).all(axis=1)
        cosine = direction[on_plane] @ tables[1].axis[row]
        assert (np.arccos(np.clip(cosine, -1, 1)) < tables[1].half_angle_rad[row]).all()
        num_held += on_plane.sum()

    assert num_held > 500


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

    for rows, known in zip(book.sequences(), naive, strict=True):
        assert sorted(map(tuple, rows.tolist())) == sorted(known)


def test_exploration_finds_more_narrow_planes_when_it_is_refined(
    fence: LoadedScene, points: EdgePoints, prefixes: Prefixes
) -> None:
    def chains(rays_per_m: float, refinements: int) -> set[tuple[int, ...]]:
        density = np.full(len(prefixes.wedge), rays_per_m)
        number = np.arange(len(density))
        fans = Fans(fence.wedges, points.num_parts, prefixes, density, number)
        (table,) = explore_fans(fence, fans, 1, refinements, turn=0.0)
        return {tuple(row) for row in np.column_stack([table.root, table.plane]).tolist()}

    once, often, dense = chains(8.0, 1), chains(8.0, 6), chains(4000.0, 1)

    assert once < often <= dense
