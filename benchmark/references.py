"""Reference rows: what an oracle that knows test positions, or physics itself, would reach."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial import cKDTree

from raymark.benchmark.bounds import position_error_bound
from raymark.benchmark.measurements import Labelled
from raymark.benchmark.site_frames import site_frame_positions, world_frame_positions
from raymark.benchmark.store import ModelRecord, prediction_table
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.task_links import handed_rows
from raymark.benchmark.tracks import TRACKS
from raymark.benchmark.ue_links import UeLinks
from raymark.dataset import Dataset
from raymark.dataset.manifest import SiteRecord

NEAREST, MATES, BOUND = "oracle_nearest", "mates_mean", "error_bound"

REFERENCES = {
    NEAREST: ModelRecord(
        name=NEAREST,
        title="Oracle nearest neighbour",
        kind="reference",
        is_trajectory=False,
        summary="The training position nearest to the true one: the floor of fingerprint matching.",
        card=(
            "# Oracle nearest neighbour\n\nKnows the true test position and answers with the "
            "nearest training position. It shows how far a split is from its training data; a "
            "fingerprint matcher with k = 1 cannot do better.\n"
        ),
        tuning="nothing to tune",
    ),
    MATES: ModelRecord(
        name=MATES,
        title="Mean of mates",
        kind="reference",
        is_trajectory=True,
        summary="The mean true position of the other links of the window; no radio at all.",
        card=(
            "# Mean of mates\n\nKnows the true positions of the other links of the same window and "
            "answers with their mean. A trajectory model whose windows held known points would "
            "reach it without any radio: the paper's protocol hands such windows out, on all "
            "other tracks every point of a test window is unknown. Links alone in their window get "
            "the mean training position.\n"
        ),
        tuning="nothing to tune",
    ),
    BOUND: ModelRecord(
        name=BOUND,
        title="Position error bound",
        kind="bound",
        is_trajectory=False,
        summary="Cramer-Rao bound of each link: its direct path, or all paths with known walls.",
        card=(
            "# Position error bound\n\nThe least root mean square error of an unbiased estimator "
            "that sees one noisy CSI matrix. In line of sight it uses the direct path alone; "
            "otherwise all paths, as if their walls and edges were known and matched without "
            "error, with unknown amplitudes. Its values stand where the errors of a model stand. "
            "Links in outage or without a bound are left out.\n"
        ),
        tuning="nothing to tune",
    ),
}


class References:
    """Computes the reference rows of tasks; bounds of a scene and band are computed once."""

    def __init__(self, dataset: Dataset, splits: Splits) -> None:
        """Remember where the truth lies."""
        self._dataset, self._splits = dataset, splits
        self._bounds: dict[tuple[str, str], pd.DataFrame] = {}

    def names(self, task: Task) -> list[str]:
        """Return the references that apply to a task.

        The bound is of single links, which tracks and several sites may beat, and knows no
        impairments.
        """
        is_alone = task.num_sites in (None, 1) and not TRACKS[task.track].gives_tracks
        has_bound = task.conditions is None and is_alone
        return [NEAREST, MATES] + ([BOUND] if has_bound else [])

    def predict(self, name: str, task: Task, truth: pd.DataFrame, data: TaskData) -> pd.DataFrame:
        """Return the stored form of a reference's predictions."""
        if name == BOUND:
            keys = truth[["site", "ue_index"]]
            bound = keys.merge(self._bound_of(task), on=["site", "ue_index"], how="left")
            return bound[bound["error_m"].notna()].reset_index(drop=True)
        selection = self._dataset.select(scene=task.scene, band=task.band)
        rows = handed_rows(task, self._splits.get(task, task.scene))
        site_index, sites = selection.site_index[rows], selection.sites
        true_m = selection.position_m[rows, :2].astype("f8")
        # Another scene is alike only as seen from its site; within one, sites have frames apart.
        is_one_scene = task.scenes == (task.scene,)
        if not is_one_scene:
            true_m = site_frame_positions(true_m, site_index, sites)
        train_m = _training_places(data.train, sites if is_one_scene else ())
        if name == NEAREST:
            predicted_m = train_m[cKDTree(train_m).query(true_m)[1]]
        else:
            predicted_m = _mean_of_mates(true_m, data.test.window, train_m.mean(axis=0))
        if not is_one_scene:
            predicted_m = world_frame_positions(predicted_m, site_index, sites)
        return prediction_table(truth, predicted_m[data.asked], None)

    def _bound_of(self, task: Task) -> pd.DataFrame:
        key = (task.scene, task.band)
        if key not in self._bounds:
            selection = self._dataset.select(scene=task.scene, band=task.band)
            bound = position_error_bound(selection)
            names = np.array([site.site for site in selection.sites])
            table = pd.DataFrame(
                {
                    "site": names[selection.site_index],
                    "ue_index": selection.ue_index,
                    "error_m": bound.peb_m,
                }
            )
            self._bounds[key] = table[bound.is_bounded]
        return self._bounds[key]


def _training_places(train: Labelled, sites: tuple[SiteRecord, ...]) -> Float[np.ndarray, "ue 2"]:
    """Return where each UE trains: in the world if sites are given, else in its site's frame."""
    rows = UeLinks.of(train.measurements).first_row
    train_m = train.position_m[rows]
    if not sites:
        return train_m
    keys = [site.key for site in sites]
    site_of = np.array([keys.index(site.name) for site in train.measurements.sites])
    return world_frame_positions(train_m, site_of[train.measurements.site_index[rows]], sites)


def _mean_of_mates(
    true_m: Float[np.ndarray, "link 2"],
    window: np.ndarray,
    fallback_m: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "link 2"]:
    number = np.unique(window, return_inverse=True)[1]
    size = np.bincount(number)[number]
    total = np.stack([np.bincount(number, weights=x)[number] for x in true_m.T], axis=1)
    mean_m = (total - true_m) / np.maximum(size - 1, 1)[:, None]
    return np.where(size[:, None] > 1, mean_m, fallback_m)
