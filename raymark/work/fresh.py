"""Calls of functions in processes that did nothing before, and that nothing survives.

A server process has loaded the libraries of a function, and nothing else; a fresh copy of it
answers each call (on Linux; elsewhere it answers one and ends): loading takes seconds, copying
milliseconds. Unlike a pool of Python's own, it may be started by the workers of Dask, needs
nobody's `__main__`, and shows a call neither the arguments nor the standard streams of this
process.

A confined call is for code that is not ours: it begins in a folder of its own, has few variables of
the environment, is confined to its `Reach` where the system can, and answers with bytes alone, of
which nothing is run here.
"""

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from raymark.errors import ConfigError, ProcessDiedError, WorkError
from raymark.storage import write_text
from raymark.work.calls import Call, parts_of, read_frame, write_frame
from raymark.work.sandbox import Reach
from raymark.work.threads import ONE_THREAD

_CAN_FORK = sys.platform == "linux"
"""Elsewhere system libraries may break in a copy of a process."""

_END_S = 30.0
"""Longest time for a server to end by itself [s]; it may still be loading."""

_LONGEST_PART_BYTES = 10_000_000
"""Of what a call prints, so much is kept of the beginning and of the end [B]."""

_HARMLESS = (
    *("PATH", "LANG", "LC_", "TZ", "LD_LIBRARY_PATH", "DYLD_", "PYTHON", "VIRTUAL_ENV", "CONDA_"),
    *("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "OMP_", "MKL_", "OPENBLAS_", "ATEN_"),
    *("TORCH_", "PYTORCH_", "TF_CPP_", "TF_ENABLE_", "TF_FORCE_", "TF_GPU_", "XLA_", "JAX_"),
)
"""How the names of variables begin that a confined call has."""

_of_thread = threading.local()


def run_fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process that computes with one thread.

    Args:
        function: What to call; a name of a module.
        arguments: Its arguments; they and the result are copied.

    Raises:
        WorkError: If it raises; the sentence is that of its error, whose traceback is noted.
        ProcessDiedError: If its process dies.
        ConfigError: If the function belongs to a script, which no other process can import.
    """
    answer = _answer_to(Call(function=function, arguments=arguments))
    return pickle.loads(answer)  # noqa: S301 - of our own code


def run_confined(
    function: Callable[..., bytes],
    *arguments: Any,
    room: Path,
    reach: Reach,
    loaded: tuple[str, ...] = (),
) -> bytes:
    """Call a function as `run_fresh` does, confined; it returns bytes, which come as they are.

    Args:
        function: What to call; a name of a module.
        arguments: Its arguments; they are copied.
        room: Folder in which it begins, and the only one in which it may write.
        reach: What else it may use.
        loaded: Modules that it is likely to import, and finds loaded.

    Raises:
        WorkError: If it raises; the sentence is that of its error, whose traceback is noted.
        ProcessDiedError: If its process dies.
        ConfigError: If the function belongs to a script, which no other process can import.
    """
    return _answer_to(Call(function=function, arguments=arguments, room=room, reach=reach), loaded)


def _answer_to(call: Call, loaded: tuple[str, ...] = ()) -> bytes:
    function = call.function
    if function.__module__ == "__main__":
        raise ConfigError(
            f"function '{function.__name__}' belongs to the script that runs, which another "
            "process cannot import; put it into a module"
        )
    processes: FreshProcesses = getattr(_of_thread, "processes", _OF_ALL_THREADS)
    modules = (function.__module__, *loaded)
    server = processes.server(modules, is_confined=call.room is not None)
    answer, error, details = server.ask(call)
    if error is None:
        return answer
    problem = WorkError(error)
    problem.add_note(details)
    raise problem


@contextlib.contextmanager
def printing_to(file: Path) -> Iterator[None]:
    """Let a file get what the calls of this thread print; it is not made if they print nothing.

    Without, it goes to the standard error of this process, after each call.
    """
    _of_thread.output = file
    try:
        yield
    finally:
        del _of_thread.output


class FreshProcesses:
    """The servers of some threads: they end together."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._servers: dict[int, _Server] = {}
        self._has_ended = False
        self._lock = threading.Lock()

    def use(self) -> None:
        """Let the calls of this thread be answered by a server of these."""
        _of_thread.processes = self

    def server(self, modules: tuple[str, ...], *, is_confined: bool = False) -> "_Server":
        """Return the server of this thread; it has loaded some modules.

        Args:
            modules: That of the function to call, and others.
            is_confined: Whether its calls are.

        Raises:
            ProcessDiedError: If all have been ended.
        """
        with self._lock:
            if self._has_ended:
                raise ProcessDiedError("no process starts any more: the run was left")
            thread = threading.get_ident()
            known = self._servers.get(thread)
            is_for = (modules, is_confined)
            if known is None or known.is_for != is_for or not known.is_running:
                if known is not None:
                    known.end()
                known = self._servers[thread] = _Server(*is_for)
            return known

    def end(self) -> None:
        """End all servers, whatever they are doing, and start no other."""
        with self._lock:
            self._has_ended = True
            for server in self._servers.values():
                server.end()


class _Server:
    """A process that answers one call after the other."""

    def __init__(self, modules: tuple[str, ...], is_confined: bool) -> None:
        self.is_for = (modules, is_confined)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        # In a session of its own, Ctrl-C in a terminal does not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "raymark.work.fresh_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=_plain_environment() if is_confined else os.environ | ONE_THREAD,
            cwd=os.sep if is_confined else None,
            start_new_session=True,
        )
        self._requests, self._answers = self._pipes()
        path = [str(Path(x).absolute()) for x in sys.path if x] if is_confined else sys.path
        write_frame(self._requests, pickle.dumps((path, modules, _CAN_FORK)))

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def ask(self, call: Call) -> tuple[bytes, str | None, str]:
        request = pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
        try:
            try:
                write_frame(self._requests, request)
                answer = read_frame(self._answers)
            finally:
                self._hand_on_what_it_printed()
        except (EOFError, OSError) as error:
            how = _how(self._process.wait())
            self.end()
            raise ProcessDiedError(
                f"its process died ({how}): out of memory, or a crash of a library"
            ) from error
        except BaseException:  # such as Ctrl-C: the answer would be taken for that of the next call
            self.end()
            raise
        if not _CAN_FORK:
            self.end()
        return parts_of(answer)

    def end(self) -> None:
        """Let it end, and all that it has started: it does when its pipe is closed."""
        with contextlib.suppress(OSError):  # of what could not be sent any more
            self._requests.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._printed.close()

    def _hand_on_what_it_printed(self) -> None:
        """Empty the file that the process prints to; both are at the same place in it."""
        text = _without_middle(self._printed)
        self._printed.seek(0)
        self._printed.truncate()
        file: Path | None = getattr(_of_thread, "output", None)
        if text and file is not None:
            write_text(file, text)
        elif file is not None:
            file.unlink(missing_ok=True)
        else:
            sys.stderr.write(text)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise ProcessDiedError("a process was started without pipes")
        return requests, answers


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


def _plain_environment() -> dict[str, str]:
    """Return the variables that code needs to compute; none that names a place or a secret."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(_HARMLESS)}
    # Its locks would lie where no confined process writes; it warns of that.
    return kept | ONE_THREAD | {"JOBLIB_MULTIPROCESSING": "0"}


def _how(code: int) -> str:
    """Tell an exit code; a signal is negative, or 128 more, as in a shell."""
    number = -code if code < 0 else code - 128
    names = {member.value: member.name for member in signal.Signals}
    return f"killed by {names[number]}" if number in names else f"exit code {code}"


_OF_ALL_THREADS = FreshProcesses()
"""The servers of threads that have named none: they end with this process."""

atexit.register(_OF_ALL_THREADS.end)
