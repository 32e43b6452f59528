"""The figure of the link budget in docs/benchmark.md, from a run of a suite with `gains_db`.

    python docs/figures/budget.py RUNS DATASET

Draws docs/figures/budget.png: the median error of unseen NLOS links by processing gain, mean over
scenes, for every band: of all of them, which are the same at every gain, and of those that show a
path, which are more with every step. Prints the numbers, and these links' share, as Markdown.
"""

import argparse
import itertools
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from raymark.benchmark.board.content import EVERY
from raymark.benchmark.budget import budget_curves
from raymark.benchmark.labels import DETECTABLE, NLOS_LABEL
from raymark.benchmark.scoring import score_run
from raymark.benchmark.store import RunFolder
from raymark.benchmark.truths import Truths
from raymark.dataset import open_dataset
from raymark.plots import house_style, new_figure, save_figure

TRACK = "unseen-nlos"
OUT = Path(__file__).with_name("budget.png")
TITLES = {NLOS_LABEL: "All NLOS links", DETECTABLE: "NLOS links with a path"}
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def main() -> None:
    """Read the command line, draw the figure, print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("dataset", type=Path)
    arguments = parser.parse_args()
    run = RunFolder(arguments.runs)
    cells = score_run(run, truths=Truths(run, open_dataset(arguments.dataset)))
    records = {name: record for name, record in run.models().items() if record.kind == "model"}
    table = budget_curves(cells)
    table = table[
        (table["track"] == TRACK)
        & (table["scene"] == EVERY)
        & (table["band"] != EVERY)
        & table["model"].isin(records)
    ]
    with house_style():
        draw(table, {name: record.title for name, record in records.items()})
    print(table_of(table))


def draw(table: pd.DataFrame, titles: dict[str, str]) -> None:
    """Draw one row a band, one column a label."""
    bands = list(dict.fromkeys(table["band"]))
    figure, axes = new_figure(len(bands), len(TITLES), panel_inches=(5.0, 3.2))
    for (band, label), ax in zip(itertools.product(bands, TITLES), axes, strict=True):
        here = table[(table["band"] == band) & (table["label"] == label)]
        _draw_curves(here, ax, titles)
        ax.set_title(f"{TITLES[label]}, {band}")
    axes[0].legend(loc="lower left", ncols=2)
    save_figure(figure, OUT)


def _draw_curves(table: pd.DataFrame, ax: Axes, titles: dict[str, str]) -> None:
    for color, (name, curve) in zip(COLORS, table.groupby("model"), strict=False):
        by_gain = curve.set_index("gain_db")["median_m"].sort_index()
        ax.plot(by_gain.index, by_gain, "o-", color=color, label=titles[str(name)])
    ax.set(xlabel="Processing gain [dB]", ylabel="Median error [m]", ylim=(0, None))


def table_of(table: pd.DataFrame) -> str:
    """Return the medians [m] by band, label and model, and the share that shows a path [%]."""
    gains_db = sorted(table["gain_db"].unique())
    lines = [
        "| band | of | model | " + " | ".join(f"{gain_db:g} dB" for gain_db in gains_db) + " |",
        "|---|---|---|" + "---|" * len(gains_db),
    ]
    for band, of_band in table.groupby("band", sort=False):
        all_nlos = of_band[of_band["label"] == NLOS_LABEL]
        share = all_nlos.groupby("gain_db")["detectable_share"].mean()
        shares = " | ".join(f"{100 * share[gain_db]:.0f}" for gain_db in gains_db)
        lines.append(f"| {band} | *NLOS links with a path* [%] | | {shares} |")
        for (label, model), rows in of_band.groupby(["label", "model"], sort=False):
            if label in TITLES:
                by_gain = rows.set_index("gain_db")["median_m"]
                values = " | ".join(f"{by_gain[gain_db]:.3g}" for gain_db in gains_db)
                lines.append(f"| {band} | {TITLES[str(label)]} | `{model}` | {values} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
