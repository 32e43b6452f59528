"""Tasks on real workers: failures, deaths and hangs, and what becomes of the rest."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))  # of the workers, too: they inherit it

from cluster_jobs import (
    KILLER,
    die_at,
    die_once,
    double,
    hang_once,
    raise_for,
    worker_of,
)
from distributed import Client

from raymark.errors import ClusterError
from raymark.work.cluster import LocalCluster, Scheduler, open_cluster, wait_for_workers
from raymark.work.dask_workers import DaskWorkers
from raymark.work.executor import Finished, Shared, TaskKind

StartDask = Callable[..., subprocess.Popen[str]]
StartScheduler = Callable[..., tuple[Scheduler, subprocess.Popen[str]]]
KIND = TaskKind(name="test", max_failures=3)
NUM_JOBS = 1200
"""A few more than the window of two workers holds."""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    described = LocalCluster(num_workers=2)
    with open_cluster(described) as connected:
        wait_for_workers(connected, described)
        yield connected


def run(client: Client, function: Any, jobs: Any) -> dict[Any, Finished]:
    return {x.job: x for x in DaskWorkers(client).run(KIND, function, jobs, lambda job: (job,))}


@pytest.mark.slow
def test_all_results_come_back_when_there_are_more_jobs_than_the_window_holds(
    client: Client,
) -> None:
    taken = []
    jobs = (taken.append(i) or i for i in range(NUM_JOBS))
    found = DaskWorkers(client).run(KIND, double, jobs, lambda job: (job,))

    first = next(found)
    assert len(taken) < NUM_JOBS  # the rest waits here, not in the scheduler
    rest = list(found)

    assert sorted(x.result for x in [first, *rest]) == [2 * i for i in range(NUM_JOBS)]
    assert all(len(x.attempts) == 1 and x.error is None for x in rest)


@pytest.mark.slow
def test_job_is_recorded_after_three_attempts_when_it_raises(client: Client) -> None:
    found = run(client, raise_for, range(20))

    assert [x.job for x in found.values() if x.error] == [3]
    assert found[3].error == "UnsendableError: three is refused"
    assert "raise UnsendableError" in found[3].attempts[0].details
    first, second, third = (attempt.place for attempt in found[3].attempts)
    assert first != second  # after an error another worker tries
    assert third in (first, second)


@pytest.mark.slow
def test_job_finishes_when_its_worker_is_killed_once(client: Client, tmp_path: Path) -> None:
    jobs = [None, tmp_path / "killed", None, None]
    found = list(DaskWorkers(client).run(KIND, die_once, jobs, lambda job: (job,)))
    assert [x.result for x in found] == ["alive"] * 4
    assert (tmp_path / "killed").exists()


@pytest.mark.slow
def test_rest_finishes_when_one_job_kills_every_worker(client: Client) -> None:
    """Its neighbours wait on the same workers, and Dask gives up some of them, too."""
    blocks = [Shared(key=f"block {i}", value=i) for i in range(6)]
    kind = TaskKind(name="test", max_failures=1)

    found = {
        x.job: x
        for x in DaskWorkers(client).run(kind, die_at, range(60), lambda i: (i, blocks[i // 10]))
    }

    assert [x.job for x in found.values() if x.error] == [KILLER]
    assert found[KILLER].error is not None
    assert "its workers died 4 times" in found[KILLER].error
    assert len(found[KILLER].attempts) == 2  # among the others, and on a worker of its own
    assert all(x.result == (x.job, x.job // 10) for x in found.values() if x.job != KILLER)


@pytest.mark.slow
def test_job_finishes_elsewhere_when_native_code_hangs(client: Client, tmp_path: Path) -> None:
    workers = DaskWorkers(client, time_limit_s=3.0)
    jobs = [tmp_path / "hung", None]
    started = time.monotonic()

    found = list(workers.run(KIND, hang_once, jobs, lambda job: (job,)))

    assert [x.result for x in found] == ["back", "back"]
    assert (tmp_path / "hung").exists()
    assert time.monotonic() - started < 100  # of a thousand


@pytest.mark.slow
def test_jobs_of_a_shared_value_go_where_it_is_when_there_are_many_values(client: Client) -> None:
    values = {name: Shared(key=name, value=name) for name in "abcdefghij"}
    jobs = [(name, i) for name in values for i in range(10)]

    found = list(DaskWorkers(client).run(KIND, worker_of, jobs, lambda job: (values[job[0]],)))

    assert all(x.result[1] == x.job[0] for x in found)
    pairs = {x.result for x in found}
    assert len(pairs) < 16  # 10 if nothing moved, 20 if all values were wanted everywhere


@pytest.mark.slow
def test_run_ends_with_one_sentence_when_no_worker_comes_back(
    start_dask: StartDask, start_scheduler: StartScheduler
) -> None:
    here = str(Path(__file__).parent)
    described, _ = start_scheduler(
        DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT="2s", PYTHONPATH=here
    )
    arguments = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
    start_dask("worker", described.address, *arguments, PYTHONPATH=here)
    done = []

    with open_cluster(described) as connected:
        wait_for_workers(connected, described)
        found = DaskWorkers(connected).run(KIND, die_at, range(40), lambda i: (i, 0))
        with pytest.raises(ClusterError, match="there has been no worker for 2 s; nothing that"):
            done.extend(found)

    assert done
    assert all(x.error is None for x in done)  # nothing is held against what never ran
