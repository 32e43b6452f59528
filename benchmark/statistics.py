"""Intervals and tests that respect how errors cluster in space.

Points of one neighbourhood share walls and paths, so their errors are alike, and 2000 points are
worth far fewer independent ones. Whole spatial blocks are therefore resampled with replacement
(cluster bootstrap, [davison1997] section 3.8), all seeds of a block together. Intervals describe
other places of the same scenes under the seeds at hand; they say nothing of other scenes.

Few blocks make intervals too narrow. On errors of which half is shared by a block (both halves
exponential), 95 % intervals hold the true mean, P80 and P90 in 91, 84 and 78 % of the cases with 10
blocks, 92, 88 and 81 % with 20, 94, 93 and 88 % with 40; drawing points one by one instead of
blocks gives 45 % (`perf/interval_coverage.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, stdtrit

from raymark.benchmark.metrics import METRICS, MeanOf, PointErrors, QuantileOf
from raymark.config import nearest
from raymark.errors import ScoringError

LEAST_BLOCKS = 6
"""Below it nothing is inferred: five blocks that all favour one model have p = 2 / 2^5 > 0.05."""

_CHUNK_BYTES = 64 * 2**20
_TABLE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its confidence interval; bounds are None with fewer than `LEAST_BLOCKS`."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Metric of model a minus that of model b on the same points.

    Attributes:
        difference: The difference, in the metric's unit.
        low: Lower bound of its interval, or None with fewer than `LEAST_BLOCKS`.
        high: Upper bound, likewise.
        p_value: Two-sided p of no difference, or None likewise.
    """

    difference: float
    low: float | None
    high: float | None
    p_value: float | None


def block_bootstrap(
    error_m: Float[np.ndarray, "seed point"],
    block: Int[np.ndarray, " row"],
    metrics: Sequence[str],
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return intervals of metrics, each averaged over seeds, by a cluster bootstrap.

    The intervals are expanded percentile ones ([hesterberg2015]): percentile p' in place of p,
    where z(p') sqrt((n - 1) / n) = t(p, n - 1) for n blocks, z is a normal's quantile and t
    Student's.

    Args:
        error_m: Horizontal error of every seed at every point [m].
        block: Spatial block of each point; any integers.
        metrics: Names of `METRICS` that need no covariance.
        rng: Draws the blocks.
        num_resamples: How many times the blocks are drawn.
        confidence: Share of such intervals that should hold the true value.

    Raises:
        ScoringError: If a metric is unknown or needs covariances, or errors and blocks are empty,
            not finite or of different lengths.
    """
    num_blocks, index = _block_index(error_m, block)
    values = {name: float(np.mean(_by_seed(error_m, name))) for name in metrics}
    if num_blocks < LEAST_BLOCKS:
        return {name: Interval(value=values[name], low=None, high=None) for name in metrics}
    tables = _Tables.build(error_m, index, num_blocks, tuple(metrics))
    parts = [
        tables.resample(multiplicity)
        for multiplicity in _multiplicities(num_blocks, num_resamples, tables.row_bytes, rng)
    ]
    bounds = {
        name: _expanded_bounds(
            np.concatenate([part[name] for part in parts]), num_blocks, confidence
        )
        for name in metrics
    }
    return {
        name: Interval(value=values[name], low=bounds[name][0], high=bounds[name][1])
        for name in metrics
    }


def paired_block_bootstrap(  # noqa: PLR0913 - data, what to compute, and how to resample
    error_a_m: Float[np.ndarray, "seed_a point"],
    error_b_m: Float[np.ndarray, "seed_b point"],
    block: Int[np.ndarray, " row"],
    metric: str,
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare two models on the same points, with the same resampled blocks for both.

    The p-value is the share of resamples whose difference strays from the observed one at least as
    far as that one lies from zero: the resampled differences, centred, stand for the null
    ([hall1991], first guideline). It counts the observed sample as one, so that it is at least
    1 / (num_resamples + 1): after Holm's correction over m comparisons nothing is significant at
    level alpha unless num_resamples >= m / alpha.

    Args:
        error_a_m: Errors of model a, seed by seed [m].
        error_b_m: Errors of model b at the same points [m]; it may have other seeds.
        block: Spatial block of each point; any integers.
        metric: Name of one of `METRICS` that needs no covariance.
        rng: Draws the blocks.
        num_resamples: How many times the blocks are drawn.
        confidence: Share of such intervals that should hold the true difference.

    Raises:
        ScoringError: As `block_bootstrap`.
    """
    num_blocks, index = _block_index(error_a_m, block)
    _block_index(error_b_m, block)
    by_seed = [_by_seed(error_m, metric) for error_m in (error_a_m, error_b_m)]
    difference = float(np.mean(by_seed[0]) - np.mean(by_seed[1]))
    if num_blocks < LEAST_BLOCKS:
        return PairedDifference(difference=difference, low=None, high=None, p_value=None)
    a, b = (_Tables.build(e, index, num_blocks, (metric,)) for e in (error_a_m, error_b_m))
    resampled = np.concatenate(
        [
            a.resample(drawn)[metric] - b.resample(drawn)[metric]
            for drawn in _multiplicities(num_blocks, num_resamples, a.row_bytes, rng)
        ]
    )
    low, high = _expanded_bounds(resampled, num_blocks, confidence)
    strayed = np.abs(resampled - difference) * _inflation(num_blocks)
    num_farther = int(np.sum(strayed >= abs(difference)))
    p_value = (1 + num_farther) / (num_resamples + 1)
    return PairedDifference(difference=difference, low=low, high=high, p_value=p_value)


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjust p-values for the number of tests, so that any error among them is controlled.

    The i-th smallest of m is multiplied by m - i + 1, made monotone and cut at 1 ([holm1979]).

    Raises:
        ScoringError: If a p-value lies outside [0, 1].
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ScoringError(f"p-values lie in [0, 1], got {p_values.tolist()}")
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values), dtype=np.float64)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


