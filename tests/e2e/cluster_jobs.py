"""What the tests of clusters have workers do; a module of its own, for workers to import."""

import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

KILLER = 25


class UnsendableError(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = open(os.devnull)  # noqa: PTH123, SIM115 - any object that cannot be sent


def double(number: int) -> int:
    return 2 * number


def raise_for(number: int) -> int:
    if number == 3:
        raise UnsendableError("three is refused")
    return number


def first_time(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def die_once(marker: Path | None) -> str:
    if marker is not None and first_time(marker):
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die_at(number: int, block: int) -> tuple[int, int]:
    time.sleep(0.05)
    if number == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, block


def hang_once(marker: Path | None) -> str:
    if marker is not None and first_time(marker):
        # Holds the interpreter's lock, as native code may: no thread of Python can stop it.
        ctypes.PyDLL(None).sleep(1000)
    return "back"


def worker_of(value: str) -> tuple[int, str]:
    time.sleep(0.05)
    return os.getpid(), value


def fill_disk() -> None:
    """Let this process write no more than a byte to any file, which fails as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


def look_around(dask_worker: Any) -> dict[str, Any]:
    memory = dask_worker.memory_manager
    return {
        "pid": os.getpid(),
        "threads": [os.environ[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")],
        "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
        "spilling": [memory.memory_target_fraction, memory.memory_spill_fraction],
        "pausing": memory.memory_pause_fraction,
    }


def interrupt_oneself() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return os.getpid()


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
