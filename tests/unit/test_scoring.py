import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.metrics import METRICS, OUTLIER_M
from raymark.benchmark.scoring import (
    ScoredCell,
    align,
    group_cells,
    score_cell,
    score_rows,
    score_run,
)
from raymark.benchmark.store import Cell, CellResult, RunFolder, prediction_table
from raymark.benchmark.task import Suite, Task
from raymark.errors import ScoringError

EXACT = {"rtol": 1e-12}
"""Both sides work in float64; only the order of sums differs."""

NUM_LINKS = 40


@pytest.fixture(scope="module")
def folds(yard_suite: Suite) -> tuple[Task, ...]:
    return tuple(task for task in yard_suite.tasks() if task.track == "unseen-nlos")


def make_truth(seed: int, num_links: int = NUM_LINKS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "site": rng.choice(["east", "west"], num_links),
            "ue_index": np.arange(num_links),
            "block": rng.integers(0, 8, num_links),
            "window": np.arange(num_links) // 4,
            "los": rng.permutation(np.arange(num_links) % 3 - 1),
            "x_m": rng.uniform(-90, 90, num_links),
            "y_m": rng.uniform(-90, 90, num_links),
        }
    )


def make_predictions(truth: pd.DataFrame, seed: int, *, covariance: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    error_m = rng.normal(scale=30.0, size=(len(truth), 2))
    factor = rng.normal(size=(len(truth), 2, 2)) * 15
    covariance_m2 = factor @ factor.transpose(0, 2, 1) + np.eye(2)
    position_m = truth[["x_m", "y_m"]].to_numpy() + error_m
    return prediction_table(truth, position_m, covariance_m2 if covariance else None)


def make_cell(task: Task, predictions: pd.DataFrame, **result: Any) -> Cell:
    fields: dict[str, Any] = {"model": "mine", "seed": 0, "cell_hash": "", **result}
    made = CellResult(task=task.id, predictions_sha256="", num_points=len(predictions), **fields)
    return Cell(task=task, result=made, predictions=predictions)


def scored(task: Task, truth: pd.DataFrame, *, draw: int = 0, **result: Any) -> ScoredCell:
    return score_cell(make_cell(task, make_predictions(truth, draw), **result), truth)


def naive_scores(truth: pd.DataFrame, predictions: pd.DataFrame, label: str) -> dict[str, float]:
    wanted = {"all": (0, 1), "los": (1,), "nlos": (0,), "outage": (-1,)}[label]
    errors, covered, surprises, log_areas = [], [], [], []
    for i in range(len(truth)):
        true = truth.iloc[i]
        (given,) = predictions[
            (predictions["site"] == true["site"]) & (predictions["ue_index"] == true["ue_index"])
        ].to_dict("records")
        if true["los"] not in wanted:
            continue
        e = np.array([given["x_m"] - true["x_m"], given["y_m"] - true["y_m"]])
        errors.append(np.sqrt(e[0] ** 2 + e[1] ** 2))
        if "cov_xy_m2" in given:
            xy = given["cov_xy_m2"]
            c = np.array([[given["var_x_m2"], xy], [xy, given["var_y_m2"]]])
            # The 0.9 quantile of chi squared with two degrees of freedom is 2 ln 10.
            squared = e @ np.linalg.inv(c) @ e
            covered.append(squared <= 2 * np.log(10))
            surprises.append(squared / 2 + np.log(2 * np.pi * np.sqrt(np.linalg.det(c))))
            log_areas.append(np.log(2 * np.log(10) * np.pi * np.sqrt(np.linalg.det(c))))
    found = {
        "mse_m2": np.mean([e**2 for e in errors]) / 2,
        "rmse_m": np.sqrt(np.mean([e**2 for e in errors])),
        "mean_m": np.mean(errors),
        "median_m": np.median(errors),
        "p67_m": np.percentile(errors, 67),
        "p80_m": np.percentile(errors, 80),
        "p90_m": np.percentile(errors, 90),
        "p95_m": np.percentile(errors, 95),
        "share_under_1m": np.mean([e < 1 for e in errors]),
        "share_under_3m": np.mean([e < 3 for e in errors]),
        "outlier_share": np.mean([e > OUTLIER_M for e in errors]),
    }
    if covered:
        found["coverage_90"] = np.mean(covered)
        found["nll_nat"], found["area_90_m2"] = np.mean(surprises), np.exp(np.mean(log_areas))
    return found


@pytest.mark.parametrize("covariance", [False, True])
def test_rows_equal_naive_sums_when_predictions_stand_in_any_order(
    folds: tuple[Task, ...], *, covariance: bool
) -> None:
    truth = make_truth(1)
    predictions = make_predictions(truth, 2, covariance=covariance)
    shuffled = predictions.sample(frac=1, random_state=3)

    rows = score_rows([score_cell(make_cell(folds[1], shuffled, seed=1), truth)])

    assert rows["label"].tolist() == ["all", "los", "nlos", "outage"]
    for row in rows.to_dict("records"):
        expected = naive_scores(truth, predictions, row["label"])
        assert set(expected) == {name for name in METRICS if not pd.isna(row[name])}
        for name, value in expected.items():
            np.testing.assert_allclose(row[name], value, err_msg=name, **EXACT)
    first = rows.iloc[0]
    assert (first["task"], first["fold"], first["seed"]) == (folds[1].id, 1, 1)
    assert pd.isna(first["shots"])
    assert rows["num_points"].tolist() == [26, 13, 13, 14]


def test_rows_leave_a_label_out_when_no_point_has_it(folds: tuple[Task, ...]) -> None:
    truth = make_truth(1).assign(los=0)

    rows = score_rows([scored(folds[0], truth)])

    assert rows["label"].tolist() == ["all", "nlos"]


def test_rows_of_a_run_equal_naive_sums_when_read_from_its_files(benchmark_run: RunFolder) -> None:
    rows = score_rows(score_run(benchmark_run))
    wanted = rows[(rows["model"] == "wknn") & (rows["seed"] == 1) & (rows["label"] == "nlos")]
    tasks = {task.id: task for task in benchmark_run.info().suite.tasks()}

    assert len(wanted) == 4
    for row in wanted.to_dict("records"):
        task = tasks[row["task"]]
        path = benchmark_run.cell(task, "wknn", 1) / "predictions.parquet"
        expected = naive_scores(benchmark_run.truth(task), pd.read_parquet(path), "nlos")
        for name, value in expected.items():
            np.testing.assert_allclose(row[name], value, err_msg=name, **EXACT)


def test_a_bounds_values_stand_for_errors_when_points_miss(folds: tuple[Task, ...]) -> None:
    truth = make_truth(1)
    bound = truth[["site", "ue_index"]].assign(error_m=np.arange(NUM_LINKS) / 10.0)
    kept = bound[truth["los"] >= 0].sample(frac=1, random_state=0)

    cell = score_cell(make_cell(folds[0], kept), truth)

    np.testing.assert_array_equal(cell.present, truth["los"] >= 0)
    np.testing.assert_array_equal(cell.errors.error_m, bound["error_m"][truth["los"] >= 0])
    np.testing.assert_array_equal(cell.los, truth["los"][truth["los"] >= 0])


def with_repeated(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[[7]]])


