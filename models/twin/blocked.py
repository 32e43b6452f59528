"""Parting labelled links by where they stand, to ask what is learnt as at unseen places."""

import numpy as np
from jaxtyping import Bool, Int
from scipy.spatial import cKDTree

from raymark.benchmark import Labelled

Fold = tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]
"""Links that are asked, and those that may be learnt from."""


def blocked_folds(
    links: Labelled,
    *,
    num_folds: int,
    block_m: float,
    buffer_m: float,
    rng: np.random.Generator,
    is_asked: Bool[np.ndarray, "link"] | None = None,
) -> list[Fold]:
    """Deal whole windows of links, by square blocks and sites, to folds.

    A fold asks what was learnt from links of other blocks that stand at least `buffer_m` from all
    that it asks, as the links of a test do. Every link that counts is asked once, but in folds
    that would leave nobody to learn from: these are left out.

    Args:
        links: With their places.
        num_folds: How many folds there are at most.
        block_m: Side of the blocks [m].
        buffer_m: Least distance of who is asked and who is learnt from [m].
        rng: Places the grid and deals the blocks.
        is_asked: Which links count; all if not given. The others of their blocks are not learnt
            from.
    """
    counts = np.ones(len(links), dtype=bool) if is_asked is None else is_asked
    fold = _folds(_blocks(links, block_m, rng), counts, num_folds, rng)
    folds = []
    for number in range(num_folds):
        asked = np.flatnonzero((fold == number) & counts)
        fitters = _farther(links, np.flatnonzero(fold != number), asked, buffer_m)
        if len(asked) and len(fitters):
            folds.append((asked, fitters))
    return folds


def _blocks(links: Labelled, block_m: float, rng: np.random.Generator) -> Int[np.ndarray, "link"]:
    """Number the blocks in which the windows of links have their middle, site by site."""
    window = np.unique(links.measurements.window, return_inverse=True)[1].ravel()
    sums_m = [np.bincount(window, weights=links.position_m[:, i]) for i in range(2)]
    centre_m = (np.column_stack(sums_m) / np.bincount(window)[:, None])[window]
    cell = np.floor((centre_m + rng.uniform(0, block_m, 2)) / block_m).astype("i8")
    places = np.column_stack([links.measurements.site_index, cell])
    return np.unique(places, axis=0, return_inverse=True)[1].ravel()


def _folds(
    block: Int[np.ndarray, "link"],
    counts: Bool[np.ndarray, "link"],
    num_folds: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "link"]:
    """Deal blocks at random, each to the fold that asks least; -1 where a block asks nothing."""
    size = np.bincount(block, weights=counts)
    fold, load = np.full(len(size), -1), np.zeros(num_folds)
    for i in rng.permutation(np.flatnonzero(size)):
        fold[i] = int(load.argmin())
        load[fold[i]] += size[i]
    return fold[block]


def _farther(
    links: Labelled,
    others: Int[np.ndarray, "row"],
    asked: Int[np.ndarray, "asked"],
    buffer_m: float,
) -> Int[np.ndarray, "fitter"]:
    """Return those of the others that stand far from all that are asked at the same site."""
    site = links.measurements.site_index
    is_far = np.ones(len(others), dtype=bool)
    for number in np.unique(site[asked]):
        tree = cKDTree(links.position_m[asked[site[asked] == number]])
        here = site[others] == number
        is_far[here] = tree.query(links.position_m[others[here]])[0] >= buffer_m
    return others[is_far]
