"""Runs with real processes: what they keep, what they run again, and how models fail in them."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from raymark.benchmark.localizer import ModelFolder, Prediction, tune
from raymark.benchmark.model_errors import kinds_of_failure
from raymark.benchmark.predictions import checked_prediction
from raymark.benchmark.publication import build_board
from raymark.benchmark.run import Runner, RunReport
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.worker import fit_and_predict
from raymark.dataset import Dataset
from raymark.errors import ConfigError, ScoringError
from raymark.models import get_model
from raymark.work.executor import ThisMachine

BeginRun = Callable[[Suite, Path], Runner]

CENTROID = """
import os
import signal

import numpy as np

from raymark.benchmark import Localizer, Prediction


def flat(position_m):
    return Prediction(position_m=position_m, covariance_m2=np.zeros((len(position_m), 2, 2)))


class Model(Localizer):
    def fit(self, train, validation):
        self.position_m = train.position_m.mean(axis=0)
        {fit}

    def predict(self, test):
        position_m = np.tile(self.position_m, (len(test), 1)) + self.config.get("shift_m", 0.0)
        {predict}
        return Prediction(position_m=position_m)
"""

REPORT = """
        self.history = {'train_loss': [2.0, 1.5], 'validation_error_m': [9.0, 8.0]}
        self.diagnostics = {'share': {'6GHz': [0.25, 0.75]}}
        print('printed')
        os.system('echo by another process')
        os.write(2, b'to the other stream')
