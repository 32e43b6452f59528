"""Where work runs that is spread over processes and machines: which workers, started and checked.

Dask is imported inside functions only: without `--cluster` it need not be installed.
"""

from raymark.work.cluster.base import ClusterDescription
from raymark.work.cluster.checks import (
    WorkerReport,
    examine_workers,
    list_workers,
    require_workers,
    software,
)
from raymark.work.cluster.description import (
    FORMS,
    KINDS,
    example_names,
    example_text,
    read_cluster,
    read_cluster_file,
)
from raymark.work.cluster.jobs import LsfQueue, PbsQueue, SlurmQueue
from raymark.work.cluster.pods import Kubernetes
from raymark.work.cluster.processes import LocalCluster
from raymark.work.cluster.scheduler import Scheduler
from raymark.work.cluster.starting import num_workers, open_cluster, wait_for_workers
from raymark.work.cluster.workers import cluster_workers

__all__ = [
    "FORMS",
    "KINDS",
    "ClusterDescription",
    "Kubernetes",
    "LocalCluster",
    "LsfQueue",
    "PbsQueue",
    "Scheduler",
    "SlurmQueue",
    "WorkerReport",
    "cluster_workers",
    "examine_workers",
    "example_names",
    "example_text",
    "list_workers",
    "num_workers",
    "open_cluster",
    "read_cluster",
    "read_cluster_file",
    "require_workers",
    "software",
    "wait_for_workers",
]
