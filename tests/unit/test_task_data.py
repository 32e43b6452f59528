import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from raymark.benchmark.conditions import Conditions
from raymark.benchmark.features import first_path
from raymark.benchmark.measurements import Measurements
from raymark.benchmark.measuring import measure
from raymark.benchmark.site_frames import (
    site_frame_positions,
    world_frame_covariances,
    world_frame_positions,
)
from raymark.benchmark.split_settings import CrossingTracks
from raymark.benchmark.splits import TEST, TRAIN, VALIDATION
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import TaskData, load_task
from raymark.benchmark.task_links import ordered_test_rows, surveys_of, truth_of
from raymark.dataset import Dataset
from raymark.dataset.schema import LOS
from raymark.errors import ConfigError, SplitError

FindTask = Callable[..., Task]
LoadTask = Callable[[Task], TaskData]

ROUNDING_M = 1e-9
"""Float64 of coordinates of some 100 m."""

each_scene = pytest.mark.parametrize("scene", ["street_canyon", "yard"])
each_track = pytest.mark.parametrize(
    "track", ["interpolation", "unseen-nlos", "unseen-track", "cross-band", "cross-scene"]
)


def links_seen(measurements: Measurements) -> set[tuple[str, str]]:
    """Return (scene, band) of all links."""
    return {
        (measurements.sites[site].name.split("/")[0], measurements.bands[band].name)
        for site, band in zip(measurements.site_index, measurements.band_index, strict=True)
    }


@pytest.mark.slow
@each_scene
@each_track
def test_truth_stands_in_the_order_of_the_test_when_measured_independently(
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    load_benchmark_task: LoadTask,
    scene: str,
    track: str,
) -> None:
    """The noisy CSI of a link is like no other: it names the UE."""
    task = benchmark_task(track, scene)
    data = load_benchmark_task(task)
    truth = truth_of(task, benchmark_dataset, benchmark_splits)
    selection = benchmark_dataset.select(scene=scene, band=task.band)
    csi = np.concatenate(
        [
            selection.fingerprints(
                start, stop, generator=selection.batch_noise_generator(start, 0)
            ).csi.numpy()
            for start, stop in selection.ranges()
        ]
    )
    places = {
        (selection.sites[site].site, int(ue)): row
        for row, (site, ue) in enumerate(zip(selection.site_index, selection.ue_index, strict=True))
    }
    rows = [places[site, ue] for site, ue in zip(truth["site"], truth["ue_index"], strict=True)]

    np.testing.assert_array_equal(data.test.csi(np.arange(len(truth))), csi[rows])
    np.testing.assert_array_equal(truth["los"], selection.los[rows])
    np.testing.assert_array_equal(truth[["x_m", "y_m"]], selection.position_m[rows, :2])
    np.testing.assert_array_equal(truth["window"], data.test.window)
    blocks = benchmark_splits.get(task, scene).table["block"].to_numpy()
    np.testing.assert_array_equal(truth["block"], blocks[rows])


@each_scene
@each_track
def test_test_links_come_window_by_window_in_random_order_when_loaded(
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    load_benchmark_task: LoadTask,
    scene: str,
    track: str,
) -> None:
    task = benchmark_task(track, scene)
    test, split = load_benchmark_task(task).test, benchmark_splits.get(task, scene)
    edges = np.flatnonzero(np.diff(test.window)) + 1
    pieces = np.split(ordered_test_rows(task, split), edges)
    of_split = [set(split.table["window"].to_numpy()[rows].tolist()) for rows in pieces]
    first = [min(windows) for windows in of_split]

    assert all(len(windows) == 1 for windows in of_split)
    assert len(set(first)) == len(first)
    assert first != sorted(first)
    for steps in np.split(test.window_step, edges):
        assert steps.tolist() == list(range(len(steps)))


