"""Models that are kept: what agrees, what is refused, and new CSI that is measured as a survey."""

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from raymark.benchmark import checkpoint as checkpoint_module
from raymark.benchmark.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    TrainingSummary,
    open_checkpoint,
    write_checkpoint,
)
from raymark.benchmark.conditions import Conditions
from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.training import override_config, train_model
from raymark.dataset import Dataset
from raymark.errors import CheckpointError, ConfigError, ScoringError
from raymark.models import get_model

KEPT_CENTROID = """
import numpy as np

from raymark.benchmark import Localizer, Prediction


class Model(Localizer):
    def fit(self, train, validation):
        self.position_m = train.position_m.mean(axis=0) + self.config["shift_m"]

    def predict(self, test):
        position_m = np.tile(self.position_m, (len(test), 1))
        if self.config["fails"]:
            position_m[0] = np.nan
        return Prediction(position_m=position_m)

    def save(self, folder):
        np.save(folder / "position.npy", self.position_m)

    def load(self, folder):
        self.position_m = np.load(folder / "position.npy")
"""

SUMMARY = TrainingSummary(
    num_train=3,
    num_validation=2,
    fit_s=0.5,
    validation_mean_m=3.0,
    validation_median_m=2.0,
    validation_p90_m=9.0,
    num_parameters=2,
    choices={},
    history={"train_loss": [1.0]},
    diagnostics={},
    hardware="any",
)

