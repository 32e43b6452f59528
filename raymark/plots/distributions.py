"""Distributions over many links: gain against distance, and spreads as CDFs."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.plots.style import LABEL_STYLES, axes_or_new, house_style, legend_below
from raymark.radio.elements import ELEMENT_GAIN_DB
from raymark.radio.levels import FLOOR_DB, free_space_amplitude


def free_space_gain_db(
    distance_m: Float[np.ndarray, "*n"], carrier_hz: float
) -> Float[np.ndarray, "*n"]:
    """Return the gain between isotropic antennas [dB]."""
    return 20 * np.log10(free_space_amplitude(distance_m, carrier_hz))


@house_style()
def plot_gain_vs_distance(
    links: pd.DataFrame,
    carrier_hz: float,
    *,
    element_gain_db: float = ELEMENT_GAIN_DB["tr38901"],
    ax: Axes | None = None,
) -> Axes:
    """Draw the gain of every covered link over its distance, with the free-space lines.

    A LOS link near the panel's boresight lies about on the upper line, off boresight below it;
    reflections add a few dB. An NLOS link lies below. Links whose paths carry no power at this band
    have no gain to draw, and are counted.

    Args:
        links: Columns distance_m, gain_db (`FLOOR_DB` stands for no power) and los.
        carrier_hz: Carrier of the band [Hz].
        element_gain_db: Peak gain of the panel's element [dB], for the upper line.
        ax: Where to draw; a new figure if not given.
    """
    ax = axes_or_new(ax)
    has_power = links["gain_db"] > FLOOR_DB
    for label in (NLOS, LOS):
        rows, style = links[(links["los"] == label) & has_power], LABEL_STYLES[label]
        ax.scatter(
            rows["distance_m"],
            rows["gain_db"],
            s=10,
            linewidths=0,
            alpha=0.7,
            color=style.color,
            marker=style.marker,
            label=f"{style.name} ({len(rows)})",
        )
    num_dark = int(((links["los"] != OUTAGE) & ~has_power).sum())
    if num_dark:
        ax.plot([], [], " ", label=f"without power ({num_dark})")
    _draw_free_space(ax, links["distance_m"].to_numpy(), carrier_hz, element_gain_db)
    ax.set(xscale="log", xlabel="Distance [m]", ylabel="Channel gain [dB]")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    legend_below(ax, 2)
    return ax


def _draw_free_space(
    ax: Axes, distance_m: Float[np.ndarray, "link"], carrier_hz: float, element_gain_db: float
) -> None:
    low, high = (distance_m.min(), distance_m.max()) if len(distance_m) else (10.0, 100.0)
    line_m = np.geomspace(0.9 * low, 1.1 * high, 50)
    gain_db = free_space_gain_db(line_m, carrier_hz)
    ax.plot(line_m, gain_db, color="black", label="free space, isotropic")
    if element_gain_db:
        label = f"free space + {element_gain_db:.3g} dB element"
        ax.plot(line_m, gain_db + element_gain_db, color="black", linestyle=":", label=label)


@house_style()
def plot_delay_spread_cdf(links: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the CDF of the r.m.s. delay spread, a colour per band, solid NLOS, dashed LOS.

    Args:
        links: Columns band, los and delay_spread_ns; links in outage are left out.
        ax: Where to draw; a new figure if not given.
    """
    return _plot_spread(links, "delay_spread_ns", "RMS delay spread [ns]", ax)


@house_style()
def plot_azimuth_spread_cdf(links: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the CDF of the azimuth spread at the BS, a colour per band, solid NLOS, dashed LOS.

    Args:
        links: Columns band, los and azimuth_spread_deg; links in outage are left out.
        ax: Where to draw; a new figure if not given.
    """
    return _plot_spread(links, "azimuth_spread_deg", "Azimuth spread at the BS [deg]", ax)


def _plot_spread(links: pd.DataFrame, column: str, label: str, ax: Axes | None) -> Axes:
    ax = axes_or_new(ax)
    covered = links[links["los"] != OUTAGE]
    for i, (band, rows) in enumerate(covered.groupby("band", sort=False)):
        for los, linestyle in ((NLOS, "-"), (LOS, "--")):
            values = rows.loc[rows["los"] == los, column].to_numpy()
            if len(values):
                name = f"{band} {LABEL_STYLES[los].name} ({len(values)})"
                ax.ecdf(values, color=f"C{i}", linestyle=linestyle, label=name)
    ax.set(xlabel=label, ylabel="Share of links below", ylim=(0, 1))
    ax.set_xlim(left=0)
    legend_below(ax, max(1, covered["band"].nunique()))
    return ax
