"""Calls of functions in processes that did nothing before, and that nothing survives.

A server process has loaded the libraries of a function, and nothing else; a fresh copy of it
answers each call (on Linux; elsewhere it answers one and ends; `raymark.work.servers`). Unlike a
pool of Python's own, it may be started by the workers of Dask, needs nobody's `__main__`, and shows
a call neither the arguments nor the standard streams of this process.

A confined call is for code that is not ours: it begins in a folder of its own, has few variables of
the environment, is confined to its `Reach` where the system can, and answers with bytes alone, of
which nothing is run here.
"""

import atexit
import contextlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raymark.errors import ConfigError, ProcessDiedError, WorkError
from raymark.work.calls import Call, parts_of
from raymark.work.loaders import Kind
from raymark.work.sandbox import Reach
from raymark.work.servers import CopiedServer, Server, SingleServer

_CAN_FORK = sys.platform == "linux"
"""Elsewhere system libraries may break in a copy of a process."""

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
    request = pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
    answer, error, details = parts_of(server.ask(request, getattr(_of_thread, "output", None)))
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
        self._servers: dict[int, Server] = {}
        self._has_ended = False
        self._lock = threading.Lock()

    def use(self) -> None:
        """Let the calls of this thread be answered by a server of these."""
        _of_thread.processes = self

    def server(self, modules: tuple[str, ...], *, is_confined: bool = False) -> Server:
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
            kind = Kind(modules=modules, is_confined=is_confined)
            if known is None or known.kind != kind or not known.is_running:
                if known is not None:
                    known.end()
                known = self._servers[thread] = (CopiedServer if _CAN_FORK else SingleServer)(kind)
            return known

    def end(self) -> None:
        """End all servers, whatever they are doing, and start no other."""
        with self._lock:
            self._has_ended = True
            for server in self._servers.values():
                server.end()


_OF_ALL_THREADS = FreshProcesses()
"""The servers of threads that have named none: they end with this process."""

atexit.register(_OF_ALL_THREADS.end)