Data = tuple[Task, TaskData]


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    folder = tmp_path / "models" / "kept_centroid"
    folder.mkdir(parents=True)
    info = {
        "title": "Kept centroid",
        "summary": "Made by a test.",
        "is_trajectory": False,
        "inputs": ["csi"],
        "tuning": "nothing",
        "config": {"shift_m": 0.0, "fails": False, "deep": {"er": 1}},
    }
    (folder / "model.py").write_text(KEPT_CENTROID, encoding="utf-8")
    (folder / "model.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    (folder / "card.md").write_text("# Kept\n", encoding="utf-8")
    return get_model(str(folder))


@pytest.fixture
def data(
    benchmark_task: Callable[..., Task], load_benchmark_task: Callable[[Task], TaskData]
) -> Data:
    task = benchmark_task("interpolation", "yard")
    return task, load_benchmark_task(task)


def keep(
    model: ModelFolder, data: Data, dataset: Dataset, folder: Path, **config: Any
) -> Checkpoint:
    chosen = override_config(model, config)
    localizer = chosen.create(7)
    localizer.fit(data[1].train, data[1].validation)
    return write_checkpoint(folder, chosen, localizer, data[0], dataset=dataset, training=SUMMARY)


def test_model_locates_as_before_when_it_was_kept_and_opened(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    made = keep(model, data, benchmark_dataset, tmp_path / "kept", shift_m=5.0)

    opened = open_checkpoint(tmp_path / "kept", model=model)

    expected_m = data[1].train.position_m.mean(axis=0) + 5.0
    prediction, ms_per_point = opened.locate_timed(data[1].test)
    np.testing.assert_array_equal(
        prediction.position_m, np.tile(expected_m, (len(data[1].test), 1))
    )
    np.testing.assert_array_equal(opened.locate(data[1].test).position_m, prediction.position_m)
    assert ms_per_point > 0
    assert opened.info == made.info
    assert (opened.info.seed, opened.localizer.seed) == (7, 7)
    assert opened.info.config == {"shift_m": 5.0, "fails": False, "deep": {"er": 1}}
    assert opened.info.task == data[0]
    assert opened.info.training == SUMMARY
    assert [band.name for band in opened.info.bands] == ["6GHz"]


def test_followed_model_locates_as_before_when_it_was_kept_and_opened(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    followed = get_model(f"{model.folder}+filter")
    made = keep(followed, data, benchmark_dataset, tmp_path / "kept", shift_m=5.0)

    for trusted in (model, followed):
        opened = open_checkpoint(tmp_path / "kept", model=trusted)
        np.testing.assert_array_equal(
            opened.locate(data[1].test).position_m, made.locate(data[1].test).position_m
        )
        assert opened.info.model == "kept_centroid+filter"
    with pytest.raises(CheckpointError, match=r"other code or settings of 'kept_centroid\+filter'"):
        open_checkpoint(tmp_path / "kept", model=get_model(f"{model.folder}+smoother"))


def test_followed_model_of_raymarks_own_is_found_by_its_name_when_it_was_kept(
    data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    small = {"training.epochs": 1, "network.width": 8, "network.num_neighbours": [1]}
    own = get_model("wknn_residual+smoother")
    made = keep(own, data, benchmark_dataset, tmp_path / "kept", **small)

    opened = open_checkpoint(tmp_path / "kept")

    np.testing.assert_array_equal(
        opened.locate(data[1].test).position_m, made.locate(data[1].test).position_m
    )


def test_bands_are_the_trained_and_the_tested_ones_when_cross_band(
    model: ModelFolder,
    benchmark_task: Callable[..., Task],
    load_benchmark_task: Callable[[Task], TaskData],
    benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:
    task = benchmark_task("cross-band", "yard")
    made = keep(model, (task, load_benchmark_task(task)), benchmark_dataset, tmp_path / "kept")

    assert [band.name for band in made.info.bands] == ["2.6GHz", "28GHz", "6GHz"]


def test_checkpoint_is_refused_when_measurements_are_made_otherwise_today(
    monkeypatch: pytest.MonkeyPatch,
    model: ModelFolder,
    data: Data,
    benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:
    keep(model, data, benchmark_dataset, tmp_path / "kept")
    monkeypatch.setattr(checkpoint_module, "MEASURING_VERSION", 99)

    message = "of MEASURING_VERSION 1, this raymark makes those of 99; train 'kept_centroid' again"
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "kept", model=model)


def test_checkpoint_is_refused_when_the_models_code_has_changed(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    keep(model, data, benchmark_dataset, tmp_path / "kept")
    with (model.folder / "model.py").open("a", encoding="utf-8") as file:
        file.write("EDITED = True\n")

    with pytest.raises(CheckpointError, match="other code or settings of 'kept_centroid' than tho"):
        open_checkpoint(tmp_path / "kept", model=model)


def test_checkpoint_runs_no_code_when_it_names_some_and_nobody_trusts_it(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    keep(model, data, benchmark_dataset, kept)
    inside = shutil.copytree(model.folder, kept / "kept_centroid")
    ran = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    (inside / "model.py").write_text(ran + KEPT_CENTROID, encoding="utf-8")
    path = kept / CHECKPOINT_NAME
    written = json.loads(path.read_text(encoding="utf-8"))
    claimed = {
        "of a user": {"model_folder": str(inside)},
        "as shipped": {"model_folder": "", "module": "raymark.models.kept_centroid.model"},
        "installed": {"model_folder": "", "module": "kept_centroid.model"},
        "elsewhere": {"module": "raymark.models...kept.kept_centroid.model"},
    }

    for change in claimed.values():
        path.write_text(json.dumps(written | change), encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"--trust-code DIR|this raymark has no model"):
            open_checkpoint(kept)
    assert not (tmp_path / "ran").exists()

    path.write_text(json.dumps(written), encoding="utf-8")
    moved = model.folder.rename(tmp_path / "kept_centroid")
    opened = open_checkpoint(kept, model=get_model(str(moved)))
    assert opened.info.model == "kept_centroid"


@pytest.mark.parametrize("name", ["position.npy", "measurements/ab.npz"])
def test_checkpoint_is_refused_when_a_file_that_it_carries_was_changed(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path, name: str
) -> None:
    kept = tmp_path / "kept"
    (kept / "measurements").mkdir(parents=True)
    np.savez(kept / "measurements" / "ab.npz", gain_db=np.zeros(3))
    made = keep(model, data, benchmark_dataset, kept)
    assert made.holds(kept / name)
    assert not made.holds(kept / "measurements" / "other.npz")
    (kept / name).write_bytes((kept / name).read_bytes()[:-1])

    with pytest.raises(CheckpointError, match=rf"{name}: the file was changed after the training"):
        open_checkpoint(kept, model=model)


def test_checkpoint_needs_its_weights_and_not_its_measurements_when_files_are_gone(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    (kept / "measurements").mkdir(parents=True)
    (kept / "measurements" / "ab.npz").touch()
    keep(model, data, benchmark_dataset, kept)
    shutil.rmtree(kept / "measurements")

    assert open_checkpoint(kept, model=model).info.model == "kept_centroid"
    (kept / "position.npy").unlink()
    with pytest.raises(CheckpointError, match=r"position\.npy: the file is missing; train the mod"):
        open_checkpoint(kept, model=model)


def test_checkpoint_is_refused_with_a_sentence_when_its_model_cannot_read_it(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    keep(model, data, benchmark_dataset, kept)
    (kept / "position.npy").write_bytes(b"nonsense")
    path = kept / CHECKPOINT_NAME
    written = json.loads(path.read_text(encoding="utf-8"))
    written["files"]["position.npy"] = hashlib.sha256(b"nonsense").hexdigest()
    path.write_text(json.dumps(written), encoding="utf-8")

    with pytest.raises(CheckpointError, match="what 'kept_centroid' has kept there cannot"):
        open_checkpoint(kept, model=model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no checkpoint .checkpoint.json is missing.; make one with `raymark train"),
        ("{", "checkpoint.json cannot be read: .*Expecting property name"),
        ("[1]", "checkpoint.json cannot be read"),
        ("[" * 100_000, "checkpoint.json cannot be read"),
        ("{}", "checkpoint.json cannot be read: missing key at .*: model"),
    ],
)
def test_folder_is_refused_when_it_holds_no_checkpoint(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / CHECKPOINT_NAME).write_text(text, encoding="utf-8")

    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path)


def test_checkpoint_is_no_more_when_keeping_it_again_fails(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    keep(model, data, benchmark_dataset, tmp_path / "kept")
    (tmp_path / "kept" / "position.npy").unlink()
    (tmp_path / "kept" / "position.npy").mkdir()

    with pytest.raises(IsADirectoryError, match="position"):
        keep(model, data, benchmark_dataset, tmp_path / "kept")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        open_checkpoint(tmp_path / "kept", model=model)


def test_links_are_refused_when_their_panel_or_band_is_another(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    made = keep(model, data, benchmark_dataset, tmp_path / "kept")
    test = data[1].test
    panel = test.sites[0].panel.model_copy(update={"num_rows": 2})
    site = dataclasses.replace(test.sites[0], panel=panel)
    band = test.bands[0].model_copy(update={"bandwidth_hz": 1e8})

    with pytest.raises(CheckpointError, match="site yard/west has another panel than the front-en"):
        made.locate(dataclasses.replace(test, sites=(site,)))
    with pytest.raises(
        CheckpointError, match=r"6GHz: 64 tones over 50 MHz\), got 6GHz: 64 tones o"
    ):
        made.locate(dataclasses.replace(test, bands=(band,)))


def test_prediction_is_refused_when_it_is_not_finite(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    made = keep(model, data, benchmark_dataset, tmp_path / "kept", fails=True)

    with pytest.raises(ScoringError, match="position_m of test link 0 is not finite"):
        made.locate(data[1].test)


@pytest.mark.parametrize("method", ["save", "load"])
def test_one_sentence_tells_when_a_model_keeps_no_checkpoint(tmp_path: Path, method: str) -> None:
    localizer = get_model("train_centroid").create(0)

    assert not localizer.keeps_checkpoints
    with pytest.raises(CheckpointError, match="model 'train_centroid' keeps no checkpoint: its mo"):
        getattr(localizer, method)(tmp_path)


def test_settings_are_changed_in_place_when_they_are_nested(model: ModelFolder) -> None:
    changed = override_config(model, {"deep.er": 4, "shift_m": 1.5})

    assert changed.info.config == {"shift_m": 1.5, "fails": False, "deep": {"er": 4}}
    assert model.info.config["deep"] == {"er": 1}


@pytest.mark.parametrize("key", ["shift", "deep.x", "shift_m.x", "no.thing"])
def test_setting_is_refused_when_the_model_has_none_of_that_name(
    model: ModelFolder, key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"no setting '{key}'.*\(it has: deep, deep.er, fails"):
        override_config(model, {key: 1})


def test_setting_of_the_same_level_is_offered_when_a_nested_one_is_misspelt(
    model: ModelFolder,
) -> None:
    with pytest.raises(ConfigError, match=r"no setting 'deep.err'; did you mean 'deep.er'\?"):
        override_config(model, {"deep.err": 1})


def test_checkpoint_is_plain_json_when_read_by_others(
    model: ModelFolder, data: Data, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    keep(model, data, benchmark_dataset, tmp_path / "kept")

    written = json.loads((tmp_path / "kept" / CHECKPOINT_NAME).read_text(encoding="utf-8"))

    assert written["task_id"] == "tests/interpolation/yard/6GHz@1"
    assert written["content_hash"] == benchmark_dataset.manifest.content_hash
    assert {"raymark", "torch"} <= set(written["software"])


def test_checkpoint_is_refused_when_the_task_has_a_link_budget_of_its_own(
    benchmark_task: Callable[..., Task], benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    plain = benchmark_task("interpolation", "yard")
    task = plain.model_copy(update={"conditions": Conditions(noise="none")})

    with pytest.raises(ConfigError, match="has a link budget of its own, and a checkpoint"):
        train_model(get_model("wknn"), task, benchmark_dataset, tmp_path / "made", seed=0)
    assert not (tmp_path / "made").exists()
