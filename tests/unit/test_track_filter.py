"""Filter and smoother against the joint normal distribution of a whole track, and with outliers."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float
from walks import walks

from raymark.benchmark.step_model import StepModel
from raymark.benchmark.track_filter import Estimates, Evidence, filtered, smoothed

MODEL = StepModel(
    persistence=0.9,
    velocity_m2=0.6,
    jitter_m2=0.2,
    mean_m=(3.0, -8.0),
    covariance_m2=((400.0, 50.0), (50.0, 300.0)),
)
RANDOM_WALK = dataclasses.replace(MODEL, persistence=0.0, velocity_m2=1e-6, jitter_m2=1.0)


def told(
    seen_m: Float[np.ndarray, "step component 2"],
    covariance_m2: Float[np.ndarray, "step component 2 2"],
    *,
    gaps: list[int] | None = None,
    told_m: Float[np.ndarray, "step 2"] | None = None,
    outlier_share: float = 0.0,
) -> Evidence:
    """One track in a batch of one; the components have equal shares."""
    num_links, num_components = seen_m.shape[:2]
    with np.errstate(divide="ignore"):
        log_outlier = np.log(outlier_share * 1e-3)
    gap = gaps or [0] * min(num_links, 1) + [1] * (num_links - 1)
    restarts = 1e-3 * outlier_share
    share = (1 - outlier_share) / num_components
    return Evidence(
        present=np.ones((num_links, 1), dtype=bool),
        gap=np.array(gap, dtype="i8")[:, None],
        told_m=np.zeros((num_links, 1, 2)) if told_m is None else told_m[:, None],
        mean_m=seen_m[:, None],
        covariance_m2=covariance_m2[:, None],
        log_weight=np.full((num_links, 1, num_components), np.log(share)),
        log_outlier=np.full((num_links, 1), log_outlier),
        restart=np.array([restarts]),
    )


def any_covariances(num_links: int, *, seed: int) -> Float[np.ndarray, "step 1 2 2"]:
    root = np.random.default_rng(seed).normal(0, 2, (num_links, 1, 2, 2))
    return root @ root.swapaxes(2, 3) + 0.5 * np.eye(2)


def joint_prior(model: StepModel, times: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all positions of a track, from the sums that they are, in loops."""
    a, v_m2 = model.persistence, model.velocity_m2
    n = len(times)
    along = np.zeros((n, n))
    for i, first in enumerate(times):
        for j, second in enumerate(times):
            shared = model.jitter_m2 * min(first, second)
            for s in range(1, first + 1):
                for t in range(1, second + 1):
                    shared += v_m2 * a ** abs(s - t)
            along[i, j] = shared
    covariance = np.kron(np.ones((n, n)), model.covariance_m2) + np.kron(along, np.eye(2))
    return np.tile(model.mean_m, n), covariance


