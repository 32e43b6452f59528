"""What localizers that know the city are made of, on worlds whose answers are known."""

import dataclasses
import itertools

import numpy as np
import pytest

from raymark.models.twin.calibration import Calibration, calibrate
from raymark.models.twin.correction import corrections_of
from raymark.models.twin.features import FIRST_CORRECTED, NUM_KINDS, Observed, Predicted
from raymark.models.twin.matching import Matcher, Modes
from raymark.models.twin.posterior import Posterior, Reading, weights
from raymark.models.twin.posterior import posterior as read
from raymark.models.twin.windows import Windows, step_of, window_weights

WIDTH = np.array([0.3, 0.01, 0.01, 2.0])
SOURCES_M = np.array([[0.0, 0.0], [90.0, 40.0], [-30.0, 120.0], [60.0, -80.0]])
"""Where images of the panel stand: each gives one path."""
SPACING_M = 2.0


def posterior(modes: Modes, reading: Reading) -> Posterior:
    is_blind = np.zeros(len(modes.log_likelihood), dtype=bool)
    return read(modes, weights(modes, reading.temper), reading, is_blind)


def exact(width: np.ndarray = WIDTH) -> Calibration:
    return Calibration(
        width=np.tile(width, (NUM_KINDS, 1)),
        tail_share=0.0,
        bias_db=0.0,
        num_stray=0.1,
        seen_share=0.95,
        seen_at_db=-140.0,
        seen_within_db=2.0,
    )


def world(point_m: np.ndarray) -> Predicted:
    """Four images of the panel, all seen everywhere, each with one path."""
    offset_m = point_m[:, None] - SOURCES_M
    range_m = np.linalg.norm(offset_m, axis=2)
    count = np.arange(len(SOURCES_M))
    feature = np.stack(
        [
            range_m,
            offset_m[..., 1] / range_m,
            np.broadcast_to(0.05 * count, range_m.shape),
            -80.0 - 20 * np.log10(range_m),
        ],
        axis=-1,
    )
    return Predicted(
        feature=feature.astype("f4"),
        gradient=(offset_m / range_m[..., None]).astype("f4"),
        kind=np.broadcast_to(count, range_m.shape),
        mask=np.ones(range_m.shape, dtype=bool),
    )


def grid() -> np.ndarray:
    axis = np.arange(5.0, 60.0, SPACING_M)
    x, y = np.meshgrid(axis, axis)
    return np.column_stack([x.ravel(), y.ravel()])


def measured(true_m: np.ndarray, rng: np.random.Generator, width: np.ndarray = WIDTH) -> Observed:
    truth = world(true_m)
    feature = truth.feature + rng.standard_normal(truth.feature.shape) * width
    # One place is free, so that no path is missing since stronger ones took its place.
    return Observed(
        feature=np.pad(feature, ((0, 0), (0, 1), (0, 0))).astype("f4"),
        mask=np.pad(truth.mask, ((0, 0), (0, 1))),
    )


def test_calibration_finds_the_widths_when_paths_are_off_by_known_ones() -> None:
    rng = np.random.default_rng(0)
    true_m = rng.uniform(10, 55, (2000, 2))

    found = calibrate(measured(true_m, rng), world(true_m))

    # 2,000 paths of a kind: 1.6 % of a standard deviation; the first widths add up to 3 %.
    np.testing.assert_allclose(found.width[:4], np.tile(WIDTH, (4, 1)), rtol=0.07)
    assert found.tail_share < 0.01
    assert found.bias_db == pytest.approx(0.0, abs=0.1)
    assert found.num_stray < 0.05


