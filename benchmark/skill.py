"""How models stand against each other over several cells: skill score and win rate.

Both are those of [fev2025], with a spatial block bootstrap in place of one over tasks: what is
asked is how far other places of the same scenes would change the ranking.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from raymark.benchmark.metrics import METRICS, Measure
from raymark.benchmark.statistics import Interval, Resamples, bounds

BASELINES = {"skill": "train_centroid", "skill_geometry": "aoa_toa"}
"""Models that are always run, by the score that takes them as its zero.

The one uses no radio at all, the other learns nothing but a threshold.
"""

RANKED_BY = ("median_m", "p90_m")
"""What skill and win rate compare."""

_LEAST_RATIO, _LARGEST_RATIO = 0.01, 100.0
_LEAST_ERROR_M = 1e-9

_TITLES = " and ".join(METRICS[name].title for name in RANKED_BY)


def _skill(name: str, title: str, baseline: str) -> Measure:
    return Measure(
        name=name,
        title=title,
        unit="",
        description=f"1 - G, where G is the geometric mean, over cells and over {_TITLES}, of the "
        f"error relative to that of {baseline}; 0 is no better than that, 100 % is no error",
        higher_is_better=True,
        has_ratios=False,
    )


SCORES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        _skill("skill", "Skill", "the train centroid, which uses no radio"),
        Measure(
            name="win_rate",
            title="Win rate",
            unit="",
            description=f"Share of the comparisons with the other models, over cells and over "
            f"{_TITLES}, that are won; a tie counts half",
            higher_is_better=True,
            has_ratios=False,
        ),
        _skill("skill_geometry", "Skill over geometry", "AoA + ToA geometry"),
    )
}
"""Measures that compare a model with others."""

SHOWN: dict[str, Measure] = {**SCORES, **METRICS}
"""All that a board shows of a model in a cell, in table order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errors:
    """Metrics of every model that has every cell; place 0 along `sample` is what was observed."""

    models: tuple[str, ...]
    values: Float[np.ndarray, "model sample cell metric"]
    has_points: Bool[np.ndarray, "sample cell"]
    num_blocks: int

    @classmethod
    def build(cls, cells: Sequence[Mapping[str, Resamples]], models: Iterable[str]) -> "_Errors":
        names = tuple(models)

        def of_cell(cell: Resamples) -> np.ndarray:
            return np.stack(
                [np.append(cell.observed[name], cell.resampled[name]) for name in RANKED_BY], axis=1
            )

        there = [np.logical_and.reduce([c[name].has_points for name in names]) for c in cells]
        return cls(
            models=names,
            values=np.stack(
                [np.stack([of_cell(cell[name]) for cell in cells], axis=1) for name in names]
            ),
            has_points=np.stack([np.append(True, own) for own in there], axis=1),
            num_blocks=min(cell[name].num_blocks for cell in cells for name in names),
        )

    def interval(self, values: Float[np.ndarray, "sample cell"]) -> Interval:
        """Return the mean over cells, and its interval over the resamples that have any."""
        weight = self.has_points.sum(axis=1)
        mean = (values * self.has_points).sum(axis=1) / np.maximum(weight, 1)
        low, high = bounds(mean[1:][weight[1:] > 0], self.num_blocks)
        return Interval(value=float(mean[0]), low=low, high=high)


def means_of(cells: Sequence[Mapping[str, Resamples]]) -> dict[str, dict[str, Interval]]:
    """Return the means over cells of each of `RANKED_BY`, by model that has every cell."""
    found: dict[str, dict[str, Interval]] = {}
    for name in complete_models(cells):
        errors = _Errors.build(cells, [name])
        found[name] = {
            metric: errors.interval(errors.values[0, :, :, i]) for i, metric in enumerate(RANKED_BY)
        }
    return found


def scores_of(
    cells: Sequence[Mapping[str, Resamples]], rivals: Collection[str]
) -> dict[str, dict[str, Interval]]:
    """Return skill and win rate by model, over cells in which its resamples were drawn alike.

    Args:
        cells: By model, its resamples in each cell. Models that lack a cell are left out.
        rivals: Models that compete: only they have a win rate; a reference has a skill alone.
    """
    names = complete_models(cells)
    found: dict[str, dict[str, Interval]] = {name: {} for name in names}
    competing = [name for name in names if name in rivals]
    for score, baseline in BASELINES.items():
        for name in names if baseline in names else ():
            errors = _Errors.build(cells, [name, baseline])
            ratio = errors.values[0] / np.maximum(errors.values[1], _LEAST_ERROR_M)
            log_ratio = np.log(np.clip(ratio, _LEAST_RATIO, _LARGEST_RATIO))
            found[name][score] = _finished(errors.interval(log_ratio.mean(axis=-1)))
    if len(competing) > 1:
        errors = _Errors.build(cells, competing)
        for i, name in enumerate(competing):
            others = np.delete(errors.values, i, axis=0)
            won = (errors.values[i] < others) + 0.5 * (errors.values[i] == others)
            found[name]["win_rate"] = errors.interval(won.mean(axis=(0, -1)))
    return found


def complete_models(cells: Sequence[Mapping[str, Resamples]]) -> list[str]:
    """Return the models that have every cell, in the order of the first."""
    return [name for name in cells[0] if all(name in cell for cell in cells)]


def _finished(mean_log: Interval) -> Interval:
    """Turn the mean of the logarithm of error ratios into a skill; the better end is the upper."""
    low, high = mean_log.low, mean_log.high
    return Interval(
        value=float(1 - np.exp(mean_log.value)),
        low=None if high is None else float(1 - np.exp(high)),
        high=None if low is None else float(1 - np.exp(low)),
    )
