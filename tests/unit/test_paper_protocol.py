"""The paper's protocol and its favours: windows of neighbours, true values, choice by the test."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import trimesh

from raymark.benchmark.conditions import Conditions
from raymark.benchmark.localizer import Prediction
from raymark.benchmark.measuring import measure
from raymark.benchmark.references import MATES, References
from raymark.benchmark.site_frames import site_frame_positions
from raymark.benchmark.split_settings import CrossingTracks, NlosBlocks, RandomTracks
from raymark.benchmark.splits import TEST, TRAIN, VALIDATION, make_split
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import TaskData, load_task
from raymark.benchmark.task_links import surveys_of, truth_of
from raymark.benchmark.worker import Outcome, fit_and_predict
from raymark.config import validate
from raymark.dataset import Dataset
from raymark.errors import ConfigError
from raymark.models import get_model
from raymark.models.neural.localizer import NeuralLocalizer

MIXED = {"kind": "random-tracks", "windows": "mixed-clusters"}
ORACLE = {"noise": "none", "fingerprints": "oracle"}
TRACKS: list[dict[str, Any]] = [
    {"track": "paper-all", "split": MIXED, "conditions": {**ORACLE, "ue_angle": True}},
    {"track": "paper-measured", "split": MIXED, "conditions": {"noise": "none"}},
    {"track": "paper-validation", "split": MIXED},
    {"track": "paper-whole-windows", "split": {**MIXED, "windows": "clusters"}},
    {
        "track": "paper-whole-blocks",
        "split": {"kind": "nlos-blocks", "windows": "clusters", "buffer_m": 4.0, "num_folds": 3},
        "folds": [0],
    },
]

Protocol = Callable[[str], tuple[Task, TaskData]]


def suite_of(dataset: Dataset, tracks: list[dict[str, Any]]) -> Suite:
    values = {
        "name": "paper-tests",
        "version": 1,
        "preset": "none",
        "content_hash": dataset.manifest.content_hash,
        "scenes": ["yard"],
        "bands": ["6GHz"],
        "seeds": [0],
        "window_size": 4,
        "tracks": tracks,
    }
    return validate(Suite, values, where="test")


@pytest.fixture(scope="module")
def dataset(write_scene: Callable[..., Path], make_dataset: Callable[..., Dataset]) -> Dataset:
    """Single points around two sites with linear arrays that see behind them."""
    floor = trimesh.creation.box(bounds=[[-150, -150, -1], [150, 150, 0]])
    wall = trimesh.creation.box(bounds=[[-2, -30, 0], [2, 30, 25]])
    mirror = trimesh.creation.box(bounds=[[-150, 60, 0], [150, 62, 25]])
    sites = [
        {"name": "west", "position_m": [-60.0, 3.0, 10.0], "azimuth_deg": 5.0},
        {"name": "east", "position_m": [60.0, -3.0, 10.0], "azimuth_deg": 170.0},
    ]
    solids = {
        "ground": (floor, "concrete"),
        "wall": (wall, "concrete"),
        "mirror": (mirror, "concrete"),
    }
    panel = {"num_rows": 1, "num_cols": 16, "element_pattern": "iso", "mirrors_back": True}
    campaign = {
        "name": "points",
        "scenes": [{"name": str(write_scene("yard", solids, sites))}],
        "bands": ["6GHz"],
        "front_end": {"panel": panel},
        "sampling": {"kind": "uniform", "num_ues": 100, "max_range_m": 110.0},
        "tracer": {"max_depth": 1, "discovery": {"discovery_rays": 20_000}},
    }
    return make_dataset(campaign)


@pytest.fixture(scope="module")
def splits(dataset: Dataset) -> Splits:
    return Splits(dataset, window_size=4)


@pytest.fixture(scope="module")
def protocol(
    dataset: Dataset, splits: Splits, tmp_path_factory: pytest.TempPathFactory
) -> Protocol:
    """Return the task of a track, and what a model receives for it."""
    tasks = {task.track: task for task in suite_of(dataset, TRACKS).tasks()}
    folder = tmp_path_factory.mktemp("measured")

    def load(track: str) -> tuple[Task, TaskData]:
        for survey in surveys_of(tasks[track], 0):
            measure(survey, dataset, folder, with_csi=True)
        return tasks[track], load_task(tasks[track], 0, dataset, splits, folder, with_csi=True)

    return load


def sorted_rows(array: np.ndarray) -> list[list[float]]:
    return sorted(np.round(array, 6).tolist())


def test_training_points_stand_in_tested_windows_when_windows_are_mixed(
    protocol: Protocol, splits: Splits
) -> None:
    task, data = protocol("paper-validation")
    table = splits.get(task, "yard").table
    holds_test = table.groupby("window")["part"].transform(lambda part: (part == TEST).any())

    assert len(data.test) == holds_test.sum()
    assert len(data.asked) == (table["part"] == TEST).sum()
    assert 0 < len(data.asked) < len(data.test)
    asked = np.isin(np.arange(len(data.test)), data.asked)
    assert all(asked[data.test.window == number].any() for number in set(data.test.window))
    # What stands beside the asked links is what was learnt from, measured alike.
    known = set(data.train.measurements.distance_m) | set(data.validation.measurements.distance_m)
    assert set(data.test.distance_m[~asked]) <= known


def test_windows_are_neighbours_when_they_are_clusters(
    protocol: Protocol, splits: Splits, dataset: Dataset
) -> None:
    task, _ = protocol("paper-validation")
    table = splits.get(task, "yard").table
    selection = dataset.select(scene="yard", band="6GHz")
    middle_m = np.linalg.norm(
        selection.position_m[:, :2] - selection.position_m[:, :2].mean(axis=0),
        axis=1,
    )
    spans = [
        np.ptp(selection.position_m[rows, :2], axis=0).max()
        for rows in table.groupby("window").indices.values()
    ]

    assert table.groupby("window").size().max() == task.window_size == 4
    assert table.groupby("window")["site"].nunique().max() == 1
    assert np.median(spans) < 0.2 * middle_m.max()


@pytest.mark.parametrize("track", ["paper-whole-windows", "paper-whole-blocks"])
def test_windows_are_of_one_part_when_they_are_held_out_whole(
    protocol: Protocol, splits: Splits, track: str
) -> None:
    task, data = protocol(track)
    table = splits.get(task, "yard").table
    used = table[table["window"] >= 0]

    assert used.groupby("window")["part"].nunique().max() == 1
    assert data.asked.tolist() == list(range(len(data.test)))
    assert used.groupby("window").size().max() > 1
    for _, steps in used.groupby("window")["window_step"]:
        assert sorted(steps) == list(range(len(steps)))


@pytest.mark.parametrize("track", ["paper-all", "paper-measured"])
def test_models_choose_by_the_test_only_where_the_track_says_so(
    protocol: Protocol, splits: Splits, dataset: Dataset, track: str
) -> None:
    selection = dataset.select(scene="yard", band="6GHz")
    site_frame_m = site_frame_positions(
        selection.position_m[:, :2], selection.site_index, selection.sites
    )
    task, data = protocol(track)
    split = splits.get(task, "yard")
    _, honest = protocol("paper-validation")

    assert task.selects_on_test
    tested_m = sorted_rows(site_frame_m[split.rows(TEST)])
    assert sorted_rows(data.validation.position_m) == tested_m
    both = np.concatenate([split.rows(TRAIN), split.rows(VALIDATION)])
    assert sorted_rows(data.train.position_m) == sorted_rows(site_frame_m[both])
    for part in (honest.train, honest.validation):
        assert not {tuple(x) for x in sorted_rows(part.position_m)} & {tuple(x) for x in tested_m}


def test_values_are_the_ray_tracers_own_when_an_oracle_tells_them(
    protocol: Protocol, dataset: Dataset
) -> None:
    _, data = protocol("paper-all")
    selection = dataset.select(scene="yard", band="6GHz")
    table = selection.path_table(0, len(selection))
    speed_m_s = 299_792_458.0
    true = {}
    for i, (start, stop) in enumerate(
        zip(table.path_offset[:-1], table.path_offset[1:], strict=True)
    ):
        if stop > start:
            rows = np.arange(start, stop)
            first = rows[table.delay_s[rows].argmin()]
            strongest = rows[np.abs(table.amplitude[rows]).argmax()]
            yaw_rad = selection.sites[selection.site_index[i]].orientation_rad[0]
            turned = table.azimuth_ue_rad[first] - yaw_rad
            true[round(float(table.delay_s[first] * speed_m_s), 3)] = (
                float(np.cos(turned)),
                float(table.delay_s[strongest] * speed_m_s),
                float(10 * np.log10((np.abs(table.amplitude[rows]) ** 2).sum())),
                min(len(rows), data.test.path_mask.shape[1]),
            )
    links = data.train.measurements
    heard = np.flatnonzero(links.has_signal)

    assert len(heard) > 50
    assert links.ue_azimuth_rad is not None
    for i in heard:
        cosine, range_m, gain_db, num_paths = true[round(float(links.distance_m[i]), 3)]
        assert np.cos(links.ue_azimuth_rad[i]) == pytest.approx(cosine, abs=1e-5)
        assert links.path_range_m[i, 0] == pytest.approx(range_m, rel=1e-6)
        assert links.gain_db[i] == pytest.approx(gain_db, abs=1e-3)
        assert links.path_mask[i].sum() == num_paths


def test_nobody_gets_the_angle_at_the_ue_when_the_track_measures(protocol: Protocol) -> None:
    for track in ("paper-measured", "paper-validation"):
        _, data = protocol(track)
        parts = (data.train.measurements, data.validation.measurements, data.test)
        assert all(links.ue_azimuth_rad is None for links in parts)


def test_mates_are_all_links_of_the_window_when_training_points_stand_in_it(
    protocol: Protocol, splits: Splits, dataset: Dataset
) -> None:
    task, data = protocol("paper-validation")
    truth = truth_of(task, dataset, splits)
    found = References(dataset, splits).predict(MATES, task, truth, data)
    table = splits.get(task, "yard").table
    selection = dataset.select(scene="yard", band="6GHz")
    row_of = {key: i for i, key in enumerate(zip(table["site"], table["ue_index"], strict=True))}
    num_checked = 0
    for _, link in found.iterrows():
        row = row_of[link["site"], link["ue_index"]]
        mates = np.flatnonzero((table["window"] == table["window"][row]) & (table.index != row))
        if len(mates):
            mean_m = selection.position_m[mates, :2].astype("f8").mean(axis=0)
            np.testing.assert_allclose([link["x_m"], link["y_m"]], mean_m, atol=1e-4)
            num_checked += 1

    assert num_checked > 10


def test_only_asked_links_are_scored_when_a_model_locates_all(protocol: Protocol) -> None:
    _, data = protocol("paper-validation")
    outcome = fit_and_predict(get_model("wknn_scalars"), 0, data)
    asked = outcome.of(data.asked)

    assert len(outcome.prediction.position_m) == len(data.test)
    np.testing.assert_array_equal(
        asked.prediction.position_m, outcome.prediction.position_m[data.asked]
    )
    with_spread = Prediction(
        position_m=np.zeros((3, 2)), covariance_m2=np.arange(3.0)[:, None, None] + np.eye(2)
    )
    one = Outcome(prediction=with_spread, record={}).of(np.array([2]))
    assert one.prediction.covariance_m2 is not None
    np.testing.assert_array_equal(one.prediction.covariance_m2[0], 2.0 + np.eye(2))


def test_scalars_grow_by_the_angle_at_the_ue_when_it_is_told(protocol: Protocol) -> None:
    counts = {}
    for track in ("paper-all", "paper-measured"):
        _, data = protocol(track)
        counts[track] = fit_and_predict(get_model("wknn_scalars"), 0, data).record["choices"]

    assert counts["paper-all"]["num_scalars"] == 5
    assert counts["paper-measured"]["num_scalars"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ue_angle": True, "noise": "none"}, "ue_angle is known to an oracle alone"),
        ({"fingerprints": "oracle"}, "fingerprints: oracle needs noise: none"),
        ({**ORACLE, "bandwidth_share": 0.5}, "fingerprints: oracle needs noise: none"),
        ({**ORACLE, "blockage_probability": 0.1}, "fingerprints: oracle needs noise: none"),
    ],
)
def test_conditions_are_refused_when_they_contradict(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Conditions, changes, where="test")


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (
            {"track": "interpolation", "split": {"kind": "random-tracks"}, "conditions": ORACLE},
            "track 'interpolation' hands out estimates alone",
        ),
        (
            {"track": "interpolation", "split": MIXED},
            "locates windows that hold no training point, got windows 'mixed-clusters'",
        ),
        (
            {"track": "unseen-track", "split": {"kind": "crossing-tracks", "windows": "clusters"}},
            "windows are consecutive, got 'clusters'",
        ),
        (
            {"track": "unseen-nlos", "split": {"kind": "nlos-blocks", "windows": "mixed-clusters"}},
            "windows of whole blocks hold one part",
        ),
    ],
)
def test_favours_are_refused_when_the_track_is_another(
    dataset: Dataset, track: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        suite_of(dataset, [track])


def test_hashes_are_those_of_before_when_windows_are_consecutive() -> None:
    for settings in (RandomTracks(), CrossingTracks(), NlosBlocks()):
        assert "windows" not in settings.model_dump(mode="json")


def test_split_is_equal_when_clusters_are_made_again(dataset: Dataset) -> None:
    settings = RandomTracks(windows="mixed-clusters")
    first, second = (make_split(dataset, "yard", settings, window_size=4) for _ in range(2))

    assert first.hash == second.hash


@pytest.mark.parametrize(("track", "is_known"), [("paper-all", True), ("paper-measured", False)])
def test_network_gets_the_angle_at_the_ue_only_when_the_track_tells_it(
    protocol: Protocol, track: str, is_known: bool
) -> None:
    _, data = protocol(track)
    shipped = get_model("scadf_moe_paper")
    changes = {"modalities": ["gain", "ue_angle"], "training": {"steps": 2, "batch_size": 64}}
    model = cast(NeuralLocalizer, shipped.with_config({**shipped.info.config, **changes}).create(0))
    model.fit(data.train, data.validation)

    assert ("ue_angle" in model.modalities) == is_known
    moved = dataclasses.replace(data.test, ue_azimuth_rad=np.full(len(data.test), 1.0, "f4"))
    same = np.array_equal(model.predict(data.test).position_m, model.predict(moved).position_m)
    assert same == (not is_known)
