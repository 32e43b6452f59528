import dataclasses

import numpy as np
import pytest

from raymark.benchmark import Labelled
from raymark.benchmark.measurements import Measurements, SiteContext
from raymark.models import get_model
from raymark.models.mirror_maps.maps import fit_maps, fold_of
from raymark.models.mirror_maps.walls import Legs, find_edges, find_walls
from raymark.radio import BAND_PRESETS, Panel

HEIGHT_M = 10.0
NORTH_WALL_M, SOUTH_WALL_M = 30.0, -12.0
"""Two long walls along x; the UEs walk between them and the BS stands at the origin."""

HELD_OUT_X_M = (100.0, 125.0)

EXACT_M = 1e-6
"""Paths are double precision but for angles; images are a few hundred metres away."""

CENTIMETRE_M = 0.01
"""Measurements are kept in float32, whose angles move a point 300 m away by 0.05 mm."""


def mirrored(point_m, wall_y_m):
    return np.stack([point_m[:, 0], 2 * wall_y_m - point_m[:, 1]], axis=1)


def street(num, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(40, 220, num), rng.uniform(-8, 20, num)], axis=1)


def labelled_of(position_m, images_m, is_los, noise_m=0.0, seed=0):
    """Return links whose paths have the given images [link path 2]."""
    rng = np.random.default_rng(seed)
    image = images_m + noise_m * rng.normal(size=images_m.shape)
    plan = np.linalg.norm(image, axis=2)
    mask = plan > 0
    num = len(position_m)
    range_m = np.where(mask, np.hypot(plan, HEIGHT_M), 0.0)
    carrier_hz = BAND_PRESETS["6GHz"].carrier_hz
    free_space_db = -32.45 - 20 * np.log10(np.maximum(range_m, 1.0) * carrier_hz / 1e9)
    loss_db = np.where(np.arange(mask.shape[1]) == 0, np.where(is_los, 0.0, 8.0)[:, None], 8.0)
    links = Measurements(
        sites=(SiteContext(name="toy/bs0", panel=Panel(), height_m=HEIGHT_M),),
        bands=(BAND_PRESETS["6GHz"],),
        site_index=np.zeros(num, dtype="i8"),
        band_index=np.zeros(num, dtype="i8"),
        window=np.arange(num),
        window_step=np.zeros(num, dtype="i8"),
        path_range_m=range_m.astype("f4"),
        path_azimuth_rad=np.arctan2(image[..., 1], image[..., 0]).astype("f4"),
        path_zenith_rad=np.where(mask, np.pi - np.arctan2(plan, HEIGHT_M), 0.0).astype("f4"),
        path_power_db=np.where(mask, free_space_db - loss_db, -200.0).astype("f4"),
        path_mask=mask,
        aoa_profile_db=np.zeros((num, 4), dtype="f4"),
        distance_m=range_m.max(axis=1, initial=0.0).astype("f4"),
        gain_db=np.full(num, -90.0, dtype="f4"),
        has_signal=mask.any(axis=1),
        delay_spread_s=np.zeros(num, dtype="f4"),
        azimuth_spread_rad=np.zeros(num, dtype="f4"),
    )
    return Labelled(measurements=links, position_m=position_m, los=is_los.astype("i8"))


def street_links(position_m, is_los, **noise):
    images = [mirrored(position_m, NORTH_WALL_M), mirrored(position_m, SOUTH_WALL_M)]
    direct = np.where(is_los[:, None], position_m, 0.0)
    return labelled_of(position_m, np.stack([direct, *images], axis=1), is_los, **noise)


def is_held_out(position_m):
    return (position_m[:, 0] > HELD_OUT_X_M[0]) & (position_m[:, 0] < HELD_OUT_X_M[1])


@pytest.fixture(scope="module")
def known():
    position_m = street(300, seed=1)
    position_m = position_m[~is_held_out(position_m)]
    return street_links(position_m, np.arange(len(position_m)) % 2 == 0)


@pytest.fixture(scope="module")
def hidden():
    position_m = street(300, seed=2)
    position_m = position_m[is_held_out(position_m)]
    return street_links(position_m, np.zeros(len(position_m), dtype=bool))


@pytest.fixture(scope="module")
def maps(known):
    return fit_maps(known)


def error_m(candidates, labelled):
    return np.linalg.norm(candidates.position_m[:, 0] - labelled.position_m, axis=1)


def legs_of(image_m, end_m):
    num = len(end_m)
    return Legs(
        start_m=np.zeros((num, 2)),
        image_m=image_m,
        end_m=end_m,
        start_height_m=np.zeros(num),
        slope=np.full(num, -0.1),
        path=np.arange(num),
    )


def test_find_walls_returns_the_line_when_all_images_are_exact():
    end_m = street(200, seed=3)
    walls = find_walls(legs_of(mirrored(end_m, NORTH_WALL_M), end_m), least_support=5)
    assert len(walls) == 1
    np.testing.assert_allclose(walls.normal, [[0, 1]], atol=EXACT_M)
    np.testing.assert_allclose(walls.offset_m, NORTH_WALL_M, atol=EXACT_M)
    reached = end_m[:, 0] * NORTH_WALL_M / (2 * NORTH_WALL_M - end_m[:, 1])
    # The wall's own coordinate runs along (-normal_y, normal_x), here against x.
    np.testing.assert_allclose(-walls.high_m, reached.min(), atol=EXACT_M)
    np.testing.assert_allclose(-walls.low_m, reached.max(), atol=EXACT_M)


