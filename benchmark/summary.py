"""Summaries over seeds and folds: means, intervals, paired differences, curves and maps."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from raymark.benchmark.board import CDF_LEVELS, Cdf, ErrorMap
from raymark.benchmark.metrics import METRICS, PointErrors, label_masks, score
from raymark.benchmark.scoring import Group, with_metric_columns
from raymark.benchmark.statistics import (
    block_bootstrap,
    holm,
    paired_block_bootstrap,
    seed_deviation,
)
from raymark.seeding import child_generator

INTERVAL_METRICS = ("mse_m2", "median_m", "p90_m")
COMPARED_METRICS = ("mse_m2", "p90_m")
NUM_RESAMPLES = 1000


def summarize(
    groups: Sequence[Group], *, progress: Callable[[int], None] = lambda _count: None
) -> pd.DataFrame:
    """Return one row per group, label and model, and the means over scenes and bands.

    Metrics are means over seeds; `<metric>_std` is their unbiased deviation over seeds, and
    `<metric>_low` and `<metric>_high` the 95 % interval of the block bootstrap.
    """
    rows = []
    for group in groups:
        rows += [_summary_row(group, *choice) for choice in _choices(group)]
        progress(1)
    table = with_metric_columns(pd.DataFrame(rows).astype({"shots": "Int64"}))
    return pd.concat([table, *_means_over_cells(table)], ignore_index=True)


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
        rivals = [name for name in group.error_m if name in models]
        for label, mask in label_masks(group.truth["los"].to_numpy()).items():
            if mask.any() and len(rivals) > 1:
                for metric in COMPARED_METRICS:
                    rows += _compare_cell(group, rivals, label, mask, metric)
    columns = ["track", "shots", "scene", "band", "label", "metric", "model", "rival"]
    numbers = ["difference", "low", "high", "p_holm"]
    table = pd.DataFrame(rows, columns=columns + numbers)
    return table.astype({"shots": "Int64", **dict.fromkeys(numbers, "Float64")})


def cdfs_of(groups: Sequence[Group]) -> tuple[Cdf, ...]:
    """Return the quantiles of the pooled errors of every group, label and model."""
    return tuple(
        Cdf(
            **_keys_of(group),
            label=label,
            model=model,
            error_m=np.quantile(group.error_m[model][:, mask], CDF_LEVELS),
        )
        for group in groups
        for model, label, mask in _choices(group)
    )


def maps_of(groups: Sequence[Group]) -> tuple[ErrorMap, ...]:
    """Return where the errors of every group stand, for the first seed of each model."""
    return tuple(
        ErrorMap(
            **_keys_of(group),
            x_m=group.truth["x_m"].to_numpy("f8"),
            y_m=group.truth["y_m"].to_numpy("f8"),
            los=group.truth["los"].to_numpy("i8"),
            error_m={
                model: errors[0]
                for model, errors in group.error_m.items()
                if group.present[model].all()
            },
        )
        for group in groups
    )


def _choices(group: Group) -> Iterator[tuple[str, str, Bool[np.ndarray, "point"]]]:
    """Yield model, label and mask over the model's present points, where there are any."""
    los = group.truth["los"].to_numpy()
    for model, present in group.present.items():
        for label, mask in label_masks(los[present]).items():
            if mask.any():
                yield model, label, mask


def _keys_of(group: Group) -> dict[str, Any]:
    return dict(zip(("track", "shots", "scene", "band"), group.key, strict=True))


def _summary_row(
    group: Group, model: str, label: str, mask: Bool[np.ndarray, "point"]
) -> dict[str, Any]:
    errors = group.error_m[model]
    squared = group.mahalanobis_squared.get(model)
    by_seed = [
        score(
            PointErrors(error_m=e, mahalanobis_squared=None if squared is None else squared[i]),
            mask,
        )
        for i, e in enumerate(errors)
    ]
    block = group.truth["block"].to_numpy()[group.present[model]][mask]
    rng = child_generator(0, "bootstrap", *(str(part) for part in group.key), label)
    row: dict[str, Any] = {
        **_keys_of(group),
        "label": label,
        "model": model,
        "num_points": int(mask.sum()),
        "num_blocks": len(np.unique(block)),
    }
    for name in by_seed[0]:
        values = np.array([scores[name] for scores in by_seed])
        row[name], row[f"{name}_std"] = float(values.mean()), seed_deviation(values)
    intervals = block_bootstrap(
        errors[:, mask], block, INTERVAL_METRICS, rng=rng, num_resamples=NUM_RESAMPLES
    )
    for name, interval in intervals.items():
        row[f"{name}_low"], row[f"{name}_high"] = interval.low, interval.high
    return row


def _means_over_cells(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the means over scenes, over bands and over both, of models that have every cell."""
    means = []
    for over in (["scene"], ["band"], ["scene", "band"]):
        kept = [k for k in ("track", "shots", "scene", "band", "label", "model") if k not in over]
        numbers = list(METRICS)
        grouped = table.groupby(kept, dropna=False, sort=False)
        mean = grouped[numbers].mean()
        counts = grouped[["num_points", "num_blocks"]].sum()
        num_cells = grouped.size()
        complete = num_cells == num_cells.groupby(
            [k for k in kept if k != "model"], dropna=False
        ).transform("max")
        joined = counts.join(mean)[complete.to_numpy()].reset_index()
        means.append(joined.assign(**dict.fromkeys(over, "all")))
    return means


def _compare_cell(
    group: Group, models: list[str], label: str, mask: Bool[np.ndarray, "point"], metric: str
) -> list[dict[str, Any]]:
    block = group.truth["block"].to_numpy()[mask]
    value = {
        m: np.mean([METRICS[metric].reduce(PointErrors(error_m=e[mask])) for e in group.error_m[m]])
        for m in models
    }
    best = min(models, key=lambda m: value[m])
    rows: list[dict[str, Any]] = []
    for model in models:
        if model != best:
            rng = child_generator(0, "pairs", *(str(part) for part in group.key), label)
            found = paired_block_bootstrap(
                group.error_m[model][:, mask],
                group.error_m[best][:, mask],
                block,
                metric,
                rng=rng,
                num_resamples=NUM_RESAMPLES,
            )
            rows.append(
                {
                    **_keys_of(group),
                    "label": label,
                    "metric": metric,
                    "model": model,
                    "rival": best,
                    "difference": found.difference,
                    "low": found.low,
                    "high": found.high,
                    "p_holm": found.p_value,
                }
            )
    if all(row["p_holm"] is not None for row in rows):
        adjusted = holm(np.array([row["p_holm"] for row in rows]))
        rows = [row | {"p_holm": p} for row, p in zip(rows, adjusted.tolist(), strict=True)]
    return rows
