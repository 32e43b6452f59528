"""What labels buy a localizer that knows the city: `twin_match` fitted on some of them.

    python docs/figures/map_labels.py DATASET MAPS OUT.csv [--cells munich/6GHz,...] [--seed 0]

On the folds of `map-surveyed` of the suite `small-map`: of the labelled links of a fold, training
and validation, as many as `NUM_LABELS` says are drawn, a fifth of them to choose by, more labels
always with the fewer. Prints median, P90 and MSE of the unseen NLOS links that show a path, over
the folds of a cell, and draws docs/figures/map_labels.png. Folds in OUT.csv are not run again.
"""

import argparse
import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cells import located_errors, run_missing
from matplotlib.ticker import LogLocator, NullLocator

from raymark.benchmark import Labelled, load_suite
from raymark.benchmark.measuring import measure
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task_data import TaskData, cities_of, load_task
from raymark.benchmark.task_links import surveys_of
from raymark.benchmark.worker import fit_and_predict
from raymark.dataset import open_dataset
from raymark.dataset.schema import NLOS
from raymark.models import get_model
from raymark.plots import house_style, new_figure, save_figure
from raymark.seeding import child_generator

SUITE, TRACK, MODEL = "small-map", "map-surveyed", "twin_match"
NUM_LABELS = (100, 300, 1000, 100_000)
"""How many; the last stands for all that there are."""

VALIDATION_SHARE = 0.2
OUT = Path(__file__).with_name("map_labels.png")
COLORS = {"munich": "#0072B2", "etoile": "#D55E00", "florence": "#009E73"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A task, and how many labels there are."""

    task: str
    num_labels: int
    seed: int


def main() -> None:
    """Read the command line, run what is missing, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("maps", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", default="munich/6GHz,etoile/6GHz,florence/6GHz")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    wanted = {tuple(cell.split("/")) for cell in arguments.cells.split(",")}
    tasks = [x for x in load_suite(SUITE).tasks_of((TRACK,)) if (x.scene, x.band) in wanted]
    cells = [
        Cell(task=task.id, num_labels=count, seed=arguments.seed)
        for task in tasks
        for count in NUM_LABELS
    ]
    context = (arguments.dataset, arguments.maps, arguments.out.parent / "measurements")
    table = table_of(run_missing(cells, run_cell, context, arguments.out))
    print(table.round(2).to_string())
    draw(table)


def run_cell(cell: Cell, dataset_folder: Path, maps: Path, folder: Path) -> pd.DataFrame:
    """Fit on some labels, locate the test links, return the error of those that show a path."""
    dataset, suite = open_dataset(dataset_folder), load_suite(SUITE)
    task = next(task for task in suite.tasks() if task.id == cell.task)
    for survey in surveys_of(task, cell.seed):
        measure(survey, dataset, folder, with_csi=False)
    splits = Splits(dataset, suite.window_size)
    data = load_task(task, cell.seed, dataset, splits, folder, with_csi=False)
    data = data.with_cities(cities_of(task, cell.seed, dataset, maps, [task.scene]))
    few = with_few_labels(data, cell)
    outcome = fit_and_predict(get_model(MODEL), cell.seed, few)
    located = located_errors(task, dataset, splits, data, outcome)
    counts = (located["los"] == NLOS) & data.test.path_mask[data.asked].any(axis=1)
    return pd.DataFrame(
        {
            **asdict(cell),
            "scene": task.scene,
            "band": task.band,
            "num_fitted": len(few.train) + len(few.validation),
            "is_corrected": outcome.record["choices"]["is_corrected"],
            "is_posed": outcome.record["choices"]["is_posed"],
            "error_m": located.loc[counts, "error_m"],
        }
    )


def with_few_labels(data: TaskData, cell: Cell) -> TaskData:
    """Return the data with so many of their labels: fewer ones are always among more."""

    def drawn(labelled: Labelled, count: int, part: str) -> Labelled:
        order = child_generator(cell.seed, "labels", cell.task, part).permutation(len(labelled))
        return labelled.take(np.sort(order[:count]))

    held_out = round(VALIDATION_SHARE * cell.num_labels)
    validation = drawn(data.validation, held_out, "validation")
    train = drawn(data.train, cell.num_labels - len(validation), "train")
    return dataclasses.replace(data, train=train, validation=validation)


def table_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return median, P90 [m] and MSE [m²] by scene, band and labels, over all folds."""
    groups = rows.groupby(["scene", "band", "num_labels"], sort=False)
    errors_m = groups["error_m"]
    return pd.DataFrame(
        {
            "labels": groups["num_fitted"].mean().round(),
            "links": errors_m.size(),
            "median_m": errors_m.median(),
            "p90_m": errors_m.quantile(0.9),
            "mse_m2": errors_m.apply(lambda x: (x**2).mean() / 2),
            "posed": groups["is_posed"].mean(),
            "corrected": groups["is_corrected"].mean(),
        }
    )


@house_style()
def draw(table: pd.DataFrame) -> None:
    """Draw median and P90 by the number of labels."""
    figure, axes = new_figure(1, 2, panel_inches=(3.6, 3.0))
    for ax, (column, name) in zip(axes, (("median_m", "Median"), ("p90_m", "P90")), strict=True):
        for (scene, band), curve in table.groupby(["scene", "band"], sort=False):
            ax.plot(
                curve["labels"],
                curve[column],
                "o-",
                color=COLORS[str(scene)],
                label=f"{scene}, {band}",
            )
        ax.set(xscale="log", yscale="log", xlabel="Labelled links", ylabel=f"{name} [m]")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
    axes[0].legend()
    save_figure(figure, OUT)


if __name__ == "__main__":
    import map_labels  # the processes of the cells import this module by its name

    map_labels.main()
