"""Estimators and oracle values on a few paths made by hand."""

import numpy as np
import pytest
import torch

from raymark.radio import BAND_PRESETS, FrontEnd, Impairments, Panel, UserEquipment
from raymark.radio.fingerprints import (
    NUM_AZIMUTH_BINS,
    azimuth_bins,
    estimate_aoa_profile,
    estimate_distance,
    estimate_gain,
    measured_fingerprints,
    oracle_fingerprints,
)
from raymark.radio.levels import FLOOR_DB
from raymark.radio.synthesis import PathBatch, synthesize_csi

SPEED_OF_LIGHT_M_S = 299_792_458.0
BAND = BAND_PRESETS["6GHz"]
QUIET = FrontEnd(ue=UserEquipment(tx_power_dbm=60.0))
ONES = torch.ones(64, dtype=torch.complex64)


def links(*paths: list[tuple[float, float, float]]) -> PathBatch:
    """Links given by their paths: amplitude, length [m], azimuth [rad] at zenith 90 degrees."""
    width = max(1, *(len(link) for link in paths))
    mask = np.array([[i < len(link) for i in range(width)] for link in paths])
    padded = np.array([link + [(0.0, 0.0, 0.0)] * (width - len(link)) for link in paths])
    amplitude, length_m, azimuth = (torch.from_numpy(padded[..., i]).float() for i in range(3))
    return PathBatch(
        amplitude=amplitude.to(torch.complex64),
        delay_s=length_m / SPEED_OF_LIGHT_M_S,
        zenith_bs_rad=torch.full(mask.shape, np.pi / 2),
        azimuth_bs_rad=azimuth,
        num_interactions=torch.zeros(mask.shape, dtype=torch.int64),
        mask=torch.from_numpy(mask),
        band=BAND,
        orientation_rad=np.zeros(3),
    )


THREE = links(
    [(1e-4, 50, 0.3), (5e-5, 80, -0.7), (2e-5, 81, -0.71), (1e-5, 120, 3.0)],
    [(3e-5, 90, 1.5), (4e-5, 70, 1.5)],
    [],
)


def test_azimuth_bins_are_64_equal_ones_over_the_half_space_when_default() -> None:
    bins = azimuth_bins().numpy()

    np.testing.assert_allclose(bins, (np.arange(64) + 0.5) * np.pi / 64 - np.pi / 2, atol=1e-6)


def test_oracle_gain_is_the_sum_of_powers_when_paths_are_several() -> None:
    found = oracle_fingerprints(THREE, FrontEnd())

    sums = [1e-8 + 25e-10 + 4e-10 + 1e-10, 9e-10 + 16e-10]
    np.testing.assert_allclose(found.gain_db[:2], 10 * np.log10(sums), atol=1e-4)
    assert found.gain_db[2] == FLOOR_DB
    assert found.has_signal.tolist() == [True, True, False]


def test_oracle_distance_is_the_shortest_paths_when_it_is_not_the_strongest() -> None:
    found = oracle_fingerprints(THREE, FrontEnd())

    np.testing.assert_allclose(found.distance_m, [50, 70, 0], rtol=1e-6)


def test_oracle_profile_is_the_histogram_of_power_when_paths_are_several() -> None:
    found = 10 ** (oracle_fingerprints(THREE, FrontEnd()).aoa_profile.numpy() / 10)

    for link in range(3):
        power = THREE.amplitude[link].abs().numpy().astype("f8") ** 2 * THREE.mask[link].numpy()
        edges = np.linspace(-np.pi / 2, np.pi / 2, NUM_AZIMUTH_BINS + 1)
        expected, _ = np.histogram(THREE.azimuth_bs_rad[link].numpy(), edges, weights=power)
        np.testing.assert_allclose(found[link], expected, rtol=1e-4, atol=2e-20)  # the floor


def test_oracle_csi_is_noiseless_when_repeated() -> None:
    first, second = oracle_fingerprints(THREE, FrontEnd()), oracle_fingerprints(THREE, FrontEnd())

    assert torch.equal(first.csi, second.csi)
    assert torch.equal(first.csi, synthesize_csi(THREE, Panel()))


@pytest.mark.parametrize("level_db", [0.0, -10.0, -18.0])
def test_distance_is_the_first_paths_when_a_later_one_is_stronger(level_db: float) -> None:
    weak = 1e-4 * 10 ** (level_db / 20)
    csi = synthesize_csi(links([(weak, 60, 0.0), (1e-4, 100, 0.4)]), Panel())

    distance_m, found = estimate_distance(csi, BAND, 1e-20)

    assert bool(found[0])
    # The other path's side lobes (Hann: -31 dB and less) shift the top by a fraction of 6 m.
    assert float(distance_m[0]) == pytest.approx(60.0, abs=1.0)


