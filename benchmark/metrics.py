"""How predictions are scored: a statistic of each point, a metric over points, a choice of points.

The three are separate objects. `point_errors` turns predictions into one statistic per point,
`METRICS` reduces the statistics of some points to one number, and `raymark.benchmark.labels` says
which points are taken together. What compares a model with others is in `raymark.benchmark.skill`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from raymark.errors import ScoringError

OUTLIER_M = 50.0
"""A point whose horizontal error is above this counts as an outlier [m]."""

_COVERAGE = 0.9
_CHI_SQUARED_90 = -2.0 * np.log1p(-_COVERAGE)
"""Quantile of chi squared with two degrees of freedom, in closed form."""

_LARGEST = 1e100  # of a coordinate [m] or a covariance [m^2], so that no square overflows
_LEAST_VARIANCE_M2 = 1e-12  # one micrometre squared; below it, squared distances may overflow
_SYMMETRY_REL = 1e-5  # covariances may have been stored as float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The uncertainty that a model states at each scored point, as a normal density.

    Attributes:
        mahalanobis_squared: e^T C^-1 e of the error e under the model's own covariance C.
        log_det: Natural logarithm of det C, of C in m^2.
    """

    mahalanobis_squared: Float[np.ndarray, " point"]
    log_det: Float[np.ndarray, " point"]

    def take(self, chosen: Bool[np.ndarray, " point"]) -> "Spread":
        """Return the values of some points."""
        return Spread(
            mahalanobis_squared=self.mahalanobis_squared[chosen], log_det=self.log_det[chosen]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PointErrors:
    """Statistics of each scored point.

    Attributes:
        error_m: Horizontal distance from the prediction to the truth [m].
        spread: What the model's own covariances say, or None where it states none.
    """

    error_m: Float[np.ndarray, " point"]
    spread: Spread | None = None


def point_errors(
    predicted_m: Float[np.ndarray, "row 2"],
    true_m: Float[np.ndarray, "point 2"],
    covariance_m2: Float[np.ndarray, "covariance 2 2"] | None = None,
) -> PointErrors:
    """Compare predicted with true positions, row by row, in float64.

    Args:
        predicted_m: Predicted horizontal positions [m].
        true_m: True horizontal positions [m].
        covariance_m2: The model's own error covariance of each prediction [m^2], if it has one.

    Raises:
        ScoringError: If the numbers of rows differ, or a row (the first is named) holds a value
            that is not finite or a covariance that is not symmetric and positive definite.
    """
    predicted, true = (np.asarray(x, dtype=np.float64) for x in (predicted_m, true_m))
    _check_rows(predicted, true, "predictions")
    _refuse_rows(
        _is_unusable(predicted),
        f"predicted position is not finite, or over {_LARGEST:g} m",
        predicted,
    )
    _refuse_rows(_is_unusable(true), "true position is not finite", true)
    error = predicted - true
    spread = None
    if covariance_m2 is not None:
        covariance = np.asarray(covariance_m2, dtype=np.float64)
        _check_rows(covariance, true, "covariances")
        spread = _spread(error, covariance)
    return PointErrors(error_m=np.hypot(error[:, 0], error[:, 1]), spread=spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanOf:
    """A reduction: the mean of a value of each point, and a function of that mean."""

    value: Callable[[PointErrors], Float[np.ndarray, " point"]]
    finish: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, errors: PointErrors) -> float:
        """Reduce the points to one number."""
        mean = self.value(errors).mean()
        return float(mean if self.finish is None else self.finish(mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileOf:
    """A reduction: a quantile of the error, interpolated linearly.

    Between order statistics the quantile is linear in (n - 1) p: type 7 of [hyndman1996], the
    default of numpy and of R.
    """

    probability: float

    def __call__(self, errors: PointErrors) -> float:
        """Reduce the points to one number [m]."""
        return float(np.quantile(errors.error_m, self.probability))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number that a board shows of a model.

    Attributes:
        name: Key of the measure, in result rows and columns.
        title: Short heading for tables.
        unit: Unit of its value; empty for a share, of which 1 is all.
        description: One sentence that defines it.
        higher_is_better: Whether a larger value is a better one.
        target: The best value, where neither larger nor smaller is better.
        has_ratios: Whether "twice the value" says something; not where zero means nothing.
    """

    name: str
    title: str
    unit: str
    description: str
    higher_is_better: bool = False
    target: float | None = None
    has_ratios: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Measure):
    """A measure that sums up some points.

    Attributes:
        reduce: Computes it from at least one point.
        needs_covariance: Whether it applies only to models that state their uncertainty.
    """

    reduce: MeanOf | QuantileOf
    needs_covariance: bool = False


def _half_squared(errors: PointErrors) -> np.ndarray:
    return 0.5 * np.square(errors.error_m)


def _squared(errors: PointErrors) -> np.ndarray:
    return np.square(errors.error_m)


def _error(errors: PointErrors) -> np.ndarray:
    return errors.error_m


def _is_under_1m(errors: PointErrors) -> np.ndarray:
    return (errors.error_m < 1.0).astype(np.float64)


def _is_under_3m(errors: PointErrors) -> np.ndarray:
    return (errors.error_m < 3.0).astype(np.float64)


def _is_outlier(errors: PointErrors) -> np.ndarray:
    return (errors.error_m > OUTLIER_M).astype(np.float64)


def _is_covered(errors: PointErrors) -> np.ndarray:
    return (_spread_of(errors).mahalanobis_squared <= _CHI_SQUARED_90).astype(np.float64)


def _surprise(errors: PointErrors) -> np.ndarray:
    spread = _spread_of(errors)
    return 0.5 * (spread.mahalanobis_squared + spread.log_det) + np.log(2 * np.pi)


def _log_area(errors: PointErrors) -> np.ndarray:
    return np.log(np.pi * _CHI_SQUARED_90) + 0.5 * _spread_of(errors).log_det


def _spread_of(errors: PointErrors) -> Spread:
    if errors.spread is None:
        raise ScoringError("the metric needs the model's covariances, but it states none")
    return errors.spread


def _percentile(percent: int) -> Metric:
    return Metric(
        name=f"p{percent}_m",
        title=f"P{percent}",
        unit="m",
        description=f"Error that {percent} % of the points stay below",
        reduce=QuantileOf(probability=percent / 100),
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="median_m",
            title="Median",
            unit="m",
            description="Median horizontal error",
            reduce=QuantileOf(probability=0.5),
        ),
        _percentile(90),
        Metric(
            name="share_under_1m",
            title="Under 1 m",
            unit="",
            description="Share of points with an error below 1 m",
            reduce=MeanOf(value=_is_under_1m),
            higher_is_better=True,
        ),
        Metric(
            name="share_under_3m",
            title="Under 3 m",
            unit="",
            description="Share of points with an error below 3 m",
            reduce=MeanOf(value=_is_under_3m),
            higher_is_better=True,
        ),
        Metric(
            name="mse_m2",
            title="MSE",
            unit="m²",
            description="Squared error, mean over points and over both coordinates",
            reduce=MeanOf(value=_half_squared),
        ),
        Metric(
            name="rmse_m",
            title="RMSE",
            unit="m",
            description="Square root of the mean squared horizontal error",
            reduce=MeanOf(value=_squared, finish=np.sqrt),
        ),
        Metric(
            name="mean_m",
            title="Mean",
            unit="m",
            description="Mean horizontal error",
            reduce=MeanOf(value=_error),
        ),
        *(_percentile(percent) for percent in (67, 80, 95)),
        Metric(
            name="outlier_share",
            title="Outliers",
            unit="",
            description=f"Share of points with an error above {OUTLIER_M:g} m",
            reduce=MeanOf(value=_is_outlier),
        ),
        Metric(
            name="coverage_90",
            title="Coverage 90 %",
            unit="",
            description="Share of points within the model's own 90 % ellipse; 90 % is calibrated",
            reduce=MeanOf(value=_is_covered),
            higher_is_better=True,
            target=_COVERAGE,
            needs_covariance=True,
        ),
        Metric(
            name="nll_nat",
            title="NLL",
            unit="nat",
            description="Negative logarithm of the density, in 1/m², that the model's own normal "
            "distribution has at the true position; mean over points",
            reduce=MeanOf(value=_surprise),
            needs_covariance=True,
            has_ratios=False,
        ),
        Metric(
            name="area_90_m2",
            title="Area 90 %",
            unit="m²",
            description="Area of the model's own 90 % ellipse; geometric mean over points",
            reduce=MeanOf(value=_log_area, finish=np.exp),
            needs_covariance=True,
        ),
    )
}
"""Every metric, in table order."""


def score(errors: PointErrors, mask: Bool[np.ndarray, " point"]) -> dict[str, float]:
    """Return every metric that applies, over the points that the mask takes.

    Raises:
        ScoringError: If the mask takes no point, or an error is not finite; nothing is skipped.
    """
    taken = errors.error_m[mask]
    if not taken.size:
        raise ScoringError(f"no point to score: the mask takes none of {mask.size}")
    if not np.isfinite(taken).all():
        _refuse_rows(mask & ~np.isfinite(errors.error_m), "error is not finite", errors.error_m)
    spread = None if errors.spread is None else errors.spread.take(mask)
    # Sorted once: on sorted values each of the five quantiles partitions in linear time.
    chosen = PointErrors(error_m=np.sort(taken), spread=spread)
    return {
        name: metric.reduce(chosen)
        for name, metric in METRICS.items()
        if spread is not None or not metric.needs_covariance
    }


def _spread(
    error_m: Float[np.ndarray, "point 2"], covariance_m2: Float[np.ndarray, "point 2 2"]
) -> Spread:
    """Solve by the Cholesky factor of each 2x2 covariance, which also tells if it has one."""
    _refuse_rows(_is_unusable(covariance_m2), "covariance is not finite", covariance_m2)
    xx, xy, yx, yy = covariance_m2.reshape(-1, 4).T
    x_ok, y_ok = xx >= _LEAST_VARIANCE_M2, yy >= _LEAST_VARIANCE_M2
    lower_xx = np.sqrt(np.where(x_ok, xx, 1.0))
    lower_yx = xy / lower_xx
    schur = yy - np.square(lower_yx)
    is_definite = x_ok & y_ok & (schur > 4 * np.finfo(np.float64).eps * yy)
    is_symmetric = np.abs(xy - yx) <= _SYMMETRY_REL * np.sqrt(np.abs(xx)) * np.sqrt(np.abs(yy))
    _refuse_rows(
        ~(is_definite & is_symmetric),
        "covariance is not symmetric and positive definite",
        covariance_m2,
    )
    whitened_x = error_m[:, 0] / lower_xx
    whitened_y = (error_m[:, 1] - lower_yx * whitened_x) / np.sqrt(schur)
    return Spread(
        mahalanobis_squared=np.square(whitened_x) + np.square(whitened_y),
        log_det=np.log(lower_xx) * 2 + np.log(schur),
    )


def _is_unusable(values: Float[np.ndarray, "point ..."]) -> Bool[np.ndarray, " point"]:
    is_usable = np.abs(values) <= _LARGEST  # also false for NaN
    return ~is_usable.all(axis=tuple(range(1, values.ndim)))


def _check_rows(values: np.ndarray, true_m: np.ndarray, what: str) -> None:
    if len(values) != len(true_m):
        raise ScoringError(f"expected {len(true_m)} {what}, one per point, got {len(values)}")


def _refuse_rows(is_bad: Bool[np.ndarray, " point"], problem: str, values: np.ndarray) -> None:
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise ScoringError(
            f"row {row}: {problem}, got {np.asarray(values[row]).tolist()}"
            f" ({int(is_bad.sum())} of {len(is_bad)} rows)"
        )
