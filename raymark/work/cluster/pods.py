"""Workers as pods of Kubernetes: what the Dask operator is asked for."""

import inspect
import json
from typing import Any, Literal

import yaml
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

_SCHEDULER_RESOURCES = {"requests": {"cpu": "1", "memory": "2G"}, "limits": {"memory": "4G"}}
_OPERATOR = "dask_kubernetes.operator"
_TWINS = {
    "n_workers": "written as num_workers, outside options",
    "resources": "written as memory_per_worker_gb and gpus_per_worker, outside options",
    **{name: f"written as {name}, outside options" for name in ("name", "namespace", "image")},
    **dict.fromkeys(
        (
            "worker_command",
            "custom_cluster_spec",
            "create_mode",
            "shutdown_on_close",
            "asynchronous",
            "loop",
        ),
        SET_BY_RAYMARK,
    ),
}


class Kubernetes(StartedCluster):
    """One pod of the Dask operator for each worker."""

    kind: Literal["kubernetes"] = "kubernetes"
    num_workers: NumWorkers
    memory_per_worker_gb: MemoryGb
    image: str = Field(min_length=1, description="Container image that holds raymark and Dask")
    name: str = Field(
        default="raymark",
        max_length=45,
        pattern=r"^([a-z]|[a-z][a-z0-9-]*[a-z0-9])$",
        description="Name of the cluster: lower case letters, digits and dashes",
    )
    namespace: str | None = Field(default=None, min_length=1, description="That of the pods")
    gpus_per_worker: NumGpus = 0
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of dask-kubernetes' KubeCluster, as they are"
    )

    @field_validator("options")
    @classmethod
    def _options_are_not_keys(cls, options: dict[str, Any]) -> dict[str, Any]:
        return refuse_twins(options, _TWINS)

    def start(self) -> Any:
        """Create the cluster through the operator.

        Raises:
            ConfigError: If Kubernetes cannot be reached, or if it refuses the cluster.
        """
        operator = import_dask(_OPERATOR)
        spec = self.resource()
        known = inspect.signature(operator.make_cluster_spec).parameters
        options = {k: v for k, v in self._checked_options().items() if k not in known}
        try:
            # One of this name that is there already must be neither joined nor deleted at the end.
            cluster = operator.KubeCluster(
                custom_cluster_spec=spec,
                namespace=self.namespace,
                create_mode=operator.kubecluster.kubecluster.CreateMode.CREATE_ONLY,
                shutdown_on_close=False,
                **{"quiet": True} | options,
            )
        except Exception as error:  # of kr8s, httpx, kubernetes: no common base
            raise ConfigError(
                f"Kubernetes did not start cluster '{self.name}' ({reason_of(error)}); check "
                "that `kubectl get pods` works here, that the Dask operator is installed, and that "
                "`kubectl get daskclusters` shows none of this name"
            ) from error
        cluster.shutdown_on_close = True  # now it is ours
        return cluster

    def check(self) -> CheckResult:
        """Return the resource as YAML.

        Raises:
            ConfigError: If dask-kubernetes is missing, or if an option is unknown to it.
        """
        text = yaml.safe_dump(self.resource(), sort_keys=False).rstrip()
        return CheckResult(text=text, notes=("nothing was created",))

    def resource(self) -> dict[str, Any]:
        """Return the `DaskCluster` resource that would be created; no Kubernetes needs to be there.

        Raises:
            ConfigError: If dask-kubernetes is missing, or if an option is unknown to it.
        """
        make = import_dask(_OPERATOR).make_cluster_spec
        options = self._checked_options()
        given = {k: v for k, v in options.items() if k in inspect.signature(make).parameters}
        variables = worker_environment(None if self.gpus_per_worker else "")
        memory_bytes = round(self.memory_per_worker_gb * 1e9)
        command = ["dask", "worker", "--nthreads", "1", "--memory-limit", str(memory_bytes)]
        spec: dict[str, Any] = make(
            name=self.name,
            image=self.image,
            n_workers=self.num_workers,
            resources=self._resources(memory_bytes),
            worker_command=command,
            **given | {"env": _as_list(variables | _as_dict(given.get("env")))},
        )
        scheduler = spec["spec"]["scheduler"]["spec"]["containers"][0]
        scheduler["resources"] = _SCHEDULER_RESOURCES
        shown: dict[str, Any] = json.loads(json.dumps(spec))  # parts stand in it twice
        return shown

    def _checked_options(self) -> dict[str, Any]:
        takes = inspect.signature(import_dask(_OPERATOR).KubeCluster.__init__).parameters
        known = [name for name, x in takes.items() if x.kind is inspect.Parameter.KEYWORD_ONLY]
        for name in self.options:
            if name not in known:
                raise ConfigError(
                    f"KubeCluster of dask-kubernetes has no option '{name}'{nearest(name, known)}"
                )
        return self.options

    def _resources(self, memory_bytes: int) -> dict[str, Any]:
        amount: dict[str, Any] = {"cpu": "1", "memory": str(memory_bytes)}
        if self.gpus_per_worker:
            amount["nvidia.com/gpu"] = self.gpus_per_worker
        return {"requests": dict(amount), "limits": dict(amount)}


def _as_dict(env: Any) -> dict[str, Any]:
    """Return variables by name; the operator takes them as a mapping or as a list."""
    if isinstance(env, dict):
        return {name: {"name": name, "value": str(value)} for name, value in env.items()}
    return {entry["name"]: entry for entry in env or []}


def _as_list(env: dict[str, Any]) -> list[dict[str, Any]]:
    return [v if isinstance(v, dict) else {"name": name, "value": v} for name, v in env.items()]
