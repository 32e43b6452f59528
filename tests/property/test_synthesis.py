"""CSI synthesis against the defining sum, written out in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from raymark.radio import (
    SPEED_OF_LIGHT_M_S,
    Band,
    FrontEnd,
    Impairments,
    LatePaths,
    Panel,
)
from raymark.radio.fingerprints import oracle_fingerprints
from raymark.radio.synthesis import (
    PathBatch,
    calibration_error,
    impair,
    quantize,
    subcarrier_frequencies,
    synthesize_csi,
)

PHASE_REL = 2e-5
"""Phases of up to some tens of turns in float32: 100 rad times 2^-24, and a few roundings."""


def random_paths(seed: int, num_links: int = 2, num_paths: int = 4) -> PathBatch:
    rng = np.random.default_rng(seed)
    shape = (num_links, num_paths)
    mask = rng.random(shape) < 0.8
    amplitude = rng.normal(size=shape) + 1j * rng.normal(size=shape)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.where(mask, values, 0).astype("f4"))

    return PathBatch(
        amplitude=torch.from_numpy(np.where(mask, amplitude, 0).astype("c8")),
        delay_s=tensor(rng.uniform(1e-8, 1.2e-6, shape)),
        zenith_bs_rad=tensor(rng.uniform(0, np.pi, shape)),
        azimuth_bs_rad=tensor(rng.uniform(-np.pi, np.pi, shape)),
        num_interactions=torch.zeros(shape, dtype=torch.int64),
        mask=torch.from_numpy(mask),
        band=Band(
            name="x",
            carrier_hz=float(rng.choice([2.6e9, 6e9, 28e9])),
            num_subcarriers=int(rng.choice([2, 7, 64])),
        ),
        orientation_rad=rng.uniform(-np.pi, np.pi, 3),
    )


def naive_csi(paths: PathBatch, panel: Panel) -> np.ndarray:
    """Sum a exp(-j 2 pi (f_c + f_k) tau) exp(j 2 pi r . u), one term after the other."""
    band, rotation = paths.band, Rotation.from_euler("ZYX", paths.orientation_rad)
    tones = (np.arange(band.num_subcarriers) - band.num_subcarriers // 2) * (
        band.bandwidth_hz / band.num_subcarriers
    )
    csi = np.zeros((paths.num_links, panel.num_antennas, band.num_subcarriers), dtype="c16")
    for link, path in np.argwhere(paths.mask.numpy()):
        delay, zenith, azimuth = (
            float(x[link, path]) for x in (paths.delay_s, paths.zenith_bs_rad, paths.azimuth_bs_rad)
        )
        x, y = np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth)
        u_x, u_y, u_z = rotation.inv().apply([x, y, np.cos(zenith)])
        if u_x < 0 and not panel.mirrors_back:
            continue
        phase = np.exp(-2j * np.pi * (band.carrier_hz + tones) * delay)
        for col in range(panel.num_cols):
            for row in range(panel.num_rows):
                r_y = (col - (panel.num_cols - 1) / 2) * panel.spacing_wavelengths
                r_z = ((panel.num_rows - 1) / 2 - row) * panel.spacing_wavelengths
                steering = np.exp(2j * np.pi * (r_y * u_y + r_z * u_z))
                term = complex(paths.amplitude[link, path]) * steering * phase
                csi[link, col * panel.num_rows + row] += term
    return csi


panels = st.builds(
    Panel,
    num_rows=st.integers(1, 5),
    num_cols=st.integers(1, 5),
    spacing_wavelengths=st.just(0.5),
    mirrors_back=st.booleans(),
)
seeds = st.integers(0, 10_000)


@given(seeds, panels)
def test_synthesize_csi_equals_naive_sum_when_paths_are_random(seed: int, panel: Panel) -> None:
    paths = random_paths(seed)

    csi = synthesize_csi(paths, panel, late_paths="aliased").numpy()

    scale = paths.amplitude.abs().sum(dim=1).max().item()
    np.testing.assert_allclose(csi, naive_csi(paths, panel), atol=PHASE_REL * scale)


@pytest.mark.parametrize(
    ("panel", "is_silent"),
    [
        (Panel(), True),
        (Panel(mirrors_back=True), False),
        (Panel(element_pattern="iso", mirrors_back=True), False),
        (Panel(element_pattern="iso", num_cols=1), False),
    ],
)
def test_fingerprints_have_paths_from_behind_only_when_the_panel_is_open(
    panel: Panel, is_silent: bool
) -> None:
    paths = random_paths(3, num_paths=1)
    behind = replace(
        paths,
        mask=torch.ones_like(paths.mask),
        delay_s=torch.full_like(paths.delay_s, 1e-7),
        amplitude=torch.ones_like(paths.amplitude),
        zenith_bs_rad=torch.full_like(paths.zenith_bs_rad, 1.5),
        azimuth_bs_rad=torch.full_like(paths.azimuth_bs_rad, 2.0),
        orientation_rad=np.zeros(3),
    )

    csi = oracle_fingerprints(behind, FrontEnd(panel=panel)).csi

    assert bool((csi == 0).all()) == is_silent


@given(seeds, panels)
def test_csi_is_that_of_the_other_paths_when_late_ones_are_left_out(
    seed: int, panel: Panel
) -> None:
    paths = random_paths(seed)
    is_late = paths.delay_s * SPEED_OF_LIGHT_M_S >= paths.band.unambiguous_range_m

    csi = synthesize_csi(paths, panel)

    early = replace(paths, amplitude=torch.where(is_late, 0, paths.amplitude))
    assert torch.equal(csi, synthesize_csi(early, panel, late_paths="aliased"))


@pytest.mark.parametrize("late_paths", ["left_out", "aliased"])
def test_fingerprints_have_late_paths_only_when_the_front_end_says_so(
    late_paths: LatePaths,
) -> None:
    paths = random_paths(3, num_paths=1)
    late = replace(paths, delay_s=paths.delay_s + 10e-6, mask=torch.ones_like(paths.mask))
    front_end = FrontEnd(late_paths=late_paths)

    csi = oracle_fingerprints(late, front_end).csi

    assert bool((csi == 0).all()) == (late_paths == "left_out")


@given(seeds, st.complex_numbers(max_magnitude=10), st.complex_numbers(max_magnitude=10))
def test_synthesize_csi_is_linear_when_amplitudes_add(seed: int, a: complex, b: complex) -> None:
    first = random_paths(seed)
    other = torch.flip(first.amplitude, dims=[1]) * first.mask
    panel = Panel(num_rows=2, num_cols=3)

    def csi(amplitude: torch.Tensor) -> torch.Tensor:
        columns = {name: getattr(first, name) for name in PathBatch.__slots__}
        return synthesize_csi(PathBatch(**{**columns, "amplitude": amplitude}), panel)

    together = csi(a * first.amplitude + b * other)

    scale = 20 * first.amplitude.abs().sum().item()
    expected = a * csi(first.amplitude) + b * csi(other)
    np.testing.assert_allclose(together.numpy(), expected.numpy(), atol=1e-6 * scale)


@given(seeds, st.integers(0, 3))
def test_synthesize_csi_ignores_padding_when_links_have_few_paths(seed: int, extra: int) -> None:
    paths, panel = random_paths(seed), Panel(num_rows=2, num_cols=2)

    def pad(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(values, (0, extra))

    columns = {name: getattr(paths, name) for name in PathBatch.__slots__}
    tensors = {k: pad(v) for k, v in columns.items() if isinstance(v, torch.Tensor)}
    padded = PathBatch(**{**columns, **tensors})

    np.testing.assert_allclose(
        synthesize_csi(padded, panel).numpy(), synthesize_csi(paths, panel).numpy(), atol=1e-5
    )


@given(st.floats(1, 380), st.integers(1, 3))
def test_csi_over_tones_repeats_when_path_is_longer_by_the_unambiguous_range(
    length_m: float, turns: int
) -> None:
    """Why longer paths are refused: over the tones they look like short ones."""
    band = Band(name="x", carrier_hz=6e9)

    def tones(path_m: float) -> np.ndarray:
        return np.exp(-2j * np.pi * subcarrier_frequencies(band) * path_m / 299_792_458.0)

    longer = tones(length_m + turns * band.unambiguous_range_m)
    np.testing.assert_allclose(longer, tones(length_m), atol=1e-11)


def test_subcarrier_frequencies_hold_the_carrier_when_count_is_even_or_odd() -> None:
    for count in (2, 7, 64):
        band = Band(name="x", carrier_hz=6e9, num_subcarriers=count)
        frequencies = subcarrier_frequencies(band)
        assert frequencies[count // 2] == 0
        np.testing.assert_allclose(np.diff(frequencies), 50e6 / count)


@given(seeds, st.integers(1, 12))
def test_quantize_keeps_within_half_a_step_when_bits_are_given(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(2, 3, 4, 2)) * np.array([1e-6, 3.0])[:, None, None, None]
    csi = torch.view_as_complex(torch.from_numpy(parts.astype("f4")))

    found = torch.view_as_real(quantize(csi, bits)).numpy()

    step = 2 * np.abs(parts).max(axis=(1, 2, 3), keepdims=True) / (2**bits - 1)
    assert (np.abs(found - parts) <= 0.5 * step * (1 + 1e-4)).all()
    levels = np.unique(np.round(found[1] / step[1], 3))
    assert len(levels) <= 2**bits


def test_quantize_returns_the_csi_when_no_bits_are_given() -> None:
    csi = torch.randn(2, 3, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))

    assert quantize(csi, None) is csi


def impaired(settings: Impairments, csi: torch.Tensor, seed: int = 0) -> torch.Tensor:
    front_end = FrontEnd(panel=Panel(num_rows=2, num_cols=2), impairments=settings)
    calibration = calibration_error(front_end, np.random.default_rng(seed))
    band = Band(name="x", carrier_hz=6e9, num_subcarriers=8)
    generator = torch.Generator().manual_seed(seed)
    return impair(csi, band, front_end, generator, calibration)


@pytest.fixture
def flat_csi() -> torch.Tensor:
    return torch.ones(2000, 4, 8, dtype=torch.complex64)


def test_impair_changes_nothing_when_all_faults_are_off(flat_csi: torch.Tensor) -> None:
    assert torch.equal(impaired(Impairments(), flat_csi), flat_csi)


def test_impair_turns_whole_links_when_phase_is_random(flat_csi: torch.Tensor) -> None:
    csi = impaired(Impairments(random_phase=True), flat_csi).numpy()

    common = csi[:, :1, :1]
    np.testing.assert_allclose(csi, np.broadcast_to(common, csi.shape), atol=1e-6)
    np.testing.assert_allclose(np.abs(csi), 1, atol=1e-6)
    assert abs(common.mean()) < 5 / np.sqrt(len(csi))  # uniform over the circle, five sigma


def test_impair_tilts_phase_over_tones_when_clock_is_off(flat_csi: torch.Tensor) -> None:
    csi = impaired(Impairments(clock_offset_std_s=2e-9), flat_csi).numpy()

    slope = np.angle(csi[:, :, 1:] * csi[:, :, :-1].conj())
    np.testing.assert_allclose(slope, np.broadcast_to(slope[:, :1, :1], slope.shape), atol=1e-5)
    offset_s = slope[:, 0, 0] / (2 * np.pi * 50e6 / 8)
    # The deviation of a deviation estimated from n draws is 1 / sqrt(2 n) of it.
    assert offset_s.std() == pytest.approx(2e-9, rel=5 / np.sqrt(2 * len(csi)))


def test_calibration_error_is_ones_when_none_is_set() -> None:
    error = calibration_error(FrontEnd(), np.random.default_rng(0))

    assert torch.equal(error, torch.ones(64, dtype=torch.complex64))


def test_calibration_error_has_set_deviations_when_panel_is_large() -> None:
    front_end = FrontEnd(
        panel=Panel(num_rows=64, num_cols=64),
        impairments=Impairments(antenna_gain_std_db=0.7, antenna_phase_std_rad=0.2),
    )

    error = calibration_error(front_end, np.random.default_rng(0)).numpy()

    tolerance = 5 / np.sqrt(2 * 64 * 64)  # five sigma of an estimated deviation
    assert (20 * np.log10(np.abs(error))).std() == pytest.approx(0.7, rel=tolerance)
    assert np.angle(error).std() == pytest.approx(0.2, rel=tolerance)