def conditioned(
    evidence: Evidence, times: list[int], *, known: int, model: StepModel
) -> tuple[np.ndarray, np.ndarray]:
    """Positions given the first `known` links, from the joint distribution."""
    mean, prior = joint_prior(model, times)
    rows = np.arange(2 * known)
    noise = np.zeros((2 * known, 2 * known))
    for k in range(known):
        noise[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = evidence.covariance_m2[k, 0, 0]
    gain = prior[:, rows] @ np.linalg.inv(prior[np.ix_(rows, rows)] + noise)
    seen = evidence.mean_m[:known, 0, 0].ravel()
    return mean + gain @ (seen - mean[rows]), prior - gain @ prior[rows]


@pytest.mark.parametrize("model", [MODEL, RANDOM_WALK], ids=["walk", "random walk"])
@pytest.mark.parametrize("gaps", [[0] + [1] * 11, [0, 1, 3, 1, 7, 1, 1, 2]], ids=["all", "missing"])
def test_filter_and_smoother_are_the_closed_form_when_all_is_linear_and_normal(
    gaps: list[int], model: StepModel
) -> None:
    n, times = len(gaps), np.cumsum(gaps).tolist()
    covariance_m2 = any_covariances(n, seed=1)
    seen_m = walks(num_tracks=1, num_steps=n, seed=2)[0, :, None] + np.random.default_rng(3).normal(
        0, 2, (n, 1, 2)
    )
    evidence = told(seen_m, covariance_m2, gaps=gaps)

    online, whole = filtered(evidence, model), smoothed(evidence, model)

    all_m, all_m2 = conditioned(evidence, times, known=n, model=model)
    for k in range(n):
        here = slice(2 * k, 2 * k + 2)
        past_m, past_m2 = conditioned(evidence, times, known=k + 1, model=model)
        np.testing.assert_allclose(online.mean_m[k, 0], past_m[here], rtol=0, atol=1e-6)
        np.testing.assert_allclose(online.covariance_m2[k, 0], past_m2[here, here], atol=1e-6)
        np.testing.assert_allclose(whole.mean_m[k, 0], all_m[here], rtol=0, atol=1e-6)
        np.testing.assert_allclose(whole.covariance_m2[k, 0], all_m2[here, here], atol=1e-6)


Run = Callable[[Evidence, StepModel], Estimates]
each_run = pytest.mark.parametrize("run", [filtered, smoothed])


def noisy(num_links: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    true_m = walks(num_tracks=1, num_steps=num_links, seed=seed)[0]
    seen_m = true_m + np.random.default_rng(seed + 100).normal(0, 2, (num_links, 2))
    return true_m, seen_m, np.broadcast_to(4.0 * np.eye(2), (num_links, 1, 2, 2))


def errors_m(found: Float[np.ndarray, "step 1 2"], true_m: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found[:, 0] - true_m, axis=1)


def test_filter_gives_the_same_bits_when_the_future_is_another() -> None:
    _, seen_m, covariance_m2 = noisy(30, seed=4)
    other_m = seen_m.copy()
    other_m[20:] += 50.0
    first, second = (told(x[:, None], covariance_m2, outlier_share=0.1) for x in (seen_m, other_m))

    before, after = filtered(first, MODEL), filtered(second, MODEL)

    assert before.mean_m[:20].tobytes() == after.mean_m[:20].tobytes()
    assert before.covariance_m2[:20].tobytes() == after.covariance_m2[:20].tobytes()
    # The smoother does look ahead: the test above can fail.
    there = [smoothed(evidence, MODEL).mean_m[:20] for evidence in (first, second)]
    assert not np.array_equal(*there)


@each_run
def test_one_wrong_link_drags_no_track_when_outliers_are_expected(run: Run) -> None:
    true_m, seen_m, covariance_m2 = noisy(40, seed=5)
    wrong_m = seen_m.copy()
    wrong_m[25] += 60.0
    right = told(seen_m[:, None], covariance_m2, outlier_share=0.05)
    robust = told(wrong_m[:, None], covariance_m2, outlier_share=0.05)
    trusting = told(wrong_m[:, None], covariance_m2)

    with_all, without, dragged = (
        errors_m(run(x, MODEL).mean_m, true_m) for x in (right, robust, trusting)
    )

    assert without[25] < 6.0  # about what the step model alone is worth
    assert dragged[25] > 15.0
    others = np.arange(40) != 25
    np.testing.assert_allclose(without[others], with_all[others], atol=2.0)


def test_filter_stays_finite_when_a_link_is_impossible_and_none_may_be() -> None:
    true_m, seen_m, covariance_m2 = noisy(10, seed=10)
    seen_m[5] += 5000.0

    for run in (filtered, smoothed):
        found = run(told(seen_m[:, None], covariance_m2), MODEL)
        assert np.isfinite(found.mean_m).all()
        assert np.isfinite(found.covariance_m2).all()
    assert errors_m(found.mean_m, true_m)[5] > 100.0


def test_smoother_finds_the_start_when_the_first_links_are_wrong() -> None:
    true_m, seen_m, covariance_m2 = noisy(60, seed=6)
    seen_m[:3] = true_m[:3] + np.array([45.0, -30.0])
    evidence = told(seen_m[:, None], covariance_m2, outlier_share=0.2)

    online = errors_m(filtered(evidence, MODEL).mean_m, true_m)
    whole = errors_m(smoothed(evidence, MODEL).mean_m, true_m)

    assert online[:3].min() > 30.0  # nobody could know by then
    assert online[20:].mean() < 3.0  # it has begun anew, and goes along
    assert whole[:3].max() < 8.0
    assert whole.mean() < 2.0


def test_track_chooses_the_right_mode_when_a_link_has_two() -> None:
    true_m, seen_m, one_m2 = noisy(40, seed=7)
    ghost_m = seen_m + np.where(np.arange(40)[:, None] % 2, 40.0, -40.0)
    both_m = np.stack([seen_m, ghost_m], axis=1)
    evidence = told(both_m, np.concatenate([one_m2, one_m2], axis=1), outlier_share=0.02)

    whole = errors_m(smoothed(evidence, MODEL).mean_m, true_m)

    mean = np.linalg.norm(both_m.mean(axis=1) - true_m, axis=1)
    assert np.median(whole) < 2.0
    assert np.median(mean) > 15.0


def test_tracks_do_not_touch_each_other_when_one_is_shorter() -> None:
    _, seen_m, covariance_m2 = noisy(9, seed=8)
    whole = told(seen_m[:, None], covariance_m2, outlier_share=0.1)
    short = told(seen_m[4:6, None], covariance_m2[:2], outlier_share=0.1)

    def beside(name: str, padding: float) -> np.ndarray:
        added = getattr(short, name)
        blank = np.full((7, *added.shape[1:]), padding, dtype=added.dtype)
        if name == "covariance_m2":
            blank[:] = np.eye(2)
        return np.concatenate([getattr(whole, name), np.concatenate([added, blank])], axis=1)

    names = [field.name for field in dataclasses.fields(Evidence) if field.name != "restart"]
    both = Evidence(
        restart=np.repeat(whole.restart, 2), **{name: beside(name, 0) for name in names}
    )
    for run in (filtered, smoothed):
        found = run(both, MODEL)
        np.testing.assert_allclose(found.mean_m[:, :1], run(whole, MODEL).mean_m, atol=1e-9)
        np.testing.assert_allclose(found.mean_m[:2, 1:], run(short, MODEL).mean_m, atol=1e-9)


@each_run
def test_a_track_of_one_link_is_prior_times_link_when_followed(run: Run) -> None:
    covariance_m2 = any_covariances(1, seed=9)
    seen_m = np.array([[[10.0, 5.0]]])

    found = run(told(seen_m, covariance_m2), MODEL)

    precisions = np.linalg.inv(np.array([MODEL.covariance_m2, covariance_m2[0, 0]]))
    expected_m2 = np.linalg.inv(precisions.sum(axis=0))
    shift = precisions[0] @ MODEL.mean_m + precisions[1] @ seen_m[0, 0]
    np.testing.assert_allclose(found.covariance_m2[0, 0], expected_m2, atol=1e-9)
    np.testing.assert_allclose(found.mean_m[0, 0], expected_m2 @ shift, atol=1e-9)


@each_run
def test_no_links_give_no_estimates_when_followed(run: Run) -> None:
    nothing = told(np.empty((0, 1, 2)), np.empty((0, 1, 2, 2)))

    assert run(nothing, MODEL).mean_m.shape == (0, 1, 2)