@each_scene
@each_track
def test_windows_are_counted_part_by_part_when_loaded(
    benchmark_task: FindTask, load_benchmark_task: LoadTask, scene: str, track: str
) -> None:
    """Numbers that went on through the parts would say between which windows a test one lies."""
    data = load_benchmark_task(benchmark_task(track, scene))
    for links in (data.train.measurements, data.validation.measurements, data.test):
        seen = list(dict.fromkeys(links.window.tolist()))
        assert seen == list(range(len(seen)))


def test_test_order_hangs_on_the_data_when_all_published_numbers_are_the_same(
    benchmark_splits: Splits, benchmark_task: FindTask
) -> None:
    task = benchmark_task("interpolation", "yard")
    split = benchmark_splits.get(task, "yard")
    table = split.table.assign(block=split.table["block"] + 1)  # it decides no order by itself
    other = dataclasses.replace(split, table=table)

    first, second = (ordered_test_rows(task, each) for each in (split, other))
    assert set(first) == set(second)
    assert first.tolist() != second.tolist()


def test_test_order_is_the_same_when_asked_for_again(
    benchmark_splits: Splits, benchmark_task: FindTask
) -> None:
    task = benchmark_task("interpolation", "yard")
    split = benchmark_splits.get(task, "yard")
    rows = ordered_test_rows(task, split)

    np.testing.assert_array_equal(rows, ordered_test_rows(task, split))
    assert set(rows) == set(split.rows(TEST))


@each_scene
def test_labels_are_those_of_the_links_when_loaded(
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    load_benchmark_task: LoadTask,
    scene: str,
) -> None:
    task = benchmark_task("interpolation", scene)
    data, split = load_benchmark_task(task), benchmark_splits.get(task, scene)
    selection = benchmark_dataset.select(scene=scene, band="6GHz")
    for labelled, part in ((data.train, TRAIN), (data.validation, VALIDATION)):
        rows = split.rows(part)
        world_m = world_frame_positions(
            labelled.position_m, labelled.measurements.site_index, selection.sites
        )
        np.testing.assert_allclose(world_m, selection.position_m[rows, :2], atol=ROUNDING_M)
        np.testing.assert_array_equal(labelled.los, selection.los[rows])
        np.testing.assert_array_equal(labelled.measurements.site_index, selection.site_index[rows])


@each_scene
def test_site_frame_points_along_the_panel_when_the_ue_is_in_line_of_sight(
    benchmark_task: FindTask, load_benchmark_task: LoadTask, scene: str
) -> None:
    """The first path's azimuth, which is measured, against the true position's."""
    train = load_benchmark_task(benchmark_task("interpolation", scene)).train
    column, has_path = first_path(train.measurements)
    azimuth_rad = train.measurements.path_azimuth_rad[np.arange(len(train)), column]
    x_m, y_m = train.position_m.T
    error_rad = np.abs(np.angle(np.exp(1j * (azimuth_rad - np.arctan2(y_m, x_m)))))
    in_sight = train.los == LOS

    # A 4 x 4 panel resolves 0.5 rad: walls along the canyon disturb some links, not most.
    assert has_path[in_sight].all()
    assert np.median(error_rad[in_sight]) < 0.002
    assert np.quantile(error_rad[in_sight], 0.8) < 0.02
    # The sector of 60 deg, about the panel's own axis.
    assert np.abs(np.arctan2(y_m, x_m)).max() < np.radians(60.1)


@each_scene
def test_frames_are_those_of_rotated_axes_when_written_out(
    benchmark_dataset: Dataset, scene: str
) -> None:
    selection = benchmark_dataset.select(scene=scene, band="6GHz")
    world_m = selection.position_m[:, :2].astype("f8")
    site_m = site_frame_positions(
        selection.position_m[:, :2], selection.site_index, selection.sites
    )
    for i, index in enumerate(selection.site_index):
        site = selection.sites[index]
        yaw = site.orientation_rad[0]
        dx, dy = world_m[i, 0] - site.position_m[0], world_m[i, 1] - site.position_m[1]
        along = dx * math.cos(yaw) + dy * math.sin(yaw)
        left = -dx * math.sin(yaw) + dy * math.cos(yaw)
        np.testing.assert_allclose(site_m[i], [along, left], atol=ROUNDING_M)

    back_m = world_frame_positions(site_m, selection.site_index, selection.sites)
    np.testing.assert_allclose(back_m, world_m, atol=ROUNDING_M)


