"""A real Dask scheduler with many workers in a few processes, whose tasks only wait.

The scheduler has a process of its own, so that its processor time can be read. A worker is a real
`distributed.Worker` with its own connections, slots and heartbeats, but hundreds share an event
loop, and a task is a coroutine that sleeps: it costs a worker's process next to nothing.
"""

import asyncio
import itertools
import logging
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import dask
import psutil
from distributed import Client, Future, Scheduler, Worker, as_completed, get_worker

RECORD_BYTES, ARGUMENT_BYTES = 1000, 2000
NUM_PROCESSES = 4
QUIET = {
    # What a worker does beside tasks and heartbeats would only take the cores from the scheduler.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.comm.timeouts.connect": "120s",
}
LOADED: dict[str, set[str]] = {}
"""Sites that each worker of this process has loaded."""


class SiteHandle:
    """Stands for a loaded site; it claims a size, which the scheduler believes."""

    def __init__(self, site: str, claimed_bytes: int) -> None:
        """Claim `claimed_bytes`; what is sent is a few bytes."""
        self.site, self.claimed_bytes = site, claimed_bytes

    def __sizeof__(self) -> int:
        """Return the claimed size [bytes]; `dask.sizeof` asks for it."""
        return self.claimed_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Shards to be done, and how they are submitted.

    Attributes:
        num_shards: Number of shard tasks.
        shard_s: How long each waits.
        num_sites: Sites among which the shards are divided evenly, site after site.
        claimed_bytes: Size that a handle claims; None if shards depend on no handle.
        load_s: How long a worker waits when it meets a site for the first time.
        window: Most shards that are submitted at a time.
        batch: Shards submitted by one call; 1 for `Client.submit`, else `Client.map`.
        grouped: Keys are tuples with one name, so that Dask sees one large group of tasks.
        handles_per_site: Into how many parts, each with a handle of its own, a site is divided.
        in_turn: How many parts take turns; 1 if one comes after the other.
        results: Bring the records to the driver; else wait for the tasks alone.
    """

    num_shards: int
    shard_s: float = 0.0
    num_sites: int = 1
    claimed_bytes: int | None = None
    load_s: float = 0.0
    window: int = 1000
    batch: int = 100
    grouped: bool = False
    handles_per_site: int = 1
    in_turn: int = 1
    results: bool = True


@contextmanager
def stub_cluster(num_workers: int, config: dict[str, Any] | None = None) -> Iterator["StubCluster"]:
    """Start a scheduler and its workers; end them afterwards."""
    context = multiprocessing.get_context("spawn")
    settings = QUIET | (config or {})
    processes: list[BaseProcess] = []

    def start(serve: Callable[..., None], *arguments: Any) -> Connection:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, settings, *arguments), daemon=True)
        process.start()
        processes.append(process)
        return ours

    try:
        address = start(serve_scheduler).recv()
        count = min(NUM_PROCESSES, num_workers)
        shares = [len(range(i, num_workers, count)) for i in range(count)]
        for pipe in [start(serve_workers, address, share) for share in shares]:
            pipe.recv()
        scheduler, *hosts = (psutil.Process(process.pid) for process in processes)
        yield StubCluster(address, scheduler, hosts, num_workers)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.join()


def serve_scheduler(pipe: Connection, config: dict[str, Any]) -> None:
    """Run a scheduler in this process until it is ended."""

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler:
            pipe.send(scheduler.address)
            await scheduler.finished()

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(config):
        asyncio.run(serve())


def serve_workers(pipe: Connection, config: dict[str, Any], address: str, count: int) -> None:
    """Run `count` workers of one thread each in this process until it is ended."""

    async def serve(folder: str) -> None:
        workers = [
            Worker(address, nthreads=1, memory_limit=0, dashboard=False, local_directory=folder)
            for _ in range(count)
        ]
        for first in range(0, count, 25):  # not all at once: connections would time out
            await asyncio.gather(*workers[first : first + 25])
        pipe.send(count)
        await asyncio.gather(*(worker.finished() for worker in workers))

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(config), tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(folder))


async def load_site(site: str, claimed_bytes: int, load_s: float) -> SiteHandle:
    """Load a site on this worker: the task that a site's shards depend on."""
    await ensure_loaded(site, load_s)
    return SiteHandle(site, claimed_bytes)


