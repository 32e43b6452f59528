"""Power ratios as levels in decibels."""

import numpy as np
from jaxtyping import Float

FLOOR_DB = -200.0
"""Level of no power at all."""


def to_db(power: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Return 10 log10 of a power ratio [dB]; `FLOOR_DB` where it is 0."""
    level_db: Float[np.ndarray, "*n"] = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return level_db