def test_covariance_turns_with_its_site_when_written_out(benchmark_dataset: Dataset) -> None:
    selection = benchmark_dataset.select(scene="yard", band="6GHz")
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(10, 2, 2))
    covariance_m2 = factor @ factor.transpose(0, 2, 1)
    site_index = rng.integers(2, size=10)
    turned_m2 = world_frame_covariances(covariance_m2, site_index, selection.sites)

    for i, index in enumerate(site_index):
        yaw = selection.sites[index].orientation_rad[0]
        c, s = math.cos(yaw), math.sin(yaw)
        (xx, xy), (_, yy) = covariance_m2[i]
        world_xx = c * c * xx - 2 * c * s * xy + s * s * yy
        world_yy = s * s * xx + 2 * c * s * xy + c * c * yy
        world_xy = c * s * (xx - yy) + (c * c - s * s) * xy
        expected = [[world_xx, world_xy], [world_xy, world_yy]]
        np.testing.assert_allclose(turned_m2[i], expected, rtol=1e-12, atol=1e-12)


def test_training_sees_the_other_bands_only_when_cross_band(
    benchmark_task: FindTask, load_benchmark_task: LoadTask
) -> None:
    data = load_benchmark_task(benchmark_task("cross-band", "yard"))
    others = {("yard", "2.6GHz"), ("yard", "28GHz")}

    assert links_seen(data.train.measurements) == others
    assert links_seen(data.validation.measurements) == others
    assert links_seen(data.test) == {("yard", "6GHz")}


@each_scene
def test_training_sees_the_other_scenes_only_when_cross_scene_without_shots(
    benchmark_task: FindTask, load_benchmark_task: LoadTask, scene: str
) -> None:
    data = load_benchmark_task(benchmark_task("cross-scene", scene, shots=0))
    (other,) = {"street_canyon", "yard"} - {scene}

    assert links_seen(data.train.measurements) == {(other, "6GHz")}
    assert links_seen(data.validation.measurements) == {(other, "6GHz")}
    assert links_seen(data.test) == {(scene, "6GHz")}


def test_shots_come_from_the_training_part_of_the_new_scene_and_grow_when_more_are_asked_for(
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    load_benchmark_task: LoadTask,
) -> None:
    task = benchmark_task("cross-scene", "yard", shots=20)
    selection = benchmark_dataset.select(scene="yard", band="6GHz")
    rows = benchmark_splits.get(task, "yard").rows(TRAIN)
    allowed_m = {tuple(xy) for xy in selection.position_m[rows, :2].round(3).tolist()}
    few, many = (
        load_benchmark_task(benchmark_task("cross-scene", "yard", shots=count)) for count in (5, 20)
    )
    found = []
    for data in (few, many):
        seen = data.train.measurements
        new = np.array([seen.sites[i].name.startswith("yard/") for i in seen.site_index])
        index = [
            [f"yard/{site.site}" for site in selection.sites].index(seen.sites[i].name)
            for i in seen.site_index[new]
        ]
        world_m = world_frame_positions(
            data.train.position_m[new], np.array(index), selection.sites
        )
        found.append({tuple(xy) for xy in world_m.astype("f4").round(3).tolist()})
        assert links_seen(data.validation.measurements) == {("street_canyon", "6GHz")}

    assert (len(found[0]), len(found[1])) == (5, 20)
    assert found[0] < found[1] <= allowed_m


