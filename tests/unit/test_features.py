import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from raymark.benchmark.features import (
    LEAST_POWER_DB,
    feature_matrix,
    feature_names,
    first_path,
    path_loss_free_power_db,
    virtual_points,
)
from raymark.benchmark.measurements import Measurements, SiteContext
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import TaskData
from raymark.dataset.schema import LOS, OUTAGE
from raymark.radio import BAND_PRESETS, Panel

BANDS = tuple(BAND_PRESETS[name] for name in ("2.6GHz", "6GHz", "28GHz"))

FindTask = Callable[..., Task]
LoadTask = Callable[[Task], TaskData]

PADDED = {"path_range_m": 0.0, "path_zenith_rad": 0.0, "path_azimuth_rad": 0.0}


def measurements_of(paths: Sequence[Sequence[tuple[float, ...]]], **changes: Any) -> Measurements:
    """Return links with the given (range, zenith, azimuth, power) of their paths, padded to 3."""
    names = ("path_range_m", "path_zenith_rad", "path_azimuth_rad", "path_power_db")
    table = np.zeros((len(paths), 3, 4), dtype="f4")
    table[..., 3] = -200.0
    mask = np.zeros((len(paths), 3), dtype=bool)
    for i, of_link in enumerate(paths):
        table[i, : len(of_link)] = np.array(of_link).reshape(-1, 4)
        mask[i, : len(of_link)] = True
    zeros = np.zeros(len(paths))
    values: dict[str, Any] = {
        "sites": (SiteContext(name="a/bs0", panel=Panel(), height_m=8.5),),
        "bands": BANDS,
        "site_index": zeros.astype("i8"),
        "band_index": zeros.astype("i8"),
        "window": np.arange(len(paths)),
        "window_step": zeros.astype("i8"),
        "path_mask": mask,
        "aoa_profile_db": np.zeros((len(paths), 64)),
        "distance_m": zeros + 7.0,
        "gain_db": zeros - 90.0,
        "has_signal": zeros == 0,
        "delay_spread_s": zeros + 3e-8,
        "azimuth_spread_rad": zeros + 0.25,
        **{name: table[..., i] for i, name in enumerate(names)},
    }
    return Measurements(**{**values, **changes})


TWO_LINKS = measurements_of(
    [
        [(100.0, np.pi / 2, 0.0, -80.0), (90.0, np.pi / 2, np.pi / 2, -95.0)],
        [],
    ]
)


def test_virtual_points_are_range_times_direction_when_written_out() -> None:
    measured = measurements_of([[(10.0, 0.3, -1.1, -80.0), (20.0, 2.0, 0.7, -85.0)], []])
    expected = np.zeros((2, 3, 3))
    for j, (range_m, zenith, azimuth) in enumerate([(10.0, 0.3, -1.1), (20.0, 2.0, 0.7)]):
        expected[0, j] = [
            range_m * np.sin(zenith) * np.cos(azimuth),
            range_m * np.sin(zenith) * np.sin(azimuth),
            range_m * np.cos(zenith),
        ]

    np.testing.assert_allclose(virtual_points(measured), expected, rtol=1e-5, atol=1e-5)  # float32


def test_virtual_point_is_the_ue_when_in_line_of_sight(
    benchmark_task: FindTask, load_benchmark_task: LoadTask
) -> None:
    train = load_benchmark_task(benchmark_task("interpolation", "yard")).train
    measured, column = train.measurements, first_path(train.measurements)[0]
    points_m = virtual_points(measured)[np.arange(len(train)), column]
    true_m = np.column_stack([train.position_m, -measured.height_m])
    error_m = np.linalg.norm(points_m - true_m, axis=1)[train.los == LOS]

    # The panel sees a wavefront to a hundredth of a beam, 0.5 rad / 100 at 100 m, where the
    # ground's reflection, which one beam and one delay bin hold too, does not disturb it.
    assert len(error_m) > 50
    assert np.median(error_m) < 0.5


@pytest.mark.parametrize(
    ("powers_db", "within_db", "expected"),
    [
        ((-80.0, -95.0, -99.0), 20.0, 2),
        ((-80.0, -95.0, -101.0), 20.0, 1),
        ((-80.0, -95.0, -99.0), 10.0, 0),
        ((-80.0, -95.0, -120.0), 20.0, 1),
        ((-80.0, -100.0, -100.0), 20.0, 2),
    ],
)
def test_first_path_is_the_earliest_that_is_strong_enough_when_several_come(
    powers_db: tuple[float, ...], within_db: float, expected: int
) -> None:
    ranges_m = (100.0, 90.0, 80.0)
    paths = [(r, 1.5, 0.0, power) for r, power in zip(ranges_m, powers_db, strict=True)]
    column, has_path = first_path(measurements_of([paths, []]), within_db=within_db)

    assert column.tolist() == [expected, 0]
    assert has_path.tolist() == [True, False]


