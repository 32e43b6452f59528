"""The table of favours: what is left of a figure as the paper's protocol loses them one by one.

    python docs/figures/favours.py RUNS [--models a,b] [--out favours.csv]

Reads the stored predictions of a run of the suite `paper` and prints Markdown: for each track and
model the mean squared error a coordinate, as the paper counts it, over all unseen points and by
label, with the least and the largest cell, in how many cells it is below 1 m^2, and the median
error. Seeds of a cell are averaged first; cells that lack are counted, not guessed.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.benchmark.store import Cell, RunFolder
from raymark.benchmark.tracks import TRACKS
from raymark.dataset.schema import LOS, NLOS

LABELS = {"all": None, "LOS": LOS, "NLOS": NLOS}
GOAL_M2 = 1.0
COLUMNS = [
    "track",
    "model",
    "seeds",
    "of",
    "cells",
    "MSE [m²]",
    "range",
    "below 1 m²",
    "median [m]",
]
CELL = ["track", "model", "of", "scene", "band"]


def main() -> None:
    """Read the command line, print the table, keep its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--models", default="")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    run = RunFolder(arguments.runs)
    wanted = set(filter(None, arguments.models.split(",")))
    cells = pd.DataFrame(
        [
            row
            for cell in run.cells()
            if TRACKS[cell.task.track].is_reproduction
            and (not wanted or cell.result.model in wanted)
            for row in errors_of(cell, run)
        ]
    )
    if arguments.out is not None:
        cells.to_csv(arguments.out, index=False, float_format="%.6g")
    print(table_of(cells))


def errors_of(cell: Cell, run: RunFolder) -> list[dict[str, object]]:
    """Return one row for each label: errors of the asked points of a cell."""
    truth = run.truth(cell.task)
    columns = ["x_m", "y_m"]
    joined = truth.merge(cell.predictions, on=["site", "ue_index"], suffixes=("", "_found"))
    if "x_m_found" not in joined:
        return []  # a bound has errors, not positions
    offset_m = joined[[f"{x}_found" for x in columns]].to_numpy() - joined[columns].to_numpy()
    squared_m2 = (offset_m**2).mean(axis=1)
    rows = []
    for name, label in LABELS.items():
        chosen = np.ones(len(joined), dtype=bool) if label is None else joined["los"] == label
        if not chosen.any():
            continue
        rows.append(
            {
                "track": cell.task.track,
                "model": cell.result.model,
                "of": name,
                "scene": cell.task.scene,
                "band": cell.task.band,
                "seed": cell.result.seed,
                "mse_m2": float(squared_m2[chosen].mean()),
                "median_m": float(np.median(np.sqrt(2 * squared_m2[chosen]))),
            }
        )
    return rows


def table_of(cells: pd.DataFrame) -> str:
    """Return the Markdown table: a row for each track, model and label."""
    by_cell = cells.groupby(CELL, sort=False)[["mse_m2", "median_m"]].mean().reset_index()
    seeds = cells.groupby(["track", "model"])["seed"].nunique()
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    order = {str(name): i for i, name in enumerate(TRACKS)}
    groups = by_cell.groupby(["track", "model", "of"], sort=False)
    named = [(tuple(map(str, key)), group) for key, group in groups]
    for (track, model, of), group in sorted(named, key=lambda item: order[item[0][0]]):
        mse = group["mse_m2"]
        values = [
            f"`{track}`",
            model,
            seeds[track, model],
            of,
            len(group),
            f"{mse.mean():.3g}",
            f"{mse.min():.2g} - {mse.max():.3g}",
            f"{(mse < GOAL_M2).sum()}/{len(group)}",
            f"{group['median_m'].mean():.3g}",
        ]
        lines.append(f"| {' | '.join(map(str, values))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
