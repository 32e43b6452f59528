"""Tasks on a Dask cluster: results as they come, failures counted, no more in flight than needed.

Dask already sends the task of a worker that died to another one, and gives it up after four deaths.
Added here is what it lacks: a time limit that also ends a task stuck in native code, a record of
every attempt, a bounded number of tasks in the scheduler, however many there are in all, and a
second trial for tasks that merely waited on the workers that another one killed.
"""

import contextlib
import faulthandler
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from distributed import Client, Future, KilledWorker, as_completed, get_worker
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from raymark.errors import ClusterError, sentence_of
from raymark.work.cluster.checks import require_workers
from raymark.work.executor import Attempt, Finished, Shared, TaskKind, attempted

JobT = TypeVar("JobT")

_LEAST_WINDOW, _WINDOW_PER_THREAD = 1000, 40
"""Tasks that the scheduler holds, each 3 kB: enough that every worker has several blocks of ten."""
_COUNT_EVERY_S = 30.0
"""How often the workers are counted, as more may join."""
_ONE_AT_A_TIME = threading.Lock()
"""Of a worker with several threads one computes: the ray tracer's state is that of its process."""


@dataclass(slots=True, kw_only=True)
class _Pending(Generic[JobT]):
    finished: Finished[JobT]
    arguments: tuple[Any, ...]
    refused: set[str] = field(default_factory=set)

    @property
    def shared(self) -> list[Shared]:
        return [x for x in self.arguments if isinstance(x, Shared)]

    @property
    def num_raised(self) -> int:
        return sum(x.error is not None and not x.killed for x in self.finished.attempts)


class DaskWorkers:
    """The workers of a Dask cluster, as an `Executor`."""

    def __init__(self, client: Client, *, time_limit_s: float = 3600.0, num_expected: int = 0):
        """Keep the client.

        Args:
            client: Client of the cluster.
            time_limit_s: Longest time of one call [s]; then its worker ends itself, and another
                tries.
            num_expected: Workers that will join in all, if more than those that are there.
        """
        self.client = client
        self._time_limit_s, self._num_expected = time_limit_s, num_expected

    @property
    def num_workers(self) -> int:
        """How many workers there are."""
        return len(self.client.nthreads())

    @property
    def num_expected(self) -> int:
        """How many there will be."""
        return max(self.num_workers, self._num_expected)

    def require_memory(self, memory_bytes: int) -> None:
        """Refuse work that needs more memory than a worker has.

        Raises:
            ConfigError: If one has less.
        """
        require_workers(self.client, memory_bytes=memory_bytes)

    def run(
        self,
        kind: TaskKind,
        function: Callable[..., Any],
        jobs: Iterable[JobT],
        arguments: Callable[[JobT], tuple[Any, ...]],
    ) -> Iterator[Finished[JobT]]:
        """Call `function` for every job on the workers, and yield each job when it is done.

        If the function raises, the next attempt goes to another worker, if there is one. If a
        worker dies, Dask holds it against all tasks that waited there: what it gives up for that is
        tried again when the rest is done, one on each worker, so that only a task that kills fails
        again. A job that has failed for good is yielded with its error, and the rest goes on.

        Args:
            kind: Name and patience.
            function: What to call; a name of a module. It may be called several times for a job.
            jobs: What to call it for, taken up as workers become free.
            arguments: Makes the arguments of a job, which are sent; a `Shared` one is sent once.

        Raises:
            ClusterError: If the scheduler is lost, or all workers for as long as Dask waits for
                one.
        """
        run: _Run[JobT] = _Run(self.client, kind, function, self._time_limit_s)
        suspects = []
        waiting = (_Pending(finished=Finished(job=job), arguments=arguments(job)) for job in jobs)
        for pending in run.ended(waiting, run.window):
            if pending.finished.attempts[-1].killed:
                suspects.append(pending)
            else:
                yield pending.finished
        for pending in run.ended(iter(suspects), run.num_workers, with_handles=False):
            yield pending.finished


