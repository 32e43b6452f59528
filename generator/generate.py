"""Trace a plan into a dataset folder: shard by shard, resumable at any moment."""

import time
from collections.abc import Callable
from pathlib import Path

from raymark.errors import DatasetError
from raymark.generator.assembly import Arrays
from raymark.generator.finish import finish_dataset
from raymark.generator.folder import finished_shards, locked, prepare_folder
from raymark.generator.plan import DEFAULT_SHARD_SIZE, Plan, ShardPlan, SitePlan
from raymark.generator.site_tracing import ShardSource, TracedSite
from raymark.manifest import Manifest, ShardRecord, append_journal
from raymark.schema import check_path_physics
from raymark.shard import write_shard

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
    tracer = plan.campaign.tracer
    if tracer.needs_solver and shard_size % tracer.solver_block_size:
        raise DatasetError(
            f"shard size {shard_size} must be a multiple of tracer.solver_block_size "
            f"({tracer.solver_block_size} UEs), since the UEs of a block are traced together"
        )
    with locked(folder):
        manifest = prepare_folder(plan, folder, shard_size, overwrite=overwrite)
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
        for shard in site.shards(manifest.shard_size):
            record = done.get((site.scene.name, site.site.name, shard.part))
            if record is None:
                record = _write_shard(plan, folder, site, shard, shards.arrays(shard))
                append_journal(folder, record)
            progress(site.key, shard.num_ues)
            records.append(record)
        estimate = shards.completeness()
        if estimate is not None:
            completeness[site.key] = estimate
    manifest = manifest.model_copy(update={"completeness": completeness})
    return finish_dataset(plan, folder, manifest, records, time.monotonic() - started)


def _write_shard(
    plan: Plan, folder: Path, site: SitePlan, shard: ShardPlan, arrays: tuple[Arrays, Arrays]
) -> ShardRecord:
    main, detail = arrays
    record = ShardRecord(
        scene=site.scene.name,
        site=site.site.name,
        part=shard.part,
        first_ue=shard.first_ue,
        num_ues=shard.num_ues,
        num_paths=len(main["path/delay_s"]),
        paths_sha256="",
        detail_sha256="",
    )
    carriers = [band.carrier_hz for band in plan.campaign.bands]
    check_path_physics(main, carriers_hz=carriers, where=record.file("paths"))
    common = {
        "config_hash": plan.config_hash,
        "frame": "world: x east, y north, z up [m]; angles as in docs/conventions.md",
        "scene": site.scene.name,
        "site": site.site.name,
        "bands": [band.name for band in plan.campaign.bands],
        "carrier_hz": carriers,
    }
    meshes = {"objects": list(site.loaded.object_names), "materials": site.materials}
    paths_sha256 = write_shard(folder / record.file("paths"), "paths", main, common)
    detail_sha256 = write_shard(
        folder / record.file("detail"), "detail", detail, {**common, **meshes}
    )
    hashes = {"paths_sha256": paths_sha256, "detail_sha256": detail_sha256}
    return record.model_copy(update=hashes)
