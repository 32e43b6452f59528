"""What a benchmark adds to a release: splits with their audit, predictions, the board."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.benchmark.audit import CSV_NAME, TABLE_NAME, audit_suite, audit_table, splits_of
from raymark.benchmark.board import write_board
from raymark.benchmark.publication import build_board
from raymark.benchmark.splits import PART_NAMES
from raymark.benchmark.store import RunFolder, write_table
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Suite, load_suite, split_key, suite_names
from raymark.config import read_json, validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.tables import read_csv, read_table
from raymark.errors import ConfigError
from raymark.release.part import (
    AUDIT_FOLDER,
    BOARD_FOLDER,
    BOARD_ROWS_NAME,
    RUN_FOLDER,
    SPLITS_FOLDER,
    SUITE_NAME,
    SUMMARY_NAME,
)
from raymark.release.record import Benchmark
from raymark.storage import as_place, within, write_text
from raymark.storage.atomic import writable


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFiles:
    """The files of a suite, and of a run of it, for a release.

    Attributes:
        suite: For the dataset that is published.
        runs: Folder of a run of the suite; its predictions and board are added.
    """

    suite: Suite
    runs: Path | None = None

    def require(self, dataset: Dataset) -> None:
        """Check that suite and run belong to a dataset, before anything of it is copied.

        Raises:
            ConfigError: If the suite is for another dataset, or the run is of another suite.
        """
        require_dataset(self.suite, dataset)
        self._require_run_of_suite()

    def add(self, dataset: Dataset, *, progress: Callable[[str], None]) -> Benchmark:
        """Write splits, audit, predictions and board into the folder of a dataset.

        Args:
            dataset: The one in the folder of the release.
            progress: Told of each step.

        Raises:
            ConfigError: If the suite is for another dataset, or the run is of another suite.
            SplitError: If a split leaks or differs from the published one.
            ScoringError: If predictions of the run were changed.
        """
        suite, folder = self.suite, dataset.folder.require_local("a release")
        self.require(dataset)
        progress("splits")
        write_text(folder / SUITE_NAME, suite.model_dump_json(indent=1) + "\n")
        for name, table in split_tables(suite, dataset):
            write_table(folder / name, table)
        progress("audit of the splits")
        audit_suite(suite, dataset, folder / AUDIT_FOLDER)
        models: tuple[str, ...] = ()
        if self.runs is not None:
            progress("predictions and board")
            models = self._add_run(self.runs, dataset, folder)
        return Benchmark(
            suite=suite.name,
            suite_version=suite.version,
            suite_hash=suite.hash,
            has_predictions=self.runs is not None,
            models=models,
        )

    def _require_run_of_suite(self) -> None:
        if self.runs is None:
            return
        suite, found = self.suite, RunFolder(self.runs).info().suite
        if found != suite:
            raise ConfigError(
                f"{self.runs} is a run of '{found.name}@{found.version}' ({found.hash[:12]}), the "
                f"release is of '{suite.name}@{suite.version}' ({suite.hash[:12]})"
            )

    def _add_run(self, runs: Path, dataset: Dataset, folder: Path) -> tuple[str, ...]:
        for name in as_place(runs).files_below():
            within(runs, name)  # what links lead to is not published
        with writable(folder):
            # Measurements are large, and made again from the paths.
            shutil.copytree(
                runs, folder / RUN_FOLDER, ignore=shutil.ignore_patterns("measurements", "audit")
            )
        board = build_board(RunFolder(folder / RUN_FOLDER), dataset=dataset)
        write_board(board, folder / BOARD_FOLDER)
        return tuple(model.name for model in board.models if model.kind == "model")


def suite_of(dataset: Dataset, runs: Path | None) -> Suite | None:
    """Return the suite of a run, else the shipped one that is made for a dataset, if any."""
    return RunFolder(runs).info().suite if runs is not None else _shipped_suite(dataset)


def shipped_name(dataset: Dataset) -> str | None:
    """Return the name under which raymark publishes a dataset; None for anybody else's.

    What counts is the content: the campaign's own name is a claim.
    """
    suite = _shipped_suite(dataset)
    return None if suite is None else suite.preset


def read_suite(folder: Path) -> Suite:
    """Read the suite of a release.

    Raises:
        ConfigError: If the file was edited into something invalid.
    """
    path = folder / SUITE_NAME
    return validate(Suite, read_json(path), where=str(path))


def split_file(key: str) -> str:
    """Return the file of a split, given its key as in `Suite.split_hashes`."""
    return f"{SPLITS_FOLDER}/{key.replace('/', '__')}.parquet"


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


def benchmark_faults(folder: Path) -> Iterator[str]:
    """Make splits, their audit and all scores of a release anew, and compare with its files.

    Raises:
        SplitError: If a split leaks or differs from the published one.
        ScoringError: If predictions were changed, or do not fit the truth.
    """
    dataset, suite = open_dataset(folder), read_suite(folder)
    for name, table in split_tables(suite, dataset):
        if not read_table(within(folder, name)).equals(table):
            yield f"{folder / name}: the split differs from the one that its suite makes"
    audit = audit_table(suite, dataset)
    source = "the audit of the splits made anew"
    for name, read in {TABLE_NAME: read_table, CSV_NAME: read_csv}.items():
        path = within(folder, f"{AUDIT_FOLDER}/{name}")
        yield from _table_faults(path, read(path), audit, source=source)
    if (folder / RUN_FOLDER).is_dir():
        board = build_board(RunFolder(folder / RUN_FOLDER), dataset=dataset)
        for name, made in {BOARD_ROWS_NAME: board.rows, SUMMARY_NAME: board.summary}.items():
            path = within(folder, name)
            source = "the scores of the stored predictions"
            yield from _table_faults(path, read_csv(path), made, source=source)


def _table_faults(
    path: Path, stored: pd.DataFrame, made: pd.DataFrame, *, source: str
) -> Iterator[str]:
    if list(stored.columns) != list(made.columns) or len(stored) != len(made):
        yield f"{path}: its rows or columns are not those of {source}"
        return
    for column in made.columns:
        if not _same_column(stored[column], made[column]):
            yield f"{path}: column {column} differs from {source}"


def _same_column(stored: pd.Series, made: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(made):
        old, new = (series.to_numpy("f8", na_value=np.nan) for series in (stored, made))
        return bool(np.allclose(old, new, rtol=1e-9, equal_nan=True))
    texts = [series.astype("string").fillna("") for series in (stored, made)]
    return bool(texts[0].equals(texts[1]))


def _shipped_suite(dataset: Dataset) -> Suite | None:
    suites = (load_suite(name) for name in suite_names())
    content_hash = dataset.manifest.content_hash
    return next((suite for suite in suites if suite.content_hash == content_hash), None)
