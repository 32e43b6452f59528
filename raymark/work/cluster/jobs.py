"""Workers as jobs of Slurm, PBS or LSF: what dask-jobqueue is asked for."""

import inspect
import shlex
import shutil
from abc import abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from raymark.config import nearest
from raymark.errors import ConfigError
from raymark.work.cluster.base import (
    SET_BY_RAYMARK,
    CheckResult,
    MemoryGb,
    NumGpus,
    NumWorkers,
    StartedCluster,
    refuse_twins,
)
from raymark.work.cluster.settings import import_dask, reason_of, worker_environment

_UNKNOWN_ADDRESS = "tcp://ADDRESS-OF-THE-SCHEDULER"
_TWINS = {
    "account": "written as account, outside options",
    "project": "written as account, outside options",
    "queue": "written as queue, outside options",
    "walltime": "written as walltime_h, outside options",
    "memory": "written as memory_per_worker_gb, outside options",
    "n_workers": "written as num_workers, outside options",
    "job_script_prologue": "written as prologue, outside options",
    **dict.fromkeys(
        ("cores", "processes", "nanny", "asynchronous", "loop", "scheduler", "job_cls"),
        SET_BY_RAYMARK,
    ),
}


class JobQueue(StartedCluster):
    """One job of a queue for each worker."""

    dask_class: ClassVar[str]
    """Name of the class of dask-jobqueue."""
    account_option: ClassVar[str] = "account"
    """What that class calls the account."""
    num_workers: NumWorkers
    memory_per_worker_gb: MemoryGb
    walltime_h: float = Field(ge=0.1, le=10_000, description="Longest time of a job [h]")
    queue: str | None = Field(default=None, min_length=1, description="Queue or partition")
    account: str | None = Field(
        default=None, min_length=1, description="Account to charge; the project of LSF"
    )
    gpus_per_worker: NumGpus = 0
    prologue: tuple[str, ...] = Field(
        default=(), description="Lines of shell that run before the worker starts"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of dask-jobqueue's class, as they are"
    )

    @field_validator("options")
    @classmethod
    def _options_are_not_keys(cls, options: dict[str, Any]) -> dict[str, Any]:
        return refuse_twins(options, _TWINS)

    @property
    def walltime_text(self) -> str:
        """The time as the queue writes it."""
        seconds = round(self.walltime_h * 3600)
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    @abstractmethod
    def _gpu_options(self) -> dict[str, Any]:
        """Return the arguments of dask-jobqueue's class that ask for a GPU."""

    def start(self) -> Any:
        """Start a scheduler here and submit one job for each worker.

        Raises:
            ConfigError: If the queue's command is not on this machine, if an option is wrong, or if
                the queue refuses a job; then those that it took are cancelled.
        """
        script = self.script()
        command = shlex.split(self._cluster_class().job_cls.submit_command)[0]
        if shutil.which(command) is None:
            raise ConfigError(
                f"`{command}` is not on this machine, so that no job of {self.kind} can be "
                f"submitted ({len(script.splitlines())} lines are ready: `raymark cluster check` "
                "shows them); run raymark on a login node"
            )
        try:
            cluster = self._cluster_class()(silence_logs="CRITICAL", **self._arguments())
        except (TypeError, ValueError, RuntimeError, OSError) as error:
            raise self._cannot_make(error) from error
        # `scale` would do the same, but out of sight: nobody would hear that a job was refused.
        for _ in range(self.num_workers):
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            cluster.sync(_submitted, cluster)
        except (ValueError, RuntimeError, OSError) as error:
            jobs = cluster.workers.values()
            num_taken = sum(job.job_id is not None for job in jobs)
            for job in jobs:  # Dask asserts it at closing, and dask-jobqueue does not set it
                job.status = import_dask().Status.failed
            cluster.close()
            raise ConfigError(
                f"{self.kind} took {num_taken} of {self.num_workers} jobs, which are "
                f"cancelled, and refused another: {reason_of(error)}"
            ) from error
        return cluster

    def check(self) -> CheckResult:
        """Return the script of one worker's job.

        Raises:
            ConfigError: If dask-jobqueue is missing, or if an option is unknown to it.
        """
        note = f"{self.num_workers} such jobs; nothing was submitted"
        return CheckResult(text=self.script().rstrip(), notes=(note,))

    def script(self) -> str:
        """Return the script of one worker's job; no queue needs to be there.

        Raises:
            ConfigError: If dask-jobqueue is missing, or if an option is unknown to it.
        """
        options = self._checked_options()
        of_scheduler = _cluster_parameters() - {"interface", "protocol", "config_name"}  # of both
        arguments = {k: v for k, v in options.items() if k not in of_scheduler}
        job = self._cluster_class().job_cls
        try:
            return str(job(_UNKNOWN_ADDRESS, name="raymark-0", **arguments).job_script())
        except (TypeError, ValueError, AttributeError, OSError) as error:
            raise self._cannot_make(error) from error

    def _checked_options(self) -> dict[str, Any]:
        """Return all arguments of dask-jobqueue's class, if it knows the options."""
        known = _cluster_parameters() | self._job_parameters()
        for name in self.options:
            if name not in known:
                raise ConfigError(
                    f"{self.dask_class} of dask-jobqueue has no option '{name}'"
                    f"{nearest(name, sorted(known))}"
                )
        return self._arguments()

    def _arguments(self) -> dict[str, Any]:
        options = dict(self.options)
        gpu = None if self.gpus_per_worker else ""
        exports = [f"export {k}={shlex.quote(v)}" for k, v in worker_environment(gpu).items()]
        of_gpu = self._gpu_options() if self.gpus_per_worker else {}
        directives = [x.pop("job_extra_directives", []) for x in (of_gpu, options)]
        # The dashboard shows what runs here to whoever reaches its port: loopback, unless asked.
        scheduler = {"dashboard_address": "127.0.0.1:0"} | options.pop("scheduler_options", {})
        return {
            "cores": 1,
            "processes": 1,
            "memory": f"{round(self.memory_per_worker_gb * 1e9)}B",
            "walltime": self.walltime_text,
            "queue": self.queue,
            self.account_option: self.account,
            "job_name": options.pop("job_name", "raymark"),
            "job_extra_directives": [*directives[0], *directives[1]],
            "job_script_prologue": [*self.prologue, *exports],
            "scheduler_options": scheduler,
            **of_gpu,
            **options,
        }

    def _cluster_class(self) -> Any:
        return getattr(import_dask("dask_jobqueue"), self.dask_class)

    def _job_parameters(self) -> set[str]:
        core = import_dask("dask_jobqueue.core")
        job = self._cluster_class().job_cls
        return _named_parameters(job.__init__) | _named_parameters(core.Job.__init__)

    def _cannot_make(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"{self.dask_class} of dask-jobqueue refuses this description: {reason_of(error)}"
        )


