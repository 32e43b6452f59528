"""Trace a plan into a dataset folder: shard by shard, resumable at any moment."""

import time
from collections.abc import Callable
from pathlib import Path

from raymark.dataset.campaign import Campaign
from raymark.dataset.journal import append_journal
from raymark.dataset.manifest import Manifest, ShardRecord
from raymark.dataset.writing.assembly import Arrays
from raymark.dataset.writing.finish import finish_dataset
from raymark.dataset.writing.folder import (
    finished_shards,
    new_manifest,
    prepare_folder,
    write_shard_pair,
)
from raymark.errors import DatasetError
from raymark.generator.buildings import write_plan_buildings
from raymark.generator.plan import (
    DEFAULT_SHARD_SIZE,
    Plan,
    ShardPlan,
    SitePlan,
    search_notes,
    shards_of,
    site_record,
)
from raymark.generator.site_tracing import ShardSource, TracedSite
from raymark.generator.software import software_versions
from raymark.storage.lock import locked

Progress = Callable[[str, int], None]
"""Called with a site's key and the number of UEs that are newly done."""

MakeSource = Callable[[Plan, SitePlan], ShardSource]


def generate(
    plan: Plan,
    folder: Path,
    *,
    shard_size: int = DEFAULT_SHARD_SIZE,
    overwrite: bool = False,
    progress: Progress = lambda _site, _count: None,
    source: MakeSource = TracedSite,
) -> Manifest:
    """Make the dataset of a plan, or go on where an interrupted run stopped.

    Args:
        plan: A checked campaign.
        folder: Where the dataset goes.
        shard_size: UEs per file; it changes the files, never the content.
        overwrite: Delete another dataset that lies in `folder`.
        progress: Told of every finished shard.
        source: Makes the arrays of a site.

    Raises:
        DatasetError: If the folder holds something else, is in use or cannot be written.
        PhysicsError: If a traced path breaks a physical law.
    """
    require_shard_size(plan.campaign, shard_size)
    planned = new_manifest(
        plan.campaign,
        tuple(site_record(site) for site in plan.sites),
        shard_size=shard_size,
        software=software_versions(),
        notes=search_notes(plan.campaign),
    )
    with locked(folder):
        manifest = prepare_folder(planned, folder, overwrite=overwrite)
        if manifest.state == "complete":
            return manifest
        return _run(plan, folder, manifest, progress, source)


def _run(
    plan: Plan, folder: Path, manifest: Manifest, progress: Progress, source: MakeSource
) -> Manifest:
    started = time.monotonic()
    done = finished_shards(folder)
    records = []
    completeness = {}
    for site in plan.sites:
        shards = source(plan, site)
        for shard in shards_of(len(site.ues), manifest.shard_size):
            record = done.get((site.scene.name, site.site.name, shard.part))
            if record is None:
                record = write_site_shard(folder, manifest, site, shard, shards.arrays(shard))
                append_journal(folder, record)
            progress(site.key, shard.num_ues)
            records.append(record)
        estimate = shards.completeness()
        if estimate is not None:
            completeness[site.key] = estimate
    found = {"completeness": completeness, "buildings": write_plan_buildings(folder, plan)}
    manifest = manifest.model_copy(update=found)
    return finish_dataset(folder, manifest, records, time.monotonic() - started)


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


def write_site_shard(
    folder: Path,
    manifest: Manifest,
    site: SitePlan,
    shard: ShardPlan,
    arrays: tuple[Arrays, Arrays],
) -> ShardRecord:
    """Check and write the files of one shard.

    Raises:
        PhysicsError: If a path breaks a physical law.
        DatasetError: If nothing can be written.
    """
    record = ShardRecord(
        scene=site.scene.name,
        site=site.site.name,
        part=shard.part,
        first_ue=shard.first_ue,
        num_ues=shard.num_ues,
        num_paths=len(arrays[0]["path/delay_s"]),
        paths_sha256="",
        detail_sha256="",
    )
    names = {"objects": list(site.loaded.object_names), "materials": site.materials}
    return write_shard_pair(folder, manifest, record, arrays, names)
