import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.scoring import score_run
from raymark.benchmark.store import (
    RunFolder,
    RunInfo,
    cell_hash_of,
    covariance_of,
    prediction_table,
)
from raymark.benchmark.task import Suite, Task
from raymark.errors import ConfigError, ScoringError

CELL = {"model": "mine", "seed": 0, "cell_hash": "a" * 64}


@pytest.fixture
def suite(yard_suite: Suite) -> Suite:
    return yard_suite


@pytest.fixture
def task(suite: Suite) -> Task:
    return suite.tasks()[0]


@pytest.fixture
def folder(tmp_path: Path, suite: Suite) -> RunFolder:
    made = RunFolder(tmp_path / "runs")
    made.start(RunInfo(suite=suite, dataset_id="d", content_hash=suite.content_hash))
    return made


@pytest.fixture
def copied(benchmark_run: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(benchmark_run.root, tmp_path / "copied")))


def table() -> pd.DataFrame:
    return pd.DataFrame({"site": ["a", "b"], "ue_index": [0, 1], "x_m": [1.0, 2], "y_m": [3.0, 4]})


def test_run_folder_goes_on_when_suite_and_dataset_are_the_same(
    folder: RunFolder, suite: Suite
) -> None:
    folder.start(RunInfo(suite=suite, dataset_id="d", content_hash=suite.content_hash))

    assert folder.info().suite == suite


@pytest.mark.parametrize("change", [{"version": 2}, {"name": "other"}, {"content_hash": "0" * 64}])
def test_run_folder_is_refused_when_it_holds_another_suite(
    folder: RunFolder, suite: Suite, change: dict[str, object]
) -> None:
    other = suite.model_copy(update=change)
    info = RunInfo(suite=other, dataset_id="d", content_hash=other.content_hash)

    with pytest.raises(ConfigError, match=r"holds a run of another suite, version or dataset"):
        folder.start(info)


def test_run_folder_is_refused_when_it_holds_something_else(tmp_path: Path, suite: Suite) -> None:
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    info = RunInfo(suite=suite, dataset_id="d", content_hash=suite.content_hash)

    with pytest.raises(ConfigError, match=r"is not empty and holds no run"):
        RunFolder(tmp_path).start(info)

    with pytest.raises(ConfigError, match=r"thesis\.tex is no folder; choose another name"):
        RunFolder(tmp_path / "thesis.tex").start(info)

    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_run_folder_says_what_is_missing_when_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no benchmark run \(run.json is missing\)"):
        RunFolder(tmp_path).info()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"run.json is no valid JSON"),
        ('{"suite": {}}', r"missing key at .*run.json: dataset_id"),
    ],
)
def test_run_folder_names_the_file_when_it_is_damaged(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=message):
        RunFolder(tmp_path).info()


def test_cell_is_finished_only_when_hash_and_file_are_as_written(
    folder: RunFolder, task: Task
) -> None:
    assert not folder.is_finished(task, "mine", 0, CELL["cell_hash"])
    folder.write_cell(task, table(), **CELL)

    assert folder.is_finished(task, "mine", 0, "a" * 64)
    assert not folder.is_finished(task, "mine", 0, "b" * 64)
    assert not folder.is_finished(task, "mine", 1, "a" * 64)

    path = folder.cell(task, "mine", 0) / "predictions.parquet"
    table().assign(x_m=0.0).to_parquet(path)
    assert not folder.is_finished(task, "mine", 0, "a" * 64)
    path.unlink()
    assert not folder.is_finished(task, "mine", 0, "a" * 64)


def test_cell_comes_back_as_written_when_read(folder: RunFolder, task: Task) -> None:
    folder.write_cell(task, table(), **CELL, fit_s=1.5, choices={"k": 3})

    (cell,) = folder.cells()

    pd.testing.assert_frame_equal(cell.predictions, table())
    assert (cell.task, cell.result.fit_s, cell.result.choices) == (task, 1.5, {"k": 3})
    assert cell.result.num_points == 2


