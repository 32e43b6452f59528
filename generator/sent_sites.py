"""Sites that are worked on elsewhere: by workers that are told the campaign of one scene.

A worker loads the scene, draws the UEs and discovers the paths of a site by itself, once, and
checks that they fit the manifest. The content is a function of the campaign, so that it does not
matter who writes a shard, or how often.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from raymark.config import config_hash
from raymark.dataset.campaign import Campaign, SceneChoice
from raymark.dataset.manifest import Manifest, SiteRecord
from raymark.dataset.writing.folder import changed_software, new_manifest
from raymark.errors import ClusterError, DatasetError
from raymark.generator.plan import (
    Plan,
    Progress,
    SitePlan,
    plan_scene,
    resolve_scenes,
    search_notes,
    shards_of,
    site_record,
)
from raymark.generator.planned import PlannedDataset
from raymark.generator.site_tracing import ShardSource, TracedSite
from raymark.generator.site_work import SiteWork
from raymark.generator.software import tracing_software
from raymark.generator.tracing.backend import use_one_thread
from raymark.scenes import call_trusting, trusted_folders
from raymark.storage import Place
from raymark.work.executor import Executor, TaskKind
from raymark.work.peak_memory import peak_memory_bytes, reset_peak_memory

_SCENE = TaskKind(name="scene", max_failures=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneCampaign:
    """The campaign of one scene; its hash stands for it where what was made of it is kept.

    Attributes:
        campaign: Of the one scene.
        hash: Of the campaign.
        trusted: Scene folders whose code may run, as the user said where the work was planned.
    """

    campaign: Campaign = field(compare=False)
    hash: str
    trusted: frozenset[Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentSite:
    """What a worker is told of a site: `manifest` has the one scene and this site alone."""

    folder: Place
    manifest: Manifest
    scene: SceneCampaign

    @property
    def site(self) -> SiteRecord:
        """The one site of the manifest."""
        return self.manifest.sites[0]

    @property
    def plan(self) -> Plan:
        """Load the scene where we are, if that was not done before, and check it; see `SiteWork`.

        Raises:
            DatasetError: If scene, UEs or software are others than those that were planned.
        """
        changed = changed_software(self.manifest, tracing_software())
        if changed:
            raise DatasetError(
                f"this worker has other software than the one that planned: {changed}"
            )
        plan = _loaded_plan(self.scene)
        if site_record(plan.site(self.site.key)) != self.site:
            raise DatasetError(
                f"{self.site.key}: this worker has another scene, or draws other UEs"
            )
        return plan

    def opened(self) -> tuple[SitePlan, ShardSource]:
        """Load and search the site where we are, if that was not done before; see `SiteWork`.

        Raises:
            DatasetError: If scene, UEs or software are others than those that were planned.
        """
        key = self.site.key
        return self.plan.site(key), _traced_site(self.scene, key)


def plan_on_workers(
    campaign: Campaign, executor: Executor, *, shard_size: int, progress: Progress
) -> PlannedDataset:
    """Load every scene on a worker and draw its UEs; nothing is written, no scene is kept here.

    Args:
        campaign: A campaign that `check_campaign` accepts.
        executor: Who does the work.
        shard_size: UEs per file.
        progress: Told how many scenes are loaded.

    Raises:
        ClusterError: If a worker cannot load its scene, workers have different software, or too
            little memory.
    """
    scenes = [_scene_campaign(campaign, choice) for choice in campaign.scenes]
    found = _surveyed(scenes, executor, shard_size, progress)
    manifest = new_manifest(
        campaign,
        tuple(site for scene in found for site in scene.sites),
        shard_size=shard_size,
        software=found[0].software,
        notes=search_notes(campaign),
    )
    for other in found:
        changed = changed_software(manifest, other.software)
        if changed:
            raise ClusterError(f"the workers have different software: {changed}")
    executor.require_memory(found[0].memory_bytes)
    scene_of = {
        site.key: scene for scene, own in zip(scenes, found, strict=True) for site in own.sites
    }

    def work_on(folder: Place, manifest: Manifest, site: SiteRecord) -> SiteWork:
        scene = scene_of[site.key]
        own = manifest.model_copy(update={"campaign": scene.campaign, "sites": (site,)})
        return SentSite(folder=folder.resolve(), manifest=own, scene=scene)

    return PlannedDataset(manifest=manifest, work_on=work_on, executor=executor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surveyed:
    """What a worker found in one scene; the memory is that of tracing a shard, if it did."""

    sites: tuple[SiteRecord, ...]
    software: dict[str, str]
    memory_bytes: int


def _surveyed(
    scenes: list[SceneCampaign], executor: Executor, shard_size: int, progress: Progress
) -> list[_Surveyed]:
    progress("loading", 0, len(scenes))
    found: dict[int, _Surveyed] = {}
    tasks = executor.run(
        _SCENE,
        _survey,
        range(len(scenes)),
        lambda i: (scenes[i], shard_size if i == 0 else 0),
    )
    for task in tasks:
        if task.error is not None:
            name = scenes[task.job].campaign.scenes[0].name
            raise ClusterError(f"scene '{name}': {task.error}")
        found[task.job] = task.result
        progress("loading", len(found), len(scenes))
    return [found[i] for i in range(len(scenes))]


def _survey(scene: SceneCampaign, num_traced: int) -> _Surveyed:
    """Run on a worker: load a scene, and trace so many UEs to see what memory they need."""
    reset_peak_memory()
    plan = _loaded_plan(scene)
    if num_traced:
        site = plan.sites[0]
        shard = next(shards_of(len(site.ues), num_traced))
        _traced_site(scene, site.key).arrays(shard)
    return _Surveyed(
        sites=tuple(site_record(site) for site in plan.sites),
        software=tracing_software(),
        memory_bytes=peak_memory_bytes(),
    )


@lru_cache(maxsize=2)
def _loaded_plan(scene: SceneCampaign) -> Plan:
    use_one_thread()
    return call_trusting(scene.trusted, _load, scene.campaign)


def _load(campaign: Campaign) -> Plan:
    ((resolved, sites),) = resolve_scenes(campaign)
    return Plan(campaign=campaign, sites=plan_scene(campaign, resolved, sites), config_hash="")


@lru_cache(maxsize=2)
def _traced_site(scene: SceneCampaign, key: str) -> TracedSite:
    plan = _loaded_plan(scene)
    return TracedSite(plan, plan.site(key))


def _scene_campaign(campaign: Campaign, choice: SceneChoice) -> SceneCampaign:
    """Return the campaign of one scene; files are named so that a worker elsewhere finds them."""
    sampling = campaign.sampling.of_scene(Path(choice.name).name).with_files_in(Path())
    update = {"scenes": (_with_whole_path(choice),), "sampling": sampling}
    part = campaign.model_copy(update=update)
    return SceneCampaign(campaign=part, hash=config_hash(part), trusted=trusted_folders())


def _with_whole_path(choice: SceneChoice) -> SceneChoice:
    folder = Path(choice.name)
    is_folder = (folder / "scene.yaml").is_file()
    return choice.model_copy(update={"name": str(folder.resolve())}) if is_folder else choice
