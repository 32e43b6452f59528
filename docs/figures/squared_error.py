"""Where the squared error of a model sits: by paths above the noise, and the strongest one's kind.

    python docs/figures/squared_error.py DATASET RUNS [--track unseen-nlos] [--models path_moe,...]
        [--map path_moe/munich/6GHz]

Reads the stored predictions of a run (first seed) and prints, for NLOS links of all cells of a
track, the share of links, the share of the squared error and the median error. With `--map` it
also draws docs/figures/error_map.png: where the errors of one model lie in one cell.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.benchmark.measuring import Survey, load_survey
from raymark.benchmark.store import Cell, RunFolder
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.schema import DIFFRACTION, NLOS
from raymark.plots import house_style, new_figure, plot_error_map, save_figure
from raymark.plots.selections import heights_of, site_marks

SEED = 0
KEYS = ["site", "ue_index"]


def main() -> None:
    """Read the command line, print the tables, draw the map."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--track", default="unseen-nlos")
    parser.add_argument("--models", default="path_moe,extra_trees")
    parser.add_argument("--map", default=None)
    arguments = parser.parse_args()
    dataset, run = open_dataset(arguments.dataset), RunFolder(arguments.runs)
    wanted = arguments.models.split(",")
    cells = [
        cell
        for cell in run.cells()
        if cell.task.track == arguments.track
        and cell.result.seed == SEED
        and cell.result.model in wanted
    ]
    links = pd.concat(
        [errors_of(cell, run, dataset, arguments.runs / "measurements") for cell in cells]
    )
    for column in ("num_estimated", "strongest"):
        print(f"\n{_table(links, column).to_string()}")
    if arguments.map:
        draw_map(dataset, links, *arguments.map.split("/"))


def errors_of(cell: Cell, run: RunFolder, dataset: Dataset, measured: Path) -> pd.DataFrame:
    """Return the NLOS test links of a cell with their error and what is known of their paths."""
    truth = run.truth(cell.task)
    columns = ["x_m", "y_m"]
    offset_m = cell.predictions[columns].to_numpy() - truth[columns].to_numpy()
    table = truth.assign(
        model=cell.result.model,
        scene=cell.task.scene,
        band=cell.task.band,
        squared_m2=(offset_m**2).sum(axis=1),
    )
    known = paths_of(cell.task, dataset, measured)
    return table[table["los"] == NLOS].merge(known, on=KEYS, validate="one_to_one")


def paths_of(task: Task, dataset: Dataset, folder: Path) -> pd.DataFrame:
    """Return for every link how many paths were estimated and what its strongest one met."""
    selection = dataset.select(scene=task.scene, band=task.band)
    split = Splits(dataset, task.window_size).get(task, task.scene)
    survey = Survey(scene=task.scene, band=task.band, seed=SEED)
    measured = load_survey(survey, dataset, folder, split, with_csi=False)
    paths = selection.path_table(0, len(selection))
    first = np.minimum(paths.path_offset[:-1], max(len(paths.delay_s) - 1, 0))
    kind = paths.interaction[first]
    strongest = np.where((kind == DIFFRACTION).any(axis=1), "diffracted", "reflected")
    num_estimated = np.minimum(measured.path_mask.sum(axis=1), 4)
    names = np.array([site.site for site in selection.sites])
    return pd.DataFrame(
        {
            "site": names[selection.site_index],
            "ue_index": selection.ue_index,
            "num_estimated": num_estimated,
            "strongest": strongest,
        }
    )


def _table(links: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return shares of links and of squared error, and the median error, by a column."""
    groups = links.groupby(["model", column])["squared_m2"]
    of_model = links.groupby("model")["squared_m2"]
    table = pd.DataFrame(
        {
            "links": groups.size() / of_model.size(),
            "squared_error": groups.sum() / of_model.sum(),
            "median_m": np.sqrt(groups.median()),
        }
    )
    return table.round(3)


@house_style()
def draw_map(dataset: Dataset, links: pd.DataFrame, model: str, scene: str, band: str) -> None:
    """Draw the NLOS test links of one cell, coloured by their error."""
    chosen = links[(links["model"] == model) & (links["scene"] == scene) & (links["band"] == band)]
    selection = dataset.select(scene=scene, band=band)
    figure, (ax,) = new_figure(panel_inches=(6.0, 5.0))
    plot_error_map(
        chosen.assign(error_m=np.sqrt(chosen["squared_m2"])),
        site_marks(selection),
        height_map=heights_of(selection),
        ax=ax,
    )
    ax.set_title(f"{model}: unseen NLOS, {scene} at {band}")
    save_figure(figure, Path(__file__).parent / "error_map.png")


if __name__ == "__main__":
    main()
