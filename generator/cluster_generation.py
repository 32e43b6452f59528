"""A dataset on a Dask cluster: every shard is a task, the driver keeps the journal.

A worker is told the campaign of one scene and where the dataset lies. It loads the scene, draws the
UEs and discovers the paths of a site by itself, once, and checks that they fit the manifest. The
content is a function of the campaign, so that it does not matter who writes a shard, or how often.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from raymark.dataset.campaign import Campaign, PositionsSampling, SceneChoice
from raymark.dataset.journal import append_journal
from raymark.dataset.manifest import Completeness, Manifest, ShardRecord, SiteRecord
from raymark.dataset.writing.finish import finish_dataset
from raymark.dataset.writing.folder import (
    LOGS_NAME,
    changed_software,
    finished_shards,
    new_manifest,
    prepare_folder,
)
from raymark.errors import ClusterError, DatasetError
from raymark.generator.buildings import write_plan_buildings
from raymark.generator.generate import Progress, require_shard_size, write_site_shard
from raymark.generator.plan import (
    DEFAULT_SHARD_SIZE,
    Plan,
    ShardPlan,
    check_campaign,
    plan_scene,
    search_notes,
    shards_of,
    site_record,
)
from raymark.generator.site_tracing import TracedSite
from raymark.generator.software import software_versions
from raymark.generator.tracing.backend import use_one_thread
from raymark.storage import write_text
from raymark.storage.lock import locked
from raymark.work.dask_tasks import Finished, Shared, TaskKind, run_tasks
from raymark.work.peak_memory import peak_memory_bytes, reset_peak_memory

if TYPE_CHECKING:
    from distributed import Client

_BLOCKS_PER_WORKER, _LARGEST_BLOCK = 4, 10

_Work = ShardPlan | Literal["completeness", "buildings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who does the work.

    Attributes:
        client: Client of the cluster.
        num_expected: Workers that will join in all, if more than those that are there.
        time_limit_s: Longest time for a scene or a shard [s]; then the worker that is at it is
            ended, and another tries.
    """

    client: "Client"
    num_expected: int = 0
    time_limit_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """What is to be done.

    Attributes:
        manifest: Of a dataset of which nothing is done yet.
        memory_bytes: What a worker needed that traced a shard of the first site.
    """

    manifest: Manifest
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReport:
    """How a run went.

    Attributes:
        manifest: Of the dataset; it is complete if nothing failed.
        failures: Name and last error of every task that failed for good.
    """

    manifest: Manifest
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What a worker is told of a site: `manifest` has the one scene and this site alone."""

    folder: Path
    manifest: Manifest

    @property
    def record(self) -> SiteRecord:
        return self.manifest.sites[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A shard of a site, the estimate of what its paths lack, or the buildings of its scene."""

    site: SiteRecord
    work: _Work

    @property
    def name(self) -> str:
        part = self.work if isinstance(self.work, str) else f"part-{self.work.part:04d}"
        return f"{self.site.key}/{part}"


def plan_on_cluster(
    campaign: Campaign,
    workers: Workers,
    *,
    shard_size: int = DEFAULT_SHARD_SIZE,
    progress: Callable[[int], None] = lambda _count: None,
) -> ClusterPlan:
    """Load every scene on a worker and draw its UEs; nothing is written, no scene is kept here.

    Args:
        campaign: A campaign that `check_campaign` accepts.
        workers: Who does the work.
        shard_size: UEs per file.
        progress: Told how many scenes are newly done.

    Raises:
        ConfigError: If a setting cannot be used.
        SceneError: If a scene or site is unknown.
        ClusterError: If a worker cannot load its scene, or workers have different software.
    """
    check_campaign(campaign)
    require_shard_size(campaign, shard_size)
    scenes = dict(enumerate(_scene_campaigns(campaign)))
    done = run_tasks(
        workers.client,
        TaskKind(name="scene", time_limit_s=workers.time_limit_s),
        _survey,
        scenes,
        lambda i: (scenes[i].model_dump_json(), shard_size if i == 0 else 0),
    )
    found: dict[int, _Surveyed] = {}
    for task in done:
        if task.error is not None:
            raise ClusterError(f"scene '{campaign.scenes[task.job].name}': {task.error}")
        found[task.job] = task.result
        progress(1)
    first = found[0]
    manifest = new_manifest(
        campaign,
        tuple(site for i in scenes for site in found[i].sites),
        shard_size=shard_size,
        software=first.software,
        notes=search_notes(campaign),
    )
    for other in found.values():
        changed = changed_software(manifest, other.software)
        if changed:
            raise ClusterError(f"the workers have different software: {changed}")
    return ClusterPlan(manifest=manifest, memory_bytes=first.memory_bytes)


