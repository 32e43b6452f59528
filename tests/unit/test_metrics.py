import math

import numpy as np
import pytest
from scipy import stats

from raymark.benchmark.labels import LABELS, label_masks
from raymark.benchmark.metrics import (
    METRICS,
    OUTLIER_M,
    PointErrors,
    Spread,
    point_errors,
    score,
)
from raymark.errors import ScoringError

ROUNDING = 1e-12
"""Relative tolerance: a few hundred float64 operations, in another order."""


@pytest.fixture
def errors() -> PointErrors:
    rng = np.random.default_rng(0)
    spread = Spread(
        mahalanobis_squared=rng.chisquare(2, size=501), log_det=rng.normal(5.0, size=501)
    )
    return PointErrors(error_m=rng.gamma(0.7, 20.0, size=501), spread=spread)


def everywhere(errors: PointErrors) -> dict[str, float]:
    return score(errors, np.ones(len(errors.error_m), dtype=bool))


def naive_quantile(values: list[float], probability: float) -> float:
    """Linear between order statistics at (n - 1) p."""
    values = sorted(values)
    place = (len(values) - 1) * probability
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def test_score_equals_naive_sums_when_points_are_many(errors: PointErrors) -> None:
    error = [float(x) for x in errors.error_m]
    n = len(error)
    assert errors.spread is not None
    squared, log_det = errors.spread.mahalanobis_squared, errors.spread.log_det
    radius_squared = stats.chi2.ppf(0.9, df=2)
    expected = {
        "median_m": sorted(error)[n // 2],
        "p90_m": naive_quantile(error, 0.9),
        "share_under_1m": sum(x < 1 for x in error) / n,
        "share_under_3m": sum(x < 3 for x in error) / n,
        "mse_m2": sum(x**2 / 2 for x in error) / n,
        "rmse_m": math.sqrt(sum(x**2 for x in error) / n),
        "mean_m": sum(error) / n,
        **{f"p{p}_m": naive_quantile(error, p / 100) for p in (67, 80, 95)},
        "outlier_share": sum(x > 50 for x in error) / n,
        "coverage_90": float(np.mean(squared <= radius_squared)),
        "nll_nat": float(np.mean(squared / 2 + log_det / 2 + math.log(2 * math.pi))),
        "area_90_m2": stats.gmean(math.pi * radius_squared * np.exp(log_det / 2)),
    }

    found = everywhere(errors)

    assert list(found) == list(expected) == list(METRICS)
    assert found == pytest.approx(expected, rel=ROUNDING)


def test_mse_is_the_mean_over_both_coordinates_when_they_differ() -> None:
    """The paper's figure: what `np.mean` or Keras' MSE gives for the [n, 2] array."""
    rng = np.random.default_rng(1)
    predicted, true = rng.normal(size=(2, 50, 2))

    found = everywhere(point_errors(predicted, true))

    assert found["mse_m2"] == pytest.approx(np.mean((predicted - true) ** 2), rel=ROUNDING)
    assert found["rmse_m"] ** 2 == pytest.approx(2 * found["mse_m2"], rel=ROUNDING)


def test_metrics_approach_the_closed_form_when_errors_are_gaussian() -> None:
    """Errors of deviation sigma per coordinate: a Rayleigh distance, a chi squared ellipse."""
    rng, sigma_m, num_points = np.random.default_rng(2), 3.0, 200_000
    error = sigma_m * rng.normal(size=(num_points, 2))
    covariance = np.broadcast_to(sigma_m**2 * np.eye(2), (num_points, 2, 2))

    found = everywhere(point_errors(error, np.zeros((num_points, 2)), covariance))

    tolerance = 5 / math.sqrt(num_points)  # five sigma and more of each of these estimates
    assert found["mse_m2"] == pytest.approx(sigma_m**2, rel=2 * tolerance)
    assert found["mean_m"] == pytest.approx(sigma_m * math.sqrt(math.pi / 2), rel=tolerance)
    p90_m = sigma_m * math.sqrt(-2 * math.log(0.1))
    assert found["p90_m"] == pytest.approx(p90_m, rel=tolerance)
    assert found["coverage_90"] == pytest.approx(0.9, abs=tolerance)
    share = 1 - math.exp(-0.5 / sigma_m**2)
    assert found["share_under_1m"] == pytest.approx(share, abs=tolerance)


def test_shares_leave_out_the_limit_when_an_error_equals_it() -> None:
    found = everywhere(PointErrors(error_m=np.array([1.0, OUTLIER_M])))

    assert (found["share_under_1m"], found["outlier_share"]) == (0.0, 0.0)


def test_score_has_no_coverage_when_the_model_states_no_covariance(errors: PointErrors) -> None:
    found = everywhere(PointErrors(error_m=errors.error_m))

    assert list(found) == [name for name, metric in METRICS.items() if not metric.needs_covariance]
    with pytest.raises(ScoringError, match="it states none"):
        METRICS["coverage_90"].reduce(PointErrors(error_m=errors.error_m))


def test_score_takes_only_masked_points_when_the_others_are_far(errors: PointErrors) -> None:
    mask = errors.error_m < 10
    assert errors.spread is not None
    kept = PointErrors(error_m=errors.error_m[mask], spread=errors.spread.take(mask))

    assert score(errors, mask) == everywhere(kept)


def test_score_keeps_the_errors_order_when_it_sorts(errors: PointErrors) -> None:
    before = errors.error_m.copy()

    everywhere(errors)

    np.testing.assert_array_equal(errors.error_m, before)


def test_score_equals_the_error_when_there_is_one_point() -> None:
    found = everywhere(PointErrors(error_m=np.array([4.0])))

    in_metres = {name: value for name, value in found.items() if METRICS[name].unit == "m"}
    assert set(in_metres.values()) == {4.0}
    assert found["mse_m2"] == 8.0


def test_score_refuses_when_no_point_is_taken(errors: PointErrors) -> None:
    with pytest.raises(ScoringError, match="takes none of 501"):
        score(errors, np.zeros(501, dtype=bool))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_score_refuses_when_a_taken_error_is_not_finite(bad: float) -> None:
    errors = PointErrors(error_m=np.array([1.0, bad, 2.0]))

    with pytest.raises(ScoringError, match="row 1: error is not finite"):
        everywhere(errors)
    assert score(errors, np.array([True, False, True]))["mean_m"] == 1.5


def test_point_errors_follow_pythagoras_when_predictions_are_float32() -> None:
    found = point_errors(np.array([[3, 4], [0, 0]], dtype="f4"), np.zeros((2, 2)))

    assert found.error_m.dtype == np.float64
    assert found.error_m.tolist() == [5.0, 0.0]
    assert found.spread is None


def test_nll_is_the_density_of_scipy_when_covariances_are_random() -> None:
    rng = np.random.default_rng(4)
    predicted, true = rng.normal(scale=3.0, size=(2, 50, 2))
    factor = rng.normal(size=(50, 2, 2))
    covariance = factor @ factor.transpose(0, 2, 1) + 0.5 * np.eye(2)

    found = everywhere(point_errors(predicted, true, covariance))

    peers = [
        stats.multivariate_normal(mean, cov).logpdf(x)
        for mean, cov, x in zip(predicted, covariance, true, strict=True)
    ]
    assert found["nll_nat"] == pytest.approx(-np.mean(peers), rel=1e-9)


def test_mahalanobis_equals_a_linear_solve_when_covariances_are_random() -> None:
    rng = np.random.default_rng(3)
    predicted, true = rng.normal(size=(2, 300, 2))
    factor = rng.normal(size=(300, 2, 2))
    covariance = factor @ factor.transpose(0, 2, 1) + 0.01 * np.eye(2)

    spread = point_errors(predicted, true, covariance).spread
    assert spread is not None
    found = spread.mahalanobis_squared

    error = predicted - true
    expected = np.einsum("ni,ni->n", error, np.linalg.solve(covariance, error[..., None])[..., 0])
    # Covariances of condition number up to some thousands.
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_point_errors_name_the_first_row_when_a_value_is_not_finite(bad: float) -> None:
    good, wrong = np.zeros((4, 2)), np.zeros((4, 2))
    wrong[2:, 1] = bad

    with pytest.raises(ScoringError, match=r"row 2: predicted position .* \(2 of 4 rows\)"):
        point_errors(wrong, good)
    with pytest.raises(ScoringError, match="row 2: true position is not finite"):
        point_errors(good, wrong)


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        ([[1.0, 0.0], [0.0, math.nan]], "covariance is not finite"),
        ([[0.0, 0.0], [0.0, 0.0]], "positive definite"),
        ([[1.0, 0.0], [0.0, -1.0]], "positive definite"),
        ([[-1.0, 0.0], [0.0, -1.0]], "positive definite"),
        ([[1.0, 1.0], [1.0, 1.0]], "positive definite"),
        ([[1.0, 2.0], [2.0, 1.0]], "positive definite"),
        ([[1.0, 0.5], [0.0, 1.0]], "not symmetric"),
        ([[1e-320, 0.0], [0.0, 1.0]], "positive definite"),
    ],
)
def test_point_errors_refuse_when_a_covariance_is_none(
    matrix: list[list[float]], problem: str
) -> None:
    covariance = np.stack([np.eye(2), np.array(matrix)])

    with pytest.raises(ScoringError, match=f"row 1: .*{problem}"):
        point_errors(np.ones((2, 2)), np.zeros((2, 2)), covariance)


