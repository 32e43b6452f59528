"""From paths to channel state information: array response, delays, noise and impairments."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from raymark.radio import Band, FrontEnd, LatePaths, Panel
from raymark.radio.frames import rotation_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class PathBatch:
    """The paths of several links of one site and band, padded to the longest list.

    Attributes:
        amplitude: Path response without the carrier phase; 0 where padded.
        delay_s: Absolute delay [s].
        zenith_bs_rad: Direction from the BS, world frame [rad].
        azimuth_bs_rad: Direction from the BS, world frame [rad].
        num_interactions: 0 for the line of sight.
        mask: True where there is a path.
        band: The band of the amplitudes.
        orientation_rad: Yaw, pitch and roll of the BS panel [rad].
    """

    amplitude: Complex[Tensor, "link path"]
    delay_s: Float[Tensor, "link path"]
    zenith_bs_rad: Float[Tensor, "link path"]
    azimuth_bs_rad: Float[Tensor, "link path"]
    num_interactions: Int[Tensor, "link path"]
    mask: Bool[Tensor, "link path"]
    band: Band
    orientation_rad: Float[np.ndarray, "3"]

    @property
    def num_links(self) -> int:
        """Number of links."""
        return self.amplitude.shape[0]

    def to(self, device: torch.device | str) -> "PathBatch":
        """Return the batch on another device."""
        return self._changed(lambda tensor: tensor.to(device))

    def take(self, rows: Int[Tensor, "row"]) -> "PathBatch":
        """Return some of the links, in any order, on the device of the batch."""
        return self._changed(lambda tensor: tensor[rows.to(tensor.device)])

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "PathBatch":
        names = (
            "amplitude",
            "delay_s",
            "zenith_bs_rad",
            "azimuth_bs_rad",
            "num_interactions",
            "mask",
        )
        tensors: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(self, **tensors)


def subcarrier_frequencies(band: Band) -> Float[np.ndarray, "subcarrier"]:
    """Return the tones relative to the carrier [Hz]: -K/2 ... K/2-1 times the spacing."""
    index = np.arange(band.num_subcarriers) - band.num_subcarriers // 2
    return index * band.subcarrier_spacing_hz


def element_positions(panel: Panel) -> Float[np.ndarray, "ant 3"]:
    """Return the panel's elements in its local frame [wavelengths].

    Antenna `col * num_rows + row` stands in the given row from the top and column along +y
    (Sionna's `PlanarArray`).
    """
    y = (np.arange(panel.num_cols) - (panel.num_cols - 1) / 2) * panel.spacing_wavelengths
    z = ((panel.num_rows - 1) / 2 - np.arange(panel.num_rows)) * panel.spacing_wavelengths
    col, row = np.meshgrid(y, z, indexing="ij")
    return np.stack([np.zeros(panel.num_antennas), col.ravel(), row.ravel()], axis=-1)


def panel_direction(
    zenith_rad: Float[Tensor, "*n"],
    azimuth_rad: Float[Tensor, "*n"],
    orientation_rad: Float[np.ndarray, "3"],
) -> Float[Tensor, "*n 3"]:
    """Return unit vectors of world directions in the panel's local frame."""
    sin_zenith = torch.sin(zenith_rad)
    world = torch.stack(
        [
            sin_zenith * torch.cos(azimuth_rad),
            sin_zenith * torch.sin(azimuth_rad),
            torch.cos(zenith_rad),
        ],
        dim=-1,
    )
    rotation = torch.as_tensor(
        rotation_matrix(orientation_rad), dtype=world.dtype, device=world.device
    )
    return world @ rotation  # the transposed rotation applied to each row


def arrives(panel: Panel, direction: Any) -> Any:
    """Return whether the panel receives from directions in its local frame: not from a closed back.

    Args:
        panel: Panel of the BS.
        direction: Vectors of any length with the components in the last axis, in numpy or torch.

    Returns:
        Booleans of the same kind, without the last axis.
    """
    return (direction[..., 0] >= 0) | (not panel.is_closed)


def synthesize_csi(
    paths: PathBatch, panel: Panel, *, late_paths: LatePaths = "left_out"
) -> Complex[Tensor, "link ant subcarrier"]:
    """Return the noiseless channel frequency response of every antenna and tone.

    H[n, k] = sum_p a_p exp(-j 2 pi (f_c + f_k) tau_p) exp(j 2 pi r_n . u_p), with element
    positions r in wavelengths of the carrier and u the direction from the BS: Sionna's
    `Paths.cfr(normalize_delays=False)` for a synthetic array that is open at its back. Delays are
    absolute.

    Args:
        paths: Paths of the links.
        panel: Panel of the BS.
        late_paths: What becomes of paths that are longer than the band is unambiguous.
    """
    response = array_response(paths, panel)
    step_turns = paths.band.subcarrier_spacing_hz * paths.delay_s
    if late_paths == "left_out":
        response = torch.where((step_turns < 1).unsqueeze(-1), response, 0)
    tones = _geometric_phasors(
        -step_turns, paths.band.num_subcarriers, -(paths.band.num_subcarriers // 2)
    )
    return response.transpose(-1, -2) @ tones


def array_response(paths: PathBatch, panel: Panel) -> Complex[Tensor, "link path ant"]:
    """Return what each path alone gives each antenna at the carrier; 0 where padded.

    a_p exp(-j 2 pi f_c tau_p) exp(j 2 pi r_n . u_p), in the terms of `synthesize_csi`; 0 from
    behind a closed panel.
    """
    direction = panel_direction(paths.zenith_bs_rad, paths.azimuth_bs_rad, paths.orientation_rad)
    # The phase of the carrier needs float64: f_c tau reaches 4e4 turns, far beyond float32.
    carrier_turns = (paths.band.carrier_hz * paths.delay_s.double()) % 1.0
    weight = paths.amplitude * _turns_to_phasor(-carrier_turns.to(paths.delay_s.dtype))
    weight = torch.where(arrives(panel, direction), weight, 0)
    spacing = panel.spacing_wavelengths
    cols = _geometric_phasors(
        spacing * direction[..., 1], panel.num_cols, -(panel.num_cols - 1) / 2
    )
    rows = _geometric_phasors(
        -spacing * direction[..., 2], panel.num_rows, -(panel.num_rows - 1) / 2
    )
    steering = (cols.unsqueeze(-1) * rows.unsqueeze(-2)).flatten(-2)
    return steering * weight.unsqueeze(-1)


def add_noise(
    csi: Complex[Tensor, "*batch ant subcarrier"],
    band: Band,
    front_end: FrontEnd,
    generator: torch.Generator,
) -> Complex[Tensor, "*batch ant subcarrier"]:
    """Add circular Gaussian receiver noise of variance k T B F / P_tx to every entry."""
    deviation = math.sqrt(front_end.noise_variance(band))
    noise = torch.randn(csi.shape, dtype=csi.dtype, device=csi.device, generator=generator)
    return csi + deviation * noise


def impair(
    csi: Complex[Tensor, "link ant subcarrier"],
    band: Band,
    front_end: FrontEnd,
    generator: torch.Generator,
    calibration: Complex[Tensor, "ant"],
) -> Complex[Tensor, "link ant subcarrier"]:
    """Apply clock offset, common phase and array errors, one draw a link, before the noise.

    Args:
        csi: Noiseless CSI.
        band: Band of the CSI.
        front_end: Holds the impairments.
        generator: Source of the draws, on the device of `csi`.
        calibration: Complex gain of each antenna, see `calibration_error`.
    """
    settings = front_end.impairments
    num_links, device = csi.shape[0], csi.device
    if settings.clock_offset_std_s > 0:
        draw = torch.randn(num_links, device=device, generator=generator)
        turns = settings.clock_offset_std_s * band.subcarrier_spacing_hz * draw
        tones = _geometric_phasors(-turns, band.num_subcarriers, -(band.num_subcarriers // 2))
        csi = csi * tones.unsqueeze(1)
    if settings.random_phase:
        turns = torch.rand(num_links, device=device, generator=generator)
        csi = csi * _turns_to_phasor(turns)[:, None, None]
    return csi * calibration[:, None]


def calibration_error(front_end: FrontEnd, rng: np.random.Generator) -> Complex[Tensor, "ant"]:
    """Draw the fixed gain and phase error of each antenna of one site; ones where none is set."""
    settings, shape = front_end.impairments, front_end.panel.num_antennas
    gain_db = settings.antenna_gain_std_db * rng.standard_normal(shape)
    phase_rad = settings.antenna_phase_std_rad * rng.standard_normal(shape)
    error = 10 ** (gain_db / 20) * np.exp(1j * phase_rad)
    return torch.as_tensor(error, dtype=torch.complex64)


def quantize(
    csi: Complex[Tensor, "link ant subcarrier"], bits: int | None
) -> Complex[Tensor, "link ant subcarrier"]:
    """Round real and imaginary parts to 2^bits levels over the range of each link."""
    if bits is None:
        return csi
    parts = torch.view_as_real(csi)
    largest = parts.abs().amax(dim=(1, 2, 3), keepdim=True)
    step = torch.clamp(2 * largest / (2**bits - 1), min=torch.finfo(parts.dtype).tiny)
    return torch.view_as_complex((torch.floor(parts / step) + 0.5) * step)


def _turns_to_phasor(turns: Float[Tensor, "*n"]) -> Complex[Tensor, "*n"]:
    angle = 2 * math.pi * turns
    return torch.complex(torch.cos(angle), torch.sin(angle))


def _geometric_phasors(
    turns: Float[Tensor, "*n"], count: int, first: float | int
) -> Complex[Tensor, "*n {count}"]:
    """Return exp(j 2 pi turns (first + i)) for i < count, in two factors of about sqrt(count).

    The product of a coarse and a fine phasor needs few sines, which otherwise rule the time.
    """
    fine_count = max(1, math.isqrt(count))
    coarse_count = -(-count // fine_count)
    fine = torch.arange(fine_count, dtype=turns.dtype, device=turns.device)
    coarse = first + fine_count * torch.arange(coarse_count, dtype=turns.dtype, device=turns.device)
    turns = turns.unsqueeze(-1)
    product = _turns_to_phasor(turns * coarse).unsqueeze(-1) * _turns_to_phasor(
        turns * fine
    ).unsqueeze(-2)
    return product.flatten(-2)[..., :count]
