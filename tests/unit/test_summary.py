from typing import Any

import numpy as np
import pandas as pd

from raymark.benchmark.board import CDF_LEVELS
from raymark.benchmark.metrics import METRICS, Spread
from raymark.benchmark.scoring import Group
from raymark.benchmark.summary import (
    COMPARED_METRICS,
    INTERVAL_METRICS,
    cdfs_of,
    compare,
    maps_of,
    summarize,
)

EXACT = {"rtol": 1e-12}
"""Both sides work in float64; only the order of sums differs."""

NUM_POINTS, NUM_BLOCKS = 120, 20
NAMES = ("mine", "other")


def make_group(
    error_m: dict[str, np.ndarray],
    *,
    scene: str = "yard",
    band: str = "6GHz",
    present: dict[str, np.ndarray] | None = None,
    spread: dict[str, tuple[Spread, ...]] | None = None,
    detected: dict[str, np.ndarray] | None = None,
) -> Group:
    number = np.arange(NUM_POINTS)
    truth = pd.DataFrame(
        {
            "los": np.where(number % 10 == 9, -1, number % 2),
            "block": number % NUM_BLOCKS,
            "x_m": number * 1.0,
            "y_m": number * -2.0,
        }
    )
    everywhere = {name: np.ones(NUM_POINTS, dtype=bool) for name in error_m}
    return Group(
        key=("unseen-nlos", None, scene, band),
        truth=truth,
        error_m=error_m,
        spread=spread or {},
        present=everywhere | (present or {}),
        detected=detected or {},
    )


def errors(draw: int, scale_m: float = 10.0, num_seeds: int = 3) -> np.ndarray:
    return np.random.default_rng(draw).exponential(scale_m, (num_seeds, NUM_POINTS))


def row_of(table: pd.DataFrame, **keys: object) -> dict[str, Any]:
    for name, value in keys.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return row


def test_summary_equals_naive_means_over_seeds_when_one_group_is_given() -> None:
    error_m = errors(0)
    group = make_group({"mine": error_m})
    is_nlos = group.truth["los"].to_numpy() == 0

    row = row_of(summarize([group], NAMES), model="mine", label="nlos", scene="yard", band="6GHz")

    by_seed = {
        "mse_m2": [np.mean(e[is_nlos] ** 2) / 2 for e in error_m],
        "median_m": [np.median(e[is_nlos]) for e in error_m],
        "p90_m": [np.percentile(e[is_nlos], 90) for e in error_m],
        "share_under_1m": [np.mean(e[is_nlos] < 1) for e in error_m],
    }
    for name, values in by_seed.items():
        np.testing.assert_allclose(row[name], np.mean(values), **EXACT)
        np.testing.assert_allclose(row[f"{name}_std"], np.std(values, ddof=1), **EXACT)
    for name in INTERVAL_METRICS:
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    assert row["num_points"] == is_nlos.sum()
    assert row["num_blocks"] == len(np.unique(np.arange(NUM_POINTS)[is_nlos] % NUM_BLOCKS))
    assert pd.isna(row["coverage_90"])


def test_summary_states_coverage_only_for_models_with_covariances() -> None:
    squared = np.full(NUM_POINTS, 5.0)  # above 2 ln 10, so never within
    squared[:30] = 1.0
    spread = {"sure": (Spread(mahalanobis_squared=squared, log_det=np.zeros(NUM_POINTS)),)}
    group = make_group({"sure": errors(0, num_seeds=1), "mute": errors(1)}, spread=spread)

    table = summarize([group], NAMES)
    row = row_of(table, model="sure", label="all", scene="yard", band="6GHz")
    mute = row_of(table, model="mute", label="all", scene="yard", band="6GHz")

    is_counted = group.truth["los"].to_numpy() >= 0
    expected = np.mean(squared[is_counted] < 2 * np.log(10))
    np.testing.assert_allclose(row["coverage_90"], expected, **EXACT)
    surprise = squared[is_counted].mean() / 2 + np.log(2 * np.pi)  # of a unit covariance
    np.testing.assert_allclose(row["nll_nat"], surprise, **EXACT)
    np.testing.assert_allclose(row["area_90_m2"], 2 * np.log(10) * np.pi, **EXACT)
    assert pd.isna(mute["coverage_90"])
    assert pd.isna(row["p90_m_std"])


def test_summary_of_a_bound_takes_its_own_points_when_some_miss() -> None:
    present = np.arange(NUM_POINTS) % 10 != 9
    present[:5] = False
    bound_m = errors(3, num_seeds=1)[:, present]
    group = make_group({"bound": bound_m, "mine": errors(0)}, present={"bound": present})

    row = row_of(summarize([group], NAMES), model="bound", label="los", scene="yard", band="6GHz")

    is_los = group.truth["los"].to_numpy()[present] == 1
    np.testing.assert_allclose(row["median_m"], np.median(bound_m[0][is_los]), **EXACT)
    assert row["num_points"] == is_los.sum()


