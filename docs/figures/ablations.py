"""What each part of SCADF-MoE is worth: its configuration changed in one place at a time.

    python docs/figures/ablations.py DATASET OUT.csv [--cells munich/6GHz,etoile/28GHz] [--seeds 0]

Every variant is trained on `interpolation` and on the first fold of `unseen-nlos` of the suite
`small`, and its test errors are printed beside those of the whole model. Nothing is chosen by them.
Cells that OUT.csv has already are not run again.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from cells import located_errors, run_missing

from raymark.benchmark import load_suite
from raymark.benchmark.measuring import measure
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import load_task
from raymark.benchmark.task_links import surveys_of
from raymark.benchmark.worker import fit_and_predict
from raymark.dataset import open_dataset
from raymark.dataset.schema import LOS, NLOS
from raymark.models import get_model

FOUR = ["image", "profile", "distance", "gain"]
VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "single links (s = 1)": {"window_size": 1},
    "no modality-task mixture": {"network": {"head": "shared"}},
    "MMoE head": {"network": {"head": "mmoe"}},
    "PLE head": {"network": {"head": "ple"}},
    "no diversity loss": {"network": {"diversity": "none"}},
    "orthogonality for MMD": {"network": {"diversity": "orthogonality"}},
    "uniform router": {"network": {"is_uniform": True}},
    "dense feed-forward": {"network": {"fusion": "dense"}},
    "angle-delay power only": {"network": {"image_channels": [2]}},
    **{f"no {name}": {"modalities": [m for m in FOUR if m != name]} for name in FOUR},
    "with paths (ours)": {"modalities": [*FOUR, "paths"]},
}
NAMES = {LOS: "los", NLOS: "nlos"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One variant on one task under one draw of noise and weights."""

    variant: str
    task: str
    seed: int


def main() -> None:
    """Read the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", default="munich/6GHz,etoile/28GHz")
    parser.add_argument("--seeds", default="0")
    arguments = parser.parse_args()
    wanted = {tuple(cell.split("/")) for cell in arguments.cells.split(",")}
    tasks = [
        task
        for task in load_suite("small").tasks_of(("interpolation", "unseen-nlos"))
        if (task.scene, task.band) in wanted and task.fold in {None, 0}
    ]
    cells = [
        Cell(variant=variant, task=task.id, seed=int(seed))
        for seed in arguments.seeds.split(",")
        for variant in VARIANTS
        for task in tasks
    ]
    folder = arguments.out.parent / "measurements"
    rows = run_missing(cells, run_cell, (arguments.dataset, folder), arguments.out)
    for label in NAMES.values():
        chosen = rows[rows["label"] == label]
        table = chosen.pivot_table(
            index="variant", columns="task", values=["median_m", "p90_m"], sort=False
        )
        print(f"\n{label}: median and P90 [m]\n{table.round(1).to_string()}")


def run_cell(cell: Cell, dataset_folder: Path, folder: Path) -> pd.DataFrame:
    """Fit one variant, locate the test links, score them by label."""
    dataset, suite = open_dataset(dataset_folder), load_suite("small")
    task: Task = next(task for task in suite.tasks() if task.id == cell.task)
    for survey in surveys_of(task, cell.seed):
        measure(survey, dataset, folder, with_csi=True)
    splits = Splits(dataset, suite.window_size)
    data = load_task(task, cell.seed, dataset, splits, folder, with_csi=True)
    model, change = get_model("scadf_moe"), VARIANTS[cell.variant]
    config = {**model.info.config, **change}
    outcome = fit_and_predict(model.with_config(config), cell.seed, data)
    located = located_errors(task, dataset, splits, data, outcome)
    rows = []
    for label, name in NAMES.items():
        of_label = located.loc[located["los"] == label, "error_m"]
        if len(of_label):
            rows.append(
                {
                    **asdict(cell),
                    "label": name,
                    "mse_m2": (of_label**2).mean() / 2,
                    "median_m": of_label.median(),
                    "p90_m": of_label.quantile(0.9),
                    "num_parameters": outcome.record["num_parameters"],
                    "fit_s": outcome.record["fit_s"],
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    import ablations  # the processes of the cells import this module by its name

    ablations.main()
