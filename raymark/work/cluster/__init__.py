"""Where work runs that is spread over processes and machines: which workers, started and checked.

Dask is imported inside functions only: without `--cluster` it need not be installed.
"""

from raymark.work.cluster.checks import (
    WorkerReport,
    examine_workers,
    list_workers,
    require_workers,
    software,
)
from raymark.work.cluster.description import (
    FORMS,
    ClusterDescription,
    JobQueue,
    Kubernetes,
    LocalCluster,
    Scheduler,
    example_names,
    example_text,
    read_cluster,
    read_cluster_file,
)
from raymark.work.cluster.jobs import job_script
from raymark.work.cluster.pods import worker_spec
from raymark.work.cluster.processes import gpus_of_workers, memory_of_each
from raymark.work.cluster.starting import num_workers, open_cluster, wait_for_workers
from raymark.work.cluster.workers import cluster_workers

__all__ = [
    "FORMS",
    "ClusterDescription",
    "JobQueue",
    "Kubernetes",
    "LocalCluster",
    "Scheduler",
    "WorkerReport",
    "cluster_workers",
    "examine_workers",
    "example_names",
    "example_text",
    "gpus_of_workers",
    "job_script",
    "list_workers",
    "memory_of_each",
    "num_workers",
    "open_cluster",
    "read_cluster",
    "read_cluster_file",
    "require_workers",
    "software",
    "wait_for_workers",
    "worker_spec",
]
