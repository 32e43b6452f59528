"""Who does the work: this process, processes of this machine, or the workers of a cluster.

A use case hands its jobs to an `Executor` and takes them back as they finish; where they are done
changes neither its loop nor its results.
"""

import os
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from raymark.errors import sentence_of
from raymark.work.fresh import FreshProcesses

JobT = TypeVar("JobT")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """What jobs of one kind have in common.

    Attributes:
        name: What they are called where one can watch them.
        max_failures: How often a job may raise, where there are other workers to try it.
    """

    name: str
    max_failures: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution of a job.

    Attributes:
        place: Host, process and address of the worker, as far as known.
        seconds: How long it took [s]; None if its worker did not live to tell.
        error: Sentence of the error; None if it succeeded.
        details: The traceback.
        killed: Whether it was given up, as one worker after the other died that held it.
    """

    place: str
    seconds: float | None = None
    error: str | None = None
    details: str = ""
    killed: bool = False


@dataclass(slots=True, kw_only=True)
class Finished(Generic[JobT]):
    """A job that has a result, or that has failed for good.

    Attributes:
        job: What it was.
        result: What the function returned; None if it failed.
        attempts: All executions that were heard of, the last one last; none by this process.
    """

    job: JobT
    result: Any = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def error(self) -> str | None:
        """Why it failed; None if it did not."""
        return self.attempts[-1].error if self.attempts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A value that is small to send and dear to be made use of, such as the name of a scene.

    The jobs that share it run on the worker that holds it: what that worker has built from it, and
    keeps, serves again. A function receives the value itself.

    Attributes:
        key: Its name, the same for equal values.
        value: The value.
    """

    key: str
    value: Any


@runtime_checkable
class Executor(Protocol):
    """Calls a function for many jobs."""

    @property
    def num_workers(self) -> int:
        """How many jobs run at once now."""

    @property
    def num_expected(self) -> int:
        """How many run at once when everybody has joined."""

    def require_memory(self, memory_bytes: int) -> None:
        """Refuse work that needs more memory than each of those who do it has.

        Raises:
            ConfigError: If it does.
        """

    def run(
        self,
        kind: TaskKind,
        function: Callable[..., Any],
        jobs: Iterable[JobT],
        arguments: Callable[[JobT], tuple[Any, ...]],
    ) -> Iterator[Finished[JobT]]:
        """Call `function` for every job, and yield each job when it is done.

        Args:
            kind: Name and patience.
            function: What to call; a name of a module.
            jobs: What to call it for, taken up as workers become free.
            arguments: Makes the arguments of a job, here, shortly before it starts.
        """


Workers = AbstractContextManager[Executor]
"""Whoever will do the work: started when it is entered, and ended on the way out."""


class ThisProcess:
    """One job after the other, here, with all threads; what a job raises is raised at once."""

    num_workers = num_expected = 1

    def require_memory(self, memory_bytes: int) -> None:
        """Refuse nothing: this process does what it can."""

    def run(
        self,
        kind: TaskKind,  # noqa: ARG002 - nobody else could try a job again
        function: Callable[..., Any],
        jobs: Iterable[JobT],
        arguments: Callable[[JobT], tuple[Any, ...]],
    ) -> Iterator[Finished[JobT]]:
        """Call `function` for every job in turn; see `Executor`."""
        for job in jobs:
            yield Finished(job=job, result=function(*values_of(arguments(job))))


class ThisMachine:
    """Several jobs at once, here; their functions compute in fresh processes (`run_fresh`).

    A job that fails is told of, and the rest goes on. When the run is left, by Ctrl-C or because
    it is done, the processes of its jobs end.
    """

    def __init__(self, num_jobs: int = 0) -> None:
        """Run `num_jobs` at once; as many as there are cores if 0."""
        self.num_workers = self.num_expected = num_jobs or os.cpu_count() or 1

    def require_memory(self, memory_bytes: int) -> None:
        """Refuse nothing: nobody knows what the processes share."""

    def run(
        self,
        kind: TaskKind,
        function: Callable[..., Any],
        jobs: Iterable[JobT],
        arguments: Callable[[JobT], tuple[Any, ...]],
    ) -> Iterator[Finished[JobT]]:
        """Call `function` for every job, several at once; see `Executor`."""
        waiting, running = iter(jobs), dict[Future[tuple[Any, Attempt]], JobT]()
        processes = FreshProcesses()
        pool = ThreadPoolExecutor(self.num_workers, kind.name, initializer=processes.use)

        def fill() -> None:
            for job in islice(waiting, self.num_workers - len(running)):
                running[pool.submit(attempted, function, arguments(job))] = job

        try:
            fill()
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, (result, attempt) = running.pop(future), future.result()
                    fill()
                    yield Finished(job=job, result=result, attempts=[attempt])
        finally:
            processes.end()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def this_process() -> Iterator[Executor]:
    """Let this process do the work, one job after the other."""
    yield ThisProcess()


@contextmanager
def this_machine(num_jobs: int = 0) -> Iterator[Executor]:
    """Let fresh processes of this machine do the work, `num_jobs` at once; one a core if 0."""
    yield ThisMachine(num_jobs)


def attempted(
    function: Callable[..., Any], arguments: tuple[Any, ...], *, address: str = ""
) -> tuple[Any, Attempt]:
    """Call a function where we are, and tell how it went; not every error could be sent.

    Args:
        function: What to call.
        arguments: With what; of a `Shared` one it gets the value.
        address: What the worker that does it is called.
    """
    place = f"{platform.node()}, process {os.getpid()}" + (f", {address}" if address else "")
    started = time.monotonic()
    try:
        result, error, details = function(*values_of(arguments)), None, ""
    except Exception as problem:
        result, error, details = None, sentence_of(problem), traceback.format_exc()
    seconds = time.monotonic() - started
    return result, Attempt(place=place, seconds=seconds, error=error, details=details)


def values_of(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the arguments as a function receives them."""
    return [x.value if isinstance(x, Shared) else x for x in arguments]
