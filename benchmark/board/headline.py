"""The cell that a board is ranked by, and the order of its models there."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

import pandas as pd

from raymark.benchmark.board.content import (
    EVERY,
    HEADLINE_LABELS,
    HEADLINE_METRICS,
    HEADLINE_TRACK,
    Board,
    ModelKind,
    ModelRow,
)
from raymark.benchmark.metrics import Measure
from raymark.benchmark.skill import SHOWN

_KINDS = get_args(ModelKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """Where the models are ranked: track, shots, label and metric."""

    track: str
    shots: int | None
    label: str
    metric: str


def headline(board: Board) -> Headline:
    """Return the headline cell, or the nearest one to it that the board has.

    A board without the track `unseen-nlos` is shown at its first ranked track, else its first.
    """
    names = [track.name for track in sorted(board.tracks, key=lambda track: not track.is_ranked)]
    track = HEADLINE_TRACK if HEADLINE_TRACK in names else next(iter(names), HEADLINE_TRACK)
    shots = next((t.shots[0] for t in board.tracks if t.name == track and t.shots), None)
    labels = set(board.summary.loc[board.summary["track"] == track, "label"]) or {*HEADLINE_LABELS}
    label = next((label for label in HEADLINE_LABELS if label in labels), EVERY)
    return ranking(board, track=track, shots=shots, label=label)


def ranking(board: Board, *, track: str, shots: int | None, label: str) -> Headline:
    """Return what the models are ranked by where track, shots and label are given."""
    *better, last = HEADLINE_METRICS
    for metric in better:
        at = Headline(track=track, shots=shots, label=label, metric=metric)
        if values_of(cell(board, at), metric):
            return at
    return Headline(track=track, shots=shots, label=label, metric=last)


def present_metrics(board: Board) -> list[str]:
    """Return the measures that the summary has, in the order of the registry."""
    return [name for name in SHOWN if name in board.summary]


def cell(board: Board, at: Headline, *, scene: str = EVERY, band: str = EVERY) -> pd.DataFrame:
    """Return the summary rows of one cell, indexed by model."""
    table, shots = board.summary, at.shots
    same_shots = table["shots"].isna() if shots is None else (table["shots"] == shots).fillna(False)
    chosen = (
        (table["track"] == at.track)
        & same_shots.astype(bool)
        & (table["label"] == at.label)
        & (table["scene"] == scene)
        & (table["band"] == band)
    )
    return table[chosen].set_index("model")


def values_of(table: pd.DataFrame, metric: str) -> dict[str, float]:
    """Return the metric of each model that has one in the cell."""
    known = {str(name): number(value) for name, value in table.get(metric, pd.Series()).items()}
    return {name: value for name, value in known.items() if value is not None}


def by_kind(models: Iterable[ModelRow]) -> list[ModelRow]:
    """Return models first, then references, then bounds, in their order otherwise."""
    return sorted(models, key=lambda model: _KINDS.index(model.kind))


def ranked(board: Board, values: Mapping[str, float], metric: Measure) -> list[ModelRow]:
    """Return all models of the board, best value first; references and bounds stand last."""

    def key(model: ModelRow) -> float:
        return cost(metric, values[model.name]) if model.name in values else math.inf

    return by_kind(sorted(board.models, key=key))


def ratio_to_best(metric: Measure, value: float | None, best: float | None) -> float | None:
    """Return how many times worse a value is than the best model's; None where that says nothing.

    >>> from raymark.benchmark.metrics import METRICS
    >>> ratio_to_best(METRICS["p90_m"], 6.0, 4.0), ratio_to_best(METRICS["coverage_90"], 0.8, 0.9)
    (1.5, None)
    """
    if metric.target is not None or not metric.has_ratios or not value or not best:
        return None
    return best / value if metric.higher_is_better else value / best


def cost(metric: Measure, value: float) -> float:
    """Return a number that is smaller for a better value of the metric.

    >>> from raymark.benchmark.metrics import METRICS
    >>> round(cost(METRICS["coverage_90"], 0.95), 2), cost(METRICS["share_under_1m"], 0.25)
    (0.05, -0.25)
    """
    if metric.target is not None:
        return abs(value - metric.target)
    return -value if metric.higher_is_better else value


def number(value: object) -> float | None:
    """Return a table's value as a float, or None where it has none."""
    missing = value is None or value is pd.NA or value != value  # noqa: PLR0124 - true of NaN
    return None if missing else float(str(value))
