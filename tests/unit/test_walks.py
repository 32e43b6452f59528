"""When and how fast UEs walk, from the order of their tracks and the time of a step."""

import itertools

import numpy as np
import pandas as pd
import pytest

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.samplings import UniformSampling
from raymark.errors import DatasetError

STEP_S = 0.5


def timed(dataset: Dataset, step_s: float | None) -> Dataset:
    """The same dataset as if its campaign had named the time of a step."""
    found = open_dataset(dataset.folder)
    campaign = found.manifest.campaign
    sampling = campaign.sampling.model_copy(update={"step_s": step_s})
    campaign = campaign.model_copy(update={"sampling": sampling})
    found.manifest = found.manifest.model_copy(update={"campaign": campaign})
    return found


def test_walks_tell_when_and_how_fast_when_steps_have_a_time(benchmark_dataset: Dataset) -> None:
    walks = timed(benchmark_dataset, STEP_S).walks()

    index = benchmark_dataset.index.set_index(["scene", "site", "ue_index"])
    assert len(walks) == len(index)
    for _, track in walks.groupby(["scene", "site", "track_id"]):
        rows = [index.loc[key] for key in zip(track.scene, track.site, track.ue_index, strict=True)]
        places_m = np.array([[row.x_m, row.y_m, row.z_m] for row in rows])
        speeds_m_s = [
            np.linalg.norm(after - before) / STEP_S
            for before, after in itertools.pairwise(places_m)
        ]
        assert track["time_s"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
        np.testing.assert_allclose(
            track["speed_m_s"].astype("f8"), [speeds_m_s[0], *speeds_m_s], rtol=1e-5
        )
    # Steps are 0.5 to 1.5 m long on the ground, which is flat here.
    assert 1.0 <= walks["speed_m_s"].min() <= walks["speed_m_s"].max() <= 3.0


def test_speed_of_a_track_of_one_point_is_not_known(benchmark_dataset: Dataset) -> None:
    dataset = timed(benchmark_dataset, STEP_S)
    vars(dataset)["index"] = dataset.index[dataset.index["track_step"] == 0]

    walks = dataset.walks()

    assert (walks["time_s"] == 0.0).all()
    assert walks["speed_m_s"].isna().all()
    assert walks["speed_m_s"].dtype == pd.Float64Dtype()


def test_dataset_says_so_in_a_sentence_when_it_has_no_times(benchmark_dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"has no times and speeds.* names no sampling\.step_s"):
        benchmark_dataset.walks()


def test_dataset_says_so_in_a_sentence_when_it_has_no_tracks(benchmark_dataset: Dataset) -> None:
    dataset = timed(benchmark_dataset, None)
    update = {"sampling": UniformSampling(num_ues=5)}
    campaign = dataset.manifest.campaign.model_copy(update=update)
    dataset.manifest = dataset.manifest.model_copy(update={"campaign": campaign})

    with pytest.raises(DatasetError, match="has no tracks"):
        dataset.walks()