def test_summary_is_the_same_when_made_twice() -> None:
    groups = [make_group({"mine": errors(0)})]

    pd.testing.assert_frame_equal(summarize(groups, NAMES), summarize(groups, NAMES))


def test_intervals_do_not_change_when_another_model_stands_in_the_group() -> None:
    alone = summarize([make_group({"mine": errors(0)})], NAMES)
    beside = summarize([make_group({"other": errors(1), "mine": errors(0)})], NAMES)

    beside = beside[beside["model"] == "mine"].reset_index(drop=True)
    pd.testing.assert_frame_equal(beside[alone.columns], alone.assign(win_rate=beside["win_rate"]))


def test_aggregates_are_means_over_cells_when_a_model_has_all_of_them() -> None:
    places = [(scene, band) for scene in ("yard", "canyon") for band in ("6GHz", "28GHz")]
    groups = [
        make_group({"mine": errors(i, 5.0 + i)}, scene=scene, band=band)
        for i, (scene, band) in enumerate(places)
    ]

    table = summarize(groups, NAMES)

    cells = {
        (scene, band): row_of(table, label="nlos", scene=scene, band=band) for scene, band in places
    }
    wanted = {
        ("all", "6GHz"): [("yard", "6GHz"), ("canyon", "6GHz")],
        ("yard", "all"): [("yard", "6GHz"), ("yard", "28GHz")],
        ("all", "all"): places,
    }
    for (scene, band), members in wanted.items():
        row = row_of(table, label="nlos", scene=scene, band=band)
        for name in ("mse_m2", "p90_m", "outlier_share"):
            mean = np.mean([cells[member][name] for member in members])
            np.testing.assert_allclose(row[name], mean, **EXACT)
        assert row["num_points"] == sum(cells[member]["num_points"] for member in members)
        assert row["p90_m_low"] < row["p90_m"] < row["p90_m_high"]


def test_aggregates_leave_a_model_out_when_it_misses_a_cell() -> None:
    groups = [
        make_group({"whole": errors(0), "half": errors(1)}, scene="yard"),
        make_group({"whole": errors(2)}, scene="canyon"),
    ]

    table = summarize(groups, NAMES)

    over_scenes = table[(table["scene"] == "all") & (table["band"] == "6GHz")]
    over_bands = table[(table["scene"] == "yard") & (table["band"] == "all")]
    assert set(over_scenes["model"]) == {"whole"}
    assert set(over_bands["model"]) == {"whole", "half"}


def test_comparison_tells_a_worse_model_from_an_equal_one_when_errors_are_paired() -> None:
    best = errors(0)
    noise = np.random.default_rng(9).normal(scale=1e-3, size=best.shape)
    group = make_group({"worse": best + 5.0, "best": best, "equal": best + 0.01 + noise})

    table = compare([group], ["best", "worse", "equal"])

    for metric in COMPARED_METRICS:
        worse = row_of(table, label="nlos", metric=metric, model="worse")
        assert worse["rival"] == "best"
        assert 0 < worse["low"] < worse["difference"] < worse["high"]
        assert worse["p_holm"] < 0.05
    p90 = row_of(table, label="nlos", metric="p90_m", model="worse")
    np.testing.assert_allclose(p90["difference"], 5.0, **EXACT)
    assert set(table["model"]) == {"worse", "equal"}


def test_comparison_multiplies_the_least_p_by_the_number_of_rivals() -> None:
    best = errors(0)
    group_of_two = make_group({"a": best, "b": best + 50.0})
    group_of_four = make_group({"a": best, "b": best + 50.0, "c": best + 60.0, "d": best + 70.0})

    alone = row_of(compare([group_of_two], list("ab")), label="nlos", metric="p90_m", model="b")
    among = compare([group_of_four], list("abcd"))
    rows = among[(among["label"] == "nlos") & (among["metric"] == "p90_m")]

    # None of 1,000 resamples strays as far as 50 m, so that every p is 1 / 1001.
    np.testing.assert_allclose(alone["p_holm"], 1 / 1001, **EXACT)
    np.testing.assert_allclose(rows["p_holm"].to_numpy(dtype="f8"), 3 / 1001, **EXACT)


def test_comparison_infers_nothing_when_blocks_are_few() -> None:
    group = make_group({"a": errors(0), "b": errors(1)})
    group.truth["block"] = np.arange(NUM_POINTS) // 2 % 3

    table = compare([group], ["a", "b"])

    assert table["p_holm"].isna().all()
    assert table["difference"].notna().all()


def test_comparison_is_empty_when_a_model_has_no_rival() -> None:
    table = compare([make_group({"a": errors(0), "oracle": errors(1)})], ["a"])

    assert table.empty
    assert {"model", "rival", "p_holm"} <= set(table.columns)


