"""One link seen closely: its CSI, and where and when its power arrives."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Complex, Float
from matplotlib.axes import Axes

from raymark.plots.style import axes_or_new, colorbar_beside, house_style
from raymark.radio import Band, Panel
from raymark.radio.fingerprints import azimuth_bins
from raymark.radio.frames import unit_vector
from raymark.radio.levels import to_db
from raymark.radio.synthesis import element_positions, subcarrier_frequencies

_NUM_ZENITH_BEAMS = 24
_DELAY_OVERSAMPLING = 4
_SHOWN_DB = 30.0
"""Range of levels below the maximum that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AngleDelayProfile:
    """Power over azimuth and path length, as an array can see it.

    Attributes:
        azimuth_rad: Centres of the bins, from the panel's boresight [rad].
        length_m: Delay times c [m].
        power_db: Level; a single path of gain g peaks at g [dB].
    """

    azimuth_rad: Float[np.ndarray, "azimuth"]
    length_m: Float[np.ndarray, "delay"]
    power_db: Float[np.ndarray, "azimuth delay"]


def angle_delay_profile(
    csi: Complex[np.ndarray, "ant subcarrier"], panel: Panel, band: Band
) -> AngleDelayProfile:
    """Beamform the CSI of one link and transform it to delays.

    The tones are Hann-windowed and zero-padded 4 times; at each delay and azimuth the largest
    power over the zenith counts (conventional beamformer, as in `estimate_aoa_profile`).

    Args:
        csi: Channel frequency response.
        panel: Geometry of the antennas.
        band: Grid of the tones.
    """
    num_tones = csi.shape[1]
    num_bins = _DELAY_OVERSAMPLING * num_tones
    window = np.hanning(num_tones + 2)[1:-1]
    response = np.fft.ifft(csi * (window / window.sum()), n=num_bins) * num_bins
    azimuth = azimuth_bins().numpy().astype("f8")
    beams = _beams(azimuth, panel)
    power = np.abs(beams.conj() @ response / panel.num_antennas) ** 2
    power = power.reshape(_NUM_ZENITH_BEAMS, len(azimuth), num_bins).max(axis=0)
    length_m = np.arange(num_bins) * band.unambiguous_range_m / num_bins
    return AngleDelayProfile(azimuth_rad=azimuth, length_m=length_m, power_db=to_db(power))


@house_style()
def plot_csi_magnitude(
    csi: Complex[np.ndarray, "ant subcarrier"], band: Band, *, ax: Axes | None = None
) -> Axes:
    """Draw |H| of one link over antennas and tones [dB].

    Args:
        csi: Channel frequency response.
        band: Grid of the tones.
        ax: Where to draw; a new figure if not given.
    """
    ax = axes_or_new(ax)
    level_db = to_db(np.abs(csi.astype("c16")) ** 2)
    offset_mhz = subcarrier_frequencies(band) / 1e6
    top = float(level_db.max())
    image = ax.pcolormesh(
        offset_mhz,
        np.arange(len(csi)),
        level_db,
        shading="nearest",
        vmin=max(float(level_db.min()), top - _SHOWN_DB),
        vmax=top,
        rasterized=True,
    )
    colorbar_beside(ax, image, "CSI magnitude |H| [dB]")
    ax.set(xlabel="Tone relative to the carrier [MHz]", ylabel="Antenna number")
    ax.grid(visible=False)
    return ax


@house_style()
def plot_angle_delay_profile(
    profile: AngleDelayProfile, *, paths: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the power of one link over azimuth and path length, with its true paths as circles.

    Args:
        profile: From `angle_delay_profile`.
        paths: Columns azimuth_deg (from boresight), length_m and power_db; a circle's area falls
            with the level below the strongest, and paths more than 30 dB below are left out.
        ax: Where to draw; a new figure if not given.
    """
    ax = axes_or_new(ax)
    top = float(profile.power_db.max())
    image = ax.pcolormesh(
        np.degrees(profile.azimuth_rad),
        profile.length_m,
        profile.power_db.T,
        shading="nearest",
        cmap="magma",
        vmin=top - _SHOWN_DB,
        vmax=top,
        rasterized=True,
    )
    colorbar_beside(ax, image, "Power [dB]")
    if paths is not None and len(paths):
        _draw_paths(ax, paths)
    ax.set(xlabel="Azimuth from boresight [deg]", ylabel="Delay times c [m]", xlim=(-90, 90))
    ax.set_xticks(np.arange(-90, 91, 30))
    ax.grid(visible=False)
    return ax


def _draw_paths(ax: Axes, paths: pd.DataFrame) -> None:
    below_db = paths["power_db"].max() - paths["power_db"].to_numpy()
    rows = paths[below_db <= _SHOWN_DB]
    sizes = 12 + 130 * (1 - below_db[below_db <= _SHOWN_DB] / _SHOWN_DB) ** 2
    ax.scatter(
        rows["azimuth_deg"],
        rows["length_m"],
        s=sizes,
        facecolors="none",
        edgecolors="#56B4E9",
        linewidths=1.2,
        label=f"true paths ({len(rows)})",
    )
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)


def _beams(
    azimuth_rad: Float[np.ndarray, "azimuth"], panel: Panel
) -> Complex[np.ndarray, "beam ant"]:
    """Return the array response over zenith (slow) and azimuth (fast) in the panel's frame."""
    zenith = (np.arange(_NUM_ZENITH_BEAMS) + 0.5) * np.pi / _NUM_ZENITH_BEAMS
    theta, phi = (angle.ravel() for angle in np.meshgrid(zenith, azimuth_rad, indexing="ij"))
    direction = unit_vector(theta, phi)
    result: Complex[np.ndarray, "beam ant"] = np.exp(
        2j * np.pi * direction @ element_positions(panel).T
    )
    return result
