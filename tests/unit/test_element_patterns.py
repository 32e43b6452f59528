"""Gains of single elements: against the table's formula, and against Sionna's own functions."""

from typing import Any

import numpy as np
import pytest

from raymark.generator.tracing.runtime import activate_runtime
from raymark.radio.elements import element_amplitude

UPRIGHT = np.zeros(3)


def direction(zenith_deg: Any, azimuth_deg: Any) -> np.ndarray:
    zenith, azimuth = np.radians(zenith_deg), np.radians(azimuth_deg)
    x, y = np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth)
    return np.stack([x, y, np.cos(zenith)], axis=-1)


@pytest.mark.parametrize(
    ("zenith_deg", "azimuth_deg", "gain_db"),
    [
        (90, 0, 8.0),
        (90, 32.5, 5.0),  # half the beam width: 3 dB
        (122.5, 0, 5.0),
        (122.5, -32.5, 2.0),
        (90, 65, -4.0),
        (90, 180, -22.0),  # front-to-back ratio 30 dB
        (20, 180, -22.0),  # both cuts together lose no more
    ],
)
def test_tr38901_gain_is_that_of_the_table(
    zenith_deg: float, azimuth_deg: float, gain_db: float
) -> None:
    amplitude = element_amplitude("tr38901", direction([zenith_deg], [azimuth_deg]), UPRIGHT)

    np.testing.assert_allclose(20 * np.log10(amplitude), gain_db, atol=1e-9)


def test_boresight_is_where_a_turned_and_tilted_element_looks() -> None:
    orientation = np.radians([130.0, 12.0, 0.0])

    amplitude = element_amplitude("tr38901", 7.0 * direction([102.0], [130.0]), orientation)

    np.testing.assert_allclose(20 * np.log10(amplitude), 8.0, atol=1e-9)


@pytest.mark.parametrize("pattern", ["tr38901", "dipole", "iso"])
def test_amplitude_is_sionnas(pattern: Any) -> None:
    activate_runtime()
    import mitsuba as mi
    from sionna.rt import antenna_pattern

    rng = np.random.default_rng(0)
    zenith_deg, azimuth_deg = rng.uniform(0, 180, 1000), rng.uniform(-180, 180, 1000)
    function = getattr(antenna_pattern, f"v_{pattern}_pattern")
    theirs = function(mi.Float(np.radians(zenith_deg)), mi.Float(np.radians(azimuth_deg)))

    ours = element_amplitude(pattern, direction(zenith_deg, azimuth_deg), UPRIGHT)

    # Theirs is in float32: the squared angles lose some 1e-6 of up to 30 dB.
    np.testing.assert_allclose(ours, np.array(theirs.real), rtol=3e-5, atol=1e-6)
