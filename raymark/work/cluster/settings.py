"""How Dask and the libraries below it behave: one thread, nothing spilled, a quiet terminal."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

from raymark.extras import import_extra
from raymark.work.threads import ONE_THREAD, THREAD_VARIABLES

_WORKER_TTL = "60s"
"""A worker that the scheduler has not heard from for so long is taken for dead."""

_LOST_WORKER_TIMEOUT = "1d"
"""Dask's 15 s would end nannies for good whose new worker takes longer to start."""

_NO_WORKERS_TIMEOUT = "10m"
"""Tasks fail when there has been no worker for so long: work never waits for ever."""

_MEMORY = {"target": False, "spill": False, "pause": False, "terminate": 0.95}
"""Fractions of a worker's memory: it is ended by its nanny near its limit, and never spills."""

_TICK_LIMIT = "1h"
"""Tasks hold the interpreter for seconds on purpose; Dask need not warn of each."""


def import_dask(module: str = "distributed") -> Any:
    """Import a module of Dask.

    Raises:
        ConfigError: If it is not installed; the extra that adds it is named.
    """
    names = {"dask_jobqueue": "dask-jobqueue", "dask_kubernetes": "dask-kubernetes"}
    return import_extra(module, name=names.get(module.partition(".")[0], "Dask's `distributed`"))


def dask_settings() -> dict[str, Any]:
    """Return what raymark sets in Dask's configuration, by dotted key."""
    return {
        "distributed.scheduler.worker-ttl": _WORKER_TTL,
        "distributed.scheduler.no-workers-timeout": _NO_WORKERS_TIMEOUT,
        "distributed.deploy.lost-worker-timeout": _LOST_WORKER_TIMEOUT,
        # Stolen shards would load their scene anew; docs/scale.md has the measurements.
        "distributed.scheduler.work-stealing": False,
        "distributed.admin.tick.limit": _TICK_LIMIT,
        **{f"distributed.worker.memory.{key}": value for key, value in _MEMORY.items()},
        "distributed.worker.profile.enabled": False,
        # Without Dask's MALLOC_TRIM_THRESHOLD_: large arrays would get fresh pages each time.
        "distributed.nanny.pre-spawn-environ": ONE_THREAD,
    }


def worker_environment(gpu: str | None = None) -> dict[str, str]:
    """Return the environment variables of a worker that another program starts.

    Args:
        gpu: GPU that a worker sees, as CUDA_VISIBLE_DEVICES names it; empty for none at all, None
            to leave the choice to the queue.
    """
    variables = dict(ONE_THREAD)
    for key, value in dask_settings().items():
        if not key.startswith("distributed.nanny"):
            variables[f"DASK_{key.replace('.', '__').replace('-', '_').upper()}"] = str(value)
    return variables if gpu is None else variables | {"CUDA_VISIBLE_DEVICES": gpu}


@contextlib.contextmanager
def dask_configured() -> Iterator[None]:
    """Hold the settings, and silence on the terminal, while a cluster is open."""
    distributed = import_dask()
    dask = import_dask("dask")
    names = ("MALLOC_TRIM_THRESHOLD_", "PYTHONHASHSEED", *THREAD_VARIABLES)
    before = {name: os.environ.get(name) for name in names}  # nannies here change them
    silence = import_dask("distributed.utils").silence_logging_cmgr
    with dask.config.set(dask_settings()), silence("CRITICAL"), warnings.catch_warnings():
        # `open_cluster` raises a mismatch as one sentence; Dask need not warn of it as a table.
        mismatch = distributed.versions.VersionMismatchWarning
        warnings.filterwarnings("ignore", category=mismatch)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def reason_of(error: BaseException) -> str:
    """Return what went wrong in one line; Dask hides it behind errors of its own."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    return " ".join(str(cause).split()) or type(cause).__name__
