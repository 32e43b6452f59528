"""The paper's trajectories: clusters of neighbouring points, cut into short windows.

They are made from true positions, test points included, as a review of arXiv 2507.01337 describes
it: (M) neighbourhoods of radius r, overlapping ones merged, r the smallest radius whose median
cluster size reaches n_min. The benchmark's own tracks use consecutive measurements instead, since
at run time nobody knows which points lie close together.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage


def radius_clusters(
    position_m: Float[np.ndarray, "link 2"], *, min_median_size: int
) -> tuple[Int[np.ndarray, "link"], float]:
    """Return the cluster of every point, and the radius [m].

    Neighbourhoods overlap, and are merged, when points lie within the radius of each other: the
    clusters are those of single linkage cut at the radius.

    Args:
        position_m: Positions.
        min_median_size: n_min, the median size that clusters must reach.

    Raises:
        ValueError: If `min_median_size` is below 2, or there are fewer points.
    """
    if not 2 <= min_median_size <= len(position_m):
        raise ValueError(
            f"min_median_size must lie between 2 and the number of points ({len(position_m)}), "
            f"got {min_median_size}"
        )
    tree = linkage(position_m, "single")
    for radius_m in np.unique(tree[:, 2]):
        cluster = fcluster(tree, radius_m, "distance")
        if np.median(np.bincount(cluster)[1:]) >= min_median_size:
            break
    return cluster.astype("i8") - 1, float(radius_m)


def cluster_windows(
    position_m: Float[np.ndarray, "link 2"], cluster: Int[np.ndarray, "link"], *, size: int
) -> Int[np.ndarray, "window size"]:
    """Cut clusters into windows of neighbours: rows of points, -1 where a window is short.

    Each window takes the point farthest from the cluster's middle that is still free, and then the
    free points nearest to it, nearest first.
    """
    windows = []
    for number in range(cluster.max(initial=-1) + 1):
        free = np.flatnonzero(cluster == number)
        while len(free):
            offset_m = position_m[free] - position_m[free].mean(axis=0)
            start = free[np.linalg.norm(offset_m, axis=1).argmax()]
            order = np.linalg.norm(position_m[free] - position_m[start], axis=1).argsort()
            chosen = free[order[:size]]
            windows.append(np.pad(chosen, (0, size - len(chosen)), constant_values=-1))
            free = np.setdiff1d(free, chosen)
    return np.array(windows, dtype="i8").reshape(-1, size)
