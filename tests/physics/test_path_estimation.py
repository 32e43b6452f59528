"""Estimated paths against closed forms, naive CSI and the ray tracer's own paths."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from raymark.dataset import Dataset
from raymark.radio import Band, Panel
from raymark.radio.estimation import (
    FALSE_ALARM_PROBABILITY,
    EstimatedPaths,
    estimate_paths,
)
from raymark.radio.levels import FLOOR_DB
from raymark.radio.synthesis import add_noise, panel_direction, synthesize_csi

SPEED_OF_LIGHT_M_S = 299_792_458.0
BAND = Band(name="test", carrier_hz=6e9, bandwidth_hz=50e6, num_subcarriers=64)
PERIOD_S = BAND.num_subcarriers / BAND.bandwidth_hz
TURNED = np.array([1.1, 0.2, -0.1])
NOT_TURNED = np.zeros(3)

RANGE_M, ANGLE_RAD = 2e-3, 2e-5
"""Float32 without noise: 1e-7 of 384 m and of a turn, some tens of times for the refinement."""


def naive_csi(
    panel: Panel,
    amplitude: np.ndarray,
    delay_s: np.ndarray,
    zenith_rad: np.ndarray,
    azimuth_rad: np.ndarray,
    orientation_rad: np.ndarray = NOT_TURNED,
) -> torch.Tensor:
    """The formula of docs/conventions.md, entry by entry; arrays are [link, path]."""
    world = np.stack(
        [
            np.sin(zenith_rad) * np.cos(azimuth_rad),
            np.sin(zenith_rad) * np.sin(azimuth_rad),
            np.cos(zenith_rad),
        ],
        axis=-1,
    )
    turn = Rotation.from_euler("ZYX", orientation_rad).as_matrix()
    local = world @ turn
    csi = np.zeros((len(delay_s), panel.num_antennas, BAND.num_subcarriers), dtype=complex)
    tone_hz = (np.arange(64) - 32) * BAND.bandwidth_hz / 64
    delay_phase = np.exp(-2j * np.pi * (BAND.carrier_hz + tone_hz) * delay_s[..., None])
    for col in range(panel.num_cols):
        for row in range(panel.num_rows):
            y = (col - (panel.num_cols - 1) / 2) * panel.spacing_wavelengths
            z = ((panel.num_rows - 1) / 2 - row) * panel.spacing_wavelengths
            phase = np.exp(2j * np.pi * (y * local[..., 1] + z * local[..., 2]))
            antenna = col * panel.num_rows + row
            csi[:, antenna] = ((amplitude * phase)[..., None] * delay_phase).sum(axis=1)
    return torch.from_numpy(csi.astype("c8"))


def noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Circular noise of variance 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def column(*values: float) -> np.ndarray:
    return np.array([values])


def estimate(csi: torch.Tensor, panel: Panel | None = None, **options: object) -> EstimatedPaths:
    settings = {"noise_variance": 0.0, "orientation_rad": NOT_TURNED, **options}
    return estimate_paths(csi, panel or Panel(), BAND, **settings)


def random_paths(num_links: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One path a link: delays anywhere, directions within 60 deg of boresight."""
    rng = np.random.default_rng(seed)
    shape = (num_links, 1)
    return (
        rng.uniform(0.02, 0.98, shape) * PERIOD_S,
        np.pi / 2 + rng.uniform(-1, 1, shape),
        rng.uniform(-1, 1, shape),
    )


def assert_close_to(
    found: EstimatedPaths, delay_s: np.ndarray, zenith_rad: np.ndarray, azimuth_rad: np.ndarray
) -> None:
    length_m = found.delay_s.numpy() * SPEED_OF_LIGHT_M_S
    np.testing.assert_allclose(length_m, delay_s * SPEED_OF_LIGHT_M_S, atol=RANGE_M)
    np.testing.assert_allclose(found.zenith_bs_rad.numpy(), zenith_rad, atol=ANGLE_RAD)
    np.testing.assert_allclose(found.azimuth_bs_rad.numpy(), azimuth_rad, atol=ANGLE_RAD)


def test_path_equals_truth_when_it_is_alone_and_there_is_no_noise() -> None:
    delay_s, zenith_rad, azimuth_rad = random_paths(200, seed=1)
    csi = naive_csi(Panel(), np.full((200, 1), 1e-5), delay_s, zenith_rad, azimuth_rad)

    found = estimate(csi)

    assert found.mask[:, 0].all()
    assert not found.mask[:, 1:].any()
    first = EstimatedPaths(
        **{name: getattr(found, name)[:, :1] for name in EstimatedPaths.__slots__}
    )
    assert_close_to(first, delay_s, zenith_rad, azimuth_rad)
    np.testing.assert_allclose(first.power_db.numpy(), -100.0, atol=1e-3)


