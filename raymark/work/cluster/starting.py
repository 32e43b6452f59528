"""Start a cluster or reach a running one, and take it down again."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from raymark.errors import ConfigError, counted
from raymark.work.cluster.base import ClusterDescription
from raymark.work.cluster.settings import dask_configured

_REPORT_EVERY_S = 60.0


@contextlib.contextmanager
def open_cluster(description: ClusterDescription) -> Iterator[Any]:
    """Start what is described, or connect to it, and yield a `distributed.Client`.

    Processes, jobs and pods that were started are ended on the way out, however the block is
    left; a scheduler that ran before runs on. Jobs and pods join when they can: wait for them with
    `wait_for_workers`.

    Args:
        description: What to start, from `read_cluster`.

    Raises:
        ConfigError: If a package is missing, if nobody answers, or if it cannot be started.
    """
    with dask_configured(), description.connected() as client:
        _check_versions(client, description.label)
        yield client


def wait_for_workers(
    client: Any,
    description: ClusterDescription,
    *,
    timeout_s: float | None = None,
    report: Callable[[str], None] = lambda _text: None,
) -> int:
    """Wait until work can begin: all workers of this machine, else the first one.

    Args:
        client: Client of the cluster.
        description: What was started.
        timeout_s: Longest wait [s]; `patience_s` of the description if not given.
        report: Told now and then what is waited for.

    Returns:
        Number of workers that are there.

    Raises:
        ConfigError: If none came in time.
    """
    needed = description.num_needed
    if timeout_s is None:
        timeout_s = description.patience_s
    began_s, told_s = time.monotonic(), -math.inf
    while (found := num_workers(client)) < needed:
        waited_s = time.monotonic() - began_s
        if waited_s >= timeout_s:
            raise ConfigError(
                f"{description.label}: {found} of {counted(needed, 'worker')} came in "
                f"{timeout_s:g} s; {description.advice}"
            )
        if waited_s - told_s >= _REPORT_EVERY_S:
            told_s = waited_s
            report(f"waiting for the first worker of {description.label} ({waited_s:.0f} s) ...")
        time.sleep(0.2)
    return found


def num_workers(client: Any) -> int:
    """Return how many workers are there now."""
    return len(client.scheduler_info(n_workers=-1)["workers"])


def _check_versions(client: Any, name: str) -> None:
    """Refuse a scheduler of another Dask or Python, which would fail later and less clearly."""
    versions = client.get_versions()
    here, there = (versions[side]["packages"] for side in ("client", "scheduler"))
    for package in ("python", "dask", "distributed"):
        mine, theirs = (str(packages[package]) for packages in (here, there))
        if package == "python":  # 3.11.7.final.0: the minor version decides what can be sent
            mine, theirs = (".".join(text.split(".")[:2]) for text in (mine, theirs))
        if mine != theirs:
            raise ConfigError(
                f"{name} runs {package} {theirs}, and this process {package} {mine}; use one "
                "environment for both"
            )
