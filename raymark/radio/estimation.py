"""The path set of a link estimated from its noisy CSI: delay, direction and power of each path.

Newtonized orthogonal matching pursuit (@mamandipoor2016) over delay and both direction cosines,
with a joint Gauss-Newton refinement of all paths found so far; see docs/path_estimation.md.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from scipy.optimize import brentq
from torch import Tensor

from raymark.radio import SPEED_OF_LIGHT_M_S, Band, Panel
from raymark.radio.fingerprints import tensor_to_db
from raymark.radio.frames import rotation_matrix
from raymark.radio.synthesis import panel_direction

FALSE_ALARM_PROBABILITY = 0.01
"""Chance that one path is found where there is only noise."""

DYNAMIC_RANGE_DB = 60.0
"""Weaker paths than this below a link's first one are not searched: float32 ends near there."""

_CHUNK = 64  # links at a time: the spectra stay in the cache
_OVERSAMPLING = 2
_NUM_STEPS = 3
_RIDGE = 1e-6  # against a norm of 1: keeps the amplitudes of two merged paths finite


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedPaths:
    """Paths estimated from noisy CSI, strongest first, padded.

    Attributes:
        delay_s: Absolute delay, in [0, 1 / subcarrier spacing); 0 where padded [s].
        zenith_bs_rad: Direction from the BS, world frame; 0 where padded [rad].
        azimuth_bs_rad: Direction from the BS, world frame; 0 where padded [rad].
        power_db: Channel gain |amplitude|^2 of one antenna and tone; `FLOOR_DB` where padded [dB].
        mask: True where there is a path.
    """

    delay_s: Float[Tensor, "link path"]
    zenith_bs_rad: Float[Tensor, "link path"]
    azimuth_bs_rad: Float[Tensor, "link path"]
    power_db: Float[Tensor, "link path"]
    mask: Bool[Tensor, "link path"]

    def strongest(self, num_paths: int) -> "EstimatedPaths":
        """Return the first `num_paths` columns."""
        return EstimatedPaths(
            **{name: getattr(self, name)[:, :num_paths] for name in EstimatedPaths.__slots__}
        )

    def points_m(self) -> Float[Tensor, "link path 3"]:
        """Return c tau u of each path, relative to the BS in world axes [m]; 0 where padded.

        It is the UE itself for a direct path, and its mirror image as the BS sees it for a
        reflected one.
        """
        world = np.zeros(3)  # the frame of a panel that is not turned
        direction = panel_direction(self.zenith_bs_rad, self.azimuth_bs_rad, world)
        return SPEED_OF_LIGHT_M_S * self.delay_s.unsqueeze(-1) * direction


class _Fit(NamedTuple):
    """Least squares at some parameters; steering vectors have unit norm.

    Attributes:
        turns: Phase per index along columns, rows and tones [turns].
        gain: Complex amplitudes.
        energy: Energy of the CSI that the paths explain.
        gradient: Half the derivative of `energy`, by axis and path.
        hessian: Gauss-Newton matrix of the same parameters, the amplitudes projected out.
    """

    turns: Float[Tensor, "link path 3"]
    gain: Complex[Tensor, "link path"]
    energy: Float[Tensor, "link"]
    gradient: Float[Tensor, "link parameter"]
    hessian: Float[Tensor, "link parameter parameter"]


