"""Gain of one antenna element over direction, in closed form: the ray tracer's own patterns."""

import math

import numpy as np
from jaxtyping import Float

from raymark.radio import ElementPattern
from raymark.radio.frames import angles, rotation_matrix

Array = np.ndarray

BEAM_WIDTH_DEG = 65.0
LARGEST_LOSS_DB = 30.0
_DIPOLE_GAIN = 1.5  # a short dipole; Balanis, Antenna Theory, eq. 4-26a

ELEMENT_GAIN_DB: dict[ElementPattern, float] = {
    "tr38901": 8.0,
    "iso": 0.0,
    "dipole": 10 * math.log10(_DIPOLE_GAIN),
}
"""Largest gain of an element over an isotropic one, by its pattern [dBi]."""


def element_amplitude(
    pattern: ElementPattern,
    direction: Float[Array, "*n 3"],
    orientation_rad: Float[Array, "3"],
) -> Float[Array, "*n"]:
    """Return by which factor an element changes the amplitude of a path.

    Sionna RT gives an element one polarization whatever the direction, and scales it by a real
    factor: with isotropic elements of that polarization the same path has the amplitude divided
    by this one.

    Args:
        pattern: Name of the pattern.
        direction: Vectors from the antenna along the path, of any length, world frame.
        orientation_rad: Yaw, pitch (down) and roll of the antenna [rad].

    Returns:
        Square root of the gain over an isotropic element.
    """
    zenith_rad, azimuth_rad = angles(direction @ rotation_matrix(orientation_rad))
    if pattern == "tr38901":
        return 10 ** (_tr38901_gain_db(zenith_rad, azimuth_rad) / 20)
    if pattern == "dipole":
        return np.sqrt(_DIPOLE_GAIN) * np.sin(zenith_rad)
    return np.ones_like(zenith_rad)


def _tr38901_gain_db(
    zenith_rad: Float[Array, "*n"], azimuth_rad: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Return the gain of 3GPP TR 38.901, table 7.3-1, row by row [dB]."""
    off_zenith = (np.degrees(zenith_rad) - 90) / BEAM_WIDTH_DEG
    off_azimuth = np.degrees(azimuth_rad) / BEAM_WIDTH_DEG
    vertical_db = -np.minimum(12 * off_zenith**2, LARGEST_LOSS_DB)
    horizontal_db = -np.minimum(12 * off_azimuth**2, LARGEST_LOSS_DB)
    return ELEMENT_GAIN_DB["tr38901"] - np.minimum(-(vertical_db + horizontal_db), LARGEST_LOSS_DB)
