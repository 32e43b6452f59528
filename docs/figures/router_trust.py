"""Whom the router of twin_moe trusts, by band, grade of the map and number of paths.

    python docs/figures/router_trust.py RUNS

Of all cells of `twin_moe` in a run (`raymark bench run`, suite `small-map-errors`): prints the mean
share of each cue over validation links, by band, grade and number of estimated paths, and draws it
as docs/figures/router_trust.png, with its numbers beside it. Links of all cells count alike.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.benchmark.store import RunFolder
from raymark.models.twin.trust import PATH_COUNTS
from raymark.plots import house_style, new_figure, save_figure
from raymark.radio import parse_bands

FOLDER = Path(__file__).parent
ROUTED = "twin_moe"
KEYS = ["band", "grade", "paths"]
COLORS = ("#0072B2", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#999999")


def main() -> None:
    """Read the command line, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    rows = trust_of(RunFolder(parser.parse_args().runs))
    table = mean_trust(rows)
    print(table.round(3).to_string())
    table.to_csv(FOLDER / "router_trust.csv", float_format="%.4g")
    draw_trust(table)


def trust_of(run: RunFolder) -> pd.DataFrame:
    """Return what every cell of the model says of its router, with the cell's scene."""
    return pd.DataFrame(
        [
            {"scene": cell.task.scene, **row}
            for cell in run.cells()
            if cell.result.model == ROUTED
            for row in cell.result.diagnostics["trust"]
        ]
    )


def mean_trust(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each cue by `KEYS`, all links counting alike, and their number."""
    cues = [name for name in rows.columns if name not in {"scene", "links", *KEYS}]
    summed = rows[cues].mul(rows["links"], axis=0).assign(links=rows["links"], **rows[KEYS])
    total = summed.groupby(KEYS, sort=False).sum()
    mean = total[cues].div(total["links"], axis=0).assign(links=total["links"])
    order = {name: place for place, name in enumerate(PATH_COUNTS)}
    return mean.sort_index(key=lambda level: level.map(lambda x: order.get(x, x)), level="paths")


@house_style()
def draw_trust(table: pd.DataFrame) -> None:
    """Draw the shares, a row for each grade, a panel for each band, a bar for each path count."""
    bands, grades = (
        list(dict.fromkeys(table.index.get_level_values(x))) for x in ("band", "grade")
    )
    bands.sort(key=lambda name: parse_bands(name)[0].carrier_hz)
    cues = [name for name in table.columns if name != "links"]
    figure, axes = new_figure(len(grades), len(bands), panel_inches=(2.9, 2.4))
    for ax, (grade, band) in zip(axes, itertools.product(grades, bands), strict=True):
        part = table.xs((band, grade), level=("band", "grade"))
        place, bottom = np.arange(len(part)), np.zeros(len(part))
        for cue, color in zip(cues, COLORS, strict=True):
            ax.bar(place, part[cue], bottom=bottom, color=color, label=cue, width=0.8)
            bottom += part[cue].to_numpy()
        labels = [f"{name}\n({count:.0f})" for name, count in part["links"].items()]
        ax.set_xticks(place, labels, fontsize=7)
        ax.set(title=f"{band}, {grade}", ylim=(0, 1), xlabel="Estimated paths (links)")
    for ax in axes[:: len(bands)]:
        ax.set_ylabel("Share of the mixture")
    handles, cue_names = axes[0].get_legend_handles_labels()
    figure.legend(handles, cue_names, loc="outside lower center", ncols=4)
    save_figure(figure, FOLDER / "router_trust.png")


if __name__ == "__main__":
    main()
