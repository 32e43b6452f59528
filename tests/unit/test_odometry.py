"""Steps that UEs measure: their errors, who gets them, and what they are worth."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from walks import labelled, walks

from raymark.benchmark.following import Mixture, evidence_of
from raymark.benchmark.measurements import concatenate
from raymark.benchmark.odometry import Odometry
from raymark.benchmark.step_model import StepModel, tracks_of
from raymark.benchmark.task import Suite, Task, TrackSettings
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.track_filter import filtered, smoothed
from raymark.config import validate
from raymark.errors import ConfigError

EXACT = Odometry(noise_std_m=0.0, heading_std_deg=0.0)
SEQUENCE: dict[str, Any] = {
    "track": "sequence",
    "split": {"kind": "crossing-tracks", "windows": "tracks"},
}


def measured(settings: Odometry, walks_m: np.ndarray) -> np.ndarray:
    num_tracks, num_steps = walks_m.shape[:2]
    track = np.repeat(np.arange(num_tracks), num_steps)
    table = pd.DataFrame(
        {"window": track, "window_step": np.tile(np.arange(num_steps), num_tracks)}
    )
    rng = np.random.default_rng(3)
    return settings.measured(walks_m.reshape(-1, 2), track, table, rng).reshape(walks_m.shape)


def test_steps_are_the_true_ones_when_nothing_errs() -> None:
    walks_m = walks(num_tracks=3, num_steps=9)

    steps_m = measured(EXACT, walks_m)

    np.testing.assert_allclose(steps_m[:, 1:], np.diff(walks_m, axis=1), atol=1e-12)
    assert (steps_m[:, 0] == 0.0).all()  # nothing tells where a track began


def test_steps_err_as_stated_when_measured() -> None:
    walks_m = walks(num_tracks=400, num_steps=30, velocity_m2=1.0)
    true_m = np.diff(walks_m, axis=1)

    noisy_m = measured(Odometry(noise_std_m=0.3, heading_std_deg=0.0), walks_m)[:, 1:]
    turned_m = measured(Odometry(noise_std_m=0.0, heading_std_deg=10.0), walks_m)[:, 1:]

    assert (noisy_m - true_m).std() == pytest.approx(0.3, rel=0.03)
    np.testing.assert_allclose(
        np.linalg.norm(turned_m, axis=2), np.linalg.norm(true_m, axis=2), atol=1e-9
    )
    angle_deg = np.degrees(
        np.angle((turned_m @ [1, 1j]) / (true_m @ [1, 1j]))  # complex numbers as arrows
    )
    np.testing.assert_allclose(angle_deg, angle_deg[:, :1] * np.ones(29), atol=1e-6)
    assert angle_deg[:, 0].std() == pytest.approx(10.0, rel=0.1)


def test_a_gap_in_a_track_is_one_step_when_links_are_missing() -> None:
    walk_m = walks(num_tracks=1, num_steps=6)[0]
    table = pd.DataFrame({"window": [0, 0, -1, 0, -1, -1], "window_step": [0, 1, 0, 3, 0, 0]})

    steps_m = EXACT.measured(walk_m, np.zeros(6, dtype="i8"), table, np.random.default_rng(0))

    np.testing.assert_allclose(steps_m[3], walk_m[3] - walk_m[1])
    np.testing.assert_array_equal(steps_m[[0, 2, 4, 5]], 0.0)


def test_model_gets_steps_of_its_links_only_where_a_track_has_odometry(
    yard_suite: Suite, load_benchmark_task: Callable[[Task], TaskData]
) -> None:
    shares = {"validation_share": 0.3, "test_share": 0.3}
    split = {**SEQUENCE["split"], **shares}
    data = yard_suite.model_dump(mode="json")

    def loaded(**more: Any) -> TaskData:
        changes = {"tracks": [{**SEQUENCE, "split": split, **more}], "split_hashes": {}}
        return load_benchmark_task(validate(Suite, {**data, **changes}, where="test").tasks()[0])

    without, told = loaded(), loaded(odometry=EXACT.model_dump())

    assert without.train.measurements.odometry_m is None
    links = told.train.measurements
    assert links.odometry_m is not None
    for before, after in zip(range(len(links) - 1), range(1, len(links)), strict=True):
        moved_m = told.train.position_m[after] - told.train.position_m[before]
        same = links.window[before] == links.window[after]
        expected_m = moved_m if same else np.zeros(2)
        np.testing.assert_allclose(links.odometry_m[after], expected_m, atol=1e-6)
    assert told.test.odometry_m is not None
    assert (told.test.odometry_m[told.test.window_step == 0] == 0.0).all()
    both = concatenate([links, links])
    assert both.odometry_m is not None
    assert len(both.odometry_m) == 2 * len(links)
    assert concatenate([links, without.train.measurements]).odometry_m is None


def test_odometry_is_refused_when_a_track_has_no_whole_walks() -> None:
    plain = {"track": "interpolation", "split": {"kind": "random-tracks"}}

    with pytest.raises(ConfigError, match="'interpolation' has no use for odometry"):
        validate(TrackSettings, {**plain, "odometry": {}}, where="test")
    # Suites from before there was such a key keep their hashes.
    assert "odometry" not in validate(TrackSettings, SEQUENCE, where="test").model_dump()


@pytest.mark.parametrize("run", [filtered, smoothed])
def test_track_is_found_better_when_odometry_tells_its_steps(run: Any) -> None:
    walks_m = walks(num_tracks=8, num_steps=40)
    seen_m = walks_m.reshape(-1, 2) + np.random.default_rng(4).normal(0, 4, (320, 2))
    steps_m = measured(Odometry(), walks_m).reshape(-1, 2)
    mixture = Mixture(
        weight=np.ones((320, 1)),
        mean_m=seen_m[:, None],
        covariance_m2=np.tile(16.0 * np.eye(2), (320, 1, 1, 1)),
    )

    def rms_m(odometry_m: np.ndarray | None) -> float:
        links = labelled(walks_m)
        measurements = dataclasses.replace(links.measurements, odometry_m=odometry_m)
        model = StepModel.fit(dataclasses.replace(links, measurements=measurements))
        tracks = tracks_of(measurements)
        found = run(evidence_of(mixture, tracks, [(1.0, 0.01)], model), model)
        error_m = found.mean_m[:, 0].swapaxes(0, 1) - walks_m
        return float(np.sqrt((error_m**2).sum(axis=2).mean()))

    assert rms_m(steps_m) < 0.8 * rms_m(None)
