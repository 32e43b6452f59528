"""A dataset that is planned: what it will hold, and who will make it."""

from collections.abc import Callable
from dataclasses import dataclass

from raymark.dataset.campaign import Campaign
from raymark.dataset.manifest import Manifest, SiteRecord
from raymark.dataset.writing.folder import new_manifest
from raymark.errors import DatasetError
from raymark.generator.plan import DEFAULT_SHARD_SIZE, Plan, search_notes, site_record
from raymark.generator.site_tracing import TracedSite
from raymark.generator.site_work import LoadedSite, LoadedSites, MakeSource, SiteWork
from raymark.generator.software import tracing_software
from raymark.storage import Place
from raymark.work.executor import Executor, ThisProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDataset:
    """A dataset of which nothing is done yet.

    Attributes:
        manifest: What it will hold.
        work_on: Makes the work on a site, of the folder, the manifest to go on with, and the site.
        executor: Who makes its parts.
    """

    manifest: Manifest
    work_on: Callable[[Place, Manifest, SiteRecord], SiteWork]
    executor: Executor

    @property
    def num_links(self) -> int:
        """Number of (UE, site) pairs; each is stored at every band."""
        return sum(site.num_ues for site in self.manifest.sites)


def plan_here(
    plan: Plan, *, shard_size: int = DEFAULT_SHARD_SIZE, source: MakeSource = TracedSite
) -> PlannedDataset:
    """Return the dataset of a plan that this process has loaded and will trace.

    Args:
        plan: A checked campaign.
        shard_size: UEs per file; it changes the files, never the content.
        source: Makes the arrays of a site.

    Raises:
        DatasetError: If shards cut what must be traced together.
    """
    require_shard_size(plan.campaign, shard_size)
    sites = LoadedSites(plan, source)

    def work_on(folder: Place, manifest: Manifest, site: SiteRecord) -> SiteWork:
        return LoadedSite(folder=folder, manifest=manifest, site=site, sites=sites)

    manifest = new_manifest(
        plan.campaign,
        tuple(site_record(site) for site in plan.sites),
        shard_size=shard_size,
        software=tracing_software(),
        notes=search_notes(plan.campaign),
    )
    return PlannedDataset(manifest=manifest, work_on=work_on, executor=ThisProcess())


def require_shard_size(campaign: Campaign, shard_size: int) -> None:
    """Check that shards do not cut what must be traced together.

    Raises:
        DatasetError: If they do.
    """
    tracer = campaign.tracer
    if tracer.needs_solver and shard_size % tracer.solver_block_size:
        raise DatasetError(
            f"shard size {shard_size} must be a multiple of tracer.solver_block_size "
            f"({tracer.solver_block_size} UEs), since the UEs of a block are traced together"
        )