def with_other_site(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(site=table["site"].where(table["ue_index"] != 7, "north"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[2:], r"here: link (east|west)/0 is missing \(2 links\)"),
        (with_repeated, r"here: link (east|west)/7 is predicted twice"),
        (with_other_site, r"here: link north/7 is no test link of this task \(1 link\)"),
        (
            lambda t: t.assign(ue_index=t["ue_index"] + 1),
            r"here: link (east|west)/\d+ is no test link of this task",
        ),
        (lambda t: t.iloc[:0], r"here: link (east|west)/0 is missing \(40 links\)"),
    ],
)
def test_predictions_are_refused_when_they_do_not_fit_the_truth(change: Any, message: str) -> None:
    truth = make_truth(1)

    with pytest.raises(ScoringError, match=message):
        align(change(make_predictions(truth, 0)), truth, where="here")


def test_missing_points_are_marked_when_they_may_miss() -> None:
    truth = make_truth(1)
    predictions = make_predictions(truth, 0).iloc[[5, 3]]

    rows = align(predictions, truth, where="here", may_miss=True)

    assert (rows[5], rows[3], (rows < 0).sum()) == (0, 1, NUM_LINKS - 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_cell_is_named_when_a_prediction_is_not_finite(
    folds: tuple[Task, ...], value: float
) -> None:
    truth = make_truth(1)
    predictions = make_predictions(truth, 0)
    predictions.loc[4, "x_m"] = value

    with pytest.raises(ScoringError, match=r"fold-0@1, model 'mine', seed 0: row 4: predicted pos"):
        score_cell(make_cell(folds[0], predictions), truth)


def test_groups_pool_folds_with_blocks_apart_when_a_model_has_all_of_them(
    folds: tuple[Task, ...],
) -> None:
    truths = [make_truth(seed, num_links) for seed, num_links in enumerate((40, 25, 30))]
    cells = [
        scored(task, truth, draw=10 * seed + i, seed=seed)
        for i, (task, truth) in enumerate(zip(folds, truths, strict=True))
        for seed in (1, 0)
    ]

    (group,) = group_cells(cells)

    assert group.key == ("unseen-nlos", None, "yard", "6GHz")
    assert group.error_m["mine"].shape == (2, 95)
    for seed in (0, 1):
        expected = [
            cell.errors.error_m
            for task in folds
            for cell in cells
            if (cell.task, cell.result.seed) == (task, seed)
        ]
        np.testing.assert_array_equal(group.error_m["mine"][seed], np.concatenate(expected))
    pairs = [(i, block) for i, truth in enumerate(truths) for block in truth["block"]]
    for (one, a), (other, b) in itertools.combinations(
        zip(pairs, group.truth["block"], strict=True), 2
    ):
        assert (one == other) == (a == b)
    np.testing.assert_array_equal(group.truth["x_m"], pd.concat(truths)["x_m"])
    assert group.present["mine"].all()
    assert group.spread == group.detected == {}


def test_model_stands_in_no_group_when_a_fold_or_a_seed_of_it_is_missing(
    folds: tuple[Task, ...],
) -> None:
    truth = make_truth(1)
    cells = [
        scored(task, truth, model=model, seed=seed)
        for task in folds
        for model in ("whole", "no_fold", "no_seed")
        for seed in (0, 1)
        if not (model == "no_fold" and task is folds[2])
        and not (model == "no_seed" and task is folds[2] and seed == 1)
    ]

    (group,) = group_cells(cells)

    assert list(group.error_m) == ["whole"]


def test_groups_are_told_apart_by_their_number_of_shots(benchmark_suite: Suite) -> None:
    truth = make_truth(1)
    tasks = [
        task
        for task in benchmark_suite.tasks()
        if (task.track, task.scene, task.band) == ("cross-scene", "yard", "6GHz")
    ]

    groups = group_cells([scored(task, truth) for task in tasks])

    assert [group.key for group in groups] == [
        ("cross-scene", shots, "yard", "6GHz") for shots in (0, 5, 20)
    ]


def test_covariances_are_pooled_only_when_every_cell_states_them(folds: tuple[Task, ...]) -> None:
    truth = make_truth(1)
    cells = [
        score_cell(
            make_cell(
                task,
                make_predictions(truth, 0, covariance=model == "both" or task is folds[0]),
                model=model,
            ),
            truth,
        )
        for task in folds
        for model in ("both", "one_fold")
    ]

    (group,) = group_cells(cells)

    assert set(group.error_m) == {"both", "one_fold"}
    assert list(group.spread) == ["both"]
    (spread,) = group.spread["both"]
    assert spread.mahalanobis_squared.shape == spread.log_det.shape == (3 * NUM_LINKS,)
