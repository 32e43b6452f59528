"""`raymark train` and `raymark predict` as a user meets them, with a small network on CSI."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from command_line import raymark as command_line

from raymark.benchmark.checkpoint import open_checkpoint, read_checkpoint_info
from raymark.benchmark.measuring import measure
from raymark.benchmark.site_frames import world_frame_positions as to_world
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task, load_suite
from raymark.benchmark.task_data import load_task
from raymark.benchmark.task_links import surveys_of, truth_of
from raymark.dataset import Dataset
from raymark.models import get_model

FINISHED, BAD_INPUT, INTERRUPTED = 0, 2, 130
TASK = "tests/interpolation/yard/6GHz"

TINY_NETWORK = """
import numpy as np
import torch

from raymark.benchmark import Localizer, Prediction


class Model(Localizer):
    def fit(self, train, validation):
        self.network = self._make()
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config["rate"])
        target = torch.from_numpy(train.position_m).float() / 50
        generator = torch.Generator().manual_seed(self.seed)
        path = self.resume_folder / "state.pt"
        first = 0
        if path.exists():
            state = torch.load(path, weights_only=True)
            first = state.pop("epoch")
            self.history = state.pop("history")
            self.network.load_state_dict(state)
        for epoch in range(first, self.config["epochs"]):
            csi = train.channels.csi(np.arange(len(train)), generator)
            loss = (self.network(features(csi)) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.history.setdefault("train_loss", []).append(float(loss.detach()))
            difference_m = self._at(validation.measurements) - validation.position_m
            error_m = np.hypot(*difference_m.T).mean()
            self.history.setdefault("validation_error_m", []).append(float(error_m))
            state = {"epoch": epoch + 1, "history": self.history}
            torch.save(state | self.network.state_dict(), path)
            self.on_progress(epoch + 1, self.config["epochs"], f"validation {error_m:.2f} m")
            if epoch + 1 == self.config["stop_at"]:
                (self.resume_folder / "stopped").touch()
                raise KeyboardInterrupt
        self.num_parameters = sum(p.numel() for p in self.network.parameters())

    def predict(self, test):
        return Prediction(position_m=self._at(test))

    def save(self, folder):
        torch.save(self.network.state_dict(), folder / "weights.pt")

    def load(self, folder):
        self.network = self._make()
        self.network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))

    def _make(self):
        torch.manual_seed(self.seed)
        return torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))

    @torch.no_grad()
    def _at(self, links):
        csi = torch.from_numpy(links.csi(np.arange(len(links))))
        return 50 * self.network(features(csi)).double().numpy()


def features(csi):
    return csi.abs().mean(dim=2).log10() + 5
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Train = Callable[..., Result]


def raymark(*arguments: object) -> Result:
    """Run a command; what it printed comes as words with a space between."""
    done = command_line(*arguments)
    return Result(done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split()))


@pytest.fixture(autouse=True)
def _measured_once(monkeypatch: pytest.MonkeyPatch, benchmark_measurements: Path) -> None:
    """Keep measurements in one folder for all trainings: an absolute name leads there."""
    for module in ("training", "locating"):
        name = f"raymark.benchmark.{module}.MEASUREMENTS_NAME"
        monkeypatch.setattr(name, str(benchmark_measurements))