def test_calibration_finds_bias_strays_and_detection_when_the_map_is_wrong() -> None:
    rng = np.random.default_rng(1)
    true_m = rng.uniform(10, 55, (3000, 2))
    truth, links = world(true_m), measured(true_m, rng)
    feature, mask = links.feature.copy(), links.mask.copy()
    feature[..., 3] += 3.0
    # Paths weaker than the limit are not seen; beside a quarter of the links comes a stray.
    limit_db = -110.0
    is_weak = truth.feature[..., 3] < limit_db
    mask[:, :4] &= ~is_weak
    stray = np.stack(
        [rng.uniform(0, 400, 3000), *rng.uniform(-1, 1, (2, 3000)), rng.uniform(-140, -80, 3000)],
        axis=-1,
    )
    has_stray = rng.random(3000) < 0.25
    feature = np.concatenate([feature, stray[:, None].astype("f4")], axis=1)
    mask = np.concatenate([mask, has_stray[:, None]], axis=1)

    found = calibrate(Observed(feature=feature, mask=mask), truth)

    assert found.bias_db == pytest.approx(3.0, abs=0.2)
    assert found.num_stray == pytest.approx(0.25, abs=0.05)
    assert found.seen(np.array([limit_db - 3]), -np.inf)[0] < 0.1
    assert found.seen(np.array([limit_db + 3]), -np.inf)[0] > 0.9


def test_calibration_keeps_its_first_widths_when_there_is_no_path() -> None:
    truth = world(np.full((3, 2), 20.0))
    nothing = Observed(feature=np.zeros((3, 8, 4), dtype="f4"), mask=np.zeros((3, 8), dtype=bool))

    found = calibrate(nothing, truth)
    again = Calibration.from_dict(found.to_dict())

    assert np.isfinite(found.width).all()
    assert (found.seen(truth.feature[..., 3], -np.inf) < 0.5).all()
    np.testing.assert_array_equal(again.width, found.width)
    assert dataclasses.replace(again, width=found.width) == found


def off_by_a_metre(links: Observed) -> Observed:
    """Make the paths of the second image a metre longer, as a wall half a metre off does."""
    feature = links.feature.copy()
    feature[:, 1, 0] += 1.0
    return dataclasses.replace(links, feature=feature)


def test_correction_moves_paths_of_one_wall_alone_when_labels_are_near() -> None:
    rng = np.random.default_rng(5)
    true_m = rng.uniform(10, 35, (300, 2))
    truth, links = world(true_m), off_by_a_metre(measured(true_m, rng))
    corrections = corrections_of(links, truth, true_m, calibrate(links, truth))

    near, far = np.full((1, 2), 22.0), np.full((1, 2), 400.0)
    moved = corrections.apply(world(near), near)
    change_m = moved.feature[0, :, 0] - world(near).feature[0, :, 0]

    # A few hundred differences of 0.3 m spread, and half a made-up one.
    np.testing.assert_allclose(change_m, [0.0, 1.0, 0.0, 0.0], atol=0.1)
    np.testing.assert_array_equal(moved.kind[0], FIRST_CORRECTED + np.arange(4))
    unchanged = corrections.apply(world(far), far)
    np.testing.assert_allclose(unchanged.feature, world(far).feature, atol=1e-3)
    np.testing.assert_array_equal(unchanged.kind, world(far).kind)


def test_correction_uses_no_link_that_is_hidden_when_widths_are_learnt() -> None:
    rng = np.random.default_rng(6)
    true_m = rng.uniform(20, 24, (100, 2))
    truth, links = world(true_m), off_by_a_metre(measured(true_m, rng))
    corrections = corrections_of(links, truth, true_m, calibrate(links, truth))

    hidden = corrections.apply(truth, true_m, beyond_m=12.0)

    np.testing.assert_array_equal(hidden.feature, truth.feature)
    np.testing.assert_array_equal(hidden.kind, truth.kind)


def test_correction_leaves_all_as_it_is_when_there_is_no_label() -> None:
    nothing = Observed(feature=np.zeros((3, 8, 4), dtype="f4"), mask=np.zeros((3, 8), dtype=bool))
    point_m = np.full((3, 2), 20.0)
    corrections = corrections_of(nothing, world(point_m), point_m, exact())

    assert len(corrections) == 0
    moved = corrections.apply(world(point_m), point_m)
    np.testing.assert_array_equal(moved.feature, world(point_m).feature)


