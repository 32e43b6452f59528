"""Targets as a tree of balls, so that a chain is tested against many of them at once.

A test may only reject a ball when no point of it can pass; so the tree changes the time of the
search and never its result.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt

from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.backtracking import Ball
from raymark.generator.tracing.sionna_adapter import point, real, unsigned

_CELL_M, _FINER_CELLS_M = 96.0, (24.0, 6.0)
_MAX_PAIRS = 4_000_000

PairTest = Callable[[mi.UInt, Ball], mi.Bool]
"""Takes chains and balls; tells which pairs may hold a path."""


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
    """Targets in cells, and in levels of balls from coarse to fine.

    Attributes:
        cell: Cells of 96 m that hold the balls of the first level.
        levels: The balls.
        target: Number of the target of each ball of the last level.
    """

    cell: Int[np.ndarray, "cell 3"]
    levels: tuple[Level, ...]
    target: Int[np.ndarray, "target"]


def build_tree(position_m: Float[np.ndarray, "target 3"]) -> TargetTree:
    """Sort targets into nested cells of 96, 24 and 6 m."""
    cells = [np.floor(position_m / size).astype("i8") for size in (_CELL_M, *_FINER_CELLS_M)]
    order = np.lexsort(np.concatenate([cell.T for cell in reversed(cells)]))
    centre = position_m[order].astype("f8")
    none = np.zeros(len(order), dtype="i4")
    leaves = Level(centre_m=centre, radius_m=none * 0.0, first_child=none, num_children=none)
    levels, starts = [leaves], np.arange(len(order))
    for depth in range(len(cells), 0, -1):
        key = np.concatenate([cell[order] for cell in cells[:depth]], axis=1)
        begin = np.flatnonzero(np.r_[True, (np.diff(key, axis=0) != 0).any(axis=1)])
        levels.insert(0, _level(leaves, begin, starts))
        starts = begin
    return TargetTree(cell=cells[0][order[starts]], levels=tuple(levels), target=order)


class PairSearch:
    """Chains that are tested against targets. Which may reach a cell is found once and kept."""

    def __init__(self, num_chains: int, *tests: PairTest) -> None:
        """Start with no cell.

        Args:
            num_chains: Chains are numbered from 0.
            tests: Tried in this order, each on what the one before has left.
        """
        self._num_chains, self._tests = num_chains, tests
        self._of_cell: dict[tuple[int, ...], np.ndarray] = {}

    def find(
        self, tree: TargetTree
    ) -> Iterator[tuple[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]]]:
        """Yield the (chain, target) pairs that pass all tests, in pieces of bounded size."""
        balls = [
            Ball(centre_m=point(level.centre_m), radius_m=real(level.radius_m))
            for level in tree.levels
        ]
        chains = [self._reaching(cell) for cell in tree.cell]
        pairs = (
            np.concatenate(chains),
            np.repeat(np.arange(len(chains), dtype="u4"), [len(rows) for rows in chains]),
        )
        for chain, ball in self._descend(tree, balls, 0, pairs):
            yield chain.astype("i8"), tree.target[ball]

    def _reaching(self, cell: Int[np.ndarray, "3"]) -> UInt[np.ndarray, "chain"]:
        key = tuple(cell.tolist())
        if key not in self._of_cell:
            ball = Ball(
                centre_m=point(_CELL_M * (cell[None] + 0.5)),
                radius_m=real(np.array([_CELL_M * np.sqrt(3) / 2])),
            )
            found = [np.zeros(0, dtype="u4")]
            for start in range(0, self._num_chains, _MAX_PAIRS):
                chain = np.arange(start, min(start + _MAX_PAIRS, self._num_chains))
                kept, _ = self._passing(unsigned(chain), unsigned(0 * chain), ball)
                found.append(np.array(kept))
            self._of_cell[key] = np.concatenate(found)
        return self._of_cell[key]

    def _passing(self, chain: mi.UInt, ball: mi.UInt, balls: Ball) -> tuple[mi.UInt, mi.UInt]:
        for test in self._tests:
            if dr.width(chain) == 0:
                break
            passes = test(chain, _take(balls, ball))
            # A test that holds for all may be of width 1.
            kept = dr.compress(passes & dr.full(mi.Bool, True, dr.width(chain)))
            chain, ball = dr.gather(mi.UInt, chain, kept), dr.gather(mi.UInt, ball, kept)
        return chain, ball

    def _descend(
        self,
        tree: TargetTree,
        balls: list[Ball],
        depth: int,
        pairs: tuple[UInt[np.ndarray, "pair"], UInt[np.ndarray, "pair"]],
    ) -> Iterator[tuple[UInt[np.ndarray, "kept"], UInt[np.ndarray, "kept"]]]:
        level = tree.levels[depth]
        for start in range(0, len(pairs[0]), _MAX_PAIRS):
            chains, targets = (unsigned(x[start : start + _MAX_PAIRS]) for x in pairs)
            chain, ball = (np.array(x) for x in self._passing(chains, targets, balls[depth]))
            if len(chain) == 0:
                continue
            if depth == len(tree.levels) - 1:
                yield chain, ball
                continue
            count = level.num_children[ball]
            first = level.first_child[ball] - np.cumsum(count, dtype="i4") + count
            child = np.arange(count.sum(), dtype="i4") + np.repeat(first, count)
            below = (np.repeat(chain, count), child.astype("u4"))
            yield from self._descend(tree, balls, depth + 1, below)


def _take(balls: Ball, number: mi.UInt) -> Ball:
    """Return balls by their numbers."""
    return Ball(
        centre_m=dr.gather(mi.Point3f, balls.centre_m, number),
        radius_m=dr.gather(mi.Float, balls.radius_m, number),
    )


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
        first_child=first.astype("i4"),
        num_children=np.diff(np.append(first, len(child_begin))).astype("i4"),
    )