@pytest.mark.slow
def test_shots_are_other_links_when_the_seed_is_another(
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    benchmark_measurements: Path,
) -> None:
    task, folder = benchmark_task("cross-scene", "yard", shots=20), benchmark_measurements
    positions = []
    for seed in (0, 1):
        for survey in surveys_of(task, seed):
            measure(survey, benchmark_dataset, folder, with_csi=True)
        data = load_task(task, seed, benchmark_dataset, benchmark_splits, folder, with_csi=False)
        positions.append(data.train.position_m[-20:])
        assert data.test.csi_files is None

    assert not np.array_equal(*positions)


def test_task_is_refused_when_it_asks_for_more_shots_than_there_are(
    benchmark_task: FindTask, load_benchmark_task: LoadTask
) -> None:
    task = benchmark_task("cross-scene", "yard", shots=20).model_copy(update={"shots": 116})

    with pytest.raises(SplitError, match=r"asks for 116 shots, but yard has 115 training links"):
        load_benchmark_task(task)


@each_scene
def test_conditions_change_the_test_only_when_impaired(
    benchmark_task: FindTask, load_benchmark_task: LoadTask, scene: str
) -> None:
    clean = load_benchmark_task(benchmark_task("interpolation", scene))
    worse = load_benchmark_task(benchmark_task("impaired", scene))

    for before, after in ((clean.train, worse.train), (clean.validation, worse.validation)):
        rows = np.arange(len(before))
        np.testing.assert_array_equal(before.position_m, after.position_m)
        np.testing.assert_array_equal(before.measurements.csi(rows), after.measurements.csi(rows))
        np.testing.assert_array_equal(
            before.measurements.path_range_m, after.measurements.path_range_m
        )
    assert len(clean.test) == len(worse.test)
    np.testing.assert_array_equal(clean.test.window, worse.test.window)
    assert (clean.test.gain_db != worse.test.gain_db).all()


def test_link_budget_changes_training_and_test_alike(
    benchmark_task: FindTask, load_benchmark_task: LoadTask
) -> None:
    plain = benchmark_task("interpolation", "yard")
    budget = Conditions(power_change_db=20.0, bandwidth_share=0.5, num_paths=3)
    task = plain.model_copy(update={"conditions": budget})

    clean, changed = load_benchmark_task(plain), load_benchmark_task(task)

    for before, after in (
        (clean.train.measurements, changed.train.measurements),
        (clean.validation.measurements, changed.validation.measurements),
        (clean.test, changed.test),
    ):
        assert after.path_mask.shape == (len(before), 3)
        num_tones = before.bands[0].num_subcarriers
        assert after.bands[0].num_subcarriers == num_tones // 2
        assert after.csi(np.arange(2)).shape[-1] == num_tones // 2
    assert {survey.conditions for survey in surveys_of(task, 0)} == {budget}
    # Fresh CSI of training links is made under the same budget.
    channels = changed.train.channels
    assert channels is not None
    csi = channels.csi(np.arange(2), torch.Generator().manual_seed(0))
    assert csi.shape[-1] == changed.train.measurements.bands[0].num_subcarriers
    assert (
        channels.front_end.ue.tx_power_dbm == 20.0 + clean.train.channels.front_end.ue.tx_power_dbm
    )


@each_scene
def test_surveys_are_what_loading_reads_when_listed(benchmark_suite: Suite, scene: str) -> None:
    for task in benchmark_suite.tasks():
        if task.scene == scene and task.band == "28GHz":
            surveys = surveys_of(task, 7)
            expected = {(x.scene, x.band, None) for x in task.train}
            expected |= {(scene, "28GHz", None)} if task.track == "cross-scene" else set()
            expected |= {(scene, "28GHz", task.conditions)}
            assert {(x.scene, x.band, x.conditions) for x in surveys} == expected
            assert len(surveys) == len(expected)
            assert {survey.seed for survey in surveys} == {7}


