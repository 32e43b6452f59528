"""Tables and figures as methods of a dataset and of its links, for a session or a notebook.

What computes and draws them knows the reader and stands above it. It is imported by its name when
it is asked for, as pandas does it, so that reading needs no matplotlib and no arrow runs up.
"""

import importlib
from typing import TYPE_CHECKING, Any

from raymark.presenting import Presented

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_STATISTICS, _FIGURES = "raymark.dataset.link_statistics", "raymark.plots.selections"
_CATALOG, _WALKS = "raymark.catalog.getting", "raymark.dataset.walks"


def open_by_name(text: str) -> Any:
    """Return the published dataset that a text such as `name@1.0.0` names; None if it names none.

    Raises:
        ConfigError: If there is none of that name and version, or no index is set.
        DatasetError: If it cannot be fetched.
        SchemaError: If something was edited on its way.
    """
    return _call(_CATALOG, "open_if_named", text)


class DatasetViews(Presented):
    """Tables of a dataset."""

    __slots__ = ()

    def summary(self) -> "pd.DataFrame":
        """Return one row per scene and band: shares of the labels, and medians over links.

        Columns: scene, band, links, los_share, nlos_share, outage_share, median_gain_los_db,
        median_gain_nlos_db, median_num_paths and median_delay_spread_ns, these two over covered
        links, late_share_nlos and behind_share_nlos, the means over NLOS links of the share of
        power in paths longer than the band is unambiguous, and in paths that reach the panel from
        behind. What is over no link is `pandas.NA`.
        """
        table: pd.DataFrame = _call(_STATISTICS, "summarize_links", self)
        return table

    def walks(self) -> "pd.DataFrame":
        """Return one row per link that is on a track, in order of time: when and how fast.

        Columns: scene, site, ue_index, track_id, track_step, time_s (from the start of its track)
        and speed_m_s, `pandas.NA` on a track of one point.

        Raises:
            DatasetError: If its sampling has no tracks, or names no step_s.
        """
        table: pd.DataFrame = _call(_WALKS, "walk_table", self)
        return table


class LinkViews(Presented):
    """Tables and figures of the links of one scene at one band.

    All figures are drawn on the given axes, or on a new figure, and return their axes.
    """

    __slots__ = ()

    def table(self) -> "pd.DataFrame":
        """Return one row per link: place, label, number of paths, gain and spreads.

        The columns are those of `raymark.dataset.link_statistics.link_table`.
        """
        table: pd.DataFrame = _call(_STATISTICS, "link_table", self)
        return table

    def plot_los_map(self, *, ax: "Axes | None" = None) -> "Axes":
        """Draw the UEs by their label on a map, with sites and buildings."""
        return _draw("plot_los_map", self, ax=ax)

    def plot_coverage_map(self, *, ax: "Axes | None" = None) -> "Axes":
        """Draw the UEs coloured by their gain [dB] on a map, with sites and buildings."""
        return _draw("plot_coverage_map", self, ax=ax)

    def plot_gain_vs_distance(self, *, ax: "Axes | None" = None) -> "Axes":
        """Draw the gain of every covered link [dB] over its distance [m]."""
        return _draw("plot_gain_vs_distance", self, ax=ax)

    def plot_delay_spread_cdf(self, *, ax: "Axes | None" = None) -> "Axes":
        """Draw the CDF of the r.m.s. delay spread [ns]."""
        return _draw("plot_delay_spread_cdf", self, ax=ax)

    def plot_azimuth_spread_cdf(self, *, ax: "Axes | None" = None) -> "Axes":
        """Draw the CDF of the azimuth spread at the BS [deg]."""
        return _draw("plot_azimuth_spread_cdf", self, ax=ax)

    def plot_csi_magnitude(self, link: int, *, seed: int = 0, ax: "Axes | None" = None) -> "Axes":
        """Draw the noisy CSI of one link over antennas and tones [dB].

        Args:
            link: Its number among these links.
            seed: Root of the noise.
            ax: Where to draw; a new figure if not given.
        """
        return _draw("plot_csi_magnitude", self, link, seed=seed, ax=ax)

    def plot_angle_delay_profile(
        self, link: int, *, seed: int = 0, ax: "Axes | None" = None
    ) -> "Axes":
        """Draw the power of one link over azimuth and path length, with its true paths.

        Args:
            link: Its number among these links.
            seed: Root of the noise on the CSI.
            ax: Where to draw; a new figure if not given.
        """
        return _draw("plot_angle_delay_profile", self, link, seed=seed, ax=ax)


def _draw(name: str, *args: Any, **options: Any) -> "Axes":
    axes: Axes = _call(_FIGURES, name, *args, **options)
    return axes


def _call(module: str, name: str, *args: Any, **options: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*args, **options)
