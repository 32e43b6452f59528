"""How predictions are scored: a statistic of each point, a metric over points, a choice of points.

The three are separate objects. `point_errors` turns predictions into one statistic per point,
`METRICS` reduces the statistics of some points to one number, and `label_masks` says which points
are taken together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.errors import ScoringError

OUTLIER_M = 50.0
"""A point whose horizontal error is above this counts as an outlier [m]."""

LABELS = ("all", "los", "nlos", "outage")
"""Choices of points, in table order; `all` is LOS and NLOS, as an outage has no path to measure."""

_COVERAGE = 0.9
_LARGEST = 1e100  # of a coordinate [m] or a covariance [m^2], so that no square overflows
_LEAST_VARIANCE_M2 = 1e-12  # one micrometre squared; below it, squared distances may overflow
_SYMMETRY_REL = 1e-5  # covariances may have been stored as float32


@dataclass(frozen=True, slots=True, kw_only=True)
class PointErrors:
    """Statistics of each scored point.

    Attributes:
        error_m: Horizontal distance from the prediction to the truth [m].
        mahalanobis_squared: e^T C^-1 e of the error e under the model's own covariance C, or None
            where the model states none.
    """

    error_m: Float[np.ndarray, " point"]
    mahalanobis_squared: Float[np.ndarray, " point"] | None = None


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
    squared = None
    if covariance_m2 is not None:
        covariance = np.asarray(covariance_m2, dtype=np.float64)
        _check_rows(covariance, true, "covariances")
        squared = _mahalanobis_squared(error, covariance)
    return PointErrors(error_m=np.hypot(error[:, 0], error[:, 1]), mahalanobis_squared=squared)


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
class Metric:
    """A number that sums up some points.

    Attributes:
        name: Key of the metric, in result rows and columns.
        title: Short heading for tables.
        unit: Unit of its value; empty for a share, which lies in [0, 1].
        description: One sentence that defines it.
        reduce: Computes it from at least one point.
        higher_is_better: Whether a larger value is a better one.
        target: The best value, where neither larger nor smaller is better.
        needs_covariance: Whether it applies only to models that state their uncertainty.
    """

    name: str
    title: str
    unit: str
    description: str
    reduce: MeanOf | QuantileOf
    higher_is_better: bool = False
    target: float | None = None
    needs_covariance: bool = False


def _half_squared(errors: PointErrors) -> np.ndarray:
    return 0.5 * np.square(errors.error_m)


def _squared(errors: PointErrors) -> np.ndarray:
    return np.square(errors.error_m)


def _error(errors: PointErrors) -> np.ndarray:
    return errors.error_m


def _is_under_1m(errors: PointErrors) -> np.ndarray:
    return (errors.error_m < 1.0).astype(np.float64)


def _is_outlier(errors: PointErrors) -> np.ndarray:
    return (errors.error_m > OUTLIER_M).astype(np.float64)


def _is_covered(errors: PointErrors) -> np.ndarray:
    if errors.mahalanobis_squared is None:
        raise ScoringError("coverage needs the model's covariances, but it states none")
    # Quantile of chi squared with two degrees of freedom, in closed form.
    limit = -2.0 * np.log1p(-_COVERAGE)
    return (errors.mahalanobis_squared <= limit).astype(np.float64)


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
        Metric(
            name="median_m",
            title="Median",
            unit="m",
            description="Median horizontal error",
            reduce=QuantileOf(probability=0.5),
        ),
        *(_percentile(percent) for percent in (67, 80, 90, 95)),
        Metric(
            name="share_under_1m",
            title="Under 1 m",
            unit="",
            description="Share of points with an error below 1 m",
            reduce=MeanOf(value=_is_under_1m),
            higher_is_better=True,
        ),
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
    )
}
"""Every metric, in table order."""


def label_masks(los: Int[np.ndarray, " point"]) -> dict[str, Bool[np.ndarray, " point"]]:
    """Return which points each of `LABELS` takes.

    Args:
        los: 1 LOS, 0 NLOS, -1 outage, as in `link/los`.

    Raises:
        ScoringError: If a point has another label.
    """
    masks = {"los": los == LOS, "nlos": los == NLOS, "outage": los == OUTAGE}
    masks["all"] = masks["los"] | masks["nlos"]
    _refuse_rows(~(masks["all"] | masks["outage"]), "label is none of 1, 0 and -1", los)
    return {label: masks[label] for label in LABELS}


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
    squared = errors.mahalanobis_squared
    # Sorted once: on sorted values each of the five quantiles partitions in linear time.
    chosen = PointErrors(
        error_m=np.sort(taken), mahalanobis_squared=None if squared is None else squared[mask]
    )
    return {
        name: metric.reduce(chosen)
        for name, metric in METRICS.items()
        if squared is not None or not metric.needs_covariance
    }


def _mahalanobis_squared(
    error_m: Float[np.ndarray, "point 2"], covariance_m2: Float[np.ndarray, "point 2 2"]
) -> Float[np.ndarray, " point"]:
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
    return np.square(whitened_x) + np.square(whitened_y)


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
