"""Channel state information as images: the CFR itself, and its power over angle and delay."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from raymark.radio import Panel

_SPAN_DB = 20.0


def angle_delay(
    csi: Complex[Tensor, "link ant subcarrier"], panel: Panel
) -> Complex[Tensor, "link ant subcarrier"]:
    """Return the response over beams (column beam * rows + row beam) and delay bins.

    A path of delay tau turns the tones by exp(-j 2 pi f tau), so an inverse transform over them
    puts it at bin tau B; the columns and rows of the panel are transformed likewise, with the
    broadside beam in the middle. Unitary: it keeps the power.
    """
    grid = csi.unflatten(1, (panel.num_cols, panel.num_rows))
    beams = torch.fft.fftshift(torch.fft.fft2(grid, dim=(1, 2), norm="ortho"), dim=(1, 2))
    # The first tone lies half the bandwidth below the carrier: a phase that power does not show.
    return torch.fft.ifft(beams.flatten(1, 2), dim=-1, norm="ortho")


def csi_images(
    csi: Complex[Tensor, "link ant subcarrier"], panel: Panel, floor: float
) -> Float[Tensor, "link 3 ant subcarrier"]:
    """Return the CFR at unit power (real, imaginary) and the log angle-delay power over a floor.

    Args:
        csi: Noisy CSI.
        panel: The antenna array.
        floor: Power of noise in one angle-delay bin, see `power_floor`.
    """
    power = _power(csi).mean(dim=(1, 2), keepdim=True)
    unit = csi / power.clamp(min=torch.finfo(power.dtype).tiny).sqrt()
    over_floor_db = 10 * torch.log10(1 + _power(angle_delay(csi, panel)) / floor)
    return torch.stack([unit.real, unit.imag, over_floor_db / _SPAN_DB], dim=1)


def power_floor(csi: Complex[Tensor, "link ant subcarrier"], panel: Panel) -> float:
    """Return the median power of an angle-delay bin: paths fill few bins, the rest is noise."""
    median = float(angle_delay(csi, panel).abs().square().median())
    return max(median, torch.finfo(torch.float32).tiny)


def _power(values: Complex[Tensor, "link ant subcarrier"]) -> Float[Tensor, "link ant subcarrier"]:
    """Return the squared magnitude, without its root on the way."""
    return values.real.square() + values.imag.square()
