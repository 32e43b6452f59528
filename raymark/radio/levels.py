"""Power ratios as levels in decibels, and the level that distance alone leaves."""

import numpy as np
from jaxtyping import Float

from raymark.radio import SPEED_OF_LIGHT_M_S

FLOOR_DB = -200.0
"""Level of no power at all."""


def to_db(power: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Return 10 log10 of a power ratio [dB]; `FLOOR_DB` where it is 0."""
    level_db: Float[np.ndarray, "*n"] = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return level_db


def free_space_amplitude(
    distance_m: Float[np.ndarray, "*n"], carrier_hz: float
) -> Float[np.ndarray, "*n"]:
    """Return the amplitude between isotropic antennas, lambda / (4 pi d).

    Friis (1946); ITU-R P.525, eq. 3.
    """
    amplitude: Float[np.ndarray, "*n"] = SPEED_OF_LIGHT_M_S / carrier_hz / (4 * np.pi * distance_m)
    return amplitude
