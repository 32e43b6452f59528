"""Estimates of places, fused: closed forms, a grid, and sites that are wrong."""

import numpy as np
import pytest
from jaxtyping import Float

from raymark.benchmark.fusing import (
    Prior,
    Told,
    fused,
    fused_with_outliers,
    outlier_log_density,
)
from raymark.benchmark.site_trust import Errors, SiteTrust

PRIOR = Prior(mean_m=np.array([1.0, -2.0]), covariance_m2=np.array([[30.0, 5.0], [5.0, 20.0]]))


def told_by(*position_m: tuple[float, float], share: float = 0.8, variance_m2: float = 1.0) -> Told:
    """Return what sites tell of one UE."""
    num = len(position_m)
    return Told(
        position_m=np.array([position_m], dtype="f8"),
        covariance_m2=np.tile(variance_m2 * np.eye(2), (1, num, 1, 1)),
        share=np.full((1, num), share),
        is_heard=np.ones((1, num), dtype=bool),
    )


def normal(
    at_m: Float[np.ndarray, "n 2"], mean_m: np.ndarray, covariance_m2: np.ndarray
) -> Float[np.ndarray, "n"]:
    offset_m = at_m - mean_m
    squared = np.einsum("ni,ij,nj->n", offset_m, np.linalg.inv(covariance_m2), offset_m)
    return np.exp(-squared / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariance_m2)))


