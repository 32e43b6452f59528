"""The plan of a scene with sites that could be added to it."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from raymark.dataset.buildings import HeightMap
from raymark.plots.maps import SiteMark, plot_scene_plan
from raymark.plots.style import SITE_COLOR, house_style

_OWN_COLOR = "#009E73"


@house_style()
def plot_site_proposals(
    height_map: HeightMap,
    proposals: Sequence[SiteMark],
    *,
    num_best: int = 1,
    own_sites: Sequence[SiteMark] = (),
    links: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw proposed sites: the best with their sectors, the others and the scene's own as marks.

    Args:
        height_map: Heights above ground.
        proposals: Proposed sites, best first.
        num_best: How many of them are drawn with their sectors.
        own_sites: Sites that the scene has already.
        links: Outdoor points of the best, with columns x_m, y_m and los.
        ax: Where to draw; a new figure if not given.
    """
    ax = plot_scene_plan(height_map, proposals[:num_best], links=links, ax=ax)
    for mark in proposals[num_best:]:
        _draw_mark(ax, mark, marker="*", color=SITE_COLOR)
    for mark in own_sites:
        _draw_mark(ax, mark, marker="s", color=_OWN_COLOR)
    return ax


def _draw_mark(ax: Axes, mark: SiteMark, *, marker: str, color: str) -> None:
    x, y = mark.position_m
    ax.plot(x, y, marker, color=color, markeredgecolor="black", markersize=7, zorder=4)
    name = ax.annotate(
        mark.name, (x, y), (4, 4), textcoords="offset points", fontsize="small", zorder=6
    )
    name.set_path_effects([withStroke(linewidth=2, foreground="white")])