def estimate_paths(
    csi: Complex[Tensor, "link ant subcarrier"],
    panel: Panel,
    band: Band,
    *,
    noise_variance: float,
    orientation_rad: Float[np.ndarray, "3"],
    max_num_paths: int = 8,
) -> EstimatedPaths:
    """Estimate delay, direction and power of the paths of each link.

    Paths are added one by one at the peak of the residual's matched filter (@mamandipoor2016,
    algorithm 1); after each, all of them are refined together. A path stands if it explains more
    energy than noise alone would in one link of a hundred (`detection_threshold`).

    A linear array does not tell the cosine across it, which is taken as 0 in the panel's frame.

    Args:
        csi: Noisy CSI; its conventions are those of `synthesize_csi`.
        panel: The panel; directions lie in the half space before it.
        band: Band of the CSI.
        noise_variance: Variance of the noise on each entry; 0 for noiseless CSI.
        orientation_rad: Yaw, pitch and roll of the panel [rad].
        max_num_paths: Paths that are searched in each link, at most.
    """
    grid = csi.reshape(len(csi), panel.num_cols, panel.num_rows, csi.shape[-1])
    threshold = noise_variance * detection_threshold(grid.shape[1:])
    fits = [_pursue(part, threshold, max_num_paths) for part in torch.split(grid, _CHUNK)]
    turns, gain = (torch.cat(parts) for parts in zip(*fits, strict=True))
    power = gain.abs().square() / grid[0].numel() if len(csi) else gain.abs()
    order = power.argsort(dim=1, descending=True, stable=True)
    power = power.gather(1, order)
    mask = power > 0
    turns = turns.gather(1, order.unsqueeze(-1).expand_as(turns))
    zenith_rad, azimuth_rad = _world_angles(turns, panel, orientation_rad)
    period_s = 1 / band.subcarrier_spacing_hz
    delay_s = ((-turns[..., 2]) % 1.0 * period_s).to(csi.real.dtype)
    delay_s = torch.where(mask & (delay_s < period_s), delay_s, 0.0)
    power_db = tensor_to_db(power)
    return EstimatedPaths(
        delay_s=delay_s,
        zenith_bs_rad=torch.where(mask, zenith_rad, 0.0).to(delay_s.dtype),
        azimuth_bs_rad=torch.where(mask, azimuth_rad, 0.0).to(delay_s.dtype),
        power_db=power_db.to(delay_s.dtype),
        mask=mask,
    )


def detection_threshold(
    counts: tuple[int, ...], probability: float = FALSE_ALARM_PROBABILITY
) -> float:
    """Return the matched-filter power over noise variance that noise exceeds with a probability.

    The largest of |<noise, a>|^2 over continuous parameters: the expected Euler characteristic
    of a chi-square field of two degrees of freedom on a torus (@worsley1994).
    Independent cells of a DFT would give ln(cells) - ln(-ln(1 - probability)), which is too low.

    Args:
        counts: Number of samples along each axis (columns, rows, tones).
        probability: False-alarm probability of a link.
    """
    long = [count for count in counts if count > 1]
    # Root of the spectral variance (2 pi)^2 (n^2 - 1) / 12 over the root of 2 pi, for each axis.
    volume = math.prod(math.sqrt(2 * math.pi * (count**2 - 1) / 12) for count in long)

    def excess(square: float) -> float:
        density = (1.0, square**0.5, square - 1, square**1.5 - 3 * square**0.5)[len(long)]
        return math.log(volume * density / probability) - square / 2

    return float(brentq(excess, 4.0, 1000.0)) / 2


def _pursue(
    csi: Complex[Tensor, "link col row subcarrier"], threshold: float, max_num_paths: int
) -> tuple[Float[Tensor, "link path 3"], Complex[Tensor, "link path"]]:
    """Return turns per index and complex amplitudes of unit steering vectors, 0 where padded."""
    turns = torch.zeros(len(csi), max_num_paths, 3, dtype=torch.float64, device=csi.device)
    gain = torch.zeros(turns.shape[:2], dtype=torch.complex128, device=csi.device)
    scale = torch.view_as_real(csi).square().sum(dim=(1, 2, 3, 4)).sqrt()
    link = torch.nonzero(scale > 0).squeeze(1)
    if not len(link):
        return turns, gain
    csi = csi[link] / scale[link, None, None, None]
    counts, spectrum = (csi.shape[1], csi.shape[2], csi.shape[3]), _spectrum(csi)
    least = threshold / scale[link].double().square()
    energy = torch.zeros_like(least)
    for num_known in range(max_num_paths):
        known = turns[link, :num_known], gain[link, :num_known]
        fit = _refine(csi, torch.cat([known[0], _coarse_peak(spectrum, counts, *known)], dim=1))
        if num_known == 0:
            least = least.clamp(min=fit.energy * 10 ** (-DYNAMIC_RANGE_DB / 10))
        found = fit.energy - energy > least
        link, energy, least = link[found], fit.energy[found], least[found]
        turns[link, : num_known + 1] = fit.turns[found]
        gain[link, : num_known + 1] = fit.gain[found]
        if not found.all():
            csi, spectrum = csi[found], spectrum[found]
        if not len(link):
            break
    return turns, gain * scale[:, None]


