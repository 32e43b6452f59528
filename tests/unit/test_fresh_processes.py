"""Calls in fresh processes: what they see, how they fail, and that nothing survives them."""

import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raymark.errors import ConfigError, ProcessDiedError, WorkError
from raymark.work.executor import Finished, Shared, TaskKind, ThisMachine, ThisProcess
from raymark.work.fresh import FreshProcesses, printing_to, run_fresh

EXIT_S = 20.0
"""By far enough for a process to notice that its parent is gone."""
KIND = TaskKind(name="test")

needs_copies = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere processes are not copied"
)

ORPHAN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from own_jobs import note_and_sleep
from raymark.work.fresh import run_fresh
run_fresh(note_and_sleep, Path(sys.argv[1]) / "pid")
"""
OWN_JOBS = """
import os, time
def note_and_sleep(path):
    path.write_text(str(os.getpid()))
    time.sleep(600)
"""


def run(jobs: list[str], num_jobs: int) -> dict[str, Finished[str]]:
    """The function that the jobs call is `eval`: a process must be able to import it."""
    done = ThisMachine(num_jobs).run(KIND, run_fresh, jobs, lambda job: (eval, job))
    return {task.job: task for task in done}


@pytest.fixture
def processes() -> Iterator[FreshProcesses]:
    """Of a thread of its own, so that other tests keep theirs."""
    made = FreshProcesses()
    yield made
    made.end()


def test_every_job_comes_back_when_one_raises_and_two_kill_their_process() -> None:
    killer = "__import__('os').kill(__import__('os').getpid(), 9)"
    leaver, numbers = "__import__('os')._exit(0)", [str(i) for i in range(1, 6)]

    found = run(["1 / 0", killer, leaver, *numbers], 2)

    assert found["1 / 0"].error == "ZeroDivisionError: division by zero"
    assert "Traceback" in found["1 / 0"].attempts[0].details
    assert (
        found[killer].error
        == "its process died (killed by SIGKILL): out of memory, or a crash of a library"
    )
    assert (
        found[leaver].error
        == "its process died (exit code 0): out of memory, or a crash of a library"
    )
    assert {x: found[x].result for x in numbers} == {x: int(x) for x in numbers}


def test_call_sees_one_thread_and_nothing_of_its_parent_or_of_another_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    leave = "setattr(__import__('sys'), 'left', 1)"
    look = (
        "(__import__('os').environ['OMP_NUM_THREADS'], __import__('sys').argv[1:], "
        "__import__('sys').stdin.read(), hasattr(__import__('sys'), 'left'))"
    )

    found = run([leave, look], 1)

    assert found[look].result == ("1", [], "", False)
    assert os.environ["OMP_NUM_THREADS"] == "7"


@needs_copies
def test_what_is_loaded_serves_all_threads_and_the_next_run() -> None:
    """All servers are copies of one process, and answer at the same time."""
    loader = (
        "[__import__('time').sleep(0.5), __import__('os').getppid(), "
        "open(f'/proc/{{__import__(\"os\").getppid()}}/stat').read().split()[3], {}][1:]"
    )
    results = [
        found.result for _ in range(2) for found in run(list(map(loader.format, "12")), 2).values()
    ]

    assert len({server for server, _, _ in results}) == 4
    assert len({parent for _, parent, _ in results}) == 1


@needs_copies
def test_call_is_told_of_and_the_next_one_answered_when_its_server_is_killed() -> None:
    killer = "__import__('os').kill(__import__('os').getppid(), 9)"

    found = run([killer, "1 + 1"], 1)

    assert found[killer].error is not None
    assert found[killer].error.startswith("its process died (its server was ended)")
    assert found["1 + 1"].result == 2


@needs_copies
def test_code_is_loaded_anew_when_its_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own_answers.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    file.write_text("def answer():\n    return 1\n", encoding="utf-8")
    answer = importlib.import_module("own_answers").answer
    first = next(ThisMachine(1).run(KIND, run_fresh, [1], lambda _job: (answer,))).result
    file.write_text("def answer():\n    return 'another'\n", encoding="utf-8")

    second = next(ThisMachine(1).run(KIND, run_fresh, [1], lambda _job: (answer,))).result

    assert (first, second) == (1, "another")


def test_torch_computes_with_one_thread_in_a_fresh_process() -> None:
    assert run_fresh(eval, "__import__('torch').get_num_threads()") == 1


def test_what_a_call_prints_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    call = "[print('noise'), 2][1]"
    assert run([call], 1)[call].result == 2
    assert "noise" in capfd.readouterr().err


def test_results_are_the_same_when_processes_cannot_be_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("raymark.work.fresh._CAN_FORK", False)

    found = run(["1 + 1", "__import__('os')._exit(3)", "2 + 2"], 1)

    assert found["1 + 1"].result == 2
    assert (
        found["__import__('os')._exit(3)"].error
        == "its process died (exit code 3): out of memory, or a crash of a library"
    )
    assert found["2 + 2"].result == 4


def test_errors_are_told_when_something_cannot_be_sent() -> None:
    with pytest.raises(WorkError, match=r"cannot pickle|Can't pickle"):
        run_fresh(eval, "lambda: 0")
    assert run_fresh(eval, "1") == 1


def test_function_of_a_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "__module__", "__main__")
    with pytest.raises(ConfigError, match="function 'run' belongs to the script that runs"):
        run_fresh(run)


def test_no_process_starts_when_there_is_no_job() -> None:
    assert run([], 2) == {}


def test_processes_end_when_the_run_is_left(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = "(__import__('pathlib').Path({!r}).write_text(str(__import__('os').getpid())), {})"
    sleep = code.format(str(note), "__import__('time').sleep(600)")
    jobs = ["1", sleep, *(["2"] * 5)]
    done = ThisMachine(2).run(KIND, run_fresh, jobs, lambda job: (eval, job))
    next(done)
    _wait_until(lambda: note.is_file() and note.read_text() != "")

    done.close()

    assert not _is_running(int(note.read_text()))
    assert not [x for x in threading.enumerate() if x.name.startswith("test")]


def test_call_dies_and_leaves_nothing_when_it_has_started_a_process_that_holds_its_pipes() -> None:
    """Such as one that loads data: it would keep the pipe of answers open for ever."""
    call = "(__import__('os').fork() and __import__('os')._exit(1)) or __import__('time').sleep(99)"
    died = "its process died (exit code 1): out of memory, or a crash of a library"

    found = run([call, "1 + 1"], 1)

    assert found[call].error == died
    assert found["1 + 1"].result == 2


def test_no_call_is_answered_when_its_processes_have_ended(processes: FreshProcesses) -> None:
    processes.end()
    with pytest.raises(ProcessDiedError, match="the run was left"):
        processes.server(("builtins",))


def test_this_process_raises_at_once_and_hands_out_shared_values() -> None:
    jobs: list[Any] = [Shared(key="a", value="1 + 1"), "1 / 0", "3"]
    done = ThisProcess().run(KIND, eval, jobs, lambda job: (job,))

    assert next(done).result == 2
    with pytest.raises(ZeroDivisionError):
        next(done)


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


def test_what_a_call_prints_goes_to_a_file_or_to_our_errors_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "cell" / "output.log"
    with printing_to(log):
        run_fresh(print, "into the log")
        first = log.read_text(encoding="utf-8")
        run_fresh(len, "nothing is printed")
    run_fresh(print, "aloud")

    assert first == "into the log\n"
    assert not log.exists()
    assert capsys.readouterr() == ("", "aloud\n")


def test_middle_of_what_a_call_prints_is_counted_when_it_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raymark.work.servers._LONGEST_PART_BYTES", 10)

    with printing_to(tmp_path / "log"):
        run_fresh(print, "a" * 10 + "b" * 25 + "c" * 9)

    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert text == f"{'a' * 10}\n[25 bytes are left out]\n{'c' * 9}\n"


def test_last_words_of_a_process_are_kept_when_it_dies(tmp_path: Path) -> None:
    words = "print('last words') or __import__('os').kill(__import__('os').getpid(), 9)"

    with printing_to(tmp_path / "log"), pytest.raises(ProcessDiedError, match="SIGKILL"):
        run_fresh(eval, words)

    assert (tmp_path / "log").read_text(encoding="utf-8") == "last words\n"
