"""Where a located link may be: the posterior on the map, and the paths that speak for it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm
from matplotlib.patches import Ellipse, PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke

from raymark.dataset.buildings import BuildingPart
from raymark.errors import counted
from raymark.plots.maps import BUILDING_COLOR, finish_map
from raymark.plots.style import SITE_COLOR, axes_or_new, colorbar_beside, house_style

_FOUND_COLOR, _TRUE_COLOR, _PATH_COLOR = "#0072B2", "#D55E00", "#009E73"
"""Colours of Okabe and Ito; shapes tell them apart as well."""
_FADED = 1e-3
"""Shares below this part of the largest are not drawn."""
_MARGIN_M = 15.0
_SCALE_OF_90 = np.sqrt(-2 * np.log(1 - 0.9))
"""Radius of the ellipse that holds 90 % of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinkPosterior:
    """Where one link may be, on a map.

    Attributes:
        buildings: What stands there.
        site_m: x and y of the base station [m].
        point_m: x and y of the candidates, cells of a grid [m].
        share: Share of each in the posterior.
        spacing_m: Of the grid [m].
        position_m: Where the link was found [m].
        covariance_m2: About that [m^2].
        corner_m: Corners of the paths that explain what was measured, from the site on [m].
        num_paths: Paths that were measured.
        num_explained: How many of them the map has.
        true_m: Where the link really is; None if nobody knows [m].
    """

    buildings: tuple[BuildingPart, ...]
    site_m: tuple[float, float]
    point_m: Float[np.ndarray, "point 2"]
    share: Float[np.ndarray, "point"]
    spacing_m: float
    position_m: Float[np.ndarray, "2"]
    covariance_m2: Float[np.ndarray, "2 2"]
    corner_m: tuple[Float[np.ndarray, "_ 2"], ...]
    num_paths: int
    num_explained: int
    true_m: Float[np.ndarray, "2"] | None = None

    @property
    def error_m(self) -> float | None:
        """Distance of what was found from the truth; None if nobody knows it [m]."""
        if self.true_m is None:
            return None
        return float(np.linalg.norm(self.position_m - self.true_m))


@house_style()
def plot_link_posterior(
    link: LinkPosterior, *, radius_m: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the posterior of a link on the map, its paths through the city, and what was found.

    Args:
        link: What is drawn.
        radius_m: How far around the place that was found is shown; all that is drawn, from the
            site on, if not given [m].
        ax: Where to draw; a new figure if not given.
    """
    ax = axes_or_new(ax)
    _draw_buildings(ax, link)
    _draw_shares(ax, link)
    _draw_paths(ax, link)
    _draw_places(ax, link)
    shown = _shown(link) if radius_m is None else link.position_m[None]
    margin_m = _MARGIN_M if radius_m is None else radius_m
    low, high = shown.min(axis=0) - margin_m, shown.max(axis=0) + margin_m
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.set_title(_title(link) if radius_m is None else f"within {radius_m:g} m of the place found")
    finish_map(ax)
    return ax


def _title(link: LinkPosterior) -> str:
    explained = f"{link.num_explained} of {counted(link.num_paths, 'measured path')} explained"
    return explained if link.error_m is None else f"{explained}; error {link.error_m:.2f} m"


def _likely(link: LinkPosterior) -> np.ndarray:
    return np.asarray(link.share >= _FADED * link.share.max())


def _shown(link: LinkPosterior) -> Float[np.ndarray, "point 2"]:
    """Return all that the figure has to hold [m]."""
    places = [np.array([link.site_m]), link.position_m[None], *link.corner_m]
    if link.true_m is not None:
        places.append(link.true_m[None])
    return np.concatenate([*places, link.point_m[_likely(link)]])


def _draw_buildings(ax: Axes, link: LinkPosterior) -> None:
    patches = []
    for part in link.buildings:
        closed = [np.vstack([ring, ring[:1]]) for ring in part.rings_m]
        patches.append(PathPatch(Outline.make_compound_path(*map(Outline, closed))))
    look: dict[str, Any] = {"facecolor": BUILDING_COLOR, "edgecolor": "#8a8a8a", "linewidth": 0.3}
    ax.add_collection(PatchCollection(patches, zorder=0.5, **look))
    ax.plot([], [], "s", color=BUILDING_COLOR, label="building")


def _draw_shares(ax: Axes, link: LinkPosterior) -> None:
    """Draw cells of the grid as a raster; what lies between or is unlikely stays clear."""
    likely = _likely(link)
    cell = np.rint((link.point_m - link.point_m.min(axis=0)) / link.spacing_m).astype(int)
    raster = np.full(cell.max(axis=0) + 1, np.nan)
    raster[tuple(cell[likely].T)] = link.share[likely]
    low_m = link.point_m.min(axis=0) - link.spacing_m / 2
    edges = [
        low + link.spacing_m * np.arange(count + 1)
        for low, count in zip(low_m, raster.shape, strict=True)
    ]
    most = float(link.share.max())
    drawn = ax.pcolormesh(
        *edges,
        np.ma.masked_invalid(raster.T),
        cmap="magma_r",
        norm=LogNorm(_FADED * most, most),
        rasterized=True,
        zorder=1,
    )
    colorbar_beside(
        ax, drawn, f"Share of the posterior in a cell of {link.spacing_m:g} m", extend="min"
    )


def _draw_paths(ax: Axes, link: LinkPosterior) -> None:
    casing = [withStroke(linewidth=3.2, foreground="white")]
    look: dict[str, Any] = {"color": _PATH_COLOR, "linewidth": 1.6, "path_effects": casing}
    for corner_m in link.corner_m:
        ax.plot(*corner_m.T, zorder=3, **look)
        ax.plot(*corner_m[1:-1].T, ".", color=_PATH_COLOR, markersize=5, zorder=3.1)
    if link.corner_m:
        ax.plot([], [], color=_PATH_COLOR, label="path that explains")


def _draw_places(ax: Axes, link: LinkPosterior) -> None:
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.8, "linestyle": "none"}
    values, vectors = np.linalg.eigh(link.covariance_m2)
    width, height = 2 * _SCALE_OF_90 * np.sqrt(np.maximum(values, 0.0))
    turn_deg = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    place = tuple(link.position_m)
    look = {"fill": False, "edgecolor": _FOUND_COLOR, "linewidth": 1.2, "linestyle": "--"}
    ax.add_patch(Ellipse(place, width, height, angle=turn_deg, zorder=4, **look))
    ax.plot([], [], "--", color=_FOUND_COLOR, label="ellipse of 90 %")
    ax.plot(*link.site_m, "*", color=SITE_COLOR, markersize=14, zorder=5, label="BS", **edge)
    if link.true_m is not None:
        ax.plot(*link.true_m, "X", color=_TRUE_COLOR, markersize=10, zorder=5, label="true", **edge)
    ax.plot(*place, "o", color=_FOUND_COLOR, markersize=8, zorder=6, label="found", **edge)
