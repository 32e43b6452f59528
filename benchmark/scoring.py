"""From stored predictions to every number of the board; nothing is taken from anywhere else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from raymark.benchmark.labels import label_masks
from raymark.benchmark.metrics import METRICS, PointErrors, Spread, point_errors, score
from raymark.benchmark.store import KEYS, Cell, CellResult, RunFolder, covariance_of
from raymark.benchmark.task import Task
from raymark.benchmark.truths import Truths
from raymark.errors import ScoringError, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCell:
    """The errors of one task, model and seed, in the order of the truth.

    Attributes:
        task: The task.
        result: How the predictions were made.
        errors: Statistics of the points that are `present`.
        present: False where a bound does not exist; True everywhere for a model.
        truth: One row per test link.
        is_detected: Which of them showed a path to this seed; None where that is not known.
    """

    task: Task
    result: CellResult
    errors: PointErrors
    present: Bool[np.ndarray, "link"]
    truth: pd.DataFrame
    is_detected: Bool[np.ndarray, "link"] | None = None

    @property
    def los(self) -> Int[np.ndarray, "point"]:
        """Label of each present point."""
        return self.truth["los"].to_numpy()[self.present]

    @property
    def masks(self) -> dict[str, Bool[np.ndarray, "point"]]:
        """Which present points each label takes."""
        detected = self.is_detected
        return label_masks(self.los, None if detected is None else detected[self.present])


def score_run(
    folder: RunFolder, submitted: Iterable[Cell] = (), *, truths: Truths | None = None
) -> list[ScoredCell]:
    """Score every finished cell of a run, and cells that were submitted.

    Args:
        folder: The run.
        submitted: The cells of models that were run elsewhere.
        truths: What to score with; the truth of the run, unchecked, if not given.

    Raises:
        ScoringError: If predictions were changed, do not fit the truth, or there are none.
    """
    truths = truths or Truths(folder)
    scored = [
        score_cell(cell, truths.of(cell.task), truths.detected(cell.task, cell.result.seed))
        for cell in (*folder.cells(), *submitted)
    ]
    if not scored:
        raise ScoringError(f"{folder.root} holds no finished cell; see `raymark bench run`")
    return scored


def score_cell(
    cell: Cell, truth: pd.DataFrame, is_detected: Bool[np.ndarray, "link"] | None = None
) -> ScoredCell:
    """Compare the predictions of one cell with the truth.

    Args:
        cell: The predictions.
        truth: One row per test link.
        is_detected: Which of these showed a path under the noise of the cell's seed, if known.

    Raises:
        ScoringError: If a point is missing, repeated, unknown or not finite.
    """
    where = f"{cell.task.id}, model '{cell.result.model}', seed {cell.result.seed}"
    is_bound = "error_m" in cell.predictions.columns
    rows = align(cell.predictions, truth, where=where, may_miss=is_bound)
    present = rows >= 0
    predictions = cell.predictions.iloc[rows[present]]
    if is_bound:
        errors = PointErrors(error_m=predictions["error_m"].to_numpy("f8"))
    else:
        try:
            errors = point_errors(
                predictions[["x_m", "y_m"]].to_numpy("f8"),
                truth[["x_m", "y_m"]].to_numpy("f8"),
                covariance_of(predictions),
            )
        except ScoringError as error:
            raise ScoringError(f"{where}: {error}") from error
    return ScoredCell(
        task=cell.task,
        result=cell.result,
        errors=errors,
        present=present,
        truth=truth,
        is_detected=is_detected,
    )


def align(
    predictions: pd.DataFrame, truth: pd.DataFrame, *, where: str, may_miss: bool = False
) -> Int[np.ndarray, "link"]:
    """Return the row of `predictions` for every row of `truth`; -1 where it may be missing.

    Raises:
        ScoringError: If a point is repeated, unknown or missing; the first is named.
    """
    asked, given = (
        pd.MultiIndex.from_frame(truth[KEYS]),
        pd.MultiIndex.from_frame(predictions[KEYS]),
    )
    if given.has_duplicates:
        raise ScoringError(f"{where}: link {_name(given[given.duplicated()])} is predicted twice")
    unknown = given[~given.isin(asked)]
    if len(unknown):
        raise ScoringError(
            f"{where}: link {_name(unknown)} is no test link of this task "
            f"({counted(len(unknown), 'link')})"
        )
    rows = given.get_indexer(asked)
    missing = asked[rows < 0]
    if len(missing) and not may_miss:
        count = counted(len(missing), "link")
        raise ScoringError(f"{where}: link {_name(missing)} is missing ({count})")
    return rows


def score_rows(cells: Sequence[ScoredCell]) -> pd.DataFrame:
    """Return one row per task, model, seed and label with all metrics; NA where one has no use."""
    rows = []
    for cell in cells:
        for label, mask in cell.masks.items():
            if mask.any():
                keys: dict[str, Any] = {
                    "task": cell.task.id,
                    "track": cell.task.track,
                    "shots": cell.task.shots,
                    "scene": cell.task.scene,
                    "band": cell.task.band,
                    "fold": cell.task.fold,
                    "gain_db": cell.task.gain_db,
                    "model": cell.result.model,
                    "seed": cell.result.seed,
                    "label": label,
                    "num_points": int(mask.sum()),
                }
                rows.append(keys | score(cell.errors, mask))
    return with_metric_columns(pd.DataFrame(rows)).astype(
        {"shots": "Int64", "fold": "Int64", "gain_db": "Float64"}
    )


def with_metric_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Give a table a column for every metric, with NA where one does not apply."""
    others = [name for name in table.columns if name not in METRICS]
    return table.reindex(columns=[*others, *METRICS]).astype(dict.fromkeys(METRICS, "Float64"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The points of one track, number of shots, scene and band, over all its folds.

    Attributes:
        key: (track, shots, scene, band).
        truth: One row per test link of every fold; `block` counts from 0, and is unique over folds.
        error_m: By model, the error of every seed at every present point [m].
        spread: By model that states covariances, its uncertainty at the same points, by seed.
        present: By model, which rows of `truth` its columns are.
        detected: By model, which rows of `truth` showed a path to each of its seeds; models without
            that are left out.
    """

    key: tuple[str, int | None, str, str]
    truth: pd.DataFrame
    error_m: dict[str, Float[np.ndarray, "_seed _point"]]
    spread: dict[str, tuple[Spread, ...]]
    present: dict[str, Bool[np.ndarray, "link"]]
    detected: dict[str, Bool[np.ndarray, "_seed link"]]

    def masks(self, model: str) -> dict[str, Bool[np.ndarray, "_seed _point"]]:
        """Return which points of each seed of a model each label takes; empty ones are left out."""
        present = self.present[model]
        los = self.truth["los"].to_numpy()[present]
        if model in self.detected:
            by_seed = [label_masks(los, detected[present]) for detected in self.detected[model]]
        else:
            by_seed = [label_masks(los)] * len(self.error_m[model])
        masks = {label: np.stack([own[label] for own in by_seed]) for label in by_seed[0]}
        return {label: mask for label, mask in masks.items() if mask.any()}

    def errors(self, model: str) -> list[PointErrors]:
        """Return the statistics of every seed of a model."""
        spreads = self.spread.get(model, (None,) * len(self.error_m[model]))
        return [
            PointErrors(error_m=error_m, spread=spread)
            for error_m, spread in zip(self.error_m[model], spreads, strict=True)
        ]

    @property
    def num_blocks(self) -> int:
        """Number of blocks that hold test links."""
        return int(self.truth["block"].max()) + 1


def group_cells(cells: Sequence[ScoredCell]) -> list[Group]:
    """Pool the folds of every cell; a model stands in a group only with all its folds and seeds."""
    by_key: dict[tuple[str, int | None, str, str], list[ScoredCell]] = {}
    for cell in cells:
        key = (cell.task.track, cell.task.shots, cell.task.scene, cell.task.band)
        by_key.setdefault(key, []).append(cell)
    return [_pool_folds(key, members) for key, members in by_key.items()]


def _pool_folds(key: tuple[str, int | None, str, str], cells: list[ScoredCell]) -> Group:
    folds = {cell.task.id: cell.truth for cell in cells}
    truth = pd.concat([table.assign(fold=task) for task, table in folds.items()])
    truth["block"] = pd.factorize(pd.MultiIndex.from_frame(truth[["fold", "block"]]))[0]
    group = Group(
        key=key,
        truth=truth.reset_index(drop=True),
        error_m={},
        spread={},
        present={},
        detected={},
    )
    for model in dict.fromkeys(cell.result.model for cell in cells):
        own = {(c.task.id, c.result.seed): c for c in cells if c.result.model == model}
        seeds = sorted({seed for _, seed in own})
        if len(own) == len(folds) * len(seeds):
            _add_model(group, model, [[own[task, seed] for task in folds] for seed in seeds])
    return group


def _add_model(group: Group, model: str, by_seed: list[list[ScoredCell]]) -> None:
    """Put the cells of a model, all its folds for every seed, into a group."""

    def joined(name: str, cells: list[ScoredCell]) -> np.ndarray:
        return np.concatenate([getattr(cell.errors.spread, name) for cell in cells])

    group.error_m[model] = np.stack(
        [np.concatenate([cell.errors.error_m for cell in cells]) for cells in by_seed]
    )
    group.present[model] = np.concatenate([cell.present for cell in by_seed[0]])
    every = [cell for cells in by_seed for cell in cells]
    if all(cell.errors.spread is not None for cell in every):
        group.spread[model] = tuple(
            Spread(
                mahalanobis_squared=joined("mahalanobis_squared", cells),
                log_det=joined("log_det", cells),
            )
            for cells in by_seed
        )
    found = [[c.is_detected for c in cells if c.is_detected is not None] for cells in by_seed]
    if sum(map(len, found)) == len(every):
        group.detected[model] = np.stack([np.concatenate(detected) for detected in found])


def _name(links: pd.MultiIndex) -> str:
    site, ue_index = links[0]
    return f"{site}/{ue_index}"
