"""Train one model on one task, outside a run: resumable, kept as a checkpoint."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from raymark.benchmark.checkpoint import (
    CHECKPOINT_NAME,
    MEASUREMENTS_NAME,
    Checkpoint,
    TrainingSummary,
    write_checkpoint,
)
from raymark.benchmark.localizer import Localizer, ModelFolder
from raymark.benchmark.measurements import Labelled
from raymark.benchmark.measuring import is_measured, measure
from raymark.benchmark.metrics import point_errors
from raymark.benchmark.model_code import model_hash
from raymark.benchmark.model_errors import told_by_line
from raymark.benchmark.predictions import checked_prediction
from raymark.benchmark.run_cells import require_maps_for, require_task_for
from raymark.benchmark.site_fusion import FusedModel
from raymark.benchmark.store import FAILURE_NAME
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import cities_of, load_training
from raymark.benchmark.task_links import training_surveys_of
from raymark.benchmark.worker import report_of
from raymark.config import Strict, config_hash, nearest, read_json, validate
from raymark.dataset import Dataset
from raymark.errors import CheckpointError, ConfigError
from raymark.plots import draw_learning_curves, save_figure
from raymark.storage import write_text

REQUEST_NAME = "training.json"
CURVES_NAME = "learning_curves"

TrainingProgress = Callable[[str, int, int, str], None]
"""Called with a stage, how much of it is done, how much there is, and a short text."""


class TrainingRequest(Strict):
    """`training.json`: what is being trained in a folder."""

    model: str
    model_hash: str
    config: dict[str, Any]
    seed: int
    task_id: str
    task_hash: str


def train_model(  # noqa: PLR0913 - the choices of the command line
    model: ModelFolder,
    task: Task,
    dataset: Dataset,
    folder: Path,
    *,
    seed: int,
    maps: Path | None = None,
    progress: TrainingProgress = lambda _stage, _done, _total, _text: None,
) -> Checkpoint:
    """Fit a model on the training links of a task and keep it; nothing of the test is read.

    The same call goes on where an interrupted one stopped: measurements are kept, and so is the
    state of the models that keep theirs.

    Args:
        model: What to fit.
        task: On which links.
        dataset: The dataset of the task.
        folder: Gets measurements, learning curves and the checkpoint.
        seed: Of the noise, of the draw of shots, of the model and of its map.
        maps: Folder of maps, for a model that knows the city.
        progress: Told how far each stage is.

    Raises:
        CheckpointError: If the model keeps no checkpoint, or the folder holds something else.
        ConfigError: If the model knows the city and its map is missing, it reads none and there
            are maps, or the task has a link budget of its own, under which `raymark predict` would
            not measure.
        DatasetError: If the dataset lacks a scene or band of the task.
        SplitError: If a split cannot be made of it, or differs from the published one.
        WorkError: If the model raises; its file and line are named, and the traceback is kept.
    """
    if task.training_conditions is not None:
        raise ConfigError(
            f"task {task.id} has a link budget of its own, and a checkpoint measures by the "
            "dataset's: train on a task without 'conditions', or run the suite"
        )
    require_task_for(model, [task])
    require_maps_for([model], maps)
    with told_by_line(model.folder):
        localizer = model.create(seed)
    if not localizer.keeps_checkpoints:
        raise CheckpointError(_keeps_none(model))  # before an hour is spent
    splits = Splits(dataset, task.window_size)
    splits.require([task])
    cities = {}
    if model.needs_map:
        cities = cities_of(task, seed, dataset, maps, task.scenes)
    _claim(folder, model, task, seed)
    with_csi = "csi" in model.info.inputs
    kept = folder / MEASUREMENTS_NAME
    _measure(task, seed, dataset, kept, with_csi=with_csi, progress=progress)
    train, validation = load_training(task, seed, dataset, splits, kept, with_csi=with_csi)
    train, validation = train.with_cities(cities), validation.with_cities(cities)
    localizer.resume_folder = folder
    localizer.on_progress = lambda done, total, text: progress("train", done, total, text)
    torch.manual_seed(seed)
    start = time.perf_counter()
    with told_by_line(model.folder, traceback_file=folder / FAILURE_NAME):
        localizer.fit(train, validation)
        training = _summary(localizer, train, validation, fit_s=time.perf_counter() - start)
    (folder / FAILURE_NAME).unlink(missing_ok=True)
    _write_curves(folder, training.history)
    return write_checkpoint(folder, model, localizer, task, dataset=dataset, training=training)


def override_config(model: ModelFolder, settings: dict[str, Any]) -> ModelFolder:
    """Return a model with some values of its `config` replaced.

    Args:
        model: The model.
        settings: New values by key; `a.b` is key `b` of the mapping `a`.

    Raises:
        ConfigError: If the model has no such key (the nearest is offered).
    """
    config = json.loads(json.dumps(model.info.config))
    for key, value in settings.items():
        *parents, last = key.split(".")
        place = config
        for name in parents:
            place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = list(_settings_in(model.info.config))
            raise ConfigError(
                f"model '{model.name}' has no setting '{key}'{nearest(key, known)} "
                f"(it has: {', '.join(known) or 'none'})"
            )
        place[last] = value
    return model.with_config(config)


def _settings_in(config: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the names of all settings, level by level, as `override_config` takes them."""
    for key, value in config.items():
        yield above + key
        if isinstance(value, dict):
            yield from _settings_in(value, f"{above}{key}.")


