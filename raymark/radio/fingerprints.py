"""Fingerprints of a link: CSI, angle-of-arrival profile, distance and gain.

Two kinds, never mixed. `measured`: all four are estimated from the same noisy CSI. `oracle`: they
are the ray tracer's own values, for study only.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from raymark.radio import SPEED_OF_LIGHT_M_S, Band, FrontEnd, Panel, ProfileMethod
from raymark.radio.levels import FLOOR_DB
from raymark.radio.synthesis import (
    PathBatch,
    add_noise,
    impair,
    panel_direction,
    quantize,
    synthesize_csi,
)

NUM_AZIMUTH_BINS = 64
_NUM_ZENITH_BEAMS = 24
_MUSIC_SOURCES = 5
_DELAY_OVERSAMPLING = 8
_FIRST_PATH_THRESHOLD_DB = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """The four modalities of several links.

    Attributes:
        csi: Channel frequency response.
        aoa_profile: Power over azimuth from boresight, bins as in `azimuth_bins` [dB].
        distance_m: First-path time of arrival times c [m].
        gain_db: Mean channel gain over antennas and tones [dB].
        has_signal: False where nothing can be estimated; distance and gain are fill values there.
    """

    csi: Complex[Tensor, "link ant subcarrier"]
    aoa_profile: Float[Tensor, "link azimuth"]
    distance_m: Float[Tensor, "link"]
    gain_db: Float[Tensor, "link"]
    has_signal: Bool[Tensor, "link"]


def azimuth_bins(num_bins: int = NUM_AZIMUTH_BINS) -> Float[Tensor, "azimuth"]:
    """Return bin centres over the half space before the panel, -90 to 90 deg from boresight."""
    edges = torch.linspace(-math.pi / 2, math.pi / 2, num_bins + 1, dtype=torch.float32)
    return (edges[1:] + edges[:-1]) / 2


def measured_csi(
    paths: PathBatch,
    front_end: FrontEnd,
    *,
    generator: torch.Generator,
    calibration: Complex[Tensor, "ant"],
) -> Complex[Tensor, "link ant subcarrier"]:
    """Synthesise CSI as the front-end measures it: impaired, noisy and quantised.

    Args:
        paths: Paths of the links.
        front_end: Panel, UE power, impairments.
        generator: Source of noise and of the impairments' draws, on the device of `paths`.
        calibration: Complex gain of each antenna (`calibration_error`).
    """
    clean = synthesize_csi(paths, front_end.panel, late_paths=front_end.late_paths)
    return received_csi(clean, paths.band, front_end, generator=generator, calibration=calibration)


def received_csi(
    clean: Complex[Tensor, "link ant subcarrier"],
    band: Band,
    front_end: FrontEnd,
    *,
    generator: torch.Generator,
    calibration: Complex[Tensor, "ant"],
) -> Complex[Tensor, "link ant subcarrier"]:
    """Return what the front-end makes of noiseless CSI: impaired, noisy and quantised.

    Args:
        clean: CSI as `synthesize_csi` returns it.
        band: Its band.
        front_end: UE power and impairments.
        generator: Source of noise and of the impairments' draws, on the device of `clean`.
        calibration: Complex gain of each antenna (`calibration_error`).
    """
    impaired = impair(clean, band, front_end, generator, calibration)
    return quantize(
        add_noise(impaired, band, front_end, generator), front_end.impairments.quantization_bits
    )


def measured_fingerprints(
    paths: PathBatch,
    front_end: FrontEnd,
    *,
    generator: torch.Generator,
    calibration: Complex[Tensor, "ant"],
    method: ProfileMethod = "bartlett",
) -> Fingerprints:
    """Synthesise noisy CSI and estimate every modality from it.

    Args:
        paths: Paths of the links.
        front_end: Panel, UE power, impairments.
        generator: Source of noise and of the impairments' draws, on the device of `paths`.
        calibration: Complex gain of each antenna (`calibration_error`).
        method: Estimator of the angle-of-arrival profile.
    """
    csi = measured_csi(paths, front_end, generator=generator, calibration=calibration)
    return estimated_fingerprints(csi, paths.band, front_end, method=method)


def estimated_fingerprints(
    csi: Complex[Tensor, "link ant subcarrier"],
    band: Band,
    front_end: FrontEnd,
    *,
    method: ProfileMethod = "bartlett",
) -> Fingerprints:
    """Estimate every other modality from measured CSI.

    Args:
        csi: Noisy CSI of the links.
        band: Band of the CSI.
        front_end: Panel and UE power.
        method: Estimator of the angle-of-arrival profile.
    """
    noise_variance = front_end.noise_variance(band)
    distance_m, detected = estimate_distance(csi, band, noise_variance)
    return Fingerprints(
        csi=csi,
        aoa_profile=estimate_aoa_profile(csi, front_end.panel, method=method),
        distance_m=distance_m,
        gain_db=estimate_gain(csi, noise_variance),
        has_signal=detected,
    )


def oracle_fingerprints(paths: PathBatch, front_end: FrontEnd) -> Fingerprints:
    """Return the ray tracer's values: noiseless CSI, path powers by azimuth, first delay, gain."""
    power = paths.amplitude.abs() ** 2
    has_signal = paths.mask.any(dim=1)
    far = torch.where(paths.mask, paths.delay_s, torch.inf).amin(dim=1)
    distance_m = torch.where(has_signal, far * SPEED_OF_LIGHT_M_S, 0.0)
    direction = panel_direction(paths.zenith_bs_rad, paths.azimuth_bs_rad, paths.orientation_rad)
    azimuth = torch.atan2(direction[..., 1], direction[..., 0])
    position = (azimuth / math.pi + 0.5) * NUM_AZIMUTH_BINS
    inside = paths.mask & (position >= 0) & (position < NUM_AZIMUTH_BINS)
    index = position.long().clamp(0, NUM_AZIMUTH_BINS - 1)
    profile = torch.zeros(paths.num_links, NUM_AZIMUTH_BINS, device=power.device)
    profile.scatter_add_(1, index, torch.where(inside, power, 0.0))
    return Fingerprints(
        csi=synthesize_csi(paths, front_end.panel, late_paths=front_end.late_paths),
        aoa_profile=tensor_to_db(profile),
        distance_m=distance_m,
        gain_db=tensor_to_db(power.sum(dim=1)),
        has_signal=has_signal,
    )


