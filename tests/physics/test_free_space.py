"""Friis' formula and the 3GPP element pattern, on single direct paths."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.dataset import Dataset

SPEED_OF_LIGHT_M_S = 299_792_458.0
BANDS_HZ = {"2.6GHz": 2.6e9, "6GHz": 6e9, "28GHz": 28e9}
DISTANCES_M = np.array([10.0, 31.6, 100.0, 316.0, 1000.0])

FLOAT32_REL = 2e-6
"""Some 30 roundings of float32: the path is stored and traced in single precision."""


@pytest.fixture(scope="module")
def direct(far_ground: Path, trace_points: Callable[..., Dataset]) -> Dataset:
    directions = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, -1, 0], [-0.48, 0.6, 0.64], [0.8, 0, 0.6]])
    return trace_points(
        far_ground, DISTANCES_M[:, None] * directions, specular_reflection=False, max_depth=1
    )


@pytest.mark.parametrize("band", BANDS_HZ)
def test_direct_path_has_friis_amplitude_when_space_is_free(direct: Dataset, band: str) -> None:
    paths = direct.select(scene="far_ground", band=band).path_table(0, 5)

    wavelength_m = SPEED_OF_LIGHT_M_S / BANDS_HZ[band]
    friis = wavelength_m / (4 * np.pi * DISTANCES_M)  # Friis 1946, isotropic antennas
    assert np.diff(paths.path_offset).tolist() == [1] * 5
    np.testing.assert_allclose(paths.amplitude, friis, rtol=FLOAT32_REL)


@pytest.mark.parametrize("band", BANDS_HZ)
def test_gain_falls_20_db_per_decade_when_space_is_free(direct: Dataset, band: str) -> None:
    selection = direct.select(scene="far_ground", band=band)

    gain_db = selection.fingerprints(0, 5, kind="oracle").gain_db.numpy()

    slope = np.polyfit(np.log10(DISTANCES_M), gain_db, 1)[0]
    assert slope == pytest.approx(-20.0, abs=1e-3)  # dB; float32 levels round at 1e-5 dB


def test_delay_is_distance_over_c_when_space_is_free(direct: Dataset) -> None:
    paths = direct.select(scene="far_ground", band="6GHz").path_table(0, 5)

    np.testing.assert_allclose(paths.delay_s * SPEED_OF_LIGHT_M_S, DISTANCES_M, rtol=FLOAT32_REL)


def test_all_links_are_los_when_space_is_free(direct: Dataset) -> None:
    assert direct.select(scene="far_ground", band="6GHz").los.tolist() == [1] * 5


def test_angles_point_at_the_other_end_when_path_is_direct(direct: Dataset) -> None:
    selection = direct.select(scene="far_ground", band="6GHz")
    paths, to_ue = selection.path_table(0, 5), selection.position_m / DISTANCES_M[:, None]

    for zenith, azimuth, expected in [
        (paths.zenith_bs_rad, paths.azimuth_bs_rad, to_ue),
        (paths.zenith_ue_rad, paths.azimuth_ue_rad, -to_ue),
    ]:
        x, y = np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth)
        found = np.column_stack([x, y, np.cos(zenith)])
        np.testing.assert_allclose(found, expected, atol=1e-6)  # ten float32 roundings of 1


def tr38901_gain_db(zenith_deg: float, azimuth_deg: float) -> float:
    """Element pattern of 3GPP TR 38.901, table 7.3-1."""
    vertical = -min(12 * ((zenith_deg - 90) / 65) ** 2, 30.0)
    horizontal = -min(12 * (azimuth_deg / 65) ** 2, 30.0)
    return 8.0 - min(-(vertical + horizontal), 30.0)


@pytest.mark.parametrize(
    ("zenith_deg", "azimuth_deg"),
    [(90, 0), (90, 32.5), (90, 65), (90, -120), (110, 0), (70, 40), (122.5, -32.5), (90, 180)],
)
def test_direct_path_has_3gpp_element_gain_when_panel_is_tr38901(
    far_ground: Path,
    trace_points: Callable[..., Dataset],
    zenith_deg: float,
    azimuth_deg: float,
) -> None:
    zenith, azimuth = np.radians([zenith_deg, azimuth_deg])
    direction = [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)]

    data = trace_points(
        far_ground,
        [100 * np.array(direction)],
        bands=["6GHz"],
        front_end={"panel": {"num_rows": 8, "num_cols": 8}},
        specular_reflection=False,
        max_depth=1,
    )

    paths = data.select(scene="far_ground", band="6GHz").path_table(0, 1)
    friis = SPEED_OF_LIGHT_M_S / 6e9 / (4 * np.pi * 100)
    gain_db = 20 * np.log10(np.abs(paths.amplitude[0]) / friis)
    # The pattern is evaluated on float32 angles; 1e-3 dB is 1e-4 of the amplitude.
    assert gain_db == pytest.approx(tr38901_gain_db(zenith_deg, azimuth_deg), abs=1e-3)


def test_direct_path_has_both_element_gains_when_ue_is_tr38901_too(
    write_scene: Callable[..., Path], trace_points: Callable[..., Dataset]
) -> None:
    """The largest gain that the front-end offers: it must pass the check against free space."""
    vertices = [(-500, -500, -300), (500, -500, -300), (500, 500, -300), (-500, 500, -300)]
    plate = trimesh.Trimesh(vertices=vertices, faces=[(0, 1, 2), (0, 2, 3)], process=False)
    site = {"name": "bs0", "position_m": [0.0, 0.0, 0.0], "azimuth_deg": 180.0}
    scene = write_scene("face_to_face", {"ground": (plate, "concrete")}, [site])

    data = trace_points(
        scene,
        [[-100.0, 0.0, 0.0]],  # a UE looks along +x
        bands=["6GHz"],
        front_end={"ue": {"element_pattern": "tr38901"}},
        max_depth=0,
    )

    paths = data.select(scene="face_to_face", band="6GHz").path_table(0, 1)
    friis = SPEED_OF_LIGHT_M_S / 6e9 / (4 * np.pi * 100)
    assert 20 * np.log10(np.abs(paths.amplitude[0]) / friis) == pytest.approx(16.0, abs=1e-3)


def test_panel_is_the_bands_own_when_it_has_one(
    far_ground: Path, trace_points: Callable[..., Dataset]
) -> None:
    """Off boresight the 3GPP element differs from an isotropic one; see the tests above."""
    positions = [[80.0, 60.0, 0.0], [100.0, 5.0, -20.0]]
    element = {"num_rows": 1, "num_cols": 1, "element_pattern": "tr38901"}
    own = {"name": "28GHz", "bandwidth_hz": 5e6, "front_end": {"panel": element}}
    mixed = trace_points(far_ground, positions, bands=["6GHz", own, "2.6GHz"], max_depth=0)
    iso = trace_points(far_ground, positions, max_depth=0)
    both = trace_points(far_ground, positions, front_end={"panel": element}, max_depth=0)

    for band, reference in {"2.6GHz": iso, "6GHz": iso, "28GHz": both}.items():
        found = mixed.select(scene="far_ground", band=band)
        expected = reference.select(scene="far_ground", band=band).path_table(0, 2)
        np.testing.assert_array_equal(found.path_table(0, 2).amplitude, expected.amplitude)
    assert (
        mixed.select(scene="far_ground", band="28GHz").front_end.panel.element_pattern == "tr38901"
    )
