"""What a map is wrong by, learnt from links whose places are known.

At the true place of a link, its estimated paths are parted among the paths that the map has there
and a uniform rest, by expectation and maximization. What is left over between the two are the
widths of the likelihood; how often a predicted path is seen, by its power, is fitted beside.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from scipy.special import expit

from raymark.models.twin.features import NUM_FEATURES, NUM_KINDS, Observed, Predicted

_NUM_STEPS = 30
_FIRST_WIDTHS = (1.5, 0.04, 0.04, 8.0)
_LEAST_WIDTHS = (0.05, 0.003, 0.003, 0.5)
_LARGEST_WIDTHS = (4.0, 0.08, 0.08, 10.0)
"""Wider ones would tell no place from its neighbours: such paths are strays."""
TAIL = np.array([3.0, 3.0, 10.0, 2.0])
"""Widths are so many times as large in the tail: a weak path may have one feature all wrong, and
most of all its zenith, which a panel of few rows resolves least."""
_FIRST_TAIL_SHARE = 0.2
_SPANS = (400.0, 2.0, 2.0, 60.0)
"""Over which the rest is spread evenly: ranges [m], cosines, powers [dB]."""
_FIRST_NUM_STRAY = 0.5
_LEAST_NUM_STRAY = 0.02
_LEAST_TOTAL = 1e-9
_ASSUMED_SEEN_SHARE, _ASSUMED_WITHIN_DB = 0.9, 2.0
"""Our decision, for links that tell nothing of detection."""
_SAFETY = 5.0
"""Made-up paths of each kind that hold its widths near the first ones where true ones are few."""
_NEAR = 4.0
"""Widths within which an estimated path counts as the one that is predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far what is estimated lies from what a map predicts.

    Attributes:
        width: Standard deviation of each feature by kind of path.
        tail_share: Share of the paths that are off by `TAIL` times as much.
        bias_db: Power estimated less power predicted [dB].
        num_stray: Estimated paths of a link that the map does not explain, in the mean.
        seen_share: Share of very strong predicted paths that are seen.
        seen_at_db: Power at which half of these are seen [dB].
        seen_within_db: Width of the step there [dB].
    """

    width: Float[np.ndarray, "kind 4"]
    tail_share: float
    bias_db: float
    num_stray: float
    seen_share: float
    seen_at_db: float
    seen_within_db: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {**asdict(self), "width": self.width.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
        """Take up what `to_dict` has returned."""
        return cls(**{**values, "width": np.array(values["width"])})

    @property
    def num_parameters(self) -> int:
        """Number of fitted numbers."""
        return self.width.size + 6

    @property
    def stray_density(self) -> float:
        """Density of estimated paths that the map does not explain."""
        return self.num_stray / float(np.prod(_SPANS))

    def seen(
        self, power_db: Float[np.ndarray, "*n"], weakest_db: float | Float[np.ndarray, "..."]
    ) -> Float[np.ndarray, "*n"]:
        """Return the probability that predicted paths are seen.

        Args:
            power_db: Of the predicted paths [dB].
            weakest_db: Weaker ones cannot be seen, since enough others were; -inf if all can.
        """
        at_db = np.maximum(self.seen_at_db, weakest_db)
        return self.seen_share * expit((power_db + self.bias_db - at_db) / self.seen_within_db)


def calibrate(links: Observed, truth: Predicted) -> Calibration:
    """Learn widths, stray paths and detection from links and what a map has at their places.

    Args:
        links: Estimated paths of links.
        truth: What the map has at the true place of each, as many points as links.
    """
    pairs = _Pairs.of(links, truth)
    fit = _Fit(
        width=np.tile(_FIRST_WIDTHS, (NUM_KINDS, 1)),
        tail_share=_FIRST_TAIL_SHARE,
        bias_db=0.0,
        num_stray=_FIRST_NUM_STRAY,
    )
    for _ in range(_NUM_STEPS):
        fit = _improved(fit, pairs, links)
    seen_share, at_db, within_db = _fit_detection(links, truth, pairs, fit)
    return Calibration(
        width=fit.width,
        tail_share=fit.tail_share,
        bias_db=fit.bias_db,
        num_stray=fit.num_stray,
        seen_share=seen_share,
        seen_at_db=at_db,
        seen_within_db=within_db,
    )


def shares_at(
    links: Observed, truth: Predicted, calibration: Calibration
) -> Float[np.ndarray, "link path other"]:
    """Return which part of each estimated path is that of each predicted one at known places.

    Args:
        links: Estimated paths of links.
        truth: What the map has at the true place of each.
        calibration: What the map is wrong by.
    """
    return _Fit.of(calibration).shares(_Pairs.of(links, truth)).sum(axis=0)


def log_explained(links: Observed, truth: Predicted, calibration: Calibration) -> float:
    """Return the logarithm of the density of all estimated paths at known places.

    Args:
        links: Estimated paths of links.
        truth: What the map has at the true place of each.
        calibration: What the map is wrong by.
    """
    density = _Fit.of(calibration).density(_Pairs.of(links, truth)).sum(axis=(0, 3))
    return float(np.log(density + calibration.stray_density)[links.mask].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Estimated paths of links beside the predicted ones at their places.

    Attributes:
        gap: Estimated less predicted features.
        is_pair: True where there is one of both.
        kind: Kind of each predicted path.
    """

    gap: Float[np.ndarray, "link path other 4"]
    is_pair: Bool[np.ndarray, "link path other"]
    kind: Int[np.ndarray, "link other"]

    @classmethod
    def of(cls, links: Observed, truth: Predicted) -> "_Pairs":
        return cls(
            gap=links.feature[:, :, None] - truth.feature[:, None],
            is_pair=links.mask[:, :, None] & truth.mask[:, None],
            kind=truth.kind,
        )

    def of_kind(self, kind: int) -> Bool[np.ndarray, "link path other"]:
        return np.broadcast_to((self.kind == kind)[:, None], self.is_pair.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    width: Float[np.ndarray, "kind 4"]
    tail_share: float
    bias_db: float
    num_stray: float

    @classmethod
    def of(cls, calibration: Calibration) -> "_Fit":
        return cls(
            width=calibration.width,
            tail_share=calibration.tail_share,
            bias_db=calibration.bias_db,
            num_stray=calibration.num_stray,
        )

    def gap(self, pairs: _Pairs) -> Float[np.ndarray, "link path other 4"]:
        """Return the differences without the bias of the power."""
        return pairs.gap - np.array([0.0, 0.0, 0.0, self.bias_db])

    def shares(self, pairs: _Pairs) -> Float[np.ndarray, "part link path other"]:
        """Return which part of each estimated path is that of each predicted one, tails apart."""
        density = self.density(pairs)
        stray = self.num_stray / float(np.prod(_SPANS))
        return density / (density.sum(axis=(0, 3), keepdims=True) + stray)

    def density(self, pairs: _Pairs) -> Float[np.ndarray, "part link path other"]:
        """Return the density of each estimated path about each predicted one, tails apart."""
        width = self.width[pairs.kind][:, None]
        parts = (1 - self.tail_share, 1.0), (self.tail_share, TAIL)
        density = np.stack(
            [share * _normal(self.gap(pairs), width * wider) for share, wider in parts]
        )
        return np.where(pairs.is_pair, density, 0.0)


def _normal(
    gap: Float[np.ndarray, "link path other 4"], width: Float[np.ndarray, "link 1 other 4"]
) -> Float[np.ndarray, "link path other"]:
    squared = ((gap / width) ** 2).sum(axis=-1)
    return np.exp(-0.5 * squared) / ((2 * np.pi) ** (NUM_FEATURES / 2) * width.prod(axis=-1))


def _improved(fit: _Fit, pairs: _Pairs, links: Observed) -> _Fit:
    """Take one step of expectation and maximization."""
    near, tail = fit.shares(pairs)
    total = max(float((near + tail).sum()), _LEAST_TOTAL)
    num_stray = (float(links.mask.sum()) - total) / max(len(links), 1)
    return _Fit(
        width=_widths(fit.gap(pairs), near, pairs),
        tail_share=float(tail.sum()) / total,
        bias_db=float((near * pairs.gap[..., 3]).sum() / max(near.sum(), _LEAST_TOTAL)),
        num_stray=max(num_stray, _LEAST_NUM_STRAY),
    )


def _widths(
    gap: Float[np.ndarray, "link path other 4"],
    share: Float[np.ndarray, "link path other"],
    pairs: _Pairs,
) -> Float[np.ndarray, "kind 4"]:
    weighted = share[..., None] * gap**2
    of_kind = [pairs.of_kind(kind) for kind in range(NUM_KINDS)]
    summed = np.stack([weighted[rows].sum(axis=0) for rows in of_kind])
    total = np.array([share[rows].sum() for rows in of_kind])
    variance = (summed + _SAFETY * np.square(_FIRST_WIDTHS)) / (total + _SAFETY)[:, None]
    return np.clip(np.sqrt(variance), _LEAST_WIDTHS, _LARGEST_WIDTHS)


def _fit_detection(
    links: Observed, truth: Predicted, pairs: _Pairs, fit: _Fit
) -> tuple[float, float, float]:
    """Fit how often predicted paths are seen, by their power, where all that are could be kept.

    If no link has room for another path, nothing tells what is missed. Then paths as strong as the
    weakest that was ever kept are taken to be seen half of the time that strong ones are.
    """
    widest = _NEAR * fit.width[truth.kind][:, None, :, :3]
    is_seen = ((np.abs(pairs.gap[..., :3]) < widest).all(axis=-1) & pairs.is_pair).any(axis=1)
    counts = truth.mask & ~links.is_full[:, None]
    if not counts.any():
        return _ASSUMED_SEEN_SHARE, float(np.min(links.weakest_db, initial=0.0)), _ASSUMED_WITHIN_DB
    power_db, seen = truth.feature[..., 3][counts] + fit.bias_db, is_seen[counts]

    def cost(x: np.ndarray) -> float:
        p = np.clip(expit(x[0]) * expit((power_db - x[1]) / np.exp(x[2])), 1e-6, 1 - 1e-6)
        return -float(np.where(seen, np.log(p), np.log1p(-p)).mean())

    start = float(np.quantile(power_db[seen], 0.1)) if seen.any() else float(power_db.max())
    found = minimize(cost, np.array([2.0, start, 1.0]), method="Nelder-Mead").x
    return float(expit(found[0])), float(found[1]), float(np.exp(found[2]))