def estimate_gain(
    csi: Complex[Tensor, "link ant subcarrier"], noise_variance: float
) -> Float[Tensor, "link"]:
    """Estimate the mean channel gain [dB]: mean |H|^2 less the noise.

    The estimate is not let below the noise variance over the square root of the number of
    entries, its own deviation when there is no signal.
    """
    power = (csi.abs() ** 2).mean(dim=(1, 2)) - noise_variance
    floor = noise_variance / math.sqrt(csi.shape[1] * csi.shape[2])
    return tensor_to_db(power.clamp(min=floor))


def estimate_distance(
    csi: Complex[Tensor, "link ant subcarrier"], band: Band, noise_variance: float
) -> tuple[Float[Tensor, "link"], Bool[Tensor, "link"]]:
    """Estimate the length of the first path from the power-delay profile.

    The profile is the mean over antennas of |IFFT|^2 of the Hann-windowed tones, 8 times
    oversampled. The first local maximum counts that stands above the noise (mean + 6 deviations)
    and within 20 dB of the strongest; its position is refined by a parabola in dB.

    Returns:
        Distance [m] (0 where nothing is found), and whether a path was found.
    """
    num_tones = csi.shape[2]
    window = torch.hann_window(num_tones + 1, device=csi.device)[1:]
    window = window / window.sum()
    num_bins = _DELAY_OVERSAMPLING * num_tones
    profile = _power_delay_profile(csi * window, num_bins)
    noise = noise_variance * float(window.square().sum())
    threshold = noise * (1 + 6 / math.sqrt(csi.shape[1]))
    relative = 10 ** (-_FIRST_PATH_THRESHOLD_DB / 10)
    level = torch.clamp(profile.amax(dim=1, keepdim=True) * relative, min=threshold)
    before, after = profile.roll(1, dims=1), profile.roll(-1, dims=1)
    is_peak = (profile >= before) & (profile > after) & (profile > level)
    first = is_peak.float().argmax(dim=1, keepdim=True)
    shift = _parabolic_shift(*(tensor_to_db(p.gather(1, first)) for p in (before, profile, after)))
    bins = (first + shift).squeeze(1) % num_bins
    found = is_peak.any(dim=1)
    return torch.where(found, bins * band.unambiguous_range_m / num_bins, 0.0), found


def _power_delay_profile(
    csi: Complex[Tensor, "link ant subcarrier"], num_bins: int
) -> Float[Tensor, "link bin"]:
    """Return the mean over antennas of |sum_k H_k exp(j 2 pi k b / num_bins)|^2 for all bins b.

    The power has lags below the number of tones only, so twice as many bins determine it; the
    others follow from them by exact trigonometric interpolation, at a fraction of the cost.
    """
    few = 2 * csi.shape[2]
    power = (torch.fft.ifft(csi, n=few) * few).abs().square().mean(dim=1)
    return torch.fft.irfft(torch.fft.rfft(power), n=num_bins).clamp(min=0) * (num_bins / few)