def test_distance_passes_over_a_path_when_it_is_too_weak() -> None:
    weak = 1e-4 * 10 ** (-26 / 20)
    csi = synthesize_csi(links([(weak, 60, 0.0), (1e-4, 100, 0.4)]), Panel())

    distance_m, _ = estimate_distance(csi, BAND, 1e-20)

    assert float(distance_m[0]) == pytest.approx(100.0, abs=1.0)


def test_distance_is_not_found_when_csi_is_zero() -> None:
    distance_m, found = estimate_distance(torch.zeros(3, 64, 64, dtype=torch.complex64), BAND, 1e-9)

    assert not found.any()
    assert (distance_m == 0).all()


def test_gain_estimate_has_a_floor_when_there_is_only_noise() -> None:
    noise_variance = 1e-10
    silent = torch.zeros(2, 64, 64, dtype=torch.complex64)

    gain_db = estimate_gain(silent, noise_variance)

    np.testing.assert_allclose(gain_db, 10 * np.log10(noise_variance / 64), atol=1e-3)


@pytest.mark.parametrize("method", ["bartlett", "capon"])
def test_profile_peaks_at_the_channel_gain_when_wave_is_plane(method: str) -> None:
    """A plane wave from the centre of a beam: zenith 93.75 degrees is the 13th of 24."""
    bin_ = 20
    paths = links([(1e-4, 60, float(azimuth_bins()[bin_]))])
    paths.zenith_bs_rad[:] = np.radians(93.75)

    profile = estimate_aoa_profile(synthesize_csi(paths, Panel()), Panel(), method=method)

    assert int(profile.argmax()) == bin_
    # Capon's loading of 1 % adds 0.01 / 64 of the gain.
    assert float(profile.max()) == pytest.approx(-80.0, abs=0.01)


def test_music_profile_has_its_maximum_at_0_db_when_links_differ_in_level() -> None:
    csi = synthesize_csi(THREE, Panel())[:2]

    profile = estimate_aoa_profile(csi, Panel(), method="music")

    np.testing.assert_allclose(profile.amax(dim=1), [0, 0], atol=1e-6)


@pytest.mark.parametrize("method", ["capon", "music"])
def test_two_paths_stand_apart_when_bartlett_blurs_them(method: str) -> None:
    """12.6 degrees at boresight: about the width of an 8-element beam, 0.886 lambda / D."""
    separation_rad = 0.22
    paths = links([(1e-4, 60, -separation_rad / 2), (1e-4, 110, separation_rad / 2)])
    csi = synthesize_csi(paths, Panel())

    profile = estimate_aoa_profile(csi, Panel(), method=method, num_bins=256)[0].numpy()

    peaks = np.flatnonzero((profile[1:-1] > profile[:-2]) & (profile[1:-1] > profile[2:])) + 1
    strongest = peaks[np.argsort(profile[peaks])[-2:]]
    found = np.sort(azimuth_bins(256).numpy()[strongest])
    one_bin = np.pi / 256
    np.testing.assert_allclose(found, [-separation_rad / 2, separation_rad / 2], atol=2 * one_bin)


def test_measured_modalities_come_from_the_same_csi_when_estimated_again() -> None:
    found = measured_fingerprints(
        THREE, QUIET, generator=torch.Generator().manual_seed(0), calibration=ONES
    )

    noise_variance = QUIET.noise_variance(BAND)
    assert torch.equal(found.gain_db, estimate_gain(found.csi, noise_variance))
    assert torch.equal(found.aoa_profile, estimate_aoa_profile(found.csi, QUIET.panel))
    distance_m, detected = estimate_distance(found.csi, BAND, noise_variance)
    assert torch.equal(found.distance_m, distance_m)
    assert torch.equal(found.has_signal, detected)


def test_clock_offset_moves_the_distance_when_it_is_set() -> None:
    many = links(*[[(1e-4, 150, 0.0)] for _ in range(400)])
    front_end = FrontEnd(ue=QUIET.ue, impairments=Impairments(clock_offset_std_s=20e-9))

    found = measured_fingerprints(
        many, front_end, generator=torch.Generator().manual_seed(1), calibration=ONES
    )

    # 20 ns are 6.0 m; a deviation estimated from 400 draws is good to 1 / sqrt(800).
    assert float(found.distance_m.std()) == pytest.approx(5.996, rel=5 / np.sqrt(800))
    assert float(found.distance_m.mean()) == pytest.approx(150, abs=5 * 6 / np.sqrt(400))
