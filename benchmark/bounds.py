"""The physical limit: Cramer-Rao bounds of the position from the noisy CSI of one panel."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from raymark.benchmark.path_geometry import PathGradients, path_gradients
from raymark.dataset import Selection
from raymark.dataset.schema import LOS
from raymark.radio import SPEED_OF_LIGHT_M_S, Band, Panel
from raymark.radio.frames import rotation_matrix
from raymark.radio.synthesis import PathBatch, arrives, panel_direction

_SAME_SIGNATURE_REL = 1e-12
"""Share of the strongest mode's energy below which paths count as one: float64 cannot tell them
apart, and only amplitudes a million times those of single paths would make a difference."""

_NO_INFORMATION_REL = 1e-10
"""Share of what known amplitudes would tell; rounding leaves up to 1e-12 of it."""

_AXES = (0, 1, 2)
"""Columns, rows and tones."""

_LINKS_AT_ONCE = 16
"""Enough that sums are long, few enough that links of like numbers of paths stand together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionBound:
    """Position error bounds of several links.

    Attributes:
        peb_m: Least root mean square of the horizontal error [m]; 0 where there is no bound.
        is_bounded: False in outage, and where the paths leave a direction undetermined.
    """

    peb_m: Float[np.ndarray, "link"]
    is_bounded: Bool[np.ndarray, "link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionInformation:
    """Fisher information of (x, y) per unit of 1 / noise variance.

    Attributes:
        equivalent_1_m2: With unknown path amplitudes [1/m^2].
        ideal_1_m2: What it would be if no amplitude could imitate a motion of the UE [1/m^2].
    """

    equivalent_1_m2: Float[Tensor, "link 2 2"]
    ideal_1_m2: Float[Tensor, "link 2 2"]


def position_error_bound(
    selection: Selection,
    *,
    noise_variance: float | None = None,
    device: torch.device | str = "cpu",
) -> PositionBound:
    """Return the Cramer-Rao bound of the horizontal position for every link.

    No unbiased estimator of (x, y) that sees one CSI matrix has a smaller root mean square error.
    It is assumed that

    - the noise is circular, white and of known variance, and the hardware without fault: the
      panel's place and orientation, the clock and the height of the UE are known;
    - every path has an unknown complex amplitude, so that neither received power nor carrier
      phase tells the position: only delays and directions at the panel do;
    - in line of sight the direct path is alone: no map is used, and no other path disturbs;
    - otherwise all stored paths that the panel receives are used together, the map is known (the
      planes and edges that each path meets, and which path meets which), and a diffuse scatterer is
      fixed in space.

    Bias and prior knowledge (the area of the tracks) may beat the bound where it is large, and an
    estimator of few paths may, where many paths are closer than the array and band resolve.

    Args:
        selection: Links, of any number of sites.
        noise_variance: Of one CSI entry [1]; the campaign's front end by default.
        device: Where to compute.
    """
    front_end = selection.front_end
    if noise_variance is None:
        noise_variance = front_end.noise_variance(selection.band)
    peb_m = np.zeros(len(selection))
    is_bounded = np.zeros(len(selection), dtype=bool)
    for start, stop in selection.ranges():
        for rows, paths, gradients in _pieces(*_paths_in_use(selection, start, stop, device)):
            information = position_information(paths, gradients, front_end.panel)
            error_m, bounded = _invert(information, noise_variance)
            peb_m[start + rows], is_bounded[start + rows] = error_m.cpu(), bounded.cpu()
    return PositionBound(peb_m=peb_m, is_bounded=is_bounded)


def linear_array_bound(
    band: Band,
    num_antennas: int,
    *,
    snr: float,
    distance_m: float,
    azimuth_rad: float = 0.0,
    spacing_wavelengths: float = 0.5,
) -> float:
    """Return the position error bound of a lone path at a linear array, in closed form [m].

    PEB^2 = sigma_r^2 + r^2 sigma_phi^2, with the errors of range and azimuth for a flat spectrum of
    K tones, sigma_r = c / (2 pi beta sqrt(2 N K rho)) and beta^2 = B^2 / 12, and for N elements,
    sigma_phi = sqrt(6 / (rho K N (N^2 - 1))) / (2 pi d/lambda cos phi) (the sinusoids of `kay1993`,
    examples 3.13 and 3.15, with an unknown complex amplitude). UE and array are in one plane.

    Args:
        band: Holds bandwidth B and number of tones K.
        num_antennas: Number of elements N.
        snr: Signal to noise ratio rho of one CSI entry [1].
        distance_m: Range r [m].
        azimuth_rad: Angle phi from boresight [rad].
        spacing_wavelengths: Distance d of the elements [wavelengths].

    >>> from raymark.radio import BAND_PRESETS
    >>> round(linear_array_bound(BAND_PRESETS["6GHz"], 64, snr=1.0, distance_m=100.0), 3)
    0.041
    """
    num_entries = num_antennas * band.num_subcarriers
    beta_hz = band.bandwidth_hz / math.sqrt(12)
    range_m = SPEED_OF_LIGHT_M_S / (2 * math.pi * beta_hz * math.sqrt(2 * num_entries * snr))
    turns_per_rad = spacing_wavelengths * math.cos(azimuth_rad)
    angle_rad = math.sqrt(6 / (snr * num_entries * (num_antennas**2 - 1))) / (
        2 * math.pi * turns_per_rad
    )
    return math.hypot(range_m, distance_m * angle_rad)


def position_information(
    paths: PathBatch, gradients: PathGradients, panel: Panel
) -> PositionInformation:
    """Return the Fisher information of (x, y), each path's complex amplitude being a nuisance.

    For the mean H = S a with the paths' signatures as columns of S, and D = dH/d(x, y) at fixed
    amplitudes, it is 2 Re(D^H D) (`kay1993`, eq. 15.52); the Schur complement of the amplitudes
    (`shen2010`, definition 1) takes away what S can imitate: 2 Re(D^H D - D^H S (S^H S)^-1 S^H D).
    Signatures are products over columns, rows and tones, and so are all entries of these matrices.

    Args:
        paths: Padded paths.
        gradients: Of the paths that `paths.mask` holds, link by link.
        panel: Holds the elements of the array.
    """
    carrier_turns = (paths.band.carrier_hz * paths.delay_s.double()) % 1.0
    weight = paths.amplitude * torch.exp(-2j * math.pi * carrier_turns)
    turns, slope = _turns(paths, gradients, panel)
    gram = _GramMatrices(turns, paths.mask, panel, paths.band)
    motion = (2j * math.pi * weight[..., None, None] * slope).unbind(dim=2)
    # Row p, column (q, space): how the motion of path q shows in the signature of path p.
    seen = torch.stack([gram(a) @ motion[a] for a in _AXES]).sum(dim=0)
    along, across = (
        torch.stack([motion[a].mH @ gram(a, b) @ motion[b] for a, b in pairs]).sum(dim=0)
        for pairs in (list(zip(_AXES, _AXES, strict=True)), list(combinations(_AXES, 2)))
    )
    ideal = along + across + across.mH
    energy, modes = torch.linalg.eigh(gram())
    is_mode = energy > _SAME_SIGNATURE_REL * energy[:, -1:]
    inverse = torch.where(is_mode, 1 / torch.where(is_mode, energy, 1.0), 0.0)
    part = modes.mH @ seen
    imitated = part.mH @ (inverse.unsqueeze(-1) * part)
    return PositionInformation(
        equivalent_1_m2=2 * (ideal - imitated).real, ideal_1_m2=2 * ideal.real
    )


def _paths_in_use(
    selection: Selection, start: int, stop: int, device: torch.device | str
) -> tuple[PathBatch, PathGradients]:
    """Return what the bound of links `start:stop` rests on: the direct path, or else all."""
    site = selection.sites[int(selection.site_index[start])]
    paths = selection.path_batch(start, stop)
    table, detail = selection.path_table(start, stop), selection.detail_table(start, stop)
    is_los = torch.from_numpy(selection.los[start:stop] == LOS)
    direction = panel_direction(paths.zenith_bs_rad, paths.azimuth_bs_rad, paths.orientation_rad)
    received = paths.mask & arrives(selection.front_end.panel, direction)
    used = received & (~is_los.unsqueeze(-1) | (paths.num_interactions == 0))
    rows = used[paths.mask].numpy()
    counts = np.diff(table.path_offset)
    position_m = np.repeat(selection.position_m[start:stop], counts, axis=0)
    gradients = path_gradients(
        torch.tensor(site.position_m, dtype=torch.float64, device=device),
        *(
            torch.from_numpy(values[rows]).to(device)
            for values in (position_m, table.interaction, detail.vertex_m, detail.wedge)
        ),
    )
    return dataclasses.replace(paths, mask=used).to(device), gradients


def _pieces(
    paths: PathBatch, gradients: PathGradients
) -> Iterator[tuple[Int[np.ndarray, "row"], PathBatch, PathGradients]]:
    """Yield links with like numbers of paths, padded to the most that one of them has.

    The time is that of the square of a link's paths, padded ones too, of which most links in line
    of sight need one.
    """
    mask = paths.mask
    number = torch.zeros_like(mask, dtype=torch.long)
    number[mask] = torch.arange(int(mask.sum()), device=mask.device)
    count = mask.sum(dim=1)
    for rows in torch.argsort(count, stable=True).split(_LINKS_AT_ONCE):
        first = torch.argsort(~mask[rows], dim=1, stable=True)[:, : int(count[rows].max())]
        place = rows.unsqueeze(-1), first
        values = {field.name: getattr(paths, field.name) for field in dataclasses.fields(paths)}
        chosen: dict[str, Any] = {
            name: value[place] for name, value in values.items() if isinstance(value, Tensor)
        }
        piece = dataclasses.replace(paths, **chosen)
        of_piece = number[place][piece.mask]
        yield (
            rows.cpu().numpy(),
            piece,
            PathGradients(
                delay_s_m=gradients.delay_s_m[of_piece],
                direction_1_m=gradients.direction_1_m[of_piece],
            ),
        )


def _turns(
    paths: PathBatch, gradients: PathGradients, panel: Panel
) -> tuple[Float[Tensor, "link path 3"], Float[Tensor, "link path 3 2"]]:
    """Return the turns from entry to entry along columns, rows and tones, and their slopes.

    The slopes, with the UE's (x, y), are in 1/m.
    """
    step = torch.tensor(
        [panel.spacing_wavelengths, -panel.spacing_wavelengths, -paths.band.subcarrier_spacing_hz],
        dtype=torch.float64,
        device=paths.mask.device,
    )
    delay_s = paths.delay_s.double()
    direction = panel_direction(
        paths.zenith_bs_rad.double(), paths.azimuth_bs_rad.double(), paths.orientation_rad
    )
    turns = step * torch.stack([direction[..., 1], direction[..., 2], delay_s], dim=-1)
    to_panel = torch.from_numpy(rotation_matrix(paths.orientation_rad).T.copy()).to(step)
    direction_1_m = to_panel @ gradients.direction_1_m[..., :2]
    delay_s_m = gradients.delay_s_m[:, None, :2]
    slope = turns.new_zeros(*turns.shape, 2)
    slope[paths.mask] = step[:, None] * torch.cat([direction_1_m[:, 1:], delay_s_m], dim=1)
    return turns, slope


class _GramMatrices:
    """Makes S^H S, S^H W_a S and S^H W_a W_b S, with W_a the place of an entry along axis a.

    Places count from the middle of each axis: a constant would only add what S can imitate.
    """

    def __init__(
        self,
        turns: Float[Tensor, "link path 3"],
        mask: Bool[Tensor, "link path"],
        panel: Panel,
        band: Band,
    ) -> None:
        """Sum over each axis alone, with the place of an entry to the powers of 0, 1 and 2."""
        num_tones = band.num_subcarriers
        firsts = (-(panel.num_cols - 1) / 2, -(panel.num_rows - 1) / 2, -(num_tones // 2))
        counts = (panel.num_cols, panel.num_rows, num_tones)
        self._moments = []
        for axis, first, count in zip(_AXES, firsts, counts, strict=True):
            entry = torch.arange(count, dtype=turns.dtype, device=turns.device)
            phasor = torch.exp(2j * math.pi * turns[..., axis, None] * (first + entry))
            phasor = phasor * mask.unsqueeze(-1)
            place = entry - (count - 1) / 2
            moments = [phasor.conj() @ (place**order * phasor).mT for order in range(3)]
            self._moments.append(moments)

    def __call__(self, *axes: int) -> Complex[Tensor, "link path path"]:
        """Return the matrix with the places along some axes, of which one may be named twice."""
        cols, rows, tones = (self._moments[axis][axes.count(axis)] for axis in _AXES)
        return cols * rows * tones


def _invert(
    information: PositionInformation, noise_variance: float
) -> tuple[Float[Tensor, "link"], Bool[Tensor, "link"]]:
    """Return the root of the trace of the inverse [m], and where there is one."""
    ideal = information.ideal_1_m2.diagonal(dim1=1, dim2=2).sum(dim=1)
    eigenvalues = torch.linalg.eigvalsh(information.equivalent_1_m2)
    is_bounded = eigenvalues[:, 0] > _NO_INFORMATION_REL * ideal
    variance_m2 = noise_variance * (1 / eigenvalues).sum(dim=1)
    return torch.where(is_bounded, variance_m2, 0.0).sqrt(), is_bounded
