"""The process that answers calls of `run_fresh`; run it as `python -m raymark.work.fresh_server`.

It loads what the calls need, once, and answers every call in a copy of itself.
"""

import contextlib
import importlib
import os
import pickle
import select
import signal
import struct
import sys
import threading
import traceback
import warnings
from typing import IO, Any

from raymark.errors import sentence_of

_ANSWERED = 113
"""Exit code of a copy that has answered; a call that exits by itself has another."""

_LENGTH = struct.Struct(">Q")


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


def _read(file: IO[bytes], length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        more = file.read(length - len(content))  # a pipe gives what is there
        if not more:
            raise EOFError(f"{len(content)} of {length} bytes came")
        content += more
    return bytes(content)


def main() -> None:
    """Answer calls until nobody asks any more."""
    # Unbuffered: what stands after a frame is for the copy that answers, or for the next one.
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    _use_other_streams()
    with contextlib.suppress(EOFError):
        path, module, can_fork = pickle.loads(read_frame(requests))  # noqa: S301 - our parent's
        sys.path[:] = path
        with contextlib.suppress(Exception):  # the call that needs it fails with the reason
            importlib.import_module(module)
        if not can_fork:
            content = read_frame(requests)
            threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
            _answer(content, answers)
        while can_fork and _is_asked(requests):
            _answer_in_a_copy(requests, answers)


def _use_other_streams() -> None:
    """Let a call read nothing, and what it prints be no answer."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)


def _is_asked(requests: IO[bytes]) -> bool:
    """Wait for a request; none will come if the other side has closed the pipe."""
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    return bool(poll.poll()[0][1] & select.POLLIN)


def _answer_in_a_copy(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Exit as the copy did if it has not answered."""
    with warnings.catch_warnings():
        # The other thread is that of pyarrow's allocator, which is made to be copied.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        content = read_frame(requests)
        requests.close()
        _answer(content, answers)
        os._exit(_ANSWERED)
    with contextlib.suppress(OSError):  # whoever comes first: it must have a group from now on
        os.setpgid(child, child)
    is_wanted = _has_ended(child, requests)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # with all that it has started
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != _ANSWERED or not is_wanted:
        os._exit(128 - code if code < 0 else code)  # of a signal, as a shell does


def _has_ended(child: int, requests: IO[bytes]) -> bool:
    """Wait until a copy has ended, or, if that is first, nobody waits for its answer any more."""
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(requests, 0)  # that the pipe was closed is told of unasked
    first = [descriptor for descriptor, _ in poll.poll()]
    os.close(ended)
    return ended in first


def _end_with_parent(requests: IO[bytes]) -> None:
    poll = select.poll()
    poll.register(requests, 0)
    poll.poll()
    os.killpg(0, signal.SIGKILL)


def _answer(request: bytes, answers: IO[bytes]) -> None:
    answer = _called(request)
    sys.stdout.flush()
    write_frame(answers, answer)


def _called(request: bytes) -> bytes:
    """Return result, sentence of the error and traceback, as bytes."""
    try:
        function, arguments = pickle.loads(request)  # noqa: S301 - our parent's
        return _bytes_of(function(*arguments), None, "")
    except BaseException as problem:  # a call may exit as well
        return _bytes_of(None, sentence_of(problem), traceback.format_exc())


def _bytes_of(result: Any, error: str | None, details: str) -> bytes:
    return pickle.dumps((result, error, details), pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