def test_find_walls_finds_the_line_when_half_of_the_images_are_noise():
    end_m = street(120, seed=4)
    image_m = mirrored(end_m, NORTH_WALL_M)
    image_m[::2] = np.random.default_rng(5).uniform(-300, 300, size=(60, 2))
    walls = find_walls(legs_of(image_m, end_m), least_support=10)
    assert len(walls) == 1
    np.testing.assert_allclose(walls.offset_m, NORTH_WALL_M, atol=CENTIMETRE_M)


def test_find_walls_returns_none_when_there_are_too_few_legs():
    end_m = street(3, seed=4)
    assert not len(find_walls(legs_of(mirrored(end_m, NORTH_WALL_M), end_m), least_support=5))


def test_find_edges_returns_the_corner_when_paths_bend_around_it():
    corner_m = np.array([60.0, 25.0])
    end_m = corner_m + np.random.default_rng(6).uniform(-40, 40, size=(50, 2))
    length_m = np.linalg.norm(corner_m) + np.linalg.norm(end_m - corner_m, axis=1)
    heading = np.tile(corner_m / np.linalg.norm(corner_m), (50, 1))
    edges, explained = find_edges(heading, length_m, end_m, least_support=8)
    assert len(edges) == 1
    np.testing.assert_allclose(edges.position_m[0], corner_m, atol=EXACT_M)
    assert explained.sum() == edges.support[0]


def test_candidates_find_the_hidden_stretch_when_paths_are_exact(maps, hidden):
    found = maps.candidates(hidden.measurements)
    assert np.quantile(error_m(found, hidden), 0.9) < CENTIMETRE_M
    assert (np.diff(np.where(found.mask, found.support, -np.inf)[:, :2]) <= 0).all()


def test_candidates_find_the_hidden_stretch_when_paths_are_noisy_and_one_is_an_outlier(known):
    rng = np.random.default_rng(7)

    def spoil(position_m, is_los, seed):
        images = [mirrored(position_m, NORTH_WALL_M), mirrored(position_m, SOUTH_WALL_M)]
        direct = np.where(is_los[:, None], position_m, 0.0)
        outlier = rng.uniform(-200, 200, size=position_m.shape)
        images_m = np.stack([direct, *images, outlier], axis=1)
        return labelled_of(position_m, images_m, is_los, noise_m=0.1, seed=seed)

    train = spoil(known.position_m, known.los == 1, 8)
    hidden_m = street(300, seed=9)
    hidden_m = hidden_m[is_held_out(hidden_m)]
    test = spoil(hidden_m, np.zeros(len(hidden_m), dtype=bool), 10)
    # Noise of 0.1 m moves a mirrored point by as much; half a metre is five of its deviations.
    assert np.median(error_m(fit_maps(train).candidates(test.measurements), test)) < 0.5


def test_candidates_are_the_same_when_links_come_in_another_order(maps, hidden):
    order = np.random.default_rng(11).permutation(len(hidden))
    direct = maps.candidates(hidden.measurements)
    shuffled = maps.candidates(hidden.measurements.take(order))
    for name in ("position_m", "support", "mask"):
        np.testing.assert_array_equal(getattr(direct, name)[order], getattr(shuffled, name))


def test_training_candidates_come_from_a_map_without_the_fold(maps, known):
    found = maps.training_candidates(known, num=3)
    fold = fold_of(known)
    rows = np.flatnonzero(fold == 1)
    alone = maps.candidates(known.measurements.take(rows), excluding=1, num=3)
    np.testing.assert_array_equal(found.position_m[rows], alone.position_m)
    np.testing.assert_array_equal(found.support[rows], alone.support)


def test_training_candidates_of_a_fold_do_not_change_when_its_positions_do(known, maps):
    fold = fold_of(known)
    moved_m = known.position_m.copy()
    # Within the block, so that the fold stays the same.
    moved_m[fold == 0] = np.floor(moved_m[fold == 0] / 25) * 25 + 1
    moved = fit_maps(dataclasses.replace(known, position_m=moved_m))
    for name, site in maps.folds[0].items():
        np.testing.assert_array_equal(site.walls.offset_m, moved.folds[0][name].walls.offset_m)


def test_candidates_are_masked_when_there_is_no_path(maps, hidden):
    links = dataclasses.replace(
        hidden.measurements, path_mask=np.zeros_like(hidden.measurements.path_mask)
    )
    found = maps.candidates(links)
    assert not found.mask.any()
    assert not found.position_m.any()


def test_candidates_are_the_straight_ones_when_the_site_is_unknown(maps, hidden):
    site = dataclasses.replace(hidden.measurements.sites[0], name="toy/other")
    found = maps.candidates(dataclasses.replace(hidden.measurements, sites=(site,)))
    assert np.isfinite(found.position_m).all()


@pytest.mark.parametrize("kind", ["no paths", "all LOS", "two links"])
def test_model_predicts_finite_places_when_training_is_degenerate(kind, known, hidden):
    train = known
    if kind == "no paths":
        empty = np.zeros_like(known.measurements.path_mask)
        train = dataclasses.replace(
            known, measurements=dataclasses.replace(known.measurements, path_mask=empty)
        )
    elif kind == "all LOS":
        train = known.take(np.flatnonzero(known.los == 1))
    else:
        train = known.take(np.arange(2))
    model = get_model("mirror_maps").create(0)
    model.fit(train, hidden)
    assert np.isfinite(model.predict(hidden.measurements).position_m).all()


def test_model_locates_the_hidden_stretch_when_the_prior_cannot(known, hidden):
    model = get_model("mirror_maps").create(0)
    model.fit(known, hidden)
    error = np.linalg.norm(
        model.predict(hidden.measurements).position_m - hidden.position_m, axis=1
    )
    assert np.quantile(error, 0.9) < CENTIMETRE_M
    assert model.diagnostics["validation_share_mapped"] > 0.9
