"""How well each candidate point of a map explains the estimated paths of a link.

The likelihood is that of a Poisson multi-Bernoulli model with associations summed out: each
estimated path is one of the predicted ones or a stray, and each predicted one is seen or missed.
Candidates are scored on their grid, and the best ones again where their paths fit best nearby, to
the first order: by Fermat's principle the gradient of a path's length is the direction from which
it is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from raymark.models.twin.calibration import TAIL, Calibration
from raymark.models.twin.features import NUM_FEATURES, Observed, Predicted

_NUM_STEPS = 5
_LEAST_RANGE_M = 15.0
_CENTRE = np.array([200.0, 0.0, 0.0, -110.0])
"""Near the middle of all features, so that differences of squares stay exact in float32."""
_RELAXED = 3.0
"""Widths are so much wider where it is asked whether a predicted path was seen at all."""
_LEAST_UNSEEN = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """The best candidates of links, each a normal distribution.

    Attributes:
        centre_m: Where each fits best [m].
        covariance_m2: How sharply [m^2].
        log_likelihood: How well it explains the link there.
    """

    centre_m: Float[np.ndarray, "link mode 2"]
    covariance_m2: Float[np.ndarray, "link mode 2 2"]
    log_likelihood: Float[np.ndarray, "link mode"]

    @classmethod
    def joined(cls, parts: Sequence[tuple[Int[np.ndarray, "row"], "Modes"]]) -> "Modes":
        """Return the candidates of all links from those of some; each names its links."""
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        count = min(modes.log_likelihood.shape[1] for _, modes in parts)
        columns = {
            name: np.concatenate([getattr(modes, name)[:, :count] for _, modes in parts])[order]
            for name in cls.__slots__
        }
        return cls(**columns)


class Matcher:
    """The candidates of one map at one band, ready to be compared with links."""

    def __init__(
        self,
        point_m: Float[np.ndarray, "point 2"],
        spacing_m: float,
        paths: Predicted,
        calibration: Calibration,
    ) -> None:
        """Prepare what is the same for all links.

        Args:
            point_m: The candidates [m].
            spacing_m: Of their grid [m].
            paths: What the map has there.
            calibration: What the map is wrong by.
        """
        self._point_m, self._paths, self._calibration = point_m, paths, calibration
        self._cell_m = spacing_m / np.sqrt(12)
        width = calibration.width[paths.kind].copy()
        width[..., 0] = np.hypot(width[..., 0], self._cell_m)
        turn = self._cell_m / np.maximum(paths.feature[..., 0], _LEAST_RANGE_M)
        width[..., 1:3] = np.hypot(width[..., 1:3], turn[..., None])
        self._coarse = _Pairs.of(paths, width, calibration)

    def best(self, links: Observed, num_modes: int) -> Modes:
        """Return the best candidates of each link.

        Args:
            links: What was estimated.
            num_modes: How many are kept of each.
        """
        count = min(num_modes, len(self._point_m))
        found = [self._best_of(links, i, count) for i in range(len(links))]
        centre, covariance, score = (np.stack(column) for column in zip(*found, strict=True))
        return Modes(centre_m=centre, covariance_m2=covariance, log_likelihood=score)

    def coarse(self, links: Observed, link: int) -> Float[np.ndarray, "point"]:
        """Return the log likelihood of one link at all points, each a cell of the grid."""
        return self._coarse.score(*_seen_of(links, link))

    def _best_of(
        self, links: Observed, link: int, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen, weakest_db = _seen_of(links, link)
        coarse = self.coarse(links, link)
        rows = np.argsort(-coarse, kind="stable")[:count]
        if not len(seen):
            cell = np.broadcast_to(self._cell_m**2 * np.eye(2), (count, 2, 2))
            return self._point_m[rows], cell, coarse[rows]
        return self._refine(rows, seen, weakest_db)

    def _refine(
        self, rows: Int[np.ndarray, "mode"], seen: Float[np.ndarray, "seen 4"], weakest_db: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move candidates to where they fit best, and score them there."""
        paths, fine = self._paths.take(rows), self._calibration.width
        gradient, width_m = paths.gradient, fine[paths.kind][..., 0]
        gap_m = seen[:, 0] - paths.feature[..., 0][..., None]
        offset_m = np.zeros((len(rows), 2))
        precision = np.zeros((len(rows), 2, 2))
        for step in range(_NUM_STEPS):
            wide = self._cell_m * (0.0 if step else 1.0)
            width = fine[paths.kind].copy()
            width[..., 0] = np.hypot(width[..., 0], wide)
            pairs = _Pairs.of(paths.moved(offset_m), width, self._calibration)
            weight = pairs.shares(seen, weakest_db) / width_m[..., None] ** 2
            of_path = weight.sum(axis=2)
            precision = np.einsum("mj,mja,mjb->mab", of_path, gradient, gradient)
            precision += np.eye(2) / self._cell_m**2
            pull = np.einsum("mjk,mjk,mja->ma", weight, gap_m, gradient)
            offset_m = np.linalg.solve(precision, pull[..., None])[..., 0]
        pairs = _Pairs.of(paths.moved(offset_m), fine[paths.kind], self._calibration)
        score = pairs.score(seen, weakest_db)
        score -= 0.5 * (offset_m**2).sum(axis=1) / self._cell_m**2
        score -= 0.5 * np.linalg.slogdet(precision * self._cell_m**2)[1]
        return self._point_m[rows] + offset_m, np.linalg.inv(precision), score


