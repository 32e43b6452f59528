"""The folder of a run: what was asked, the truth, and every prediction with how it was made."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from pydantic import Field

from raymark.benchmark.pretraining import PretrainingData
from raymark.benchmark.task import Suite, Task
from raymark.config import Name, Strict, config_hash, read_json, validate
from raymark.errors import ConfigError, ScoringError
from raymark.storage import file_sha256, write_text, writing

RUN_NAME = "run.json"
FAILURE_NAME = "failure.txt"
OUTPUT_NAME = "output.log"
Kind = Literal["model", "reference", "bound"]
Openness = Literal["code and weights", "code", "weights", "closed"]
"""What of a model others can get."""

KEYS = ["site", "ue_index"]
"""Columns that name a link of a scene and band."""

COVARIANCE_COLUMNS = ("var_x_m2", "var_y_m2", "cov_xy_m2")


class RunInfo(Strict):
    """`run.json`: the suite whose tasks were run, and on which dataset."""

    suite: Suite
    dataset_id: str
    content_hash: str


class Trust(Strict):
    """What a board says of how far a model's numbers can be relied on; None is not stated."""

    inputs: tuple[str, ...] | None = None
    pretraining: tuple[PretrainingData, ...] | None = None
    openness: Openness | None = None
    replication: str | None = None


class ModelRecord(Strict):
    """`models/<name>.json`: what the board says of a model."""

    name: Name
    title: str
    kind: Kind
    is_trajectory: bool
    summary: str
    card: str
    tuning: str
    config: dict[str, Any] = Field(default_factory=dict)
    verified: bool = True
    trust: Trust = Trust()


