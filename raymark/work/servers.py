"""The other side of `raymark.work.fresh_server`: processes that answer calls, and how they start.

On Linux a server is a copy of a process that has loaded what its calls need, once for this process
and all its runs (`raymark.work.loaders`), and answers every call in a copy of its own. Elsewhere a
server loads for itself, answers one call and ends.
"""

import abc
import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from raymark.errors import ProcessDiedError
from raymark.storage import write_text
from raymark.work.calls import ANSWERED, ended_of, read_frame, write_frame
from raymark.work.loaders import Kind, Loader

_END_S = 30.0
"""Longest time for a server to end by itself [s]; it may still be loading."""

_LONGEST_PART_BYTES = 10_000_000
"""Of what a call prints, so much is kept of the beginning and of the end [B]."""


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
