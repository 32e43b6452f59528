"""Tracks from windows, and the step model against walks of known persistence and noise."""

import dataclasses
import json

import numpy as np
import pytest
from walks import labelled, links_on_tracks, walks

from raymark.benchmark.step_model import StepModel, tracks_of


def test_tracks_are_in_order_of_time_when_links_are_not() -> None:
    window = np.array([7, 2, 7, 7, 2])
    step = np.array([5, 1, 0, 2, 0])

    tracks = tracks_of(links_on_tracks(window, step))

    assert tracks.row.tolist() == [[4, 1, -1], [2, 3, 0]]
    assert tracks.gap.tolist() == [[0, 1, 0], [0, 2, 3]]


@pytest.mark.parametrize("num", [0, 1])
def test_tracks_have_as_many_links_as_there_are_when_few(num: int) -> None:
    tracks = tracks_of(links_on_tracks(np.arange(num), np.zeros(num, dtype="i8")))

    assert tracks.row.tolist() == [[0]] * num
    assert tracks.gap.shape == (num, num)


def test_step_model_finds_what_the_walks_are_made_of_when_fitted() -> None:
    made = {"persistence": 0.9, "velocity_m2": 0.6, "jitter_m2": 0.2}

    found = StepModel.fit(labelled(walks(**made, num_tracks=60, num_steps=200)))

    # 24,000 steps; about 1 in 19 of them independent.
    assert found.persistence == pytest.approx(0.9, abs=0.02)
    assert found.velocity_m2 == pytest.approx(0.6, rel=0.1)
    assert found.jitter_m2 == pytest.approx(0.2, rel=0.1)


def test_step_model_does_not_take_missing_links_for_steps() -> None:
    whole_m = walks(persistence=0.0, velocity_m2=0.0, jitter_m2=1.0, num_tracks=40, num_steps=60)
    whole = labelled(whole_m)
    kept = np.flatnonzero(whole.measurements.window_step % 3 != 2)  # pairs, then a gap of two

    found = StepModel.fit(whole.take(kept))

    total_m2 = found.velocity_m2 + found.jitter_m2
    assert total_m2 == pytest.approx(1.0, rel=0.1)  # 1.5 if gaps counted


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_step_model_is_finite_when_tracks_are_short(num_steps: int) -> None:
    made_m = walks(
        persistence=0.5, velocity_m2=1.0, jitter_m2=0.1, num_tracks=30, num_steps=num_steps
    )

    found = StepModel.fit(labelled(made_m))

    numbers = [found.persistence, found.velocity_m2, found.jitter_m2, *found.mean_m]
    assert np.isfinite(numbers).all()
    assert 0.0 <= found.persistence < 1.0
    assert min(found.velocity_m2, found.jitter_m2) > 0.0


def test_transition_of_many_steps_is_that_of_one_repeated() -> None:
    made_m = walks(persistence=0.9, velocity_m2=0.6, jitter_m2=0.2, num_tracks=9, num_steps=20)
    model = StepModel.fit(labelled(made_m))

    matrix, noise = model.transition(np.array([0, 1, 3]))

    np.testing.assert_array_equal(matrix[0], np.eye(4))
    np.testing.assert_array_equal(noise[0], 0.0)
    np.testing.assert_allclose(matrix[2], matrix[1] @ matrix[1] @ matrix[1])
    spread = noise[1]
    for _ in range(2):
        spread = matrix[1] @ spread @ matrix[1].T + noise[1]
    np.testing.assert_allclose(noise[2], spread)


def test_step_model_is_the_same_when_json_has_kept_it() -> None:
    made_m = walks(persistence=0.9, velocity_m2=0.6, jitter_m2=0.2, num_tracks=9, num_steps=20)
    model = StepModel.fit(labelled(made_m))

    assert StepModel.of_plain(json.loads(json.dumps(dataclasses.asdict(model)))) == model
