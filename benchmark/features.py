"""The features that every model without an encoder of its own shares, from the estimated paths."""

import numpy as np
from jaxtyping import Bool, Float

from raymark.benchmark.measurements import Measurements
from raymark.radio.frames import unit_vector

LEAST_POWER_DB = -180.0
"""Stands for the power of a path that is not there; below every noise floor that is in use [dB]."""

FIRST_PATH_RANGE_DB = 20.0
"""The first path may be this much weaker than the strongest one [dB]."""


def virtual_points(measurements: Measurements) -> Float[np.ndarray, "link path 3"]:
    """Return range times direction of every estimated path, site frame; 0 where padded [m].

    In line of sight it is the UE itself; after one reflection it is the UE's mirror image.
    """
    direction = unit_vector(measurements.path_zenith_rad, measurements.path_azimuth_rad)
    return np.where(
        measurements.path_mask[..., None], direction * measurements.path_range_m[..., None], 0.0
    )


def first_path(
    measurements: Measurements, *, within_db: float = FIRST_PATH_RANGE_DB
) -> tuple[np.ndarray, Bool[np.ndarray, "link"]]:
    """Return the column of each link's earliest path that is within a range of its strongest.

    Args:
        measurements: Links with their estimated paths.
        within_db: How much weaker than the strongest path it may be [dB].

    Returns:
        Column in the path arrays, and whether there is any path.
    """
    power_db = measurements.path_power_db
    limit_db = power_db.max(axis=1, keepdims=True) - within_db
    counts = measurements.path_mask & (power_db >= limit_db)
    return np.where(counts, measurements.path_range_m, np.inf).argmin(axis=1), counts.any(axis=1)


def carrier_loss_db(measurements: Measurements) -> Float[np.ndarray, "link"]:
    """Return how much weaker free space makes each link at its carrier than at 1 GHz [dB]."""
    return 20 * np.log10(measurements.carrier_hz / 1e9)


def path_loss_free_power_db(
    measurements: Measurements,
) -> Float[np.ndarray, "link path"]:
    """Return path powers with the carrier's free-space factor taken out, so that bands compare."""
    carrier_db = carrier_loss_db(measurements)
    power_db = measurements.path_power_db + carrier_db[:, None]
    return np.where(measurements.path_mask, np.maximum(power_db, LEAST_POWER_DB), LEAST_POWER_DB)


def feature_matrix(measurements: Measurements) -> Float[np.ndarray, "link feature"]:
    """Return one row of finite numbers per link (`feature_names` names them)."""
    points_m = virtual_points(measurements)
    power_db = path_loss_free_power_db(measurements)
    column, _ = first_path(measurements)
    each_link = np.arange(len(measurements))
    per_path = np.concatenate(
        [
            points_m,
            measurements.path_range_m[..., None],
            np.where(measurements.path_mask, measurements.path_azimuth_rad, 0.0)[..., None],
            np.where(measurements.path_mask, measurements.path_zenith_rad, 0.0)[..., None],
            power_db[..., None],
        ],
        axis=-1,
    )
    carrier_db = carrier_loss_db(measurements)
    scalars = np.stack(
        [
            measurements.distance_m,
            np.maximum(measurements.gain_db + carrier_db, LEAST_POWER_DB),
            measurements.delay_spread_s * 1e9,
            measurements.azimuth_spread_rad,
            measurements.path_mask.sum(axis=1),
            carrier_db,
        ],
        axis=1,
    )
    rows = [per_path.reshape(len(measurements), -1), per_path[each_link, column], scalars]
    return np.concatenate(rows, axis=1, dtype="f8")


_PER_PATH = ("x_m", "y_m", "z_m", "range_m", "azimuth_rad", "zenith_rad", "power_db")
_SCALARS = (
    "distance_m",
    "gain_db",
    "delay_spread_ns",
    "azimuth_spread_rad",
    "num_paths",
    "carrier_db",
)


def feature_names(num_paths: int) -> list[str]:
    """Return the names of the columns of `feature_matrix`."""
    paths = [f"path_{i}_{name}" for i in range(num_paths) for name in _PER_PATH]
    return [*paths, *(f"first_path_{name}" for name in _PER_PATH), *_SCALARS]