@pytest.mark.parametrize("axis", ["delay", "row", "column"])
def test_path_differs_from_truth_when_an_axis_of_the_csi_is_reversed(axis: str) -> None:
    """The comparison above can fail: it sees a wrong sign of the delay, of rows and of columns."""
    delay_s, zenith_rad, azimuth_rad = column(3e-7), column(1.8), column(0.4)
    csi = naive_csi(Panel(), column(1.0), delay_s, zenith_rad, azimuth_rad).reshape(1, 8, 8, 64)

    flipped = csi.flip({"column": 1, "row": 2, "delay": 3}[axis]).reshape(1, 64, 64)

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close_to(estimate(flipped, max_num_paths=1), delay_s, zenith_rad, azimuth_rad)


def test_direction_is_in_world_frame_when_panel_is_turned_tilted_and_rolled() -> None:
    rng = np.random.default_rng(2)
    local = np.column_stack([np.ones(50), rng.uniform(-1, 1, (50, 2))])
    world = local @ Rotation.from_euler("ZYX", TURNED).as_matrix().T
    zenith_rad = np.arccos(world[:, 2:] / np.linalg.norm(world, axis=1, keepdims=True))
    azimuth_rad = np.arctan2(world[:, 1:2], world[:, :1])
    delay_s = np.full((50, 1), 2e-7)
    csi = naive_csi(Panel(), np.ones((50, 1)), delay_s, zenith_rad, azimuth_rad, TURNED)

    found = estimate(csi, orientation_rad=TURNED, max_num_paths=1)

    assert_close_to(found, delay_s, zenith_rad, azimuth_rad)


def test_points_are_vectors_of_the_paths_when_some_are_padded() -> None:
    delay_s = column(100.0) / SPEED_OF_LIGHT_M_S
    csi = naive_csi(Panel(), column(1.0), delay_s, column(math.radians(120)), column(0.5))

    points_m = estimate(csi).points_m()

    side_m = 100.0 * math.sin(math.radians(120))
    expected_m = [side_m * math.cos(0.5), side_m * math.sin(0.5), -50.0]
    np.testing.assert_allclose(points_m[0, 0].numpy(), expected_m, atol=RANGE_M)
    assert (points_m[0, 1:] == 0).all()


CRB_LINKS = 1500
CRB_SHARE = 0.15
"""The deviation of 1500 draws is known to 1 / sqrt(3000) = 1.8 %; the rest is the estimator's."""


def test_errors_reach_the_cramer_rao_bound_when_path_is_alone() -> None:
    """docs/path_estimation.md: var(turns) = 6 / ((2 pi)^2 rho N K (n^2 - 1)) on each axis."""
    azimuth, snr, entries = 0.5, 1.0, 64 * 64
    delay_s = random_paths(CRB_LINKS, seed=3)[0]
    level = np.ones((CRB_LINKS, 1))
    clean = naive_csi(Panel(), level, delay_s, np.pi / 2 * level, azimuth * level)

    found = estimate(
        clean + noise(tuple(clean.shape), seed=4) / math.sqrt(snr),
        noise_variance=1 / snr,
        max_num_paths=1,
    )

    tone_spacing_hz = BAND.bandwidth_hz / 64
    beta_hz = tone_spacing_hz * math.sqrt((64**2 - 1) / 12)
    range_m = SPEED_OF_LIGHT_M_S / (2 * math.pi * beta_hz * math.sqrt(2 * entries * snr))
    turns = math.sqrt(6 / (entries * snr * (8**2 - 1))) / (2 * math.pi)
    errors_m = found.delay_s.numpy() * SPEED_OF_LIGHT_M_S - delay_s * SPEED_OF_LIGHT_M_S
    assert found.mask.all()
    assert rms(errors_m) == pytest.approx(range_m, rel=CRB_SHARE)
    zenith_error_rad = found.zenith_bs_rad.numpy() - np.pi / 2
    assert rms(zenith_error_rad) == pytest.approx(turns / 0.5, rel=CRB_SHARE)
    azimuth_error_rad = found.azimuth_bs_rad.numpy() - azimuth
    assert rms(azimuth_error_rad) == pytest.approx(turns / 0.5 / math.cos(azimuth), rel=CRB_SHARE)
    power_db = 10 * math.log10(math.e) * math.sqrt(2 / (entries * snr))
    assert rms(found.power_db.numpy()) == pytest.approx(power_db, rel=CRB_SHARE)


