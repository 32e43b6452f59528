"""Weak scaling of generation over workers of this machine, and what a shard costs beside its work.

    python perf/scaling.py [--scene munich] [--shard-size 5000] [--json FILE]

Every row makes as many UEs for each worker, in one scene with diffraction at three bands, by
workers of one thread. Every dataset is made twice, and the second time is told: by then the workers
have imported the ray tracer, compiled its kernels and loaded the scene. `work` is the time in which
workers were inside a task, as the logs tell; until the last task ended, the rest of their time is
waiting. The peer is the same campaign as processes without Dask make it, with one thread each.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from raymark.config import validate
from raymark.dataset.campaign import Campaign
from raymark.work.cluster import LocalCluster, open_cluster

MakeCampaign = Callable[[int], dict[str, Any]]
"""Gives the campaign of so many UEs."""

ALONE = """
import json, sys, time
from pathlib import Path
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate
from raymark.generator.plan import make_plan
from raymark.generator.tracing.backend import use_one_thread

use_one_thread()
campaign, shard_size, folder = json.loads(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
plan = make_plan(Campaign.model_validate(campaign))
generate(plan, folder / "first", shard_size=shard_size)
started = time.perf_counter()
generate(plan, folder / "second", shard_size=shard_size)
print(time.perf_counter() - started)
"""


def main() -> None:
    """Run all rows and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="munich")
    parser.add_argument("--shard-size", type=int, default=5000, help="about ten seconds")
    parser.add_argument("--num-shards", type=int, default=4, help="shards for each worker")
    parser.add_argument("--most-workers", type=int, default=8, help="of the largest row")
    parser.add_argument("--discovery", default="standard", help="how thorough")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    size, count = arguments.shard_size, arguments.num_shards
    made = partial(campaign, arguments.scene, arguments.discovery)
    nums = [num for num in (1, 2) if num <= arguments.most_workers]
    peers = [alone(made, num, count, size) for num in nums]
    workers = [spread(made, num, count, size) for num in nums]
    rows = [*peers, *workers]
    if arguments.most_workers > 2:
        rows.append(spread(made, arguments.most_workers, 6, size // 10))
    ratios = {"one_worker_to_one_process": workers[0]["ues_per_s"] / peers[0]["ues_per_s"]}
    if len(nums) > 1:
        ratios["two_processes_to_one"] = peers[1]["ues_per_s"] / peers[0]["ues_per_s"]
        ratios["two_workers_to_one"] = workers[1]["ues_per_s"] / workers[0]["ues_per_s"]
    print(json.dumps(ratios, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, **ratios}, indent=1) + "\n")


def campaign(scene: str, discovery: str, num_ues: int) -> dict[str, Any]:
    """Return the campaign of one row."""
    return {
        "name": "perf",
        "scenes": [scene],
        "bands": ["2.6GHz", "6GHz", "28GHz"],
        "sampling": {"kind": "tracks", "num_ues": num_ues},
        "tracer": {"diffraction": True, "discovery": discovery},
    }


def alone(
    made: MakeCampaign, num_processes: int, num_shards: int, shard_size: int
) -> dict[str, float]:
    """Make the UEs of one worker in each of some processes without Dask, at once."""
    num_ues = num_shards * shard_size
    text = json.dumps(made(num_ues))
    with tempfile.TemporaryDirectory() as scratch:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", ALONE, text, str(shard_size), f"{scratch}/made-{index}"],
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            for index in range(num_processes)
        ]
        seconds = max(float(process.communicate()[0]) for process in processes)
    rate = num_processes * num_ues / seconds
    print(
        f"{num_processes:>3} processes{num_processes * num_ues:>8} UEs{seconds:>8.1f} s"
        f"{rate:>7.0f} UEs/s without Dask",
        flush=True,
    )
    return {"processes": num_processes, "seconds": seconds, "ues_per_s": rate}


def spread(
    made: MakeCampaign, num_workers: int, num_shards: int, shard_size: int
) -> dict[str, float]:
    """Make so many shards for each of some workers."""
    from raymark.generator.generate import (  # noqa: PLC0415 - after the peers have run
        make_dataset,
        planned_dataset,
    )
    from raymark.work.dask_workers import DaskWorkers  # noqa: PLC0415 - the same

    num_ues = num_workers * num_shards * shard_size
    checked = validate(Campaign, made(num_ues), where="perf")
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_cluster(LocalCluster(num_workers=num_workers)) as client,
    ):
        folder = Path(scratch) / "second"
        client.wait_for_workers(num_workers, timeout=120)
        workers = nullcontext(DaskWorkers(client))
        with planned_dataset(checked, workers, shard_size=shard_size) as planned:
            make_dataset(planned, folder.with_name("first"))
            started = time.time()
            make_dataset(planned, folder)
            seconds = time.time() - started
        files = list(folder.glob("logs/*/*/*.log"))
        tasks_s = max(path.stat().st_mtime for path in files) - started
        logs = [path.read_text(encoding="utf-8") for path in files]
    work_s = sum(float(x) for log in logs for x in re.findall(r", ([0-9.]+) s: done", log))
    row = {
        "workers": num_workers,
        "ues": num_ues,
        "seconds": seconds,
        "ues_per_s": num_ues / seconds,
        "task_s": work_s / len(files),
        "waiting": num_workers * tasks_s / work_s - 1,
        "finish_s": seconds - tasks_s,
    }
    print(
        f"{num_workers:>3} workers  {num_ues:>8} UEs{seconds:>8.1f} s{row['ues_per_s']:>7.0f} UEs/s"
        f"{row['task_s']:>7.1f} s a task{row['waiting']:>7.1%} waiting"
        f"{row['finish_s']:>6.1f} s to finish",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
