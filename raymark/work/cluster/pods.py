"""Workers as pods of Kubernetes: what the Dask operator is asked for."""

import inspect
import json
from typing import Any

from raymark.config import nearest
from raymark.errors import ConfigError
from raymark.work.cluster.description import Kubernetes
from raymark.work.cluster.settings import import_dask, reason_of, worker_environment

_SCHEDULER_RESOURCES = {"requests": {"cpu": "1", "memory": "2G"}, "limits": {"memory": "4G"}}
_OPERATOR = "dask_kubernetes.operator"


def worker_spec(description: Kubernetes) -> dict[str, Any]:
    """Return the `DaskCluster` resource that would be created; no Kubernetes needs to be there.

    Raises:
        ConfigError: If dask-kubernetes is missing, or if an option is unknown to it.
    """
    make = import_dask(_OPERATOR).make_cluster_spec
    options = _checked_options(description)
    given = {k: v for k, v in options.items() if k in inspect.signature(make).parameters}
    variables = worker_environment(None if description.gpus_per_worker else "")
    memory_bytes = round(description.memory_per_worker_gb * 1e9)
    command = ["dask", "worker", "--nthreads", "1", "--memory-limit", str(memory_bytes)]
    spec: dict[str, Any] = make(
        name=description.name,
        image=description.image,
        n_workers=description.num_workers,
        resources=_resources(description, memory_bytes),
        worker_command=command,
        **given | {"env": _as_list(variables | _as_dict(given.get("env")))},
    )
    scheduler = spec["spec"]["scheduler"]["spec"]["containers"][0]
    scheduler["resources"] = _SCHEDULER_RESOURCES
    shown: dict[str, Any] = json.loads(json.dumps(spec))  # parts stand in it twice
    return shown


def start_pods(description: Kubernetes) -> Any:
    """Create the cluster through the operator.

    Raises:
        ConfigError: If Kubernetes cannot be reached, or if it refuses the cluster.
    """
    operator = import_dask(_OPERATOR)
    spec = worker_spec(description)
    known = inspect.signature(operator.make_cluster_spec).parameters
    options = {k: v for k, v in _checked_options(description).items() if k not in known}
    try:
        # One of this name that is there already must be neither joined nor, at the end, deleted.
        cluster = operator.KubeCluster(
            custom_cluster_spec=spec,
            namespace=description.namespace,
            create_mode=operator.kubecluster.kubecluster.CreateMode.CREATE_ONLY,
            shutdown_on_close=False,
            **{"quiet": True} | options,
        )
    except Exception as error:  # of kr8s, httpx, kubernetes: no common base
        raise ConfigError(
            f"Kubernetes did not start cluster '{description.name}' ({reason_of(error)}); check "
            "that `kubectl get pods` works here, that the Dask operator is installed, and that "
            "`kubectl get daskclusters` shows none of this name"
        ) from error
    cluster.shutdown_on_close = True  # now it is ours
    return cluster


def _checked_options(description: Kubernetes) -> dict[str, Any]:
    operator = import_dask(_OPERATOR)
    known = [
        name
        for name, parameter in inspect.signature(operator.KubeCluster.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for name in description.options:
        if name not in known:
            raise ConfigError(
                f"KubeCluster of dask-kubernetes has no option '{name}'{nearest(name, known)}"
            )
    return description.options


def _resources(description: Kubernetes, memory_bytes: int) -> dict[str, Any]:
    amount: dict[str, Any] = {"cpu": "1", "memory": str(memory_bytes)}
    if description.gpus_per_worker:
        amount["nvidia.com/gpu"] = description.gpus_per_worker
    return {"requests": dict(amount), "limits": dict(amount)}


def _as_dict(env: Any) -> dict[str, Any]:
    """Return variables by name; the operator takes them as a mapping or as a list."""
    if isinstance(env, dict):
        return {name: {"name": name, "value": str(value)} for name, value in env.items()}
    return {entry["name"]: entry for entry in env or []}


def _as_list(env: dict[str, Any]) -> list[dict[str, Any]]:
    return [v if isinstance(v, dict) else {"name": name, "value": v} for name, v in env.items()]
