"""Make a campaign into a dataset folder: part by part, resumable at any moment, by anybody."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from raymark.dataset.campaign import Campaign
from raymark.dataset.journal import append_journal
from raymark.dataset.manifest import Completeness, Manifest, ShardRecord, SiteRecord
from raymark.dataset.writing.finish import finish_dataset
from raymark.dataset.writing.folder import (
    LOGS_NAME,
    finished_shards,
    prepare_folder,
    require_room,
)
from raymark.generator.plan import (
    DEFAULT_SHARD_SIZE,
    Plan,
    Progress,
    ShardPlan,
    check_campaign,
    make_plan,
    shards_of,
)
from raymark.generator.planned import PlannedDataset, plan_here, require_shard_size
from raymark.generator.sent_sites import plan_on_workers
from raymark.generator.site_tracing import TracedSite
from raymark.generator.site_work import MakeSource, Part, make_part
from raymark.storage import Place, PlaceLike, as_place
from raymark.work.executor import Finished, Shared, TaskKind, Workers

_SHARD = TaskKind(name="shard", max_failures=3)
_BLOCKS_PER_WORKER, _LARGEST_BLOCK = 4, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationReport:
    """How a generation went.

    Attributes:
        manifest: Of the dataset; it is complete if nothing failed.
        failures: Name and last error of every part that failed for good; the same call tries them
            again.
    """

    manifest: Manifest
    failures: tuple[tuple[str, str], ...] = ()


def generate_dataset(
    campaign: Campaign,
    folder: PlaceLike,
    *,
    workers: Workers | None = None,
    shard_size: int = DEFAULT_SHARD_SIZE,
    overwrite: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> GenerationReport:
    """Make the dataset of a campaign, or go on where an interrupted run stopped.

    Args:
        campaign: What is made.
        folder: Where the dataset goes; workers must reach it by this name.
        workers: Who traces, such as `raymark.work.cluster.cluster_workers`; this process if not
            given. The content is the same, bit by bit.
        shard_size: UEs per file; it changes the files, never the content.
        overwrite: Delete another dataset that lies in `folder`.
        progress: Told how many scenes are loaded and UEs are traced.

    Raises:
        ConfigError: If a setting cannot be used; it is said before workers start.
        SceneError: If a scene or site cannot be used.
        DatasetError: If the folder holds something else, is in use or cannot be written.
        PhysicsError: If a path that this process traced breaks a physical law.
        ClusterError: If workers are unfit or lost.
    """
    require_room(campaign, folder, overwrite=overwrite)
    with planned_dataset(campaign, workers, shard_size=shard_size, progress=progress) as planned:
        return make_dataset(planned, folder, overwrite=overwrite, progress=progress)


@contextmanager
def planned_dataset(
    campaign: Campaign,
    workers: Workers | None = None,
    *,
    shard_size: int = DEFAULT_SHARD_SIZE,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Iterator[PlannedDataset]:
    """Check a campaign, load its scenes, here or on workers, and yield what `make_dataset` takes.

    Nothing is written. The arguments are those of `generate_dataset`.
    """
    require_shard_size(campaign, shard_size)
    if workers is None:
        yield plan_here(make_plan(campaign, progress=progress), shard_size=shard_size)
        return
    check_campaign(campaign)
    with workers as executor:
        yield plan_on_workers(campaign, executor, shard_size=shard_size, progress=progress)


def generate(
    plan: Plan,
    folder: PlaceLike,
    *,
    shard_size: int = DEFAULT_SHARD_SIZE,
    overwrite: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
    source: MakeSource = TracedSite,
) -> Manifest:
    """Make the dataset of a plan in this process, or go on where an interrupted run stopped.

    Args:
        plan: A checked campaign.
        folder: Where the dataset goes.
        shard_size: UEs per file; it changes the files, never the content.
        overwrite: Delete another dataset that lies in `folder`.
        progress: Told how many UEs are done.
        source: Makes the arrays of a site.

    Raises:
        DatasetError: If the folder holds something else, is in use or cannot be written.
        PhysicsError: If a traced path breaks a physical law.
    """
    planned = plan_here(plan, shard_size=shard_size, source=source)
    return make_dataset(planned, folder, overwrite=overwrite, progress=progress).manifest


def make_dataset(
    planned: PlannedDataset,
    folder: PlaceLike,
    *,
    overwrite: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> GenerationReport:
    """Make a planned dataset, or go on where an interrupted run stopped.

    Args:
        planned: What is made, and who makes it.
        folder: Where the dataset goes; all workers must reach it by this name.
        overwrite: Delete another dataset that lies in `folder`.
        progress: Told how many UEs are done.

    Raises:
        DatasetError: If the folder holds something else, is in use or cannot be written.
        PhysicsError: If a path that this process traced breaks a physical law.
        ClusterError: If all workers are lost.
    """
    folder = as_place(folder)
    with folder.locked():
        manifest = prepare_folder(planned.manifest, folder, overwrite=overwrite)
        if manifest.state == "complete":
            return GenerationReport(manifest=manifest)
        started = time.monotonic()
        done = _Done(folder, manifest, progress)
        jobs, arguments = _open_jobs(planned, folder, manifest, set(done.records))
        for task in planned.executor.run(_SHARD, make_part, jobs, arguments):
            done.take(task)
        if done.failures:
            return GenerationReport(manifest=manifest, failures=tuple(done.failures))
        finished = finish_dataset(
            folder,
            done.completed(),
            done.records_in_order(),
            time.monotonic() - started,
            num_workers=planned.executor.num_workers,
        )
        return GenerationReport(manifest=finished)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A part of the dataset that is to be made."""

    site: SiteRecord
    part: Part

    @property
    def name(self) -> str:
        part = self.part if isinstance(self.part, str) else f"part-{self.part.part:04d}"
        return f"{self.site.key}/{part}"


