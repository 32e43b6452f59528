"""The truth that scores are made with: as a run keeps it, compared with the dataset where it is."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from raymark.benchmark.detections import count_paths, is_detected
from raymark.benchmark.store import KEYS, RunFolder
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Task
from raymark.benchmark.task_links import truth_of
from raymark.dataset import Dataset
from raymark.dataset.verification import require_content
from raymark.errors import ScoringError

_SCORED = ("site", "ue_index", "block", "los", "x_m", "y_m")
"""The columns that scores hang on."""


class Truths:
    """The test links of the tasks of a run."""

    def __init__(self, folder: RunFolder, dataset: Dataset | None = None) -> None:
        """Take the truth of a run.

        Args:
            folder: The run.
            dataset: Its dataset, with which every truth is compared; unchecked if not given.

        Raises:
            ConfigError: If the dataset is another one.
            SchemaError: If its arrays are not those of its content hash.
        """
        self._folder, self._known = folder, dict[str, pd.DataFrame]()
        self._counted = dict[tuple[str, int], pd.DataFrame | None]()
        self._dataset, self._splits = dataset, None
        if dataset is not None:
            suite = folder.info().suite
            require_dataset(suite, dataset)
            require_content(dataset)
            self._splits = Splits(dataset, suite.window_size)

    @property
    def are_checked(self) -> bool:
        """Whether they are compared with the dataset."""
        return self._splits is not None

    def of(self, task: Task) -> pd.DataFrame:
        """Return the test links of a task.

        Raises:
            ScoringError: If the run has none, they were changed, or are not those of the dataset.
            SplitError: If the split differs from the published one.
        """
        if task.slug not in self._known:
            stored = self._folder.truth(task)
            if self._dataset is not None and self._splits is not None:
                made = truth_of(task, self._dataset, self._splits)
                _require_same(stored, made, f"{self._folder.root}, truth of {task.id}")
            self._known[task.slug] = stored
        return self._known[task.slug]

    def detected(self, task: Task, seed: int) -> Bool[np.ndarray, " link"] | None:
        """Return which test links of a task show a path to a seed, in the order of the truth.

        That is what the run has noted, else it is counted in the dataset; None where neither is
        there.

        Raises:
            ScoringError: If what the run has noted was changed, or is of other links.
        """
        key = (task.slug, seed)
        if key not in self._counted:
            counts = self._folder.detections(task, seed)
            if counts is None and self._dataset is not None and self._splits is not None:
                place = self._folder.measurements
                counts = count_paths(task, seed, self._dataset, self._splits, place)
            self._counted[key] = counts
        found = self._counted[key]
        where = f"{self._folder.root}, detections of {task.id}, seed {seed}"
        return None if found is None else is_detected(found, self.of(task), where=where)


def same_truth(stored: pd.DataFrame, made: pd.DataFrame) -> str | None:
    """Return the first column in which two truths differ, whatever their order; None if in none."""
    if len(stored) != len(made) or not set(_SCORED) <= set(stored.columns):
        return "site"
    first, second = (table.sort_values(KEYS, kind="stable") for table in (stored, made))
    for name in _SCORED:
        if not np.array_equal(first[name].to_numpy(), second[name].to_numpy()):
            return name
    return None


def _require_same(stored: pd.DataFrame, made: pd.DataFrame, where: str) -> None:
    column = same_truth(stored, made)
    if column is not None:
        raise ScoringError(
            f"{where}: column {column} is not what the dataset gives, so that scores would mean "
            "nothing; the run was edited, or made by other code: run the suite in a new folder"
        )
