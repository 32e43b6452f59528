"""Skill and win rate, worked out by ten naive lines."""

import numpy as np
import pytest

from raymark.benchmark.skill import BASELINES, RANKED_BY, SCORES, SHOWN, means_of, scores_of
from raymark.benchmark.statistics import Resamples, bounds

ROUNDING = 1e-12
NUM_RESAMPLES, NUM_BLOCKS = 50, 12

ERRORS_M = {
    "train_centroid": [(40.0, 80.0), (20.0, 60.0)],
    "aoa_toa": [(80.0, 160.0), (10.0, 60.0)],
    "good": [(10.0, 40.0), (10.0, 15.0)],
    "oracle": [(0.0, 1.0), (1.0, 2.0)],
}
"""Median and P90 [m] of each model in two cells."""

RIVALS = ("train_centroid", "aoa_toa", "good")


def resamples(
    median_m: float, p90_m: float, draw: int, *, num_blocks: int = NUM_BLOCKS, num_empty: int = 0
) -> Resamples:
    factor = np.random.default_rng(draw).uniform(0.8, 1.25, NUM_RESAMPLES)
    return Resamples(
        observed={"median_m": median_m, "p90_m": p90_m},
        resampled={"median_m": median_m * factor, "p90_m": p90_m * factor},
        has_points=np.arange(NUM_RESAMPLES) >= num_empty,
        num_blocks=num_blocks,
    )


def make_cells(**how: int) -> list[dict[str, Resamples]]:
    return [
        {
            name: resamples(*own[i], draw=10 * k + i, **how)
            for k, (name, own) in enumerate(ERRORS_M.items())
        }
        for i in range(2)
    ]


def naive_skill(errors: list[tuple[float, float]], baseline: list[tuple[float, float]]) -> float:
    ratios = np.clip(np.array(errors) / np.array(baseline), 0.01, 100)
    return float(1 - np.prod(ratios) ** (1 / ratios.size))


def test_skill_is_the_geometric_mean_of_ratios_to_each_baseline() -> None:
    found = scores_of(make_cells(), RIVALS)

    for score, baseline in BASELINES.items():
        for name, errors in ERRORS_M.items():
            expected = naive_skill(errors, ERRORS_M[baseline])
            assert found[name][score].value == pytest.approx(expected, rel=ROUNDING), name
        own = found[baseline][score]
        assert (own.value, own.low, own.high) == (0.0, 0.0, 0.0)
    assert found["good"]["skill"].value == pytest.approx(1 - (1 / 64) ** (1 / 4))


def test_interval_of_the_skill_is_that_of_the_resampled_skills() -> None:
    cells = make_cells()

    found = scores_of(cells, RIVALS)["good"]["skill"]

    skills = []
    for r in range(NUM_RESAMPLES):
        errors = [tuple(c["good"].resampled[m][r] for m in RANKED_BY) for c in cells]
        centroid = [tuple(c["train_centroid"].resampled[m][r] for m in RANKED_BY) for c in cells]
        skills.append(naive_skill(errors, centroid))
    low, high = bounds(np.array(skills), NUM_BLOCKS)
    assert low is not None
    # Quantiles are taken of the mean logarithm, between whose order statistics lies a curve.
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
    assert low < found.value < high


def test_win_rate_counts_pairs_of_rivals_alone_and_half_a_tie() -> None:
    found = scores_of(make_cells(), RIVALS)

    # Against the centroid and geometry, in four comparisons each; 10 m and 60 m are ties.
    assert found["good"]["win_rate"].value == pytest.approx((4 + 3.5) / 8)
    assert found["train_centroid"]["win_rate"].value == pytest.approx((0 + 2.5) / 8)
    assert found["aoa_toa"]["win_rate"].value == pytest.approx((0.5 + 1.5) / 8)
    assert "win_rate" not in found["oracle"]
    assert sum(found[name]["win_rate"].value for name in RIVALS) == pytest.approx(1.5)


def test_scores_are_left_out_when_there_is_no_baseline_or_no_rival() -> None:
    cells = [{"good": cell["good"], "oracle": cell["oracle"]} for cell in make_cells()]

    assert scores_of(cells, RIVALS) == {"good": {}, "oracle": {}}


def test_model_is_left_out_when_it_lacks_a_cell() -> None:
    cells = make_cells()
    del cells[1]["good"]

    assert set(scores_of(cells, RIVALS)) == set(means_of(cells)) == set(ERRORS_M) - {"good"}


def test_intervals_have_no_bounds_when_a_cell_has_few_blocks() -> None:
    cells = make_cells()
    cells[1] = {name: resamples(*ERRORS_M[name][1], draw=3, num_blocks=5) for name in ERRORS_M}

    found = scores_of(cells, RIVALS)["good"]

    assert [(own.low, own.high) for own in found.values()] == [(None, None)] * 3
    assert means_of(cells)["good"]["p90_m"].low is None


def test_resamples_without_points_count_for_nothing() -> None:
    cells = make_cells(num_empty=20)
    cells[1] = make_cells(num_empty=30)[1]

    found = means_of(cells)["good"]["p90_m"]

    first, second = (cell["good"].resampled["p90_m"] for cell in cells)
    means = np.concatenate([first[20:30], (first[30:] + second[30:]) / 2])
    assert (found.low, found.high) == pytest.approx(bounds(means, NUM_BLOCKS), rel=ROUNDING)
    assert found.value == pytest.approx(np.mean([p90 for _, p90 in ERRORS_M["good"]]))


def test_measures_are_keyed_by_their_own_names() -> None:
    assert all(name == measure.name and measure.description for name, measure in SHOWN.items())
    assert list(SHOWN)[:5] == ["skill", "win_rate", "skill_geometry", "median_m", "p90_m"]
    assert set(BASELINES) < set(SCORES)
