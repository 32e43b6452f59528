import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from raymark.benchmark import statistics
from raymark.benchmark.metrics import METRICS, PointErrors
from raymark.benchmark.statistics import (
    LEAST_BLOCKS,
    Interval,
    PairedDifference,
    Resamples,
    draw_blocks,
    holm,
    paired_difference,
    resample_blocks,
    seed_deviation,
)
from raymark.errors import ScoringError

ROUNDING = 1e-10
"""Relative tolerance: sums of some thousand float64 numbers, in another order."""

ERROR_METRICS = [name for name, metric in METRICS.items() if not metric.needs_covariance]


def expanded_bounds(resampled: list[float], num_blocks: int) -> tuple[float, float]:
    """Hesterberg's percentiles of 95 %."""
    t = stats.t.ppf(0.025, df=num_blocks - 1)
    tail = stats.norm.cdf(t * math.sqrt(num_blocks / (num_blocks - 1)))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return low, high


def clustered_errors(
    rng: np.random.Generator, num_blocks: int, points_per_block: int
) -> tuple[np.ndarray, np.ndarray]:
    """One seed of errors of mean 2 m: half of it is shared by a block, half a point's own."""
    shared = rng.exponential(size=num_blocks)
    block = np.repeat(np.arange(num_blocks), points_per_block)
    return (shared[block] + rng.exponential(size=block.size))[None], block


def resampled(
    error_m: np.ndarray,
    block: np.ndarray,
    metrics: list[str],
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
) -> Resamples:
    """Resample with blocks of any names."""
    names, index = np.unique(block, return_inverse=True)
    draws = draw_blocks(len(names), rng=rng, num_resamples=num_resamples)
    return resample_blocks(error_m, index, metrics, draws)


def block_bootstrap(
    error_m: np.ndarray, block: np.ndarray, metrics: list[str], **how: Any
) -> dict[str, Interval]:
    found = resampled(error_m, block, metrics, **how)
    return {name: found.interval(name) for name in metrics}


def paired_block_bootstrap(
    error_a: np.ndarray,
    error_b: np.ndarray,
    block: np.ndarray,
    metric: str,
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
) -> PairedDifference:
    names, index = np.unique(block, return_inverse=True)
    draws = draw_blocks(len(names), rng=rng, num_resamples=num_resamples)
    a, b = (resample_blocks(e, index, [metric], draws) for e in (error_a, error_b))
    return paired_difference(a, b, metric)


@pytest.fixture
def uneven() -> tuple[np.ndarray, np.ndarray]:
    """Three seeds on seven blocks of uneven sizes, with ties, in no order."""
    rng = np.random.default_rng(0)
    block = rng.choice([-3, 0, 1, 5, 8, 9, 70], size=83, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    error_m = np.round(rng.gamma(0.8, 25.0, size=(3, 83)) * (1 + (block > 4)), 1)
    return error_m, block


def test_block_bootstrap_equals_a_naive_loop_when_the_same_blocks_are_drawn(
    uneven: tuple[np.ndarray, np.ndarray],
) -> None:
    error_m, block = uneven
    names = np.unique(block)
    resampled: dict[str, list[float]] = {name: [] for name in ERROR_METRICS}
    for drawn in np.random.default_rng(5).integers(len(names), size=(200, len(names))):
        points = np.concatenate([np.flatnonzero(block == names[i]) for i in drawn])
        sample = error_m[:, points]
        values = {
            "mse_m2": np.mean(sample**2) / 2,
            "rmse_m": np.mean(np.sqrt(np.mean(sample**2, axis=1))),
            "mean_m": np.mean(sample),
            "median_m": np.mean(np.median(sample, axis=1)),
            **{f"p{p}_m": np.mean(np.quantile(sample, p / 100, axis=1)) for p in (67, 80, 90, 95)},
            "share_under_1m": np.mean(sample < 1),
            "share_under_3m": np.mean(sample < 3),
            "outlier_share": np.mean(sample > 50),
        }
        for name in ERROR_METRICS:
            resampled[name].append(float(values[name]))

    found = block_bootstrap(
        error_m, block, ERROR_METRICS, rng=np.random.default_rng(5), num_resamples=200
    )

    assert list(found) == ERROR_METRICS
    for name, interval in found.items():
        low, high = expanded_bounds(resampled[name], num_blocks=7)
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=ROUNDING), name
        each_seed = [METRICS[name].reduce(PointErrors(error_m=error)) for error in error_m]
        assert interval.value == pytest.approx(np.mean(each_seed), rel=ROUNDING), name


