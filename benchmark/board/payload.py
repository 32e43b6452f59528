"""The data inside the page: a board as plain values, small enough to be embedded."""

import base64
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from raymark.benchmark.board.content import (
    AUDIT_COLUMNS,
    EVERY,
    Board,
    Cdf,
    ErrorMap,
    ModelRow,
)
from raymark.benchmark.board.headline import by_kind, headline, number, present_metrics
from raymark.benchmark.labels import LABEL_TITLES, LABELS
from raymark.benchmark.skill import SHOWN

SMALLEST_ERROR_M, DECADES = 1e-4, 9
"""Packed errors run from 0.1 mm over nine decades; smaller ones become the smallest."""

MAP_POINTS = 600
"""Points that a map shows at most; every k-th one of a larger cell."""

_CODES = 2**16 - 1
_KEYS = ("track", "scene", "band", "label", "model", "rival", "metric")


def page_data(board: Board) -> dict[str, Any]:
    """Return what the page's script reads: names once, tables by column, curves as base64."""
    start = headline(board)
    models = by_kind(board.models)
    names = {
        "track": [track.name for track in board.tracks],
        "scene": _names(board.summary["scene"]),
        "band": _names(board.summary["band"]),
        "label": list(LABELS),
        "model": [model.name for model in models],
        "metric": present_metrics(board),
    }
    names["rival"] = names["model"]
    return {
        "names": names,
        "label_titles": LABEL_TITLES,
        "num_scenes": board.suite.num_scenes,
        "start": {"track": start.track, "label": start.label, "metric": start.metric},
        "tracks": [
            {"name": t.name, "title": t.title, "about": t.description, "ranked": t.is_ranked}
            | {"shots": list(t.shots)}
            for t in board.tracks
        ],
        "models": [_model(model) for model in models],
        "metrics": [_metric(name) for name in names["metric"]],
        "summary": _columns(board.summary, names),
        "comparisons": _columns(board.comparisons, names),
        "budgets": _columns(board.budgets, names),
        "audits": _columns(board.audits.filter(list(AUDIT_COLUMNS)), {}),
        "scale": {"smallest_m": SMALLEST_ERROR_M, "decades": DECADES},
        "cdfs": [_cdf(cdf) for cdf in board.cdfs],
        "maps": [_map(item) for item in board.maps],
        "layouts": {
            scene: {
                "extent_m": [round_4(edge) for edge in layout.extent_m],
                "png": base64.b64encode(layout.png).decode(),
            }
            for scene, layout in board.layouts.items()
        },
        "sites": {
            scene: [{"name": name, "x": round_4(x_m), "y": round_4(y_m)} for name, (x_m, y_m) in of]
            for scene, of in ((scene, sites.items()) for scene, sites in board.sites_m.items())
        },
    }


def round_4(value: object) -> float | int | None:
    """Round to 4 significant digits; None where there is no finite number.

    >>> round_4(12.34567), round_4(20000.4), round_4(float("nan"))
    (12.35, 20000, None)
    """
    known = number(value)
    if known is None or not np.isfinite(known):
        return None
    rounded = float(f"{known:.4g}")
    return int(rounded) if rounded.is_integer() else rounded


def pack_errors(error_m: Float[np.ndarray, " point"]) -> str:
    """Pack errors [m] as base64 of little-endian 16-bit codes, 0.03 % apart on a log scale."""
    decades = np.log10(np.maximum(error_m, SMALLEST_ERROR_M) / SMALLEST_ERROR_M)
    return _pack(decades / DECADES)


def pack_positions(x_m: Float[np.ndarray, " point"]) -> dict[str, Any]:
    """Pack coordinates [m] as 16-bit codes between their extremes."""
    low, high = (float(x_m.min()), float(x_m.max())) if len(x_m) else (0.0, 0.0)
    return {"from": low, "to": high, "codes": _pack((x_m - low) / ((high - low) or 1.0))}


def _pack(share: np.ndarray) -> str:
    codes = np.rint(np.clip(share, 0.0, 1.0) * _CODES).astype("<u2")
    return base64.b64encode(codes.tobytes()).decode()


def _names(column: pd.Series) -> list[str]:
    """Return the names in a column as they first appear, the aggregate first."""
    found = [str(name) for name in column.unique()]
    return [EVERY] * (EVERY in found) + [name for name in found if name != EVERY]


def _columns(table: pd.DataFrame, names: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Return the columns as lists: positions in `names` for keys, rounded numbers for the rest."""
    packed: dict[str, list[Any]] = {}
    for column in table.columns:
        values = table[column].tolist()
        if column in names:
            index = {name: i for i, name in enumerate(names[column])}
            packed[column] = [index[value] for value in values]
        elif column in _KEYS:
            packed[column] = values
        elif not table[column].isna().all():
            packed[column] = [round_4(value) for value in values]
    return packed


def _model(model: ModelRow) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "kind": model.kind,
        "trajectory": model.is_trajectory,
        "verified": model.verified,
        "inputs": model.inputs,
        "pretraining": model.pretraining,
        "openness": model.openness,
        "replication": model.replication,
        "num_parameters": model.num_parameters,
        "fit_s": round_4(model.fit_s),
        "predict_ms_per_point": round_4(model.predict_ms_per_point),
        "peak_memory_mb": round_4(model.peak_memory_mb),
    }


def _metric(name: str) -> dict[str, Any]:
    metric = SHOWN[name]
    return {
        "name": name,
        "unit": metric.unit,
        "title": metric.title,
        "higher": metric.higher_is_better,
        "ratios": metric.has_ratios,
        "target": metric.target,
        "about": metric.description,
    }


def _cdf(cdf: Cdf) -> dict[str, Any]:
    return {
        "track": cdf.track,
        "shots": cdf.shots,
        "scene": cdf.scene,
        "band": cdf.band,
        "label": cdf.label,
        "model": cdf.model,
        "errors": pack_errors(cdf.error_m),
    }


def _map(item: ErrorMap) -> dict[str, Any]:
    step = max(1, -(-len(item.x_m) // MAP_POINTS))
    return {
        "track": item.track,
        "shots": item.shots,
        "scene": item.scene,
        "band": item.band,
        "num_points": len(item.x_m),
        "x": pack_positions(item.x_m[::step]),
        "y": pack_positions(item.y_m[::step]),
        "los": [int(label) for label in item.los[::step]],
        "heard": None if item.is_detected is None else item.is_detected[::step].tolist(),
        "errors": {model: pack_errors(e[::step]) for model, e in item.error_m.items()},
    }
