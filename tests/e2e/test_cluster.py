"""Real clusters of two processes: started here, reached over TCP, submitted to a queue."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raymark.errors import ConfigError
from raymark.work.cluster import (
    LocalCluster,
    Scheduler,
    SlurmQueue,
    list_workers,
    num_workers,
    open_cluster,
    require_workers,
    wait_for_workers,
)
from raymark.work.cluster.settings import import_dask

sys.path.append(str(Path(__file__).parent))  # of the workers, too: they inherit it

from cluster_jobs import interrupt_oneself, kill_oneself, look_around
from command_line import COMMAND, raymark

pytestmark = pytest.mark.slow

TWO = LocalCluster(num_workers=2, memory_per_worker_gb=1)
StartDask = Callable[..., subprocess.Popen[str]]
StartScheduler = Callable[..., tuple[Scheduler, subprocess.Popen[str]]]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    with open_cluster(TWO) as client:
        assert wait_for_workers(client, TWO) == 2
        yield client


def test_workers_compute_with_one_thread_when_they_run_here(two_workers: Any) -> None:
    assert two_workers.gather(two_workers.map(abs, [-1, -2, -3])) == [1, 2, 3]
    reports = list_workers(two_workers)
    assert [(report.num_threads, report.memory_bytes) for report in reports] == [(1, 10**9)] * 2
    for seen in two_workers.run(look_around).values():
        assert seen["threads"] == ["1", "1", "1"]
        assert seen["gpus"] == ""
        assert seen["spilling"] == [False, False]
        assert seen["pausing"] is False


def test_strangers_are_turned_away_when_workers_run_here(two_workers: Any) -> None:
    """Whoever reaches a scheduler may have it run anything: the port is open to all users."""
    address = two_workers.scheduler.address
    assert address.startswith("tls://127.0.0.1:")

    for claimed in (address, address.replace("tls://", "tcp://")):
        with pytest.raises(ConfigError, match="is no Dask scheduler that can be used from here"):
            Scheduler(address=claimed).check()
    distributed = import_dask()
    of_another_run = distributed.Security.temporary()
    with pytest.raises(OSError, match="certificate"):
        distributed.Client(address, security=of_another_run, timeout=10, set_as_default=False)


def test_dashboard_answers_when_a_cluster_is_open(two_workers: Any) -> None:
    assert two_workers.dashboard_link.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(two_workers.dashboard_link, timeout=20) as answer:  # noqa: S310
        assert answer.status == 200


def test_workers_are_accepted_when_they_are_like_this_process(two_workers: Any) -> None:
    assert require_workers(two_workers, memory_bytes=10**9) == []


def test_workers_are_refused_when_their_memory_is_too_small(two_workers: Any) -> None:
    said = r"worker tls://127.0.0.1:\d+ on .* has 1.00 GB of memory, and this work needs 1.50 GB"
    with pytest.raises(ConfigError, match=said):
        require_workers(two_workers, memory_bytes=1_500_000_000)


def test_workers_live_on_when_the_terminal_sends_an_interrupt(two_workers: Any) -> None:
    pids = sorted(two_workers.run(interrupt_oneself).values())

    assert sorted(seen["pid"] for seen in two_workers.run(look_around).values()) == pids


def test_worker_is_started_again_when_it_is_killed(
    two_workers: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {report.pid for report in list_workers(two_workers)}

    address = list_workers(two_workers)[0].address
    two_workers.run(kill_oneself, workers=[address], on_error="ignore")

    def has_new_worker() -> bool:
        return num_workers(two_workers) == 2 and before != {
            report.pid for report in list_workers(two_workers)
        }

    wait_until(has_new_worker)
    assert capfd.readouterr() == ("", "")


def test_environment_is_as_before_when_a_cluster_was_closed() -> None:
    before = dict(os.environ)

    with (
        pytest.raises(KeyError, match="mine"),
        open_cluster(LocalCluster(num_workers=1, memory_per_worker_gb=1)),
    ):
        raise KeyError("mine")  # an error of the block is not dressed up

    assert dict(os.environ) == before


def wait_until(is_true: Callable[[], bool], timeout_s: float = 60) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.2)


def fake_version(folder: Path, package: str, version: str) -> str:
    """Return a search path on which a package claims another version."""
    path = folder / "others" / f"{package}-{version}.dist-info"
    path.mkdir(parents=True)
    (path / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return str(path.parent)


def test_scheduler_is_used_and_left_running_when_it_ran_before(
    tmp_path: Path, start_dask: StartDask, start_scheduler: StartScheduler
) -> None:
    described, _ = start_scheduler()
    for threads in ("1", "2"):
        start_dask("worker", described.address, "--nthreads", threads, "--no-dashboard")

    for _ in range(2):  # closing does not end it
        with open_cluster(described) as client:
            wait_until(lambda client=client: num_workers(client) == 2)
            assert client.submit(sum, [1, 2]).result() == 3
            (warning,) = require_workers(client)

    assert "1 of 2 workers have more than one thread" in warning
    done = raymark("cluster", "check", described.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tcp://127.0.0.1:") == 2
    assert "all have the same software" in done.stdout


def test_scheduler_without_workers_is_told_when_work_should_begin(
    tmp_path: Path, start_dask: StartDask, start_scheduler: StartScheduler
) -> None:
    described, _ = start_scheduler()

    with (
        open_cluster(described) as client,
        pytest.raises(
            ConfigError, match=f"0 of 1 worker came in 1 s; .*worker {described.address}"
        ),
    ):
        wait_for_workers(client, described, timeout_s=1.0)


def test_scheduler_is_refused_when_it_runs_another_dask(
    tmp_path: Path, start_dask: StartDask, start_scheduler: StartScheduler
) -> None:
    other = fake_version(tmp_path, "distributed", "2020.1.0")
    described, _ = start_scheduler(PYTHONPATH=other)

    with (
        pytest.raises(ConfigError, match=r"runs distributed 2020.1.0, and this process distribut"),
        open_cluster(described),
    ):
        pass


def test_workers_are_refused_when_they_run_another_raymark(
    tmp_path: Path, start_dask: StartDask, start_scheduler: StartScheduler
) -> None:
    described, _ = start_scheduler()
    other = fake_version(tmp_path, "raymark", "9.9.9")
    start_dask("worker", described.address, "--nthreads", "1", "--no-dashboard", PYTHONPATH=other)

    with open_cluster(described) as client:
        wait_for_workers(client, described)
        with pytest.raises(ConfigError, match=r"numbers: raymark 9.9.9 \(here .*one environment"):
            require_workers(client)


def test_workers_are_refused_when_they_have_no_raymark(
    tmp_path: Path, start_dask: StartDask, start_scheduler: StartScheduler
) -> None:
    described, _ = start_scheduler()
    hide = "import sys; sys.modules['raymark'] = None"
    start_dask("worker", described.address, "--no-nanny", "--no-dashboard", code=hide)

    with open_cluster(described) as client:
        wait_for_workers(client, described)
        with pytest.raises(ConfigError, match=r"No module named 'raymark.*same environment there"):
            require_workers(client)


def test_scheduler_is_refused_when_nobody_listens() -> None:
    with (
        pytest.raises(ConfigError, match=r"nobody answers at tcp://127.0.0.1:1 .*refused"),
        open_cluster(Scheduler(address="tcp://127.0.0.1:1")),
    ):
        pass


def test_scheduler_is_refused_when_something_else_listens() -> None:
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().partition("port ")[2].split()[0]
        with (
            pytest.raises(ConfigError, match="is no Dask scheduler that can be used from here"),
            open_cluster(Scheduler(address=f"tcp://127.0.0.1:{port}")),
        ):
            pass
    finally:
        server.terminate()
        server.communicate(timeout=30)


def fake_slurm(tmp_path: Path, num_taken: int) -> Path:
    """Make `sbatch` and `scancel` of a few lines, which start so many jobs at once and no more."""
    queue = tmp_path / "bin"
    jobs = tmp_path / "jobs"
    queue.mkdir()
    jobs.mkdir()
    (queue / "sbatch").write_text(
        f"#!/bin/sh\nfor i in $(seq {num_taken}); do\n"
        f"  mkdir {jobs}/slot-$i 2>/dev/null && taken=yes && break; done\n"
        'test "$taken" || { echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; }\n'
        f'cp "$1" {jobs}/$$.sh\n'
        f"setsid bash {jobs}/$$.sh >{jobs}/$$.log 2>&1 &\n"
        f'echo $! >{jobs}/$!.pid; echo "Submitted batch job $!"\n'
    )
    (queue / "scancel").write_text('#!/bin/sh\nkill -- "-$1"\n')
    for command in queue.iterdir():
        command.chmod(0o755)
    return queue


def processes_of_jobs(tmp_path: Path) -> list[int]:
    """Return those that run, of the jobs that were taken."""
    numbers = [int(path.stem) for path in (tmp_path / "jobs").glob("*.pid")]
    return [number for number in numbers if Path(f"/proc/{number}/cmdline").exists()]


SLURM = SlurmQueue(num_workers=2, memory_per_worker_gb=1, walltime_h=1, prologue=("true",))


@pytest.mark.needs("dask_jobqueue")
def test_jobs_become_workers_when_the_queue_runs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(fake_slurm(tmp_path, 2)), prepend=":")
    told: list[str] = []

    with open_cluster(SLURM) as client:
        assert wait_for_workers(client, SLURM, timeout_s=60.0, report=told.append) >= 1
        client.wait_for_workers(2, timeout=60)
        workers = list(client.scheduler_info()["workers"].values())
        assert len(processes_of_jobs(tmp_path)) == 2

    assert [worker["nthreads"] for worker in workers] == [1, 1]
    assert workers[0]["memory_limit"] == pytest.approx(1e9, rel=0.01)  # written as 0.93GiB
    assert all("waiting for the first worker of slurm" in text for text in told)
    assert_ended(tmp_path)


@pytest.mark.needs("dask_jobqueue")
@pytest.mark.parametrize("num_taken", [0, 1])
def test_cluster_is_refused_when_the_queue_refuses_a_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, num_taken: int
) -> None:
    monkeypatch.setenv("PATH", str(fake_slurm(tmp_path, num_taken)), prepend=":")

    with (
        pytest.raises(ConfigError, match=rf"slurm took {num_taken} of 2 jobs.*QOSMaxSubmitJobPer"),
        open_cluster(SLURM),
    ):
        pass

    assert len(list((tmp_path / "jobs").glob("*.pid"))) == num_taken
    assert_ended(tmp_path)


def assert_ended(tmp_path: Path) -> None:
    deadline_s = time.monotonic() + 30
    while processes_of_jobs(tmp_path) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert processes_of_jobs(tmp_path) == []


def test_doctor_examines_every_worker_when_given_a_cluster() -> None:
    done = raymark("doctor", "--cluster", "local:2")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a test kernel ran") == 2
    assert "2 of 2 workers can make datasets" in done.stdout
    assert done.stderr.splitlines() == [
        "Every worker examines itself (the first time compiles kernels) ..."
    ]


@pytest.mark.needs("dask_jobqueue")
def test_example_is_checked_when_it_was_shown_and_saved(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(raymark("cluster", "show", "slurm").stdout)

    done = raymark("cluster", "check", str(path))

    assert done.returncode == 0, done.stderr
    assert "#SBATCH --mem=8G" in done.stdout
    assert "slurm" in raymark("cluster", "examples").stdout


@pytest.mark.parametrize("command", [("cluster", "check"), ("doctor", "--cluster")])
def test_command_ends_with_one_sentence_when_the_text_is_wrong(command: tuple[str, str]) -> None:
    done = raymark(*command, "local:x")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: local: is followed by the number of worker processes, got 'local:x'; write "
        "local:4 for four"
    ]


@pytest.mark.needs("dask_kubernetes")
def test_command_ends_with_one_sentence_when_there_is_no_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("kind: kubernetes\nnum_workers: 2\nmemory_per_worker_gb: 1\nimage: mine:1\n")

    # In a process of its own: Dask leaves a cluster that failed to start unclosed, and warns of it.
    done = subprocess.run(
        [*COMMAND, "doctor", "--cluster", path],
        env=os.environ | {"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: Kubernetes did not start cluster 'raymark' (")
    assert done.stderr.count("\n") == 1
