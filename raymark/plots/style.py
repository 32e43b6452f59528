"""The house style: one style file, one set of colours, figures that never touch pyplot."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.errors import ConfigError
from raymark.storage.atomic import writable

_FORMATS = (".png", ".pdf", ".svg")
_STYLE_FILE = Path(__file__).with_name("raymark.mplstyle")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStyle:
    """How the links of one label are drawn: shape and colour both tell them apart."""

    name: str
    color: str
    marker: str


LABEL_STYLES = {
    OUTAGE: LabelStyle(name="outage", color="#000000", marker="x"),
    NLOS: LabelStyle(name="NLOS", color="#D55E00", marker="^"),
    LOS: LabelStyle(name="LOS", color="#0072B2", marker="o"),
}
"""Style of each value of `link/los` (colours of Okabe and Ito), in the order of drawing."""

_LABELS_INCHES = 0.5
"""Height of the tick labels and the axis label below the axes."""

SITE_COLOR = "#CC79A7"


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Apply the style file to what is drawn inside; usable as a decorator too."""
    with style.context(_STYLE_FILE):
        yield


class _ShownFigure(Figure):
    """A figure that notebooks show: they ask for it by this name, as pyplot knows nothing of it."""

    def _repr_png_(self) -> bytes:
        return _png(self)


class _ShownAxes(Axes):
    """Axes that notebooks show, with the whole figure around them."""

    def _repr_png_(self) -> bytes:
        return _png(root_figure(self))


@house_style()
def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi="figure", metadata={"Software": None})
    return file.getvalue()


@house_style()
def new_figure(
    num_rows: int = 1, num_cols: int = 1, *, panel_inches: tuple[float, float] = (6.0, 4.4)
) -> tuple[Figure, list[Axes]]:
    """Return a figure outside pyplot's list, and its axes row by row.

    It is freed like any other value, so that a loop over hundreds of figures leaves none open. A
    notebook shows the figure, and each of its axes as the whole figure.

    Args:
        num_rows: Rows of panels.
        num_cols: Columns of panels.
        panel_inches: Width and height of one panel [inch].
    """
    width, height = panel_inches
    figure = _ShownFigure(figsize=(width * num_cols, height * num_rows))
    shown = {"axes_class": _ShownAxes}
    return figure, list(figure.subplots(num_rows, num_cols, squeeze=False, subplot_kw=shown).flat)


def axes_or_new(ax: Axes | None) -> Axes:
    """Return the given axes, or those of a new figure."""
    return new_figure()[1][0] if ax is None else ax


def legend_below(ax: Axes, num_cols: int) -> None:
    """Put the legend under the axes, where it hides nothing; no legend if there is no entry."""
    if ax.get_legend_handles_labels()[0]:
        scale = root_figure(ax).dpi_scale_trans
        below = ax.transAxes + ScaledTranslation(0, -_LABELS_INCHES, scale)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=num_cols)


def colorbar_beside(ax: Axes, drawn: Any, label: str, *, extend: str = "neither") -> None:
    """Put a colour bar beside the axes, as tall as they are whatever their aspect.

    Args:
        ax: The axes.
        drawn: What was drawn with the colours.
        label: Quantity and unit.
        extend: Which ends of the scale are pointed: `min`, `max`, `both` or `neither`.
    """
    beside = ax.inset_axes((1.03, 0.0, 0.04, 1.0))
    root_figure(ax).colorbar(drawn, cax=beside, label=label, extend=extend)


def share_ranges(axes: Sequence[Axes]) -> None:
    """Give panels that are compared the same ranges, which hold what each of them shows."""
    for name in ("x", "y"):
        limits = [getattr(ax, f"get_{name}lim")() for ax in axes]
        low, high = min(low for low, _ in limits), max(high for _, high in limits)
        for ax in axes:
            ax.set(**{f"{name}lim": (low, high)})


def root_figure(ax: Axes) -> Figure:
    """Return the figure that holds the axes, through any subfigures."""
    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure


def require_figure_name(path: Path) -> None:
    """Check that a name is that of a figure, before it is drawn.

    Raises:
        ConfigError: If its ending is no format of a figure.
    """
    if path.suffix not in _FORMATS:
        raise ConfigError(f"{path}: a figure's name must end in {', '.join(_FORMATS)}")


@house_style()
def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; its format follows from the name.

    Raises:
        ConfigError: If the name's ending is no format of a figure.
        DatasetError: If the file cannot be written.
    """
    require_figure_name(path)
    # The version of matplotlib in the file's text would make the same figure differ by machine.
    metadata = {"Software": None} if path.suffix == ".png" else None
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata=metadata)
