"""The process that answers calls of `run_fresh`; `raymark.work.servers` and its loaders start it.

It loads what the calls need, once. Its copies are servers, and every call is answered in a copy of
one; where nothing can be copied, it answers one call by itself.
"""

import contextlib
import ctypes
import importlib
import os
import pickle
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
import warnings
from pathlib import Path
from types import ModuleType
from typing import IO, NoReturn

from raymark.errors import sentence_of
from raymark.work.calls import ANSWERED, Call, answer_of, end_of, read_frame, write_frame
from raymark.work.sandbox import Reach, confine

_ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of `linux/prctl.h`."""


def main() -> None:
    """Answer one call, or become servers until nobody asks for one any more."""
    is_copied = sys.argv.pop() == "copied"  # calls see no arguments
    if not is_copied:
        requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
        _use_other_streams()
        with contextlib.suppress(EOFError):
            _answer_one(requests, answers)
        return
    control = socket.socket(fileno=os.dup(0))
    _use_other_streams()
    _become_servers(control)


def _answer_one(requests: IO[bytes], answers: IO[bytes]) -> None:
    _load(*_start_of(requests))
    content = read_frame(requests)
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    write_frame(answers, end_of(ANSWERED, _called(content)))


def _become_servers(control: socket.socket) -> NoReturn:
    """Load what the first server needs, as all others, and make a copy for each."""
    loaded: dict[str, int] = {}
    while _is_asked(control):
        if loaded and loaded != _files():  # begin again, with the code that lies there now
            os.dup2(control.fileno(), 0)
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this very command
        message, descriptors, _, _ = socket.recv_fds(control, 1, 3)
        if not message:
            break
        requests, answers, printed = descriptors
        with (
            os.fdopen(requests, "rb", buffering=0) as asked,
            os.fdopen(answers, "wb") as answered,
            contextlib.suppress(EOFError),  # nobody waits for it any more
        ):
            path, modules = _start_of(asked)
            if not loaded:
                _load(path, modules)
                loaded = _files()
            if _copied() == 0:
                control.close()
                os.dup2(printed, 1)
                os.dup2(printed, 2)
                os.close(printed)
                _serve(asked, answered, path)
        os.close(printed)
        _forget_ended()
    _forget_ended()
    os._exit(0)


def _start_of(requests: IO[bytes]) -> tuple[list[str], tuple[str, ...]]:
    path, modules = pickle.loads(read_frame(requests))  # noqa: S301 - our parent's
    return path, modules


def _load(path: list[str], modules: tuple[str, ...]) -> None:
    sys.path[:] = path
    for module in modules:
        with contextlib.suppress(Exception):  # the call that needs it fails with the reason
            importlib.import_module(module)


def _files() -> dict[str, int]:
    """Return the files of all modules that are loaded, and when they were changed [ns]."""
    found = dict[str, int]()
    for module in list(sys.modules.values()):
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(file, str):
            with contextlib.suppress(OSError):
                found[file] = Path(file).stat().st_mtime_ns
    return found


def _copied() -> int:
    with warnings.catch_warnings():
        # The other thread is that of pyarrow's allocator, which is made to be copied.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        return os.fork()


def _forget_ended() -> None:
    """Let the system forget the servers that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _serve(requests: IO[bytes], answers: IO[bytes], path: list[str]) -> NoReturn:
    """Answer calls, each in a copy, until nobody asks any more."""
    sys.path[:] = path
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    with contextlib.suppress(EOFError):  # of a call that came in part
        while _is_asked(requests):
            _answer_in_a_copy(requests, answers)
    os._exit(0)


def _use_other_streams() -> None:
    """Let a call read nothing, and what it prints be no answer."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)


def _is_asked(requests: IO[bytes] | socket.socket) -> bool:
    """Wait for a request; none will come if the other side has closed the pipe."""
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    return bool(poll.poll()[0][1] & select.POLLIN)


def _answer_in_a_copy(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Tell how the copy ended, and what it has answered.

    The copy holds neither pipe while it works: it could read or answer what it was not asked.
    """
    with tempfile.TemporaryFile() as answer:
        child = _copied()
        if child == 0:
            os.setpgid(0, 0)
            content = read_frame(requests)
            requests.close()
            answers.close()
            answer.write(_called(content))
            answer.flush()
            os._exit(ANSWERED)
        with contextlib.suppress(OSError):  # whoever comes first: it must have a group from now on
            os.setpgid(child, child)
        is_wanted = _has_ended(child, requests)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # with all that it has started
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        _end_orphans()
        if not is_wanted:
            os._exit(0)
        answer.seek(0)
        write_frame(answers, end_of(code, answer.read()))


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
