"""SCADF-MoE and others under the paper's kind of protocol, beside the oracle that it must beat.

    python docs/figures/paper_protocol.py DATASET OUT.csv [--models A,B] [--seeds 0,1,2]

Points of a scene are dealt at random to training (70 %), validation (10 %) and test (20 %).
Windows are clusters of neighbouring true positions, test points among them; a window is tested when
at least one of its vertices is unseen, and its seen vertices help to locate the others. Two errors
are kept apart: over all vertices of tested windows, as the protocol reads, and over unseen vertices
alone. `mates_mean` is an oracle without radio: the mean of the true positions of a vertex's mates,
for the vertices that have any. Cells that OUT.csv has already are not run again.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cells import run_missing
from jaxtyping import Bool, Float, Int

from raymark.benchmark import Labelled
from raymark.benchmark.channels import channels_of
from raymark.benchmark.clusters import cluster_windows, radius_clusters
from raymark.benchmark.measuring import Survey, load_survey, measure
from raymark.benchmark.site_frames import site_frame_positions
from raymark.benchmark.split_settings import RandomTracks
from raymark.benchmark.splits import TEST, TRAIN, VALIDATION, Split
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.worker import fit_and_predict
from raymark.dataset import Dataset, Selection, open_dataset
from raymark.models import get_model
from raymark.seeding import child_generator
from raymark.storage import PlaceLike

SHARES = {TRAIN: 0.7, VALIDATION: 0.1, TEST: 0.2}
WINDOW_SIZE = MIN_MEDIAN_SIZE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model on one scene and band under one draw of points, noise and weights."""

    model: str
    scene: str
    band: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is trained on and what is tested.

    Attributes:
        data: What the model receives.
        position_m: True positions of the tested vertices, site frame [m].
        mates_m: Mean of the true positions of each tested vertex's mates; NaN without any [m].
        is_unseen: Whether a tested vertex was held out.
        los: Labels of the tested vertices.
        radius_m: Radius of the neighbourhoods [m].
    """

    data: TaskData
    position_m: Float[np.ndarray, "link 2"]
    mates_m: Float[np.ndarray, "link 2"]
    is_unseen: Bool[np.ndarray, "link"]
    los: Int[np.ndarray, "link"]
    radius_m: float


def main() -> None:
    """Read the command line, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", default="scadf_moe,path_moe,trajectory_transformer")
    parser.add_argument("--seeds", default="0")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset)
    cells = [
        Cell(model=model, scene=scene, band=band, seed=int(seed))
        for seed in arguments.seeds.split(",")
        for model in arguments.models.split(",")
        for scene in dataset.scenes
        for band in dataset.bands
    ]
    folder = arguments.out.parent / "measurements"
    print_table(run_missing(cells, run_cell, (dataset.folder, folder), arguments.out))


def run_cell(cell: Cell, dataset_folder: PlaceLike, folder: Path) -> pd.DataFrame:
    """Fit, locate and score one cell: one row per set of vertices."""
    dataset = open_dataset(dataset_folder)
    protocol = make_protocol(cell, dataset, folder)
    outcome = fit_and_predict(get_model(cell.model), cell.seed, protocol.data)
    located = {cell.model: outcome.prediction.position_m, "mates_mean": protocol.mates_m}
    rows = [
        {**asdict(cell), "of": of, "vertices": name, "radius_m": protocol.radius_m}
        | errors(position_m[chosen], protocol.position_m[chosen])
        for of, position_m in located.items()
        for name, vertices in vertex_sets(protocol).items()
        for chosen in [vertices & np.isfinite(position_m).all(axis=1)]
        if chosen.any()
    ]
    return pd.DataFrame(rows)


