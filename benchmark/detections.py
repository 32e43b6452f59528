"""Which test links show a path at all, counted from the measurements that models get.

A link without a single path above the noise cannot be located by anybody, and scores tell such
links apart. Whether a path is found hangs on the noise, hence on the seed, and on the conditions of
the task; it is the same for all models.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool

from raymark.benchmark.measuring import measure, num_paths_in
from raymark.benchmark.store import KEYS
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_links import ordered_test_rows, survey_of_test, truth_of
from raymark.benchmark.ue_links import link_rows
from raymark.dataset import Dataset
from raymark.errors import ScoringError


def count_paths(
    task: Task, seed: int, dataset: Dataset, splits: Splits, measurements: Path
) -> pd.DataFrame:
    """Return site, ue_index and the number of estimated paths of every test link of a task.

    Of a UE that several sites hear, those at all of them count.

    Args:
        task: The task.
        seed: Of the noise.
        dataset: Its dataset.
        splits: The splits of that.
        measurements: Where measurements are kept; where there is no such folder, links are measured
            for the count alone.
    """
    survey = survey_of_test(task, seed)
    with tempfile.TemporaryDirectory(prefix="raymark-") as room:
        folder = measurements if measurements.is_dir() else Path(room)
        num_paths = num_paths_in(measure(survey, dataset, folder, with_csi=False))
    split = splits.get(task, task.scene)
    rows = ordered_test_rows(task, split)
    links, asked = link_rows(task.num_sites, split, rows)
    counts = np.zeros(len(rows), dtype=num_paths.dtype)
    np.add.at(counts, asked, num_paths[links])
    return truth_of(task, dataset, splits)[KEYS].assign(num_paths=counts)


def is_detected(
    counts: pd.DataFrame, truth: pd.DataFrame, *, where: str
) -> Bool[np.ndarray, " link"]:
    """Return whether each link of a truth shows at least one path.

    Raises:
        ScoringError: If the counts are of other links.
    """
    counted, asked = (pd.MultiIndex.from_frame(table[KEYS]) for table in (counts, truth))
    rows = counted.get_indexer(asked)
    if len(counted) != len(asked) or (rows < 0).any():
        raise ScoringError(
            f"{where}: the counted paths are of other links than the truth; run the suite again"
        )
    return counts["num_paths"].to_numpy()[rows] > 0
