"""Summaries over seeds and folds: means, intervals, paired differences, curves and maps."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from raymark.benchmark.board import CDF_LEVELS, Cdf, ErrorMap
from raymark.benchmark.board.content import EVERY, SUMMARY_KEYS
from raymark.benchmark.metrics import METRICS, score
from raymark.benchmark.scoring import Group
from raymark.benchmark.skill import SHOWN, complete_models, means_of, scores_of
from raymark.benchmark.statistics import (
    Interval,
    Resamples,
    draw_blocks,
    holm,
    paired_difference,
    resample_blocks,
    seed_deviation,
)
from raymark.seeding import child_generator

INTERVAL_METRICS = ("median_m", "p90_m", "share_under_1m", "share_under_3m", "mse_m2")
COMPARED_METRICS = ("median_m", "p90_m")
NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """All models of one group under one label, with the rows of those."""

    scene: str
    band: str
    label: str
    rows: dict[str, dict[str, Any]]
    resamples: dict[str, Resamples]


def summarize(
    groups: Sequence[Group],
    models: Collection[str],
    *,
    progress: Callable[[int], None] = lambda _count: None,
) -> pd.DataFrame:
    """Return one row per group, label and model, and the means over scenes and bands.

    Metrics are means over seeds; `<metric>_std` is their unbiased deviation over seeds, and
    `<metric>_low` and `<metric>_high` the 95 % interval of the block bootstrap. Blocks are drawn
    once for all bands, labels and models of a scene, as these share its links.

    Args:
        groups: Scored cells.
        models: Which compete; references and bounds win and lose nothing.
        progress: Told of each group that is done.
    """
    rows: list[dict[str, Any]] = []
    for (track, shots), members in _by_question(groups).items():
        cells: list[_Cell] = []
        for group in members:
            cells += _cells_of(group)
            progress(1)
        for label in dict.fromkeys(cell.label for cell in cells):
            own = [cell for cell in cells if cell.label == label]
            question = {"track": track, "shots": shots, "label": label}
            rows += [question | row for row in _rows_of(own, models)]
    numbers = [name + end for name in SHOWN for end in ("", "_std", "_low", "_high")]
    table = pd.DataFrame(rows, columns=[*SUMMARY_KEYS, *numbers])
    kept = [name for name in numbers if name in SHOWN or table[name].notna().any()]
    types = dict.fromkeys(["detectable_share", *kept], "Float64")
    return table[[*SUMMARY_KEYS, *kept]].astype({"shots": "Int64", **types})


def compare(groups: Sequence[Group], models: Sequence[str]) -> pd.DataFrame:
    """Compare every model with the best one of its cell, on the same points and blocks.

    P-values are corrected by Holm's method over the models of a cell, label and metric. The best
    one is chosen on the same points, which makes small differences look somewhat larger.

    Args:
        groups: Scored cells.
        models: Which to compare; references and bounds are no rivals.
    """
    rows: list[dict[str, Any]] = []
    for group in groups:
        rivals = {name: group.masks(name) for name in group.error_m if name in models}
        for label in dict.fromkeys(label for masks in rivals.values() for label in masks):
            having = [name for name, masks in rivals.items() if label in masks]
            if len(having) > 1:
                found = {
                    name: _resamples(group, name, rivals[name][label], COMPARED_METRICS)
                    for name in having
                }
                for metric in COMPARED_METRICS:
                    keys = {**keys_of(group), "label": label, "metric": metric}
                    rows += [keys | row for row in _comparisons(found, metric)]
    columns = ["track", "shots", "scene", "band", "label", "metric", "model", "rival"]
    numbers = ["difference", "low", "high", "p_holm"]
    table = pd.DataFrame(rows, columns=columns + numbers)
    return table.astype({"shots": "Int64", **dict.fromkeys(numbers, "Float64")})


def cdfs_of(groups: Sequence[Group]) -> tuple[Cdf, ...]:
    """Return the quantiles of the pooled errors of every group, label and model."""
    return tuple(
        Cdf(
            **keys_of(group),
            label=label,
            model=model,
            error_m=np.quantile(group.error_m[model][mask], CDF_LEVELS),
        )
        for group in groups
        for model in group.error_m
        for label, mask in group.masks(model).items()
    )


def maps_of(groups: Sequence[Group]) -> tuple[ErrorMap, ...]:
    """Return where the errors of every group stand, for the first seed of each model.

    Which links show a path is told for the first seed of the first model that is told apart by it.
    """
    return tuple(
        ErrorMap(
            **keys_of(group),
            x_m=group.truth["x_m"].to_numpy("f8"),
            y_m=group.truth["y_m"].to_numpy("f8"),
            los=group.truth["los"].to_numpy("i8"),
            is_detected=next((seeds[0] for seeds in group.detected.values()), None),
            error_m={
                model: errors[0]
                for model, errors in group.error_m.items()
                if group.present[model].all()
            },
        )
        for group in groups
    )


def _by_question(groups: Sequence[Group]) -> dict[tuple[str, int | None], list[Group]]:
    found: dict[tuple[str, int | None], list[Group]] = {}
    for group in groups:
        track, shots, _, _ = group.key
        found.setdefault((track, shots), []).append(group)
    return found


def keys_of(group: Group) -> dict[str, Any]:
    """Return what names a group, as columns."""
    return dict(zip(("track", "shots", "scene", "band"), group.key, strict=True))


def _cells_of(group: Group) -> list[_Cell]:
    _, _, scene, band = group.key
    cells: dict[str, _Cell] = {}
    for model in group.error_m:
        for label, mask in group.masks(model).items():
            fresh = _Cell(scene=scene, band=band, label=label, rows={}, resamples={})
            cell = cells.setdefault(label, fresh)
            cell.rows[model] = point_scores(group, model, mask)
            cell.resamples[model] = _resamples(group, model, mask, INTERVAL_METRICS)
    return list(cells.values())


def point_scores(group: Group, model: str, mask: Bool[np.ndarray, "seed point"]) -> dict[str, Any]:
    """Return the metrics of a model at some points, means over the seeds that have any."""
    by_seed = [
        score(errors, own)
        for errors, own in zip(group.errors(model), mask, strict=True)
        if own.any()
    ]
    present = group.present[model]
    block = group.truth["block"].to_numpy()[present][mask.any(axis=0)]
    row: dict[str, Any] = {
        "num_points": round(mask.sum() / len(mask)),
        "num_blocks": len(np.unique(block)),
        "detectable_share": None,
    }
    if model in group.detected:
        row["detectable_share"] = float(group.detected[model][:, present][mask].mean())
    for name in by_seed[0]:
        values = np.array([scores[name] for scores in by_seed])
        row[name], row[f"{name}_std"] = float(values.mean()), seed_deviation(values)
    return row


def _resamples(
    group: Group, model: str, mask: Bool[np.ndarray, "seed point"], metrics: Sequence[str]
) -> Resamples:
    track, shots, scene, _ = group.key
    rng = child_generator(0, "bootstrap", track, str(shots), scene)
    return resample_blocks(
        group.error_m[model],
        group.truth["block"].to_numpy()[group.present[model]],
        metrics,
        draw_blocks(group.num_blocks, rng=rng, num_resamples=NUM_RESAMPLES),
        taken=mask,
    )


def _rows_of(cells: Sequence[_Cell], models: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the cells of one label, then those of their means."""
    for cell in cells:
        scores = scores_of([cell.resamples], models)
        for model, row in cell.rows.items():
            intervals = {name: cell.resamples[model].interval(name) for name in INTERVAL_METRICS}
            keys = {"scene": cell.scene, "band": cell.band, "model": model}
            yield keys | row | _columns(intervals | scores[model])
    for (scene, band), members in _selections(cells).items():
        resamples = [cell.resamples for cell in members]
        means, scores = means_of(resamples), scores_of(resamples, models)
        for model in complete_models(resamples):
            mean = _mean_row([cell.rows[model] for cell in members])
            keys = {"scene": scene, "band": band, "model": model}
            yield keys | mean | _columns(means[model] | scores[model])


