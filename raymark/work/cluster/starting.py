"""Start a cluster or reach a running one, and take it down again."""

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from raymark.errors import ConfigError
from raymark.work.cluster.description import (
    ClusterDescription,
    JobQueue,
    Kubernetes,
    LocalCluster,
    Scheduler,
)
from raymark.work.cluster.jobs import start_jobs
from raymark.work.cluster.pods import start_pods
from raymark.work.cluster.processes import start_processes
from raymark.work.cluster.settings import dask_configured, import_dask, reason_of

_CONNECT_TIMEOUT_S = 8.0
_LOCAL_START_TIMEOUT_S = 120.0
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
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask_configured())
        if isinstance(description, Scheduler):
            client = _connect(description)
        else:
            cluster = _start(description)
            stack.callback(cluster.close)
            client = import_dask().Client(cluster, set_as_default=False)
        stack.callback(client.close)
        _check_versions(client, _name(description))
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
        timeout_s: Longest wait [s]; as long as the queue takes if not given, but 30 s for a
            scheduler that ran before, and 120 s for processes here.
        report: Told now and then what is waited for.

    Returns:
        Number of workers that are there.

    Raises:
        ConfigError: If none came in time.
    """
    needed = description.num_workers if isinstance(description, LocalCluster) else 1
    if timeout_s is None:
        timeout_s = {"scheduler": 30.0, "local": _LOCAL_START_TIMEOUT_S}.get(
            description.kind, math.inf
        )
    began_s, told_s = time.monotonic(), -math.inf
    while (found := num_workers(client)) < needed:
        waited_s = time.monotonic() - began_s
        if waited_s >= timeout_s:
            raise ConfigError(
                f"{_name(description)}: {found} of {needed} workers came in {timeout_s:g} s; "
                f"{_next_step(description)}"
            )
        if waited_s - told_s >= _REPORT_EVERY_S:
            told_s = waited_s
            report(f"waiting for the first worker of {_name(description)} ({waited_s:.0f} s) ...")
        time.sleep(0.2)
    return found


def num_workers(client: Any) -> int:
    """Return how many workers are there now."""
    return len(client.scheduler_info(n_workers=-1)["workers"])


def _start(description: LocalCluster | JobQueue | Kubernetes) -> Any:
    if isinstance(description, LocalCluster):
        return start_processes(description)
    if isinstance(description, JobQueue):
        return start_jobs(description)
    return start_pods(description)


def _connect(description: Scheduler) -> Any:
    address = description.address
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S):
            pass
    except OSError as error:
        raise ConfigError(
            f"nobody answers at {address} ({reason_of(error)}); start one there with "
            "`dask scheduler`, or write the address that it prints"
        ) from error
    distributed = import_dask()
    try:
        security = _security(description) or distributed.Security()
        found = _role(address, security)
        if found != "Scheduler":
            raise ConfigError(f"what answers at {address} is Dask's {found}, no scheduler")
        return distributed.Client(
            address, timeout=_CONNECT_TIMEOUT_S, security=security, set_as_default=False
        )
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"what answers at {address} is no Dask scheduler that can be used from here "
            f"({reason_of(error)}); check the port, tcp or tls, and the versions of Dask"
        ) from error


def _role(address: str, security: Any) -> str:
    """Ask who is there; the client itself would wait forever for one that does not speak Dask."""
    core = import_dask("distributed.core")

    async def ask() -> str:
        arguments = security.get_connection_args("client")
        async with core.rpc(address, connection_args=arguments) as peer:
            return str((await peer.identity())["type"])

    async def ask_in_time() -> str:
        return await asyncio.wait_for(ask(), _CONNECT_TIMEOUT_S)

    with ThreadPoolExecutor(1) as pool:  # this thread may have a loop of its own, as in a notebook
        return pool.submit(asyncio.run, ask_in_time()).result()


def _security(description: Scheduler) -> Any:
    if not description.address.startswith("tls://"):
        return None
    files = {
        "tls_ca_file": description.tls_ca_file,
        "tls_client_cert": description.tls_cert_file,
        "tls_client_key": description.tls_key_file,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    return import_dask().Security(require_encryption=True, **given)


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


def _name(description: ClusterDescription) -> str:
    if isinstance(description, LocalCluster):
        return f"local:{description.num_workers}"
    if isinstance(description, Scheduler):
        return description.address
    return f"{description.kind} ({description.num_workers} workers)"


def _next_step(description: ClusterDescription) -> str:
    if isinstance(description, Scheduler):
        return f"start some with `dask worker {description.address} --nthreads 1`"
    if isinstance(description, LocalCluster):
        return "try fewer workers"
    return "look at the queue, or at the logs of its jobs"
