"""What a task asks of its dataset: surveys, rows that are handed out, and their truth."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from raymark.benchmark.measuring import Survey
from raymark.benchmark.splits import TEST, Split, links_of
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Links, Task
from raymark.benchmark.ue_links import link_rows
from raymark.dataset import Dataset
from raymark.seeding import child_generator


def training_surveys_of(task: Task, seed: int) -> list[Survey]:
    """Return every survey that training and validation read."""
    links = [*task.train]
    if task.shots is not None:
        links.append(Links(scene=task.scene, band=task.band))
    return [training_survey(task, each, seed) for each in links]


def surveys_of(task: Task, seed: int) -> list[Survey]:
    """Return every survey that a task reads."""
    surveys = training_surveys_of(task, seed)
    test = survey_of_test(task, seed)
    return [*surveys, *([] if test in surveys else [test])]


def training_survey(task: Task, links: Links, seed: int) -> Survey:
    """Return the survey that some links train or validate by."""
    return Survey(
        scene=links.scene, band=links.band, seed=seed, conditions=task.training_conditions
    )


def survey_of_test(task: Task, seed: int) -> Survey:
    """Return the survey that the test links of a task are measured by."""
    return Survey(scene=task.scene, band=task.band, seed=seed, conditions=task.conditions)


def handed_rows(task: Task, split: Split) -> Int[np.ndarray, "link"]:
    """Return the rows of all links that are handed out for test; of UEs, site by site."""
    return link_rows(task.num_sites, split, rows_in_windows(task, split))[0]


def rows_in_windows(task: Task, split: Split) -> Int[np.ndarray, "link"]:
    """Return the rows of all links in windows of test links, each in order of its steps.

    The order of the windows is random. The draw hangs on the whole split, not on published numbers
    alone. The noise of the links does: whoever draws it again can tell which rows they are, and
    with the code that drew the UEs where they are, which is why models cannot reach that code.
    """
    window = split.table["window"].to_numpy()
    rows = np.flatnonzero(np.isin(window, window[split.rows(TEST)]))
    step = split.table["window_step"].to_numpy()[rows]
    number = np.unique(window[rows], return_inverse=True)[1]
    rng = child_generator(task.split.seed, "test order", task.scene, split.draw)
    place = rng.permutation(number.max() + 1)[number]
    return rows[np.lexsort((step, place))]


def ordered_test_rows(task: Task, split: Split) -> Int[np.ndarray, "link"]:
    """Return the rows of the test links, in the order of `handed_rows`."""
    rows = handed_rows(task, split)
    return rows[split.is_part(TEST)[rows]]


def truth_of(task: Task, dataset: Dataset, splits: Splits) -> pd.DataFrame:
    """Return one row per test link, in the order that models see: identity, label, position.

    Columns: site, ue_index, block, window, los, x_m and y_m (world frame [m]).
    """
    split = splits.get(task, task.scene)
    rows = ordered_test_rows(task, split)
    links = links_of(dataset, task.scene).iloc[rows]
    table = split.table.iloc[rows]
    return pd.DataFrame(
        {
            "site": links["site"].to_numpy(),
            "ue_index": links["ue_index"].to_numpy(),
            "block": table["block"].to_numpy(),
            "window": pd.factorize(table["window"])[0],
            "los": links["los"].to_numpy(),
            "x_m": links["x_m"].to_numpy(dtype="f8"),
            "y_m": links["y_m"].to_numpy(dtype="f8"),
        }
    )