def test_failure_takes_the_place_of_predictions_and_gives_it_back_when_the_cell_is_run_again(
    folder: RunFolder, task: Task
) -> None:
    folder.write_cell(task, table(), **CELL)
    folder.write_failure(task, "mine", 0, "it broke", "in line 1")

    assert list(folder.cells()) == []
    assert folder.failures() == {f"{task.slug}/mine/seed-0": "it broke"}

    folder.write_cell(task, table(), **CELL)
    assert folder.failures() == {}
    assert len(list(folder.cells())) == 1


def test_no_partial_file_stays_when_cells_are_written(folder: RunFolder, task: Task) -> None:
    folder.write_cell(task, table(), **CELL)

    assert not list(folder.root.rglob("*.partial"))


@pytest.mark.parametrize("fault", ["edited", "removed"])
def test_scoring_is_refused_when_predictions_were_changed_after_the_run(
    copied: RunFolder, fault: str
) -> None:
    path = next(copied.root.glob("cells/*/wknn/seed-1/predictions.parquet"))
    if fault == "edited":
        found = pd.read_parquet(path)
        found.assign(x_m=found["x_m"] + 1e-3).to_parquet(path, index=False)
    else:
        path.unlink()

    with pytest.raises(ScoringError, match=r"predictions.parquet: the file is missing or was cha"):
        score_run(copied)


def test_scoring_is_refused_when_the_truth_is_missing(copied: RunFolder) -> None:
    next((copied.root / "truth").iterdir()).unlink()

    with pytest.raises(ScoringError, match=r"truth.*the file is missing or was changed; run the"):
        score_run(copied)


def test_scoring_is_refused_when_a_run_has_no_finished_cell(folder: RunFolder) -> None:
    with pytest.raises(ScoringError, match=r"holds no finished cell; see `raymark bench run`"):
        score_run(folder)


def test_result_names_its_wrong_key_when_it_was_edited(copied: RunFolder) -> None:
    path = next(copied.root.glob("cells/*/wknn/seed-1/result.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"erorr_m": 0}), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"unknown key at .*result.json: erorr_m"):
        score_run(copied)


def test_covariance_comes_back_when_stored_in_columns() -> None:
    covariance_m2 = np.array([[[4.0, 1.0], [1.0, 2.0]], [[3.0, -0.5], [-0.5, 9.0]]])

    stored = prediction_table(table(), np.zeros((2, 2)), covariance_m2)

    assert stored.loc[1, ["var_x_m2", "var_y_m2", "cov_xy_m2"]].tolist() == [3.0, 9.0, -0.5]
    np.testing.assert_array_equal(covariance_of(stored), covariance_m2)
    assert covariance_of(table()) is None


def test_cell_hash_changes_when_task_or_parts_do(suite: Suite) -> None:
    one, other = suite.tasks()[:2]
    hashes = {cell_hash_of(one, [1]), cell_hash_of(one, [2]), cell_hash_of(other, [1])}

    assert len(hashes) == 3
    assert cell_hash_of(one, [1]) in hashes


def test_truth_is_missing_when_its_hash_is_no_text(copied: RunFolder) -> None:
    task = copied.info().suite.tasks()[0]
    assert copied.has_truth(task)
    (copied.root / "truth" / f"{task.slug}.sha256").write_bytes(b"\xff\xfe")

    assert not copied.has_truth(task)


def test_truth_is_refused_when_it_was_edited(copied: RunFolder) -> None:
    task = copied.info().suite.tasks()[0]
    path = copied.root / "truth" / f"{task.slug}.parquet"
    truth = pd.read_parquet(path)
    truth.assign(x_m=truth["x_m"] + 1).to_parquet(path, index=False)

    assert not copied.has_truth(task)
    with pytest.raises(ScoringError, match=r"truth.*missing or was changed; run the suite again"):
        copied.truth(task)


def test_only_cells_of_another_hash_are_dropped_when_stale_ones_are(
    folder: RunFolder, task: Task
) -> None:
    folder.write_cell(task, table(), **CELL)

    folder.drop_stale(task, CELL["model"], CELL["seed"], lambda x: x.cell_hash == "b" * 64)
    assert len(list(folder.cells())) == 1

    folder.drop_stale(task, CELL["model"], CELL["seed"], lambda x: x.cell_hash == CELL["cell_hash"])
    assert not list(folder.cells())
