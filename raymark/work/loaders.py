"""Processes that have loaded what calls need: each server of calls is a copy of one.

Loading takes seconds, a copy milliseconds. A loader is asked for nothing else, so that no server
holds what another one was given.
"""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from raymark.work.threads import ONE_THREAD

_REAPED_S = 1.0
"""Longest time for the system to tell how a process has ended [s]."""

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
