"""When and how fast the UEs of tracks walk: from their order, and the time of a step."""

import numpy as np
import pandas as pd

from raymark.dataset.reader import Dataset
from raymark.dataset.samplings import TrackSampling
from raymark.errors import DatasetError

_TRACK = ["scene", "site", "track_id"]


def walk_table(dataset: Dataset) -> pd.DataFrame:
    """Return one row per link that is on a track, in order of time.

    Columns: scene, site, ue_index, track_id, track_step, time_s (from the start of its track) and
    speed_m_s, over the step that ends there; the first point has that of the next, and a track of
    one point has `pandas.NA`.

    Raises:
        DatasetError: If its sampling has no tracks, or names no step_s.
    """
    step_s = _step_s(dataset)
    index = dataset.index
    links = index[index["track_id"] >= 0].sort_values([*_TRACK, "track_step"], kind="stable")
    steps = links.groupby(_TRACK, sort=False)[["x_m", "y_m", "z_m", "track_step"]].diff()
    moved_m = np.sqrt((steps[["x_m", "y_m", "z_m"]].astype("f8") ** 2).sum(axis=1, skipna=False))
    speed_m_s = moved_m / (steps["track_step"] * step_s)
    following = speed_m_s.groupby([links[name] for name in _TRACK], sort=False).shift(-1)
    return (
        links[["scene", "site", "ue_index", "track_id", "track_step"]]
        .assign(
            time_s=links["track_step"].to_numpy() * step_s,
            speed_m_s=speed_m_s.fillna(following).astype("Float64"),
        )
        .reset_index(drop=True)
    )


def _step_s(dataset: Dataset) -> float:
    sampling = dataset.manifest.campaign.sampling
    if not isinstance(sampling, TrackSampling):
        raise DatasetError(f"{dataset.folder} has no tracks: its UEs do not follow each other")
    if sampling.step_s is None:
        raise DatasetError(
            f"{dataset.folder} has no times and speeds, only the order of UEs on their tracks: its "
            "campaign names no sampling.step_s; a new one may"
        )
    return sampling.step_s