def make_protocol(cell: Cell, dataset: Dataset, folder: Path) -> Protocol:
    """Deal the points, cluster them, and load what the windows measure."""
    model = get_model(cell.model)
    with_csi = "csi" in model.info.inputs
    survey = Survey(scene=cell.scene, band=cell.band, seed=cell.seed)
    measure(survey, dataset, folder, with_csi=with_csi)
    selection = dataset.select(scene=cell.scene, band=cell.band)
    position_m = site_frame_positions(
        selection.position_m[:, :2], selection.site_index, selection.sites
    )
    cluster, radius_m = radius_clusters(position_m, min_median_size=MIN_MEDIAN_SIZE)
    windows = cluster_windows(position_m, cluster, size=WINDOW_SIZE)
    rng = child_generator(cell.seed, "paper protocol", cell.scene)
    part = rng.choice(list(SHARES), size=len(position_m), p=list(SHARES.values()))
    split = Split(scene=cell.scene, settings=RandomTracks(), table=_table(selection, part, windows))
    links = load_survey(survey, dataset, folder, split, with_csi=with_csi)
    labelled = {
        number: Labelled(
            measurements=links.take(rows),
            position_m=position_m[rows],
            los=selection.los[rows],
            channels=channels_of(selection).take(rows) if with_csi and number == TRAIN else None,
        )
        for number in (TRAIN, VALIDATION)
        for rows in [split.rows(number)]
    }
    there = windows >= 0
    is_tested = ((part[windows] == TEST) & there).any(axis=1)
    rows = windows[is_tested][there[is_tested]]
    return Protocol(
        data=TaskData(
            train=labelled[TRAIN],
            validation=labelled[VALIDATION],
            test=links.take(rows),
            asked=np.arange(len(rows)),
        ),
        position_m=position_m[rows],
        mates_m=_mates_mean(position_m, windows[is_tested])[there[is_tested]],
        is_unseen=part[rows] == TEST,
        los=selection.los[rows],
        radius_m=radius_m,
    )


def vertex_sets(protocol: Protocol) -> dict[str, Bool[np.ndarray, "link"]]:
    """Return the sets of tested vertices over which errors are taken."""
    unseen = protocol.is_unseen
    return {
        "all": np.ones_like(unseen),
        "unseen": unseen,
        "unseen los": unseen & (protocol.los == 1),
        "unseen nlos": unseen & (protocol.los == 0),
    }


def errors(
    position_m: Float[np.ndarray, "link 2"], true_m: Float[np.ndarray, "link 2"]
) -> dict[str, float]:
    """Return count, MSE per coordinate [m^2], median and P90 [m], and where the MSE sits."""
    error_m = np.linalg.norm(position_m - true_m, axis=1)
    squared = np.sort(error_m**2)
    worst = squared[int(0.95 * len(squared)) :].sum() / squared.sum()
    return {
        "num_points": len(error_m),
        "mse_m2": float(squared.mean() / 2),
        "median_m": float(np.median(error_m)),
        "p90_m": float(np.quantile(error_m, 0.9)),
        "worst_5_percent_share": float(worst),
    }


def print_table(known: pd.DataFrame) -> None:
    """Print the MSE per coordinate of every cell, mean over seeds."""
    for vertices in ("all", "unseen", "unseen nlos"):
        chosen = known[known["vertices"] == vertices]
        table = chosen.pivot_table(index="of", columns=["scene", "band"], values="mse_m2")
        print(f"\nMSE per coordinate [m^2], vertices: {vertices}\n{table.round(2).to_string()}")


def _table(
    selection: Selection, part: Int[np.ndarray, "link"], windows: Int[np.ndarray, "window s"]
) -> pd.DataFrame:
    """Return the table of a split; a training window keeps its training vertices alone."""
    window, step = np.full(len(part), -1), np.zeros(len(part), dtype="i8")
    number, place = np.nonzero(windows >= 0)
    window[windows[number, place]], step[windows[number, place]] = number, place
    return pd.DataFrame(
        {"ue_index": selection.ue_index, "part": part, "window": window, "window_step": step}
    )


def _mates_mean(
    position_m: Float[np.ndarray, "link 2"], windows: Int[np.ndarray, "window s"]
) -> Float[np.ndarray, "window s 2"]:
    """Return the mean position of each vertex's mates, NaN for a lone vertex [m]."""
    there = (windows >= 0)[..., None]
    at_m = np.where(there, position_m[windows], 0.0)
    count = there.sum(axis=1, keepdims=True) - 1
    mean_m = (at_m.sum(axis=1, keepdims=True) - at_m) / np.maximum(count, 1)
    return np.where(count > 0, mean_m, np.nan)


if __name__ == "__main__":
    import paper_protocol  # the processes of the cells import this module by its name

    paper_protocol.main()