class CellResult(Strict):
    """`result.json` of one task, model and seed."""

    task: str
    model: Name
    seed: int
    cell_hash: str = Field(
        description="Changes with the task, the estimates, or the model's code and its imports"
    )
    model_hash: str | None = Field(
        default=None, description="Of the model's own files and the code that it imports"
    )
    predictions_sha256: str
    num_points: int
    choices: dict[str, Any] = Field(default_factory=dict)
    history: dict[str, list[float]] = Field(
        default_factory=dict, description="Learning curves: one number an epoch, by name"
    )
    diagnostics: dict[str, Any] = Field(default_factory=dict)
    num_parameters: int | None = None
    fit_s: float | None = None
    predict_ms_per_point: float | None = None
    peak_memory_mb: float | None = None
    hardware: str = ""
    software: dict[str, str] = Field(default_factory=dict)
    sandbox: str = Field(
        default="none", description="What kept the model from everything but its inputs"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One finished task, model and seed with its predictions."""

    task: Task
    result: CellResult
    predictions: pd.DataFrame


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Reads and writes the folder of a run."""

    root: Path

    @property
    def measurements(self) -> Path:
        """Where measurements are kept; it may be deleted, they are made again."""
        return self.root / "measurements"

    def info(self) -> RunInfo:
        """Read what was run.

        Raises:
            ConfigError: If the folder holds no run, or one whose suite is for another dataset.
        """
        path = self.root / RUN_NAME
        if not path.is_file():
            raise ConfigError(f"{self.root} holds no benchmark run ({RUN_NAME} is missing)")
        info = validate(RunInfo, read_json(path), where=str(path))
        if info.content_hash != info.suite.content_hash:
            raise ConfigError(
                f"{path}: content_hash is {info.content_hash[:12]}, its suite is for "
                f"{info.suite.content_hash[:12]}: the file was edited; run the suite again"
            )
        return info

    def start(self, info: RunInfo) -> None:
        """Make the folder, or go on in it.

        Raises:
            ConfigError: If it holds a run of another suite or dataset, or something else.
        """
        path = self.root / RUN_NAME
        if path.is_file():
            if self.info() != info:
                raise ConfigError(
                    f"{self.root} holds a run of another suite, version or dataset "
                    f"('{self.info().suite.name}'); choose another folder"
                )
            return
        if self.root.exists() and not self.root.is_dir():
            raise ConfigError(f"{self.root} is no folder; choose another name for the run")
        if self.root.exists() and any(self.root.iterdir()):
            raise ConfigError(f"{self.root} is not empty and holds no run; choose another folder")
        _write_json(path, info.model_dump(mode="json"))

    def write_truth(self, task: Task, truth: pd.DataFrame) -> None:
        """Keep what only the scorer knows of a task, and its hash."""
        _write_sealed(self._truth(task), truth)

    def truth(self, task: Task) -> pd.DataFrame:
        """Read the test links of a task.

        Raises:
            ScoringError: If the run has none, or it was changed.
        """
        if not self.has_truth(task):
            raise ScoringError(
                f"{self._truth(task)}: the file is missing or was changed; run the suite again"
            )
        return pd.read_parquet(self._truth(task))

    def has_truth(self, task: Task) -> bool:
        """Return whether the truth of a task is there, as it was written."""
        return _is_sealed(self._truth(task))

    def _truth(self, task: Task) -> Path:
        return self.root / "truth" / f"{task.slug}.parquet"

    def write_detections(self, task: Task, seed: int, counts: pd.DataFrame) -> None:
        """Keep how many paths each test link of a task shows to a seed."""
        _write_sealed(self._detections(task, seed), counts)

    def detections(self, task: Task, seed: int) -> pd.DataFrame | None:
        """Read how many paths each test link shows to a seed; None if the run has not noted it.

        Raises:
            ScoringError: If the file was changed.
        """
        path = self._detections(task, seed)
        if not path.is_file():
            return None
        if not _is_sealed(path):
            raise ScoringError(f"{path}: the file was changed; remove it and run the suite again")
        return pd.read_parquet(path)

    def _detections(self, task: Task, seed: int) -> Path:
        return self.root / "detections" / task.slug / f"seed-{seed}.parquet"

    def write_model(self, record: ModelRecord) -> None:
        """Keep what the board says of a model."""
        _write_json(self.root / "models" / f"{record.name}.json", record.model_dump(mode="json"))

    def models(self) -> dict[str, ModelRecord]:
        """Read all models of the run.

        Raises:
            ConfigError: If a file is of another model than its name.
        """
        records = {}
        for path in sorted((self.root / "models").glob("*.json")):
            record = validate(ModelRecord, read_json(path), where=str(path))
            if record.name != path.stem:
                raise ConfigError(f"{path}: it is of model '{record.name}'; run the suite again")
            records[path.stem] = record
        return records

    def place(self, task: Task, model: str, seed: int) -> str:
        """Return the name, below `cells`, of the folder of one task, model and seed."""
        return f"{task.slug}/{model}/seed-{seed}"

    def cell(self, task: Task, model: str, seed: int) -> Path:
        """Return the folder of one task, model and seed."""
        return self.root / "cells" / self.place(task, model, seed)

    def output(self, task: Task, model: str, seed: int) -> Path:
        """Return the file that gets what the model of a cell prints."""
        return self.cell(task, model, seed) / OUTPUT_NAME

    def is_finished(self, task: Task, model: str, seed: int, cell_hash: str) -> bool:
        """Return whether a cell's predictions are there, whole, and made from the same inputs."""
        folder = self.cell(task, model, seed)
        path, predictions = folder / "result.json", folder / "predictions.parquet"
        if not (path.is_file() and predictions.is_file()):
            return False
        result = validate(CellResult, read_json(path), where=str(path))
        whole = file_sha256(predictions) == result.predictions_sha256
        return whole and result.cell_hash == cell_hash

    def drop_stale(
        self, task: Task, model: str, seed: int, is_stale: Callable[[CellResult], bool]
    ) -> None:
        """Remove the predictions of a cell that were made from other inputs than today's."""
        folder = self.cell(task, model, seed)
        path = folder / "result.json"
        if path.is_file() and is_stale(validate(CellResult, read_json(path), where=str(path))):
            path.unlink()
            (folder / "predictions.parquet").unlink(missing_ok=True)

    def write_cell(self, task: Task, predictions: pd.DataFrame, **result: Any) -> CellResult:
        """Write the predictions of a cell, then its result; an earlier failure is removed.

        Args:
            task: The task.
            predictions: One row per test link.
            **result: Fields of `CellResult`.
        """
        folder = self.cell(task, result["model"], result["seed"])
        path = folder / "predictions.parquet"
        write_table(path, predictions)
        made = validate(
            CellResult,
            {
                "task": task.id,
                "num_points": len(predictions),
                "predictions_sha256": file_sha256(path),
                **result,
            },
            where=str(folder),
        )
        _write_json(folder / "result.json", made.model_dump(mode="json"))
        (folder / FAILURE_NAME).unlink(missing_ok=True)
        return made

    def write_failure(self, task: Task, model: str, seed: int, sentence: str, details: str) -> None:
        """Note why a cell has no predictions; those of an earlier run are removed.

        Args:
            task: The task.
            model: Name of the model.
            seed: Of the cell.
            sentence: What failed.
            details: The traceback.
        """
        folder = self.cell(task, model, seed)
        write_text(folder / FAILURE_NAME, f"{sentence}\n\n{details}")
        (folder / "result.json").unlink(missing_ok=True)
        (folder / "predictions.parquet").unlink(missing_ok=True)

    def failures(self) -> dict[str, str]:
        """Return the reason, one sentence, of every failed cell by its place below `cells`."""
        cells = self.root / "cells"
        files = sorted(cells.glob(f"*/*/*/{FAILURE_NAME}"))
        texts = {file: file.read_text(encoding="utf-8") for file in files}
        return {
            file.parent.relative_to(cells).as_posix(): text.partition("\n")[0]
            for file, text in texts.items()
        }

    def fit_times(self, model: str) -> list[float]:
        """Return how long every finished cell of a model took to fit [s]."""
        files = (self.root / "cells").glob(f"*/{model}/*/result.json")
        times = [read_json(file).get("fit_s") for file in sorted(files)]
        return [float(time) for time in times if time is not None]

    def cells(self) -> Iterator[Cell]:
        """Read every finished cell, in the order of the suite's tasks.

        Raises:
            ScoringError: If a predictions file differs from what its result says, or a result is
                of another cell than its place.
        """
        for task in self.info().suite.tasks():
            for path in sorted((self.root / "cells" / task.slug).glob("*/*/result.json")):
                result = validate(CellResult, read_json(path), where=str(path))
                _require_place(result, task, path)
                predictions = path.with_name("predictions.parquet")
                if (
                    not predictions.is_file()
                    or file_sha256(predictions) != result.predictions_sha256
                ):
                    raise ScoringError(
                        f"{predictions}: the file is missing or was changed after the run"
                    )
                yield Cell(task=task, result=result, predictions=pd.read_parquet(predictions))


def _require_place(result: CellResult, task: Task, path: Path) -> None:
    """Refuse a result that was moved: its numbers would count for what others did."""
    model, seed = path.parts[-3:-1]
    found, place = (result.task, result.model, f"seed-{result.seed}"), (task.id, model, seed)
    if found != place or result.seed not in task.seeds:
        raise ScoringError(
            f"{path}: it is of {', '.join(found)}, and lies in the place of {', '.join(place)}; "
            "remove its folder and run the suite again"
        )


def prediction_table(
    truth: pd.DataFrame,
    position_m: Float[np.ndarray, "link 2"],
    covariance_m2: Float[np.ndarray, "link 2 2"] | None,
) -> pd.DataFrame:
    """Return predictions as they are stored: site, ue_index, x_m, y_m and the covariance [m^2]."""
    table = truth[KEYS].assign(x_m=position_m[:, 0], y_m=position_m[:, 1])
    if covariance_m2 is not None:
        entries = (covariance_m2[:, 0, 0], covariance_m2[:, 1, 1], covariance_m2[:, 0, 1])
        table = table.assign(**dict(zip(COVARIANCE_COLUMNS, entries, strict=True)))
    return table


def covariance_of(predictions: pd.DataFrame) -> Float[np.ndarray, "link 2 2"] | None:
    """Return the stored covariances [m^2], if there are any."""
    if not set(COVARIANCE_COLUMNS) <= set(predictions.columns):
        return None
    var_x, var_y, cov_xy = (predictions[name].to_numpy("f8") for name in COVARIANCE_COLUMNS)
    return np.stack([var_x, cov_xy, cov_xy, var_y], axis=-1).reshape(-1, 2, 2)


def cell_hash_of(task: Task, parts: list[Any]) -> str:
    """Return the hash that tells whether a cell must be run again."""
    return config_hash([task.model_dump(mode="json"), *parts])


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a Parquet file at once."""
    with writing(path) as partial:
        table.to_parquet(partial, index=False)


def _write_sealed(path: Path, table: pd.DataFrame) -> None:
    write_table(path, table)
    write_text(path.with_suffix(".sha256"), file_sha256(path) + "\n")


def _is_sealed(path: Path) -> bool:
    """Return whether a table is there, as it was written."""
    seal = path.with_suffix(".sha256")
    if not (path.is_file() and seal.is_file()):
        return False
    return seal.read_bytes().strip() == file_sha256(path).encode()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")