def test_azimuth_reaches_the_bound_of_a_linear_array_when_there_is_one_row() -> None:
    """sigma = sqrt(6 / (rho K N (N^2 - 1))) / (2 pi (d / wavelength) cos(azimuth))."""
    panel, azimuth, num_cols = Panel(num_rows=1, num_cols=16), -0.7, 16
    delay_s = random_paths(CRB_LINKS, seed=5)[0]
    level = np.ones((CRB_LINKS, 1))
    clean = naive_csi(panel, level, delay_s, np.pi / 2 * level, azimuth * level)

    found = estimate(
        clean + noise(tuple(clean.shape), seed=6), panel, noise_variance=1.0, max_num_paths=1
    )

    bound_rad = math.sqrt(6 / (64 * num_cols * (num_cols**2 - 1))) / (
        2 * math.pi * 0.5 * math.cos(azimuth)
    )
    assert rms(found.azimuth_bs_rad.numpy() - azimuth) == pytest.approx(bound_rad, rel=CRB_SHARE)
    np.testing.assert_allclose(found.zenith_bs_rad.numpy(), np.pi / 2, atol=ANGLE_RAD)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values.astype("f8") ** 2).mean()))


def test_direction_is_vertical_plane_of_boresight_when_there_is_one_column() -> None:
    panel = Panel(num_rows=8, num_cols=1)
    csi = naive_csi(panel, column(1.0), column(2e-7), column(1.9), column(0.0))

    found = estimate(csi, panel, max_num_paths=1)

    assert_close_to(found, column(2e-7), column(1.9), column(0.0))


def test_direction_is_boresight_when_there_is_one_antenna() -> None:
    panel = Panel(num_rows=1, num_cols=1)
    csi = naive_csi(panel, column(1.0), column(2e-7), column(1.2), column(0.8))

    found = estimate(csi, panel, max_num_paths=1)

    assert_close_to(found, column(2e-7), column(np.pi / 2), column(0.0))


def test_both_paths_are_found_when_they_differ_by_30_db() -> None:
    zenith_rad, azimuth_rad = column(1.5, 1.7), column(0.3, -0.6)
    delay_s = column(2e-7, 4.4e-7)
    csi = naive_csi(Panel(), column(1.0, 10**-1.5), delay_s, zenith_rad, azimuth_rad)
    snr = 1e3

    found = estimate(csi + noise((1, 64, 64), seed=7) / math.sqrt(snr), noise_variance=1 / snr)

    assert found.mask[0].tolist() == [True, True] + [False] * 6
    # 0 dB an entry for the weak one; five deviations of the bounds above.
    np.testing.assert_allclose(
        found.delay_s[:, :2].numpy() * SPEED_OF_LIGHT_M_S,
        delay_s * SPEED_OF_LIGHT_M_S,
        atol=5 * 0.04,
    )
    np.testing.assert_allclose(found.azimuth_bs_rad[:, :2].numpy(), azimuth_rad, atol=5 * 3e-3)
    np.testing.assert_allclose(found.zenith_bs_rad[:, :2].numpy(), zenith_rad, atol=5 * 3e-3)
    np.testing.assert_allclose(found.power_db[:, :2].numpy(), column(0.0, -30.0), atol=5 * 0.1)
    for padded in (found.delay_s, found.zenith_bs_rad, found.azimuth_bs_rad):
        assert (padded[:, 2:] == 0).all()
    assert (found.power_db[:, 2:] == FLOOR_DB).all()


def test_paths_are_resolved_when_they_lie_half_a_resolution_cell_apart() -> None:
    """Half of c / B = 6 m and half of the 2 / 8 of the cosine, at 40 dB an entry."""
    delay_s = column(150.0, 153.0) / SPEED_OF_LIGHT_M_S
    zenith_rad, azimuth_rad = column(np.pi / 2, np.pi / 2), column(0.0, math.asin(0.125))
    csi = naive_csi(Panel(), column(1.0, 0.7j), delay_s, zenith_rad, azimuth_rad)

    found = estimate(csi + 0.01 * noise((1, 64, 64), seed=8), noise_variance=1e-4)

    assert found.mask.sum() == 2
    range_m = found.delay_s[:, :2].numpy() * SPEED_OF_LIGHT_M_S
    # A hundredth of the separation; the bound for two such paths is some mm.
    np.testing.assert_allclose(range_m, column(150.0, 153.0), atol=0.03)
    np.testing.assert_allclose(found.azimuth_bs_rad[:, :2].numpy(), azimuth_rad, atol=1.25e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_rows", "num_cols", "num_links"), [(8, 8, 2000), (1, 8, 4000), (1, 1, 4000)]
)
def test_noise_alone_gives_a_path_as_rarely_as_stated(
    num_rows: int, num_cols: int, num_links: int
) -> None:
    panel = Panel(num_rows=num_rows, num_cols=num_cols)
    silent = noise((num_links, num_rows * num_cols, 64), seed=9)

    found = estimate(silent, panel, noise_variance=1.0, max_num_paths=1)

    expected = FALSE_ALARM_PROBABILITY * num_links
    four_sigma = 4 * math.sqrt(expected * (1 - FALSE_ALARM_PROBABILITY))
    assert int(found.mask.sum()) == pytest.approx(expected, abs=four_sigma)