def test_power_compares_over_bands_when_the_carrier_factor_is_out() -> None:
    """Friis: the gain of a path of 100 m is (wavelength / (4 pi 100 m))^2."""
    gain_db = [20 * np.log10(b.wavelength_m / (4 * np.pi * 100.0)) for b in BANDS]
    measured = measurements_of(
        [[(100.0, 1.5, 0.0, gain)] for gain in gain_db],
        band_index=np.arange(3),
        gain_db=np.array(gain_db),
    )
    power_db = path_loss_free_power_db(measured)
    gains = feature_matrix(measured)[:, feature_names(3).index("gain_db")]

    expected = 20 * np.log10(299_792_458.0 / 1e9 / (4 * np.pi * 100.0))
    np.testing.assert_allclose(power_db[:, 0], expected, atol=1e-4)  # float32 of -90 dB
    np.testing.assert_allclose(gains, expected, atol=1e-4)
    assert (power_db[:, 1:].max(axis=1) < power_db[:, 0] - 50).all()


def test_power_of_a_missing_path_is_the_same_at_every_band_when_padded() -> None:
    padded = measurements_of([[], [], []], band_index=np.arange(3))

    assert (path_loss_free_power_db(padded) == LEAST_POWER_DB).all()


def test_measured_power_is_the_same_at_every_band_when_in_line_of_sight(
    benchmark_task: FindTask, load_benchmark_task: LoadTask
) -> None:
    strongest = []
    for band in ("2.6GHz", "6GHz", "28GHz"):
        train = load_benchmark_task(benchmark_task("interpolation", "yard", band)).train
        strongest.append(path_loss_free_power_db(train.measurements)[train.los == LOS].max(axis=1))

    # The ground's reflection fades each band otherwise, by some dB; the carrier's factor from 2.6
    # to 28 GHz is 20.6 dB.
    levels_db = [float(np.median(x)) for x in strongest]
    assert max(levels_db) - min(levels_db) < 3.0


def test_features_stand_under_their_names_when_written_out() -> None:
    names = feature_names(3)
    row, empty = (dict(zip(names, row, strict=True)) for row in feature_matrix(TWO_LINKS))
    carrier_db = 20 * np.log10(2.6)
    expected = {
        "path_0_x_m": 100.0,
        "path_0_y_m": 0.0,
        "path_0_z_m": 0.0,
        "path_0_range_m": 100.0,
        "path_0_azimuth_rad": 0.0,
        "path_0_zenith_rad": np.pi / 2,
        "path_0_power_db": -80.0 + carrier_db,
        "path_1_y_m": 90.0,
        "path_1_azimuth_rad": np.pi / 2,
        "path_2_range_m": 0.0,
        "first_path_x_m": 0.0,
        "first_path_y_m": 90.0,
        "first_path_range_m": 90.0,
        "first_path_power_db": -95.0 + carrier_db,
        "distance_m": 7.0,
        "gain_db": -90.0 + carrier_db,
        "delay_spread_ns": 30.0,
        "azimuth_spread_rad": 0.25,
        "num_paths": 2.0,
        "carrier_db": carrier_db,
    }

    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-5, abs=1e-4), name  # float32 angles
    assert all(
        empty[name] == 0 for name in names if name.startswith("path_") and "power" not in name
    )
    assert empty["num_paths"] == 0
    assert empty["path_0_power_db"] < -150.0


def test_features_are_finite_and_named_when_links_are_in_outage(
    benchmark_task: FindTask, load_benchmark_task: LoadTask
) -> None:
    data = load_benchmark_task(benchmark_task("interpolation", "yard"))
    assert (data.train.los == OUTAGE).any()
    for measured in (data.train.measurements, data.test):
        features = feature_matrix(measured)
        assert features.shape == (len(measured), len(feature_names(measured.path_mask.shape[1])))
        assert np.isfinite(features).all()
    names = feature_names(8)
    assert len(set(names)) == len(names)


def test_features_follow_their_links_when_rows_are_taken() -> None:
    rows = np.array([1, 0, 0])

    np.testing.assert_array_equal(
        feature_matrix(TWO_LINKS.take(rows)), feature_matrix(TWO_LINKS)[rows]
    )


def test_padded_values_do_not_matter_when_they_are_masked() -> None:
    noise = np.random.default_rng(0).uniform(0.1, 1.0, (2, 3)).astype("f4")
    mask = TWO_LINKS.path_mask
    changed = dataclasses.replace(
        TWO_LINKS, **{name: np.where(mask, getattr(TWO_LINKS, name), noise) for name in PADDED}
    )

    np.testing.assert_array_equal(virtual_points(changed), virtual_points(TWO_LINKS))
