"""Targets as a tree of balls, so that a chain is tested against many of them at once.

A test may only reject a ball when no point of it can pass; so the tree changes the time of the
search and never its result.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

_CELL_SIZES_M = (96.0, 24.0, 6.0)
_MAX_PAIRS = 4_000_000

PairTest = Callable[[np.ndarray, np.ndarray, np.ndarray], Bool[np.ndarray, "pair"]]
"""Takes chains, ball centres [m] and radii [m]; tells which pairs may hold a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of the tree; the last holds the targets themselves.

    Attributes:
        centre_m: Centres [m].
        radius_m: Radii [m].
        first_child: First ball of the next level that lies within.
        num_children: How many do.
    """

    centre_m: Float[np.ndarray, "ball 3"]
    radius_m: Float[np.ndarray, "ball"]
    first_child: Int[np.ndarray, "ball"]
    num_children: Int[np.ndarray, "ball"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTree:
    """Levels from coarse to fine, and the number of the target of each leaf."""

    levels: tuple[Level, ...]
    target: Int[np.ndarray, "target"]


def build_tree(
    centre_m: Float[np.ndarray, "target 3"], radius_m: Float[np.ndarray, "target"] | None = None
) -> TargetTree:
    """Sort targets into nested cells of 96, 24 and 6 m.

    Args:
        centre_m: Points, or centres of balls [m].
        radius_m: Radii of the balls; None for points [m].
    """
    cells = [np.floor(centre_m[:, :2] / size).astype("i8") for size in _CELL_SIZES_M]
    order = np.lexsort(np.concatenate([cell.T for cell in reversed(cells)]))
    centre = centre_m[order].astype("f8")
    radius = np.zeros(len(order)) if radius_m is None else radius_m[order]
    none = np.zeros(len(order), dtype="i8")
    leaves = Level(centre_m=centre, radius_m=radius, first_child=none, num_children=none)
    levels, starts = [leaves], np.arange(len(order))
    for depth in range(len(cells), 0, -1):
        key = np.concatenate([cell[order] for cell in cells[:depth]], axis=1)
        begin = np.flatnonzero(np.r_[True, (np.diff(key, axis=0) != 0).any(axis=1)])
        levels.insert(0, _level(leaves, begin, starts))
        starts = begin
    return TargetTree(levels=tuple(levels), target=order)


def find_pairs(
    tree: TargetTree, num_chains: int, test: PairTest
) -> Iterator[tuple[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]]]:
    """Yield (chain, target) pairs that pass the test, in pieces of bounded size."""
    num_balls = len(tree.levels[0].radius_m)
    step = max(1, _MAX_PAIRS // max(1, num_balls))
    for start in range(0, num_chains, step):
        chain = np.arange(start, min(start + step, num_chains))
        pair_chain = np.repeat(chain, num_balls)
        pair_ball = np.tile(np.arange(num_balls), len(chain))
        yield from _descend(tree, 0, pair_chain, pair_ball, test)


def _descend(
    tree: TargetTree,
    depth: int,
    chain: Int[np.ndarray, "pair"],
    ball: Int[np.ndarray, "pair"],
    test: PairTest,
) -> Iterator[tuple[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]]]:
    level = tree.levels[depth]
    for start in range(0, len(chain), _MAX_PAIRS):
        part = slice(start, start + _MAX_PAIRS)
        keep = test(chain[part], level.centre_m[ball[part]], level.radius_m[ball[part]])
        kept_chain, kept_ball = chain[part][keep], ball[part][keep]
        if len(kept_chain) == 0:
            continue
        if depth == len(tree.levels) - 1:
            yield kept_chain, tree.target[kept_ball]
            continue
        count = level.num_children[kept_ball]
        child = np.arange(count.sum()) + np.repeat(
            level.first_child[kept_ball] - np.cumsum(count) + count, count
        )
        yield from _descend(tree, depth + 1, np.repeat(kept_chain, count), child, test)


def _level(
    leaves: Level, begin: Int[np.ndarray, "ball"], child_begin: Int[np.ndarray, "child"]
) -> Level:
    """Enclose each run of leaves, from `begin` to the next, in a ball."""
    low = np.minimum.reduceat(leaves.centre_m, begin)
    high = np.maximum.reduceat(leaves.centre_m, begin)
    centre = (low + high) / 2
    count = np.diff(np.append(begin, len(leaves.centre_m)))
    distance = np.linalg.norm(leaves.centre_m - np.repeat(centre, count, axis=0), axis=1)
    first = np.searchsorted(child_begin, begin)
    return Level(
        centre_m=centre,
        radius_m=np.maximum.reduceat(distance + leaves.radius_m, begin),
        first_child=first,
        num_children=np.diff(np.append(first, len(child_begin))),
    )
