"""The plan of a scene with sites that could be added to it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from raymark.dataset.buildings import HeightMap
from raymark.plots.maps import SiteMark, plot_scene_plan
from raymark.plots.style import SITE_COLOR, house_style, legend_below

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
    _draw_marks(ax, proposals[num_best:], marker="*", color=SITE_COLOR, label="other proposals")
    _draw_marks(ax, own_sites, marker="s", color=_OWN_COLOR, label="sites that it has")
    legend_below(ax, 3)
    return ax


def _draw_marks(
    ax: Axes, marks: Sequence[SiteMark], *, marker: str, color: str, label: str
) -> None:
    x, y = np.array([mark.position_m for mark in marks]).reshape(-1, 2).T
    look: dict[str, Any] = {"color": color, "markeredgecolor": "black", "markersize": 7}
    if len(marks):
        ax.plot(x, y, marker, zorder=4, label=label, **look)
    for mark in marks:
        _name_mark(ax, mark)


def _name_mark(ax: Axes, mark: SiteMark) -> None:
    name = ax.annotate(
        mark.name, mark.position_m, (4, 4), textcoords="offset points", fontsize="small", zorder=6
    )
    name.set_path_effects([withStroke(linewidth=2, foreground="white")])