def test_point_errors_refuse_when_numbers_of_rows_differ() -> None:
    with pytest.raises(ScoringError, match="expected 3 predictions, one per point, got 2"):
        point_errors(np.zeros((2, 2)), np.zeros((3, 2)))
    with pytest.raises(ScoringError, match="expected 3 covariances, one per point, got 1"):
        point_errors(np.zeros((3, 2)), np.zeros((3, 2)), np.ones((1, 2, 2)))


def test_label_masks_tell_what_shows_a_path_when_that_is_known() -> None:
    is_detected = np.array([True, False, True, False, True])

    masks = label_masks(np.array([1, 1, 0, 0, -1]), is_detected)

    assert tuple(masks) == LABELS
    found = {label: np.flatnonzero(masks[label]).tolist() for label in ("detectable", "blind")}
    assert found == {"detectable": [2], "blind": [1, 3]}


def test_label_masks_leave_outage_out_of_all_when_points_are_of_every_kind() -> None:
    masks = label_masks(np.array([1, 0, -1, 0], dtype="i1"))

    assert {label: np.flatnonzero(mask).tolist() for label, mask in masks.items()} == {
        "all": [0, 1, 3],
        "los": [0],
        "nlos": [1, 3],
        "outage": [2],
    }


def test_label_masks_refuse_when_a_label_is_unknown() -> None:
    with pytest.raises(ScoringError, match="row 1: label is none of 1, 0 and -1, got 2"):
        label_masks(np.array([1, 2]))


def test_metrics_are_keyed_by_their_own_names() -> None:
    assert all(name == metric.name and metric.description for name, metric in METRICS.items())
    shares = [name for name, metric in METRICS.items() if not metric.unit]
    assert shares == ["share_under_1m", "share_under_3m", "outlier_share", "coverage_90"]
