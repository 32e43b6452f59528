"""What others add to a release beside the data: files of their own, which they also check."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from raymark.dataset import Dataset
from raymark.release.record import Benchmark

SPLITS_FOLDER, AUDIT_FOLDER, RUN_FOLDER, BOARD_FOLDER = "splits", "audit", "run", "board"
SUITE_NAME = f"{SPLITS_FOLDER}/suite.json"
SUMMARY_NAME, BOARD_ROWS_NAME = f"{BOARD_FOLDER}/summary.csv", f"{BOARD_FOLDER}/board.csv"


@runtime_checkable
class BenchmarkPart(Protocol):
    """A benchmark's files: `raymark.benchmark.release_part` makes them."""

    def require(self, dataset: Dataset) -> None:
        """Check that the files are of a dataset, before anything of it is copied.

        Args:
            dataset: The one that is published.
        """

    def add(self, dataset: Dataset, *, progress: Callable[[str], None]) -> Benchmark:
        """Write the files into the folder of a dataset, and return their record.

        Args:
            dataset: The one in the folder of the release.
            progress: Told of each step.
        """


BenchmarkFaults = Callable[[Path], Iterable[str]]
"""Makes the files of a benchmark anew from a release, and returns a sentence for every fault."""