def _selections(cells: Sequence[_Cell]) -> dict[tuple[str, str], list[_Cell]]:
    """Return the cells over which means are taken: all scenes of a band, all bands, and both."""
    scenes = list(dict.fromkeys(cell.scene for cell in cells))
    bands = list(dict.fromkeys(cell.band for cell in cells))
    places = [
        *((EVERY, band) for band in bands),
        *((scene, EVERY) for scene in scenes),
        (EVERY, EVERY),
    ]
    return {
        (scene, band): [c for c in cells if scene in (EVERY, c.scene) and band in (EVERY, c.band)]
        for scene, band in places
    }


def _mean_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return sums of counts and means of the rest, of what every cell has."""
    counts = {name: sum(row[name] for row in rows) for name in ("num_points", "num_blocks")}
    names = [
        name
        for name in ("detectable_share", *METRICS)
        if all(row.get(name) is not None for row in rows)
    ]
    return counts | {name: float(np.mean([row[name] for row in rows])) for name in names}


def _columns(intervals: dict[str, Interval]) -> dict[str, float | None]:
    ends = {f"{name}_low": found.low for name, found in intervals.items()}
    ends |= {f"{name}_high": found.high for name, found in intervals.items()}
    return {name: found.value for name, found in intervals.items()} | ends


def _comparisons(found: dict[str, Resamples], metric: str) -> list[dict[str, Any]]:
    """Compare each model with the best; p-values are corrected for their number."""
    best = min(found, key=lambda name: found[name].observed[metric])
    pairs = {
        name: paired_difference(own, found[best], metric)
        for name, own in found.items()
        if name != best
    }
    p_values = [pair.p_value for pair in pairs.values()]
    known = [p for p in p_values if p is not None]
    adjusted: list[float | None] = [None] * len(pairs)
    if len(known) == len(pairs):
        adjusted = list(holm(np.array(known)).tolist())
    return [
        {
            "model": name,
            "rival": best,
            "difference": pair.difference,
            "low": pair.low,
            "high": pair.high,
            "p_holm": p,
        }
        for (name, pair), p in zip(pairs.items(), adjusted, strict=True)
    ]
