"""The jobs of a run on a Dask cluster; dataset and run lie where all workers reach them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import Splits, load_task
from raymark.benchmark.worker import Outcome, fit_and_predict
from raymark.dataset import open_dataset
from raymark.errors import ClusterError
from raymark.work.processes import child_processes_allowed, run_jobs

if TYPE_CHECKING:
    from distributed import Client

JobT = TypeVar("JobT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJobs:
    """Calls functions for jobs on the workers of a cluster.

    Attributes:
        client: Its client.
        time_limit_s: Longest time of one job [s].
    """

    client: "Client"
    time_limit_s: float

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[JobT],
        arguments: Callable[[JobT], tuple[Any, ...]],
    ) -> Iterator[tuple[JobT, Any]]:
        """Yield every job with the function's result, or with the error that ended it.

        A job that raises is not tried again: it would raise again.

        Raises:
            ClusterError: If the scheduler is lost.
        """
        from raymark.work.dask_tasks import TaskKind, run_tasks  # noqa: PLC0415 - it imports Dask

        name = function.__name__.strip("_")
        kind = TaskKind(name=name, time_limit_s=self.time_limit_s, max_failures=1)
        for task in run_tasks(self.client, kind, function, jobs, arguments):
            yield task.job, task.result if task.error is None else ClusterError(task.error)


def fit_on_worker(
    model: ModelFolder,
    seed: int,
    task: Task,
    folders: tuple[Path, Path],
    window_size: int,
    with_csi: bool,
) -> Outcome:
    """Load the data of a cell, and fit in a process of its own, as on one machine.

    Args:
        model: What to fit.
        seed: Of the cell.
        task: Of the cell.
        folders: The dataset and the measurements.
        window_size: Of the suite.
        with_csi: Whether the model reads CSI.

    Raises:
        ScoringError: If the prediction cannot be stored.
    """
    dataset = open_dataset(folders[0])
    splits = Splits(dataset, window_size)
    data = load_task(task, seed, dataset, splits, folders[1], with_csi=with_csi)
    with child_processes_allowed():
        ((_, result),) = run_jobs(fit_and_predict, [model], lambda _: (model, seed, data), 1)
    if isinstance(result, BaseException):
        raise result
    return result