def generate_on_cluster(
    planned: Manifest,
    folder: Path,
    workers: Workers,
    *,
    overwrite: bool = False,
    progress: Progress = lambda _site, _count: None,
) -> ClusterReport:
    """Make the dataset of a plan on the workers, or go on where an interrupted run stopped.

    Its content is that of `generate`, bit by bit.

    Args:
        planned: The manifest of `plan_on_cluster`.
        folder: Where the dataset goes; all workers must reach it by this name.
        workers: Who does the work.
        overwrite: Delete another dataset that lies in `folder`.
        progress: Told of every finished shard.

    Raises:
        DatasetError: If the folder holds something else, is in use or cannot be written.
        ClusterError: If the scheduler is lost.
    """
    with locked(folder):
        manifest = prepare_folder(planned, folder, overwrite=overwrite)
        if manifest.state == "complete":
            return ClusterReport(manifest=manifest, failures=())
        started = time.monotonic()
        records = _noted(folder, progress)
        completeness: dict[str, Completeness] = {}
        buildings: dict[str, str] = {}
        failures = []
        most_workers = max(len(workers.client.nthreads()), workers.num_expected)
        jobs, arguments = _work(manifest, folder, set(records), most_workers)
        kind = TaskKind(name="shard", time_limit_s=workers.time_limit_s)
        for task in run_tasks(workers.client, kind, _do, jobs, arguments):
            _write_log(folder, task)
            if task.error is not None:
                failures.append((task.job.name, task.error))
            elif isinstance(task.result, ShardRecord):
                append_journal(folder, task.result)
                records[task.job.site.key, task.result.part] = task.result
                progress(task.job.site.key, task.result.num_ues)
            elif isinstance(task.result, str):
                buildings[task.job.site.scene] = task.result
            elif task.result is not None:
                completeness[task.job.site.key] = task.result
        if failures:
            return ClusterReport(manifest=manifest, failures=tuple(failures))
        found = {
            "completeness": {
                s.key: completeness[s.key] for s in manifest.sites if s.key in completeness
            },
            "buildings": {scene: buildings[scene] for scene in _scene_names(manifest)},
        }
        manifest = manifest.model_copy(update=found)
        ordered = [
            records[job.site.key, job.work.part]
            for job in _jobs(manifest)
            if isinstance(job.work, ShardPlan)
        ]
        finished = finish_dataset(
            folder,
            manifest,
            ordered,
            time.monotonic() - started,
            num_workers=len(workers.client.nthreads()),
        )
        return ClusterReport(manifest=finished, failures=())


def _noted(folder: Path, progress: Progress) -> dict[tuple[str, int], ShardRecord]:
    """Return what an earlier run has finished."""
    done = finished_shards(folder)
    records = {(f"{scene}/{site}", part): record for (scene, site, part), record in done.items()}
    for (key, _), record in records.items():
        progress(key, record.num_ues)
    return records


def _work(
    manifest: Manifest, folder: Path, done: set[tuple[str, int]], num_workers: int
) -> tuple[list[_Job], Callable[[_Job], tuple[Shared, _Work]]]:
    """Return what is still to be done, and what a worker is told of it."""
    scenes = dict(zip(_scene_names(manifest), _scene_campaigns(manifest.campaign), strict=True))
    sites = {
        site.key: _Site(
            folder=folder.resolve(),
            manifest=manifest.model_copy(update={"campaign": scenes[site.scene], "sites": (site,)}),
        )
        for site in manifest.sites
    }
    jobs = [
        job
        for job in _jobs(manifest)
        if isinstance(job.work, str) or (job.site.key, job.work.part) not in done
    ]
    block_size = _block_size(len(jobs), num_workers)

    def arguments(job: _Job) -> tuple[Shared, _Work]:
        block = 0 if isinstance(job.work, str) else job.work.part // block_size
        return Shared(key=f"{job.site.key}/{block}", value=sites[job.site.key]), job.work

    return jobs, arguments


