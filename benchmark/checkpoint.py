"""Fitted models that are kept: a folder that says what was fitted, on what, and with which code."""

import importlib.util
import inspect
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from raymark.benchmark.following import SEPARATOR, FollowingModel, Method
from raymark.benchmark.localizer import Localizer, ModelFolder, Prediction, read_model_folder
from raymark.benchmark.measurements import Input, Measurements
from raymark.benchmark.measuring import MEASURING_VERSION
from raymark.benchmark.model_code import model_hash
from raymark.benchmark.model_errors import told_by_line
from raymark.benchmark.predictions import checked_prediction
from raymark.benchmark.software import software_versions
from raymark.benchmark.task import Task
from raymark.config import Strict, config_hash, read_json, validate
from raymark.dataset import Dataset
from raymark.errors import CheckpointError, ConfigError, sentence_of
from raymark.radio import Band, FrontEnd
from raymark.storage import file_sha256, write_text

CHECKPOINT_NAME = "checkpoint.json"
MEASUREMENTS_NAME = "measurements"

_SHIPPED = "raymark.models"
"""The package of the models that ship with raymark."""


class TrainingSummary(Strict):
    """How the training went, on training and validation links alone."""

    num_train: int
    num_validation: int
    fit_s: float = Field(description="Time of `fit`; of its last part, if it was interrupted [s]")
    validation_mean_m: float
    validation_median_m: float
    validation_p90_m: float
    num_parameters: int | None
    choices: dict[str, Any]
    history: dict[str, list[float]]
    diagnostics: dict[str, Any]
    hardware: str


class CheckpointInfo(Strict):
    """`checkpoint.json`: all that must agree before the files beside it mean anything."""

    schema_version: Literal[3] = 3
    model: str
    title: str
    module: str = Field(description="Name under which Python imports its `model.py`")
    model_folder: str = Field(
        description="Where a model lay that does not ship with raymark: to be told, never opened"
    )
    model_hash: str
    config: dict[str, Any]
    inputs: tuple[Input, ...]
    seed: int
    task_id: str
    task_hash: str
    suite: str
    content_hash: str
    task: Task
    front_end: FrontEnd
    bands: tuple[Band, ...] = Field(description="Those that the task trains on, and tests")
    measuring_version: int
    software: dict[str, str]
    training: TrainingSummary
    files: dict[str, str] = Field(description="SHA-256 of every other file, by its name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A fitted model, ready to locate links.

    Attributes:
        folder: Where it lies.
        info: Its `checkpoint.json`.
        localizer: The model, with what it has learnt.
    """

    folder: Path
    info: CheckpointInfo
    localizer: Localizer

    def holds(self, path: Path) -> bool:
        """Tell whether a file came with the checkpoint, as it was when it was written."""
        return path.is_relative_to(self.folder) and _name(path, self.folder) in self.info.files

    def locate(self, measurements: Measurements) -> Prediction:
        """Return the position of every link, in the frame of its site.

        Raises:
            CheckpointError: If the links have another panel or band than the model knows.
            ScoringError: If the model returns something that is no position.
            WorkError: If the model raises; its file and line are named.
        """
        return self.locate_timed(measurements)[0]

    def locate_timed(self, measurements: Measurements) -> tuple[Prediction, float]:
        """Return what `locate` does, and how long it took for each link [ms]."""
        for site in measurements.sites:
            if site.panel != self.info.front_end.panel:
                raise CheckpointError(
                    f"site {site.name} has another panel than the front-end that "
                    f"'{self.info.model}' was trained with; use links of the same panel"
                )
        for band in measurements.bands:
            self.require_band(band)
        start = time.perf_counter()
        with told_by_line(Path(inspect.getfile(type(self.localizer))).parent):
            returned = self.localizer.predict(measurements)
        elapsed_s = time.perf_counter() - start
        prediction = checked_prediction(returned, len(measurements))
        return prediction, 1e3 * elapsed_s / max(len(measurements), 1)

    def require_band(self, band: Band) -> None:
        """Check that a band is one that the task trains on or tests.

        Raises:
            CheckpointError: If it is not, or differs in anything but its name.
        """
        if band not in self.info.bands:
            known = ", ".join(_described(each) for each in self.info.bands)
            raise CheckpointError(
                f"'{self.info.model}' in {self.folder} knows the bands of task "
                f"{self.info.task_id} ({known}), got {_described(band)}; train one for that band"
            )


def write_checkpoint(
    folder: Path,
    model: ModelFolder,
    localizer: Localizer,
    task: Task,
    *,
    dataset: Dataset,
    training: TrainingSummary,
) -> Checkpoint:
    """Keep a fitted model; `checkpoint.json` is written last, so that it stands for all files.

    Args:
        folder: Gets `checkpoint.json` and whatever the model saves.
        model: The model's folder.
        localizer: The fitted model.
        task: What it was fitted on.
        dataset: The dataset of the task.
        training: How it went.

    Raises:
        CheckpointError: If the model cannot be kept.
    """
    names = dict.fromkeys([links.band for links in task.train] + [task.band])
    path = folder / CHECKPOINT_NAME
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with told_by_line(model.folder):
        localizer.save(folder)
    info = CheckpointInfo(
        model=model.name,
        title=model.info.title,
        module=model.module,
        model_folder="" if model.is_shipped else str(model.folder),
        model_hash=model_hash(model),
        config=localizer.config,
        inputs=model.info.inputs,
        seed=localizer.seed,
        task_id=task.id,
        task_hash=config_hash(task),
        suite=f"{task.suite}@{task.version}",
        content_hash=task.content_hash,
        task=task,
        front_end=dataset.manifest.campaign.front_end_at(dataset.band(task.band)),
        bands=tuple(dataset.band(name) for name in names),
        measuring_version=MEASURING_VERSION,
        software=software_versions(),
        training=training,
        files=_hashes_in(folder),
    )
    write_text(path, json.dumps(info.model_dump(mode="json"), indent=1) + "\n")
    return Checkpoint(folder=folder, info=info, localizer=localizer)


def open_checkpoint(folder: str | Path, *, model: ModelFolder | None = None) -> Checkpoint:
    """Open a fitted model; a checkpoint does not choose what code runs.

    Args:
        folder: Where `write_checkpoint` has put it.
        model: Its model folder, which whoever opens it trusts; needed if it does not ship with
            raymark. Of a model that was followed along tracks, that of the model will do.

    Raises:
        CheckpointError: If there is none, its files were changed, it was made by other code or
            estimates, or its model is a user's own and was not given.
    """
    folder = Path(folder)
    info = read_checkpoint_info(folder)
    if info.measuring_version != MEASURING_VERSION:
        raise CheckpointError(
            f"{folder} was trained on measurements of MEASURING_VERSION {info.measuring_version}, "
            f"this raymark makes those of {MEASURING_VERSION}; train '{info.model}' again"
        )
    model = _followed_as(info.model, model or _shipped_model(info, folder))
    if model.name != info.model or model_hash(model) != info.model_hash:
        raise CheckpointError(
            f"{folder} was trained by other code or settings of '{info.model}' than those in "
            f"{model.folder} and in what it imports; train it again, or go back to the code of "
            f"{_commit(info)}"
        )
    _require_whole(folder, info)
    localizer = model.with_config(info.config).create(info.seed)
    try:
        with told_by_line(model.folder):
            localizer.load(folder)
    except Exception as error:  # of the model's own code, on files of anybody's
        raise CheckpointError(
            f"{folder}: what '{info.model}' has kept there cannot be read "
            f"({sentence_of(error)}); train it again"
        ) from error
    return Checkpoint(folder=folder, info=info, localizer=localizer)


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """Read what a checkpoint says of itself, without its model.

    Raises:
        CheckpointError: If the folder holds none, or one that cannot be read.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no checkpoint ({CHECKPOINT_NAME} is missing); make one with "
            f"`raymark train MODEL --task TASK --data DIR --out {folder}`"
        )
    try:
        return validate(CheckpointInfo, read_json(path), where=str(path))
    except ConfigError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _followed_as(name: str, model: ModelFolder) -> ModelFolder:
    """Return a model, followed along tracks if that makes it the one of a name."""
    for method in get_args(Method):
        if name == f"{model.name}{SEPARATOR}{method}":
            return FollowingModel.of(model, method)
    return model