"""
PRINTED = "printed\nby another process\nto the other stream"

FAULTS = {
    "peeks": ("predict", "position_m = test.position_m"),
    "peeks_inside": ("predict", "position_m = test.measurements.position_m"),
    "raises": ("fit", "raise ValueError('the loss is not finite')"),
    "raises_commands": ("fit", r"raise ValueError('\x1b[2J \udcff')"),
    "gives_nan": ("predict", "position_m[3] = np.nan"),
    "gives_masked": ("predict", "position_m = np.ma.masked_array(position_m)"),
    "gives_less": ("predict", "position_m = position_m[1:]"),
    "gives_nothing": ("predict", "return None"),
    "gives_flat_ellipses": ("predict", "return flat(position_m)"),
    "chooses_objects": ("fit", "self.choices = {'net': object()}"),
    "diverges": ("fit", "self.history = {'train_loss': [2.0, 1.5, float('inf')]}"),
    "draws_no_curve": ("fit", "self.history = {'train_loss': 2.0}"),
    "reports_arrays": ("fit", "self.diagnostics = {'share': np.ones(3)}"),
    "leaves": ("fit", "raise SystemExit(1)"),
}
REASONS = {
    "peeks": "AttributeError: 'Measurements' object has no attribute 'position_m'",
    "peeks_inside": "AttributeError: 'Measurements' object has no attribute 'measurements'",
    "raises": "ValueError: the loss is not finite",
    "raises_commands": r"ValueError: \x1b[2J \udcff at",
    "gives_nan": "position_m of test link 3 is not finite (1 link)",
    "gives_masked": "position_m must be a plain array, got a masked one",
    "gives_less": "position_m must have shape",
    "gives_nothing": "predict must return raymark.benchmark.Prediction(position_m=...), got None",
    "gives_flat_ellipses": "row 0: covariance is not symmetric and positive definite",
    "chooses_objects": "choices must hold plain numbers and texts: Object of type object",
    "diverges": "history 'train_loss' is inf at epoch 2 of 3: a model must stop",
    "draws_no_curve": "history 'train_loss' must be a list of one number an epoch",
    "reports_arrays": "diagnostics must hold plain numbers and texts: Object of type ndarray",
    "leaves": "SystemExit: 1",
}
IN_MODEL = {"peeks", "peeks_inside", "raises", "raises_commands", "leaves"}
"""Those whose own code raises: its file and line are named."""


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def write_model(parent: Path, name: str, *, fit: str = "pass", predict: str = "pass") -> Path:
    """Write the three files of a model that answers with the training centroid."""
    folder = parent / name
    folder.mkdir(parents=True)
    info = {
        "title": name.capitalize(),
        "summary": "Made by a test.",
        "is_trajectory": False,
        "inputs": ["scalars"],
        "tuning": "nothing",
        "config": {},
    }
    (folder / "model.py").write_text(CENTROID.format(fit=fit, predict=predict), encoding="utf-8")
    (folder / "model.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    (folder / "card.md").write_text(f"# {name}\n", encoding="utf-8")
    return folder


def models_in(parent: Path) -> list[ModelFolder]:
    return [get_model(str(folder)) for folder in sorted(parent.iterdir())]


def chosen(models: Sequence[ModelFolder]) -> RunChoice:
    return RunChoice(models=tuple(models))


@pytest.fixture(scope="module")
def one_task(yard_suite: Suite) -> Suite:
    return yard_suite.model_copy(update={"seeds": (0,), "tracks": yard_suite.tracks[:1]})


@pytest.fixture(scope="module")
def faulty(
    tmp_path_factory: pytest.TempPathFactory, measured_run: BeginRun, one_task: Suite
) -> tuple[RunFolder, RunReport]:
    """One task, run by models that fail in all ways that leave their process alive, and by two."""
    parent = tmp_path_factory.mktemp("faulty")
    for name, (where, code) in FAULTS.items():
        write_model(parent / "models", name, **{where: code})
    write_model(parent / "models", "of_a_user", fit=REPORT)
    models = [*models_in(parent / "models"), get_model("train_centroid")]
    runner = measured_run(one_task, parent / "runs")
    return runner.folder, runner.run(chosen(models), executor=ThisMachine(1))


@pytest.fixture
def copied(benchmark_run: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(benchmark_run.root, tmp_path / "copied")))


def written(folder: RunFolder) -> dict[str, tuple[int, bytes]]:
    """Return time and bytes of every file of a cell."""
    return {
        str(path.relative_to(folder.root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.root.glob("cells/*/*/*/*"))
    }


@pytest.mark.parametrize("name", FAULTS)
def test_failure_is_noted_with_its_reason_when_a_model_misbehaves(
    faulty: tuple[RunFolder, RunReport], name: str
) -> None:
    folder, report = faulty
    failures = dict(report.failures)
    place = f"tests__interpolation__yard__6GHz/{name}/seed-0"

    code = folder.root.parent / "models" / name / "model.py"
    (where, faulty_line) = FAULTS[name]
    line = (
        code.read_text(encoding="utf-8").splitlines().index(f"        {faulty_line}".rstrip()) + 1
    )

    assert REASONS[name] in failures[place]
    assert failures[place].endswith(f" at {code}:{line} in {where}") == (name in IN_MODEL)
    noted = (folder.root / "cells" / place / "failure.txt").read_text(encoding="utf-8")
    assert noted.startswith(f"{failures[place]}\n\nTraceback (most recent call last):\n")
    assert (f'File "{code}", line {line}, in {where}' in noted) == (name in IN_MODEL)
    assert {p.name for p in (folder.root / "cells" / place).iterdir()} == {"failure.txt"}


def test_failures_are_told_once_when_they_differ_by_their_numbers_alone() -> None:
    at = "at /home/me/net/model.py"
    failures = [
        ("one/net/seed-0", f"ValueError: 12 links {at}:7 in fit"),
        ("two/net/seed-0", f"ValueError: 345 links {at}:7 in fit"),
        ("two/net/seed-1", f"ValueError: 345 links {at}:8 in fit"),
        ("two/other/seed-1", f"ValueError: 345 links {at}:7 in fit"),
        ("one/other/seed-1", "x is inf at epoch 2 of 3"),
        ("one/other/seed-2", "x is inf at epoch 5 of 9"),
    ]

    kinds = kinds_of_failure(failures)

    assert [(kind.model, kind.reason, len(kind.places)) for kind in kinds] == [
        ("net", failures[0][1], 2),
        ("net", failures[2][1], 1),
        ("other", failures[3][1], 1),
        ("other", failures[4][1], 2),
    ]
    assert kinds[0].places == ("one/net/seed-0", "two/net/seed-0")


def test_old_failure_is_counted_apart_when_another_model_is_run(
    faulty: tuple[RunFolder, RunReport],
    benchmark_dataset: Dataset,
    one_task: Suite,
) -> None:
    runner = Runner(one_task, benchmark_dataset, faulty[0].root)

    report = runner.run(chosen([get_model("train_centroid")]), executor=ThisMachine(1))

    assert (report.num_run, report.num_kept, report.failures) == (0, 1, ())
    assert report.num_old_failures == len(FAULTS)


def test_what_a_model_prints_goes_to_a_log_when_it_is_run(
    faulty: tuple[RunFolder, RunReport],
) -> None:
    folder = faulty[0].root / "cells" / "tests__interpolation__yard__6GHz"

    assert (folder / "of_a_user/seed-0/output.log").read_text(encoding="utf-8") == PRINTED
    assert list(folder.glob("*/*/output.log")) == [folder / "of_a_user/seed-0/output.log"]


def test_other_models_finish_when_some_fail(faulty: tuple[RunFolder, RunReport]) -> None:
    folder, report = faulty

    assert (report.num_run, report.num_kept) == (len(FAULTS) + 2, 0)
    assert len(report.failures) == len(FAULTS)
    models = {cell.result.model for cell in folder.cells()}
    assert {"of_a_user", "train_centroid"} <= models
    assert not set(FAULTS) & models


def test_folder_of_three_files_appears_on_the_board_when_it_was_run(
    faulty: tuple[RunFolder, RunReport],
) -> None:
    board = build_board(faulty[0])

    (info,) = [model for model in board.models if model.name == "of_a_user"]
    rows = dict(iter(board.rows.groupby("model")))
    assert (info.title, info.kind, info.verified) == ("Of_a_user", "model", True)
    # It computes what `train_centroid` does.
    pd.testing.assert_series_equal(
        rows["of_a_user"]["p90_m"].reset_index(drop=True),
        rows["train_centroid"]["p90_m"].reset_index(drop=True),
    )
    assert not set(FAULTS) & {model.name for model in board.models}


def test_curves_and_diagnostics_are_on_record_when_a_model_reports_them(
    faulty: tuple[RunFolder, RunReport],
) -> None:
    results = {cell.result.model: cell.result for cell in faulty[0].cells()}

    assert results["of_a_user"].history == {
        "train_loss": [2.0, 1.5],
        "validation_error_m": [9.0, 8.0],
    }
    assert results["of_a_user"].diagnostics == {"share": {"6GHz": [0.25, 0.75]}}
    assert results["train_centroid"].history == results["train_centroid"].diagnostics == {}


@pytest.mark.parametrize(
    ("gpu", "expected"), [(None, ", 1 CPU core"), ("NVIDIA H100", ", NVIDIA H100")]
)
def test_hardware_names_the_gpu_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
    benchmark_task: Callable[..., Task],
    load_benchmark_task: Callable[[Task], TaskData],
    gpu: str | None,
    expected: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu is not None)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: gpu)
    # `manual_seed` would seed the GPU that is not there.
    monkeypatch.setattr("torch.manual_seed", lambda seed: seed)
    data = load_benchmark_task(benchmark_task("interpolation", "yard"))

    outcome = fit_and_predict(get_model("train_centroid"), 0, data)

    assert outcome.record["hardware"].endswith(expected)


@pytest.mark.slow
def test_only_changed_and_failed_cells_run_again_when_a_run_goes_on(
    faulty: tuple[RunFolder, RunReport],
    benchmark_dataset: Dataset,
    one_task: Suite,
    tmp_path: Path,
) -> None:
    folder = RunFolder(Path(shutil.copytree(faulty[0].root, tmp_path / "runs")))
    changed = write_model(tmp_path / "models", "of_a_user")
    info = yaml.safe_load((changed / "model.yaml").read_text())
    text = yaml.safe_dump({**info, "config": {"shift_m": 3.0}})
    (changed / "model.yaml").write_text(text, encoding="utf-8")
    write_model(tmp_path / "models", "raises")  # repaired
    before = written(folder)
    runner = Runner(one_task, benchmark_dataset, folder.root)

    report = runner.run(
        chosen([*models_in(tmp_path / "models"), get_model("train_centroid")]),
        executor=ThisMachine(1),
    )

    assert (report.num_run, report.num_kept) == (2, 1)
    assert (report.failures, report.num_old_failures) == ((), len(FAULTS) - 1)
    after = written(folder)
    touched = {name.split("/")[2] for name in after if after[name] != before.get(name)}
    assert touched == {"of_a_user", "raises"}
    tables = {c.result.model: c.predictions for c in folder.cells()}
    shift_m = tables["of_a_user"][["x_m", "y_m"]] - tables["train_centroid"][["x_m", "y_m"]]
    np.testing.assert_allclose(np.hypot(*shift_m.to_numpy().T), np.hypot(3, 3), rtol=1e-9)


@pytest.mark.slow
def test_edited_and_removed_predictions_are_made_again_when_a_run_goes_on(
    copied: RunFolder, benchmark_dataset: Dataset, yard_suite: Suite
) -> None:
    before = written(copied)
    paths = sorted(copied.root.glob("cells/*/wknn/seed-*/predictions.parquet"))
    pd.read_parquet(paths[0]).assign(x_m=0.0).to_parquet(paths[0], index=False)
    paths[1].unlink()
    models = [get_model(name) for name in ("train_centroid", "wknn")]

    report = Runner(yard_suite, benchmark_dataset, copied.root).run(
        chosen(models), executor=ThisMachine(1)
    )

    assert (report.num_run, report.num_kept, report.failures) == (2, 14, ())
    after = written(copied)
    changed = {str(Path(name).parent) for name in after if after[name][0] != before[name][0]}
    assert changed == {str(path.parent.relative_to(copied.root)) for path in paths[:2]}
    for name, (_, content) in after.items():
        if name.endswith(".parquet"):
            assert content == before[name][1]


@pytest.mark.slow
def test_predictions_are_the_same_bits_when_two_processes_share_the_work(
    benchmark_run: RunFolder, benchmark_dataset: Dataset, yard_suite: Suite, tmp_path: Path
) -> None:
    models = [get_model(name) for name in ("wknn", "train_centroid")]

    Runner(yard_suite, benchmark_dataset, tmp_path / "runs").run(
        chosen(models), executor=ThisMachine(2)
    )

    one, two = written(benchmark_run), written(RunFolder(tmp_path / "runs"))
    assert set(one) == set(two)
    tables = [name for name in one if name.endswith(".parquet")]
    assert all(one[name][1] == two[name][1] for name in tables)


@pytest.mark.slow
def test_only_the_models_own_cell_fails_when_it_takes_its_process_down(
    measured_run: BeginRun, one_task: Suite, tmp_path: Path
) -> None:
    deaths = {"exits": "os._exit(3)", "is_killed": "os.kill(os.getpid(), signal.SIGKILL)"}
    for name, code in deaths.items():
        write_model(tmp_path / "models", name, fit=code)
    for name in ("after", "before", "later"):
        write_model(tmp_path / "models", name)
    runner = measured_run(one_task, tmp_path / "runs")

    report = runner.run(chosen(models_in(tmp_path / "models")), executor=ThisMachine(2))

    assert sorted(place.split("/")[-2] for place, _ in report.failures) == sorted(deaths)
    assert all("its process died (" in text for _, text in report.failures)
    finished = {cell.result.model for cell in RunFolder(tmp_path / "runs").cells()}
    assert {"after", "before", "later"} <= finished
    assert not finished & set(deaths)


def test_another_dataset_is_refused_with_the_command_that_makes_the_right_one(
    small_dataset: Dataset, yard_suite: Suite, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"make the right one with `raymark generate none --out DIR`$"
    ):
        Runner(yard_suite, small_dataset, tmp_path / "runs")

    assert not (tmp_path / "runs").exists()


def test_another_suite_is_refused_when_the_folder_holds_a_run(
    benchmark_run: RunFolder, benchmark_dataset: Dataset, one_task: Suite
) -> None:
    with pytest.raises(ConfigError, match=r"holds a run of another suite, version or dataset \('"):
        Runner(one_task, benchmark_dataset, benchmark_run.root)


def test_suite_has_another_hash_when_it_is_bound_to_another_dataset(
    small_dataset: Dataset, yard_suite: Suite
) -> None:
    content_hash = small_dataset.manifest.content_hash or ""

    bound = yard_suite.rebound(content_hash)

    assert bound.hash != yard_suite.hash
    assert bound.content_hash == content_hash
    assert "compare with no other board" in bound.description
    assert all(task.content_hash == content_hash for task in bound.tasks())


def test_two_models_of_one_name_are_refused() -> None:
    model = get_model("wknn")

    with pytest.raises(ConfigError, match="two of the models have the same name: wknn, wknn"):
        RunChoice(models=(model, model))


def test_nearest_track_is_offered_when_one_is_unknown(
    benchmark_dataset: Dataset, one_task: Suite, tmp_path: Path
) -> None:
    runner = Runner(one_task, benchmark_dataset, tmp_path / "runs")

    with pytest.raises(
        ConfigError, match=r"no track 'interpolatoin'; did you mean 'interpolation'"
    ):
        runner.run(RunChoice(models=(), tracks=("interpolatoin",)), executor=ThisMachine(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position_m": np.zeros((3, 2))}, r"position_m must have shape \(4, 2\), got \(3, 2\)"),
        ({"position_m": np.zeros((4, 3))}, r"position_m must have shape \(4, 2\), got \(4, 3\)"),
        (
            {"covariance_m2": np.zeros((4, 2))},
            r"covariance_m2 must have shape \(4, 2, 2\), got \(4, 2\)",
        ),
        (
            {"position_m": np.array([[0, 0], [0, 0], [0, np.inf], [np.nan, 0]])},
            r"position_m of test link 2 is not finite \(2 links\)",
        ),
        (
            {"position_m": np.zeros((4, 2), dtype="c8")},
            "must hold real numbers, got ndarray",
        ),
        ({"position_m": [[1, 2], [3], [4, 5], [6, 7]]}, "must be an array of numbers, got list"),
        ({"position_m": [["a", "b"]] * 4}, "must hold real numbers, got ndarray of <U1"),
        (
            {"covariance_m2": np.full((4, 2, 2), np.nan)},
            r"covariance_m2 of test link 0 is not finite \(4 links\)",
        ),
    ],
)
def test_prediction_is_refused_when_it_has_a_wrong_shape_or_value(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ScoringError, match=message):
        checked_prediction(unchecked(**{"position_m": np.zeros((4, 2)), **change}), 4)


def unchecked(**fields: Any) -> Prediction:
    """Return a prediction as a model makes it in its process, where no shape is checked."""
    prediction = object.__new__(Prediction)
    for name, value in {"covariance_m2": None, **fields}.items():
        object.__setattr__(prediction, name, value)
    return prediction


@pytest.mark.parametrize(
    "position_m",
    [
        torch.ones((4, 2), requires_grad=True),
        torch.ones((4, 2), dtype=torch.bfloat16),
        torch.ones((4, 2), dtype=torch.int32),
        [[1, 1]] * 4,
        np.ones((4, 2), dtype="f4"),
    ],
    ids=["needs a gradient", "bfloat16", "integers", "lists", "numpy"],
)
def test_tensors_and_lists_are_taken_as_positions(position_m: Any) -> None:
    prediction = checked_prediction(unchecked(position_m=position_m), 4)

    np.testing.assert_array_equal(prediction.position_m, np.ones((4, 2)))


@pytest.mark.parametrize("num_links", [0, 1])
def test_prediction_of_few_links_is_taken_as_it_is(num_links: int) -> None:
    covariance_m2 = np.tile(np.eye(2), (num_links, 1, 1))
    given = Prediction(position_m=np.zeros((num_links, 2)), covariance_m2=covariance_m2)

    found = checked_prediction(given, num_links)

    assert (found.position_m.shape, found.covariance_m2 is not None) == ((num_links, 2), True)


def test_tensor_is_told_apart_when_one_of_its_values_is_not_finite() -> None:
    position_m = torch.zeros((4, 2), requires_grad=True).clone()
    position_m[1, 0] = torch.nan

    with pytest.raises(ScoringError, match=r"position_m of test link 1 is not finite \(1 link\)"):
        checked_prediction(unchecked(position_m=position_m), 4)


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (np.zeros((4, 2)), r"ndarray of float64 with shape \(4, 2\)"),
        (torch.zeros(4, 2), r"Tensor of torch.float32 with shape \(4, 2\)"),
        (None, "None"),
        ((np.zeros((4, 2)), None), "tuple"),
    ],
    ids=["array", "tensor", "nothing", "tuple"],
)
def test_what_is_no_prediction_is_told_with_what_it_is(returned: object, got: str) -> None:
    with pytest.raises(
        ScoringError, match=rf"must return raymark.benchmark.Prediction\(.*\), got {got}$"
    ):
        checked_prediction(returned, 4)


def test_tuning_takes_the_least_mean_error_and_tells_all(
    benchmark_task: Callable[..., Task], load_benchmark_task: Callable[[Task], TaskData]
) -> None:
    validation = load_benchmark_task(benchmark_task("interpolation", "yard")).validation
    true_m = validation.position_m

    best, trials = tune([3.0, 1.0, 2.0], lambda x: true_m + np.array([x - 1.5, 0]), validation)

    assert best == 1.0
    assert trials == pytest.approx({"3.0": 1.5, "1.0": 0.5, "2.0": 0.5})
