"""From stored predictions to every number of the board; nothing is taken from anywhere else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from raymark.benchmark.metrics import METRICS, PointErrors, label_masks, point_errors, score
from raymark.benchmark.store import Cell, CellResult, RunFolder, covariance_of
from raymark.benchmark.task import Task
from raymark.benchmark.truths import KEYS, Truths
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
    """

    task: Task
    result: CellResult
    errors: PointErrors
    present: Bool[np.ndarray, "link"]
    truth: pd.DataFrame

    @property
    def los(self) -> Int[np.ndarray, "point"]:
        """Label of each present point."""
        return self.truth["los"].to_numpy()[self.present]


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
    scored = [score_cell(cell, truths.of(cell.task)) for cell in (*folder.cells(), *submitted)]
    if not scored:
        raise ScoringError(f"{folder.root} holds no finished cell; see `raymark bench run`")
    return scored


def score_cell(cell: Cell, truth: pd.DataFrame) -> ScoredCell:
    """Compare the predictions of one cell with the truth.

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
        task=cell.task, result=cell.result, errors=errors, present=present, truth=truth
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
        for label, mask in label_masks(cell.los).items():
            if mask.any():
                keys = {
                    "task": cell.task.id,
                    "track": cell.task.track,
                    "shots": cell.task.shots,
                    "scene": cell.task.scene,
                    "band": cell.task.band,
                    "fold": cell.task.fold,
                    "model": cell.result.model,
                    "seed": cell.result.seed,
                    "label": label,
                    "num_points": int(mask.sum()),
                }
                rows.append(keys | score(cell.errors, mask))
    return with_metric_columns(pd.DataFrame(rows)).astype({"shots": "Int64", "fold": "Int64"})


def with_metric_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Give a table a column for every metric, with NA where one does not apply."""
    others = [name for name in table.columns if name not in METRICS]
    return table.reindex(columns=[*others, *METRICS]).astype(dict.fromkeys(METRICS, "Float64"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The points of one track, number of shots, scene and band, over all its folds.

    Attributes:
        key: (track, shots, scene, band).
        truth: One row per test link of every fold; `block` is unique over folds.
        error_m: By model, the error of every seed at every present point [m].
        mahalanobis_squared: By model that states covariances, of the same shape.
        present: By model, which rows of `truth` its columns are.
    """

    key: tuple[str, int | None, str, str]
    truth: pd.DataFrame
    error_m: dict[str, Float[np.ndarray, "_seed _point"]]
    mahalanobis_squared: dict[str, Float[np.ndarray, "_seed _point"]]
    present: dict[str, Bool[np.ndarray, "link"]]


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
    error_m: dict[str, np.ndarray] = {}
    squared: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    for model in dict.fromkeys(cell.result.model for cell in cells):
        own = {(c.task.id, c.result.seed): c for c in cells if c.result.model == model}
        seeds = sorted({seed for _, seed in own})
        if len(own) < len(folds) * len(seeds):
            continue
        table = [[own[task, seed] for task in folds] for seed in seeds]
        error_m[model] = np.stack(
            [np.concatenate([c.errors.error_m for c in row]) for row in table]
        )
        present[model] = np.concatenate([c.present for c in table[0]])
        if all(c.errors.mahalanobis_squared is not None for c in own.values()):
            squared[model] = np.stack(
                [np.concatenate([c.errors.mahalanobis_squared for c in row]) for row in table]
            )
    return Group(
        key=key,
        truth=truth.reset_index(drop=True),
        error_m=error_m,
        mahalanobis_squared=squared,
        present=present,
    )


def _name(links: pd.MultiIndex) -> str:
    site, ue_index = links[0]
    return f"{site}/{ue_index}"
