"""Learning curves: what a model's losses and errors were, epoch by epoch."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from raymark.plots.style import axes_or_new, house_style, new_figure

_METRES = "_m"


@house_style()
def plot_learning_curves(
    curves: Mapping[str, Sequence[float]], quantity: str, *, ax: Axes | None = None
) -> Axes:
    """Draw curves of one quantity over the epochs; logarithmic where all values are positive.

    Args:
        curves: One number an epoch, by name; the first is epoch 1.
        quantity: What they are, with its unit.
        ax: Where to draw; a new figure if not given.
    """
    ax = axes_or_new(ax)
    for name, values in curves.items():
        label = name.removesuffix(_METRES).replace("_", " ")
        ax.plot(np.arange(1, len(values) + 1), values, label=label)
    drawn = [value for values in curves.values() for value in values]
    ax.set(xlabel="Epoch", ylabel=quantity)
    if drawn and min(drawn) > 0:
        ax.set_yscale("log")
        plain = FuncFormatter(lambda value, _position: f"{value:.3g}")
        ax.yaxis.set_major_formatter(plain)
        # Within a decade there may be no major tick to read the scale from.
        ax.yaxis.set_minor_formatter(plain if max(drawn) < 10 * min(drawn) else NullFormatter())
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if curves:
        ax.legend()
    return ax


def draw_learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Return a figure of all curves: losses on the left, lengths (names in `_m`) on the right."""
    groups = {"Loss": False, "Error [m]": True}
    panels = {
        quantity: {n: v for n, v in history.items() if n.endswith(_METRES) == is_length}
        for quantity, is_length in groups.items()
    }
    shown = {quantity: curves for quantity, curves in panels.items() if curves}
    figure, axes = new_figure(num_cols=max(1, len(shown)))
    for (quantity, curves), ax in zip(shown.items(), axes, strict=False):
        plot_learning_curves(curves, quantity, ax=ax)
    return figure
