"""The process that answers calls of `run_fresh`; run it as `python -m raymark.work.fresh_server`.

It loads what the calls need, once, and answers every call in a copy of itself.
"""

import contextlib
import ctypes
import importlib
import os
import pickle
import select
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from pathlib import Path
from typing import IO

from raymark.errors import sentence_of
from raymark.work.calls import Call, answer_of, read_frame, write_frame
from raymark.work.sandbox import Reach, confine

_ANSWERED = 113
"""Exit code of a copy that has answered; a call that exits by itself has another."""

_ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of `linux/prctl.h`."""


def main() -> None:
    """Answer calls until nobody asks any more."""
    # Unbuffered: what stands after a frame is for the copy that answers, or for the next one.
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    _use_other_streams()
    with contextlib.suppress(EOFError):
        path, modules, can_fork = pickle.loads(read_frame(requests))  # noqa: S301 - our parent's
        sys.path[:] = path
        for module in modules:
            with contextlib.suppress(Exception):  # the call that needs it fails with the reason
                importlib.import_module(module)
        if not can_fork:
            content = read_frame(requests)
            threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
            write_frame(answers, _called(content))
            return
        ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
        while _is_asked(requests):
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
    """Exit as the copy did if it has not answered.

    The copy holds neither pipe while it works: it could read or answer what it was not asked.
    """
    with tempfile.TemporaryFile() as answer:
        with warnings.catch_warnings():
            # The other thread is that of pyarrow's allocator, which is made to be copied.
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            content = read_frame(requests)
            requests.close()
            answers.close()
            answer.write(_called(content))
            answer.flush()
            os._exit(_ANSWERED)
        with contextlib.suppress(OSError):  # whoever comes first: it must have a group from now on
            os.setpgid(child, child)
        is_wanted = _has_ended(child, requests)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # with all that it has started
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        _end_orphans()
        if code != _ANSWERED or not is_wanted:
            os._exit(128 - code if code < 0 else code)  # of a signal, as a shell does
        answer.seek(0)
        write_frame(answers, answer.read())


def _end_orphans() -> None:
    """End what has left the group of its call: nothing outlives a call."""
    while orphans := [pid for pid in _processes() if _parent_of(pid) == os.getpid()]:
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _parent_of(pid: int) -> int | None:
    """Return the parent of a process, if it is still there."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[1])


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


def _called(request: bytes) -> bytes:
    """Make a call; return its answer as `parts_of` reads it."""
    try:
        call: Call = pickle.loads(request)  # noqa: S301 - our parent's
        if call.room is not None and call.reach is not None:
            _settle(call.room, call.reach)
        result = call.function(*call.arguments)
        body = result if call.room is not None else pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        answer = answer_of(None, "", bytes(body))
    except BaseException as problem:  # a call may exit as well
        answer = answer_of(sentence_of(problem), traceback.format_exc())
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    return answer


def _settle(room: Path, reach: Reach) -> None:
    """Begin in a folder, which is home and place of temporary files, and confined."""
    os.chdir(room)
    os.environ.update(dict.fromkeys(("HOME", "TMPDIR", "PWD"), str(room)))
    tempfile.tempdir = None
    confine(room, reach)


if __name__ == "__main__":
    main()
