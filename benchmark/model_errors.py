"""Errors of a model's code as one sentence, with the file and line where it stands."""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from raymark.errors import WorkError, sentence_of
from raymark.storage import write_text

_PLACED = re.compile(r"(.*) at (.+:\d+(?: in \S+)?)", re.DOTALL)
"""A sentence of `told_by_line`: the error, and where it was."""


@contextmanager
def told_by_line(folder: Path, *, traceback_file: Path | None = None) -> Iterator[None]:
    """Let what a model's code raises end as one sentence that names its file and line.

    Args:
        folder: Of the model's code.
        traceback_file: Gets the whole traceback, and is named in the sentence.

    Raises:
        WorkError: If the code of the model raises; other errors come as they are.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        place = place_in(folder, error)
        if place is None:
            raise
        sentence = f"{sentence_of(error)} at {place}"
        if traceback_file is not None:
            write_text(traceback_file, traceback.format_exc())
            sentence += f"; the whole traceback is in {traceback_file}"
        raise WorkError(sentence) from error


def place_in(folder: Path, error: BaseException | None) -> str | None:
    """Return the last line of a folder's code that an error, or what caused it, came through.

    Returns:
        `file:line in function`, or `file:line` of a syntax error; None if it was no such code.
    """
    if error is None:
        return None
    if isinstance(error, SyntaxError) and _is_in(folder, error.filename):
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_in(folder, frame.filename):
            return f"{frame.filename}:{frame.lineno} in {frame.name}"
    return place_in(folder, error.__cause__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureKind:
    """What several cells of one model failed of.

    Attributes:
        model: Name of the model.
        reason: Sentence of the first of them.
        places: Folders of the cells, as `RunReport.failures` names them.
    """

    model: str
    reason: str
    places: tuple[str, ...]


def kinds_of_failure(failures: Iterable[tuple[str, str]]) -> list[FailureKind]:
    """Return failures of cells by their kind: model, line and sentence, but for its numbers.

    Args:
        failures: Place, `task/model/seed`, and reason of each.
    """
    kinds: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for place, reason in failures:
        placed = _PLACED.fullmatch(reason)
        sentence, line = placed.groups() if placed else (reason, "")
        key = place.split("/")[-2], re.sub(r"\d+", "#", sentence), line
        kinds.setdefault(key, []).append((place, reason))
    return [
        FailureKind(model=key[0], reason=cells[0][1], places=tuple(place for place, _ in cells))
        for key, cells in kinds.items()
    ]


def _is_in(folder: Path, file: str | None) -> bool:
    return file is not None and Path(file).resolve().is_relative_to(folder.resolve())
