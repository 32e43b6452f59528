"""`raymark bench` as a user meets it: every command in a row, and one sentence for wrong input."""

import dataclasses
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml
from command_line import COMMAND, raymark

from raymark.benchmark.run import Runner
from raymark.benchmark.scoring import score_rows, score_run
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite, load_suite
from raymark.dataset import Dataset
from raymark.models import get_model

FINISHED, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
BeginRun = Callable[[Suite, Path], Runner]

PEEKS = """
from raymark.benchmark import Localizer, Prediction


class Model(Localizer):
    def fit(self, train, validation):
        pass

    def predict(self, test):
        return Prediction(position_m=test.position_m)
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def bench(*arguments: object) -> Result:
    """Run a command of the group; what it printed comes as words with a space between."""
    done = raymark("bench", *arguments)
    return Result(done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split()))


@pytest.fixture
def suite_file(yard_suite: Suite, tmp_path: Path) -> Path:
    """Write the suite of one seed as a user would."""
    path = tmp_path / "suites" / "tests.yaml"
    path.parent.mkdir()
    suite = yard_suite.model_copy(update={"seeds": (0,)})
    path.write_text(yaml.safe_dump(suite.model_dump(mode="json")), encoding="utf-8")
    return path


@pytest.fixture
def shipped(suite_file: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The suite, as if it were one of raymark's own."""
    monkeypatch.setattr("raymark.benchmark.task.SUITES_FOLDER", suite_file.parent)
    return load_suite("tests")


