"""Budget curves: how errors fall, and links appear, with the processing gain of the receiver."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from raymark.benchmark.board.content import BUDGET_KEYS, EVERY
from raymark.benchmark.metrics import METRICS
from raymark.benchmark.scoring import Group, ScoredCell, group_cells
from raymark.benchmark.summary import keys_of, point_scores

_CELL = ["track", "shots", "label", "gain_db"]


def budget_curves(cells: Sequence[ScoredCell]) -> pd.DataFrame:
    """Return the metrics of every model by processing gain, for each cell and their means.

    A task without a gain of its own is the point at 0 dB. Tracks that were asked at no other gain
    have no curve. What is `detectable` differs from gain to gain; `detectable_share` says how much.

    Args:
        cells: All scored cells of a run.
    """
    curved = {cell.task.track for cell in cells if cell.task.gain_db is not None}
    by_gain: dict[float, list[ScoredCell]] = {}
    for cell in cells:
        if cell.task.track in curved:
            by_gain.setdefault(cell.task.gain_db or 0.0, []).append(cell)
    rows = [
        {"gain_db": gain_db, **row}
        for gain_db in sorted(by_gain)
        for group in group_cells(by_gain[gain_db])
        for row in _rows_of(group)
    ]
    table = pd.DataFrame(rows, columns=[*BUDGET_KEYS, *METRICS]).astype(
        {"shots": "Int64", **dict.fromkeys(["gain_db", "detectable_share", *METRICS], "Float64")}
    )
    return pd.concat([table, *_means(table)], ignore_index=True) if rows else table


def _rows_of(group: Group) -> list[dict[str, Any]]:
    return [
        {**keys_of(group), "label": label, "model": model, **point_scores(group, model, mask)}
        for model in group.error_m
        for label, mask in group.masks(model).items()
    ]


def _means(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the means over scenes, bands and both, of models that have every cell of a gain."""
    means = []
    for over in (["scene"], ["band"], ["scene", "band"]):
        kept = [*_CELL, *(name for name in ("scene", "band") if name not in over)]
        grouped = table.groupby([*kept, "model"], dropna=False, sort=False)
        mean = grouped[["detectable_share", *METRICS]].mean()
        num_cells = grouped.size()
        most = num_cells.groupby(kept, dropna=False).transform("max")
        complete = mean[(num_cells == most).to_numpy()].reset_index()
        means.append(complete.assign(**dict.fromkeys(over, EVERY)))
    return means
