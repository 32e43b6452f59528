import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raymark.radio.frames import angles, rotation_matrix, unit_vector

FLOAT64_ABS = 1e-14
"""A handful of float64 roundings of numbers up to 1."""

angle = st.floats(-7, 7)
orientation = arrays("f8", 3, elements=angle)


def rz(a: float) -> np.ndarray:
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def ry(a: float) -> np.ndarray:
    return np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])


def rx(a: float) -> np.ndarray:
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


@given(orientation)
def test_rotation_matrix_is_rz_ry_rx_when_turned_by_any_angles(orientation_rad: np.ndarray) -> None:
    yaw, pitch, roll = orientation_rad

    np.testing.assert_allclose(
        rotation_matrix(orientation_rad), rz(yaw) @ ry(pitch) @ rx(roll), atol=FLOAT64_ABS
    )


@given(orientation)
def test_rotation_matrix_is_proper_rotation_when_turned_by_any_angles(
    orientation_rad: np.ndarray,
) -> None:
    matrix = rotation_matrix(orientation_rad)

    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=FLOAT64_ABS)
    assert np.linalg.det(matrix) == pytest.approx(1.0, abs=FLOAT64_ABS)


def test_boresight_looks_down_when_pitch_is_positive() -> None:
    boresight = rotation_matrix(np.array([np.pi / 2, 0.1, 0.0])) @ [1, 0, 0]

    np.testing.assert_allclose(boresight, [0, np.cos(0.1), -np.sin(0.1)], atol=FLOAT64_ABS)


@given(st.floats(1e-3, np.pi - 1e-3), st.floats(-np.pi + 1e-9, np.pi), st.floats(1e-3, 1e4))
def test_angles_return_the_direction_when_vector_has_any_length(
    zenith_rad: float, azimuth_rad: float, length: float
) -> None:
    vector = length * unit_vector(np.array([zenith_rad]), np.array([azimuth_rad]))

    zenith, azimuth = angles(vector)

    # The azimuth of a nearly vertical vector loses digits like 1 / sin(zenith).
    assert zenith[0] == pytest.approx(zenith_rad, abs=1e-12)
    assert azimuth[0] == pytest.approx(azimuth_rad, abs=1e-12)


@given(arrays("f8", 3, elements=st.floats(-100, 100)).filter(lambda v: np.linalg.norm(v) > 1e-3))
def test_unit_vector_returns_the_vector_when_given_its_angles(vector: np.ndarray) -> None:
    zenith, azimuth = angles(vector[None])

    np.testing.assert_allclose(
        unit_vector(zenith, azimuth)[0], vector / np.linalg.norm(vector), atol=FLOAT64_ABS
    )
