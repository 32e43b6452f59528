"""The figures of the field, drawn from values alone.

Every `plot_x(data, *, ax=None)` draws on the given axes or on a new figure outside pyplot, and
returns the axes; nothing is shown or left open. The style applies to what is drawn only.
"""

from raymark.plots.curves import draw_learning_curves, plot_learning_curves
from raymark.plots.distributions import (
    free_space_gain_db,
    plot_azimuth_spread_cdf,
    plot_delay_spread_cdf,
    plot_gain_vs_distance,
)
from raymark.plots.links import (
    AngleDelayProfile,
    angle_delay_profile,
    plot_angle_delay_profile,
    plot_csi_magnitude,
)
from raymark.plots.maps import (
    SiteMark,
    gain_limits_db,
    plot_coverage_map,
    plot_error_map,
    plot_los_map,
    plot_scene_plan,
    plot_split_map,
)
from raymark.plots.posteriors import LinkPosterior, plot_link_posterior
from raymark.plots.style import (
    LABEL_STYLES,
    colorbar_beside,
    house_style,
    new_figure,
    require_figure_name,
    root_figure,
    save_figure,
    share_ranges,
)

__all__ = [
    "LABEL_STYLES",
    "AngleDelayProfile",
    "LinkPosterior",
    "SiteMark",
    "angle_delay_profile",
    "colorbar_beside",
    "draw_learning_curves",
    "free_space_gain_db",
    "gain_limits_db",
    "house_style",
    "new_figure",
    "plot_angle_delay_profile",
    "plot_azimuth_spread_cdf",
    "plot_coverage_map",
    "plot_csi_magnitude",
    "plot_delay_spread_cdf",
    "plot_error_map",
    "plot_gain_vs_distance",
    "plot_learning_curves",
    "plot_link_posterior",
    "plot_los_map",
    "plot_scene_plan",
    "plot_split_map",
    "require_figure_name",
    "root_figure",
    "save_figure",
    "share_ranges",
]
