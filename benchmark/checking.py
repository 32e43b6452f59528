"""Check a submission before it is handed in, and show the row that it would get."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from raymark.benchmark.board import Board
from raymark.benchmark.pretraining import refuse_test_links
from raymark.benchmark.publication import Progress, build_board
from raymark.benchmark.store import Cell, ModelRecord, RunFolder
from raymark.benchmark.submission import read_submission
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Suite
from raymark.benchmark.task_links import truth_of
from raymark.dataset import Dataset
from raymark.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSubmission:
    """A submission in which nothing is wrong.

    Attributes:
        record: What it says of its model.
        cells: Its predictions.
        board: The board of a run on which it stands beside the others, if a run was given.
    """

    record: ModelRecord
    cells: list[Cell]
    board: Board | None


def check_submission(  # noqa: PLR0913 - the choices of the command line
    folder: Path,
    suite: Suite,
    dataset: Dataset,
    *,
    runs: Path | None = None,
    pretraining: Sequence[Dataset] = (),
    built_in: Collection[str] = (),
    progress: Progress = lambda _stage, _done, _total: None,
) -> CheckedSubmission:
    """Read a submission, check it, and put it beside the models of a run.

    Args:
        folder: The submission.
        suite: The suite that it names.
        dataset: The dataset of the suite.
        runs: A run of the suite, to rank the submission in.
        pretraining: Datasets that it states as pretraining data, to be searched for test UEs.
        built_in: Names of the models that ship, which no submission may have.
        progress: Told how far each stage is.

    Raises:
        ConfigError: If the dataset or the run is of another suite, or the submission is none or
            wrong.
        ScoringError: If predictions do not fit the truth, or pretraining data hold a test UE or are
            not stated.
    """
    require_dataset(suite, dataset)
    if runs is not None and RunFolder(runs).info().suite != suite:
        raise ConfigError(f"{runs} is a run of another suite than {suite.name}@{suite.version}")
    splits = Splits(dataset, suite.window_size)
    record, cells = read_submission(
        folder,
        suite,
        lambda task: truth_of(task, dataset, splits),
        built_in=built_in,
        progress=progress,
    )
    tasks = {cell.task.slug: cell.task for cell in cells}.values()
    truths = [truth_of(task, dataset, splits) for task in tasks]
    refuse_test_links(record.trust.pretraining or (), pretraining, truths)
    board = None
    if runs is not None:
        board = build_board(RunFolder(runs), [(record, cells)], dataset=dataset, progress=progress)
    return CheckedSubmission(record=record, cells=cells, board=board)
