"""Predictions of a model that was written anywhere: read, checked, and scored like all others."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from raymark.benchmark.metrics import point_errors
from raymark.benchmark.pretraining import PretrainingData, refuse_suites_dataset
from raymark.benchmark.references import REFERENCES
from raymark.benchmark.scoring import align
from raymark.benchmark.store import (
    COVARIANCE_COLUMNS,
    KEYS,
    Cell,
    CellResult,
    ModelRecord,
    Openness,
    Trust,
    covariance_of,
)
from raymark.benchmark.task import Suite, Task
from raymark.config import Strict, config_hash, nearest, read_text, read_yaml, validate
from raymark.dataset.tables import read_csv, read_table
from raymark.errors import ConfigError, SchemaError, ScoringError
from raymark.storage import file_sha256

DeclaredInput = Literal["paths", "aoa_profile", "scalars", "csi", "map", "other_sites"]
"""What a model that is run elsewhere may say it uses; whether it sees windows stands apart."""

INFO_NAME = "submission.yaml"
CARD_NAME = "card.md"


class SubmissionInfo(Strict):
    """The whole of a submission's `submission.yaml`."""

    name: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=100, description="Letters, digits and _"
    )
    title: str = Field(min_length=1, description="As the board shows it")
    summary: str = Field(min_length=1, description="One sentence for the board")
    is_trajectory: bool = Field(description="Whether it uses the other links of a window")
    suite: str = Field(description="Name of the suite")
    suite_hash: str = Field(description="As `raymark bench tasks --suite` prints it")
    content_hash: str = Field(description="Content hash of the dataset it was trained on")
    tuning: str = Field(min_length=1, description="What was chosen, on what, in how many tries")
    inputs: tuple[DeclaredInput, ...] = Field(
        min_length=1,
        description="Of paths, aoa_profile, scalars, csi, map (of the city) and other_sites (that "
        "hear the same UE)",
    )
    pretraining: tuple[PretrainingData, ...] = Field(
        description="[] for none, or name, content_hash (of a raymark dataset) and source of each "
        "dataset that it was trained on before"
    )
    openness: Openness = Field(
        description="What others can get: 'code and weights', 'code', 'weights' or 'closed'"
    )
    replication: str = Field(
        min_length=1, description="Where and how to make the predictions again, or 'none'"
    )
    num_parameters: int | None = Field(default=None, ge=0, lt=2**63, description="Fitted numbers")
    hardware: str = Field(default="", description="On which it was trained")
    software: dict[str, str] = Field(default_factory=dict, description="Versions, by name")


def submitted_suite(folder: Path) -> str:
    """Return the name of the suite that a submission is for.

    Raises:
        ConfigError: If the folder holds no submission or its description is wrong.
    """
    return _read_info(folder).suite


