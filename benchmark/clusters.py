"""Windows of neighbouring points, as the paper makes them: clusters of true positions, cut short.

Test points are among them, as a review of arXiv 2507.01337 describes it: (M) neighbourhoods of
radius r, overlapping ones merged, r the smallest radius whose median cluster size reaches n_min.
Nobody knows at run time which points lie close together: other splits use consecutive measurements.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage


def clustered_windows(
    links: pd.DataFrame, window_size: int
) -> tuple[Int[np.ndarray, "link"], Int[np.ndarray, "link"]]:
    """Cut the points of each site into windows of neighbours, whatever part they are of.

    Args:
        links: As `raymark.benchmark.splits.links_of` returns them.
        window_size: Most links of a window, and the median size that clusters must reach.

    Returns:
        Number of each link's window, and its place there.
    """
    window, step = np.empty(len(links), dtype="i8"), np.empty(len(links), dtype="i8")
    num_windows = 0
    for _, of_site in links.groupby("site", sort=False):
        rows = links.index.get_indexer(of_site.index)
        position_m = of_site[["x_m", "y_m"]].to_numpy("f8")
        cluster, _ = radius_clusters(position_m, min_median_size=window_size)
        number, place = np.nonzero(
            (windows := cluster_windows(position_m, cluster, size=window_size)) >= 0
        )
        window[rows[windows[number, place]]] = number + num_windows
        step[rows[windows[number, place]]] = place
        num_windows += len(windows)
    return window, step


def parted_windows(
    cluster: Int[np.ndarray, "link"], step: Int[np.ndarray, "link"], part: Int[np.ndarray, "link"]
) -> tuple[Int[np.ndarray, "link"], Int[np.ndarray, "link"]]:
    """Cut windows into those of one part; what is of one part stays as it is.

    Args:
        cluster: Number of each link's window (`clustered_windows`).
        step: Its place there.
        part: Part of each link.

    Returns:
        Number of each link's window, and its place there.
    """
    table = pd.DataFrame({"cluster": cluster, "part": part, "step": step})
    groups = table.sort_values("step").groupby(["cluster", "part"])
    return groups.ngroup().sort_index().to_numpy(), groups.cumcount().sort_index().to_numpy()


def radius_clusters(
    position_m: Float[np.ndarray, "link 2"], *, min_median_size: int
) -> tuple[Int[np.ndarray, "link"], float]:
    """Return the cluster of every point, and the radius [m].

    Neighbourhoods overlap, and are merged, when points lie within the radius of each other: the
    clusters are those of single linkage cut at the radius.

    Args:
        position_m: Positions.
        min_median_size: n_min, the median size that clusters must reach; fewer points are one
            cluster.

    Raises:
        ValueError: If `min_median_size` is below 2.
    """
    if min_median_size < 2:
        raise ValueError(f"min_median_size must be 2 or more, got {min_median_size}")
    if len(position_m) < 2:
        return np.zeros(len(position_m), dtype="i8"), 0.0
    tree = linkage(position_m, "single")
    for radius_m in _radii_that_may_do(tree, min_median_size):
        cluster = fcluster(tree, radius_m, "distance")
        if np.median(np.bincount(cluster)[1:]) >= min_median_size:
            break
    return cluster.astype("i8") - 1, float(radius_m)


def _radii_that_may_do(
    tree: Float[np.ndarray, "merge 4"], min_median_size: int
) -> Float[np.ndarray, "radius"]:
    """Return, in order, radii at which at most half of the clusters are too small, and the last."""
    num_points = len(tree) + 1
    size = np.concatenate([np.ones(num_points), tree[:, 3]])
    is_small = size < min_median_size
    merged = is_small[tree[:, :2].astype("i8")].sum(axis=1)
    num_small = num_points + np.cumsum(is_small[num_points:].astype("i8") - merged)
    num_clusters = num_points - 1 - np.arange(len(tree))
    radius_m = tree[:, 2]
    is_last = np.append(radius_m[1:] > radius_m[:-1], True)
    may_do = is_last & (2 * num_small <= num_clusters)
    may_do[-1] = True
    return radius_m[may_do]


def cluster_windows(
    position_m: Float[np.ndarray, "link 2"], cluster: Int[np.ndarray, "link"], *, size: int
) -> Int[np.ndarray, "window size"]:
    """Cut clusters into windows of neighbours: rows of points, -1 where a window is short.

    Each window takes the point farthest from the cluster's middle that is still free, and then the
    free points nearest to it, nearest first.
    """
    windows = []
    order = np.argsort(cluster, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(cluster))[:-1]):
        free = members
        while len(free):
            offset_m = position_m[free] - position_m[free].mean(axis=0)
            start = free[np.linalg.norm(offset_m, axis=1).argmax()]
            from_start_m = np.linalg.norm(position_m[free] - position_m[start], axis=1)
            nearest = from_start_m.argsort(kind="stable")[:size]
            chosen = free[nearest]
            windows.append(np.pad(chosen, (0, size - len(chosen)), constant_values=-1))
            free = np.delete(free, nearest)
    return np.array(windows, dtype="i8").reshape(-1, size)
