"""How far the estimates of a site can be relied on: by its validation links, and what a link shows.

The truth is normal about what a site tells, with some variance and some probability; else the site
tells nothing of it. Both are learnt by expectation maximisation, for links whose first path is as
strong as free space makes it and for those where it is weaker: in line of sight geometry is right
to centimetres, and elsewhere it is wrong by a street.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from raymark.benchmark.features import first_path, path_loss_free_power_db
from raymark.benchmark.measurements import Measurements

LEAST_VARIANCE_M2 = 1e-6
NUM_BINS = 2
_NUM_STEPS = 30
_LEAST_SHARE = 1e-4
_NUM_LIKE_ALL = 4.0
"""As many links as all of the site's count in each bin, so that a few do not rule it."""
_LEAST_RANGE_M = 1.0


def directness_db(links: Measurements) -> Float[np.ndarray, "link"]:
    """Return the power of first paths, spreading and carrier taken out: greatest in free space."""
    column, _ = first_path(links)
    row = np.arange(len(links))
    range_m = links.path_range_m[row, column].clip(_LEAST_RANGE_M)
    return path_loss_free_power_db(links)[row, column] + 20 * np.log10(range_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How wrong estimates were.

    Attributes:
        squared: Half the squared error over the model's covariance; over 1 m^2 if it has none.
        log_inlier: Logarithm of the density [1/m^2] that this covariance has at no error.
        log_outlier: That of the estimate itself, of all that is told where nothing is known.
        directness_db: Of the links.
    """

    squared: Float[np.ndarray, "link"]
    log_inlier: Float[np.ndarray, "link"]
    log_outlier: Float[np.ndarray, "link"]
    directness_db: Float[np.ndarray, "link"]

    def take(self, rows: np.ndarray) -> "Errors":
        """Return some of them."""
        return Errors(
            squared=self.squared[rows],
            log_inlier=self.log_inlier[rows],
            log_outlier=self.log_outlier[rows],
            directness_db=self.directness_db[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTrust:
    """Variance and share of the estimates that are right, from the least direct links to the most.

    Attributes:
        edges_db: Directness between the bins [dB].
        variance_m2: Factor of the model's covariances; where it has none, the variance.
        share: Of the estimates that are no outliers.
    """

    edges_db: tuple[float, ...]
    variance_m2: tuple[float, ...]
    share: tuple[float, ...]

    @classmethod
    def of(cls, errors: Errors) -> "SiteTrust":
        """Learn it from errors of links that did not train, one at least."""
        start = max(float(np.median(errors.squared)), LEAST_VARIANCE_M2), 0.5
        # All that is known beforehand of the variance is that it is not 0 by chance.
        alike = _fitted(errors, start, num_variance=1e-3, num_share=2.0)
        edges_db = np.quantile(errors.directness_db, np.arange(1, NUM_BINS) / NUM_BINS)
        number = np.searchsorted(edges_db, errors.directness_db, side="right")
        found = [
            _fitted(
                errors.take(number == i),
                alike,
                num_variance=_NUM_LIKE_ALL,
                num_share=2 * _NUM_LIKE_ALL,
            )
            for i in range(NUM_BINS)
        ]
        return cls(
            edges_db=tuple(map(float, edges_db)),
            variance_m2=tuple(variance_m2 for variance_m2, _ in found),
            share=tuple(share for _, share in found),
        )

    def at(
        self, links: Measurements
    ) -> tuple[Float[np.ndarray, "link"], Float[np.ndarray, "link"]]:
        """Return the variance [m^2] and the share of some links."""
        number = np.searchsorted(self.edges_db, directness_db(links), side="right")
        return np.array(self.variance_m2)[number], np.array(self.share)[number]


def _fitted(
    errors: Errors, start: tuple[float, float], *, num_variance: float, num_share: float
) -> tuple[float, float]:
    """Return variance and share of the links that are right.

    Args:
        errors: Of links; none gives the start.
        start: Where to begin, and what some more links would say.
        num_variance: How many of these count for the variance.
        num_share: How many for the share.
    """
    variance_m2, share = start
    for _ in range(_NUM_STEPS):
        odds = np.log(share / (1 - share)) - np.log(variance_m2)
        odds = odds + errors.log_inlier - errors.squared / variance_m2 - errors.log_outlier
        is_right = 1 / (1 + np.exp(-odds.clip(-500, 500)))
        total = is_right.sum()
        squared = is_right @ errors.squared + num_variance * start[0]
        variance_m2 = max(float(squared / (total + num_variance)), LEAST_VARIANCE_M2)
        share = float((total + num_share * start[1]) / (len(is_right) + num_share))
        share = min(max(share, _LEAST_SHARE), 1 - _LEAST_SHARE)
    return variance_m2, share