def _block_size(num_jobs: int, num_workers: int) -> int:
    """Return how many shards of a site run on one worker, if Dask does not steal work.

    Every block costs a worker the discovery of its site; but there must be several for each worker,
    or some would idle at the end (docs/scale.md).
    """
    num_blocks = _BLOCKS_PER_WORKER * max(num_workers, 1)
    return min(max(num_jobs // num_blocks, 1), _LARGEST_BLOCK)


def _jobs(manifest: Manifest) -> Iterator[_Job]:
    first_sites = {site.scene: site for site in reversed(manifest.sites)}
    for site in manifest.sites:
        for shard in shards_of(site.num_ues, manifest.shard_size):
            yield _Job(site=site, work=shard)
        yield _Job(site=site, work="completeness")
        if site == first_sites[site.scene]:
            yield _Job(site=site, work="buildings")


def _scene_names(manifest: Manifest) -> list[str]:
    return list(dict.fromkeys(site.scene for site in manifest.sites))


def _scene_campaigns(campaign: Campaign) -> list[Campaign]:
    """Return a campaign for each scene; files are named so that a worker elsewhere finds them."""
    parts = []
    for choice in campaign.scenes:
        sampling = campaign.sampling
        if isinstance(sampling, PositionsSampling):
            name = Path(choice.name).name
            files = {name: str(Path(sampling.files[name]).resolve())}
            sampling = sampling.model_copy(update={"files": files})
        update = {"scenes": (_with_whole_path(choice),), "sampling": sampling}
        parts.append(campaign.model_copy(update=update))
    return parts


def _with_whole_path(choice: SceneChoice) -> SceneChoice:
    folder = Path(choice.name)
    is_folder = (folder / "scene.yaml").is_file()
    return choice.model_copy(update={"name": str(folder.resolve())}) if is_folder else choice


def _write_log(folder: Path, task: Finished[_Job]) -> None:
    lines = []
    for number, attempt in enumerate(task.attempts, start=1):
        took = "" if attempt.seconds is None else f", {attempt.seconds:.1f} s"
        outcome = attempt.error or "done"
        lines.append(f"attempt {number} on {attempt.place}{took}: {outcome}\n{attempt.details}")
    write_text(folder / LOGS_NAME / f"{task.job.name}.log", "".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surveyed:
    """What a worker found in one scene."""

    sites: tuple[SiteRecord, ...]
    software: dict[str, str]
    memory_bytes: int


def _survey(campaign_json: str, num_traced: int) -> _Surveyed:
    """Run on a worker: load a scene, and trace so many UEs to see what memory they need."""
    reset_peak_memory()
    plan = _loaded_plan(campaign_json)
    if num_traced:
        site = plan.sites[0]
        shard = next(shards_of(len(site.ues), num_traced))
        _traced_site(campaign_json, site.key).arrays(shard)
    return _Surveyed(
        sites=tuple(site_record(site) for site in plan.sites),
        software=software_versions(),
        memory_bytes=peak_memory_bytes(),
    )


def _do(site: _Site, work: _Work) -> ShardRecord | Completeness | str | None:
    """Run on a worker."""
    manifest, record = site.manifest, site.record
    changed = changed_software(manifest, software_versions())
    if changed:
        raise DatasetError(f"this worker has other software than the one that planned: {changed}")
    campaign_json = manifest.campaign.model_dump_json()
    plan = _loaded_plan(campaign_json)
    planned = next(s for s in plan.sites if s.key == record.key)
    if site_record(planned) != record:
        raise DatasetError(f"{record.key}: this worker has another scene, or draws other UEs")
    if work == "buildings":
        return write_plan_buildings(site.folder, plan)[record.scene]
    source = _traced_site(campaign_json, record.key)
    if work == "completeness":
        return source.completeness()
    return write_site_shard(site.folder, manifest, planned, work, source.arrays(work))


@lru_cache(maxsize=2)
def _loaded_plan(campaign_json: str) -> Plan:
    use_one_thread()
    campaign = Campaign.model_validate_json(campaign_json)
    ((scene, sites),) = check_campaign(campaign)
    return Plan(campaign=campaign, sites=plan_scene(campaign, scene, sites), config_hash="")


@lru_cache(maxsize=2)
def _traced_site(campaign_json: str, key: str) -> TracedSite:
    plan = _loaded_plan(campaign_json)
    return TracedSite(plan, next(site for site in plan.sites if site.key == key))
