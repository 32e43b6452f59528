"""The workers of a description, ready to be handed to whatever needs work done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raymark.errors import counted
from raymark.work.cluster.base import ClusterDescription
from raymark.work.cluster.checks import require_workers
from raymark.work.cluster.starting import open_cluster, wait_for_workers
from raymark.work.executor import Executor


@contextmanager
def cluster_workers(
    description: ClusterDescription,
    *,
    time_limit_s: float = 3600.0,
    report: Callable[[str], None] = lambda _text: None,
) -> Iterator[Executor]:
    """Start or reach a cluster whose workers are fit, and yield them; they end on the way out.

    Args:
        description: What to start, from `read_cluster`.
        time_limit_s: Longest time of one task [s]; then its worker is ended, and another tries.
        report: Told what is waited for, where one can watch, and warnings.

    Raises:
        ConfigError: If they cannot be started or reached, or are unfit.
    """
    with open_cluster(description) as client:
        found = wait_for_workers(client, description, report=report)
        for warning in require_workers(client):
            report(warning)
        report(f"{counted(found, 'worker')}; dashboard: {client.dashboard_link}")
        from raymark.work.dask_workers import DaskWorkers  # noqa: PLC0415 - it imports Dask

        yield DaskWorkers(client, time_limit_s=time_limit_s, num_expected=description.num_expected)
