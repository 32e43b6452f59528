"""What is asked of a fresh process, what it answers, and how both are written to a pipe."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from raymark.errors import WorkError
from raymark.work.sandbox import Reach

ANSWERED = 113
"""Exit code of a process that has answered; a call that exits by itself has another."""

_LENGTH, _CODE = struct.Struct(">Q"), struct.Struct(">i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked of a process.

    Attributes:
        function: What to call.
        arguments: With what.
        room: Where it begins, if it is confined; it returns bytes then.
        reach: What it may use beside, if it is confined.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    room: Path | None = None
    reach: Reach | None = None


def write_frame(file: IO[bytes], content: bytes) -> None:
    """Write some bytes after their number."""
    file.write(_LENGTH.pack(len(content)))
    file.write(content)
    file.flush()


def read_frame(file: IO[bytes]) -> bytes:
    """Read what `write_frame` wrote.

    Raises:
        EOFError: If the other side is gone.
    """
    (length,) = _LENGTH.unpack(_read(file, _LENGTH.size))
    return _read(file, length)


def end_of(code: int, answer: bytes) -> bytes:
    """Return how the process of a call ended, and what it has answered, as `ended_of` reads it."""
    return _CODE.pack(code) + answer


def ended_of(content: bytes) -> tuple[int, bytes]:
    """Return the exit code of the process of a call, and its answer, if that is `ANSWERED`."""
    return _CODE.unpack(content[: _CODE.size])[0], content[_CODE.size :]


def answer_of(error: str | None, details: str, result: bytes = b"") -> bytes:
    """Return an answer as `parts_of` reads it."""
    header = json.dumps([error, details]).encode()
    return _LENGTH.pack(len(header)) + header + result


def parts_of(answer: bytes) -> tuple[bytes, str | None, str]:
    """Return what a call has returned, or the sentence of its error and its traceback.

    Raises:
        WorkError: If it is no answer: whoever was called has written over it.
    """
    try:
        (length,) = _LENGTH.unpack(answer[: _LENGTH.size])
        error, details = json.loads(answer[_LENGTH.size :][:length])
    except (struct.error, ValueError, TypeError) as problem:
        raise WorkError("its process has spoilt its own answer") from problem
    return answer[_LENGTH.size + length :], error, str(details)


def _read(file: IO[bytes], length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        more = file.read(length - len(content))  # a pipe gives what is there
        if not more:
            raise EOFError(f"{len(content)} of {length} bytes came")
        content += more
    return bytes(content)