@pytest.mark.parametrize("metric", ["mean_m", "rmse_m", "p80_m"])
def test_block_bootstrap_equals_scipy_when_each_point_is_a_block(metric: str) -> None:
    error_m, num_resamples = np.random.default_rng(1).gamma(2.0, 3.0, size=300), 4000
    naive = {
        "mean_m": np.mean,
        "rmse_m": lambda x, axis: np.sqrt(np.mean(x**2, axis=axis)),
        "p80_m": lambda x, axis: np.quantile(x, 0.8, axis=axis),
    }
    peer = stats.bootstrap(
        (error_m,),
        naive[metric],
        n_resamples=num_resamples,
        method="percentile",
        rng=np.random.default_rng(2),
    )

    found = block_bootstrap(
        error_m[None],
        np.arange(300),
        [metric],
        rng=np.random.default_rng(3),
        num_resamples=num_resamples,
    )[metric]

    # Deviation of a 2.5 % quantile of n normal draws: sqrt(0.025 * 0.975 / n) / density(-1.96);
    # four of it, for the difference of two. With 300 blocks the expansion is far less.
    density = stats.norm.pdf(stats.norm.ppf(0.025))
    tolerance = 4 * math.sqrt(2 * 0.025 * 0.975 / num_resamples) / density * peer.standard_error
    low_high = (peer.confidence_interval.low, peer.confidence_interval.high)
    assert (found.low, found.high) == pytest.approx(low_high, abs=tolerance)


