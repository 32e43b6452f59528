"""What every kind of workers answers: how it is started, waited for, checked and called."""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from raymark.config import Strict
from raymark.errors import counted
from raymark.work.cluster.checks import WorkerReport
from raymark.work.cluster.settings import import_dask

NumWorkers = Annotated[int, Field(ge=1, le=100_000, description="Workers of one thread each")]
MemoryGb = Annotated[float, Field(ge=0.5, le=10_000, description="Memory of each worker [GB]")]
NumGpus = Annotated[
    int,
    Field(ge=0, le=1, description="1: a GPU for each worker; 0: workers see no GPU"),
]

SET_BY_RAYMARK = "set by raymark and cannot be changed"
"""Why an option of Dask's is refused, if no key takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a description asks for, to be shown; no worker was started.

    Attributes:
        text: The request itself, or a sentence on it.
        notes: What else should be said, each one sentence.
        workers: Those that are there already.
    """

    text: str
    notes: tuple[str, ...] = ()
    workers: tuple[WorkerReport, ...] = ()


class ClusterDescription(Strict, ABC):
    """Workers, as a user describes them."""

    kind: str
    patience_s: ClassVar[float] = math.inf
    """How long the first workers are waited for [s]."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What messages call it."""

    @property
    def num_expected(self) -> int:
        """Workers that will join in all; 0 if nobody knows."""
        return 0

    @property
    def num_needed(self) -> int:
        """Workers that must be there before work begins."""
        return 1

    @property
    @abstractmethod
    def advice(self) -> str:
        """What to do if no worker comes."""

    @abstractmethod
    def connected(self) -> contextlib.AbstractContextManager[Any]:
        """Start or reach the workers; yields a `distributed.Client`, and ends what was started.

        Raises:
            ConfigError: If a package is missing, if nobody answers, or if it cannot be started.
        """

    @abstractmethod
    def check(self) -> CheckResult:
        """Return what would be asked for; nothing is started.

        Raises:
            ConfigError: If a package is missing, or if a value cannot be used.
        """


class StartedCluster(ClusterDescription):
    """Workers that raymark starts and ends."""

    num_workers: int

    @property
    def label(self) -> str:
        """Kind and number."""
        return f"{self.kind} ({counted(self.num_workers, 'worker')})"

    @property
    def num_expected(self) -> int:
        """All that were asked for."""
        return self.num_workers

    @property
    def advice(self) -> str:
        """Where to look."""
        return "look at the queue, or at the logs of its jobs"

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """Start the workers, yield a client, and end them.

        Raises:
            ConfigError: If a package is missing, or if they cannot be started.
        """
        with (
            contextlib.closing(self.start()) as cluster,
            contextlib.closing(import_dask().Client(cluster, set_as_default=False)) as client,
        ):
            yield client

    @abstractmethod
    def start(self) -> Any:
        """Start scheduler and workers, and return Dask's cluster.

        Raises:
            ConfigError: If a package is missing, or if they cannot be started.
        """


def refuse_twins(options: dict[str, Any], twins: dict[str, str]) -> dict[str, Any]:
    """Return options of Dask's as they are.

    Args:
        options: What a description has below `options`.
        twins: Names that are no options here, each with the reason.

    Raises:
        ValueError: If one of them is given.
    """
    for name in options:
        if name in twins:
            raise ValueError(f"option '{name}' is {twins[name]}")
    return options
