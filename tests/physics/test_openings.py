"""Edges whose air is filled by a neighbour are none; all others stay."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.dataset import Dataset
from raymark.dataset.schema import DIFFRACTION
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.prefixes import EdgePoints
from raymark.radio import FrontEnd

SITE = {"name": "bs0", "position_m": [-40.0, 20.0, 12.0], "azimuth_deg": 0.0}
HOUSE = [[0, 0, 0], [10, 10, 6]]
GROUND = [[-100, -100, -1], [100, 100, 0]]
NUM_EDGES = 12

LoadBlocks = Callable[..., LoadedScene]


@pytest.fixture(scope="module")
def load_blocks(write_scene: Callable[..., Path]) -> LoadBlocks:
    """Load boxes, each a mesh of its own."""

    def load(*bounds: list[list[float]]) -> LoadedScene:
        meshes = {
            f"block{k}": (trimesh.creation.box(bounds=box), "concrete")
            for k, box in enumerate(bounds)
        }
        return LoadedScene(write_scene("blocks", meshes, [SITE]) / "scene.xml", FrontEnd())

    return load


def open_middles(scene: LoadedScene) -> set[tuple[float, ...]]:
    """Return the middles of the edges that are open there [m]."""
    wedges = scene.wedges
    middle_m = wedges.origin_m + wedges.length_m[:, None] / 2 * wedges.direction
    is_open = scene.is_open(middle_m, np.arange(wedges.count))
    return {tuple(row) for row in np.round(middle_m[is_open], 3).tolist()}


def test_every_edge_is_open_when_a_house_stands_alone(load_blocks: LoadBlocks) -> None:
    scene = load_blocks(HOUSE)

    assert len(open_middles(scene)) == scene.wedges.count == NUM_EDGES


@pytest.mark.parametrize("gap_m", [0.0, 0.03])
def test_edges_are_closed_when_a_house_of_the_same_height_abuts(
    load_blocks: LoadBlocks, gap_m: float
) -> None:
    scene = load_blocks(HOUSE, [[10 + gap_m, 0, 0], [20, 10, 6]])

    at_the_neighbour = {point for point in open_middles(scene) if 9.9 < point[0] < 10.1}
    assert at_the_neighbour == set()
    assert len(open_middles(scene)) == 2 * (NUM_EDGES - 4)


def test_edges_stay_open_when_a_house_stands_a_passage_apart(load_blocks: LoadBlocks) -> None:
    scene = load_blocks(HOUSE, [[10.2, 0, 0], [20, 10, 6]])

    assert len(open_middles(scene)) == 2 * NUM_EDGES


def test_edge_is_open_above_the_roof_of_a_lower_neighbour(load_blocks: LoadBlocks) -> None:
    scene = load_blocks([[0, 0, 0], [10, 10, 12]], [[10, 0, 0], [20, 10, 6]])
    wedges = scene.wedges
    corner = np.flatnonzero(
        (np.abs(wedges.direction[:, 2]) > 0.9)
        & (np.abs(wedges.origin_m[:, :2] - [10, 0]).max(axis=1) < 1e-6)
        & (wedges.length_m > 10)
    )
    heights_m = np.array([1.0, 5.0, 7.0, 11.0])
    points = np.column_stack([np.full(4, 10.0), np.zeros(4), heights_m])

    is_open = scene.is_open(points, np.repeat(corner, 4))

    assert is_open.tolist() == [False, False, True, True]


def test_points_are_tried_where_an_edge_is_open_alone(load_blocks: LoadBlocks) -> None:
    scene = load_blocks(HOUSE, [[10, 0, 0], [20, 10, 6]])
    points = EdgePoints(scene, np.ones(scene.wedges.count), turn=0.0)

    middle_m = scene.wedges.origin_m + scene.wedges.length_m[:, None] / 2 * scene.wedges.direction
    closed = np.abs(middle_m[:, 0] - 10) < 0.1

    assert closed.sum() == 8
    assert set(points.wedge) == set(np.flatnonzero(~closed))


def test_no_point_is_asked_when_there_is_none(load_blocks: LoadBlocks) -> None:
    scene = load_blocks(HOUSE)

    assert scene.is_open(np.zeros((0, 3)), np.zeros(0, dtype="i8")).shape == (0,)


@pytest.mark.slow  # two datasets
def test_path_diffracts_at_a_corner_only_when_no_house_abuts(
    write_scene: Callable[..., Path], trace_points: Callable[..., Dataset]
) -> None:
    """Around the corner of a wall, and along a front that a second house continues."""

    def num_diffracted(*bounds: list[list[float]]) -> int:
        meshes = {
            f"block{k}": (trimesh.creation.box(bounds=box), "concrete")
            for k, box in enumerate((GROUND, *bounds))
        }
        site = {"name": "bs0", "position_m": [0.0, -20.0, 2.0], "azimuth_deg": 90.0}
        scene = write_scene("front", meshes, [site])
        links = trace_points(scene, [[14.0, 5.0, 2.0]], max_depth=1, diffraction=True)
        arrays = links.load_shard(links.manifest.shards[0])
        edge = links.load_shard(links.manifest.shards[0], "detail")["path/vertex_m"][:, 0]
        at_corner = np.abs(edge[:, :2] - [10, 0]).max(axis=1) < 1e-3
        return int(((arrays["path/interaction"][:, 0] == DIFFRACTION) & at_corner).sum())

    house = [[0.0, 0.0, 0.0], [10.0, 10.0, 6.0]]
    porch = [[10.0, -1.0, 0.0], [10.5, 0.5, 6.0]]

    assert num_diffracted(house) == 1
    assert num_diffracted(house, porch) == 0
