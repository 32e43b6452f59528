"""Workers as jobs of Slurm, PBS or LSF: what dask-jobqueue is asked for."""

import inspect
import shlex
import shutil
from typing import Any

from raymark.config import nearest
from raymark.errors import ConfigError
from raymark.work.cluster.description import JobQueue
from raymark.work.cluster.settings import import_dask, reason_of, worker_environment

_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
_GPU_DIRECTIVES = {"slurm": ["--gres=gpu:1"], "lsf": ['-gpu "num=1"']}
_UNKNOWN_ADDRESS = "tcp://ADDRESS-OF-THE-SCHEDULER"


def job_script(description: JobQueue) -> str:
    """Return the script of one worker's job; no queue needs to be there.

    Raises:
        ConfigError: If dask-jobqueue is missing, or if an option is unknown to it.
    """
    options = checked_options(description)
    of_scheduler = _cluster_parameters() - {"interface", "protocol", "config_name"}  # of both
    arguments = {k: v for k, v in options.items() if k not in of_scheduler}
    job = _cluster_class(description).job_cls
    try:
        return str(job(_UNKNOWN_ADDRESS, name="raymark-0", **arguments).job_script())
    except (TypeError, ValueError, AttributeError, OSError) as error:
        raise _cannot_make(description, error) from error


def start_jobs(description: JobQueue) -> Any:
    """Start a scheduler here and submit one job for each worker.

    Raises:
        ConfigError: If the queue's command is not on this machine, if an option is wrong, or if the
            queue refuses a job; then those that it took are cancelled.
    """
    script = job_script(description)
    command = shlex.split(_cluster_class(description).job_cls.submit_command)[0]
    if shutil.which(command) is None:
        raise ConfigError(
            f"`{command}` is not on this machine, so that no job of {description.kind} can be "
            f"submitted ({len(script.splitlines())} lines are ready: `raymark cluster check` "
            "shows them); run raymark on a login node"
        )
    try:
        cluster = _cluster_class(description)(silence_logs="CRITICAL", **_arguments(description))
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise _cannot_make(description, error) from error
    # `scale` would do the same, but out of sight: nobody would hear that a job was refused.
    for _ in range(description.num_workers):
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
            f"{description.kind} took {num_taken} of {description.num_workers} jobs, which are "
            f"cancelled, and refused another: {reason_of(error)}"
        ) from error
    return cluster


async def _submitted(cluster: Any) -> None:
    await cluster


def checked_options(description: JobQueue) -> dict[str, Any]:
    """Return all arguments of dask-jobqueue's class.

    Raises:
        ConfigError: If dask-jobqueue is missing, or if it has no option of a name (the nearest is
            offered).
    """
    known = _cluster_parameters() | _job_parameters(description)
    for name in description.options:
        if name not in known:
            raise ConfigError(
                f"{_CLASSES[description.kind]} of dask-jobqueue has no option '{name}'"
                f"{nearest(name, sorted(known))}"
            )
    return _arguments(description)


def _arguments(description: JobQueue) -> dict[str, Any]:
    options = dict(description.options)
    gpu = None if description.gpus_per_worker else ""
    exports = [f"export {k}={shlex.quote(v)}" for k, v in worker_environment(gpu).items()]
    directives = list(options.pop("job_extra_directives", []))
    if description.gpus_per_worker:
        directives = _GPU_DIRECTIVES.get(description.kind, []) + directives
        if description.kind == "pbs":
            mib = -(-round(description.memory_per_worker_gb * 1e9) // 2**20)
            options.setdefault("resource_spec", f"select=1:ncpus=1:ngpus=1:mem={mib}MB")
    account = "project" if description.kind == "lsf" else "account"
    # The dashboard shows what runs here to whoever reaches its port: loopback, unless asked.
    scheduler = {"dashboard_address": "127.0.0.1:0"} | options.pop("scheduler_options", {})
    return {
        "cores": 1,
        "processes": 1,
        "memory": f"{round(description.memory_per_worker_gb * 1e9)}B",
        "walltime": description.walltime_text,
        "queue": description.queue,
        account: description.account,
        "job_name": options.pop("job_name", "raymark"),
        "job_extra_directives": directives,
        "job_script_prologue": [*description.prologue, *exports],
        "scheduler_options": scheduler,
        **options,
    }


def _cluster_class(description: JobQueue) -> Any:
    return getattr(import_dask("dask_jobqueue"), _CLASSES[description.kind])


def _cluster_parameters() -> set[str]:
    """Return what the cluster takes for itself, beside what it hands on to every job."""
    core = import_dask("dask_jobqueue.core")
    return _named_parameters(core.JobQueueCluster.__init__)


def _job_parameters(description: JobQueue) -> set[str]:
    core = import_dask("dask_jobqueue.core")
    job = _cluster_class(description).job_cls
    return _named_parameters(job.__init__) | _named_parameters(core.Job.__init__)


def _named_parameters(function: Any) -> set[str]:
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind is named} - {
        "self"
    }


def _cannot_make(description: JobQueue, error: Exception) -> ConfigError:
    return ConfigError(
        f"{_CLASSES[description.kind]} of dask-jobqueue refuses this description: "
        f"{reason_of(error)}"
    )