class _Run(Generic[JobT]):
    """The futures of one run."""

    def __init__(
        self, client: Client, kind: TaskKind, function: Callable[..., Any], time_limit_s: float
    ) -> None:
        self._client, self._kind, self._function = client, kind, function
        self._time_limit_s = time_limit_s
        self._pending: dict[str, _Pending[JobT]] = {}
        self._handles: dict[str, Future] = {}
        self._num_users: Counter[str] = Counter()
        self._token, self._number = os.urandom(4).hex(), 0
        self._threads: dict[str, int] = {}
        self._counted_s = -math.inf

    def window(self) -> int:
        """Return how many tasks the scheduler shall hold."""
        return max(_LEAST_WINDOW, _WINDOW_PER_THREAD * sum(self._workers().values()))

    def num_workers(self) -> int:
        """Return how many workers there are; 1 if all are being started again."""
        return max(1, len(self._workers()))

    def ended(
        self,
        waiting: Iterator[_Pending[JobT]],
        limit: Callable[[], int],
        *,
        with_handles: bool = True,
    ) -> Iterator[_Pending[JobT]]:
        """Keep `limit` tasks in flight, and yield what is done, has failed or was given up."""
        done = as_completed(loop=self._client.loop, raise_errors=False)

        def submit(pending: _Pending[JobT]) -> None:
            done.add(self._submit(pending, with_handles=with_handles))

        def fill() -> None:
            for pending in islice(waiting, max(0, limit() - done.count())):
                submit(pending)

        fill()
        for future in done:
            if future.status == "pending":  # its worker died before the result was fetched
                done.add(future)
                continue
            pending = self._take(future)
            last = pending.finished.attempts[-1]
            if last.error and not last.killed and pending.num_raised < self._kind.max_failures:
                submit(pending)
                continue
            yield pending
            fill()

    def _workers(self) -> dict[str, int]:
        now_s = time.monotonic()
        if now_s - self._counted_s > _COUNT_EVERY_S:
            with contextlib.suppress(OSError):  # a lost scheduler is told of by its tasks
                self._threads = self._client.nthreads()
            self._counted_s = now_s
        return self._threads

    def _submit(self, pending: _Pending[JobT], *, with_handles: bool) -> Future:
        self._number += 1
        key = f"{self._kind.name}-{self._token}-{self._number}"
        self._pending[key] = pending
        self._num_users.update(shared.key for shared in pending.shared)
        arguments = [
            self._handle(x) if with_handles and isinstance(x, Shared) else x
            for x in pending.arguments
        ]
        others = self._others(pending.refused)
        return self._client.submit(
            _call,
            self._function,
            self._time_limit_s,
            *arguments,
            key=key,
            pure=False,
            workers=others or None,
            allow_other_workers=bool(others),
        )

    def _take(self, future: Future) -> _Pending[JobT]:
        """Note how an attempt went."""
        pending = self._pending.pop(future.key)
        pending.finished.result, attempt, address = self._outcome(future)
        pending.finished.attempts.append(attempt)
        if address is not None and attempt.error is not None:
            pending.refused.add(address)
        future.release()
        for shared in pending.shared:
            self._num_users[shared.key] -= 1
            if not self._num_users[shared.key]:
                self._handles.pop(shared.key, None)
        return pending

    def _outcome(self, future: Future) -> tuple[Any, Attempt, str | None]:
        try:
            result, attempt, address = future.result()
        except KilledWorker as error:
            text = (
                f"its workers died {error.allowed_failures + 1} times: killed, out of memory, or "
                f"beyond the time limit of {self._time_limit_s:g} s"
            )
            return None, Attempt(place=str(error.last_worker), error=text, killed=True), None
        except CancelledError as error:
            raise ClusterError(
                "the scheduler of the workers is gone; nothing that was finished is lost: start it "
                "and run the same command again"
            ) from error
        except (NoWorkerError, NoValidWorkerError) as error:
            raise ClusterError(
                f"there has been no worker for {error.timeout:.0f} s; nothing that was finished is "
                "lost: start some and run the same command again"
            ) from error
        except Exception as error:  # such as a result or a function that cannot be sent
            return None, Attempt(place="unknown", error=sentence_of(error)), None
        return result, attempt, address

    def _handle(self, shared: Shared) -> Future:
        if shared.key not in self._handles:
            key = f"{self._kind.name}-shared-{self._token}-{self._number}"
            self._handles[shared.key] = self._client.submit(_identity, shared, key=key)
        return self._handles[shared.key]

    def _others(self, refused: set[str]) -> list[str]:
        if not refused:
            return []
        return [a for a in self._client.scheduler_info(n_workers=-1)["workers"] if a not in refused]


def _identity(shared: Shared) -> Shared:
    return shared


def _call(
    function: Callable[..., Any], time_limit_s: float, *arguments: Any
) -> tuple[Any, Attempt, str]:
    """Run on a worker; what goes wrong is returned, as not every exception can be sent."""
    address = get_worker().address
    with _ONE_AT_A_TIME:
        # The timer is one of C: it ends the process even if native code never gives control back.
        faulthandler.dump_traceback_later(time_limit_s, exit=True, file=2)
        try:
            result, attempt = attempted(function, arguments, address=address)
        finally:
            faulthandler.cancel_dump_traceback_later()
    return result, attempt, address