def test_block_bootstrap_is_the_same_when_memory_is_short(
    uneven: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def intervals() -> dict[str, Interval]:
        return block_bootstrap(
            *uneven, ERROR_METRICS, rng=np.random.default_rng(0), num_resamples=50
        )

    plenty = intervals()
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", 4000)  # some resamples at a time
    chunked = intervals()
    monkeypatch.setattr(statistics, "_TABLE_BYTES", 1)  # one row holds every point
    one_row = intervals()

    for name in ERROR_METRICS:
        for other in (chunked[name], one_row[name]):
            expected = (plenty[name].low, plenty[name].value, plenty[name].high)
            assert (other.low, other.value, other.high) == pytest.approx(expected, rel=ROUNDING)


def coverage(metric: str, truth: float, *, is_blocked: bool) -> float:
    """Share of 95 % intervals, of 300 samples of 40 blocks, that hold the true value."""
    rng = np.random.default_rng(4)
    num_held = 0
    for _ in range(300):
        error_m, block = clustered_errors(rng, num_blocks=40, points_per_block=20)
        used = block if is_blocked else np.arange(block.size)
        found = block_bootstrap(error_m, used, [metric], rng=rng, num_resamples=300)[metric]
        assert found.low is not None
        assert found.high is not None
        num_held += found.low <= truth <= found.high
    return num_held / 300


SUM_OF_TWO = stats.gamma(2)
"""A point's distribution: the sum of two exponential variables, of mean 2 m."""


@pytest.mark.parametrize(
    ("metric", "truth"), [("mean_m", SUM_OF_TWO.mean()), ("p80_m", SUM_OF_TWO.ppf(0.8))]
)
def test_interval_holds_the_truth_as_often_as_promised_when_errors_cluster(
    metric: str, truth: float
) -> None:
    # 300 trials have a deviation of 1.3 %; skewed errors on 40 blocks cost a percent or two.
    assert 0.95 - 0.05 <= coverage(metric, truth, is_blocked=True) <= 0.95 + 0.04


def test_interval_is_too_narrow_when_clustered_points_are_drawn_one_by_one() -> None:
    """The guard above can fail: this is what ignoring the clusters would report."""
    assert coverage("mean_m", SUM_OF_TWO.mean(), is_blocked=False) < 0.7


@pytest.mark.parametrize("num_blocks", [1, LEAST_BLOCKS - 1, LEAST_BLOCKS])
def test_interval_has_no_bounds_when_blocks_are_few(num_blocks: int) -> None:
    error_m = np.random.default_rng(0).exponential(size=(2, 30))
    block = np.arange(30) % num_blocks

    found = block_bootstrap(error_m, block, ["mean_m"], rng=np.random.default_rng(0))["mean_m"]
    paired = paired_block_bootstrap(
        error_m, error_m + 1, block, "mean_m", rng=np.random.default_rng(0)
    )

    assert found.value == pytest.approx(error_m.mean())
    assert paired.difference == pytest.approx(-1)
    unknown = [x is None for x in (found.low, found.high, paired.low, paired.high, paired.p_value)]
    assert unknown == [num_blocks < LEAST_BLOCKS] * 5


def test_interval_is_a_point_when_all_errors_are_equal() -> None:
    error_m, block = np.full((2, 30), 0.3), np.arange(30) % 6

    found = block_bootstrap(error_m, block, ERROR_METRICS, rng=np.random.default_rng(0))

    for interval in found.values():
        assert (interval.low, interval.high) == pytest.approx((interval.value,) * 2, rel=ROUNDING)


def test_paired_difference_equals_a_naive_loop_when_the_same_blocks_are_drawn(
    uneven: tuple[np.ndarray, np.ndarray],
) -> None:
    error_a, block = uneven
    error_b = error_a[:2] * 0.9 + 1.0
    names = np.unique(block)
    differences = []
    for drawn in np.random.default_rng(6).integers(len(names), size=(150, len(names))):
        points = np.concatenate([np.flatnonzero(block == names[i]) for i in drawn])
        p90_a, p90_b = (np.quantile(e[:, points], 0.9, axis=1).mean() for e in (error_a, error_b))
        differences.append(p90_a - p90_b)

    found = paired_block_bootstrap(
        error_a, error_b, block, "p90_m", rng=np.random.default_rng(6), num_resamples=150
    )

    difference = np.quantile(error_a, 0.9, axis=1).mean() - np.quantile(error_b, 0.9, axis=1).mean()
    num_farther = sum(
        math.sqrt(7 / 6) * abs(d - difference) >= abs(difference) for d in differences
    )
    low, high = expanded_bounds(differences, num_blocks=7)
    assert found.difference == pytest.approx(difference, rel=ROUNDING)
    assert (found.low, found.high) == pytest.approx((low, high), rel=ROUNDING)
    assert found.p_value == (1 + num_farther) / 151


def test_p_value_is_one_when_models_are_the_same(uneven: tuple[np.ndarray, np.ndarray]) -> None:
    error_m, block = uneven

    for metric in ERROR_METRICS:
        found = paired_block_bootstrap(
            error_m, error_m.copy(), block, metric, rng=np.random.default_rng(0), num_resamples=99
        )
        assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_p_value_is_the_least_possible_when_one_model_is_better_everywhere(
    uneven: tuple[np.ndarray, np.ndarray],
) -> None:
    error_m, block = uneven

    found = paired_block_bootstrap(
        error_m, error_m + 500, block, "mean_m", rng=np.random.default_rng(0), num_resamples=99
    )

    assert found.p_value == 1 / 100
    assert found.high is not None
    assert found.high < 0


def test_p_value_is_uniform_when_models_are_equally_good() -> None:
    rng = np.random.default_rng(7)
    p_values = []
    for _ in range(200):
        error_a, block = clustered_errors(rng, num_blocks=40, points_per_block=10)
        error_b, _ = clustered_errors(rng, num_blocks=40, points_per_block=10)
        found = paired_block_bootstrap(
            error_a, error_b, block, "mean_m", rng=rng, num_resamples=199
        )
        p_values.append(found.p_value)

    # One chance in a thousand to fail for uniform values; the seed is fixed.
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("shape", "value", "metric", "message"),
    [
        ((1, 4), 1.0, "mean_m", "each of 3 points, got an array of shape"),
        ((0, 3), 1.0, "mean_m", "at least one seed"),
        ((2, 3), math.nan, "mean_m", "error of seed 0 at point 0 is not finite: nan m"),
        ((2, 3), 1.0, "p85_m", "unknown metric 'p85_m'; did you mean 'p"),
        ((2, 3), 1.0, "nll_nat", "needs covariances"),
    ],
)
def test_bootstrap_refuses_when_its_input_does_not_fit(
    shape: tuple[int, int], value: float, metric: str, message: str
) -> None:
    error_m, block = np.full(shape, value), np.arange(3)

    with pytest.raises(ScoringError, match=message):
        block_bootstrap(error_m, block, [metric], rng=np.random.default_rng(0))
    with pytest.raises(ScoringError, match=message):
        paired_block_bootstrap(error_m, error_m, block, metric, rng=np.random.default_rng(0))


