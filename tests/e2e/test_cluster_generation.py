"""Datasets made by real workers: the same content whoever makes it, and whatever befalls them."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.append(str(Path(__file__).parent))  # of the workers, too: they inherit it

from cluster_jobs import fill_disk
from command_line import raymark
from distributed import Client

from raymark.config import validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.campaign import Campaign
from raymark.dataset.verification import verify_dataset
from raymark.errors import ClusterError
from raymark.generator.generate import (
    GenerationReport,
    generate_dataset,
    make_dataset,
    planned_dataset,
)
from raymark.work.cluster import LocalCluster, Scheduler, open_cluster
from raymark.work.dask_workers import DaskWorkers

FINISHED, FAILED, BAD_INPUT = 0, 1, 2
NUM_KILLS = 3
ONE_PROCESS = ("--nthreads", "1", "--no-dashboard", "--no-nanny")
StartDask = Callable[..., subprocess.Popen[str]]
StartScheduler = Callable[..., tuple[Scheduler, subprocess.Popen[str]]]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Client]:
    """Two processes for all tests that leave them as they were, or dead: those come back."""
    with open_cluster(LocalCluster(num_workers=2)) as client:
        client.wait_for_workers(2, timeout=120)
        yield client


def make(
    campaign: dict[str, Any], folder: Path, client: Client, *, shard_size: int = 10, **options: Any
) -> GenerationReport:
    checked = validate(Campaign, campaign, where="test")
    workers = nullcontext(DaskWorkers(client))
    return generate_dataset(checked, folder, workers=workers, shard_size=shard_size, **options)


def assert_equal(made: Path, expected: Dataset) -> None:
    assert verify_dataset(made) == []
    found = open_dataset(made)
    assert found.manifest.content_hash == expected.manifest.content_hash
    assert found.manifest.arrays == expected.manifest.arrays
    assert found.manifest.completeness == expected.manifest.completeness
    assert found.manifest.buildings == expected.manifest.buildings


@pytest.mark.slow
def test_content_is_that_of_one_process_when_workers_share_the_shards(
    small_campaign: dict[str, Any], small_dataset: Dataset, two_workers: Client, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    report = make(
        small_campaign,
        tmp_path / "made",
        two_workers,
        shard_size=7,
        progress=lambda *call: told.append(call),
    )
    again = make(small_campaign, tmp_path / "made", two_workers, shard_size=7)

    assert report.failures == ()
    assert told[:2] == [("loading", 0, 1), ("loading", 1, 1)]
    assert [done for stage, done, _ in told if stage == "tracing"][::8] == [0, 50]
    assert_equal(tmp_path / "made", small_dataset)
    assert again.manifest == open_dataset(tmp_path / "made").manifest  # nothing was done twice
    log = (tmp_path / "made/logs/street_canyon/bs0/part-0003.log").read_text(encoding="utf-8")
    assert log.startswith("attempt 1 on ")
    assert "process" in log


def kill_one(client: Client, rng: random.Random) -> None:
    """Kill a random worker; if none lives just now, wait for one."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        alive = [nanny.pid for nanny in client.cluster.workers.values() if nanny.pid]
        with suppress(IndexError, ProcessLookupError):
            os.kill(rng.choice(alive), signal.SIGKILL)
            return
        time.sleep(0.1)
    raise AssertionError("no worker came back")


@pytest.mark.slow
def test_content_is_the_same_when_workers_are_killed_again_and_again(
    small_campaign: dict[str, Any], small_dataset: Dataset, two_workers: Client, tmp_path: Path
) -> None:
    """Kill a random worker after every shard until `NUM_KILLS` have died; then let all live."""
    rng, kills = random.Random(0), 0  # noqa: S311 - no secret

    def kill(stage: str, done: int, _total: int) -> None:
        nonlocal kills
        if stage == "tracing" and done and kills < NUM_KILLS:
            time.sleep(rng.uniform(0.0, 0.5))
            kill_one(two_workers, rng)
            kills += 1

    # Three UEs a shard: enough shards that every kill finds work in progress.
    report = make(small_campaign, tmp_path / "made", two_workers, shard_size=3, progress=kill)

    assert report.failures == ()
    assert kills == NUM_KILLS
    assert_equal(tmp_path / "made", small_dataset)
    assert not list((tmp_path / "made").rglob("*.partial"))


@pytest.mark.slow
def test_run_goes_on_when_a_worker_hangs(
    small_campaign: dict[str, Any],
    small_dataset: Dataset,
    tmp_path: Path,
    start_dask: StartDask,
    start_scheduler: StartScheduler,
) -> None:
    """A stopped process answers nobody; the scheduler gives it up and another does its work."""
    # Long enough for a worker that loads a scene on a loaded machine, which answers late.
    described, _ = start_scheduler(DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="25s")
    for _ in range(2):
        start_dask("worker", described.address, *ONE_PROCESS)
    stopped: list[int] = []
    with open_cluster(described) as client:
        client.wait_for_workers(2, timeout=120)
        processes = list(client.run(os.getpid).values())

        def stop(stage: str, done: int, _total: int) -> None:
            if stage == "tracing" and done and not stopped:
                stopped.append(processes[0])
                os.kill(stopped[0], signal.SIGSTOP)

        try:
            report = make(small_campaign, tmp_path / "made", client, shard_size=5, progress=stop)
        finally:
            for process in stopped:
                os.kill(process, signal.SIGKILL)

    assert stopped
    assert report.failures == ()
    assert_equal(tmp_path / "made", small_dataset)


