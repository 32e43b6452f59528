"""Frames, directions and rotations, in Sionna's convention (see docs/conventions.md)."""

from typing import TypeVar

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Angle = TypeVar("Angle", float, np.ndarray)


def wrap_deg(angle_deg: Angle) -> Angle:
    """Return an angle in [-180, 180) [deg]."""
    return (angle_deg + 180) % 360 - 180


def wrap_rad(angle_rad: Angle) -> Angle:
    """Return an angle in [-pi, pi) [rad]."""
    return (angle_rad + np.pi) % (2 * np.pi) - np.pi


def unit_vector(
    zenith_rad: Float[Array, "*n"], azimuth_rad: Float[Array, "*n"]
) -> Float[Array, "*n 3"]:
    """Return the unit vector of a direction.

    Args:
        zenith_rad: Angle from +z [rad].
        azimuth_rad: Angle from +x towards +y [rad].

    Returns:
        Unit vectors (x, y, z) (3GPP TR 38.901, eq. 7.1-2 ff.).
    """
    sin_zenith = np.sin(zenith_rad)
    return np.stack(
        [sin_zenith * np.cos(azimuth_rad), sin_zenith * np.sin(azimuth_rad), np.cos(zenith_rad)], -1
    )


def angles(direction: Float[Array, "*n 3"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Return zenith in [0, pi] and azimuth in (-pi, pi] [rad] of vectors of any length."""
    horizontal = np.hypot(direction[..., 0], direction[..., 1])
    zenith_rad = np.arctan2(horizontal, direction[..., 2])
    return zenith_rad, np.arctan2(direction[..., 1], direction[..., 0])


def rotation_matrix(orientation_rad: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Return the matrix that turns local into world coordinates.

    Args:
        orientation_rad: (yaw, pitch, roll) about z, y and x, applied as Rz Ry Rx [rad]
            (3GPP TR 38.901, eq. 7.1-4). A positive pitch tilts the boresight (+x) downwards.
    """
    (ca, cb, cc), (sa, sb, sc) = np.cos(orientation_rad), np.sin(orientation_rad)
    return np.array(
        [
            [ca * cb, ca * sb * sc - sa * cc, ca * sb * cc + sa * sc],
            [sa * cb, sa * sb * sc + ca * cc, sa * sb * cc - ca * sc],
            [-sb, cb * sc, cb * cc],
        ]
    )
