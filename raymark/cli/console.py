"""What the command line prints with: results to stdout, progress and messages to stderr."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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

# Paths and names may hold brackets, which must not be taken for markup.
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


class _RateColumn(ProgressColumn):
    """Finished units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} {self._unit}/s" if speed else f"- {self._unit}/s")


@contextmanager
def progress_bar(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on stderr; yields a function that advances it."""
    with _progress(unit) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def stage_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage on stderr; yields a function told stage, done and total."""
    with _progress("items") as progress:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield update


@contextmanager
def text_bars() -> Iterator[Callable[[str, int, int, str], None]]:
    """Show a bar with time left for each stage; yields a function told a short text, too."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=err) as progress:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, note=note)
            progress.update(tasks[stage], completed=done, total=total, note=note)

        yield update


def _progress(unit: str) -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Hold a first Ctrl-C back until the yielded function is called; a second one acts at once.

    Inside a kernel of the ray tracer an interrupt would surface as an error of the tracer's own.
    """
    requested = False
    previous = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        signal.signal(signal.SIGINT, previous)
        err.print("stopping after this shard; Ctrl-C again stops at once")

    def raise_if_requested() -> None:
        if requested:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield raise_if_requested
    finally:
        signal.signal(signal.SIGINT, previous)


def print_error(text: str) -> None:
    """Print one red sentence to stderr, without breaking its line."""
    err.print(Text(f"error: {text}", style="red"), soft_wrap=True)


def duration(seconds: float) -> str:
    """Write a time as people do."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def cell(value: object) -> str:
    """Write a value for a table: three digits of a number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