@pytest.mark.slow
def test_run_goes_on_when_the_scheduler_was_killed(
    small_campaign: dict[str, Any],
    small_dataset: Dataset,
    tmp_path: Path,
    start_dask: StartDask,
    start_scheduler: StartScheduler,
) -> None:
    def attempt(on_shard: Callable[[subprocess.Popen[str]], None]) -> GenerationReport:
        described, scheduler = start_scheduler()
        start_dask("worker", described.address, *ONE_PROCESS)
        with open_cluster(described) as client:
            client.wait_for_workers(1, timeout=120)
            return make(
                small_campaign,
                tmp_path / "made",
                client,
                progress=lambda *_: on_shard(scheduler),
            )

    finished: list[Path] = []

    def kill_after_two(scheduler: subprocess.Popen[str]) -> None:
        finished[:] = sorted((tmp_path / "made/paths").rglob("*.h5"))
        if len(finished) >= 2:
            scheduler.kill()

    with pytest.raises(ClusterError, match="is gone; nothing that was finished is lost"):
        attempt(kill_after_two)
    times = {path: path.stat().st_mtime_ns for path in finished}
    report = attempt(lambda _scheduler: None)

    assert report.failures == ()
    assert {path: path.stat().st_mtime_ns for path in finished[:2]} == {
        path: times[path] for path in finished[:2]
    }
    assert_equal(tmp_path / "made", small_dataset)


@pytest.mark.slow
def test_run_goes_on_when_one_worker_cannot_write(
    small_campaign: dict[str, Any], small_dataset: Dataset, two_workers: Client, tmp_path: Path
) -> None:
    checked, there = validate(Campaign, small_campaign, where="test"), DaskWorkers(two_workers)
    two_workers.wait_for_workers(2, timeout=120)
    with planned_dataset(checked, nullcontext(there), shard_size=5) as planned:
        one = [next(iter(two_workers.scheduler_info()["workers"]))]
        process = two_workers.run(os.getpid, workers=one)[one[0]]
        two_workers.run(fill_disk, workers=one)
        try:
            report = make_dataset(planned, tmp_path / "made")
        finally:
            os.kill(process, signal.SIGKILL)  # another comes back, which can write

    assert report.failures == ()
    assert_equal(tmp_path / "made", small_dataset)
    logs = "".join(x.read_text("utf-8") for x in (tmp_path / "made/logs").rglob("*.log"))
    assert "File too large" in logs  # it was tried there, and then elsewhere


@pytest.mark.slow
def test_rest_is_made_when_a_shard_fails_three_times(
    small_campaign: dict[str, Any], small_dataset: Dataset, two_workers: Client, tmp_path: Path
) -> None:
    campaign, made = tmp_path / "campaign.yaml", tmp_path / "made"
    campaign.write_text(yaml.safe_dump(small_campaign), encoding="utf-8")
    arguments = ("generate", campaign, "--out", made, "--shard-size", 10, "--cluster", "local:1")
    in_the_way = made / "detail/street_canyon/bs0/part-0002.h5/a_folder"

    first = raymark(*arguments, "--dry-run")
    assert first.returncode == FINISHED, first.stderr
    assert "would trace 50 links" in first.stdout
    assert not made.exists()

    # Begun, so that the folder is there, and something stands in a shard's way.
    def block(stage: str, done: int, _total: int) -> None:
        if stage == "tracing" and done:
            in_the_way.mkdir(parents=True, exist_ok=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(small_campaign, made, two_workers, progress=block)
    failed = raymark(*arguments)
    shutil.rmtree(in_the_way.parent)
    finished = make(small_campaign, made, two_workers)

    assert failed.returncode == FAILED
    said = " ".join(failed.stderr.split())
    assert "part-0002.h5 is no regular file; move it elsewhere" in said
    assert "1 task failed for good, the rest is done" in said
    assert "Traceback" not in failed.stderr
    assert "dashboard: http" in failed.stderr
    log = (made / "logs/street_canyon/bs0/part-0002.log").read_text(encoding="utf-8")
    assert log.count("attempt ") == 1  # of the run that succeeded
    assert finished.failures == ()
    assert_equal(made, small_dataset)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "cluster", "said"),
    [
        ({"bands": ["6GHz", "28GHZ?"]}, "local:2", "bands"),
        ({"tracer": {"max_dept": 3}}, "local:2", "max_dept"),
        ({"scenes": ["munch"]}, "local:2", "did you mean 'munich'?"),
        ({}, "local:none", "local:4"),
        ({}, "tcp://127.0.0.1:1", "nobody answers at tcp://127.0.0.1:1"),
    ],
)
def test_wrong_input_is_refused_when_no_worker_has_started(
    small_campaign: dict[str, Any], tmp_path: Path, change: dict[str, Any], cluster: str, said: str
) -> None:
    campaign = tmp_path / "campaign.yaml"
    campaign.write_text(yaml.safe_dump(small_campaign | change), encoding="utf-8")

    done = raymark("generate", campaign, "--out", tmp_path / "made", "--cluster", cluster)

    assert done.returncode == BAD_INPUT
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "dashboard" not in done.stderr
    assert not (tmp_path / "made").exists()