def test_matcher_finds_places_between_points_when_nothing_is_wrong() -> None:
    rng = np.random.default_rng(2)
    true_m = rng.uniform(10, 55, (40, 2))
    narrow = np.array([0.05, 0.003, 0.003, 0.5])

    modes = Matcher(grid(), SPACING_M, world(grid()), exact(narrow)).best(
        measured(true_m, rng, 1e-3 * narrow), 16
    )
    found = posterior(modes, Reading(is_corrected=False, temper=1.0, estimate="mode"))

    # A cell of 2 m, 15 m and more from an image: the second order is under 2 cm.
    assert np.linalg.norm(found.position_m - true_m, axis=1).max() < 0.05


def test_covariance_is_that_of_the_errors_when_noise_is_as_learnt() -> None:
    rng = np.random.default_rng(3)
    true_m = rng.uniform(10, 55, (400, 2))

    modes = Matcher(grid(), SPACING_M, world(grid()), exact()).best(measured(true_m, rng), 32)
    found = posterior(modes, Reading(is_corrected=False, temper=1.0, estimate="mean"))
    error_m = found.position_m - true_m
    squared = np.einsum("li,lij,lj->l", error_m, np.linalg.inv(found.covariance_m2), error_m)

    # Chi squared of two degrees has mean 2; that of 400 is within 0.1 of it. Angles sharpen the
    # position a little more than the covariance, which is of ranges alone, says.
    assert 1.0 < squared.mean() < 2.4


def test_likelihood_is_the_sum_over_associations_when_written_naively() -> None:
    rng = np.random.default_rng(4)
    true_m = np.array([[31.0, 27.0]])
    links, points, calibration = measured(true_m, rng), grid(), exact()
    paths = world(points)
    cell_m = SPACING_M / np.sqrt(12)
    matcher = Matcher(points, SPACING_M, paths, calibration)
    rows = np.array([0, 200, 400])

    scores = matcher.coarse(links, 0)[rows]

    for row, score in zip(rows, scores, strict=True):
        expected, nearest = 0.0, np.full(4, np.inf)
        chance = calibration.seen(paths.feature[row, :, 3], -np.inf)
        for seen in links.feature[0, :4]:
            density = calibration.stray_density
            for j in range(4):
                width = WIDTH.copy()
                turn = cell_m / max(paths.feature[row, j, 0], 15.0)
                width[:3] = np.hypot(width[:3], [cell_m, turn, turn])
                squared = (((seen - paths.feature[row, j]) / width) ** 2).sum()
                nearest[j] = min(nearest[j], squared)
                density += chance[j] * np.exp(-squared / 2) / np.prod(np.sqrt(2 * np.pi) * width)
            expected += np.log(density)
        unseen = 1 - chance * (1 - np.exp(-nearest / 18))
        expected += np.log(np.maximum(unseen, 1e-4)).sum()
        assert score == pytest.approx(expected, rel=1e-3, abs=0.05)


def test_link_without_paths_lies_where_little_should_be_seen() -> None:
    points = grid()
    paths = world(points)
    power_db = paths.feature[..., 3].max(axis=1)
    calibration = dataclasses.replace(exact(), seen_at_db=float(np.median(power_db)))
    nothing = Observed(feature=np.zeros((1, 8, 4), dtype="f4"), mask=np.zeros((1, 8), dtype=bool))

    modes = Matcher(points, SPACING_M, paths, calibration).best(nothing, len(points))
    found = posterior(modes, Reading(is_corrected=False, temper=1.0, estimate="mean"))

    weight = np.exp(modes.log_likelihood[0])
    strong = np.linalg.norm(modes.centre_m[0], axis=1) < 20
    assert weight[~strong].mean() > 5 * weight[strong].mean()
    assert np.sqrt(np.trace(found.covariance_m2[0])) > 10


