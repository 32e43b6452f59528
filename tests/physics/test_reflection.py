"""Ground and wall: Fresnel's coefficient, the two-ray sum, and mirror images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raymark.dataset import Dataset, PathTable

SPEED_OF_LIGHT_M_S = 299_792_458.0
VACUUM_PERMITTIVITY_F_M = 8.8541878128e-12
BANDS_HZ = {"2.6GHz": 2.6e9, "6GHz": 6e9, "28GHz": 28e9}

BS_M = np.array([0.0, 0.0, 10.0])
DISTANCES_M = np.array([12.0, 25.0, 40.0, 63.0, 100.0, 160.0, 250.0, 400.0])
FLAT_UE_M = np.column_stack([DISTANCES_M, 0 * DISTANCES_M, np.full_like(DISTANCES_M, 1.5)])

LENGTH_REL = 4 * 2**-24
"""Lengths are sums of two float32 segments between float32 points: four roundings."""
ANGLE_RAD = 2e-4
"""Sionna starts rays a fraction of a millimetre off a surface: 0.5 mm, seen from 3 m away."""
FRESNEL_REL = 2e-4
"""Sionna evaluates the coefficient in float32, with square roots of near-cancelling terms."""


def concrete_coefficient(carrier_hz: float, sin_grazing: np.ndarray) -> np.ndarray:
    """Fresnel's coefficient of a concrete half space, E in the plane of incidence.

    ITU-R P.2040-3, eqs. 9 (permittivity), 28-29 and table 3 (concrete), and 31b.
    """
    conductivity = 0.0462 * (carrier_hz / 1e9) ** 0.7822
    eta = 5.24 - 1j * conductivity / (2 * np.pi * carrier_hz * VACUUM_PERMITTIVITY_F_M)
    root = np.sqrt(eta - (1 - sin_grazing**2))
    return (eta * sin_grazing - root) / (eta * sin_grazing + root)


@pytest.fixture(scope="module")
def two_rays(flat_ground: Path, trace_points: Callable[..., Dataset]) -> Dataset:
    # The ground is 3 m thick: what returns from its lower face is below 1e-8.
    return trace_points(flat_ground, FLAT_UE_M, max_depth=2)


@pytest.mark.parametrize("band", BANDS_HZ)
def test_ground_path_has_fresnel_coefficient_when_ground_is_concrete(
    two_rays: Dataset, band: str
) -> None:
    paths = two_rays.select(scene="flat_ground", band=band).path_table(0, len(DISTANCES_M))

    ground = paths.interaction[:, 0] == 1
    length_m = np.hypot(DISTANCES_M, 11.5)
    free_space = SPEED_OF_LIGHT_M_S / BANDS_HZ[band] / (4 * np.pi * length_m)
    expected = concrete_coefficient(BANDS_HZ[band], 11.5 / length_m) * free_space
    assert np.diff(paths.path_offset).tolist() == [2] * len(DISTANCES_M)
    error = np.abs(paths.amplitude[ground] - expected) / free_space
    assert error.max() < FRESNEL_REL


@pytest.mark.parametrize("band", BANDS_HZ)
def test_sum_equals_two_ray_formula_when_ground_is_flat(two_rays: Dataset, band: str) -> None:
    selection = two_rays.select(scene="flat_ground", band=band)

    csi = selection.fingerprints(0, len(selection), kind="oracle").csi.numpy()

    carrier_hz = BANDS_HZ[band]
    direct_m, ground_m = np.hypot(DISTANCES_M, 8.5), np.hypot(DISTANCES_M, 11.5)
    wavenumber = 2 * np.pi * carrier_hz / SPEED_OF_LIGHT_M_S
    reflected = concrete_coefficient(carrier_hz, 11.5 / ground_m)
    expected = np.exp(-1j * wavenumber * direct_m) / direct_m
    expected += reflected * np.exp(-1j * wavenumber * ground_m) / ground_m
    expected *= 1 / (2 * wavenumber)
    free_space = 1 / (2 * wavenumber * direct_m)
    error = np.abs(csi[:, 0, 32] - expected) / free_space  # tone 32 of 64 is the carrier
    tolerance = FRESNEL_REL + 2 * wavenumber * ground_m * LENGTH_REL
    assert (error < tolerance).all()
    # The interference is strong enough for a wrong sign or phase to show.
    assert (np.abs(np.abs(expected) / free_space - 1) > 10 * tolerance).sum() >= 4


WALL_UE_M = np.array([[40.0, 10.0, 1.5], [-25.0, -40.0, 1.5], [90.0, 20.0, 3.0], [5.0, 25.0, 1.5]])
MIRRORS = {"direct": (1, 1), "ground": (1, -1), "wall": (-1, 1), "both": (-1, -1)}


def mirrored(point_m: np.ndarray, kind: str) -> np.ndarray:
    """Image of a point in the wall (plane y = 30 m), the ground (z = 0), or both."""
    sign_y, sign_z = MIRRORS[kind]
    y = point_m[..., 1] if sign_y > 0 else 60.0 - point_m[..., 1]
    return np.stack([point_m[..., 0], y, sign_z * point_m[..., 2]], axis=-1)


@pytest.fixture(scope="module")
def mirror_paths(ground_and_wall: Path, trace_points: Callable[..., Dataset]) -> PathTable:
    iso = {"num_rows": 1, "num_cols": 1, "element_pattern": "iso"}
    data = trace_points(
        ground_and_wall, WALL_UE_M, bands=["6GHz"], max_depth=2, front_end={"panel": iso}
    )
    return data.select(scene="ground_and_wall", band="6GHz").path_table(0, len(WALL_UE_M))


def test_delays_are_those_of_mirror_images_when_wall_and_ground_reflect(
    mirror_paths: PathTable,
) -> None:
    for i, ue in enumerate(WALL_UE_M):
        rows = slice(*mirror_paths.path_offset[i : i + 2])
        expected = [np.linalg.norm(mirrored(ue, kind) - BS_M) for kind in MIRRORS]
        found = np.sort(mirror_paths.delay_s[rows]) * SPEED_OF_LIGHT_M_S
        np.testing.assert_allclose(found, np.sort(expected), rtol=2 * LENGTH_REL)


def test_directions_point_at_mirror_images_when_wall_and_ground_reflect(
    mirror_paths: PathTable,
) -> None:
    for i, ue in enumerate(WALL_UE_M):
        rows = slice(*mirror_paths.path_offset[i : i + 2])
        order = np.argsort(mirror_paths.delay_s[rows])
        kinds = sorted(MIRRORS, key=lambda kind: np.linalg.norm(mirrored(ue, kind) - BS_M))
        for start, end, zenith, azimuth in [
            (BS_M, ue, mirror_paths.zenith_bs_rad, mirror_paths.azimuth_bs_rad),
            (ue, BS_M, mirror_paths.zenith_ue_rad, mirror_paths.azimuth_ue_rad),
        ]:
            for row, kind in zip(order, kinds, strict=True):
                towards = mirrored(end, kind) - start
                assert zenith[rows][row] == pytest.approx(
                    np.arccos(towards[2] / np.linalg.norm(towards)), abs=ANGLE_RAD
                )
                expected = np.arctan2(towards[1], towards[0])
                assert azimuth[rows][row] == pytest.approx(expected, abs=ANGLE_RAD)


def test_num_of_paths_is_one_when_depth_is_zero(
    ground_and_wall: Path, trace_points: Callable[..., Dataset]
) -> None:
    data = trace_points(ground_and_wall, WALL_UE_M, bands=["6GHz"], max_depth=0)

    paths = data.select(scene="ground_and_wall", band="6GHz").path_table(0, len(WALL_UE_M))
    assert np.diff(paths.path_offset).tolist() == [1] * len(WALL_UE_M)
    distance_m = np.linalg.norm(WALL_UE_M - BS_M, axis=1)
    np.testing.assert_allclose(paths.delay_s * SPEED_OF_LIGHT_M_S, distance_m, rtol=LENGTH_REL)
