"""Workers as processes of this machine, each with one thread and a nanny."""

import os
import shutil
import subprocess
from typing import Any, ClassVar, Literal

from pydantic import Field

from raymark.errors import ConfigError
from raymark.extras import import_extra
from raymark.work.cluster.base import CheckResult, MemoryGb, NumGpus, StartedCluster
from raymark.work.cluster.settings import import_dask, reason_of, worker_environment

_LEAST_MEMORY_BYTES = 500_000_000
_LOOPBACK = "127.0.0.1"


class LocalCluster(StartedCluster):
    """Worker processes on this machine."""

    patience_s: ClassVar[float] = 120.0
    kind: Literal["local"] = "local"
    num_workers: int = Field(ge=1, le=1000, description="Processes of one thread each")
    memory_per_worker_gb: MemoryGb | None = Field(
        default=None, description="Memory of each worker; an equal share of it all if missing [GB]"
    )
    gpus_per_worker: NumGpus = 0

    @property
    def label(self) -> str:
        """As `--cluster` has it."""
        return f"local:{self.num_workers}"

    @property
    def num_needed(self) -> int:
        """All: they start at once."""
        return self.num_workers

    @property
    def advice(self) -> str:
        """What may help."""
        return "try fewer workers"

    def start(self) -> Any:
        """Start a scheduler and workers on the loopback interface.

        A scheduler runs whatever it is sent, and everybody on this machine reaches the interface:
        a certificate that only this process and its workers have keeps others out.

        Raises:
            ConfigError: If they need more memory or GPUs than there are, or do not start.
        """
        distributed = import_dask()
        import_extra("cryptography", name="cryptography, for the certificate,", extra="cluster")
        secret = {"protocol": "tls://", "security": distributed.Security.temporary()}
        memory_bytes = self.memory_of_each()
        gpus = self.gpus()
        # One nanny each, which starts its worker again when it dies. Dask's LocalCluster does the
        # same, but cannot give every worker a GPU of its own.
        workers = {
            index: {
                "cls": distributed.Nanny,
                "options": {
                    **secret,
                    "host": _LOOPBACK,
                    "nthreads": 1,
                    "memory_limit": memory_bytes,
                    "dashboard": False,
                    "silence_logs": "CRITICAL",
                    "preload": ["raymark.work.cluster.interrupts"],
                    "env": worker_environment(gpu),
                },
            }
            for index, gpu in enumerate(gpus)
        }
        dashboard = {"dashboard": True, "dashboard_address": f"{_LOOPBACK}:0"}
        try:
            return distributed.SpecCluster(
                workers=workers,
                scheduler={
                    "cls": distributed.Scheduler,
                    "options": {**secret, **dashboard, "host": _LOOPBACK},
                },
                security=secret["security"],
                silence_logs="CRITICAL",
                name=f"raymark-{os.getpid()}",
            )
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"local:{self.num_workers} did not start: {reason_of(error)}; try fewer workers"
            ) from error

    def check(self) -> CheckResult:
        """Return what each worker would get of this machine.

        Raises:
            ConfigError: If they need more memory or GPUs than there are.
        """
        memory_bytes, gpus = self.memory_of_each(), self.gpus()
        seen = f"GPUs {', '.join(gpus)}" if all(gpus) else "no GPU"
        return CheckResult(
            text=f"{self.num_workers} worker processes of {memory_bytes / 1e9:.1f} GB and one "
            f"thread each, with {seen}; none was started"
        )

    def memory_of_each(self) -> int:
        """Return the memory of each worker [byte].

        Raises:
            ConfigError: If it is more than this machine has, or next to nothing.
        """
        total = int(import_dask("distributed.system").MEMORY_LIMIT)
        count, given_gb = self.num_workers, self.memory_per_worker_gb
        share = total // count
        if given_gb is not None and round(given_gb * 1e9) > share:
            raise ConfigError(
                f"{count} workers of {given_gb:g} GB need {count * given_gb:g} GB, and this "
                f"machine has {total / 1e9:.1f} GB; lower num_workers or memory_per_worker_gb"
            )
        if share < _LEAST_MEMORY_BYTES:
            raise ConfigError(
                f"{count} workers share {total / 1e9:.1f} GB of memory, {share / 1e9:.2f} GB each, "
                f"and need 0.5 GB at least; this machine can hold {total // _LEAST_MEMORY_BYTES}"
            )
        return share if given_gb is None else round(given_gb * 1e9)

    def gpus(self) -> list[str]:
        """Return what each worker sees as CUDA_VISIBLE_DEVICES: one GPU of its own, or none.

        Raises:
            ConfigError: If each shall have one and there are fewer.
        """
        count = self.num_workers
        if not self.gpus_per_worker:
            return [""] * count
        there = _gpu_names()
        if len(there) < count:
            raise ConfigError(
                f"{count} workers with a GPU each need {count} GPUs, and this machine shows "
                f"{len(there)}; lower num_workers, or set gpus_per_worker: 0"
            )
        return there[:count]


def _gpu_names() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    found = subprocess.run(  # noqa: S603 - a full path, no input
        [command, "--list-gpus"], capture_output=True, text=True, check=False, timeout=30
    )
    lines = found.stdout.splitlines() if found.returncode == 0 else []
    return [str(index) for index, line in enumerate(lines) if line.startswith("GPU ")]