@pytest.mark.slow
def test_commands_work_in_a_row_when_models_are_compared(
    suite_file: Path, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    data, runs, made = benchmark_dataset.folder, tmp_path / "runs", tmp_path / "cli_model"
    asked = ["--suite", suite_file, "--data", data]
    names = f"train_centroid,{made}"

    tasks = bench("tasks", "--suite", suite_file)
    models = bench("models")
    audit = bench("audit", *asked, "--out", tmp_path / "audit")
    new = bench("new-model", "cli_model", "--out", tmp_path)
    run = bench("run", *asked, "--out", runs, "--models", names, "--jobs", 1)
    again = bench("run", *asked, "--out", runs, "--models", names, "--tracks", "unseen-nlos")
    score = bench("score", runs, "--csv", tmp_path / "rows.csv")
    board = bench("board", runs, "--data", data, "--out", tmp_path / "board")
    refused = bench("board", runs, "--out", tmp_path / "board")

    for result in (tasks, models, audit, new, run, again, score, board):
        assert result.code == FINISHED, result.err
    assert "tests/unseen-nlos/yard/6GHz/fold-2@1" in tasks.out
    assert f"suite_hash {load_suite(str(suite_file)).hash}" in tasks.out
    assert "wknn" in models.out
    assert (tmp_path / "audit" / "maps" / "interpolation__yard.png").is_file()
    assert "8 cells run, 0 kept" in run.out
    assert "0 cells run, 6 kept" in again.out
    assert "cli_model" in score.out
    assert len(pd.read_csv(tmp_path / "rows.csv")) == len(score_rows(score_run(RunFolder(runs))))
    page = (tmp_path / "board" / "index.html").read_text(encoding="utf-8")
    assert "cli_model" in page
    assert "wrote index.html, board.md" in board.out
    assert refused.code == BAD_INPUT
    assert "board is not empty; choose another folder or add --overwrite" in refused.err
    assert "score" not in refused.err  # said before the work, not after it


@pytest.mark.slow
def test_expensive_models_run_only_when_they_are_asked_for(
    suite_file: Path,
    benchmark_dataset: Dataset,
    measured_run: BeginRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two models, the one that is marked expensive."""
    costly = get_model("train_centroid")
    info = costly.info.model_copy(update={"is_expensive": True})
    known = {
        "aoa_toa": get_model("aoa_toa"),
        "train_centroid": dataclasses.replace(costly, info=info),
    }
    monkeypatch.setattr("raymark.models.model_names", lambda: list(known))
    monkeypatch.setattr("raymark.models.get_model", known.get)
    asked = ["run", "--suite", suite_file, "--data", benchmark_dataset.folder, "--jobs", 1]
    asked += ["--tracks", "interpolation", "--out", tmp_path / "runs"]
    measured_run(load_suite(str(suite_file)), tmp_path / "runs")

    listed = bench("models")
    default = bench(*asked)
    named = bench(*asked, "--models", "train_centroid")
    both = bench(*asked, "--models", "all")

    assert listed.out.count("on request") == 2  # its row, and what that means
    assert "1 cell run, 0 kept" in default.out
    assert "left out: 1 expensive model; name them, or add --models all" in default.err
    assert "1 cell run, 0 kept" in named.out
    assert "left out" not in named.err
    assert "0 cells run, 2 kept" in both.out
    assert "left out" not in both.err


@pytest.mark.slow
def test_task_is_shown_and_exported_when_it_is_named(
    shipped: Suite, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    task, path = "tests/unseen-nlos/yard/6GHz/fold-1", tmp_path / "task.h5"

    shown = bench("show", task)
    written = bench("export", task, "--data", benchmark_dataset.folder, "--out", path)
    refused = bench("export", task, "--data", benchmark_dataset.folder, "--out", path)

    assert (shown.code, written.code) == (FINISHED, FINISHED)
    assert f"# {task}@1" in shown.out
    assert "track: unseen-nlos" in shown.out
    with h5py.File(path) as file:
        assert file.attrs["suite_hash"] == shipped.hash
        assert "position_m" not in file["test"]
    assert refused.code == BAD_INPUT
    assert "task.h5 exists; choose another name or add --overwrite" in refused.err


@pytest.mark.slow
def test_suite_is_exported_and_goes_on_when_no_task_is_named(
    shipped: Suite, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "exported"
    asked = ["export", "--suite", "tests", "--tracks", "unseen-nlos", "--out", folder]
    asked += ["--data", benchmark_dataset.folder]
    files = {folder / t.slug / "seed-0.h5" for t in shipped.tasks_of(["unseen-nlos"])}

    first = bench(*asked)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.h5")}
    lost = sorted(files)[0]
    lost.unlink()
    again = bench(*asked)
    with_csi = bench(*asked, "--csi")
    nothing = bench("export", "--data", benchmark_dataset.folder, "--out", folder)

    assert (first.code, again.code) == (FINISHED, FINISHED), first.err + again.err
    assert set(times) == files
    assert f"exported holds {len(files)} files <task>/seed-<s>.h5" in first.out
    assert {path for path in files if path.stat().st_mtime_ns != times[path]} == {lost}
    with h5py.File(lost) as file:
        assert file.attrs["slug"] == lost.parent.name
    assert with_csi.code == nothing.code == BAD_INPUT
    assert "holds something else; choose another folder or add --overwrite" in with_csi.err
    assert "give the id of one TASK, or --suite NAME for all of its tasks" in nothing.err


def test_new_submission_is_accepted_when_words_and_positions_are_filled_in(
    shipped: Suite, benchmark_dataset: Dataset, benchmark_run: RunFolder, tmp_path: Path
) -> None:
    data, folder = ["--data", benchmark_dataset.folder], tmp_path / "theirs"
    made = bench("new-submission", "theirs", "--suite", "tests", *data, "--out", tmp_path)
    text = (folder / "submission.yaml").read_text(encoding="utf-8")

    without_words = bench("check", folder, *data)
    words = dict.fromkeys(("title", "summary", "tuning", "replication"), "something")
    words |= {"is_trajectory": "false", "inputs": "[paths]", "openness": "code"}
    for key, value in (words | {"pretraining": "[{name: elsewhere}]"}).items():
        text = text.replace(f"\n{key}:\n", f"\n{key}: {value}\n")
    (folder / "submission.yaml").write_text(text, encoding="utf-8")
    without_positions = bench("check", folder, *data)
    for task in shipped.tasks():
        predicted = benchmark_run.cell(task, "wknn", 0) / "predictions.parquet"
        path = folder / "predictions" / task.slug / "seed-0.csv"
        links = pd.read_csv(path)[["site", "ue_index"]]
        links.merge(pd.read_parquet(predicted)).to_csv(path, index=False)
    checked = bench("check", folder, *data)

    assert made.code == FINISHED, made.err
    assert (without_words.code, without_positions.code) == (BAD_INPUT, BAD_INPUT)
    assert (
        "nothing stands behind title, summary, is_trajectory, tuning, inputs" in without_words.err
    )
    assert "seed-0.csv: no position is filled in; add them, or" in without_positions.err
    assert checked.code == FINISHED
    assert (
        f"'theirs' predicts {len(shipped.tasks())} of {len(shipped.tasks())} tasks" in checked.out
    )
    assert "trained before on 1 dataset, of which 0 hold no test UE" in checked.out
    assert "add --runs RUNS for the row" in checked.out


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wknn", "'wknn' is a model that ships with raymark; choose another name"),
        ("error_bound", "'error_bound' is a row that every board has; choose another name"),
        ("../theirs", "a submission's name has letters, digits and _, and begins with a letter"),
    ],
)
def test_new_submission_is_refused_when_its_name_is_another_ones(
    shipped: Suite, benchmark_dataset: Dataset, tmp_path: Path, name: str, sentence: str
) -> None:
    asked = ["--suite", shipped.name, "--data", benchmark_dataset.folder, "--out", tmp_path]

    refused = bench("new-submission", name, *asked)

    assert refused.code == BAD_INPUT
    assert sentence in refused.err


def test_submission_is_checked_and_stands_on_the_board_when_it_is_good(
    shipped: Suite,
    benchmark_run: RunFolder,
    yard_suite: Suite,
    benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:
    folder, task = tmp_path / "submission", yard_suite.tasks()[0]
    path = folder / "predictions" / task.slug / "seed-0.csv"
    path.parent.mkdir(parents=True)
    info = {
        "name": "theirs",
        "title": "Model of theirs",
        "summary": "Made elsewhere.",
        "is_trajectory": False,
        "suite": "tests",
        "suite_hash": shipped.hash,
        "content_hash": shipped.content_hash,
        "tuning": "nothing",
        "inputs": ["paths"],
        "pretraining": [],
        "openness": "code",
        "replication": "none",
    }
    (folder / "submission.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    (folder / "card.md").write_text("# Theirs\n", encoding="utf-8")
    table = pd.read_parquet(benchmark_run.cell(task, "wknn", 0) / "predictions.parquet")
    table.to_csv(path, index=False)

    checked = bench("check", folder, "--data", benchmark_dataset.folder)
    table.iloc[1:].to_csv(path, index=False)
    refused = bench("check", folder, "--data", benchmark_dataset.folder)
    table.to_csv(path, index=False)
    hashes = {"suite_hash": yard_suite.hash}  # the run is of two seeds
    (folder / "submission.yaml").write_text(yaml.safe_dump(info | hashes), encoding="utf-8")
    options = ["--submission", folder, "--out", tmp_path / "board"]
    board = bench("board", benchmark_run.root, *options)
    suite_file = tmp_path / "suite.yaml"
    suite_file.write_text(yaml.safe_dump(yard_suite.model_dump(mode="json")), encoding="utf-8")
    among = ["--suite", suite_file, "--runs", benchmark_run.root]
    unranked = bench("check", folder, "--data", benchmark_dataset.folder, *among)

    assert (checked.code, board.code) == (FINISHED, FINISHED), checked.err + board.err
    assert "'theirs' predicts 1 of 4 tasks of tests@1 (1 file); every point once" in checked.out
    assert refused.code == BAD_INPUT
    assert "is missing (1 link)" in refused.err
    assert "it has no rank: it does not predict every fold" in unranked.out
    assert "Model of theirs" in (tmp_path / "board" / "board.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_exit_code_is_1_and_the_model_is_named_when_it_tries_to_read_test_positions(
    suite_file: Path, benchmark_dataset: Dataset, measured_run: BeginRun, tmp_path: Path
) -> None:
    measured_run(load_suite(str(suite_file)), tmp_path / "runs")
    bench("new-model", "cli_peeks", "--out", tmp_path)
    (tmp_path / "cli_peeks" / "model.py").write_text(PEEKS, encoding="utf-8")
    models = f"{tmp_path / 'cli_peeks'},train_centroid"
    asked = ["--suite", suite_file, "--data", benchmark_dataset.folder, "--models", models]

    result = bench(
        "run", *asked, "--out", tmp_path / "runs", "--tracks", "interpolation", "--jobs", 1
    )

    assert result.code == FAILED
    assert "2 cells run" in result.out
    assert (
        "error: cli_peeks: AttributeError: 'Measurements' object has no attribute 'position_m' at "
        f"{tmp_path / 'cli_peeks' / 'model.py'}:10 in predict "
        "(in tests__interpolation__yard__6GHz/cli_peeks/seed-0)"
    ) in result.err
    finished = {cell.result.model for cell in RunFolder(tmp_path / "runs").cells()}
    assert "train_centroid" in finished
    assert "cli_peeks" not in finished


@pytest.mark.slow
def test_run_is_refused_before_any_work_when_models_cannot_be_imported(
    suite_file: Path, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    codes = {
        "cli_cut_off": "import numpy\nclass Model(\n",
        "cli_imports": "import no_such_package\n",
        "cli_empty": "Model = None\n",
    }
    for name, code in codes.items():
        bench("new-model", name, "--out", tmp_path)
        (tmp_path / name / "model.py").write_text(code, encoding="utf-8")
    models = ",".join(str(tmp_path / name) for name in codes)
    asked = ["--suite", suite_file, "--data", benchmark_dataset.folder, "--models", models]

    refused = bench("run", *asked, "--out", tmp_path / "runs")

    assert refused.code == BAD_INPUT
    assert f"never closed (model.py, line 2) at {tmp_path}/cli_cut_off/model.py:2;" in refused.err
    assert (
        f"named 'no_such_package' at {tmp_path}/cli_imports/model.py:1 in <module>;" in refused.err
    )
    assert "cli_empty/model.py must hold a class 'Model' that is a raymark" in refused.err
    assert refused.err.endswith("; nothing was run")
    assert not (tmp_path / "runs").exists()


def test_folder_stays_free_when_the_dataset_lacks_a_scene_or_a_model_its_track(
    suite_file: Path, small_dataset: Dataset, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    asked = ["--suite", suite_file, "--out", tmp_path / "runs", "--jobs", 1]
    small = [*asked, "--data", small_dataset.folder, "--any-data", "--models", "train_centroid"]
    own = [*asked, "--data", benchmark_dataset.folder, "--models", "train_centroid,site_trees"]

    lacks, alone = bench("run", *small), bench("run", *own)

    assert (lacks.code, alone.code) == (BAD_INPUT, BAD_INPUT)
    assert "has no scene 'yard'" in lacks.err
    assert "model 'site_trees' takes several sites, and none of the tracks" in alone.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_run_on_another_dataset_is_told_apart_when_it_is_asked_for(
    suite_file: Path, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    text = suite_file.read_text(encoding="utf-8")
    published = load_suite(str(suite_file))
    suite_file.write_text(text.replace(published.content_hash, "a" * 64), encoding="utf-8")
    asked = ["--suite", suite_file, "--data", benchmark_dataset.folder, "--out", tmp_path / "runs"]
    choice = ["--models", "train_centroid", "--tracks", "interpolation", "--jobs", 1]

    refused = bench("run", *asked, *choice)
    allowed = bench("run", *asked, *choice, "--any-data")

    assert refused.code == BAD_INPUT
    assert "make the right one with `raymark generate none --out DIR`" in refused.err
    assert allowed.code == FINISHED
    assert "is not the published dataset of 'tests': compare with no other board" in allowed.err
    stored = RunFolder(tmp_path / "runs").info().suite
    assert stored.hash not in {published.hash, load_suite(str(suite_file)).hash}


@pytest.fixture
def places(
    suite_file: Path, benchmark_dataset: Dataset, benchmark_run: RunFolder, tmp_path: Path
) -> dict[str, Path]:
    empty = tmp_path / "empty"
    empty.mkdir()
    return {
        "tmp": empty,
        "data": Path(benchmark_dataset.folder),
        "suite": suite_file,
        "runs": benchmark_run.root,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tasks", "--suite", "smal"], "unknown suite 'smal'; did you mean 'small'?"),
        (["tasks", "--suite", "missing.yaml"], "cannot read missing.yaml: No such file"),
        (["show", "mini/interpolatoin/munich/6GHz"], "did you mean 'mini/interpolation/munich/6GH"),
        (["show", "minni/x"], "unknown suite 'minni'; did you mean 'mini'?"),
        (["score", "{tmp}"], "holds no benchmark run (run.json is missing)"),
        (["board", "{tmp}", "--out", "{tmp}/b"], "holds no benchmark run (run.json is missing)"),
        (["new-model", "my-model"], "a model must be named as Python names"),
        (["check", "{tmp}", "--data", "{data}"], "is no submission: submission.yaml is missing"),
        (
            ["run", "--data", "{tmp}", "--out", "{tmp}/r", "--suite", "{suite}"],
            "holds no dataset",
        ),
        (["audit", "--data", "{tmp}", "--out", "{tmp}/a"], "holds no dataset"),
        (
            ["audit", "--data", "{data}", "--out", "{tmp}/a", "--suite", "mini"],
            "make the right one with `raymark generate mini --out DIR`",
        ),
        (
            [
                "run",
                "--data",
                "{data}",
                "--out",
                "{tmp}/r",
                "--suite",
                "{suite}",
                "--models",
                "wnn",
            ],
            "unknown model 'wnn'; did you mean 'wknn'?",
        ),
        (
            [
                "run",
                "--data",
                "{data}",
                "--out",
                "{tmp}/r",
                "--suite",
                "{suite}",
                "--models",
                "a/b",
            ],
            "a/b is no model folder: model.py is missing",
        ),
        (
            ["run", "--data", "{data}", "--out", "{runs}", "--suite", "{suite}"],
            "holds a run of another suite, version or dataset",
        ),
        (
            ["export", "mini/interpolation/munich/6GHz", "--data", "{data}", "--out", "{tmp}/x.h5"],
            "suite 'mini' is for the dataset with content hash",
        ),
    ],
)
def test_one_sentence_and_exit_code_2_when_input_is_wrong(
    places: dict[str, Path], arguments: list[str], sentence: str
) -> None:
    result = bench(*(argument.format(**places) for argument in arguments))

    assert result.code == BAD_INPUT
    assert sentence in result.err
    assert result.err.count("error: ") == 1
    assert not list(places["tmp"].iterdir())


@pytest.mark.parametrize(
    "command",
    [
        ("bench", "score", "{runs}", "--csv", "{tmp}"),
        (
            "fingerprints",
            "{data}",
            "--scene",
            "yard",
            "--band",
            "6GHz",
            "--overwrite",
            "--out",
            "{tmp}",
        ),
        ("release", "card", "{data}", "--overwrite", "--out", "{tmp}"),
        ("predict", "{runs}", "--data", "{data}", "--overwrite", "--out", "{csv}"),
    ],
)
def test_folder_is_refused_at_once_when_a_file_is_meant(
    places: dict[str, Path], command: tuple[str, ...], tmp_path: Path
) -> None:
    csv = tmp_path / "empty.csv"
    csv.mkdir()

    done = raymark(*(argument.format(**places, csv=csv) for argument in command))

    assert (done.returncode, done.stdout) == (BAD_INPUT, "")
    assert "is a folder; give the name of a file" in " ".join(done.stderr.split())
    assert not list(places["tmp"].iterdir())


def test_nearest_track_is_offered_when_one_is_unknown(
    yard_suite: Suite, benchmark_run: RunFolder, benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:  # fmt: skip
    runs = Path(shutil.copytree(benchmark_run.root, tmp_path / "runs"))
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(yard_suite.model_dump(mode="json")), encoding="utf-8")
    asked = ["--suite", path, "--data", benchmark_dataset.folder, "--out", runs]

    result = bench("run", *asked, "--tracks", "interpolation,unseen-nlso")

    assert result.code == BAD_INPUT
    assert "has no track 'unseen-nlso'; did you mean 'unseen-nlos'?" in result.err


@pytest.mark.slow
def test_run_goes_on_when_it_was_interrupted_by_ctrl_c(
    suite_file: Path, benchmark_dataset: Dataset, measured_run: BeginRun, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    measured_run(load_suite(str(suite_file)), runs)
    arguments = ["bench", "run", "--suite", suite_file, "--data", benchmark_dataset.folder]
    arguments += ["--out", runs, "--models", "train_centroid,gradient_boosting", "--jobs", "1"]
    command = [*COMMAND, *map(str, arguments)]

    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    num_references = 3 * 4
    while len(list(runs.glob("cells/*/*/*/result.json"))) <= num_references:
        assert child.poll() is None, "it ended by itself"
        time.sleep(0.05)
    # As a terminal does, to the whole group.
    os.killpg(child.pid, signal.SIGINT)
    messages = " ".join(child.communicate(timeout=120)[1].split())
    num_finished = len(list(RunFolder(runs).cells()))
    result = bench(*arguments[1:])

    assert child.returncode == INTERRUPTED, messages
    assert "interrupted; nothing is lost: run the same command to go on in" in messages
    assert "Traceback" not in messages
    assert num_references < num_finished < num_references + 8
    assert result.code == FINISHED
    num_kept = num_finished - num_references
    assert f"{8 - num_kept} cells run, {num_kept} kept" in result.out
