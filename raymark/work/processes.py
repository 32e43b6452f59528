"""Work spread over fresh one-thread processes; a job that kills its process stands alone."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

JobT = TypeVar("JobT")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_jobs(
    function: Callable[..., Any],
    jobs: Iterable[JobT],
    arguments: Callable[[JobT], tuple[Any, ...]],
    num_processes: int,
) -> Iterator[tuple[JobT, Any]]:
    """Call `function` for every job in one of several processes, and yield what comes back.

    Every process computes with one thread, so that results do not depend on the number of cores.

    Args:
        function: What to call; a name of a module.
        jobs: What to call it for.
        arguments: Makes the arguments of a job, here, shortly before it starts.
        num_processes: How many run at once.

    Yields:
        A job with the function's result, or with the exception that it raised; BrokenProcessPool
        if its process died, even when it ran alone.
    """
    queue = deque(jobs)
    while queue:
        suspects: list[JobT] = []
        with _processes(num_processes) as pool:
            running: dict[Future[Any], JobT] = {}
            while running or (queue and not suspects):
                while queue and not suspects and len(running) < 2 * num_processes:
                    job = queue.popleft()
                    try:
                        running[pool.submit(function, *arguments(job))] = job
                    except BrokenProcessPool:
                        suspects.append(job)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.append(job)
                    else:
                        yield job, future.exception() or future.result()
        for job in suspects:
            with _processes(1) as pool:
                alone = pool.submit(function, *arguments(job))
                yield job, alone.exception() or alone.result()


@contextlib.contextmanager
def child_processes_allowed() -> Iterator[None]:
    """Let a worker of Dask start processes, which Python forbids it as a daemon.

    The rule is there so that no child is left behind; ours end with their parent.
    """
    settings: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before = settings.get("daemon")
    settings["daemon"] = False
    try:
        yield
    finally:
        settings["daemon"] = before


@contextlib.contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    with _one_thread_environment():
        pool = ProcessPoolExecutor(
            count, mp_context=multiprocessing.get_context("spawn"), initializer=_start_process
        )
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _one_thread_environment() -> Iterator[None]:
    """Set what libraries read when they are loaded, which is before any code of ours runs."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_process() -> None:
    """Leave Ctrl-C to the parent, which waits for what has begun; do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