@each_scene
@pytest.mark.parametrize("track", ["interpolation", "cross-band", "cross-scene", "impaired"])
def test_channels_are_those_of_the_training_links_when_loaded(
    benchmark_dataset: Dataset,
    benchmark_task: FindTask,
    load_benchmark_task: LoadTask,
    scene: str,
    track: str,
) -> None:
    """Stored and fresh CSI of a link differ by two draws of noise, whose power is known."""
    data = load_benchmark_task(benchmark_task(track, scene))
    channels, rows = data.train.channels, np.arange(len(data.train))
    assert channels is not None
    assert len(channels) == len(rows)
    order = np.random.default_rng(0).permutation(rows)
    taken = data.train.take(order)
    assert taken.channels is not None

    fresh = taken.channels.csi(rows, torch.Generator().manual_seed(9)).numpy()

    front_end = benchmark_dataset.manifest.campaign.front_end
    difference = (np.abs(fresh - taken.measurements.csi(rows)) ** 2).mean(axis=(1, 2))
    band_index = taken.measurements.band_index
    variances = [front_end.noise_variance(band) for band in taken.measurements.bands]
    # The mean of 1024 exponential variables deviates by 3 %: six deviations of the largest.
    np.testing.assert_allclose(difference, 2 * np.array(variances)[band_index], rtol=0.2)


def test_channels_are_out_of_reach_when_validating_or_when_csi_was_not_asked_for(
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    load_benchmark_task: LoadTask,
    benchmark_measurements: Path,
) -> None:
    task = benchmark_task("cross-scene", "yard", shots=5)
    data = load_benchmark_task(task)
    assert data.train.channels is not None
    assert data.validation.channels is None
    # Of the new scene, the paths of the five shots alone.
    shots = data.train.channels.batch_index[-5:]
    held = [len(data.train.channels.batches[i].mask) for i in np.unique(shots)]
    assert sum(held) == 5

    folder = benchmark_measurements
    data = load_task(task, 0, benchmark_dataset, benchmark_splits, folder, with_csi=False)
    assert data.train.channels is None


def test_dataset_is_refused_when_it_is_not_the_one_of_the_suite(
    benchmark_suite: Suite, benchmark_dataset: Dataset
) -> None:
    require_dataset(benchmark_suite, benchmark_dataset)

    sentence = r"suite 'tests' is for the dataset with content hash ff.*generate none --out DIR`$"
    with pytest.raises(ConfigError, match=sentence):  # no option that not every command has
        require_dataset(benchmark_suite.rebound("ff"), benchmark_dataset)


def test_task_data_has_no_other_field_when_listed() -> None:
    names = [field.name for field in dataclasses.fields(TaskData)]

    assert names == ["train", "validation", "test", "asked"]


@pytest.mark.parametrize("track", ["interpolation", "unseen-nlos", "cross-scene"])
def test_every_test_link_is_asked_when_no_training_point_stands_among_them(
    benchmark_task: FindTask, load_benchmark_task: LoadTask, track: str
) -> None:
    data = load_benchmark_task(benchmark_task(track, "yard"))

    assert data.asked.tolist() == list(range(len(data.test)))


@pytest.mark.parametrize("track", ["cross-band", "impaired", "cross-scene"])
def test_test_links_keep_their_distance_when_a_track_is_buffered(
    benchmark_dataset: Dataset, benchmark_suite: Suite, track: str
) -> None:
    """What else is asked of a track does not hang on how its places are split."""
    buffered = [
        settings.model_copy(update={"split": CrossingTracks(buffer_m=3.0)})
        for settings in benchmark_suite.tracks
        if settings.track == track
    ]
    suite = benchmark_suite.model_copy(update={"tracks": tuple(buffered)})
    task = next(task for task in suite.tasks() if task.scene == "yard")

    split = Splits(benchmark_dataset, suite.window_size).get(task, "yard")

    position_m = benchmark_dataset.select(scene="yard", band=task.band).position_m[:, :2]
    test, train = position_m[split.rows(TEST)], position_m[split.rows(TRAIN)]
    distance_m = np.linalg.norm(test[:, None] - train, axis=2)
    assert distance_m.min() >= 3.0
    assert task.split == CrossingTracks(buffer_m=3.0)
