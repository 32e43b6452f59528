import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from raymark.work.processes import run_jobs

EXIT_S = 20.0
"""By far enough for a process to notice that its parent is gone."""

ORPHAN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from own_jobs import note_and_sleep
from raymark.work.processes import run_jobs
if __name__ == "__main__":
    list(run_jobs(note_and_sleep, [Path(sys.argv[1]) / "pid"], lambda path: (path,), 1))
"""
OWN_JOBS = """
import os, time
def note_and_sleep(path):
    path.write_text(str(os.getpid()))
    time.sleep(600)
"""


def own(job: str) -> tuple[str]:
    """The function that the jobs below call is `eval`: a process must be able to import it."""
    return (job,)


@pytest.mark.slow
def test_every_job_comes_back_when_one_raises_and_one_kills_its_process() -> None:
    killer, numbers = "__import__('os')._exit(1)", [str(i) for i in range(1, 6)]

    found = dict(run_jobs(eval, ["1 / 0", killer, *numbers], own, 2))

    assert isinstance(found.pop("1 / 0"), ZeroDivisionError)
    assert isinstance(found.pop(killer), BrokenProcessPool)
    assert found == {number: int(number) for number in numbers}


@pytest.mark.slow
def test_processes_use_one_thread_and_leave_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    threads = "__import__('os').environ['OMP_NUM_THREADS']"

    assert dict(run_jobs(eval, [threads], own, 1)) == {threads: "1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_no_process_starts_when_there_is_no_job() -> None:
    assert list(run_jobs(eval, [], own, 2)) == []


@pytest.mark.slow
def test_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "own_jobs.py").write_text(OWN_JOBS, encoding="utf-8")
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    note = tmp_path / "pid"
    _wait_until(lambda: note.is_file() and note.read_text() != "")

    parent.kill()
    parent.wait()

    _wait_until(lambda: not _is_running(int(note.read_text())))


def _wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + EXIT_S
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    if not Path("/proc").is_dir():
        pytest.skip("needs Linux's /proc")
    return status.is_file() and status.read_text().split(")")[1].split()[0] != "Z"
