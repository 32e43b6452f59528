"""Trace a plan into a dataset folder: shard by shard, resumable at any moment."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymark.errors import DatasetError
from raymark.generator.assembly import assemble_shard, join_paths
from raymark.generator.finish import finish_dataset
from raymark.generator.folder import finished_shards, locked, prepare_folder
from raymark.generator.plan import DEFAULT_SHARD_SIZE, Plan, ShardPlan, SitePlan
from raymark.generator.sampling import SampledUEs
from raymark.generator.tracing.sionna_adapter import SearchSettings, TracedPaths
from raymark.manifest import Manifest, ShardRecord, append_journal
from raymark.schema import check_path_physics
from raymark.seeding import child_generator
from raymark.shard import write_shard

Progress = Callable[[str, int], None]
"""Called with a site's key and the number of UEs that are newly done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One shard of one site."""

    site: SitePlan
    shard: ShardPlan

    @property
    def key(self) -> tuple[str, str, int]:
        return self.site.scene.name, self.site.site.name, self.shard.part


def generate(
    plan: Plan,
    folder: Path,
    *,
    shard_size: int = DEFAULT_SHARD_SIZE,
    overwrite: bool = False,
    progress: Progress = lambda _site, _count: None,
) -> Manifest:
    """Make the dataset of a plan, or go on where an interrupted run stopped.

    Args:
        plan: A checked campaign.
        folder: Where the dataset goes.
        shard_size: UEs per file; it changes the files, never the content.
        overwrite: Delete another dataset that lies in `folder`.
        progress: Told of every block of UEs.

    Raises:
        DatasetError: If the folder holds something else, is in use or cannot be written.
        PhysicsError: If a traced path breaks a physical law.
    """
    block = plan.campaign.tracer.block_size
    if shard_size % block:
        raise DatasetError(
            f"shard size {shard_size} must be a multiple of tracer.block_size ({block} UEs), "
            "since the UEs of a block are traced together"
        )
    with locked(folder):
        manifest = prepare_folder(plan, folder, shard_size, overwrite=overwrite)
        if manifest.state == "complete":
            return manifest
        return _run(plan, folder, manifest, progress)


def trace_block(plan: Plan, site: SitePlan, first_ue: int, num_ues: int) -> TracedPaths:
    """Trace one block of UEs of a site at all bands of the campaign."""
    tracer = plan.campaign.tracer
    rng = child_generator(plan.campaign.seed, site.key, "rays")
    settings = SearchSettings(
        max_depth=tracer.max_depth,
        num_rays=tracer.num_rays,
        specular_reflection=tracer.specular_reflection,
        diffuse_reflection=tracer.diffuse_reflection,
        refraction=tracer.refraction,
        diffraction=tracer.diffraction,
        seed=int(rng.integers(2**31)),
    )
    return site.loaded.trace(
        np.asarray(site.site.position_m),
        np.asarray(site.site.orientation_rad),
        site.ues.position_m[first_ue : first_ue + num_ues],
        plan.campaign.bands,
        settings,
    )


def _run(plan: Plan, folder: Path, manifest: Manifest, progress: Progress) -> Manifest:
    started = time.monotonic()
    done = finished_shards(folder)
    for job in _jobs(plan, manifest.shard_size):
        if job.key in done:
            progress(job.site.key, job.shard.num_ues)
            continue
        record = _trace_shard(plan, folder, job, progress)
        append_journal(folder, record)
        done[job.key] = record
    seconds = time.monotonic() - started
    records = [done[job.key] for job in _jobs(plan, manifest.shard_size)]
    return finish_dataset(plan, folder, manifest, records, seconds)


def _jobs(plan: Plan, shard_size: int) -> Iterator[_Job]:
    for site in plan.sites:
        for shard in site.shards(shard_size):
            yield _Job(site=site, shard=shard)


def _trace_shard(plan: Plan, folder: Path, job: _Job, progress: Progress) -> ShardRecord:
    site, shard, tracer = job.site, job.shard, plan.campaign.tracer
    stop = shard.first_ue + shard.num_ues
    blocks, first_ues = [], []
    for first in range(shard.first_ue, stop, tracer.block_size):
        num_ues = min(tracer.block_size, stop - first)
        blocks.append(trace_block(plan, site, first, num_ues))
        first_ues.append(first - shard.first_ue)
        progress(site.key, num_ues)
    materials = sorted(set(site.loaded.object_materials))
    main, detail = assemble_shard(
        join_paths(blocks, first_ues),
        _slice(site.ues, shard.first_ue, stop),
        first_ue=shard.first_ue,
        site=site.site,
        settings=tracer,
        material_of_object=np.array([materials.index(m) for m in site.loaded.object_materials]),
    )
    common = {
        "config_hash": plan.config_hash,
        "frame": "world: x east, y north, z up [m]; angles as in docs/conventions.md",
        "scene": site.scene.name,
        "site": site.site.name,
        "bands": [band.name for band in plan.campaign.bands],
        "carrier_hz": [band.carrier_hz for band in plan.campaign.bands],
    }
    meshes = {"objects": list(site.loaded.object_names), "materials": materials}
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
    return record.model_copy(
        update={
            "paths_sha256": write_shard(folder / record.file("paths"), "paths", main, common),
            "detail_sha256": write_shard(
                folder / record.file("detail"), "detail", detail, {**common, **meshes}
            ),
        }
    )


def _slice(ues: SampledUEs, start: int, stop: int) -> SampledUEs:
    return SampledUEs(
        position_m=ues.position_m[start:stop],
        track_id=ues.track_id[start:stop],
        track_step=ues.track_step[start:stop],
    )
