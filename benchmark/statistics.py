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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtr, stdtrit

from raymark.benchmark.metrics import METRICS, MeanOf, PointErrors, QuantileOf
from raymark.config import nearest
from raymark.errors import ScoringError

LEAST_BLOCKS = 6
"""Below it nothing is inferred: five blocks that all favour one model have p = 2 / 2^5 > 0.05."""

_CHUNK_BYTES = 64 * 2**20
_TABLE_BYTES = 64 * 2**20

_Seed = tuple[Float[np.ndarray, "_point"], Int[np.ndarray, "_point"]]
"""Errors [m] and blocks of the points that one seed takes."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Resamples:
    """Metrics of a model, each averaged over seeds, on its points and on every resample of them.

    Attributes:
        observed: Each metric on the points as they are.
        resampled: Each metric on every resample; any number where a resample has no point.
        has_points: Which resamples hold at least one point.
        num_blocks: How many blocks hold points.
    """

    observed: dict[str, float]
    resampled: dict[str, Float[np.ndarray, " resample"]]
    has_points: Bool[np.ndarray, " resample"]
    num_blocks: int

    def interval(self, metric: str, *, confidence: float = 0.95) -> Interval:
        """Return a metric with its interval, without bounds where blocks are few."""
        low, high = bounds(
            self.resampled[metric][self.has_points], self.num_blocks, confidence=confidence
        )
        return Interval(value=self.observed[metric], low=low, high=high)


def draw_blocks(
    num_blocks: int, *, rng: np.random.Generator, num_resamples: int = 1000
) -> Float[np.ndarray, "resample block"]:
    """Draw blocks with replacement, as many as there are; return how often each was drawn.

    Raises:
        ScoringError: If no resample is asked for.
    """
    if num_resamples < 1:
        raise ScoringError(f"expected at least 1 resample, got {num_resamples}")
    drawn = rng.integers(num_blocks, size=(num_resamples, num_blocks))
    drawn += num_blocks * np.arange(num_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=num_resamples * num_blocks)
    return counts.reshape(num_resamples, num_blocks).astype(np.float64)


def resample_blocks(
    error_m: Float[np.ndarray, "seed point"],
    block: Int[np.ndarray, " row"],
    metrics: Sequence[str],
    draws: Float[np.ndarray, "resample block"],
    *,
    taken: Bool[np.ndarray, "seed point"] | None = None,
) -> Resamples:
    """Return metrics on resamples of whole blocks (cluster bootstrap).

    Where seeds take different points, a metric is the mean over those that have any in a resample.

    Args:
        error_m: Horizontal error of every seed at every point [m].
        block: Spatial block of each point, from 0.
        metrics: Names of `METRICS` that need no covariance.
        draws: How often each block is drawn; the same draws pair models, bands and labels.
        taken: Which points count; all if not given.

    Raises:
        ScoringError: If a metric is unknown or needs covariances, or errors, blocks and draws are
            empty, not finite or of different lengths.
    """
    if taken is None:
        taken = np.ones(error_m.shape, dtype=bool)
    _check_points(error_m, block, draws.shape[1], taken)
    seeds = [(e[t].astype(np.float64), block[t]) for e, t in zip(error_m, taken, strict=True)]
    seeds = [(error, own) for error, own in seeds if len(error)]
    _check_metrics(metrics)
    tables = _Tables.build(seeds, draws.shape[1], tuple(metrics))
    chunk = max(1, _CHUNK_BYTES // tables.row_bytes)
    parts = [tables.resample(draws[i : i + chunk]) for i in range(0, len(draws), chunk)]
    return Resamples(
        observed={name: float(np.mean(_by_seed(seeds, name))) for name in metrics},
        resampled={name: np.concatenate([part[name] for part, _ in parts]) for name in metrics},
        has_points=np.concatenate([there for _, there in parts]),
        num_blocks=len(np.unique(np.concatenate([own for _, own in seeds]))),
    )


def paired_difference(
    a: Resamples, b: Resamples, metric: str, *, confidence: float = 0.95
) -> PairedDifference:
    """Compare two models on the same points and the same draws of blocks.

    The p-value is the share of resamples whose difference strays from the observed one, widened by
    sqrt(n / (n - 1)) for n blocks, at least as far as that one lies from zero: the resampled
    differences, centred, stand for the null ([hall1991], first guideline). It counts the observed
    sample as one, so that it is at least 1 / (number of resamples + 1): after Holm's correction
    over m comparisons nothing is significant at level alpha unless there are m / alpha resamples.

    Args:
        a: Of the one model.
        b: Of the other, which may have other seeds.
        metric: Which one.
        confidence: Share of such intervals that should hold the true difference.
    """
    difference = a.observed[metric] - b.observed[metric]
    num_blocks, is_there = min(a.num_blocks, b.num_blocks), a.has_points & b.has_points
    resampled = (a.resampled[metric] - b.resampled[metric])[is_there]
    low, high = bounds(resampled, num_blocks, confidence=confidence)
    if low is None:
        return PairedDifference(difference=difference, low=None, high=None, p_value=None)
    strayed = np.abs(resampled - difference) * _inflation(num_blocks)
    num_farther = int(np.sum(strayed >= abs(difference)))
    p_value = (1 + num_farther) / (len(resampled) + 1)
    return PairedDifference(difference=difference, low=low, high=high, p_value=p_value)


def bounds(
    resampled: Float[np.ndarray, " resample"], num_blocks: int, *, confidence: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """Return an expanded percentile interval, or no bounds with fewer than `LEAST_BLOCKS`.

    Percentile p' stands in place of p, where z(p') sqrt((n - 1) / n) = t(p, n - 1) for n blocks, z
    is a normal's quantile and t Student's ([hesterberg2015]).

    Args:
        resampled: A value on every resample.
        num_blocks: How many blocks hold points.
        confidence: Share of such intervals that should hold the true value.

    Raises:
        ScoringError: If the confidence does not lie between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ScoringError(f"confidence lies between 0 and 1, got {confidence}")
    if num_blocks < LEAST_BLOCKS:
        return None, None
    student = stdtrit(num_blocks - 1, (1 - confidence) / 2)
    tail = ndtr(student * _inflation(num_blocks))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


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
    count: Float[np.ndarray, "block seed"]
    sums: dict[str, Float[np.ndarray, "block seed"]]
    by_seed: tuple[_SortedErrors, ...]
    row_bytes: int

    @classmethod
    def build(cls, seeds: Sequence[_Seed], num_blocks: int, metrics: tuple[str, ...]) -> "_Tables":
        def by_block(value: Callable[[PointErrors], np.ndarray]) -> np.ndarray:
            sums = [np.bincount(b, value(_errors(e)), minlength=num_blocks) for e, b in seeds]
            return np.stack(sums, axis=1)

        reductions = {name: METRICS[name].reduce for name in metrics}
        sums = {
            name: by_block(reduce.value)
            for name, reduce in reductions.items()
            if isinstance(reduce, MeanOf)
        }
        num_points = max(len(error) for error, _ in seeds)
        most_rows = max(1, _TABLE_BYTES // (8 * len(seeds) * num_blocks))
        num_rows = min(int(np.ceil(np.sqrt(num_points))), most_rows)
        by_seed: tuple[_SortedErrors, ...] = ()
        if len(sums) < len(reductions):
            by_seed = tuple(_SortedErrors.build(e, b, num_blocks, num_rows) for e, b in seeds)
        return cls(
            metrics=metrics,
            count=by_block(lambda errors: np.ones(len(errors.error_m))),
            sums=sums,
            by_seed=by_seed,
            row_bytes=8 * (4 * num_blocks + 2 * num_rows + 5 * (num_points // num_rows + 1)),
        )

    def resample(
        self, multiplicity: Float[np.ndarray, "resample block"]
    ) -> tuple[dict[str, Float[np.ndarray, " resample"]], Bool[np.ndarray, " resample"]]:
        """Return each metric, averaged over seeds, where block b is taken multiplicity times.

        Also tells which resamples hold any point; the metrics of the others mean nothing.
        """
        num_points = multiplicity @ self.count
        has_points = num_points > 0
        share = has_points / np.maximum(has_points.sum(axis=1, keepdims=True), 1)
        found: dict[str, np.ndarray] = {}
        for name, sums in self.sums.items():
            mean = (multiplicity @ sums) / np.maximum(num_points, 1)
            reduce = METRICS[name].reduce
            if isinstance(reduce, MeanOf) and reduce.finish is not None:
                mean = reduce.finish(mean)
            found[name] = (mean * share).sum(axis=1)
        probabilities = {
            name: reduce.probability
            for name in self.metrics
            if isinstance(reduce := METRICS[name].reduce, QuantileOf)
        }
        if probabilities:
            wanted = tuple(probabilities.values())
            quantiles = [errors.quantiles(multiplicity, wanted) for errors in self.by_seed]
            mean_of = np.einsum("spr,rs->pr", np.stack(quantiles), share)
            found |= dict(zip(probabilities, mean_of, strict=True))
        return found, has_points.any(axis=1)


def _check_points(
    error_m: Float[np.ndarray, "seed point"],
    block: Int[np.ndarray, " row"],
    num_blocks: int,
    taken: Bool[np.ndarray, "seed point"],
) -> None:
    if error_m.size == 0 or error_m.shape[1] != len(block):
        raise ScoringError(
            f"expected the error of at least one seed at each of {len(block)} points,"
            f" got an array of shape {error_m.shape}"
        )
    if not taken.any():
        raise ScoringError(f"no point to resample: none of {taken.size} is taken")
    if not np.isfinite(error_m).all():
        seed, point = np.argwhere(~np.isfinite(error_m))[0]
        raise ScoringError(
            f"the error of seed {seed} at point {point} is not finite: {error_m[seed, point]} m"
        )
    if block.min() < 0 or block.max() >= num_blocks:
        raise ScoringError(
            f"blocks count from 0 to {num_blocks - 1}, got {block.min()} to {block.max()}"
        )


def _check_metrics(names: Sequence[str]) -> None:
    for name in names:
        if name not in METRICS:
            raise ScoringError(f"unknown metric '{name}'{nearest(name, list(METRICS))}")
        if METRICS[name].needs_covariance:
            raise ScoringError(f"metric '{name}' needs covariances; only errors can be resampled")


def _by_seed(seeds: Sequence[_Seed], name: str) -> list[float]:
    """Return a metric of each seed."""
    return [METRICS[name].reduce(_errors(error)) for error, _ in seeds]


def _inflation(num_blocks: int) -> float:
    """Resampling n blocks has a variance of (n - 1) / n of the unbiased one; undo its root."""
    return float(np.sqrt(num_blocks / (num_blocks - 1)))


def _errors(error_m: Float[np.ndarray, " point"]) -> PointErrors:
    return PointErrors(error_m=error_m)