def _keeps_none(model: ModelFolder) -> str:
    why = "its model.py defines no save and load"
    if isinstance(model, FusedModel):
        why = "what +sites fuses, a model for each site, is not kept; run it by `raymark bench run`"
    return f"model '{model.name}' keeps no checkpoint: {why}"


def _claim(folder: Path, model: ModelFolder, task: Task, seed: int) -> None:
    """Note what the folder is for, or check that it is for the same."""
    request = TrainingRequest(
        model=model.name,
        model_hash=model_hash(model),
        config=model.info.config,
        seed=seed,
        task_id=task.id,
        task_hash=config_hash(task),
    )
    path = folder / REQUEST_NAME
    if (folder / CHECKPOINT_NAME).is_file():
        raise CheckpointError(
            f"{folder} holds a finished checkpoint; use it with `raymark predict`, or choose "
            "another folder"
        )
    if path.is_file():
        found = _read_request(path)
        names = [
            n for n in TrainingRequest.model_fields if getattr(found, n) != getattr(request, n)
        ]
        if names:
            raise CheckpointError(
                f"{folder} holds a training of '{found.model}' on {found.task_id} that differs in "
                f"{', '.join(names)}; choose another folder"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} is in the way: it holds no training; choose another name")
    write_text(path, json.dumps(request.model_dump(mode="json"), indent=1) + "\n")


def _read_request(path: Path) -> TrainingRequest:
    try:
        return validate(TrainingRequest, read_json(path), where=str(path))
    except ConfigError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}; choose another folder for the training"
        ) from error


def _measure(
    task: Task,
    seed: int,
    dataset: Dataset,
    folder: Path,
    *,
    with_csi: bool,
    progress: TrainingProgress,
) -> None:
    surveys = training_surveys_of(task, seed)
    missing = [s for s in surveys if not is_measured(s, dataset, folder, with_csi)]
    progress("measure", 0, len(missing), "")
    for i, survey in enumerate(missing, start=1):
        measure(survey, dataset, folder, with_csi=with_csi)
        progress("measure", i, len(missing), "")


def _summary(
    localizer: Localizer, train: Labelled, validation: Labelled, *, fit_s: float
) -> TrainingSummary:
    prediction = checked_prediction(localizer.predict(validation.measurements), len(validation))
    error_m = point_errors(prediction.position_m, validation.position_m).error_m
    return TrainingSummary(
        num_train=len(train),
        num_validation=len(validation),
        fit_s=fit_s,
        validation_mean_m=float(error_m.mean()),
        validation_median_m=float(np.median(error_m)),
        validation_p90_m=float(np.quantile(error_m, 0.9)),
        **report_of(localizer),
    )


def _write_curves(folder: Path, history: dict[str, list[float]]) -> None:
    """Draw the learning curves, with their numbers beside them, if the model has any."""
    if not history:
        return
    table = pd.DataFrame({name: pd.Series(values) for name, values in history.items()})
    table.index = pd.RangeIndex(1, len(table) + 1, name="epoch")
    write_text(folder / f"{CURVES_NAME}.csv", table.to_csv())
    save_figure(draw_learning_curves(history), folder / f"{CURVES_NAME}.png")
