"""The tables and figures of docs/results.md, from the predictions of a run.

    python docs/figures/results.py RUNS DATASET [--cells FILE]

Prints where the errors of `unseen-nlos` sit, and draws docs/figures/results.png: P90 of the links
that show a path, by scene and band with its interval, for the six best of the models that have all
cells. `--cells` writes the headline's metrics of every cell with intervals.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.benchmark.board.content import SUMMARY_KEYS
from raymark.benchmark.labels import ALL, DETECTABLE, NLOS_LABEL
from raymark.benchmark.measuring import Survey, load_survey
from raymark.benchmark.scoring import Group, group_cells, score_run
from raymark.benchmark.splits import TRAIN, distance_to_nearest, links_of, positions_of
from raymark.benchmark.store import RunFolder
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.summary import INTERVAL_METRICS, summarize
from raymark.benchmark.truths import Truths
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.schema import NLOS
from raymark.plots import house_style, new_figure, save_figure
from raymark.storage import write_text

TRACK = "unseen-nlos"
OUT = Path(__file__).with_name("results.png")
NUM_PATHS_EDGES = (0, 1, 2, 4, 8, 9)
TICKS_M = (20, 50, 100, 200, 300)
DISTANCE_EDGES_M = (10, 12, 15, 20, 30, np.inf)
NUM_DRAWN = 6
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def main() -> None:
    """Read the command line, print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cells", type=Path)
    arguments = parser.parse_args()
    run, dataset = RunFolder(arguments.runs), open_dataset(arguments.dataset)
    cells = score_run(run, truths=Truths(run, dataset))
    every_group = group_cells([cell for cell in cells if cell.task.gain_db is None])
    models = {name for name, record in run.models().items() if record.kind == "model"}
    if arguments.cells is not None:
        _write_cells(summarize(every_group, models), arguments.cells)
    groups = [group for group in every_group if group.key[0] == TRACK]
    names = sorted(models.intersection(*(group.error_m for group in groups)))
    points = pd.concat([_points(group, names, run, dataset) for group in groups])
    points = points[points["los"] == NLOS]
    for title, column, edges in (
        ("estimated paths", "num_paths", NUM_PATHS_EDGES),
        ("distance to the nearest training point [m]", "distance_m", DISTANCE_EDGES_M),
    ):
        print(f"\nBy {title}: share of the points, then median / P90 [m] of each model")
        bins = pd.cut(points[column], edges, right=False)
        for interval, inside in points.groupby(bins, observed=True):
            cells_text = ", ".join(
                f"{name} {inside[name].median():.1f} / {inside[name].quantile(0.9):.0f}"
                for name in names
            )
            print(f"  {interval!s:<14}{len(inside) / len(points):6.1%}  {cells_text}")
    print("\nShare of the squared error in the worst 5 % of the points")
    for name in names:
        squared = np.sort(np.square(points[name].to_numpy()))
        print(f"  {name:<20}{squared[int(0.95 * len(squared)) :].sum() / squared.sum():.0%}")
    best = sorted(names, key=lambda name: points[name].quantile(0.9))[:NUM_DRAWN]
    _draw(summarize(groups, models), best)


def _write_cells(summary: pd.DataFrame, path: Path) -> None:
    """Write what a paper would quote of each cell, at four significant digits."""
    is_cell = (summary["scene"] != "all") & (summary["band"] != "all")
    chosen = summary[is_cell & ~summary["label"].isin([ALL, NLOS_LABEL])]
    numbers = [f"{name}{end}" for name in INTERVAL_METRICS for end in ("", "_low", "_high")]
    write_text(path, chosen[[*SUMMARY_KEYS, *numbers]].to_csv(index=False, float_format="%.4g"))


def _points(group: Group, names: list[str], run: RunFolder, dataset: Dataset) -> pd.DataFrame:
    """Return the errors of every model at each point (first seed), with what may explain them."""
    _, _, scene, band = group.key
    suite = run.info().suite
    splits = Splits(dataset, suite.window_size)
    table = group.truth.assign(**{name: group.error_m[name][0] for name in names})
    links = links_of(dataset, scene)
    tasks = {task.id: task for task in suite.tasks()}
    survey = Survey(scene=scene, band=band, seed=suite.seeds[0])
    parts = []
    for task_id, inside in table.groupby("fold", sort=False):
        split = splits.get(tasks[str(task_id)], scene)
        measured = load_survey(survey, dataset, run.measurements, split, with_csi=False)
        rows = pd.MultiIndex.from_frame(links[["site", "ue_index"]]).get_indexer(
            pd.MultiIndex.from_frame(inside[["site", "ue_index"]])
        )
        train_m = positions_of(links)[split.rows(TRAIN)]
        parts.append(
            inside.assign(
                num_paths=measured.path_mask[rows].sum(axis=1),
                distance_m=distance_to_nearest(inside[["x_m", "y_m"]].to_numpy(), train_m),
            )
        )
    return pd.concat(parts)


@house_style()
def _draw(summary: pd.DataFrame, names: list[str]) -> None:
    chosen = summary[(summary["label"] == DETECTABLE) & (summary["scene"] != "all")]
    scenes = list(dict.fromkeys(chosen["scene"]))
    figure, axes = new_figure(1, len(scenes), panel_inches=(4.0, 4.2))
    for ax, scene in zip(axes, scenes, strict=True):
        here = chosen[(chosen["scene"] == scene) & (chosen["band"] != "all")]
        bands = list(dict.fromkeys(here["band"]))
        for i, name in enumerate([*names, "oracle_nearest"]):
            rows = here[here["model"] == name].set_index("band").loc[bands]
            value, low, high = (
                rows[column].to_numpy("f8") for column in ("p90_m", "p90_m_low", "p90_m_high")
            )
            place = np.arange(len(bands)) + 0.11 * (i - len(names) / 2)
            errors = np.maximum([value - low, high - value], 0)
            ax.errorbar(place, value, errors, fmt="o", ms=4, color=COLORS[i], label=name, lw=1)
        ax.set(yscale="log", ylim=(15, 320), title=scene)
        ax.set_yticks(TICKS_M, map(str, TICKS_M))
        ax.set_yticks([], minor=True)
        ax.set_xticks(range(len(bands)), bands)
    axes[0].set_ylabel("P90 of the horizontal error [m]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save_figure(figure, OUT)


if __name__ == "__main__":
    main()
