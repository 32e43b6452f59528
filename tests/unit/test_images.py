"""CSI images against plane waves, whose transforms are known in closed form."""

import numpy as np
import pytest
import torch
from torch import Tensor

from raymark.models.neural.images import angle_delay, csi_images, power_floor
from raymark.radio import Band, Panel
from raymark.radio.synthesis import element_positions, subcarrier_frequencies

PANEL = Panel(num_rows=4, num_cols=8)
BAND = Band(name="test", carrier_hz=6e9, bandwidth_hz=50e6, num_subcarriers=16)
NUM_ANTENNAS, NUM_TONES = 32, 16

FLOAT32_REL = 1e-5
"""Sums of some 500 products in float32."""


def plane_wave(column: int, row: int, delay_bin: int) -> Tensor:
    """A wave of unit amplitude whose phase turns by whole periods over the panel and the band."""
    unit = np.array([0.0, column / PANEL.num_cols, row / PANEL.num_rows])
    direction = unit / PANEL.spacing_wavelengths
    turns = element_positions(PANEL) @ direction
    delay_s = delay_bin / BAND.bandwidth_hz
    phase = turns[:, None] - subcarrier_frequencies(BAND) * delay_s
    return torch.from_numpy(np.exp(2j * np.pi * phase)).to(torch.complex64)[None]


def noise(num_links: int, seed: int = 0) -> Tensor:
    """Complex noise of unit power."""
    generator = torch.Generator().manual_seed(seed)
    shape = (num_links, NUM_ANTENNAS, NUM_TONES)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


@pytest.mark.parametrize("delay_bin", [0, 5, 15])
@pytest.mark.parametrize(("column", "row"), [(0, 0), (3, 1), (-4, -2), (2, -1)])
def test_angle_delay_peaks_in_the_bin_of_a_plane_wave_when_it_is_on_the_grid(
    column: int, row: int, delay_bin: int
) -> None:
    power = angle_delay(plane_wave(column, row, delay_bin), PANEL).abs().square()[0]
    # Broadside is in the middle; rows are counted downwards, so a wave from above is turned over.
    column_beam = column + PANEL.num_cols // 2
    row_beam = (PANEL.num_rows // 2 - row) % PANEL.num_rows
    beam = column_beam * PANEL.num_rows + row_beam

    # All of the power, one for each antenna and tone, is in one bin.
    total = NUM_ANTENNAS * NUM_TONES
    assert power[beam, delay_bin].item() == pytest.approx(total, rel=FLOAT32_REL)
    power[beam, delay_bin] = 0
    assert power.max().item() < FLOAT32_REL


def test_angle_delay_keeps_the_power_of_every_link() -> None:
    csi = noise(5) * torch.tensor([1e-7, 1e-3, 1.0, 2.0, 30.0])[:, None, None]

    found = angle_delay(csi, PANEL).abs().square().sum(dim=(1, 2))

    expected = csi.abs().square().sum(dim=(1, 2))
    torch.testing.assert_close(found, expected, rtol=FLOAT32_REL, atol=0)


def test_angle_delay_is_linear_and_keeps_links_apart() -> None:
    first, second = noise(3, 0), noise(3, 1)

    both = angle_delay(2j * first + second, PANEL)

    expected = 2j * angle_delay(first, PANEL) + angle_delay(second, PANEL)
    torch.testing.assert_close(both, expected, rtol=0, atol=FLOAT32_REL * 10)
    torch.testing.assert_close(angle_delay(first[1:2], PANEL), angle_delay(first, PANEL)[1:2])


def test_power_floor_is_the_median_of_an_exponential_variable_when_there_is_noise_alone() -> None:
    """|z|^2 of a complex normal z of power s has the median s ln 2."""
    power = 4e-15

    floor = power_floor(noise(64) * power**0.5, PANEL)

    # The median of n = 32768 bins deviates by s / sqrt(n): 0.8 % of s ln 2; five of them.
    assert floor == pytest.approx(power * np.log(2), rel=0.04)


def test_power_floor_is_hardly_moved_by_a_path_when_it_fills_one_bin() -> None:
    csi = noise(64)

    floor = power_floor(csi + 10 * plane_wave(1, 0, 3), PANEL)

    # One bin in 512 moves the quantile by 1 / 512 or less, and density there is 0.5.
    assert floor == pytest.approx(power_floor(csi, PANEL), rel=0.01)


def test_images_are_unit_power_csi_and_decibels_over_the_floor_when_written_out() -> None:
    csi, floor = 3e-6 * noise(2), 2e-12
    power = angle_delay(csi, PANEL).abs().square().double()

    image = csi_images(csi, PANEL, floor)

    assert image.shape == (2, 3, NUM_ANTENNAS, NUM_TONES)
    rms = csi.abs().square().mean(dim=(1, 2), keepdim=True).sqrt()
    torch.testing.assert_close(torch.complex(image[:, 0], image[:, 1]), csi / rms)
    unit_power = image[:, :2].square().sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(unit_power, torch.ones(2), rtol=FLOAT32_REL, atol=0)
    over_floor = (10 * torch.log10(1 + power / floor) / 20).float()
    torch.testing.assert_close(image[:, 2], over_floor, rtol=FLOAT32_REL, atol=FLOAT32_REL)


def test_cfr_of_the_image_does_not_change_when_the_gain_does() -> None:
    csi = noise(2)

    strong, weak = (csi_images(gain * csi, PANEL, 1.0) for gain in (1.0, 1e-6))

    torch.testing.assert_close(strong[:, :2], weak[:, :2], rtol=0, atol=FLOAT32_REL)
    assert (weak[:, 2] < strong[:, 2]).all()


def test_image_is_finite_and_zero_when_a_link_has_no_signal() -> None:
    csi = noise(3)
    csi[1] = 0

    image = csi_images(csi, PANEL, 1e-13)

    assert image.isfinite().all()
    assert (image[1] == 0).all()
