"""Which error of a map costs what, from a run of the suite small-map-errors.

    python docs/figures/map_errors.py RUNS DATASET [--model twin_match]

Draws docs/figures/map_errors.png: median and P90 of the unseen NLOS links that show a path, by
grade of the map and scene. Prints them with the MSE as Markdown.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from raymark.benchmark.labels import DETECTABLE
from raymark.benchmark.scoring import group_cells, score_run
from raymark.benchmark.store import RunFolder
from raymark.benchmark.summary import keys_of, point_scores
from raymark.benchmark.truths import Truths
from raymark.dataset import open_dataset
from raymark.plots import house_style, new_figure, save_figure

GRADES = {
    "map-exact": "none (exact)",
    "map-material": "materials",
    "map-outline": "outlines",
    "map-missing": "buildings missing",
    "map-shift": "footprints moved",
    "map-height": "heights",
    "map-pose": "antenna's pose",
    "map-surveyed": "all (surveyed)",
    "map-open": "all, larger (open)",
}
METRICS = {"median_m": "Median [m]", "p90_m": "P90 [m]"}
COLORS = {"munich": "#0072B2", "etoile": "#D55E00", "florence": "#009E73"}
OUT = Path(__file__).with_name("map_errors.png")


def main() -> None:
    """Read the command line, draw the figure, print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="twin_match")
    arguments = parser.parse_args()
    run = RunFolder(arguments.runs)
    cells = score_run(run, truths=Truths(run, open_dataset(arguments.dataset)))
    own = [c for c in cells if c.result.model == arguments.model and c.task.track in GRADES]
    table = pd.DataFrame(
        [
            {
                **keys_of(group),
                **point_scores(group, arguments.model, group.masks(arguments.model)[DETECTABLE]),
            }
            for group in group_cells(own)
        ]
    )
    print(table_of(table))
    draw(table)


def table_of(table: pd.DataFrame) -> str:
    """Return median / P90 [m] / MSE [m²] by grade and cell."""
    cells = list(dict.fromkeys(zip(table["scene"], table["band"], strict=True)))
    names = [f"{scene.capitalize()}, {band}" for scene, band in cells]
    lines = ["| what is wrong | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    by_cell = {(row["track"], row["scene"], row["band"]): row for _, row in table.iterrows()}
    for track, name in GRADES.items():
        rows = [by_cell.get((track, *cell)) for cell in cells]
        values = [
            "-" if x is None else f"{x['median_m']:.3g} / {x['p90_m']:.3g} / {x['mse_m2']:.3g}"
            for x in rows
        ]
        if values != ["-"] * len(cells):
            lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines)


@house_style()
def draw(table: pd.DataFrame) -> None:
    """Draw a point for every scene in the row of a grade, mean over bands."""
    mean = table.groupby(["track", "scene"])[list(METRICS)].mean()
    tracks = [track for track in GRADES if track in mean.index.get_level_values("track")]
    row = np.arange(len(tracks))[::-1]
    figure, axes = new_figure(1, 2, panel_inches=(3.6, 3.2))
    for ax, (column, name) in zip(axes, METRICS.items(), strict=True):
        for scene, color in COLORS.items():
            values = [mean[column].get((track, scene), np.nan) for track in tracks]
            ax.plot(values, row, "o", color=color, label=scene.capitalize())
        ax.set(xscale="log", xlabel=name, yticks=row, yticklabels=[GRADES[t] for t in tracks])
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(NullLocator())
    axes[1].set_yticklabels([])
    axes[0].legend()
    save_figure(figure, OUT)


if __name__ == "__main__":
    main()
