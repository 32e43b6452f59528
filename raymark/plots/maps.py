"""Maps seen from above: coverage, line of sight, and the plan of a scene."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
from matplotlib.patches import Rectangle, Wedge
from matplotlib.patheffects import withStroke

from raymark.dataset.buildings import HeightMap
from raymark.dataset.schema import OUTAGE
from raymark.plots.style import (
    LABEL_STYLES,
    SITE_COLOR,
    axes_or_new,
    colorbar_beside,
    house_style,
    legend_below,
)

BUILDING_COLOR = "#b8b8b8"

BUILDING_HEIGHT_M = 2.0
"""Surfaces lower than this above ground are drawn as ground: kerbs, rounding on slopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMark:
    """A base station and the sector that it serves, as they are drawn.

    Attributes:
        name: Name of the site.
        position_m: x and y [m].
        azimuth_rad: Boresight, from +x towards +y [rad].
        half_width_rad: Half the opening of the sector [rad].
        range_m: Its radius [m].
    """

    name: str
    position_m: tuple[float, float]
    azimuth_rad: float
    half_width_rad: float
    range_m: float


@house_style()
def plot_coverage_map(
    links: pd.DataFrame,
    sites: Sequence[SiteMark],
    *,
    height_map: HeightMap | None = None,
    limits_db: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the UEs coloured by their gain [dB]; those in outage are crosses.

    Args:
        links: Columns x_m, y_m, los and gain_db (`raymark.dataset.link_statistics.link_table`).
        sites: Base stations.
        height_map: Buildings to draw below.
        limits_db: Ends of the colour scale [dB]; 2nd percentile and maximum if not given.
        ax: Where to draw; a new figure if not given.
    """
    ax = _new_map(sites, height_map, ax)
    covered = links[links["los"] != OUTAGE]
    low, high = limits_db or gain_limits_db(covered["gain_db"].to_numpy())
    points = ax.scatter(
        covered["x_m"], covered["y_m"], c=covered["gain_db"], vmin=low, vmax=high, **_dots(links)
    )
    _draw_label(ax, links, OUTAGE)
    is_cut = bool((covered["gain_db"] < low).any())
    colorbar_beside(ax, points, "Channel gain [dB]", extend="min" if is_cut else "neither")
    finish_map(ax)
    return ax


@house_style()
def plot_los_map(
    links: pd.DataFrame,
    sites: Sequence[SiteMark],
    *,
    height_map: HeightMap | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the UEs by their label: LOS, NLOS or outage, with the number of each.

    Args:
        links: Columns x_m, y_m and los.
        sites: Base stations.
        height_map: Buildings to draw below.
        ax: Where to draw; a new figure if not given.
    """
    ax = _new_map(sites, height_map, ax)
    for label in LABEL_STYLES:
        _draw_label(ax, links, label)
    finish_map(ax)
    return ax


@house_style()
def plot_error_map(
    links: pd.DataFrame,
    sites: Sequence[SiteMark],
    *,
    height_map: HeightMap | None = None,
    most_m: float = 100.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the UEs coloured by the error of their located positions.

    Args:
        links: Columns x_m, y_m and error_m.
        sites: Base stations.
        height_map: Buildings to draw below.
        most_m: Upper end of the colour scale [m].
        ax: Where to draw; a new figure if not given.
    """
    ax = _new_map(sites, height_map, ax)
    points = ax.scatter(
        links["x_m"], links["y_m"], c=links["error_m"], vmin=0.0, vmax=most_m, **_dots(links)
    )
    is_cut = bool((links["error_m"] > most_m).any())
    colorbar_beside(ax, points, "Position error [m]", extend="max" if is_cut else "neither")
    finish_map(ax)
    return ax


@house_style()
def plot_split_map(
    links: pd.DataFrame,
    *,
    height_map: HeightMap | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the UEs by the part of a split that they are in, with the number of each.

    Args:
        links: Columns x_m, y_m and part (a name: unused, train, validation, context or test).
        height_map: Buildings to draw below.
        ax: Where to draw; a new figure if not given.
    """
    ax = _new_map((), height_map, ax)
    for part, (color, marker) in _PART_STYLES.items():
        rows = links[links["part"] == part]
        if part == "context" and rows.empty:
            continue
        look = _dots(links) | {"c": color, "marker": marker, "label": f"{part} ({len(rows)})"}
        ax.scatter(rows["x_m"], rows["y_m"], **look)
    finish_map(ax)
    return ax


_PART_STYLES = {
    "unused": ("#999999", "."),
    "train": ("#56B4E9", "o"),
    "validation": ("#E69F00", "s"),
    "context": ("#009E73", "."),
    "test": ("#D55E00", "^"),
}
"""Colour (Okabe and Ito) and marker of each part, in the order of drawing."""


@house_style()
def plot_scene_plan(
    height_map: HeightMap,
    sites: Sequence[SiteMark],
    *,
    links: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the buildings of a scene by height, its sites with their sectors, and sampled UEs.

    Args:
        height_map: Heights above ground.
        sites: Base stations.
        links: UEs with columns x_m, y_m and los, if any.
        ax: Where to draw; a new figure if not given.
    """
    ax = axes_or_new(ax)
    image = _draw_heights(ax, height_map, cmap="cividis_r", norm=_height_scale(height_map))
    tallest_m, top_m = height_map.height_m.max(initial=0.0), image.norm.vmax
    title, is_cut = "Height above ground [m]", bool(tallest_m > top_m)
    title += f"; the tallest: {tallest_m:.0f}" if is_cut else ""
    colorbar_beside(ax, image, title, extend="max" if is_cut else "neither")
    for site in sites:
        _draw_site(ax, site)
    if links is not None:
        for label in LABEL_STYLES:
            _draw_label(ax, links, label, edge="white")
    _show_whole(ax, height_map, sites)
    finish_map(ax)
    return ax


def _new_map(sites: Sequence[SiteMark], height_map: HeightMap | None, ax: Axes | None) -> Axes:
    ax = axes_or_new(ax)
    if height_map is not None:
        # The light half of the greys only: the UEs must stand out.
        top_m = _height_scale(height_map).vmax or 1.0
        clipped = dataclasses.replace(height_map, height_m=np.minimum(height_map.height_m, top_m))
        _draw_heights(ax, clipped, cmap="Greys", norm=Normalize(-0.5 * top_m, 3 * top_m))
        ax.plot([], [], "s", color=BUILDING_COLOR, label="building")
    for site in sites:
        _draw_site(ax, site)
    return ax


def _show_whole(ax: Axes, height_map: HeightMap, sites: Sequence[SiteMark]) -> None:
    """Show the whole map, and the whole sector of every site."""
    corners = np.column_stack([height_map.x_m[[0, -1]], height_map.y_m[[0, -1]]])
    x, y = np.vstack([corners, *map(_outline, sites)]).T
    ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))


def _outline(site: SiteMark) -> Float[np.ndarray, "point 2"]:
    """Return the site and points along the arc of its sector [m]."""
    turn = np.linspace(-1, 1, 65) * site.half_width_rad + site.azimuth_rad
    arc = np.column_stack([np.cos(turn), np.sin(turn)]) * site.range_m
    return np.asarray(site.position_m) + np.vstack([[0.0, 0.0], arc])


def _height_scale(height_map: HeightMap) -> Normalize:
    """Return a scale up to the 99th percentile of the buildings: a tower must not rule it."""
    buildings = height_map.height_m[height_map.height_m >= BUILDING_HEIGHT_M]
    return Normalize(0.0, float(np.percentile(buildings, 99)) if buildings.size else 1.0)


def _draw_heights(ax: Axes, height_map: HeightMap, *, cmap: str, norm: Normalize) -> Any:
    heights = np.ma.masked_less(height_map.height_m, BUILDING_HEIGHT_M)
    return ax.pcolormesh(
        height_map.x_m, height_map.y_m, heights, cmap=cmap, norm=norm, rasterized=True, zorder=0.5
    )


def _once(ax: Axes, label: str) -> str:
    """Return a label for the legend, or one that it leaves out if it is there already."""
    return f"_{label}" if label in ax.get_legend_handles_labels()[1] else label


def _draw_site(ax: Axes, site: SiteMark) -> None:
    """Draw a site with its name, and the sector that it serves."""
    half, azimuth = np.degrees(site.half_width_rad), np.degrees(site.azimuth_rad)
    wedge = Wedge(
        site.position_m,
        site.range_m,
        azimuth - half,
        azimuth + half,
        facecolor="none",
        edgecolor=SITE_COLOR,
        linewidth=1.2,
        zorder=2,
        label=_once(ax, "sector"),
    )
    ax.add_patch(wedge)
    x, y = site.position_m
    ax.plot(x, y, "*", color=SITE_COLOR, markeredgecolor="black", markersize=13, zorder=5)
    ax.plot([], [], "*", color=SITE_COLOR, markeredgecolor="black", label=_once(ax, "BS"))
    name = ax.annotate(
        site.name, (x, y), (6, 6), textcoords="offset points", fontweight="bold", zorder=6
    )
    name.set_path_effects([withStroke(linewidth=3, foreground="white")])


def gain_limits_db(gain_db: Float[np.ndarray, "link"]) -> tuple[float, float]:
    """Return a scale that a few very weak links do not stretch."""
    if gain_db.size == 0:
        return 0.0, 1.0
    return float(np.percentile(gain_db, 2)), float(gain_db.max())


def _dots(links: pd.DataFrame) -> dict[str, Any]:
    """Return a size that keeps a few hundred points visible and many thousand apart."""
    return {"s": float(np.clip(6000 / max(len(links), 1), 2, 16)), "linewidths": 0.0, "zorder": 3}


def _draw_label(ax: Axes, links: pd.DataFrame, label: int, edge: str = "none") -> None:
    rows = links[links["los"] == label]
    style = LABEL_STYLES[label]
    look = _dots(links)
    if style.marker == "x":
        look["linewidths"] = 0.8
    elif edge != "none":
        look |= {"edgecolors": edge, "linewidths": 0.3, "s": look["s"] * 1.4}
    ax.scatter(
        rows["x_m"],
        rows["y_m"],
        color=style.color,
        marker=style.marker,
        label=f"{style.name} ({len(rows)})",
        **look,
    )


def finish_map(ax: Axes) -> None:
    """Give a map its axes, its legend and a bar of scale."""
    ax.set(xlabel="East x [m]", ylabel="North y [m]", aspect="equal")
    ax.grid(visible=False)
    legend_below(ax, 3)
    _add_scale_bar(ax)


def _add_scale_bar(ax: Axes) -> None:
    spans_m = np.abs(np.diff([ax.get_xlim(), ax.get_ylim()]))
    length_m = _round_length(float(spans_m.max()) / 5)
    bar = AuxTransformBox(ax.transData)
    bar.add_artist(Rectangle((0, 0), length_m, 0, edgecolor="black", facecolor="none", lw=2))
    stack = VPacker(children=[bar, TextArea(f"{length_m:g} m")], align="center", pad=0, sep=4)
    box = AnchoredOffsetbox("lower left", child=stack, pad=0.4, frameon=True)
    box.patch.set(alpha=0.8, edgecolor="none")
    box.set_zorder(7)
    ax.add_artist(box)


def _round_length(length_m: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(length_m))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length_m))