@pytest.fixture
def suite_file(yard_suite: Suite, tmp_path: Path) -> Path:
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump(yard_suite.model_dump(mode="json")), encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "tiny_network"
    folder.mkdir(parents=True)
    info = {
        "title": "Tiny network",
        "summary": "Made by a test.",
        "is_trajectory": False,
        "inputs": ["csi"],
        "tuning": "nothing",
        "config": {"epochs": 4, "rate": 0.01, "stop_at": None},
    }
    (folder / "model.py").write_text(TINY_NETWORK, encoding="utf-8")
    (folder / "model.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    (folder / "card.md").write_text("# Tiny\n", encoding="utf-8")
    return folder


@pytest.fixture
def train(suite_file: Path, benchmark_dataset: Dataset) -> Train:
    def run(model: object, out: Path, *more: object, task: str = TASK) -> Result:
        asked = ["--task", task, "--suite", suite_file, "--data", benchmark_dataset.folder]
        return raymark("train", model, *asked, "--out", out, *more)

    return run


def test_trained_model_locates_the_test_links_as_in_a_run_when_it_is_used(
    train: Train,
    model: Path,
    suite_file: Path,
    benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:
    out, data = tmp_path / "trained", benchmark_dataset.folder

    trained = train(model, out, "--set", "epochs=3", "--seed", 1)
    refused = raymark("predict", out, "--data", data, "--out", tmp_path / "positions.csv")
    asked = ["predict", out, "--data", data, "--trust-code", model]
    located = raymark(*asked, "--out", tmp_path / "positions.csv")

    assert trained.code == FINISHED, trained.err
    assert f"tiny_network on {TASK}@1, seed 1" in trained.out
    assert "parameters 154" in trained.out
    assert "test" not in trained.out.split("next:")[0].replace("tests/", "")
    info = read_checkpoint_info(out)
    assert f"mean {info.training.validation_mean_m:.3g} m" in trained.out
    assert info.config == {"epochs": 3, "rate": 0.01, "stop_at": None}
    curves = pd.read_csv(out / "learning_curves.csv", index_col="epoch")
    assert curves.index.tolist() == [1, 2, 3]
    assert curves["train_loss"].tolist() == pytest.approx(info.training.history["train_loss"])
    assert (out / "learning_curves.png").stat().st_size > 1000

    assert refused.code == BAD_INPUT
    assert "does not ship with raymark" in refused.err
    assert f"--trust-code {model}" in trained.out
    assert located.code == FINISHED, located.err
    assert "links number mean [m] median [m] P90 [m] train" in located.out
    assert "ms a link" in located.out
    task = load_suite(str(suite_file)).tasks()[0]
    assert f"{task.scene} of" not in located.out
    assert "links belong to the part that the model was trained on" in located.out
    positions = pd.read_csv(tmp_path / "positions.csv")
    assert list(positions.columns) == ["site", "ue_index", "x_m", "y_m"]
    assert len(positions) == 160
    expected = positions_in_a_run(task, benchmark_dataset, out, model)
    found = expected.merge(positions, on=["site", "ue_index"], suffixes=("_run", ""))
    assert len(found) == len(expected) > 0
    # Float32 of coordinates of some 100 m, in batches of another size.
    for name in ("x_m", "y_m"):
        np.testing.assert_allclose(found[name], found[f"{name}_run"], atol=1e-4)


def positions_in_a_run(task: Task, dataset: Dataset, out: Path, model: Path) -> pd.DataFrame:
    """Locate the test links of a task, as a run loads them."""
    kept = out.parent / "kept"
    for survey in surveys_of(task, 1):
        measure(survey, dataset, kept, with_csi=True)
    splits = Splits(dataset, task.window_size)
    test = load_task(task, 1, dataset, splits, kept, with_csi=True).test
    truth = truth_of(task, dataset, splits)
    sites = dataset.select(scene=task.scene, band=task.band).sites
    site_index = np.array([[s.site for s in sites].index(name) for name in truth["site"]])
    opened = open_checkpoint(out, model=get_model(str(model)))
    position_m = to_world(opened.locate(test).position_m, site_index, sites)
    return truth[["site", "ue_index"]].assign(x_m=position_m[:, 0], y_m=position_m[:, 1])


def test_training_goes_on_when_it_was_interrupted(
    train: Train, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "trained"
    changed = ["--set", "stop_at=2"]

    stopped = train(model, out, *changed)
    again = train(model, out, *changed)

    assert stopped.code == INTERRUPTED
    assert "interrupted; nothing is lost: run the same command to go on in" in stopped.err
    assert again.code == FINISHED, again.err
    assert len(read_checkpoint_info(out).training.history["train_loss"]) == 4


def test_training_tells_file_and_line_and_keeps_the_traceback_when_a_model_raises(
    train: Train, model: Path, tmp_path: Path
) -> None:
    folder, out = model.rename(model.with_name("tiny_broken")), tmp_path / "out"
    lines = TINY_NETWORK.splitlines()
    line = 1 + next(i for i, text in enumerate(lines) if "optimizer = " in text)

    result = train(folder, out, "--set", "rate=fast")

    assert result.code == BAD_INPUT
    assert (
        f" at {folder}/model.py:{line} in fit; the whole traceback is in {out}/failure.txt"
    ) in result.err
    noted = (out / "failure.txt").read_text(encoding="utf-8")
    assert noted.startswith("Traceback (most recent call last):")
    assert "torch/optim" in noted  # the line below, which is none of the model's


def test_shipped_model_says_so_in_one_sentence_when_it_keeps_no_checkpoint(
    train: Train, tmp_path: Path
) -> None:
    result = train("train_centroid", tmp_path / "out")

    assert result.code == BAD_INPUT
    assert "error: model 'train_centroid' keeps no checkpoint: its model.py defines" in result.err
    assert not (tmp_path / "out").exists()


def test_training_is_refused_with_one_sentence_when_input_is_wrong(
    train: Train, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = train(model, tmp_path / "done", "--set", "epochs=1")
    train(model, tmp_path / "begun", "--set", "stop_at=1")
    results = {
        "unknown model 'wkn'; did you mean 'wknn'?": train("wkn", tmp_path / "a"),
        "unknown task 'tests/interpolation/yard/5GHz'; did you mean 'tests/": train(
            model, tmp_path / "a", task="tests/interpolation/yard/5GHz"
        ),
        "has no setting 'epoch'; did you mean 'epochs'?": train(
            model, tmp_path / "a", "--set", "epoch=3"
        ),
        "--set must be KEY=VALUE, got 'epochs'": train(model, tmp_path / "a", "--set", "epochs"),
        "full is in the way: it holds no training": train(model, tmp_path / "full"),
        "done holds a finished checkpoint; use it with `raymark predict`": train(
            model, tmp_path / "done", "--set", "epochs=1"
        ),
        "that differs in config, seed; choose another folder": train(
            model, tmp_path / "begun", "--seed", 3
        ),
    }

    assert done.code == FINISHED, done.err
    for message, result in results.items():
        assert result.code == BAD_INPUT
        assert f"{message}" in result.err
        assert "Traceback" not in result.err
    assert not (tmp_path / "a").exists()


def test_dataset_is_told_apart_when_it_is_not_the_suites_own(
    suite_file: Path, model: Path, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    suite: dict[str, Any] = yaml.safe_load(suite_file.read_text(encoding="utf-8"))
    suite_file.write_text(yaml.safe_dump(suite | {"content_hash": "ff"}), encoding="utf-8")
    asked = ["--task", TASK, "--suite", suite_file, "--data", benchmark_dataset.folder]
    asked += ["--out", tmp_path / "out", "--set", "epochs=1"]

    refused = raymark("train", model, *asked)
    bound = raymark("train", model, *asked, "--any-data")

    assert refused.code == BAD_INPUT
    assert "add --any-data" in refused.err
    assert bound.code == FINISHED, bound.err
    assert read_checkpoint_info(tmp_path / "out").content_hash != "ff"


def test_prediction_is_refused_with_one_sentence_when_input_is_wrong(
    train: Train,
    model: Path,
    benchmark_dataset: Dataset,
    small_dataset: Dataset,
    tmp_path: Path,
) -> None:
    out = tmp_path / "trained"
    data = ["--data", benchmark_dataset.folder, "--trust-code", model]
    assert train(model, out, "--set", "epochs=1").code == FINISHED
    (tmp_path / "there.csv").touch()
    file = tmp_path / "positions.parquet"
    canyon = ["--data", small_dataset.folder, "--scene", "street_canyon", "--trust-code", model]
    results = {
        "holds no checkpoint (checkpoint.json is missing)": (tmp_path, *data, "--out", file),
        "has no scene 'yards'; did you mean 'yard'?": (
            *(out, *data),
            *("--scene", "yards", "--out", file),
        ),
        "(6GHz: 64 tones over 50 MHz), got 28GHz": (out, *data, "--band", "28GHz", "--out", file),
        "has a panel of 8 x 8 'tr38901' elements, 'tiny_network' was trained with 4 x 4": (
            *(out, *canyon),
            *("--out", file),
        ),
        "there.csv exists; choose another name or add --overwrite": (
            *(out, *data),
            *("--out", tmp_path / "there.csv"),
        ),
        "positions are written as .parquet or .csv": (out, *data, "--out", tmp_path / "x.txt"),
    }

    for message, arguments in results.items():
        result = raymark("predict", *arguments)
        assert result.code == BAD_INPUT, result.out
        assert message in result.err
    assert not file.exists()


@pytest.mark.slow
def test_links_of_another_scene_are_located_when_it_is_named(
    train: Train, model: Path, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    out, file = tmp_path / "trained", tmp_path / "positions.parquet"
    train(model, out, "--set", "epochs=1")
    asked = ["predict", out, "--data", benchmark_dataset.folder, "--scene", "street_canyon"]
    asked += ["--trust-code", model]

    first = raymark(*asked, "--out", file)
    before = pd.read_parquet(file)
    again = raymark(*asked, "--out", file, "--overwrite", "--seed", 9)

    assert (first.code, again.code) == (FINISHED, FINISHED), first.err + again.err
    assert f"is not in task {TASK}@1: no link is known to be one that the model" in first.out
    assert "was trained on: their error" not in first.out
    assert len(before) == 80
    after = pd.read_parquet(file)
    assert (before["ue_index"] == after["ue_index"]).all()
    assert (before["x_m"] != after["x_m"]).any()


def test_network_of_the_tests_learns_when_it_is_trained(
    train: Train, model: Path, tmp_path: Path
) -> None:
    """A canary: the epochs above do change what is kept."""
    train(model, tmp_path / "out")

    loss = read_checkpoint_info(tmp_path / "out").training.history["train_loss"]
    assert torch.tensor(loss).diff().max() < 0