def test_two_estimates_are_weighted_by_their_precision_when_fused() -> None:
    position_m = np.array([[[0.0, 0.0], [10.0, 8.0]]] * 3)
    covariance_m2 = np.array([[np.diag([1.0, 4.0]), np.diag([4.0, 4.0])]] * 3)
    heard = np.array([[True, True], [False, True], [False, False]])

    mean_m, found_m2 = fused(position_m, covariance_m2, heard)

    np.testing.assert_allclose(mean_m, [[2.0, 4.0], [10.0, 8.0], [0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(found_m2[0], np.diag([0.8, 2.0]), atol=1e-12)
    np.testing.assert_allclose(found_m2[1], np.diag([4.0, 4.0]), atol=1e-12)
    np.testing.assert_array_equal(found_m2[2], 0.0)


def test_mixture_of_outliers_is_that_of_a_grid_when_two_sites_disagree() -> None:
    told = told_by((0.0, 0.0), (4.0, 3.0), share=0.6, variance_m2=3.0)
    axis_m = np.arange(-40, 40, 0.2)
    grid_m = np.stack(np.meshgrid(axis_m, axis_m, indexing="ij"), axis=-1).reshape(-1, 2)
    prior = normal(grid_m, PRIOR.mean_m, PRIOR.covariance_m2)
    west, east = (normal(grid_m, mean_m, 3.0 * np.eye(2)) for mean_m in told.position_m[0])
    outlier = [
        normal(mean_m[None], PRIOR.mean_m, 2 * PRIOR.covariance_m2)[0]
        for mean_m in told.position_m[0]
    ]
    components = [
        0.36 * west * east,
        0.24 * west * outlier[1],
        0.24 * outlier[0] * east,
        0.16 * outlier[0] * outlier[1] * np.ones(len(grid_m)),
    ]
    weights = np.array([(prior * component).sum() for component in components])
    weights /= weights.sum()

    position_m, covariance_m2 = fused_with_outliers(told, PRIOR)

    np.testing.assert_allclose(position_m[0], [2.0, 1.5], atol=1e-9)
    assert weights.argmax() == 0
    offset_m = grid_m - position_m[0]
    components[3] = prior
    expected_m2 = sum(
        weight * np.einsum("n,ni,nj->ij", component / component.sum(), offset_m, offset_m)
        for weight, component in zip(weights, components, strict=True)
    )
    np.testing.assert_allclose(covariance_m2[0], expected_m2, rtol=1e-3)


def test_outliers_change_nothing_when_there_are_none() -> None:
    sure = told_by((0.0, 0.0), (4.0, 3.0), share=1 - 1e-12)

    found = fused_with_outliers(sure, PRIOR)

    expected = fused(sure.position_m, sure.covariance_m2, sure.is_heard)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6, atol=1e-9)


def test_site_answers_and_doubts_when_it_is_alone() -> None:
    position_m, covariance_m2 = fused_with_outliers(told_by((3.0, 2.0), share=0.4), PRIOR)

    np.testing.assert_allclose(position_m[0], [3.0, 2.0], atol=1e-9)
    right = 0.4 * normal(position_m, PRIOR.mean_m, PRIOR.covariance_m2 + np.eye(2))[0]
    wrong = 0.6 * normal(position_m, PRIOR.mean_m, 2 * PRIOR.covariance_m2)[0]
    away_m = PRIOR.mean_m - position_m[0]
    elsewhere_m2 = PRIOR.covariance_m2 + np.outer(away_m, away_m)
    expected_m2 = (right * np.eye(2) + wrong * elsewhere_m2) / (right + wrong)
    np.testing.assert_allclose(covariance_m2[0], expected_m2, rtol=1e-6)


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_answer_stays_with_those_that_agree_when_one_of_three_is_wrong_by_far(wrong: int) -> None:
    right_m = [(5.0, 5.0), (5.6, 4.6)]
    all_m = [*right_m[:wrong], (-300.0, 200.0), *right_m[wrong:]]

    position_m, covariance_m2 = fused_with_outliers(told_by(*all_m), PRIOR)

    alone_m, _ = fused_with_outliers(told_by(*right_m), PRIOR)
    np.testing.assert_allclose(position_m, alone_m, atol=1e-9)
    assert np.sqrt(np.trace(covariance_m2[0])) < 3.0


def test_answer_is_wide_when_two_sites_contradict_each_other() -> None:
    _, apart_m2 = fused_with_outliers(told_by((-10.0, 0.0), (10.0, 0.0)), PRIOR)
    _, near_m2 = fused_with_outliers(told_by((-0.5, 0.0), (0.5, 0.0)), PRIOR)

    assert apart_m2[0, 0, 0] > 50
    assert near_m2[0, 0, 0] < 3


def test_answer_is_the_prior_when_nobody_hears_the_ue() -> None:
    told = told_by((0.0, 0.0), (4.0, 3.0))
    told.is_heard[:] = False

    position_m, covariance_m2 = fused_with_outliers(told, PRIOR)

    np.testing.assert_allclose(position_m[0], PRIOR.mean_m)
    np.testing.assert_allclose(covariance_m2[0], PRIOR.covariance_m2)


def errors_of(squared: np.ndarray, directness_db: np.ndarray) -> Errors:
    """Return errors of estimates without covariances, which all are told near the prior's mean."""
    num = len(squared)
    told_m = np.tile(PRIOR.mean_m, (num, 1))
    return Errors(
        squared=squared,
        log_inlier=np.full(num, -np.log(2 * np.pi)),
        log_outlier=outlier_log_density(told_m, PRIOR),
        directness_db=directness_db,
    )


def test_trust_tells_direct_links_from_others_when_most_of_these_are_outliers() -> None:
    rng = np.random.default_rng(0)
    num = 400
    is_direct = np.arange(num) % 2 == 0
    is_right = is_direct | (rng.random(num) < 0.25)
    squared = np.where(is_right, rng.exponential(0.01, num), 1e4)

    trust = SiteTrust.of(errors_of(squared, np.where(is_direct, 30.0, 10.0)))

    weak, direct = trust.share
    assert direct > 0.97
    assert abs(weak - 0.25) < 0.08
    # Half the squared error of two coordinates has the variance as its mean.
    np.testing.assert_allclose(trust.variance_m2, 0.01, rtol=0.2)


@pytest.mark.parametrize("squared", [[0.0], [4.0], [0.0, 0.0], [1e6, 0.0]])
def test_trust_is_finite_and_doubts_when_validation_holds_next_to_nothing(
    squared: list[float],
) -> None:
    trust = SiteTrust.of(errors_of(np.array(squared), np.zeros(len(squared))))

    assert np.isfinite(trust.variance_m2).all()
    assert min(trust.variance_m2) > 0
    assert 0 < min(trust.share) <= max(trust.share) < 0.9