def _seen_of(links: Observed, link: int) -> tuple[Float[np.ndarray, "seen 4"], float]:
    """Return the paths of a link, and the power below which none could be kept [dB]."""
    weakest_db = float(links.weakest_db[link]) if links.is_full[link] else -np.inf
    return links.feature[link][links.mask[link]], weakest_db


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Predicted paths in a form in which a product of matrices gives all squared distances."""

    left: Float[np.ndarray, "row 9"]
    left_of_tail: Float[np.ndarray, "row 9"]
    height: Float[np.ndarray, "point path"]
    power_db: Float[np.ndarray, "point path"]
    is_path: np.ndarray
    calibration: Calibration

    @classmethod
    def of(
        cls, paths: Predicted, width: Float[np.ndarray, "point path 4"], calibration: Calibration
    ) -> "_Pairs":
        bias = np.array([0.0, 0.0, 0.0, calibration.bias_db])
        at = paths.feature + bias - _CENTRE
        height = 1 / ((2 * np.pi) ** (NUM_FEATURES / 2) * width.prod(axis=-1))
        return cls(
            left=_left(at, width),
            left_of_tail=_left(at, width * TAIL),
            height=np.where(paths.mask, height, 0.0).astype("f4"),
            power_db=paths.feature[..., 3],
            is_path=paths.mask,
            calibration=calibration,
        )

    def score(
        self, seen: Float[np.ndarray, "seen 4"], weakest_db: float
    ) -> Float[np.ndarray, "point"]:
        """Return the log likelihood of a link at each point."""
        chance = np.where(self.is_path, self.calibration.seen(self.power_db, weakest_db), 0.0)
        if not len(seen):
            return np.log(np.maximum(1 - chance, _LEAST_UNSEEN)).sum(axis=1)
        squared = self._squared(seen, self.left)
        density = ((chance * self.height)[..., None] * self._peaks(seen, squared)).sum(axis=1)
        near = np.exp(-0.5 * squared.min(axis=2) / _RELAXED**2)
        missed = np.log(np.maximum(1 - chance * (1 - near), _LEAST_UNSEEN)).sum(axis=1)
        return np.log(density + self.calibration.stray_density).sum(axis=1) + missed

    def shares(
        self, seen: Float[np.ndarray, "seen 4"], weakest_db: float
    ) -> Float[np.ndarray, "point path seen"]:
        """Return which part of each estimated path (last axis) each predicted one is, but tails."""
        chance = np.where(self.is_path, self.calibration.seen(self.power_db, weakest_db), 0.0)
        squared = self._squared(seen, self.left)
        narrow = (1 - self.calibration.tail_share) * np.exp(-0.5 * squared)
        scale = (chance * self.height)[..., None]
        density = scale * self._peaks(seen, squared)
        total = density.sum(axis=1, keepdims=True) + self.calibration.stray_density
        return scale * narrow / total

    def _peaks(
        self, seen: Float[np.ndarray, "seen 4"], squared: Float[np.ndarray, "point path seen"]
    ) -> Float[np.ndarray, "point path seen"]:
        """Return how near each estimated path is to each predicted one, 1 at most."""
        share = self.calibration.tail_share
        of_tail = np.exp(-0.5 * self._squared(seen, self.left_of_tail)) / np.float32(TAIL.prod())
        return (1 - share) * np.exp(-0.5 * squared) + share * of_tail

    def _squared(
        self, seen: Float[np.ndarray, "seen 4"], left: Float[np.ndarray, "row 9"]
    ) -> Float[np.ndarray, "point path seen"]:
        at = seen - _CENTRE
        right = np.concatenate([at**2, at, np.ones((len(at), 1))], axis=1).astype("f4")
        squared = (left @ right.T).reshape(*self.height.shape, len(at))
        return np.maximum(squared, 0.0)


def _left(
    at: Float[np.ndarray, "point path 4"], width: Float[np.ndarray, "point path 4"]
) -> Float[np.ndarray, "row 9"]:
    """Return the coefficients of squares, of values and of one in squared distances."""
    weight = 1 / width**2
    rows = np.concatenate([weight, -2 * at * weight, (at**2 * weight).sum(-1)[..., None]], axis=-1)
    return rows.reshape(-1, 2 * NUM_FEATURES + 1).astype("f4")
