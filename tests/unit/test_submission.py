import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from raymark.benchmark.board import headline
from raymark.benchmark.board.standings import standings
from raymark.benchmark.checking import check_submission
from raymark.benchmark.publication import build_board
from raymark.benchmark.store import RunFolder
from raymark.benchmark.submission import read_submission, submitted_suite
from raymark.benchmark.task import Suite
from raymark.dataset import Dataset
from raymark.errors import ConfigError, ScoringError

TASK = "tests__unseen-nlos__yard__6GHz__fold-1"


def write(
    folder: Path, run: RunFolder, suite: Suite, /, *, kind: str = "parquet", **changes: Any
) -> Path:
    """Submit the predictions that a run holds of WKNN, in another order."""
    info = {
        "name": "theirs",
        "title": "Theirs",
        "summary": "Made elsewhere.",
        "is_trajectory": False,
        "suite": suite.name,
        "suite_hash": suite.hash,
        "content_hash": suite.content_hash,
        "tuning": "nothing",
        "inputs": ["paths", "map"],
        "pretraining": [],
        "openness": "code",
        "replication": "https://example.org/theirs",
        "num_parameters": 7,
        "hardware": "a laptop",
        **changes,
    }
    folder.mkdir()
    text = yaml.safe_dump({key: value for key, value in info.items() if value is not None})
    (folder / "submission.yaml").write_text(text, encoding="utf-8")
    (folder / "card.md").write_text("# Theirs\n", encoding="utf-8")
    for task in suite.tasks():
        for seed in task.seeds:
            table = pd.read_parquet(run.cell(task, "wknn", seed) / "predictions.parquet")
            save(table.sample(frac=1, random_state=1), path_of(folder, task.slug, seed, kind))
    return folder


def path_of(folder: Path, slug: str = TASK, seed: int = 0, kind: str = "parquet") -> Path:
    return folder / "predictions" / slug / f"seed-{seed}.{kind}"


def save(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)


