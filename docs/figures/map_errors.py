"""Which error of a map costs what, from a run of the suite small-map-errors.

    python docs/figures/map_errors.py RUNS DATASET [--models twin_match,twin_moe,extra_trees]

Prints what each model reaches on the unseen NLOS links that show a path, by error of the map, as
Markdown: in every cell, and the MSE by the number of estimated paths. Draws the first model's
median and P90 as docs/figures/map_errors.png.
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
from raymark.dataset.schema import NLOS
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
COLUMNS = [*METRICS, "mse_m2"]
COLORS = {"munich": "#0072B2", "etoile": "#D55E00", "florence": "#009E73"}
FEWEST_PATHS = (1, 2, 4)
"""Links are told apart by their number of paths: one, two or three, and from four on."""

KEYS = ["site", "ue_index"]
OUT = Path(__file__).with_name("map_errors.png")


def main() -> None:
    """Read the command line, print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--models", default="twin_match")
    arguments = parser.parse_args()
    run, models = RunFolder(arguments.runs), arguments.models.split(",")
    table = scores_of(run, arguments.dataset, models)
    links = links_of(run, models)
    for model in models:
        print(f"\n{model}\n\n{table_of(table[table['model'] == model])}")
        print(f"\n{table_by_paths(links[links['model'] == model]).to_string()}")
    draw(table[table["model"] == models[0]])


def scores_of(run: RunFolder, dataset: Path, models: list[str]) -> pd.DataFrame:
    """Return the metrics of models in every cell, over its links that show a path."""
    cells = score_run(run, truths=Truths(run, open_dataset(dataset)))
    own = [c for c in cells if c.result.model in models and c.task.track in GRADES]
    return pd.DataFrame(
        [
            {
                **keys_of(group),
                "model": model,
                **point_scores(group, model, group.masks(model)[DETECTABLE]),
            }
            for group in group_cells(own)
            for model in group.error_m
        ]
    )


def links_of(run: RunFolder, models: list[str]) -> pd.DataFrame:
    """Return the squared error of every NLOS link that shows a path, and its number of paths."""
    tables = []
    for cell in run.cells():
        counts = run.detections(cell.task, cell.result.seed)
        if cell.result.model not in models or cell.task.track not in GRADES or counts is None:
            continue
        links = run.truth(cell.task).merge(counts, on=KEYS, validate="one_to_one")
        links = links.merge(cell.predictions, on=KEYS, suffixes=("", "_found"))
        offset_m = links[["x_m_found", "y_m_found"]].to_numpy() - links[["x_m", "y_m"]].to_numpy()
        links = links.assign(
            model=cell.result.model,
            track=cell.task.track,
            cell=f"{cell.task.scene} {cell.task.band}",
            squared_m2=(offset_m**2).mean(axis=1),
        )
        tables.append(links[(links["los"] == NLOS) & (links["num_paths"] > 0)])
    return pd.concat(tables)


def table_of(table: pd.DataFrame) -> str:
    """Return median / P90 [m] / MSE [m²] by grade and cell, and their means over cells."""
    means = table.groupby("track", as_index=False)[COLUMNS].mean().assign(cell="mean")
    cells = table.assign(cell=table["scene"].str.capitalize() + ", " + table["band"])
    rows = pd.concat([cells, means])
    rows["text"] = rows[COLUMNS].map("{:.3g}".format).agg(" / ".join, axis=1)
    shown = rows.pivot_table(
        index="track", columns="cell", values="text", aggfunc="first", sort=False
    )
    lines = {
        track: f"| {' | '.join(map(str, row))} |" for track, row in shown.fillna("-").iterrows()
    }
    head = [
        f"| what is wrong | {' | '.join(shown.columns)} |",
        "|---" * (len(shown.columns) + 1) + "|",
    ]
    named = [f"| {name} {lines[track]}" for track, name in GRADES.items() if track in lines]
    return "\n".join([*head, *named])


def table_by_paths(links: pd.DataFrame) -> pd.DataFrame:
    """Return by grade and number of paths: links, median, MSE, and the part of the mean MSE.

    The mean is that over cells: a link counts by one over the links of its cell.
    """
    in_cell = links.groupby(["track", "cell"])["squared_m2"].transform("size")
    num_cells = links.groupby("track")["cell"].transform("nunique")
    from_paths = np.searchsorted(FEWEST_PATHS, links["num_paths"], side="right") - 1
    groups = links.assign(
        paths_from=np.take(FEWEST_PATHS, from_paths),
        error_m=np.sqrt(2 * links["squared_m2"]),
        part_m2=links["squared_m2"] / in_cell / num_cells,
    ).groupby(["track", "paths_from"])
    return groups.agg(
        links=("squared_m2", "size"),
        median_m=("error_m", "median"),
        mse_m2=("squared_m2", "mean"),
        part_m2=("part_m2", "sum"),
    ).round(2)


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