class SlurmQueue(JobQueue):
    """Jobs of Slurm."""

    dask_class: ClassVar[str] = "SLURMCluster"
    kind: Literal["slurm"] = "slurm"

    def _gpu_options(self) -> dict[str, Any]:
        return {"job_extra_directives": ["--gres=gpu:1"]}


class PbsQueue(JobQueue):
    """Jobs of PBS."""

    dask_class: ClassVar[str] = "PBSCluster"
    kind: Literal["pbs"] = "pbs"

    def _gpu_options(self) -> dict[str, Any]:
        mib = -(-round(self.memory_per_worker_gb * 1e9) // 2**20)
        return {"resource_spec": f"select=1:ncpus=1:ngpus=1:mem={mib}MB"}


class LsfQueue(JobQueue):
    """Jobs of LSF."""

    dask_class: ClassVar[str] = "LSFCluster"
    account_option: ClassVar[str] = "project"
    kind: Literal["lsf"] = "lsf"

    @property
    def walltime_text(self) -> str:
        """Hours and minutes, rounded up."""
        minutes = -(-round(self.walltime_h * 3600) // 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}"

    def _gpu_options(self) -> dict[str, Any]:
        return {"job_extra_directives": ['-gpu "num=1"']}


async def _submitted(cluster: Any) -> None:
    await cluster


def _cluster_parameters() -> set[str]:
    """Return what the cluster takes for itself, beside what it hands on to every job."""
    core = import_dask("dask_jobqueue.core")
    return _named_parameters(core.JobQueueCluster.__init__)


def _named_parameters(function: Any) -> set[str]:
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind is named} - {
        "self"
    }