def estimate_aoa_profile(
    csi: Complex[Tensor, "link ant subcarrier"],
    panel: Panel,
    *,
    method: ProfileMethod = "bartlett",
    num_bins: int = NUM_AZIMUTH_BINS,
) -> Float[Tensor, "link azimuth"]:
    """Estimate the power over azimuth from boresight [dB], the largest over zenith.

    The covariance of the antennas is averaged over the tones. `bartlett` is the conventional
    beamformer, scaled so that one plane wave of gain g peaks at g; `capon` the minimum-variance
    one with 1 % diagonal loading; `music` the pseudo-spectrum of 5 sources, 0 dB at its maximum
    (Krim and Viberg, IEEE Signal Processing Magazine 13(4), 1996, eqs. 21, 26 and 31).
    """
    beams = _steering_grid(panel, num_bins, csi.device)
    flat = beams.flatten(0, 1)
    if method == "bartlett":
        power = _beam_power(csi, beams, panel)
    else:
        covariance = csi @ csi.mH / csi.shape[2]
        power = _capon(covariance, flat) if method == "capon" else _music(covariance, flat)
        power = power.reshape(-1, *beams.shape[:2])
    profile = tensor_to_db(power.amax(dim=1))
    return profile - profile.amax(dim=1, keepdim=True) if method == "music" else profile


def _steering_grid(
    panel: Panel, num_bins: int, device: torch.device
) -> Complex[Tensor, "zenith azimuth ant"]:
    """Return the array response over a grid in the panel's own zenith and azimuth."""
    azimuth = azimuth_bins(num_bins).to(device)
    edges = torch.linspace(0, math.pi, _NUM_ZENITH_BEAMS + 1, device=device)
    zenith = (edges[1:] + edges[:-1]) / 2
    y = torch.sin(zenith)[:, None] * torch.sin(azimuth)[None, :]
    z = torch.cos(zenith)[:, None].expand_as(y)
    cols = _centred_index(panel.num_cols, device) * panel.spacing_wavelengths
    rows = -_centred_index(panel.num_rows, device) * panel.spacing_wavelengths
    turns = (y[..., None] * cols)[..., :, None] + (z[..., None] * rows)[..., None, :]
    angle = 2 * math.pi * turns.flatten(-2)
    return torch.complex(torch.cos(angle), torch.sin(angle))


def _centred_index(count: int, device: torch.device) -> Float[Tensor, "{count}"]:
    return torch.arange(count, device=device, dtype=torch.float32) - (count - 1) / 2


def _beam_power(
    csi: Complex[Tensor, "link ant subcarrier"],
    beams: Complex[Tensor, "zenith azimuth ant"],
    panel: Panel,
) -> Float[Tensor, "link zenith azimuth"]:
    """Return a^H R a / N^2, first over the rows and then over the columns, which is separable."""
    grid = csi.reshape(len(csi), panel.num_cols, panel.num_rows, -1)
    steering = beams.reshape(*beams.shape[:2], panel.num_cols, panel.num_rows)
    centre = panel.num_cols // 2
    vertical = steering[:, 0, centre] / steering[:, 0, centre, :1]
    horizontal = steering[..., 0]
    rows = torch.einsum("zr,lcrk->lzck", vertical.conj(), grid)
    covariance = rows @ rows.mH / csi.shape[2]
    power = torch.einsum("zac,lzcd,zad->lza", horizontal.conj(), covariance, horizontal)
    return power.real.clamp(min=0) / panel.num_antennas**2


def _capon(
    covariance: Complex[Tensor, "link ant ant"], beams: Complex[Tensor, "beam ant"]
) -> Float[Tensor, "link beam"]:
    num_antennas = covariance.shape[-1]
    load = 0.01 * torch.diagonal(covariance, dim1=1, dim2=2).real.mean(dim=1)
    eye = torch.eye(num_antennas, device=covariance.device)
    loaded = covariance + load.clamp(min=1e-30)[:, None, None] * eye
    inverse = torch.linalg.inv(loaded)
    return 1 / torch.einsum("ba,lac,bc->lb", beams.conj(), inverse, beams).real.clamp(min=1e-30)


def _music(
    covariance: Complex[Tensor, "link ant ant"], beams: Complex[Tensor, "beam ant"]
) -> Float[Tensor, "link beam"]:
    num_sources = min(_MUSIC_SOURCES, covariance.shape[-1] - 1)
    _, vectors = torch.linalg.eigh(covariance)
    noise = vectors[..., : covariance.shape[-1] - num_sources]
    leak = torch.einsum("ba,lan->lbn", beams.conj(), noise).abs().square().sum(dim=-1)
    return 1 / leak.clamp(min=1e-12)


def _parabolic_shift(
    left: Float[Tensor, "*n"], middle: Float[Tensor, "*n"], right: Float[Tensor, "*n"]
) -> Float[Tensor, "*n"]:
    """Return the offset of a parabola's top from its middle point, in [-0.5, 0.5]."""
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / torch.where(curvature < 0, curvature, -1.0)
    return torch.where(curvature < 0, shift, 0.0).clamp(-0.5, 0.5)


def tensor_to_db(power: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return what `raymark.radio.levels.to_db` does, of a tensor [dB]."""
    return 10 * torch.log10(power.clamp(min=10 ** (FLOOR_DB / 10)))