def seed_deviation(values: Float[np.ndarray, " seed"]) -> float | None:
    """Return the standard deviation over seeds (n - 1 in the denominator), or None below two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SortedErrors:
    """Errors of one seed in rising order, cut into rows, for order statistics of resamples.

    The points of a resample below a row's end are the drawn blocks' points below it, a product of
    two small matrices; only the row that holds the wanted rank is then looked at point by point.
    """

    error_m: Float[np.ndarray, "row col"]
    block: Int[np.ndarray, "row col"]
    count_until: Float[np.ndarray, "block row"]

    @classmethod
    def build(
        cls,
        error_m: Float[np.ndarray, " point"],
        block: Int[np.ndarray, " point"],
        num_blocks: int,
        num_rows: int,
    ) -> "_SortedErrors":
        order = np.argsort(error_m, kind="stable")
        num_cols = -(-len(order) // num_rows)
        num_rows = -(-len(order) // num_cols)
        num_empty = num_rows * num_cols - len(order)
        # Empty places at the end are of one block too many, of which nothing is ever drawn.
        padded = np.pad(block[order], (0, num_empty), constant_values=num_blocks)
        rows = np.repeat(np.arange(num_rows), num_cols)
        counts = np.bincount(padded * num_rows + rows, minlength=(num_blocks + 1) * num_rows)
        return cls(
            error_m=np.pad(error_m[order], (0, num_empty), mode="edge").reshape(num_rows, -1),
            block=padded.reshape(num_rows, -1),
            count_until=counts.reshape(-1, num_rows)[:-1].cumsum(axis=1).astype(np.float64),
        )

    def quantiles(
        self,
        multiplicity: Float[np.ndarray, "resample block"],
        probabilities: Sequence[float],
    ) -> Float[np.ndarray, "probability resample"]:
        """Return what numpy's default quantile gives for the sample with its points repeated."""
        below = multiplicity @ self.count_until
        # One more column: the block of the empty places.
        drawn = np.pad(multiplicity, ((0, 0), (0, 1)))
        found = []
        for probability in probabilities:
            place = (below[:, -1] - 1) * probability
            floor = np.floor(place)
            lower = self._order_statistic(drawn, below, floor)
            upper = self._order_statistic(drawn, below, np.minimum(floor + 1, below[:, -1] - 1))
            found.append(lower + (place - floor) * (upper - lower))
        return np.stack(found)

    def _order_statistic(
        self,
        drawn: Float[np.ndarray, "resample block_and_none"],
        below: Float[np.ndarray, "resample row"],
        rank: Float[np.ndarray, " resample"],
    ) -> Float[np.ndarray, " resample"]:
        """Return the error with `rank` errors before it, in each resample."""
        each = np.arange(len(rank))
        row = np.sum(below <= rank[:, None], axis=1)
        before = np.where(row > 0, below[each, row - 1], 0.0)
        repeats = np.take_along_axis(drawn, self.block[row], axis=1)
        until = before[:, None] + repeats.cumsum(axis=1)
        return self.error_m[row, np.sum(until <= rank[:, None], axis=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """What resampling needs of the errors: sums by block for means, sorted errors for quantiles."""

    metrics: tuple[str, ...]
    count: Float[np.ndarray, " block"]
    sums: dict[str, Float[np.ndarray, "block seed"]]
    by_seed: tuple[_SortedErrors, ...]
    row_bytes: int

    @classmethod
    def build(
        cls,
        error_m: Float[np.ndarray, "seed point"],
        block: Int[np.ndarray, " point"],
        num_blocks: int,
        metrics: tuple[str, ...],
    ) -> "_Tables":
        error_m = error_m.astype(np.float64)
        reductions = {name: METRICS[name].reduce for name in metrics}
        sums = {
            name: np.stack([np.bincount(block, reduce.value(_errors(e))) for e in error_m], axis=1)
            for name, reduce in reductions.items()
            if isinstance(reduce, MeanOf)
        }
        num_seeds, num_points = error_m.shape
        most_rows = max(1, _TABLE_BYTES // (8 * num_seeds * num_blocks))
        num_rows = min(int(np.ceil(np.sqrt(num_points))), most_rows)
        by_seed: tuple[_SortedErrors, ...] = ()
        if len(sums) < len(reductions):
            by_seed = tuple(_SortedErrors.build(e, block, num_blocks, num_rows) for e in error_m)
        return cls(
            metrics=metrics,
            count=np.bincount(block).astype(np.float64),
            sums=sums,
            by_seed=by_seed,
            row_bytes=8 * (4 * num_blocks + 2 * num_rows + 5 * (num_points // num_rows + 1)),
        )

    def resample(
        self, multiplicity: Float[np.ndarray, "resample block"]
    ) -> dict[str, Float[np.ndarray, " resample"]]:
        """Return each metric, averaged over seeds, where block b is taken multiplicity times."""
        num_points = multiplicity @ self.count
        found: dict[str, np.ndarray] = {}
        for name, sums in self.sums.items():
            mean = (multiplicity @ sums) / num_points[:, None]
            reduce = METRICS[name].reduce
            if isinstance(reduce, MeanOf) and reduce.finish is not None:
                mean = reduce.finish(mean)
            found[name] = mean.mean(axis=1)
        probabilities = {
            name: reduce.probability
            for name in self.metrics
            if isinstance(reduce := METRICS[name].reduce, QuantileOf)
        }
        if probabilities:
            wanted = tuple(probabilities.values())
            quantiles = [errors.quantiles(multiplicity, wanted) for errors in self.by_seed]
            found |= dict(zip(probabilities, np.mean(quantiles, axis=0), strict=True))
        return found


def _multiplicities(
    num_blocks: int, num_resamples: int, row_bytes: int, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "resample block"]]:
    """Draw blocks with replacement, in chunks that keep memory bounded; yield counts by block."""
    if num_resamples < 1:
        raise ScoringError(f"expected at least 1 resample, got {num_resamples}")
    chunk = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, num_resamples, chunk):
        num_rows = min(chunk, num_resamples - start)
        drawn = rng.integers(num_blocks, size=(num_rows, num_blocks))
        drawn += num_blocks * np.arange(num_rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=num_rows * num_blocks)
        yield counts.reshape(num_rows, num_blocks).astype(np.float64)


def _block_index(
    error_m: Float[np.ndarray, "seed point"], block: Int[np.ndarray, " row"]
) -> tuple[int, Int[np.ndarray, " row"]]:
    """Check that errors and blocks fit; return the number of blocks, and each point's from 0."""
    if error_m.size == 0 or error_m.shape[1] != len(block):
        raise ScoringError(
            f"expected the error of at least one seed at each of {len(block)} points,"
            f" got an array of shape {error_m.shape}"
        )
    if not np.isfinite(error_m).all():
        seed, point = np.argwhere(~np.isfinite(error_m))[0]
        raise ScoringError(
            f"the error of seed {seed} at point {point} is not finite: {error_m[seed, point]} m"
        )
    names, index = np.unique(block, return_inverse=True)
    return len(names), index


def _by_seed(error_m: Float[np.ndarray, "seed point"], name: str) -> list[float]:
    """Return a metric of each seed."""
    if name not in METRICS:
        raise ScoringError(f"unknown metric '{name}'{nearest(name, list(METRICS))}")
    if METRICS[name].needs_covariance:
        raise ScoringError(f"metric '{name}' needs covariances; only errors can be resampled")
    return [METRICS[name].reduce(_errors(error)) for error in error_m.astype(np.float64)]


def _inflation(num_blocks: int) -> float:
    """Resampling n blocks has a variance of (n - 1) / n of the unbiased one; undo its root."""
    return float(np.sqrt(num_blocks / (num_blocks - 1)))


def _errors(error_m: Float[np.ndarray, " point"]) -> PointErrors:
    return PointErrors(error_m=error_m)


def _expanded_bounds(
    resampled: Float[np.ndarray, " resample"], num_blocks: int, confidence: float
) -> tuple[float, float]:
    """Return the expanded percentile interval of resampled values."""
    if not 0 < confidence < 1:
        raise ScoringError(f"confidence lies between 0 and 1, got {confidence}")
    student = stdtrit(num_blocks - 1, (1 - confidence) / 2)
    tail = ndtr(student * _inflation(num_blocks))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
