"""What a benchmark adds to a release: splits with their audit, predictions, the board."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from raymark.atomic_files import writable
from raymark.benchmark.audit import audit_suite, splits_of
from raymark.benchmark.board import write_board
from raymark.benchmark.publication import build_board
from raymark.benchmark.scoring import score_rows, score_run
from raymark.benchmark.splits import PART_NAMES
from raymark.benchmark.store import RunFolder, write_table
from raymark.benchmark.task import Suite, load_suite, split_key, suite_names
from raymark.benchmark.task_data import Splits, require_dataset
from raymark.config import validate
from raymark.dataset import Dataset
from raymark.errors import ConfigError
from raymark.plots import HeightMap
from raymark.release.record import Benchmark
from raymark.shard import write_text

SPLITS_FOLDER, AUDIT_FOLDER, RUN_FOLDER, BOARD_FOLDER = "splits", "audit", "run", "board"
SUITE_NAME = f"{SPLITS_FOLDER}/suite.json"
SUMMARY_NAME, BOARD_ROWS_NAME = f"{BOARD_FOLDER}/summary.csv", f"{BOARD_FOLDER}/board.csv"


def suite_of(dataset: Dataset, runs: Path | None) -> Suite | None:
    """Return the suite of a run, else the shipped one that is made for a dataset, if any."""
    if runs is not None:
        return RunFolder(runs).info().suite
    suites = [load_suite(name) for name in suite_names()]
    found = [s for s in suites if s.content_hash == dataset.manifest.content_hash]
    return found[0] if found else None


def split_file(key: str) -> str:
    """Return the file of a split, given its key as in `Suite.split_hashes`."""
    return f"{SPLITS_FOLDER}/{key.replace('/', '__')}.parquet"


def add_benchmark(
    dataset: Dataset,
    suite: Suite,
    runs: Path | None,
    height_maps: Mapping[str, HeightMap],
    *,
    progress: Callable[[str], None],
) -> Benchmark:
    """Write splits, audit, predictions and board of a suite into the folder of a dataset.

    Args:
        dataset: The one in the folder of the release.
        suite: For this dataset.
        runs: Folder of a run of the suite; its predictions and board are added.
        height_maps: Buildings of each scene, drawn below the maps.
        progress: Told of each step.

    Raises:
        ConfigError: If the suite is for another dataset, or the run is of another suite.
        SplitError: If a split leaks or differs from the published one.
        ScoringError: If predictions of the run were changed.
    """
    require_dataset(suite, dataset)
    progress("splits")
    write_text(dataset.folder / SUITE_NAME, suite.model_dump_json(indent=1) + "\n")
    for name, table in split_tables(suite, dataset):
        write_table(dataset.folder / name, table)
    progress("audit of the splits")
    audit_suite(suite, dataset, dataset.folder / AUDIT_FOLDER, height_maps=height_maps)
    models: tuple[str, ...] = ()
    if runs is not None:
        progress("predictions and board")
        models = _add_run(suite, runs, dataset.folder, height_maps)
    return Benchmark(
        suite=suite.name,
        suite_version=suite.version,
        suite_hash=suite.hash,
        has_predictions=runs is not None,
        models=models,
    )


def read_suite(folder: Path) -> Suite:
    """Read the suite of a release.

    Raises:
        ConfigError: If the file was edited into something invalid.
    """
    path = folder / SUITE_NAME
    return validate(Suite, json.loads(path.read_text(encoding="utf-8")), where=str(path))


def split_tables(suite: Suite, dataset: Dataset) -> Iterator[tuple[str, pd.DataFrame]]:
    """Make every split of a suite anew.

    Yields:
        Its file, and its table: site, ue_index, part (by name), block, window and window_step.

    Raises:
        SplitError: If it leaks or differs from the published one.
    """
    splits = Splits(dataset, suite.window_size)
    for task in splits_of(suite):
        table = splits.get(task, task.scene).table
        key = split_key(task.track, task.scene, task.fold)
        yield split_file(key), table.assign(part=table["part"].map(PART_NAMES))


def score_again(folder: Path) -> pd.DataFrame:
    """Return the scores of every cell, computed from the predictions in a release.

    Raises:
        ScoringError: If predictions were changed, or do not fit the truth.
    """
    return score_rows(score_run(RunFolder(folder / RUN_FOLDER)))


def _add_run(
    suite: Suite, runs: Path, folder: Path, height_maps: Mapping[str, HeightMap]
) -> tuple[str, ...]:
    source = RunFolder(runs)
    found = source.info().suite
    if found != suite:
        raise ConfigError(
            f"{runs} is a run of '{found.name}@{found.version}' ({found.hash[:12]}), the release "
            f"is of '{suite.name}@{suite.version}' ({suite.hash[:12]})"
        )
    with writable(folder):
        # Measurements are large, and made again from the paths.
        shutil.copytree(
            runs, folder / RUN_FOLDER, ignore=shutil.ignore_patterns("measurements", "audit")
        )
    board = build_board(RunFolder(folder / RUN_FOLDER), height_maps=height_maps)
    write_board(board, folder / BOARD_FOLDER)
    return tuple(model.name for model in board.models if model.kind == "model")
