"""Loaded by Dask into every worker process here: Ctrl-C is left to the process that waits."""

import signal
from typing import Any


def dask_setup(_worker: Any) -> None:
    """Ignore Ctrl-C: the terminal sends it to all processes, and the driver decides what stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
