"""Whether workers can be trusted with a job: the same software, enough memory, one thread."""

import hashlib
import importlib.util
import os
import platform
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from raymark.errors import ConfigError
from raymark.work.cluster.settings import import_dask, reason_of
from raymark.work.finding import Finding

_PACKAGES = (
    "raymark",
    "numpy",
    "scipy",
    "torch",
    "scikit-learn",
    "h5py",
    "sionna-rt",
    "mitsuba",
    "drjit",
    "dask",
    "distributed",
)
"""What decides numbers, files or what is sent."""

_SOURCES = ("raymark", "raymark.scenes", "raymark.generator", "raymark.benchmark", "raymark.models")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says of itself.

    Attributes:
        address: Where the scheduler reaches it.
        host: Name of its machine.
        pid: Its process.
        num_threads: Threads that Dask gave it; one is used.
        memory_bytes: Its limit, or the machine's memory where it has none.
        findings: What an examination found there.
    """

    address: str
    host: str
    pid: int
    num_threads: int
    memory_bytes: int
    findings: tuple[Finding, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing that was found is wrong."""
        return all(finding.is_good for finding in self.findings)


def software() -> dict[str, str]:
    """Return what this process computes with: Python, versions, and a hash of raymark's sources."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions | {"raymark's sources": _hash_of_sources()}


def require_workers(client: Any, *, memory_bytes: int = 0) -> list[str]:
    """Refuse workers that would compute other numbers, or run out of memory.

    Workers that join later are not looked at.

    Args:
        client: Client of a cluster with all or some of its workers.
        memory_bytes: Memory that the work needs in each [byte].

    Returns:
        Warnings, each one sentence.

    Raises:
        ConfigError: If there is no worker, or if one has other software or too little memory.
    """
    _require_software(client)
    reports = list_workers(client)
    for report in reports:
        if report.memory_bytes < memory_bytes:
            raise ConfigError(
                f"worker {_label(report)} has {report.memory_bytes / 1e9:.2f} GB of memory, and "
                f"this work needs {memory_bytes / 1e9:.2f} GB in each; start fewer or larger "
                "workers"
            )
    many = [report for report in reports if report.num_threads > 1]
    if not many:
        return []
    return [
        f"{len(many)} of {len(reports)} workers have more than one thread, such as "
        f"{_label(many[0])} with {many[0].num_threads}; only one is used, so start them with "
        "--nthreads 1"
    ]


def list_workers(client: Any) -> list[WorkerReport]:
    """Return the workers that are there now, by host and process.

    Raises:
        ConfigError: If a worker has no raymark.
    """
    known = client.scheduler_info(n_workers=-1)["workers"]
    told = _ask(client, _introduce)
    reports = [
        WorkerReport(
            address=address,
            host=host,
            pid=pid,
            num_threads=known[address]["nthreads"],
            memory_bytes=known[address]["memory_limit"] or machine_bytes,
        )
        for address, (host, pid, machine_bytes) in told.items()
        if address in known
    ]
    return sorted(reports, key=lambda report: (report.host, report.pid))


def examine_workers(
    client: Any, examine: Callable[[Path], Sequence[Finding]]
) -> list[WorkerReport]:
    """Ask every worker to examine itself.

    Args:
        client: Client of a cluster.
        examine: What to call there with the worker's folder; a name of a module.

    Raises:
        ConfigError: If there is no worker, or if one has other software.
    """
    _require_software(client)
    found = _ask(client, _examine_here, examine)
    return [
        WorkerReport(
            **{name: getattr(report, name) for name in _PLAIN}, findings=tuple(found[address])
        )
        for report in list_workers(client)
        if (address := report.address) in found
    ]


_PLAIN = ("address", "host", "pid", "num_threads", "memory_bytes")


def _require_software(client: Any) -> None:
    here = software()
    told = _ask(client, software)
    if not told:
        raise ConfigError("the cluster has no worker")
    for address, there in told.items():
        others = [
            f"{name} {there.get(name, 'unknown')} (here {version})"
            for name, version in here.items()
            if there.get(name) != version
        ]
        if others:
            raise ConfigError(
                f"worker {address} has other software than this process, and would compute other "
                f"numbers: {', '.join(others)}; use one environment for both"
            )


def _ask(client: Any, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Call a function in every worker; what it raises there is told with the worker's name."""
    told: dict[str, Any] = client.run(function, *arguments, on_error="return")
    for address, answer in told.items():
        if isinstance(answer, BaseException):
            # Dask tells the worker's own error, such as ModuleNotFoundError, as a text.
            raise ConfigError(
                f"worker {address} cannot be examined ({reason_of(answer)}); install the same "
                "environment there as here"
            ) from answer
    return told


def _introduce() -> tuple[str, int, int]:
    memory_bytes = int(import_dask("distributed.system").MEMORY_LIMIT)
    return socket.gethostname(), os.getpid(), memory_bytes


def _examine_here(examine: Callable[[Path], Sequence[Finding]]) -> list[Finding]:
    return list(examine(Path.cwd()))


def _hash_of_sources() -> str:
    """Hash the code that is installed: the version of a checkout does not change with it."""
    sources: dict[str, bytes] = {}
    for package in _SOURCES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).parent
        for path in folder.rglob("*.py"):
            # In a wheel the packages lie inside `raymark`, in a checkout beside it.
            name = f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}"
            sources[name] = path.read_bytes()
    digest = hashlib.sha256()
    for name, text in sorted(sources.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(text).digest())
    return digest.hexdigest()[:12]


def _label(report: WorkerReport) -> str:
    return f"{report.address} on {report.host}"
