"""Windows of links that one UE measured in a row: a hidden Markov chain over candidates.

The UE walks at random, with steps as large as those of labelled windows; forward and backward
passes give the posterior of each link under all of its window ([rabiner1989], eqs. 19-27).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from raymark.models.twin.matching import Modes
from raymark.models.twin.posterior import weights

_DEFAULT_STEP_M = 1.0
"""Where no window has two labelled links."""
_LEAST_DENSITY = 1e-9
"""Relative to that of no step at all: no candidate is quite ruled out by its neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Which window each link is of, and its place there.

    Attributes:
        window: Links with the same number were measured one after the other.
        step: Place of each in its window.
    """

    window: Int[np.ndarray, "link"]
    step: Int[np.ndarray, "link"]

    def order(self) -> tuple[Int[np.ndarray, "link"], Int[np.ndarray, "gap"]]:
        """Return links window by window, and the steps from each to the next; 0 where it ends."""
        order = np.lexsort((self.step, self.window))
        is_same = np.diff(self.window[order]) == 0
        return order, np.where(is_same, np.diff(self.step[order]), 0)


def step_of(position_m: Float[np.ndarray, "link 2"], windows: Windows) -> float:
    """Return the standard deviation of one coordinate over one step of labelled windows [m]."""
    order, count = windows.order()
    moved_m = np.diff(position_m[order], axis=0)[count > 0]
    if not len(moved_m):
        return _DEFAULT_STEP_M
    by_step = (moved_m**2).sum(axis=1) / count[count > 0]
    return float(np.sqrt(by_step.mean() / 2))


def window_weights(
    modes: Modes, windows: Windows, *, temper: float, step_m: float
) -> Float[np.ndarray, "link mode"]:
    """Return the share of each candidate under all links of its window.

    Args:
        modes: Best candidates of each link.
        windows: Which window each link is of, and where in it.
        temper: Power to which the likelihood is raised.
        step_m: Standard deviation of one coordinate over one step [m].
    """
    weight = weights(modes, temper)
    order, count = windows.order()
    forward, backward = weight[order], np.ones_like(weight)
    moves = [
        _moves(modes.centre_m[here], modes.centre_m[there], step_m**2 * steps) if steps else None
        for here, there, steps in zip(order[:-1], order[1:], count.tolist(), strict=True)
    ]
    for i, move in enumerate(moves):
        if move is not None:
            forward[i + 1] = _normal((forward[i] @ move) * forward[i + 1])
    for i, move in reversed(list(enumerate(moves))):
        if move is not None:
            backward[i] = _normal(move @ (weight[order[i + 1]] * backward[i + 1]))
    smoothed = np.empty_like(weight)
    smoothed[order] = _normal(forward * backward)
    return smoothed


def _moves(
    here_m: Float[np.ndarray, "mode 2"], there_m: Float[np.ndarray, "other 2"], variance_m2: float
) -> Float[np.ndarray, "mode other"]:
    """Return the density of a step between all candidates of two links, up to a factor."""
    squared_m2 = ((here_m[:, None] - there_m) ** 2).sum(axis=-1)
    return np.exp(-0.5 * squared_m2 / variance_m2) + _LEAST_DENSITY


def _normal(weight: Float[np.ndarray, "*link mode"]) -> Float[np.ndarray, "*link mode"]:
    return weight / weight.sum(axis=-1, keepdims=True)
