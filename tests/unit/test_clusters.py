"""The paper's clusters and windows against loops and arrangements whose clusters are evident."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymark.benchmark.clusters import cluster_windows, radius_clusters

ROUNDING_M = 1e-9
"""Of coordinates below a kilometre in float64."""


def line(num: int, spacing_m: float, start_m: float = 0.0) -> np.ndarray:
    return np.column_stack([start_m + spacing_m * np.arange(num), np.zeros(num)])


def naive_clusters(position_m: np.ndarray, radius_m: float) -> list[set[int]]:
    """Merge the sets of any two points that lie within the radius, again and again."""
    clusters = [{i} for i in range(len(position_m))]
    distance_m = np.linalg.norm(position_m[:, None] - position_m[None], axis=-1)
    for i, j in np.argwhere(distance_m <= radius_m + ROUNDING_M):
        joined = [c for c in clusters if i in c or j in c]
        clusters = [c for c in clusters if c not in joined] + [set().union(*joined)]
    return clusters


def naive_radius(position_m: np.ndarray, min_median_size: int) -> float:
    """Try all distances between points, smallest first."""
    distance_m = np.linalg.norm(position_m[:, None] - position_m[None], axis=-1)
    for radius_m in np.unique(distance_m[distance_m > 0]):
        if np.median([len(c) for c in naive_clusters(position_m, radius_m)]) >= min_median_size:
            return float(radius_m)
    raise AssertionError


def sets_of(cluster: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(cluster == i).tolist()) for i in np.unique(cluster)}


def naive_windows(position_m: np.ndarray, members: list[int], size: int) -> list[list[int]]:
    """Take the free point farthest from the middle of those free, and its nearest neighbours."""
    windows, free = [], list(members)
    while free:
        middle = np.mean([position_m[i] for i in free], axis=0)
        start = max(free, key=lambda i: float(np.linalg.norm(position_m[i] - middle)))
        near = sorted(free, key=lambda i: float(np.linalg.norm(position_m[i] - position_m[start])))
        windows.append(near[:size] + [-1] * (size - len(near)))
        free = [i for i in free if i not in near[:size]]
    return windows


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("min_median_size", [2, 3, 5])
def test_clusters_and_radius_are_those_of_loops_when_points_are_random(
    seed: int, min_median_size: int
) -> None:
    position_m = np.random.default_rng(seed).uniform(0, 100, (14, 2))

    cluster, radius_m = radius_clusters(position_m, min_median_size=min_median_size)

    assert radius_m == pytest.approx(naive_radius(position_m, min_median_size), abs=ROUNDING_M)
    assert sets_of(cluster) == {frozenset(c) for c in naive_clusters(position_m, radius_m)}
    assert set(cluster.tolist()) == set(range(cluster.max() + 1))


def test_points_are_one_cluster_when_they_lie_on_a_line_at_equal_spacing() -> None:
    cluster, radius_m = radius_clusters(line(9, 2.0), min_median_size=2)

    assert radius_m == pytest.approx(2.0)
    assert (cluster == 0).all()


def test_groups_stay_apart_when_they_are_far_from_each_other() -> None:
    position_m = np.concatenate([line(4, 1.5), line(5, 1.5, 500.0)])[[0, 5, 1, 8, 2, 6, 3, 4, 7]]
    is_far = position_m[:, 0] > 250

    cluster, radius_m = radius_clusters(position_m, min_median_size=4)

    assert radius_m == pytest.approx(1.5)
    assert sets_of(cluster) == {
        frozenset(np.flatnonzero(is_far).tolist()),
        frozenset(np.flatnonzero(~is_far).tolist()),
    }


def test_groups_are_merged_when_the_median_must_be_that_large() -> None:
    position_m = np.concatenate([line(4, 1.5), line(5, 1.5, 500.0)])

    cluster, radius_m = radius_clusters(position_m, min_median_size=6)

    # Between 4.5 m, where the first group ends, and 500 m.
    assert radius_m == pytest.approx(495.5)
    assert (cluster == 0).all()


def test_radius_is_zero_when_points_coincide() -> None:
    cluster, radius_m = radius_clusters(np.zeros((4, 2)), min_median_size=3)

    assert radius_m == 0.0
    assert (cluster == 0).all()


@pytest.mark.parametrize("num_points", [0, 1, 3])
def test_all_points_are_one_cluster_when_there_are_too_few(num_points: int) -> None:
    cluster, radius_m = radius_clusters(line(num_points, 1.0), min_median_size=4)

    assert cluster.tolist() == [0] * num_points
    assert radius_m == (1.0 if num_points > 1 else 0.0)


def test_clusters_are_refused_when_one_point_would_do() -> None:
    with pytest.raises(ValueError, match="min_median_size must be 2 or more, got 1"):
        radius_clusters(line(3, 1.0), min_median_size=1)


@pytest.mark.parametrize("size", [1, 3, 5, 20])
@pytest.mark.parametrize("seed", range(3))
def test_windows_are_those_of_loops_when_points_are_random(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    position_m, cluster = rng.uniform(0, 100, (17, 2)), rng.integers(0, 3, 17)

    windows = cluster_windows(position_m, cluster, size=size)

    expected = [
        window
        for number in range(3)
        for window in naive_windows(position_m, np.flatnonzero(cluster == number).tolist(), size)
    ]
    assert windows.tolist() == expected


def test_windows_run_along_the_line_when_points_are_equally_spaced() -> None:
    position_m = line(6, 1.0)
    position_m[0, 0] = -0.5

    windows = cluster_windows(position_m, np.zeros(6, dtype="i8"), size=3)

    # The first starts at the far end, the second at the end of what is left that is first.
    assert windows[0].tolist() == [0, 1, 2]
    assert sorted(windows[1].tolist()) == [3, 4, 5]


def test_windows_do_not_cross_clusters_when_groups_are_far() -> None:
    position_m = np.concatenate([line(4, 1.0), line(5, 1.0, 500.0)])
    cluster = np.repeat([0, 1], [4, 5])

    windows = cluster_windows(position_m, cluster, size=3)

    assert [(row >= 0).sum() for row in windows] == [3, 1, 3, 2]
    assert all(len(set(cluster[row[row >= 0]].tolist())) == 1 for row in windows)


@given(
    seed=st.integers(0, 10**6),
    num=st.integers(1, 40),
    size=st.integers(1, 7),
    num_clusters=st.integers(1, 5),
)
def test_every_point_is_in_exactly_one_window(
    seed: int, num: int, size: int, num_clusters: int
) -> None:
    rng = np.random.default_rng(seed)
    # Whole metres, so that points coincide and tie.
    position_m = rng.integers(0, 6, (num, 2)).astype("f8")

    windows = cluster_windows(position_m, rng.integers(0, num_clusters, num), size=size)

    assert windows.shape[1] == size
    assert sorted(windows[windows >= 0].tolist()) == list(range(num))
    # Vertices come first: what is missing of a window is at its end, and none is empty.
    assert (np.diff((windows >= 0).astype(int), axis=1) <= 0).all()
    assert (windows[:, 0] >= 0).all()


def test_there_is_no_window_when_there_is_no_point() -> None:
    windows = cluster_windows(np.zeros((0, 2)), np.zeros(0, dtype="i8"), size=4)

    assert windows.shape == (0, 4)
