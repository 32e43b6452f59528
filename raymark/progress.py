"""Bars of long work, on a terminal and in a notebook alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _RateColumn(ProgressColumn):
    """Finished units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} {self._unit}/s" if speed else f"- {self._unit}/s")


@contextmanager
def progress_bars(
    unit: str = "items", *, console: Console | None = None
) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar with rate and time left for each stage of some work.

    Yields what the functions of raymark take as `progress`: it is told a stage's name, how much of
    it is done, and how much there is.

    Args:
        unit: What the rate counts.
        console: Where the bars go; stderr if not given, or below the cell of a notebook.

    Example:
        >>> with progress_bars("UEs") as progress:
        ...     progress("trace", 5, 10)
    """
    with unit_bars(unit, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield update


def unit_bars(unit: str, *, console: Console | None = None) -> Progress:
    """Return what shows bars with a rate; `progress_bars` is how most use it.

    Args:
        unit: What the rate counts.
        console: Where the bars go; stderr if not given, or below the cell of a notebook.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console or Console(stderr=True))