def test_posterior_tells_of_a_second_mode_when_two_places_fit() -> None:
    modes = Modes(
        centre_m=np.array([[[0.0, 0.0], [40.0, 0.0]]]),
        covariance_m2=np.broadcast_to(np.eye(2), (1, 2, 2, 2)),
        log_likelihood=np.log([[0.6, 0.4]]),
    )

    mean = posterior(modes, Reading(is_corrected=False, temper=1.0, estimate="mean"))
    mode = posterior(modes, Reading(is_corrected=False, temper=1.0, estimate="mode"))

    np.testing.assert_allclose(mean.position_m, [[16.0, 0.0]])
    np.testing.assert_allclose(mode.position_m, [[0.0, 0.0]])
    # Closed forms: 0.6 * 16^2 + 0.4 * 24^2, and 0.4 * 40^2, beside the modes' own.
    assert mean.covariance_m2[0, 0, 0] == pytest.approx(384.0 + 1.0, abs=1e-3)
    assert mode.covariance_m2[0, 0, 0] == pytest.approx(640.0 + 1.0, abs=1e-3)
    assert mean.covariance_m2[0, 1, 1] == pytest.approx(1.0, abs=1e-3)


def test_mean_is_told_of_a_link_that_shows_no_path_when_others_are_read_by_their_mode() -> None:
    modes = Modes(
        centre_m=np.broadcast_to([[0.0, 0.0], [40.0, 0.0]], (2, 2, 2)),
        covariance_m2=np.broadcast_to(np.eye(2), (2, 2, 2, 2)),
        log_likelihood=np.log([[0.6, 0.4], [0.6, 0.4]]),
    )
    reading = Reading(is_corrected=False, temper=1.0, estimate="mode")

    found = read(modes, weights(modes, 1.0), reading, np.array([False, True]))

    np.testing.assert_allclose(found.position_m, [[0.0, 0.0], [16.0, 0.0]])


def test_window_weights_are_the_sums_over_all_tracks_when_enumerated() -> None:
    rng = np.random.default_rng(7)
    count, step_m, temper = 3, 1.5, 0.7
    modes = Modes(
        centre_m=rng.uniform(0, 5, (4, count, 2)),
        covariance_m2=np.zeros((4, count, 2, 2)),
        log_likelihood=rng.standard_normal((4, count)),
    )
    # Links 2, 0, 3 are a window whose last step is a double one; link 1 stands alone.
    windows = Windows(window=np.array([5, 8, 5, 5]), step=np.array([1, 0, 0, 3]))
    track, steps = [2, 0, 3], [1, 2]

    found = window_weights(modes, windows, temper=temper, step_m=step_m)

    expected = np.zeros((3, count))
    for states in itertools.product(range(count), repeat=3):
        chance = np.exp(temper * sum(modes.log_likelihood[track, states]))
        for i, num in enumerate(steps):
            gap_m = (
                modes.centre_m[track[i + 1], states[i + 1]] - modes.centre_m[track[i], states[i]]
            )
            chance *= np.exp(-0.5 * (gap_m @ gap_m) / (num * step_m**2)) + 1e-9
        expected[range(3), states] += chance
    np.testing.assert_allclose(found[track], expected / expected.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found[1], weights(modes, temper)[1])


def test_step_is_that_of_labelled_windows_when_some_links_are_missing() -> None:
    rng = np.random.default_rng(8)
    step = np.tile([0, 1, 3], 2000)
    moves_m = (
        0.7 * np.sqrt(np.diff(step, prepend=0).clip(0))[:, None] * rng.standard_normal((6000, 2))
    )
    windows = Windows(window=np.repeat(np.arange(2000), 3), step=step)
    alone = Windows(window=np.array([0, 1]), step=np.array([0, 0]))

    # 4,000 steps of two coordinates: 0.8 % of a standard deviation.
    assert step_of(moves_m.cumsum(axis=0), windows) == pytest.approx(0.7, rel=0.03)
    assert step_of(np.zeros((2, 2)), alone) > 0


def test_joined_modes_stand_in_the_order_of_links_when_maps_alternate() -> None:
    def of(links: list[int]) -> tuple[np.ndarray, Modes]:
        rows = np.array(links)
        return rows, Modes(
            centre_m=np.broadcast_to(rows[:, None, None], (len(rows), 3, 2)).astype(float),
            covariance_m2=np.zeros((len(rows), 3, 2, 2)),
            log_likelihood=np.zeros((len(rows), 3)),
        )

    joined = Modes.joined([of([1, 3]), of([0, 2])])

    np.testing.assert_array_equal(joined.centre_m[:, 0, 0], [0, 1, 2, 3])
