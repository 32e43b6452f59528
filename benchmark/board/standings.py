"""The standings of a cell as columns of text, for the tables that need no browser."""

from dataclasses import dataclass

from raymark.benchmark.board.content import EVERY, Board
from raymark.benchmark.board.headline import (
    Headline,
    cell,
    number,
    ranked,
    ratio_to_best,
    values_of,
)
from raymark.benchmark.labels import LABEL_TITLES
from raymark.benchmark.metrics import Measure
from raymark.benchmark.skill import SHOWN

MISSING = "–"
RANK, MODEL, TOTAL, INTERVAL, RATIO = "#", "model", "all bands", "95 %", "ratio"
SECOND_METRICS = (
    "win_rate",
    "median_m",
    "p90_m",
    "share_under_1m",
    "share_under_3m",
    "mse_m2",
)
"""Shown beside the metric that is ranked by."""

SMALLEST_SHOWN = 0.001
_UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""From which number on, its divisor and its letter: four digits are still written out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the standings; `key` is one of the names above, a band or a metric."""

    key: str
    title: str
    texts: list[str]


def standings(board: Board, at: Headline, *, only: str | None = None) -> list[Column]:
    """Return the columns of the standings at a cell, all of the same length.

    Rows are models in the order of their rank, then references and bounds, which get none. A
    column that would be empty, such as the interval of an aggregate, is left out; rank, model,
    bands and total stay.

    Args:
        board: What to show.
        at: Track, shots, label and metric to show and rank by.
        only: Name of a model whose row alone is wanted, with its rank among all.
    """
    metric = SHOWN[at.metric]
    values = values_of(cell(board, at), at.metric)
    rows = ranked(board, values, metric)
    best = values.get(rows[0].name) if rows and rows[0].kind == "model" else None
    placed = [
        (str(place) if model.kind == "model" and model.name in values else "", model)
        for place, model in enumerate(rows, start=1)
        if only in {None, model.name}
    ]
    ranks, titles = [rank for rank, _ in placed], [model.title for _, model in placed]
    names = [model.name for _, model in placed]
    ratios = [shown_number(ratio_to_best(metric, values.get(name), best)) for name in names]
    totals = [shown_value(metric, values.get(name)) for name in names]
    always = [
        Column(key=RANK, title=RANK, texts=ranks),
        Column(key=MODEL, title=MODEL, texts=titles),
        *(_metric_column(board, at, names, band) for band in bands_of(board)),
        Column(key=TOTAL, title=TOTAL, texts=totals),
    ]
    more = [
        _interval_column(board, at, names),
        *(
            _second_column(board, at, names, other)
            for other in SECOND_METRICS
            if other != at.metric
        ),
        Column(key=RATIO, title=RATIO, texts=ratios),
    ]
    return always + [column for column in more if set(column.texts) - {MISSING}]


def bands_of(board: Board) -> list[str]:
    """Return the bands of the board, without the aggregate."""
    return [str(band) for band in board.summary["band"].unique() if band != EVERY]


def heading(board: Board, at: Headline) -> str:
    """Return what the standings show: track, shots, points and metric with its unit."""
    title = next((track.title for track in board.tracks if track.name == at.track), at.track)
    shots = "" if at.shots is None else f", {at.shots} shots"
    return f"{title}{shots}, {LABEL_TITLES[at.label]}: {titled(SHOWN[at.metric])}"


def titled(metric: Measure) -> str:
    """Return the title of a metric with its unit.

    >>> titled(SHOWN["mse_m2"]), titled(SHOWN["outlier_share"])
    ('MSE [m²]', 'Outliers [%]')
    """
    return f"{metric.title} [{metric.unit or '%'}]"


def shown_value(metric: Measure, value: object) -> str:
    """Return a metric's value as text; a share in percent, without the sign."""
    known = number(value)
    if known is not None and not metric.unit:
        return f"{100 * known:.1f}"
    return shown_number(known)


def shown_number(value: object) -> str:
    """Return three significant digits but at most three decimals, never in exponents.

    >>> [shown_number(value) for value in (0.0123, 9.999, 78166.0, 3e6, 0.0001, None)]
    ['0.012', '10.0', '78.2k', '3.00M', '<0.001', '–']
    """
    known = number(value)
    if known is None:
        return MISSING
    if 0 < abs(known) < SMALLEST_SHOWN:
        return f"<{SMALLEST_SHOWN}"
    rounded = float(f"{known:.3g}")
    least_unit = (unit for unit in _UNITS if abs(rounded) >= unit[0])
    _, divisor, letter = next(least_unit, (0.0, 1.0, ""))
    scaled = rounded / divisor
    digits = next((d for d, least in enumerate((100, 10, 1)) if abs(scaled) >= least), 3)
    return f"{scaled:.{digits}f}{letter}"


def _metric_column(board: Board, at: Headline, names: list[str], band: str) -> Column:
    values = values_of(cell(board, at, band=band), at.metric)
    metric = SHOWN[at.metric]
    return Column(key=band, title=band, texts=[shown_value(metric, values.get(n)) for n in names])


def _second_column(board: Board, at: Headline, names: list[str], other: str) -> Column:
    values = values_of(cell(board, at), other)
    texts = [shown_value(SHOWN[other], values.get(name)) for name in names]
    return Column(key=other, title=titled(SHOWN[other]), texts=texts)


def _interval_column(board: Board, at: Headline, names: list[str]) -> Column:
    metric, total = SHOWN[at.metric], cell(board, at)
    low, high = (values_of(total, f"{at.metric}_{end}") for end in ("low", "high"))
    texts = [
        f"{shown_value(metric, low[name])}–{shown_value(metric, high[name])}"
        if name in low and name in high
        else MISSING
        for name in names
    ]
    return Column(key=INTERVAL, title=INTERVAL, texts=texts)
