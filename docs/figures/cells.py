"""Cells of an experiment, kept in a CSV file as they finish: the scripts beside this one use it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from raymark.benchmark.metrics import point_errors
from raymark.benchmark.site_frames import world_frame_positions
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.task_links import truth_of
from raymark.benchmark.worker import Outcome
from raymark.dataset import Dataset
from raymark.errors import WorkError
from raymark.work.executor import TaskKind, ThisMachine
from raymark.work.fresh import run_fresh

_ROWS_SHOWN = 4


def located_errors(
    task: Task, dataset: Dataset, splits: Splits, data: TaskData, outcome: Outcome
) -> pd.DataFrame:
    """Return the truth of the test links of a task and, as `error_m`, how far off they were put."""
    truth = truth_of(task, dataset, splits)
    sites = dataset.select(scene=task.scene, band=task.band).sites
    site_index = truth["site"].map([site.site for site in sites].index).to_numpy()
    position_m = outcome.prediction.position_m[data.asked]
    located_m = world_frame_positions(position_m, site_index, sites)
    return truth.assign(error_m=point_errors(located_m, truth[["x_m", "y_m"]].to_numpy()).error_m)


def run_missing(
    cells: Sequence[Any], function: Callable[..., pd.DataFrame], context: tuple[Any, ...], out: Path
) -> pd.DataFrame:
    """Run the cells that a CSV file lacks, two at a time, and return all of its rows.

    Args:
        cells: Frozen dataclasses; their fields are the first columns.
        function: Takes a cell and the context, and returns the rows of the cell; it belongs to a
            module, not to the script that runs.
        context: What else it takes.
        out: The CSV file; it is written after every cell.
    """
    columns = list(asdict(cells[0]))
    known = pd.read_csv(out) if out.is_file() else pd.DataFrame(columns=columns)
    done = set(known[columns].itertuples(index=False, name=None))
    missing = [cell for cell in cells if tuple(asdict(cell).values()) not in done]

    def arguments(cell: Any) -> tuple[Any, ...]:
        return function, cell, *context

    for ended in ThisMachine(2).run(TaskKind(name="cell"), run_fresh, missing, arguments):
        if ended.error is not None:
            raise WorkError(ended.error)
        rows = ended.result
        known = pd.concat([known, rows] if len(known) else [rows], ignore_index=True)
        known.to_csv(out, index=False, float_format="%.4g")
        print(rows.head(_ROWS_SHOWN).to_string(index=False), flush=True)
    return known
