"""How UEs move from one measurement to the next: a velocity that lasts, fitted on labelled tracks.

In steps of a track, both coordinates alike: v' = a v + e and x' = x + v' + w, with e of the
variance (1 - a^2) V, and w of another one, for steps of uneven length. Where odometry tells of a
step, all of this is of what it gets wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from raymark.benchmark.measurements import Labelled, Measurements

_DEFAULT_VARIANCE_M2 = 1.0
"""Of one coordinate over one step, where no track has two labelled links."""
_LARGEST_PERSISTENCE = 0.999
_LEAST_VARIANCE_M2 = 1e-6

State = Float[np.ndarray, "*batch 4"]
"""x, y and the velocity along both [m] and [m a step]."""
StateCovariance = Float[np.ndarray, "*batch 4 4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """The links of some tracks, in order of time.

    Attributes:
        row: Row of each link; -1 beyond the end of a shorter track.
        gap: Steps since the link before, more than 1 where links are missing; 0 at the start and
            beyond the end.
        told_m: The way from the link before, as odometry tells it; 0 without [m].
    """

    row: Int[np.ndarray, "track step"]
    gap: Int[np.ndarray, "track step"]
    told_m: Float[np.ndarray, "track step 2"]


def tracks_of(links: Measurements) -> Tracks:
    """Return the links of each window by their steps, whatever their order is."""
    order = np.lexsort((links.window_step, links.window))
    window, step = links.window[order], links.window_step[order]
    is_start = np.diff(window, prepend=-1) != 0
    track = np.cumsum(is_start) - 1
    place = np.arange(len(order)) - np.flatnonzero(is_start)[track]
    shape = (int(is_start.sum()), int(place.max(initial=-1)) + 1)
    row, gap = np.full(shape, -1), np.zeros(shape, dtype="i8")
    row[track, place] = order
    gap[track, place] = np.where(is_start, 0, np.diff(step, prepend=0))
    told_m = np.zeros((*shape, 2))
    if links.odometry_m is not None:
        told_m[track, place] = np.where(is_start[:, None], 0.0, links.odometry_m[order])
    return Tracks(row=row, gap=gap, told_m=told_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepModel:
    """Where tracks begin, and how they go on.

    Attributes:
        persistence: a, the share of the velocity that is left after a step.
        velocity_m2: V, variance of one coordinate of the velocity [m^2 a step].
        jitter_m2: Variance of w [m^2].
        mean_m: Mean of the labelled positions [m].
        covariance_m2: Their covariance [m^2].
    """

    persistence: float
    velocity_m2: float
    jitter_m2: float
    mean_m: tuple[float, float]
    covariance_m2: tuple[tuple[float, float], tuple[float, float]]

    @classmethod
    def fit(cls, train: Labelled) -> "StepModel":
        """Return the model whose steps have the covariances of labelled ones, at lags 0, 1 and 2.

        Only steps between consecutive links count.
        """
        tracks, position_m = tracks_of(train.measurements), train.position_m.astype("f8")
        moved_m = np.diff(position_m[tracks.row], axis=1) - tracks.told_m[:, 1:]
        is_step = (tracks.row[:, 1:] >= 0) & (tracks.gap[:, 1:] == 1)
        lags = [_mean_product(moved_m, is_step, lag) for lag in range(3)]
        variance_m2 = _DEFAULT_VARIANCE_M2 if lags[0] is None else lags[0]
        first, second = (0.0 if lag is None else max(lag, 0.0) for lag in lags[1:])
        # Without a third step in a row, nothing tells jitter and turns apart: all are turns.
        ratio = second / first if first and second else first / max(variance_m2, _LEAST_VARIANCE_M2)
        persistence = min(ratio, _LARGEST_PERSISTENCE)
        velocity_m2 = min(first / persistence, variance_m2) if persistence else 0.0
        velocity_m2 = max(velocity_m2, _LEAST_VARIANCE_M2)
        covariance_m2 = np.cov(position_m.T, bias=True) + _LEAST_VARIANCE_M2 * np.eye(2)
        return cls(
            persistence=persistence,
            velocity_m2=velocity_m2,
            jitter_m2=max(variance_m2 - velocity_m2, _LEAST_VARIANCE_M2),
            mean_m=_pair(position_m.mean(axis=0)),
            covariance_m2=(_pair(covariance_m2[0]), _pair(covariance_m2[1])),
        )

    @classmethod
    def of_plain(cls, kept: Mapping[str, Any]) -> "StepModel":
        """Return the model of the values that JSON has kept of one.

        Raises:
            KeyError: If one is missing.
        """
        rows = kept["covariance_m2"]
        return cls(
            persistence=float(kept["persistence"]),
            velocity_m2=float(kept["velocity_m2"]),
            jitter_m2=float(kept["jitter_m2"]),
            mean_m=_pair(kept["mean_m"]),
            covariance_m2=(_pair(rows[0]), _pair(rows[1])),
        )

    def start(self, batch: tuple[int, ...]) -> tuple[State, StateCovariance]:
        """Return mean and covariance of the state before the first measurement."""
        mean, covariance = np.zeros((*batch, 4)), np.zeros((*batch, 4, 4))
        mean[..., :2] = self.mean_m
        covariance[..., :2, :2] = self.covariance_m2
        covariance[..., 2:, 2:] = self.velocity_m2 * np.eye(2)
        return mean, covariance

    def transition(
        self, num_steps: Int[np.ndarray, "*batch"]
    ) -> tuple[Float[np.ndarray, "*batch 4 4"], Float[np.ndarray, "*batch 4 4"]]:
        """Return matrix and noise covariance of so many steps; no step changes nothing."""
        step = np.kron([[1.0, self.persistence], [0.0, self.persistence]], np.eye(2))
        turn_m2 = (1 - self.persistence**2) * self.velocity_m2
        noise = np.kron([[turn_m2 + self.jitter_m2, turn_m2], [turn_m2, turn_m2]], np.eye(2))
        matrices, noises = [np.eye(4)], [np.zeros((4, 4))]
        for _ in range(int(num_steps.max(initial=0))):
            matrices.append(step @ matrices[-1])
            noises.append(step @ noises[-1] @ step.T + noise)
        return np.stack(matrices)[num_steps], np.stack(noises)[num_steps]


def _pair(values: Sequence[float] | Float[np.ndarray, "2"]) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)


def _mean_product(
    moved_m: Float[np.ndarray, "track step 2"], is_step: np.ndarray, lag: int
) -> float | None:
    """Return the mean product of one coordinate of steps that are `lag` apart [m^2]."""
    num = moved_m.shape[1] - lag
    if num < 1:
        return None
    both = np.logical_and.reduce([is_step[:, i : num + i] for i in range(lag + 1)])
    if not both.any():
        return None
    return float((moved_m[:, :num] * moved_m[:, lag:]).sum(axis=2)[both].mean() / 2)
