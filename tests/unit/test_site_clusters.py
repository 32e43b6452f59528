"""Groups of buildings that a search for sites takes one by one."""

import numpy as np
import pytest
import trimesh

from raymark.generator.site_clusters import building_clusters

Extent = tuple[float, float, float, float]
WORLD: Extent = (-5000.0, -5000.0, 5000.0, 5000.0)


class FlatGround:
    """Rays from below meet a plane at z = 0."""

    box_m = (np.array([-5000.0, -5000.0, 0.0]), np.array([5000.0, 5000.0, 100.0]))

    def hit_distance(
        self, origin_m: np.ndarray, direction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        assert (direction == [0, 0, 1]).all()
        return -origin_m[:, 2], np.zeros(len(origin_m), dtype="i4")

    def is_visible(self, start_m: np.ndarray, end_m: np.ndarray) -> np.ndarray:
        return (start_m[:, 2] > 0) & (end_m[:, 2] > 0)


def house(x: float, y: float, width: float, depth: float, height: float = 9.0) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=[[x, y, -0.1], [x + width, y + depth, height]])


def clusters(*houses: trimesh.Trimesh, extent_m: Extent = WORLD) -> list[Extent]:
    ground = trimesh.Trimesh([[-5e3, -5e3, 0], [5e3, -5e3, 0], [5e3, 5e3, 0]], [[0, 1, 2]])
    triangles = np.concatenate([mesh.triangles for mesh in (ground, *houses)]).astype("f8")
    return building_clusters(FlatGround(), triangles, extent_m, gap_m=100.0, margin_m=30.0)


def test_clusters_are_apart_when_a_shed_stands_far_from_houses() -> None:
    found = clusters(house(0, 0, 20, 10), house(60, 0, 20, 10), house(4000, 3000, 5, 5))
    assert found == [(-30, -30, 110, 40), (3970, 2970, 4035, 3035)]


def test_clusters_are_one_when_a_hall_has_corners_alone() -> None:
    found = clusters(house(0, 0, 1500, 900), house(700, 400, 10, 10), house(3500, 0, 10, 10))
    assert found == [(-30, -30, 1530, 930), (3470, -30, 3540, 40)]


def test_clusters_are_one_when_the_box_of_one_holds_the_other() -> None:
    row = [house(120.0 * i, 0, 100, 10) for i in range(8)]
    column = [house(0, 120.0 * i, 10, 100) for i in range(8)]
    found = clusters(*row, *column, house(600, 600, 10, 10))
    assert found == [(-30, -30, 970, 970)]


@pytest.mark.parametrize("num_apart", [1, 2, 40])
def test_clusters_hold_all_houses_and_lie_apart_when_there_are_many(num_apart: int) -> None:
    rng = np.random.default_rng(num_apart)
    corners = rng.uniform(-4900, 4900, (num_apart, 2))
    found = np.array(clusters(*(house(x, y, 20, 20) for x, y in corners)))
    is_in = (corners[:, None] >= found[:, :2]).all(2) & (corners[:, None] + 20 <= found[:, 2:]).all(
        2
    )
    assert (is_in.sum(axis=1) == 1).all()
    one, other = np.triu_indices(len(found), 1)
    gap = np.maximum(found[one, :2] - found[other, 2:], found[other, :2] - found[one, 2:])
    # Boxes without their margins are more than the gap apart along x or y.
    assert (gap.max(axis=1) >= 100 - 2 * 30).all()


def test_cluster_is_the_whole_extent_when_it_fills_half_of_it() -> None:
    extent_m = (-50.0, -50.0, 80.0, 50.0)
    assert clusters(house(0, 0, 20, 10), extent_m=extent_m) == [extent_m]


def test_clusters_are_none_when_nothing_is_higher_than_a_car() -> None:
    assert clusters(house(0, 0, 20, 10, height=1.5)) == []
    assert clusters(house(90, 0, 20, 10), extent_m=(-50.0, -50.0, 50.0, 50.0)) == []