def test_bootstrap_refuses_when_an_option_is_out_of_range() -> None:
    found = resampled(np.ones((1, 9)), np.arange(9), ["mean_m"], rng=np.random.default_rng(0))

    with pytest.raises(ScoringError, match="at least 1 resample, got 0"):
        draw_blocks(9, rng=np.random.default_rng(0), num_resamples=0)
    with pytest.raises(ScoringError, match="got 95"):
        found.interval("mean_m", confidence=95.0)


def test_bootstrap_refuses_when_a_block_was_not_drawn_or_no_point_is_taken() -> None:
    error_m, draws = np.ones((1, 4)), np.ones((2, 3))

    with pytest.raises(ScoringError, match="blocks count from 0 to 2, got 0 to 3"):
        resample_blocks(error_m, np.arange(4), ["mean_m"], draws)
    with pytest.raises(ScoringError, match="none of 4 is taken"):
        resample_blocks(
            error_m, np.zeros(4, "i8"), ["mean_m"], draws, taken=np.zeros((1, 4), dtype=bool)
        )


def test_resamples_equal_a_naive_loop_when_seeds_take_different_points(
    uneven: tuple[np.ndarray, np.ndarray],
) -> None:
    error_m, names = uneven
    _, block = np.unique(names, return_inverse=True)
    taken = np.random.default_rng(2).random(error_m.shape) < 0.3
    taken[0] = block == 0  # in one block alone, so that many resamples lack this seed
    taken[:, block == 6] = False  # a block without points
    draws = draw_blocks(7, rng=np.random.default_rng(3), num_resamples=60)

    found = resample_blocks(error_m, block, ["p90_m", "mse_m2"], draws, taken=taken)

    assert found.num_blocks == len(np.unique(block[taken.any(axis=0)]))
    for i, times in enumerate(draws):
        samples = [
            np.repeat(e[own], times[block[own]].astype(int))
            for e, own in zip(error_m, taken, strict=True)
        ]
        there = [sample for sample in samples if len(sample)]
        assert found.has_points[i] == bool(there)
        if there:
            p90_m = np.mean([np.quantile(sample, 0.9) for sample in there])
            mse_m2 = np.mean([np.mean(sample**2) / 2 for sample in there])
            assert found.resampled["p90_m"][i] == pytest.approx(p90_m, rel=ROUNDING)
            assert found.resampled["mse_m2"][i] == pytest.approx(mse_m2, rel=ROUNDING)
    assert any((draws[:, 0] == 0) & found.has_points)


def test_interval_leaves_out_the_resamples_that_hold_no_point() -> None:
    block = np.arange(12) % 8
    taken = (block < 6)[None]
    draws = np.zeros((40, 8))
    draws[:20, 6:] = 4  # only blocks without points
    draws[20:, :6] = 1

    found = resample_blocks(np.arange(12.0)[None], block, ["mean_m"], draws, taken=taken)

    assert found.has_points.tolist() == [False] * 20 + [True] * 20
    interval = found.interval("mean_m")
    assert interval.low == interval.high == pytest.approx(np.arange(12.0)[taken[0]].mean())


def test_holm_gives_the_textbook_values_when_p_values_are_unsorted() -> None:
    """The factors 4, 3, 2, 1 by rank; 2 * 0.03 lifts the last one above 1 * 0.04."""
    found = holm(np.array([0.04, 0.01, 0.03, 0.005]))

    assert found == pytest.approx([0.06, 0.03, 0.06, 0.02])


def test_holm_returns_what_it_got_when_tests_are_one_or_none() -> None:
    assert holm(np.array([0.2])).tolist() == [0.2]
    assert holm(np.array([])).tolist() == []


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.5])
def test_holm_refuses_when_a_value_is_no_probability(bad: float) -> None:
    with pytest.raises(ScoringError, match=r"p-values lie in \[0, 1\]"):
        holm(np.array([0.1, bad]))


def test_seed_deviation_is_unbiased_when_seeds_are_two_or_more() -> None:
    assert seed_deviation(np.array([1.0, 3.0])) == pytest.approx(math.sqrt(2))
    assert seed_deviation(np.array([1.0, 2.0, 6.0])) == pytest.approx(math.sqrt(7))
    assert seed_deviation(np.array([1.0])) is None
