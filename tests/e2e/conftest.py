"""What `raymark quickstart` makes, and schedulers and workers of Dask as processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import raymark

from raymark.work.cluster import Scheduler

StartDask = Callable[..., subprocess.Popen[str]]
StartScheduler = Callable[..., tuple[Scheduler, subprocess.Popen[str]]]


@pytest.fixture(autouse=True, scope="session")
def _heeds_ctrl_c() -> None:
    """Let what the tests start heed Ctrl-C: a job in the background of a shell ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def quickstart_folder(
    make_once: Callable[[str, Callable[[Path], None]], Path], pytestconfig: pytest.Config
) -> Path:
    """Return what `raymark quickstart` makes, copied from where the option says it lies."""

    def fill(folder: Path) -> None:
        made: Path | None = pytestconfig.getoption("--quickstart")
        if made is not None:
            shutil.copytree(made, folder, dirs_exist_ok=True)
            return
        done = raymark("quickstart", "--out", folder)
        assert done.returncode == 0, done.stderr

    return make_once("quickstart", fill)


@pytest.fixture
def start_dask(tmp_path: Path) -> Iterator[StartDask]:
    """Start a `dask` command, which is ended after the test; its output is in its file."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        kind: str, *arguments: str, code: str = "", **environment: str
    ) -> subprocess.Popen[str]:
        script = f"{code}\nfrom distributed.cli.dask_{kind} import main; main()"
        with (tmp_path / f"{len(started)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", script, *arguments],
                env=os.environ | environment,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                text=True,
            )
        started.append(process)
        return process

    yield begin
    for process in reversed(started):
        process.terminate()
    for process in started:
        # Long enough for a nanny and its worker; one whose scheduler is gone would wait for it.
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def start_scheduler(tmp_path: Path, start_dask: StartDask) -> StartScheduler:
    """Start a scheduler on a free port."""
    count = 0

    def begin(**environment: str) -> tuple[Scheduler, subprocess.Popen[str]]:
        nonlocal count
        count += 1
        file = tmp_path / f"scheduler-{count}.json"
        arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        process = start_dask("scheduler", *arguments, "--scheduler-file", str(file), **environment)
        while not (file.is_file() and file.stat().st_size > 0):
            assert process.poll() is None, "the scheduler ended"
            time.sleep(0.1)
        return Scheduler(address=json.loads(file.read_text())["address"]), process

    return begin
