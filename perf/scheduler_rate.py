"""Shards per second of a Dask scheduler, with up to 1,000 workers whose work is a stub.

    python perf/scheduler_rate.py --quick                       two minutes, up to 100 workers
    python perf/scheduler_rate.py --parts rate --json rate.json     up to 1,000 workers
    python perf/scheduler_rate.py --parts ways memory locality

`rate`: a driver keeps max(1000, 4 x workers) shards submitted; shards wait 0, 1 or 10 s. The
scheduler, the workers and the driver share the cores of this machine, so `got` is what all of them
reach together. What the scheduler alone can do follows from its own processor time: `ceiling` is
the share of one core that heartbeats leave, divided by the processor time of a task beyond them.
`ways`: other ways to submit and to collect. `memory`: of the scheduler, per 1,000 tasks.
`locality`: pairs of a worker and a site that it had to load, for the ways to say where a shard
should run; times are those of a shard of 10 s and a load of 5 s, multiplied by `--time-scale`.
"""

import argparse
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client
from stub_cluster import Driver, StubCluster, Work, stub_cluster

MIN_WINDOW, WINDOW_PER_WORKER = 1000, 4
TINY_BYTES, LARGE_BYTES = 100, 500_000_000
SHARD_S, LOAD_S = 10.0, 5.0
NUM_SITES, SHARDS_PER_SITE = 50, 20
LEAST_CPU_S = 0.2
"""Processor time is counted in steps of 10 ms: less than this is no measurement."""
NO_STEALING = {"distributed.scheduler.work-stealing": False}
NO_QUEUE = {"distributed.scheduler.worker-saturation": "inf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run took: wall time and processor time of the three parties [s]."""

    wall_s: float
    scheduler_s: float
    workers_s: float
    driver_s: float


def main() -> None:
    """Measure what the command line asks for."""
    parts = {"rate": rates, "ways": ways, "memory": memory, "locality": locality}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--quick", action="store_true", help="fewer workers and shards")
    parser.add_argument("--time-scale", type=float, default=0.05, help="of the times in `locality`")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = {}
    for part in arguments.parts:
        print(f"\n{part}")
        result[part] = parts[part](arguments)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def rates(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the rate against the number of workers and the length of a shard."""
    print(
        f"{'workers':>7}{'shard s':>8}{'shards':>8}{'asked/s':>9}{'got/s':>8}{'scheduler':>11}"
        f"{'idle':>7}{'CPU ms/task':>13}{'ceiling/s':>11}{'workers ms':>12}{'driver ms':>11}"
    )
    rows = []
    for num_workers in (1, 10, 100) if arguments.quick else (1, 10, 100, 300, 1000):
        started = time.monotonic()
        with stub_cluster(num_workers) as cluster, Client(cluster.address) as client:
            up_s = time.monotonic() - started
            warm_up(client, cluster)
            idle = measure(cluster, lambda: time.sleep(5 if arguments.quick else 10))
            window = max(MIN_WINDOW, WINDOW_PER_WORKER * num_workers)
            for shard_s in (0.0, 1.0) if arguments.quick else (0.0, 1.0, SHARD_S):
                count = num_shards(num_workers, shard_s, arguments.quick)
                work = Work(num_shards=count, shard_s=shard_s, window=window)
                cost = measure(cluster, Driver(client, work, f"{shard_s:g}s").run)
                rows.append(rate_row(num_workers, work, cost, idle) | {"start_s": up_s})
                print_rate(rows[-1])
    return rows


def num_shards(num_workers: int, shard_s: float, quick: bool) -> int:
    """Return how many shards make a run long enough to be timed."""
    if shard_s == 0:
        return 1000 if quick else 5000
    rounds = (3 if quick else 20) / shard_s
    return min(10_000, max(2, int(rounds * num_workers)))


def warm_up(client: Client, cluster: StubCluster) -> None:
    """Let every worker run a shard and hand over its record, which opens the connections."""
    work = Work(num_shards=2 * cluster.num_workers, window=10_000)
    Driver(client, work, "warmup").run()


def measure(cluster: StubCluster, call: Any) -> Cost:
    """Return what a call takes."""
    before, started = cluster.cpu_s(), time.monotonic()
    call()
    wall_s = time.monotonic() - started
    spent = [end - start for end, start in zip(cluster.cpu_s(), before, strict=True)]
    return Cost(wall_s=wall_s, scheduler_s=spent[0], workers_s=spent[1], driver_s=spent[2])


def rate_row(num_workers: int, work: Work, cost: Cost, idle: Cost) -> dict[str, Any]:
    """Turn times into rates."""
    idle_share = idle.scheduler_s / idle.wall_s
    added_s = cost.scheduler_s - idle_share * cost.wall_s
    task_s = added_s / work.num_shards if added_s > LEAST_CPU_S else None
    return {
        "workers": num_workers,
        "shard_s": work.shard_s,
        "shards": work.num_shards,
        "asked_per_s": num_workers / work.shard_s if work.shard_s else None,
        "got_per_s": work.num_shards / cost.wall_s,
        "scheduler_share": cost.scheduler_s / cost.wall_s,
        "idle_share": idle_share,
        "workers_idle_share": idle.workers_s / idle.wall_s,
        "scheduler_ms": 1e3 * task_s if task_s else None,
        "ceiling_per_s": (1 - idle_share) / task_s if task_s else None,
        "workers_ms": 1e3 * cost.workers_s / work.num_shards,
        "driver_ms": 1e3 * cost.driver_s / work.num_shards,
    }


def print_rate(row: dict[str, Any]) -> None:
    """Print one row of `rate`."""
    asked = f"{row['asked_per_s']:.1f}" if row["asked_per_s"] else "any"
    task = f"{row['scheduler_ms']:.2f}" if row["scheduler_ms"] else "-"
    ceiling = f"{row['ceiling_per_s']:.0f}" if row["ceiling_per_s"] else "-"
    print(
        f"{row['workers']:>7}{row['shard_s']:>8.0f}{row['shards']:>8}{asked:>9}"
        f"{row['got_per_s']:>8.1f}{row['scheduler_share']:>11.0%}{row['idle_share']:>7.1%}"
        f"{task:>13}{ceiling:>11}{row['workers_ms']:>12.2f}"
        f"{row['driver_ms']:>11.2f}",
        flush=True,
    )


def ways(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Compare ways to submit and to collect; the ways take turns, medians are printed."""
    base = Work(num_shards=100 if arguments.quick else 1000, num_sites=NUM_SITES)
    sides = {
        "no handle": base,
        "tiny handle": replace(base, claimed_bytes=TINY_BYTES),
        "large handle": replace(base, claimed_bytes=LARGE_BYTES),
        "no handle, submitted one by one": replace(base, batch=1),
        "no handle, refilled by 10": replace(base, batch=10),
        "no handle, records not collected": replace(base, results=False),
        "no handle, keys of one group": replace(base, grouped=True),
    }
    spent: dict[str, list[Cost]] = {name: [] for name in sides}
    with stub_cluster(20 if arguments.quick else 100) as cluster, Client(cluster.address) as client:
        warm_up(client, cluster)
        for turn in range(1 if arguments.quick else 3):
            for number, (name, work) in enumerate(sides.items()):
                run = Driver(client, work, f"{turn}-{number}").run
                spent[name].append(measure(cluster, run))
    print(f"{'':<34}{'got/s':>8}{'scheduler ms/task':>19}{'workers ms':>12}{'driver ms':>11}")
    return {name: median_cost(name, costs, base.num_shards) for name, costs in spent.items()}


def median_cost(name: str, costs: list[Cost], count: int) -> dict[str, float]:
    """Return and print the medians of one way, per task."""
    row = {
        "got_per_s": count / statistics.median(cost.wall_s for cost in costs),
        "scheduler_ms": 1e3 / count * statistics.median(cost.scheduler_s for cost in costs),
        "workers_ms": 1e3 / count * statistics.median(cost.workers_s for cost in costs),
        "driver_ms": 1e3 / count * statistics.median(cost.driver_s for cost in costs),
    }
    values = list(row.values())
    print(f"{name:<34}{values[0]:>8.0f}{values[1]:>19.2f}{values[2]:>12.2f}{values[3]:>11.2f}")
    return row


def memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the scheduler's memory with a window of tasks, and with all of them at once."""
    print(
        f"{'tasks at once':>13}{'keys':>10}{'scheduler MB':>14}{'MB per 1,000':>14}{'submit s':>10}"
    )
    rows = []
    for grouped in (False, True):
        for count in (1000, 4000, 10_000) if arguments.quick else (1000, 4000, 100_000):
            work = Work(num_shards=count, shard_s=3600, grouped=grouped, window=count)
            keys = "one group" if grouped else "single"
            row: dict[str, Any] = {"tasks": count, "keys": keys} | fill(work)
            rows.append(row)
            print(
                f"{count:>13}{row['keys']:>10}{row['bytes'] / 1e6:>14.0f}"
                f"{row['bytes_per_task'] / 1e3:>14.2f}{row['submit_s']:>10.1f}",
                flush=True,
            )
    return rows


def fill(work: Work) -> dict[str, float]:
    """Submit all shards to a fresh scheduler with 10 workers; return its size and growth."""
    with stub_cluster(10) as cluster, Client(cluster.address) as client:
        warm_up(client, cluster)
        before, started = cluster.memory_bytes(), time.monotonic()
        futures = Driver(client, work, "all").submit(list(range(work.num_shards)))
        while client.run_on_scheduler(count_tasks) < len(futures):
            time.sleep(0.2)
        submit_s = time.monotonic() - started
        time.sleep(2)  # messages to the workers leave
        after = cluster.memory_bytes()
        client.cancel(futures)
    growth = (after - before) / work.num_shards
    return {"bytes": after, "bytes_per_task": growth, "submit_s": submit_s}


def count_tasks(dask_scheduler: Any) -> int:
    """Return how many tasks the scheduler knows; it runs there."""
    return len(dask_scheduler.tasks)


def locality(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Count the loads of sites for each way to say where a shard should run."""
    print(
        f"{'workers':>7}{'sites':>6}  {'way':<68}{'loads':>6}{'least':>6}{'most a worker':>15}"
        f"{'x shortest time':>17}"
    )
    rows = []
    for num_workers in (10, 30) if arguments.quick else (10, 30, 100):
        rows += locality_of(num_workers, arguments, usual(arguments.time_scale), {})
    for num_workers in (30,) if arguments.quick else (30, 100):
        ways = divided(arguments.time_scale, num_workers)
        rows += locality_of(num_workers, arguments, ways, NO_STEALING)
    hard = windowed(arguments.time_scale) | few_sites(arguments.time_scale)
    rows += locality_of(30, arguments, hard, {})
    rows += locality_of(30, arguments, few_sites(arguments.time_scale), NO_QUEUE)
    return rows


def usual(scale: float) -> dict[str, Work]:
    """Return the ways, with all shards submitted at once."""
    count = NUM_SITES * SHARDS_PER_SITE
    base = Work(
        num_shards=count,
        shard_s=SHARD_S * scale,
        load_s=LOAD_S * scale,
        num_sites=NUM_SITES,
        window=count,
    )
    return {
        "no handle": base,
        "tiny handle": replace(base, claimed_bytes=TINY_BYTES),
        "large handle": replace(base, claimed_bytes=int(LARGE_BYTES * scale)),
    }


def divided(scale: float, num_workers: int) -> dict[str, Work]:
    """Return ways for a scheduler that does not steal: whole sites, and parts, that take turns."""
    whole = replace(usual(scale)["tiny handle"], in_turn=NUM_SITES)
    window = WINDOW_PER_WORKER * num_workers
    parts = replace(whole, handles_per_site=SHARDS_PER_SITE // 5, in_turn=4 * NUM_SITES)
    narrow = replace(parts, window=window, batch=10)
    return {
        "tiny handle, sites in turn": whole,
        "tiny handle for every 5 shards": parts,
        "the same, narrow window": narrow,
        "the same, one part a worker at a time": replace(narrow, in_turn=num_workers),
    }


def windowed(scale: float) -> dict[str, Work]:
    """Return the ways with a window of 4 shards a worker, as a large cluster has; 30 workers."""
    result = {}
    for name, work in list(usual(scale).items())[1:]:
        narrow = replace(work, window=30 * WINDOW_PER_WORKER, batch=10)
        result[f"{name}, narrow window"] = narrow
        result[f"{name}, narrow window, sites in turn"] = replace(narrow, in_turn=NUM_SITES)
    return result


def few_sites(scale: float) -> dict[str, Work]:
    """Return large handles of four sites, with single keys and with keys of one group."""
    work = replace(usual(scale)["large handle"], num_sites=4)
    return {
        "large handle, four sites": work,
        "large handle, four sites, keys of one group": replace(work, grouped=True),
    }


def locality_of(
    num_workers: int, arguments: argparse.Namespace, ways: dict[str, Work], config: dict[str, Any]
) -> list[dict[str, Any]]:
    """Run some ways on one cluster; Dask's own times are scaled like those of the work."""
    scale = arguments.time_scale
    scaled = {
        "distributed.scheduler.work-stealing-interval": f"{scale}s",
        "distributed.scheduler.unknown-task-duration": f"{0.5 * scale}s",
        "distributed.scheduler.active-memory-manager.interval": f"{2 * scale}s",
    }
    rows = []
    with stub_cluster(num_workers, scaled | config) as cluster, Client(cluster.address) as client:
        warm_up(client, cluster)
        for number, (name, work) in enumerate(ways.items()):
            # Letters alone, so that Dask knows no duration of an earlier way's shards.
            driver = Driver(client, work, "way" + "abcdefghij"[number])
            started = time.monotonic()
            records = driver.run()
            wall_s = time.monotonic() - started
            pairs = {(record["worker"], record["site"]) for record in records}
            row = {
                "workers": num_workers,
                "sites": work.num_sites,
                "way": name
                + "".join(f", {key.split('.')[-1]} {value}" for key, value in config.items()),
                "loads": len(pairs),
                "least": max(work.num_sites, num_workers),
                "most_per_worker": max(Counter(worker for worker, _ in pairs).values()),
                "time_ratio": wall_s / shortest_s(work, num_workers),
            }
            rows.append(row)
            print_locality(row)
    return rows


def shortest_s(work: Work, num_workers: int) -> float:
    """Return the time of a perfect schedule: all workers busy, as few loads as can be [s]."""
    loads = max(work.num_sites, num_workers)
    return (work.num_shards * work.shard_s + loads * work.load_s) / num_workers


def print_locality(row: dict[str, Any]) -> None:
    """Print one row of `locality`."""
    print(
        f"{row['workers']:>7}{row['sites']:>6}  {row['way']:<68}{row['loads']:>6}{row['least']:>6}"
        f"{row['most_per_worker']:>15}{row['time_ratio']:>17.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
