"""Angles come back into one turn."""

import numpy as np
import pytest

from raymark.radio.frames import wrap_deg, wrap_rad


@pytest.mark.parametrize(
    ("angle_deg", "expected_deg"),
    [
        (0.0, 0.0),
        (179.0, 179.0),
        (180.0, -180.0),
        (-180.0, -180.0),
        (190.0, -170.0),
        (-725.0, -5.0),
    ],
)
def test_angle_is_within_half_a_turn_when_wrapped(angle_deg: float, expected_deg: float) -> None:
    assert wrap_deg(angle_deg) == expected_deg
    assert wrap_rad(np.radians(angle_deg)) == pytest.approx(np.radians(expected_deg))


def test_angles_of_arrays_are_wrapped_one_by_one_also_when_there_is_none() -> None:
    np.testing.assert_array_equal(wrap_deg(np.array([[270.0, -270.0]])), [[-90.0, 90.0]])
    assert wrap_deg(np.zeros((0, 3))).shape == (0, 3)
    assert wrap_rad(np.array([np.pi], dtype="f4")).dtype == np.float32