def test_nothing_is_found_when_csi_is_zero() -> None:
    for noise_variance in (0.0, 1.0):
        found = estimate(
            torch.zeros(3, 64, 64, dtype=torch.complex64), noise_variance=noise_variance
        )

        assert not found.mask.any()
        assert (found.power_db == FLOOR_DB).all()
        assert (found.points_m() == 0).all()


def test_result_has_no_links_when_csi_has_none() -> None:
    assert estimate(torch.zeros(0, 64, 64, dtype=torch.complex64)).mask.shape == (0, 8)


def test_direction_is_along_the_panel_when_path_comes_from_endfire() -> None:
    """At half a wavelength both ends of a row look alike; noise pushes cosines beyond 1."""
    level = np.ones((100, 1))
    csi = naive_csi(Panel(), level, 2e-7 * level, np.pi / 2 * level, np.pi / 2 * level)

    found = estimate(csi + noise((100, 64, 64), seed=10), noise_variance=1.0, max_num_paths=1)

    off_end_rad = np.pi / 2 - found.azimuth_bs_rad.abs().numpy()
    # The cosine's deviation is 3e-3, and the angle goes with the root of twice its error.
    assert (off_end_rad >= -1e-6).all()
    assert off_end_rad.max() < math.sqrt(2 * 5 * 3e-3)
    assert np.abs(found.zenith_bs_rad.numpy() - np.pi / 2).max() < 5 * 3e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "strongest_m", "most_m"),
    [
        # Float32 rounding, which paths within a fraction of a resolution cell make larger.
        (torch.complex64, 5e-3, 5e-3),
        (torch.complex128, 1e-6, 1e-6),
    ],
)
def test_links_give_the_same_paths_when_their_batch_changes(
    small_dataset: Dataset, dtype: torch.dtype, strongest_m: float, most_m: float
) -> None:
    csi, options = noisy_csi(small_dataset)
    panel = small_dataset.manifest.campaign.front_end.panel
    csi = csi.to(dtype)

    whole = estimate_paths(csi, panel, BAND, **options)
    sizes = [1, 30, 19]
    parts = [estimate_paths(part, panel, BAND, **options) for part in torch.split(csi, sizes)]

    alone_m = torch.cat([part.delay_s for part in parts]) * SPEED_OF_LIGHT_M_S
    difference_m = (alone_m - whole.delay_s * SPEED_OF_LIGHT_M_S).abs()
    assert torch.equal(torch.cat([part.mask for part in parts]), whole.mask)
    assert difference_m[:, 0].max() < strongest_m
    assert difference_m.quantile(0.9) < most_m


def noisy_csi(dataset: Dataset) -> tuple[torch.Tensor, dict[str, object]]:
    selection = dataset.select(scene=dataset.scenes[0], band="6GHz")
    paths = selection.path_batch(0, len(selection))
    front_end = dataset.manifest.campaign.front_end
    clean = synthesize_csi(paths, front_end.panel)
    csi = add_noise(clean, paths.band, front_end, torch.Generator().manual_seed(11))
    options = {
        "noise_variance": front_end.noise_variance(paths.band),
        "orientation_rad": paths.orientation_rad,
    }
    return csi, options


def test_strongest_path_matches_the_oracle_when_link_is_los(small_dataset: Dataset) -> None:
    selection = small_dataset.select(scene=small_dataset.scenes[0], band="6GHz")
    oracle = selection.path_batch(0, len(selection))
    csi, options = noisy_csi(small_dataset)
    panel = small_dataset.manifest.campaign.front_end.panel

    found = estimate_paths(csi, panel, oracle.band, **options)

    is_los = torch.from_numpy(selection.los == 1)
    true_m = SPEED_OF_LIGHT_M_S * (
        oracle.delay_s.unsqueeze(-1)
        * panel_direction(oracle.zenith_bs_rad, oracle.azimuth_bs_rad, NOT_TURNED)
    )
    # Two paths are often equally strong, so the nearest of the oracle's is meant.
    away_m = torch.linalg.vector_norm(true_m - found.points_m()[:, :1], dim=-1)
    error_m = torch.where(oracle.mask, away_m, torch.inf).amin(dim=1)[is_los]
    assert is_los.sum() >= 10
    # The street's direct and ground-reflected paths lie within a tenth of a resolution cell
    # (6 m, 14 deg) of each other, and more paths than are searched stand above the noise.
    assert error_m.quantile(0.5) < 0.5
    assert error_m.quantile(0.9) < 2.0