def test_curves_are_quantiles_of_the_errors_of_all_seeds() -> None:
    error_m = errors(0)
    group = make_group({"mine": error_m})
    is_los = group.truth["los"].to_numpy() == 1

    curves = {curve.label: curve for curve in cdfs_of([group])}

    assert set(curves) == {"all", "los", "nlos", "outage"}
    pooled = np.sort(error_m[:, is_los].ravel())
    assert curves["los"].error_m[0] == pooled[0]
    assert curves["los"].error_m[-1] == pooled[-1]
    np.testing.assert_allclose(curves["los"].error_m[50], np.median(pooled), **EXACT)
    assert len(curves["los"].error_m) == len(CDF_LEVELS)


def test_maps_hold_the_first_seed_of_models_that_have_every_point() -> None:
    error_m = errors(0)
    present = np.arange(NUM_POINTS) % 10 != 9
    group = make_group(
        {"mine": error_m, "bound": errors(1, num_seeds=1)[:, present]}, present={"bound": present}
    )

    (error_map,) = maps_of([group])

    assert list(error_map.error_m) == ["mine"]
    np.testing.assert_array_equal(error_map.error_m["mine"], error_m[0])
    np.testing.assert_array_equal(error_map.x_m, group.truth["x_m"])
    np.testing.assert_array_equal(error_map.los, group.truth["los"])


def test_summary_has_a_column_for_every_metric() -> None:
    assert set(METRICS) <= set(summarize([make_group({"mine": errors(0)})], NAMES).columns)


def detections(draw: int, num_seeds: int = 3) -> np.ndarray:
    return np.random.default_rng(draw).random((num_seeds, NUM_POINTS)) < 0.7


def test_detectable_points_are_those_of_each_seed() -> None:
    error_m, detected = errors(0), detections(5)
    group = make_group({"mine": error_m}, detected={"mine": detected})
    los = group.truth["los"].to_numpy()

    table = summarize([group], NAMES)

    for label, wanted in {
        "detectable": (los == 0) & detected,
        "blind": (los >= 0) & ~detected,
    }.items():
        row = row_of(table, model="mine", label=label, scene="yard", band="6GHz")
        by_seed = [np.percentile(e[own], 90) for e, own in zip(error_m, wanted, strict=True)]
        np.testing.assert_allclose(row["p90_m"], np.mean(by_seed), **EXACT)
        assert row["num_points"] == round(wanted.sum() / 3)
        assert row["p90_m_low"] < row["p90_m"] < row["p90_m_high"]
        assert row["detectable_share"] == (label == "detectable")
    nlos = row_of(table, model="mine", label="nlos", scene="yard", band="6GHz")
    share = detected[:, los == 0].mean()
    np.testing.assert_allclose(nlos["detectable_share"], share, **EXACT)


def test_detectable_points_are_told_apart_only_for_models_of_which_they_are_known() -> None:
    group = make_group({"mine": errors(0), "other": errors(1)}, detected={"mine": detections(5)})

    table = summarize([group], NAMES)

    assert set(table.loc[table["label"] == "blind", "model"]) == {"mine"}
    other = row_of(table, model="other", label="nlos", scene="yard", band="6GHz")
    assert pd.isna(other["detectable_share"])


def test_skill_over_cells_is_that_of_their_medians_and_p90s() -> None:
    groups = [
        make_group({"mine": errors(i), "train_centroid": errors(9 + i, 30.0)}, scene=scene)
        for i, scene in enumerate(("yard", "canyon"))
    ]

    table = summarize(groups, ["mine", "train_centroid"])
    row = row_of(table, model="mine", label="nlos", scene="all", band="all")

    ratios = []
    for scene in ("yard", "canyon"):
        mine, base = (
            row_of(table, model=name, label="nlos", scene=scene, band="6GHz")
            for name in ("mine", "train_centroid")
        )
        ratios += [mine[name] / base[name] for name in ("median_m", "p90_m")]
    np.testing.assert_allclose(row["skill"], 1 - np.prod(ratios) ** 0.25, **EXACT)
    assert 0 < row["skill_low"] < row["skill"] < row["skill_high"] < 1
    assert row["win_rate"] == 1.0


def test_bands_of_a_scene_share_the_draws_of_its_blocks() -> None:
    """Errors that are the same at both bands make the mean's interval that of each."""
    groups = [make_group({"mine": errors(0)}, band=band) for band in ("6GHz", "28GHz")]

    table = summarize(groups, NAMES)

    one = row_of(table, label="nlos", scene="yard", band="6GHz")
    both = row_of(table, label="nlos", scene="yard", band="all")
    np.testing.assert_allclose(both["p90_m_low"], one["p90_m_low"], **EXACT)
    np.testing.assert_allclose(both["p90_m_high"], one["p90_m_high"], **EXACT)