@dataclass(slots=True)
class _Done:
    """What is done of a dataset: noted in its journal as it comes."""

    folder: Place
    manifest: Manifest
    progress: Progress
    records: dict[tuple[str, int], ShardRecord] = field(init=False)
    completeness: dict[str, Completeness] = field(default_factory=dict)
    buildings: dict[str, str] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take up what an earlier run has finished."""
        noted = finished_shards(self.folder).values()
        self.records = {(record.key, record.part): record for record in noted}
        self._tell()

    def take(self, task: Finished[_Job]) -> None:
        """Note how a job ended."""
        if task.attempts:
            _write_log(self.folder, task)
        key, result = task.job.site.key, task.result
        if task.error is not None:
            self.failures.append((task.job.name, task.error))
        elif isinstance(result, ShardRecord):
            append_journal(self.folder, result)
            self.records[key, result.part] = result
            self._tell()
        elif isinstance(result, Completeness):
            self.completeness[key] = result
        elif isinstance(result, str):
            self.buildings[task.job.site.scene] = result

    def records_in_order(self) -> list[ShardRecord]:
        return [
            self.records[job.site.key, job.part.part]
            for job in _jobs(self.manifest)
            if isinstance(job.part, ShardPlan)
        ]

    def completed(self) -> Manifest:
        """Return the manifest with what is known of sites and scenes, in their order."""
        sites, known = self.manifest.sites, self.completeness
        found = {
            "completeness": {site.key: known[site.key] for site in sites if site.key in known},
            "buildings": {site.scene: self.buildings[site.scene] for site in sites},
        }
        return self.manifest.model_copy(update=found)

    def _tell(self) -> None:
        num_done = sum(record.num_ues for record in self.records.values())
        self.progress("tracing", num_done, sum(site.num_ues for site in self.manifest.sites))


def _open_jobs(
    planned: PlannedDataset, folder: Place, manifest: Manifest, done: set[tuple[str, int]]
) -> tuple[list[_Job], Callable[[_Job], tuple[Shared, Part]]]:
    """Return what is still to be done, and what whoever does it is told."""
    works = {site.key: planned.work_on(folder, manifest, site) for site in manifest.sites}
    jobs = [
        job
        for job in _jobs(manifest)
        if isinstance(job.part, str) or (job.site.key, job.part.part) not in done
    ]
    block_size = _block_size(len(jobs), planned.executor.num_expected)

    def arguments(job: _Job) -> tuple[Shared, Part]:
        block = 0 if isinstance(job.part, str) else job.part.part // block_size
        return Shared(key=f"{job.site.key}/{block}", value=works[job.site.key]), job.part

    return jobs, arguments


def _jobs(manifest: Manifest) -> Iterator[_Job]:
    scenes = set()
    for site in manifest.sites:
        for shard in shards_of(site.num_ues, manifest.shard_size):
            yield _Job(site=site, part=shard)
        yield _Job(site=site, part="completeness")
        if site.scene not in scenes:
            yield _Job(site=site, part="buildings")
        scenes.add(site.scene)


def _block_size(num_jobs: int, num_workers: int) -> int:
    """Return how many shards of a site run on one worker, if Dask does not steal work.

    Every block costs a worker the discovery of its site; but there must be several for each worker,
    or some would idle at the end (docs/scale.md).
    """
    num_blocks = _BLOCKS_PER_WORKER * max(num_workers, 1)
    return min(max(num_jobs // num_blocks, 1), _LARGEST_BLOCK)


def _write_log(folder: Place, task: Finished[_Job]) -> None:
    lines = []
    for number, attempt in enumerate(task.attempts, start=1):
        took = "" if attempt.seconds is None else f", {attempt.seconds:.1f} s"
        outcome = attempt.error or "done"
        lines.append(f"attempt {number} on {attempt.place}{took}: {outcome}\n{attempt.details}")
    (folder / LOGS_NAME / f"{task.job.name}.log").write_text("".join(lines))