async def ensure_loaded(site: str, load_s: float) -> None:
    """Wait as if a site were loaded, unless this worker has it."""
    sites = LOADED.setdefault(get_worker().address, set())
    if site not in sites:
        sites.add(site)
        await asyncio.sleep(load_s)


async def run_shard(
    _handle: SiteHandle | None, site: str, _argument: bytes, shard_s: float, load_s: float
) -> dict[str, Any]:
    """Wait as if a shard were traced; return a record as large as a real one."""
    await ensure_loaded(site, load_s)
    await asyncio.sleep(shard_s)
    return {"worker": get_worker().address, "site": site, "rest": bytes(RECORD_BYTES)}


class StubCluster:
    """A running stub cluster."""

    def __init__(
        self,
        address: str,
        scheduler: psutil.Process,
        hosts: list[psutil.Process],
        num_workers: int,
    ) -> None:
        """Take what `stub_cluster` has started."""
        self.address, self.num_workers = address, num_workers
        self.scheduler, self.hosts = scheduler, hosts

    def cpu_s(self) -> tuple[float, float, float]:
        """Return the processor time so far of scheduler, workers and driver (this process) [s]."""
        hosts = sum(cpu_seconds(host) for host in self.hosts)
        return cpu_seconds(self.scheduler), hosts, cpu_seconds(psutil.Process())

    def memory_bytes(self) -> int:
        """Return the resident size of the scheduler [bytes]."""
        return int(self.scheduler.memory_info().rss)


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time that a process has used [s]."""
    times = process.cpu_times()
    return float(times.user + times.system)


class Driver:
    """Keeps a bounded window of shards submitted, as a generator of datasets would."""

    def __init__(self, client: Client, work: Work, name: str) -> None:
        """Prepare `work`; `name` makes its keys unique."""
        self._client, self._work, self._name = client, work, name
        self._handles: dict[int, Future] = {}

    def run(self) -> list[dict[str, Any]]:
        """Do all the work; return the records, in the order in which shards ended."""
        work, records, running = self._work, [], 0
        left = iter(range(work.num_shards))
        done = as_completed(with_results=work.results)

        def refill(room: int) -> int:
            chunk = list(itertools.islice(left, room))
            if chunk:
                done.update(self.submit(chunk))
            return len(chunk)

        running = refill(work.window)
        for batch in done.batches():
            ended = list(batch)
            if work.results:
                records += [record for _, record in ended]
            running -= len(ended)
            if work.window - running >= min(work.batch, work.window):
                running += refill(work.window - running)
        return records

    def submit(self, shards: list[int]) -> list[Future]:
        """Submit some shards."""
        work = self._work
        parts = [self._part(shard) for shard in shards]
        handles = [self._handle(part) for part in parts]
        sites = [self._site(part) for part in parts]
        keys = [self._key(shard) for shard in shards]
        fixed = {"shard_s": work.shard_s, "load_s": work.load_s}
        columns = (handles, sites, [bytes(ARGUMENT_BYTES)] * len(shards))
        if work.batch == 1:
            rows = zip(*columns, keys, strict=True)
            return [self._client.submit(run_shard, *row, key=key, **fixed) for *row, key in rows]
        return list(self._client.map(run_shard, *columns, key=keys, **fixed))

    def _part(self, shard: int) -> int:
        num_parts = self._work.num_sites * self._work.handles_per_site
        group_shards = self._work.in_turn * self._work.num_shards // num_parts
        first = shard // group_shards * self._work.in_turn
        return first + shard % group_shards % min(self._work.in_turn, num_parts - first)

    def _site(self, part: int) -> str:
        return f"{self._name}-{part // self._work.handles_per_site}"

    def _key(self, shard: int) -> Any:
        name = f"shard-{self._name}"
        return (name, shard) if self._work.grouped else f"{name}-{shard}"

    def _handle(self, part: int) -> Future | None:
        size, load_s = self._work.claimed_bytes, self._work.load_s
        if size is None:
            return None
        if part not in self._handles:
            key = f"site-{self._name}-{part}"
            future = self._client.submit(load_site, self._site(part), size, load_s, key=key)
            self._handles[part] = future
        return self._handles[part]