def read_submission(
    folder: Path,
    suite: Suite,
    truth_of: Callable[[Task], pd.DataFrame],
    *,
    built_in: Collection[str] = (),
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> tuple[ModelRecord, list[Cell]]:
    """Read a submission and check it against a suite, offline.

    The folder holds `submission.yaml`, `card.md` and `predictions/<task>/seed-<s>.parquet` or
    `.csv`, where <task> is the task's id with `__` for `/` and without version (`Task.slug`). Their
    columns are site, ue_index, x_m, y_m (world frame [m]) and, if the model states its uncertainty,
    var_x_m2, var_y_m2 and cov_xy_m2. It may hold some of the tasks only.

    Args:
        folder: The submission.
        suite: The suite that it names.
        truth_of: Returns the test links of a task.
        built_in: Names of the models that ship, which no other may have.
        progress: Told how many files are read.

    Raises:
        ConfigError: If a file is missing, a key is wrong, the name is taken, or a task or seed is
            unknown.
        ScoringError: If it is for another dataset or suite, was trained on the suite's dataset
            before, or a point is missing, repeated, unknown or not finite.
    """
    info = _read_info(folder)
    if info.name in {*built_in, *REFERENCES}:
        raise ConfigError(
            f"{folder / INFO_NAME}: '{info.name}' is a row that boards have already; give the "
            "submission another name"
        )
    _check_hashes(info, suite, folder)
    try:
        refuse_suites_dataset(info.pretraining, suite.content_hash)
    except ScoringError as error:
        raise ScoringError(f"{folder / INFO_NAME}: {error}") from error
    tasks = {task.slug: task for task in suite.tasks()}
    files = _prediction_files(folder / "predictions", example=next(iter(tasks)))
    stems = [path.with_suffix("") for path in files]
    for path, stem in zip(files, stems, strict=True):
        if stems.count(stem) > 1:
            raise ConfigError(f"{path}: the same task and seed stand in another file too")
    cells: list[Cell] = []
    for path in files:
        progress("predictions", len(cells), len(files))
        cells.append(_read_cell(path, info, tasks, truth_of))
    progress("predictions", len(files), len(files))
    record = ModelRecord(
        name=info.name,
        title=info.title,
        kind="model",
        is_trajectory=info.is_trajectory,
        summary=info.summary,
        card=read_text(folder / CARD_NAME),
        tuning=info.tuning,
        verified=False,
        trust=Trust(
            inputs=info.inputs,
            pretraining=info.pretraining,
            openness=info.openness,
            replication=info.replication,
        ),
    )
    return record, cells


def _read_info(folder: Path) -> SubmissionInfo:
    for name in (INFO_NAME, CARD_NAME, "predictions"):
        if not (folder / name).exists():
            raise ConfigError(f"{folder} is no submission: {name} is missing")
    path = folder / INFO_NAME
    data = read_yaml(path)
    needed = [key for key, field in SubmissionInfo.model_fields.items() if field.is_required()]
    empty = [key for key in needed if key in data and data[key] is None]
    if empty:
        raise ConfigError(f"{path}: nothing stands behind {', '.join(empty)}; fill it in")
    return validate(SubmissionInfo, data, where=str(path))


def _prediction_files(folder: Path, *, example: str) -> list[Path]:
    """Return the files of all tasks.

    Raises:
        ConfigError: If there is none, or one that is not in the folder of a task.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    astray = [path for path in files if path.parent.parent != folder]
    if astray or not files:
        what = f"{astray[0]} is out of place" if astray else f"{folder} holds no file"
        raise ConfigError(
            f"{what}: predictions stand in <task>/seed-<s>.parquet or .csv, and the folder of a "
            f"task is named by its id with __ for / and without @version, such as {example}"
        )
    return files


def _check_hashes(info: SubmissionInfo, suite: Suite, folder: Path) -> None:
    facts = {
        "suite": (info.suite, suite.name),
        "suite_hash": (info.suite_hash, suite.hash),
        "content_hash": (info.content_hash, suite.content_hash),
    }
    for key, (found, expected) in facts.items():
        if found != expected:
            raise ScoringError(
                f"{folder / INFO_NAME}: {key} is {found[:12]}, expected {expected[:12]}: the "
                "submission is for another suite, version or dataset"
            )


def _read_cell(
    path: Path,
    info: SubmissionInfo,
    tasks: dict[str, Task],
    truth_of: Callable[[Task], pd.DataFrame],
) -> Cell:
    slug = path.parent.name
    if slug not in tasks:
        raise ConfigError(f"{path}: unknown task '{slug}'{nearest(slug, list(tasks))}")
    task = tasks[slug]
    seeds = {f"seed-{seed}": seed for seed in task.seeds}
    if path.stem not in seeds or path.suffix not in {".parquet", ".csv"}:
        raise ConfigError(
            f"{path}: the file must be named seed-<s>.parquet or .csv with s one of "
            f"{', '.join(map(str, task.seeds))}"
        )
    table = read_predictions(path)
    truth = truth_of(task)
    if table[["x_m", "y_m"]].isna().all(axis=None):
        raise ScoringError(
            f"{path}: no position is filled in; add them, or remove the file, since a submission "
            "may hold some of the tasks only"
        )
    table = table.iloc[align(table, truth, where=str(path))].reset_index(drop=True)
    try:
        point_errors(
            table[["x_m", "y_m"]].to_numpy("f8"),
            np.zeros((len(table), 2)),
            covariance_of(table),
        )
    except ScoringError as error:
        raise ScoringError(f"{path}: {error}") from error
    result = CellResult(
        task=task.id,
        model=info.name,
        seed=seeds[path.stem],
        cell_hash=config_hash(info.model_dump(mode="json")),
        predictions_sha256=file_sha256(path),
        num_points=len(table),
        num_parameters=info.num_parameters,
        hardware=info.hardware,
        software=info.software,
    )
    return Cell(task=task, result=result, predictions=table)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a predictions file and check its columns.

    Raises:
        ScoringError: If it cannot be read, or a column is missing, unknown or of the wrong type.
    """
    try:
        table = read_table(path) if path.suffix == ".parquet" else read_csv(path)
    except SchemaError as error:
        raise ScoringError(str(error)) from error
    needed = {*KEYS, "x_m", "y_m"}
    given = {str(name) for name in table.columns}
    missing, extra = needed - given, given - needed - set(COVARIANCE_COLUMNS)
    if missing or extra:
        raise ScoringError(f"{path}: missing columns {sorted(missing)}, unknown {sorted(extra)}")
    if 0 < len(set(COVARIANCE_COLUMNS) & given) < len(COVARIANCE_COLUMNS):
        raise ScoringError(f"{path}: a covariance needs all of {', '.join(COVARIANCE_COLUMNS)}")
    for name in given - {"site"}:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise ScoringError(f"{path}: column '{name}' must hold numbers")
    # Types of other tables, such as integers with a mark for what is missing, become plain numbers.
    floats = {name: table[name].to_numpy("f8", na_value=np.nan) for name in given - set(KEYS)}
    return table.assign(**floats).astype({"site": str})
