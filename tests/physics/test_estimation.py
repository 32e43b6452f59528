"""Measured fingerprints against the truth: noise, angle of arrival, distance and gain."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from raymark.dataset import Dataset, Selection
from raymark.radio import BAND_PRESETS, Band, FrontEnd, Panel, UserEquipment
from raymark.radio.fingerprints import Fingerprints, azimuth_bins, measured_fingerprints
from raymark.radio.synthesis import PathBatch, add_noise, synthesize_csi

SPEED_OF_LIGHT_M_S = 299_792_458.0
BOLTZMANN_J_K = 1.380649e-23

NOISE_FIGURES_DB = {"2.6GHz": 5.0, "6GHz": 5.0, "FR3-15GHz": 6.0, "28GHz": 7.0}
FIVE_SIGMA = 5.0
"""A normal estimate lies further off once in 1.7 million times; the seeds are fixed besides."""


def white_noise(band: Band, front_end: FrontEnd, num_links: int, seed: int) -> np.ndarray:
    silent = torch.zeros(num_links, 64, 64, dtype=torch.complex64)
    return add_noise(silent, band, front_end, torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize("name", NOISE_FIGURES_DB)
@pytest.mark.parametrize("tx_power_dbm", [23.0, 0.0])
def test_noise_power_is_ktb_plus_noise_figure_when_channel_is_zero(
    name: str, tx_power_dbm: float
) -> None:
    band = BAND_PRESETS[name]
    front_end = FrontEnd(ue=UserEquipment(tx_power_dbm=tx_power_dbm))

    noise = white_noise(band, front_end, num_links=100, seed=1)

    # kTB at 290 K, 50 MHz is -97.0 dBm; the estimate of H divides by the transmitted amplitude.
    ktb_dbm = 10 * np.log10(BOLTZMANN_J_K * 290.0 * 50e6 * 1e3)
    expected = 10 ** ((ktb_dbm + NOISE_FIGURES_DB[name] - tx_power_dbm) / 10)
    power = np.abs(noise.astype("c16")) ** 2
    # |n|^2 is exponential, its deviation equals its mean.
    tolerance = FIVE_SIGMA * expected / np.sqrt(power.size)
    assert ktb_dbm == pytest.approx(-96.99, abs=0.01)
    assert power.mean() == pytest.approx(expected, abs=tolerance)


def test_noise_is_circular_and_white_when_channel_is_zero() -> None:
    noise = white_noise(BAND_PRESETS["6GHz"], FrontEnd(), num_links=100, seed=2).astype("c16")
    noise /= np.sqrt((np.abs(noise) ** 2).mean())

    # Means of products of unit normals: their deviation is 1 / sqrt(count).
    tolerance = FIVE_SIGMA / np.sqrt(noise.size)
    assert abs(noise.mean()) < tolerance
    assert abs((noise**2).mean()) < 2 * tolerance
    for axis in range(3):
        shifted = np.roll(noise, 1, axis=axis)
        assert abs((noise * shifted.conj()).mean()) < tolerance


def test_noise_is_fresh_when_generator_goes_on() -> None:
    generator = torch.Generator().manual_seed(3)
    silent = torch.zeros(1, 64, 64, dtype=torch.complex64)
    band, front_end = BAND_PRESETS["6GHz"], FrontEnd()

    first = add_noise(silent, band, front_end, generator)
    second = add_noise(silent, band, front_end, generator)

    assert not torch.equal(first, second)


AZIMUTHS_DEG = np.array([-60.0, -37.0, -12.0, 0.5, 8.0, 25.0, 41.0, 58.0])
RANGES_M = np.array([30.0, 55.0, 80.0, 110.0, 140.0, 170.0, 190.0, 45.0])
YAW_DEG, DOWNTILT_DEG = 70.0, 12.0


@pytest.fixture(scope="module")
def sector(write_scene: Callable[..., Path], trace_points: Callable[..., Dataset]) -> Dataset:
    """UEs in free space, in the sector of a turned and tilted 8x8 panel."""
    from_boresight = np.radians(YAW_DEG + AZIMUTHS_DEG)
    ues = np.column_stack(
        [RANGES_M * np.cos(from_boresight), RANGES_M * np.sin(from_boresight), 0 * RANGES_M + 1.5]
    )
    vertices = [(-900, -900, -300), (900, -900, -300), (900, 900, -300), (-900, 900, -300)]
    plate = trimesh.Trimesh(vertices=vertices, faces=[(0, 1, 2), (0, 2, 3)], process=False)
    site = {
        "name": "bs0",
        "position_m": [0.0, 0.0, 25.0],
        "azimuth_deg": YAW_DEG,
        "downtilt_deg": DOWNTILT_DEG,
    }
    scene = write_scene("sector", {"ground": (plate, "concrete")}, [site])
    return trace_points(
        scene,
        ues,
        bands=[BAND_PRESETS[name].model_dump() for name in NOISE_FIGURES_DB],
        front_end={},
        max_path_length_m=380.0,
        specular_reflection=False,
        max_depth=1,
    )


def measure(selection: Selection, seed: int, method: str = "bartlett") -> Fingerprints:
    generator = torch.Generator().manual_seed(seed)
    return selection.fingerprints(0, len(selection), generator=generator, method=method)


@pytest.mark.parametrize("band", NOISE_FIGURES_DB)
@pytest.mark.parametrize("method", ["bartlett", "capon", "music"])
def test_aoa_profile_peaks_at_true_azimuth_when_link_is_los(
    sector: Dataset, band: str, method: str
) -> None:
    selection = sector.select(scene="sector", band=band)

    profile = measure(selection, seed=4, method=method).aoa_profile

    # Yaw about z, then pitch about the turned y: scipy's intrinsic "ZY".
    panel = Rotation.from_euler("ZY", [YAW_DEG, DOWNTILT_DEG], degrees=True)
    local = panel.inv().apply(selection.position_m.astype("f8") - [0.0, 0.0, 25.0])
    expected_rad = np.arctan2(local[:, 1], local[:, 0])
    found_rad = azimuth_bins()[profile.argmax(dim=1)].numpy()
    one_bin_rad = np.pi / 64  # half a bin of the grid, and as much for its 7.5 degrees in zenith
    assert np.abs(found_rad - expected_rad).max() < one_bin_rad
    # The estimator decides, not the grid's middle: the peaks lie far apart.
    assert np.ptp(expected_rad) > 30 * one_bin_rad


def test_bartlett_peak_has_channel_gain_when_beam_meets_the_path() -> None:
    """One plane wave from the centre of a beam: the peak's level is the path's gain."""
    panel, band = Panel(), BAND_PRESETS["6GHz"]
    zenith, azimuth = np.radians(93.75), float(azimuth_bins()[40])  # beam 12 of 24, bin 40
    paths = one_path(band, amplitude=1e-4, delay_s=4e-7, zenith_rad=zenith, azimuth_rad=azimuth)
    quiet = FrontEnd(panel=panel, ue=UserEquipment(tx_power_dbm=60.0))

    found = measured_fingerprints(
        paths,
        quiet,
        generator=torch.Generator().manual_seed(5),
        calibration=torch.ones(64, dtype=torch.complex64),
    )

    assert int(found.aoa_profile.argmax()) == 40
    # The noise lies 60 dB lower, and 36 dB more after the beam.
    assert float(found.aoa_profile.max()) == pytest.approx(-80.0, abs=0.01)


def one_path(
    band: Band, *, amplitude: float, delay_s: float, zenith_rad: float, azimuth_rad: float
) -> PathBatch:
    def column(value: float) -> torch.Tensor:
        return torch.tensor([[value]], dtype=torch.float32)

    return PathBatch(
        amplitude=column(amplitude).to(torch.complex64),
        delay_s=column(delay_s),
        zenith_bs_rad=column(zenith_rad),
        azimuth_bs_rad=column(azimuth_rad),
        num_interactions=torch.zeros(1, 1, dtype=torch.int64),
        mask=torch.ones(1, 1, dtype=torch.bool),
        band=band,
        orientation_rad=np.zeros(3),
    )


DISTANCE_M = 0.12
"""A fiftieth of the resolution c / B = 6 m: a parabola is nearly exact on a Hann main lobe."""


@pytest.mark.parametrize("distance_m", [11.0, 37.3, 100.0, 250.7, 370.0])
def test_distance_equals_truth_when_path_is_alone_and_noise_is_low(distance_m: float) -> None:
    band = BAND_PRESETS["6GHz"]
    delay_s = distance_m / SPEED_OF_LIGHT_M_S
    paths = one_path(band, amplitude=1e-4, delay_s=delay_s, zenith_rad=np.pi / 2, azimuth_rad=0.0)

    found = measured_fingerprints(
        paths,
        FrontEnd(ue=UserEquipment(tx_power_dbm=60.0)),
        generator=torch.Generator().manual_seed(6),
        calibration=torch.ones(64, dtype=torch.complex64),
    )

    assert bool(found.has_signal[0])
    assert float(found.distance_m[0]) == pytest.approx(distance_m, abs=DISTANCE_M)


def test_distance_equals_truth_when_link_is_los(sector: Dataset) -> None:
    selection = sector.select(scene="sector", band="6GHz")

    found = measure(selection, seed=7)

    true_m = np.linalg.norm(selection.position_m - np.array([0, 0, 25.0]), axis=1)
    assert found.has_signal.all()
    np.testing.assert_allclose(found.distance_m.numpy(), true_m, atol=DISTANCE_M)


@pytest.mark.parametrize("band", NOISE_FIGURES_DB)
def test_gain_equals_oracle_when_snr_is_high(sector: Dataset, band: str) -> None:
    selection = sector.select(scene="sector", band=band)

    measured = measure(selection, seed=8).gain_db
    oracle = selection.fingerprints(0, len(selection), kind="oracle").gain_db

    # 4096 entries at 10 dB or more: deviation of the mean power 10 lg(1 + 0.45 / 64) = 0.03 dB.
    np.testing.assert_allclose(measured.numpy(), oracle.numpy(), atol=FIVE_SIGMA * 0.03)


def test_nothing_is_found_when_link_is_in_outage() -> None:
    band = BAND_PRESETS["28GHz"]
    paths = one_path(band, amplitude=0.0, delay_s=0.0, zenith_rad=0.0, azimuth_rad=0.0)
    outage = PathBatch(
        **{
            **{name: getattr(paths, name).expand(200, 1) for name in TENSORS},
            "mask": torch.zeros(200, 1, dtype=torch.bool),
        },
        band=band,
        orientation_rad=np.zeros(3),
    )

    found = measured_fingerprints(
        outage,
        FrontEnd(),
        generator=torch.Generator().manual_seed(9),
        calibration=torch.ones(64, dtype=torch.complex64),
    )

    # The threshold is six deviations of a 64-antenna mean: 512 bins x 200 links raise it rarely.
    assert found.has_signal.float().mean() < 0.01
    assert (found.distance_m[~found.has_signal] == 0).all()
    for values in (found.csi.abs(), found.aoa_profile, found.distance_m, found.gain_db):
        assert torch.isfinite(values).all()
    noise_db = 10 * np.log10(FrontEnd().noise_variance(band))
    assert (found.gain_db < noise_db).all()


TENSORS = (
    "amplitude",
    "delay_s",
    "zenith_bs_rad",
    "azimuth_bs_rad",
    "num_interactions",
)


def test_synthesize_csi_is_zero_when_link_is_in_outage() -> None:
    band = BAND_PRESETS["6GHz"]
    paths = one_path(band, amplitude=0.0, delay_s=0.0, zenith_rad=0.0, azimuth_rad=0.0)

    assert (synthesize_csi(paths, Panel()) == 0).all()