@pytest.fixture(params=["parquet", "csv"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def submission(tmp_path: Path, benchmark_run: RunFolder, yard_suite: Suite) -> Path:
    return write(tmp_path / "submission", benchmark_run, yard_suite)


def test_submission_stands_on_the_board_unverified_with_the_errors_of_its_rows(
    tmp_path: Path, benchmark_run: RunFolder, yard_suite: Suite, kind: str
) -> None:
    folder = write(tmp_path / "submission", benchmark_run, yard_suite, kind=kind)

    read = read_submission(folder, yard_suite, benchmark_run.truth)
    board = build_board(benchmark_run, [read])

    record, cells = read
    assert (record.name, record.verified, len(cells)) == ("theirs", False, 4 * 2)
    (info,) = [model for model in board.models if model.name == "theirs"]
    assert (info.title, info.verified, info.num_parameters) == ("Theirs", False, 7)
    stated = (info.inputs, info.pretraining, info.openness, info.replication)
    assert stated == ("paths, map", "none", "code", "https://example.org/theirs")
    (wknn,) = [model for model in board.models if model.name == "wknn"]
    assert (wknn.openness, wknn.replication) == ("code and weights", "raymark bench run")
    keys = ["task", "seed", "label"]
    own, wknn = (
        board.rows[board.rows["model"] == name].set_index(keys).drop(columns="model")
        for name in ("theirs", "wknn")
    )
    pd.testing.assert_frame_equal(own, wknn.loc[own.index], check_exact=kind == "parquet")
    assert "theirs" in set(board.summary["model"])


def test_submission_may_hold_some_tasks_only(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    for folder in (submission / "predictions").iterdir():
        if folder.name != TASK:
            shutil.rmtree(folder)

    _, cells = read_submission(submission, yard_suite, benchmark_run.truth)

    assert {cell.task.slug for cell in cells} == {TASK}


def test_key_that_is_missing_is_offered_when_a_given_one_is_nearer(
    tmp_path: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    changes = {"content_hash": None, "dataset_hash": yard_suite.content_hash}
    folder = write(tmp_path / "submission", benchmark_run, yard_suite, **changes)

    with pytest.raises(ConfigError, match=r"dataset_hash; did you mean 'content_hash'\?"):
        submitted_suite(folder)


def test_suite_of_a_submission_is_read_when_asked_for(submission: Path) -> None:
    assert submitted_suite(submission) == "tests"


def test_order_of_columns_and_type_of_index_do_not_matter(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    table = pd.read_parquet(path_of(submission))
    save(table[["y_m", "x_m", "ue_index", "site"]].astype({"ue_index": "i4"}), path_of(submission))

    assert len(read_submission(submission, yard_suite, benchmark_run.truth)[1]) == 8


def test_mark_for_a_missing_number_is_refused_as_one_that_is_not_finite(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    """Such tables have types of their own, in which numpy sees objects."""
    table = pd.read_parquet(path_of(submission)).convert_dtypes()
    save(table.assign(x_m=table["x_m"].mask(table.index == 0)), path_of(submission))

    with pytest.raises(ScoringError, match="finite"):
        read_submission(submission, yard_suite, benchmark_run.truth)


def with_value(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        first = np.arange(len(table)) == 0
        return table.assign(**{column: table[column].astype(object).mask(first, value)})

    return change


def with_covariance(var_x_m2: float, var_y_m2: float, cov_xy_m2: float) -> Any:
    return lambda t: t.assign(var_x_m2=var_x_m2, var_y_m2=var_y_m2, cov_xy_m2=cov_xy_m2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[1:], r"seed-0.csv: link (west|east)/\d+ is missing \(1 link\)"),
        (
            lambda t: pd.concat([t, t.iloc[[2]]]),
            r"seed-0.csv: link (west|east)/\d+ is predicted twice",
        ),
        (
            with_value("ue_index", 100_000),
            r"seed-0.csv: link (west|east)/100000 is no test link of this task \(1 link\)",
        ),
        (with_value("site", "north"), r"link north/\d+ is no test link of this task"),
        (with_value("x_m", np.nan), r"seed-0.csv: row \d+: predicted position is not finite"),
        (with_value("y_m", np.inf), r"seed-0.csv: row \d+: predicted position is not finite"),
        (with_value("y_m", "far"), r"seed-0.csv: column 'y_m' must hold numbers"),
        (lambda t: t.drop(columns="x_m"), r"missing columns \['x_m'\], unknown \[\]"),
        (
            lambda t: t.rename(columns={"x_m": "x", "y_m": "y"}),
            r"missing columns \['x_m', 'y_m'\], unknown \['x', 'y'\]",
        ),
        (
            lambda t: t.assign(var_x_m2=1.0, var_y_m2=1.0),
            r"a covariance needs all of var_x_m2, var_y_m2, cov_xy_m2",
        ),
        (with_covariance(1, 1, 2), r"covariance is not symmetric and positive definite"),
        (with_covariance(-1, 1, 0), r"covariance is not symmetric and positive definite"),
        (with_covariance(1, np.nan, 0), r"covariance is not finite"),
    ],
)
def test_predictions_are_refused_with_one_sentence_when_one_thing_is_wrong(
    tmp_path: Path,
    benchmark_run: RunFolder,
    yard_suite: Suite,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
) -> None:
    folder = write(tmp_path / "submission", benchmark_run, yard_suite, kind="csv")
    path = path_of(folder, kind="csv")
    save(change(pd.read_csv(path)), path)

    with pytest.raises(ScoringError, match=message) as raised:
        read_submission(folder, yard_suite, benchmark_run.truth)

    assert "\n" not in str(raised.value)


def test_good_covariances_are_scored_when_they_are_stated(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    for path in (submission / "predictions").glob("*/*"):
        save(with_covariance(400.0, 400.0, 0.0)(pd.read_parquet(path)), path)

    board = build_board(
        benchmark_run, [read_submission(submission, yard_suite, benchmark_run.truth)]
    )

    own = board.rows[board.rows["model"] == "theirs"]
    assert own["coverage_90"].between(0, 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite_hash": "0" * 64}, r"suite_hash is 000000000000, expected .* another suite, ver"),
        ({"content_hash": "1" * 64}, r"content_hash is 111111111111, expected .* or dataset"),
        ({"suite": "small"}, r"suite is small, expected tests: the submission is for another"),
    ],
)
def test_submission_is_refused_when_a_hash_is_another_ones(
    tmp_path: Path, benchmark_run: RunFolder, yard_suite: Suite, changes: Any, message: str
) -> None:
    folder = write(tmp_path / "submission", benchmark_run, yard_suite, **changes)

    with pytest.raises(ScoringError, match=message):
        read_submission(folder, yard_suite, benchmark_run.truth)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretraining": None}, r"missing key at .*submission.yaml: pretraining"),
        ({"pretraining": [{"name": "x", "content_hash": "12"}]}, r"pattern.*pretraining\[0\]"),
        ({"inputs": ["positions"]}, r"'positions' at .*submission.yaml: inputs\[0\]"),
        ({"openness": "secret"}, r"'secret' at .*submission.yaml: openness"),
        ({"tuning": ""}, r"at least 1 character.* at .*submission.yaml: tuning"),
        ({"name": "no name"}, r"match pattern.*, got 'no name' at .*submission.yaml: name"),
        ({"name": "n" * 101}, r"at most 100 characters.* at .*submission.yaml: name"),
        ({"authors": "us"}, r"unknown key at .*submission.yaml: authors"),
        ({"num_parameters": -1}, r"greater than or equal to 0, got -1 at .*: num_parameters"),
    ],
)
def test_submission_is_refused_when_its_description_is_wrong(
    tmp_path: Path, benchmark_run: RunFolder, yard_suite: Suite, changes: Any, message: str
) -> None:
    folder = write(tmp_path / "submission", benchmark_run, yard_suite, **changes)

    with pytest.raises(ConfigError, match=message):
        read_submission(folder, yard_suite, benchmark_run.truth)


def test_submission_is_refused_when_it_was_trained_on_the_suites_dataset(
    tmp_path: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    pretraining = [{"name": "all of it", "content_hash": yard_suite.content_hash}]
    folder = write(tmp_path / "submission", benchmark_run, yard_suite, pretraining=pretraining)

    with pytest.raises(ScoringError, match=r"submission.yaml: pretraining data 'all of it' is the"):
        read_submission(folder, yard_suite, benchmark_run.truth)


def test_check_shows_the_row_that_a_submission_would_get(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite, benchmark_dataset: Dataset
) -> None:
    for path in (submission / "predictions").glob("*/*"):
        table = pd.read_parquet(path)
        save(table.assign(x_m=table["x_m"] + 500.0), path)  # worse than all others

    checked = check_submission(submission, yard_suite, benchmark_dataset, runs=benchmark_run.root)

    assert checked.board is not None
    whole = standings(checked.board, headline(checked.board))
    (row,) = zip(
        *(c.texts for c in standings(checked.board, headline(checked.board), only="theirs")),
        strict=True,
    )
    assert row[:2] == ("3", "Theirs")
    titles = {column.key: column.texts for column in whole}
    assert row[1:] == tuple(column.texts[titles["model"].index("Theirs")] for column in whole)[1:]


def test_check_refuses_a_run_of_another_suite(
    submission: Path, benchmark_run: RunFolder, benchmark_suite: Suite, benchmark_dataset: Dataset
) -> None:
    with pytest.raises(ConfigError, match="is a run of another suite than tests@1"):
        check_submission(submission, benchmark_suite, benchmark_dataset, runs=benchmark_run.root)


@pytest.mark.parametrize("name", ["submission.yaml", "card.md", "predictions"])
def test_submission_is_refused_when_a_part_is_missing(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite, name: str
) -> None:
    path = submission / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(ConfigError, match=rf"submission is no submission: {name} is missing"):
        read_submission(submission, yard_suite, benchmark_run.truth)


@pytest.mark.parametrize("place", ["seed-0.csv", "tests/unseen-nlos/yard/seed-0.csv"])
def test_submission_is_refused_when_a_file_is_in_no_folder_of_a_task(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite, place: str
) -> None:
    stray = submission / "predictions" / place
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.touch()

    with pytest.raises(ConfigError, match=rf"{place} is out of place: .*, such as tests__interpo"):
        read_submission(submission, yard_suite, benchmark_run.truth)


def test_submission_is_refused_when_it_holds_no_file(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    shutil.rmtree(submission / "predictions")
    (submission / "predictions").mkdir()

    with pytest.raises(ConfigError, match=r"predictions holds no file: .* __ for / and"):
        read_submission(submission, yard_suite, benchmark_run.truth)


def test_nearest_task_is_offered_when_a_folder_names_none(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    path = submission / "predictions" / TASK
    path.rename(path.with_name(TASK.replace("nlos", "nlso")))

    with pytest.raises(ConfigError, match=rf"unknown task '.*nlso.*'; did you mean '{TASK}'"):
        read_submission(submission, yard_suite, benchmark_run.truth)


@pytest.mark.parametrize("name", ["seed-7.parquet", "seed-0.txt", "predictions.parquet"])
def test_names_of_seeds_are_listed_when_a_file_is_named_otherwise(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite, name: str
) -> None:
    path_of(submission).rename(path_of(submission).with_name(name))

    with pytest.raises(ConfigError, match=r"must be named seed-<s>.parquet or .csv .* 0, 1"):
        read_submission(submission, yard_suite, benchmark_run.truth)


@pytest.mark.parametrize(
    ("kind", "content"),
    [("parquet", b"PAR1 no more"), ("csv", b""), ("csv", b"\xff\xfe\x00"), ("csv", b'a\n"')],
)
def test_file_is_named_when_it_cannot_be_read(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite, kind: str, content: bytes
) -> None:
    path_of(submission).unlink()
    path_of(submission, kind=kind).write_bytes(content)

    with pytest.raises(ScoringError, match=rf"seed-0.{kind} cannot be read: ") as raised:
        read_submission(submission, yard_suite, benchmark_run.truth)

    assert "\n" not in str(raised.value)


def test_submission_is_refused_when_a_seed_stands_in_two_files(
    submission: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    save(pd.read_parquet(path_of(submission)), path_of(submission, kind="csv"))

    with pytest.raises(ConfigError, match="the same task and seed stand in another file"):
        read_submission(submission, yard_suite, benchmark_run.truth)


def test_board_is_refused_when_a_submission_has_the_name_of_a_model(
    tmp_path: Path, benchmark_run: RunFolder, yard_suite: Suite
) -> None:
    folder = write(tmp_path / "twin", benchmark_run, yard_suite, name="wknn")
    read = read_submission(folder, yard_suite, benchmark_run.truth)

    with pytest.raises(ScoringError, match="two models are called 'wknn'"):
        build_board(benchmark_run, [read])
