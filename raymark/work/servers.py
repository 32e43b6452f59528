"""The other side of `raymark.work.fresh_server`: processes that answer calls, and how they start.

On Linux a loader imports what calls need, once for this process and all its runs; each server is a
copy of it, made in milliseconds, and answers every call in a copy of its own. It is copied before
anything is asked: what a call was given, no other server holds. Elsewhere a server is a process
that loads for itself, answers one call and ends.
"""

import abc
import atexit
import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from raymark.errors import ProcessDiedError
from raymark.storage import write_text
from raymark.work.calls import ANSWERED, ended_of, read_frame, write_frame
from raymark.work.threads import ONE_THREAD

_END_S = 30.0
"""Longest time for a server to end by itself [s]; it may still be loading."""

_REAPED_S = 1.0
"""Longest time for the system to tell how a process has ended [s]."""

_LONGEST_PART_BYTES = 10_000_000
"""Of what a call prints, so much is kept of the beginning and of the end [B]."""

_HARMLESS = (
    *("PATH", "LANG", "LC_", "TZ", "LD_LIBRARY_PATH", "DYLD_", "PYTHON", "VIRTUAL_ENV", "CONDA_"),
    *("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "OMP_", "MKL_", "OPENBLAS_", "ATEN_"),
    *("TORCH_", "PYTORCH_", "TF_CPP_", "TF_ENABLE_", "TF_FORCE_", "TF_GPU_", "XLA_", "JAX_"),
)
"""How the names of variables begin that a confined call has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a server is for.

    Attributes:
        modules: What it has loaded.
        is_confined: Whether its calls are.
    """

    modules: tuple[str, ...]
    is_confined: bool

    @property
    def folder(self) -> str:
        """Where it begins."""
        return os.sep if self.is_confined else str(Path.cwd())

    @property
    def path(self) -> list[str]:
        """Where its calls find modules."""
        return [str(Path(x).absolute()) for x in sys.path if x] if self.is_confined else sys.path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its calls."""
        return _plain_environment() if self.is_confined else os.environ | ONE_THREAD


class Loader:
    """A process that has loaded modules, of which each server is a copy."""

    def __init__(self, kind: Kind) -> None:
        """Start it; it loads when the first copy is asked for."""
        self._began = kind.folder, kind.environment
        self._control, theirs = socket.socketpair()
        with theirs:
            # In a session of its own, Ctrl-C in a terminal does not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "raymark.work.fresh_server", "copied"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=kind.environment,
                cwd=kind.folder,
                start_new_session=True,
            )

    @classmethod
    def of(cls, kind: Kind) -> "Loader":
        """Return that of this process; a new one if it has ended, or began in another world."""
        with _lock:
            known = _loaders.get(kind)
            if known is None or not known._serves(kind):
                if known is not None:
                    known.end()
                known = _loaders[kind] = cls(kind)
            return known

    def copy(self, requests: int, answers: int, printed: int) -> None:
        """Ask for a server that holds these descriptors; of a loader that has ended, none comes."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [b"."], [requests, answers, printed])

    def exit_code(self) -> int | None:
        """Return how it ended; None if it did not."""
        try:
            return self._process.wait(_REAPED_S)
        except subprocess.TimeoutExpired:
            return None

    def end(self, *, with_copies: bool = False) -> None:
        """End it, whether or not it has loaded; its copies go on if they need not end, too."""
        self._control.close()
        if with_copies:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self.exit_code() is None:  # it is still loading
            self._process.kill()
            self._process.wait()

    def _serves(self, kind: Kind) -> bool:
        has_ended = self._process.poll() is not None
        return not has_ended and self._began == (kind.folder, kind.environment)


def _plain_environment() -> dict[str, str]:
    """Return the variables that code needs to compute; none that names a place or a secret."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(_HARMLESS)}
    # Its locks would lie where no confined process writes; it warns of that.
    return kept | ONE_THREAD | {"JOBLIB_MULTIPROCESSING": "0"}


_lock = threading.Lock()
_loaders: dict[Kind, Loader] = {}
"""Those of this process, kept from run to run: loading takes seconds."""


@atexit.register
def _end_loaders() -> None:
    with _lock:
        while _loaders:
            _loaders.popitem()[1].end()


class Server(abc.ABC):
    """A process that answers calls, one after the other."""

    def __init__(self, kind: Kind) -> None:
        """Start it."""
        self.kind, self._owner = kind, os.getpid()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        asked, answered = self._pipes()
        with asked, answered:
            self._start(asked.fileno(), answered.fileno(), self._printed.fileno())
        with contextlib.suppress(OSError):  # of one that has ended: its first call tells how
            write_frame(self._requests, pickle.dumps((kind.path, kind.modules)))

    @property
    @abc.abstractmethod
    def is_running(self) -> bool:
        """Whether it can be asked."""

    @abc.abstractmethod
    def _start(self, requests: int, answers: int, printed: int) -> None:
        """Start a process that holds these descriptors."""

    @abc.abstractmethod
    def _await_end(self) -> None:
        """Wait until it has ended, or end it."""

    @abc.abstractmethod
    def _exit_code(self) -> int | None:
        """Return how it ended, if that is known."""

    def ask(self, call: bytes, output: Path | None) -> bytes:
        """Let it answer a call.

        Args:
            call: A `Call`, pickled.
            output: File that gets what the call prints; our standard error if None.

        Returns:
            What `answer_of` made.

        Raises:
            ProcessDiedError: If the process of the call dies.
        """
        try:
            try:
                write_frame(self._requests, call)
                code, answer = ended_of(read_frame(self._answers))
            finally:
                self._hand_on_what_it_printed(output)
        except (EOFError, OSError) as error:
            known = self._exit_code()
            self.end()
            raise _died("its server was ended" if known is None else _how(known)) from error
        except BaseException:  # such as Ctrl-C: the answer would be taken for that of the next call
            self.end()
            raise
        if code != ANSWERED:
            raise _died(_how(code))
        return answer

    def end(self) -> None:
        """Let it end, and all that it has started: it does when its pipe is closed."""
        with contextlib.suppress(OSError):  # of what could not be sent any more
            self._requests.close()
        if os.getpid() == self._owner and not self._answers.closed:
            self._await_end()
        self._answers.close()
        self._printed.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """Keep our ends of two pipes; return those of the process."""
        asked, requests = os.pipe()
        answers, answered = os.pipe()
        self._requests, self._answers = os.fdopen(requests, "wb"), os.fdopen(answers, "rb")
        return os.fdopen(asked, "rb"), os.fdopen(answered, "wb")

    def _hand_on_what_it_printed(self, output: Path | None) -> None:
        """Empty the file that the process prints to; both are at the same place in it."""
        text = _without_middle(self._printed)
        self._printed.seek(0)
        self._printed.truncate()
        if text and output is not None:
            write_text(output, text)
        elif output is not None:
            output.unlink(missing_ok=True)
        else:
            sys.stderr.write(text)


class CopiedServer(Server):
    """A copy of a loader, which answers each call in a copy of itself."""

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return not self._answers.closed and not self._has_hung_up(0.0)

    def _start(self, requests: int, answers: int, printed: int) -> None:
        self._loader = Loader.of(self.kind)
        self._loader.copy(requests, answers, printed)

    def _await_end(self) -> None:
        if not self._has_hung_up(_END_S):
            self._loader.end(with_copies=True)

    def _exit_code(self) -> int | None:
        return self._loader.exit_code()

    def _has_hung_up(self, timeout_s: float) -> bool:
        """Tell whether nobody holds the other end of the pipe: its process has ended."""
        poll = select.poll()
        poll.register(self._answers, 0)
        return bool(poll.poll(1e3 * timeout_s))


class SingleServer(Server):
    """A process that loads for itself, and ends when it has answered one call."""

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, call: bytes, output: Path | None) -> bytes:
        """Let it answer a call, and end; see `Server`."""
        answer = super().ask(call, output)
        self.end()
        return answer

    def _start(self, requests: int, answers: int, printed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "raymark.work.fresh_server", "single"],
            stdin=requests,
            stdout=answers,
            stderr=printed,
            env=self.kind.environment,
            cwd=self.kind.folder,
            start_new_session=True,
        )

    def _await_end(self) -> None:
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _exit_code(self) -> int:
        return self._process.wait()


def _without_middle(file: IO[bytes]) -> str:
    """Return the text of a file; of a long one the first and the last part."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= 2 * _LONGEST_PART_BYTES:
        return file.read().decode(errors="replace")
    first = file.read(_LONGEST_PART_BYTES)
    file.seek(size - _LONGEST_PART_BYTES)
    left_out = f"\n[{size - 2 * _LONGEST_PART_BYTES} bytes are left out]\n"
    return first.decode(errors="replace") + left_out + file.read().decode(errors="replace")


def _died(how: str) -> ProcessDiedError:
    return ProcessDiedError(f"its process died ({how}): out of memory, or a crash of a library")


def _how(code: int) -> str:
    """Tell an exit code; a signal is negative, or 128 more, as in a shell."""
    number = -code if code < 0 else code - 128
    names = {member.value: member.name for member in signal.Signals}
    return f"killed by {names[number]}" if number in names else f"exit code {code}"