def _spectrum(
    csi: Complex[Tensor, "link col row subcarrier"],
) -> Float[Tensor, "link spatial delay2"]:
    """Return the oversampled spectrum, real parts before imaginary ones, which is fast to use."""
    sizes = [_grid_size(count) for count in csi.shape[1:]]
    spectrum = torch.fft.fftn(csi, s=sizes, dim=(1, 2, 3)).flatten(1, 2)
    return torch.cat([spectrum.real, spectrum.imag], dim=-1)


def _grid_size(count: int) -> int:
    return _OVERSAMPLING * count if count > 1 else 1


def _coarse_peak(
    spectrum: Float[Tensor, "link spatial delay2"],
    counts: tuple[int, int, int],
    turns: Float[Tensor, "link path 3"],
    gain: Complex[Tensor, "link path"],
) -> Float[Tensor, "link 1 3"]:
    """Return the strongest peak of the residual's spectrum, between its grid points."""
    sizes = tuple(_grid_size(count) for count in counts)
    if turns.shape[1]:
        spectrum = _subtract_paths(spectrum, counts, turns, gain)
    real, imag = spectrum.chunk(2, dim=-1)
    power = real.square().addcmul_(imag, imag)
    link = torch.arange(len(power), device=power.device)
    beam = power.amax(dim=2).argmax(dim=1)
    delay = power[link, beam].argmax(dim=1)
    index = torch.stack([beam // sizes[1], beam % sizes[1], delay], dim=-1)
    power = power.reshape(-1, *sizes)
    shifts = [_parabolic_shift(power, index, axis) for axis in range(3)]
    size = torch.tensor(sizes, device=index.device)
    return ((index + torch.stack(shifts, dim=-1)).double() / size).unsqueeze(1)


def _subtract_paths(
    spectrum: Float[Tensor, "link spatial delay2"],
    counts: tuple[int, int, int],
    turns: Float[Tensor, "link path 3"],
    gain: Complex[Tensor, "link path"],
) -> Float[Tensor, "link spatial delay2"]:
    """Subtract the spectra of paths, which are products of one factor an axis."""
    values = [_steering(turns[..., i], count).chunk(2, dim=1)[0] for i, count in enumerate(counts)]
    cols, rows, tones = (torch.fft.fft(v, n=_grid_size(v.shape[-1])) for v in values)
    cols = -gain.unsqueeze(-1) * cols
    beams = (cols.unsqueeze(-1) * rows.unsqueeze(-2)).flatten(-2)
    left = torch.cat([beams.real, beams.imag], dim=1).transpose(1, 2)
    right = torch.cat(
        [torch.cat([tones.real, tones.imag], -1), torch.cat([-tones.imag, tones.real], -1)], dim=1
    )
    return torch.baddbmm(spectrum, left.to(spectrum.dtype), right.to(spectrum.dtype))


def _parabolic_shift(
    power: Float[Tensor, "link col row delay"], index: Int[Tensor, "link 3"], axis: int
) -> Float[Tensor, "link"]:
    """Return the offset of a parabola's top from a grid maximum along an axis, in bins."""
    link = torch.arange(len(power), device=power.device)
    values = []
    for step in (-1, 0, 1):
        place = [index[:, i] for i in range(3)]
        place[axis] = (place[axis] + step) % power.shape[axis + 1]
        values.append(power[link, place[0], place[1], place[2]])
    left, middle, right = values
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / torch.where(curvature < 0, curvature, -1.0)
    return torch.where(curvature < 0, shift, 0.0).clamp(-0.5, 0.5)


def _refine(
    csi: Complex[Tensor, "link col row subcarrier"], turns: Float[Tensor, "link path 3"]
) -> _Fit:
    """Climb the explained energy from given parameters by damped joint Gauss-Newton steps."""
    best = _fit(csi, turns)
    damping = torch.full_like(best.energy, 1e-3)
    limit = torch.tensor([0.25 / count for count in csi.shape[1:]], device=turns.device)
    for _ in range(_NUM_STEPS):
        step = _damped_step(best, damping).clamp(-limit, limit)
        trial = _fit(csi, best.turns + step)
        better = trial.energy > best.energy
        best = _Fit(
            *(
                torch.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in zip(trial, best, strict=True)
            )
        )
        damping = torch.where(better, 0.1 * damping, 100 * damping)
    return best


def _damped_step(fit: _Fit, damping: Float[Tensor, "link"]) -> Float[Tensor, "link path 3"]:
    """Return the step of Levenberg and Marquardt; none along an axis of one sample."""
    diagonal = torch.diagonal(fit.hessian, dim1=1, dim2=2)
    added = damping[:, None] * diagonal + (diagonal <= 1e-12 * diagonal.amax(1, keepdim=True))
    step = torch.linalg.solve_ex(fit.hessian + torch.diag_embed(added), fit.gradient)[0]
    return step.reshape(len(step), 3, -1).transpose(1, 2)


def _fit(
    csi: Complex[Tensor, "link col row subcarrier"], turns: Float[Tensor, "link path 3"]
) -> _Fit:
    """Solve the amplitudes by least squares; collect the derivatives for the next step.

    The amplitudes are projected out of the derivatives (variable projection; @kaufman1975).
    """
    factors = [_steering(turns[..., i], count) for i, count in enumerate(csi.shape[1:])]
    onto, onto_slope = _project(csi, *factors)
    gram, slope_gram, slopes_gram = _grams(factors)
    ridge = _RIDGE * torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    root, _ = torch.linalg.cholesky_ex(gram + ridge)
    gain = torch.cholesky_solve(onto.unsqueeze(-1), root).squeeze(-1)
    weight = gain.repeat(1, 3)
    residual = onto_slope - (slope_gram @ gain.unsqueeze(-1)).squeeze(-1)
    half = torch.linalg.solve_triangular(root, slope_gram.mH, upper=False)
    curvature = slopes_gram - half.mH @ half
    return _Fit(
        turns=turns,
        gain=gain,
        energy=(onto.conj() * gain).real.sum(-1),
        gradient=(weight.conj() * residual).real,
        hessian=(weight.conj().unsqueeze(2) * curvature * weight.unsqueeze(1)).real,
    )


def _steering(
    turns: Float[Tensor, "link path"], count: int
) -> Complex[Tensor, "link path2 {count}"]:
    """Return the unit steering vectors of one axis, then their derivatives by `turns`."""
    index = _centred_index(count, turns.device)
    value = _phasors(turns, index) / math.sqrt(count)
    return torch.cat([value, 2j * math.pi * index * value], dim=1)


def _project(
    csi: Complex[Tensor, "link col row subcarrier"],
    cols: Complex[Tensor, "link path2 col"],
    rows: Complex[Tensor, "link path2 row"],
    tones: Complex[Tensor, "link path2 subcarrier"],
) -> tuple[Complex[Tensor, "link path"], Complex[Tensor, "link parameter"]]:
    """Return the products of steering vectors, and of their derivatives, with the CSI.

    The tones are summed first, which is one matrix product for all paths.
    """
    cols, rows, tones = (factor.to(csi.dtype).conj() for factor in (cols, rows, tones))
    col, col_slope = cols.chunk(2, dim=1)
    row, row_slope = rows.chunk(2, dim=1)
    beams = tones @ csi.flatten(1, 2).transpose(1, 2)
    beams = beams.reshape(*beams.shape[:2], *csi.shape[1:3])
    at_tone, at_tone_slope = beams.chunk(2, dim=1)
    along_row = (at_tone * row.unsqueeze(2)).sum(-1)
    along_row_slope = (at_tone * row_slope.unsqueeze(2)).sum(-1)
    along_tone_slope = (at_tone_slope * row.unsqueeze(2)).sum(-1)
    slopes = torch.cat(
        [col_slope * along_row, col * along_row_slope, col * along_tone_slope], dim=1
    )
    return (col * along_row).sum(-1).to(torch.complex128), slopes.sum(-1).to(torch.complex128)


def _grams(
    factors: list[Complex[Tensor, "link path2 _"]],
) -> tuple[
    Complex[Tensor, "link path path"],
    Complex[Tensor, "link parameter path"],
    Complex[Tensor, "link parameter parameter"],
]:
    """Return the products of all steering vectors and derivatives, from those of each axis."""
    inner = [factor.conj() @ factor.transpose(1, 2) for factor in factors]
    blocks = [[half.chunk(2, dim=2) for half in product.chunk(2, dim=1)] for product in inner]
    slope_gram = torch.cat([_product(blocks, i, None) for i in range(3)], dim=1)
    rows = [torch.cat([_product(blocks, i, j) for j in range(3)], dim=2) for i in range(3)]
    return _product(blocks, None, None), slope_gram, torch.cat(rows, dim=1)


def _product(
    blocks: list[list[tuple[Tensor, ...]]], left: int | None, right: int | None
) -> Complex[Tensor, "link path path"]:
    """Multiply the axes, with derivatives by axis `left` and by axis `right`."""
    picked = [block[axis == left][axis == right] for axis, block in enumerate(blocks)]
    return picked[0] * picked[1] * picked[2]


def _centred_index(count: int, device: torch.device) -> Float[Tensor, "{count}"]:
    return torch.arange(count, device=device, dtype=torch.float64) - (count - 1) / 2


def _phasors(
    turns: Float[Tensor, "*n"], index: Float[Tensor, "index"]
) -> Complex[Tensor, "*n index"]:
    # In float64: rounded phases of many tones would end the dynamic range at 80 dB.
    angle = 2 * math.pi * turns.unsqueeze(-1) * index
    return torch.complex(torch.cos(angle), torch.sin(angle))


def _world_angles(
    turns: Float[Tensor, "link path 3"], panel: Panel, orientation_rad: Float[np.ndarray, "3"]
) -> tuple[Float[Tensor, "link path"], Float[Tensor, "link path"]]:
    """Return zenith and azimuth of turns per column and row; beyond endfire is endfire."""
    wrapped = (turns[..., :2] + 0.5) % 1.0 - 0.5
    cosines = wrapped / panel.spacing_wavelengths * wrapped.new_tensor([1.0, -1.0])
    observed = wrapped.new_tensor([float(panel.num_cols > 1), float(panel.num_rows > 1)])
    cosines = cosines * observed
    radius = torch.linalg.vector_norm(cosines, dim=-1, keepdim=True)
    cosines = cosines / radius.clamp(min=1.0)
    forward = (1 - cosines.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()
    local = torch.cat([forward, cosines], dim=-1)
    rotation = torch.as_tensor(rotation_matrix(orientation_rad), device=local.device)
    world = local @ rotation.to(local.dtype).T
    horizontal = torch.linalg.vector_norm(world[..., :2], dim=-1)
    return torch.atan2(horizontal, world[..., 2]), torch.atan2(world[..., 1], world[..., 0])
