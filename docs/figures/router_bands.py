"""Does the router of SCADF-MoE follow the band? One model a scene, trained on all bands together.

    python docs/figures/router_bands.py DATASET OUT.csv [--seeds 0]

Trains on the training links of `interpolation` (suite `small`) of one scene at all of its bands and
prints the share of each modality in the dispatch weights on validation windows, by band. Cells
that OUT.csv has already are not run again.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from cells import run_missing

from raymark.benchmark import load_suite
from raymark.benchmark.measuring import measure
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Links
from raymark.benchmark.task_data import load_task
from raymark.benchmark.task_links import surveys_of
from raymark.benchmark.worker import fit_and_predict
from raymark.dataset import open_dataset
from raymark.models import get_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One scene under one draw of noise and weights."""

    scene: str
    seed: int


def main() -> None:
    """Read the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", default="0")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    cells = [Cell(scene=x, seed=seed) for x in load_suite("small").scenes for seed in seeds]
    folder = arguments.out.parent / "measurements"
    rows = run_missing(cells, run_cell, (arguments.dataset, folder), arguments.out)
    print(rows.drop(columns="seed").groupby(["scene", "band"], sort=False).mean().round(3))


def run_cell(cell: Cell, dataset_folder: Path, folder: Path) -> pd.DataFrame:
    """Fit one model on all bands of a scene and return the shares of its router by band."""
    dataset, suite = open_dataset(dataset_folder), load_suite("small")
    tasks = [task for task in suite.tasks_of(("interpolation",)) if task.scene == cell.scene]
    train = tuple(Links(scene=cell.scene, band=task.band) for task in tasks)
    task = tasks[0].model_copy(update={"train": train})
    for survey in surveys_of(task, cell.seed):
        measure(survey, dataset, folder, with_csi=True)
    splits = Splits(dataset, suite.window_size)
    data = load_task(task, cell.seed, dataset, splits, folder, with_csi=True)
    outcome = fit_and_predict(get_model("scadf_moe"), cell.seed, data)
    shares = outcome.record["diagnostics"]["modality_share"]
    return pd.DataFrame([{**asdict(cell), "band": band, **shares[band]} for band in shares])


if __name__ == "__main__":
    import router_bands  # the processes of the cells import this module by its name

    router_bands.main()
