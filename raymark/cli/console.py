"""What the command line prints with: results to stdout, progress and messages to stderr."""

import signal
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

import typer
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from raymark.progress import progress_bars, unit_bars
from raymark.storage import PlaceLike

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_NO_LIMIT = 100_000


class _Printer(Console):
    """A console whose lines are whole in a pipe or a file, and that texts of files cannot steer."""

    @property  # type: ignore[misc] # nobody sets it
    def size(self) -> ConsoleDimensions:
        """Columns and lines of the window; a pipe has no end of columns."""
        size = super().size
        return size if self.is_terminal else ConsoleDimensions(_NO_LIMIT, size.height)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does; what would move the cursor shows as a sign."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(_harmless(segment.text), segment.style)


def _harmless(text: str) -> str:
    """Return a text in which control characters and turns of direction are replaced."""
    return "".join(c if c == "\n" or _is_shown(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs"}


# Paths and names may hold brackets, which must not be taken for markup.
out = _Printer(highlight=False, markup=False)
err = _Printer(stderr=True, highlight=False, markup=False)


@contextmanager
def waiting(title: str) -> Iterator[Callable[[str], None]]:
    """Show that something goes on whose length nobody knows: a bar in a window, else a line.

    Yields a function that is told the title of the next step.
    """
    if not err.is_terminal:
        err.print(f"{title} ...")
        yield lambda step: err.print(f"{step} ...")
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda step: progress.update(task, description=step)


@contextmanager
def progress_bar(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on stderr; yields a function that advances it."""
    with unit_bars(unit, console=err) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def stage_bars(unit: str = "items") -> AbstractContextManager[Callable[[str, int, int], None]]:
    """Show a bar for each stage on stderr; yields a function told stage, done and total."""
    return progress_bars(unit, console=err)


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


@contextmanager
def resumable(folder: PlaceLike) -> Iterator[None]:
    """Let Ctrl-C end a command with one sentence: the same command goes on in `folder`."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(
            f"interrupted; nothing is lost: run the same command to go on in {folder}",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def resumable_bars(folder: PlaceLike) -> Iterator[Callable[[str, int, int], None]]:
    """Show the bars of work elsewhere that is `resumable`; Ctrl-C acts at once."""
    with resumable(folder), stage_bars() as show:
        yield show


@contextmanager
def resumable_tracing(folder: PlaceLike) -> Iterator[Callable[[str, int, int], None]]:
    """Show the bars of a tracing here that is `resumable`; yields a function as `stage_bars` does.

    A first Ctrl-C is held back until that function is called; a second one acts at once. Inside a
    kernel of the ray tracer an interrupt would surface as an error of the tracer's own.
    """
    requested = False
    previous = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        signal.signal(signal.SIGINT, previous)
        err.print("stopping after this step; Ctrl-C again stops at once")

    with resumable(folder), stage_bars() as show:

        def update(stage: str, done: int, total: int) -> None:
            show(stage, done, total)
            if requested:
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, note)
        try:
            yield update
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
    """Write a value for a table: three digits of a number, a dash for what there is none of."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