def _shipped_model(info: CheckpointInfo, folder: Path) -> ModelFolder:
    """Find a model that ships with raymark; of no other is the code run that a file names."""
    name = info.model.partition(SEPARATOR)[0]
    if info.module != f"{_SHIPPED}.{name}.model" or not name.isidentifier():
        raise CheckpointError(
            f"{folder} is of the model '{info.model}', which does not ship with raymark (it lay in "
            f"{info.model_folder}); read its code, and name its folder: --trust-code DIR (in "
            "Python: open_checkpoint(..., model=get_model(DIR)))"
        )
    try:
        spec = importlib.util.find_spec(_SHIPPED)
        places = list(spec.submodule_search_locations or ()) if spec else []
        return read_model_folder(Path(places[0]) / name, package=_SHIPPED)
    except (ConfigError, ImportError, IndexError) as error:
        raise CheckpointError(
            f"this raymark has no model '{name}', of which {folder} is: {error}"
        ) from error


def _require_whole(folder: Path, info: CheckpointInfo) -> None:
    """Check the files of a checkpoint; measurements may be gone, they are made again."""
    found = _hashes_in(folder)
    for name, sha256 in info.files.items():
        if name not in found and not name.startswith(f"{MEASUREMENTS_NAME}/"):
            raise CheckpointError(f"{folder / name}: the file is missing; train the model again")
        if found.get(name, sha256) != sha256:
            raise CheckpointError(
                f"{folder / name}: the file was changed after the training; train the model again"
            )


def _hashes_in(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {_name(p, folder): file_sha256(p) for p in files if p != folder / CHECKPOINT_NAME}


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _described(band: Band) -> str:
    return f"{band.name}: {band.num_subcarriers} tones over {band.bandwidth_hz / 1e6:g} MHz"


def _commit(info: CheckpointInfo) -> str:
    commit = info.software.get("commit")
    return f"commit {commit[:12]}" if commit else f"raymark {info.software['raymark']}"
