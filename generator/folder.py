"""The dataset folder as a place of work: whose it is, what is done, one process at a time."""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from raymark.atomic_files import is_partial, writable
from raymark.campaign import Campaign
from raymark.errors import DatasetError
from raymark.generator.assembly import Arrays
from raymark.generator.object_lock import LOCK_NAME, locked_by_object
from raymark.generator.plan import SitePlan, campaign_hash, search_notes
from raymark.generator.tracing.runtime import find_runtime
from raymark.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    Manifest,
    ShardRecord,
    SiteRecord,
    read_journal,
    read_manifest,
    remove_journal,
    write_manifest,
)
from raymark.object_path import ObjectPath
from raymark.schema import SCHEMA_VERSION, check_path_physics
from raymark.shard import file_sha256, write_shard
from raymark.storage import remove_tree

LOGS_NAME = "logs"
_SOFTWARE = ("raymark", "sionna-rt", "mitsuba", "drjit", "numpy", "h5py")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the system lets go of it however the process ends.

    In object storage, where no system does so, see `object_lock`.

    Raises:
        DatasetError: If another process holds it, or if it cannot be made.
    """
    if isinstance(folder, ObjectPath):
        with locked_by_object(folder):
            yield
        return
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DatasetError(f"another process is generating into {folder}") from error
    else:
        yield
    finally:
        os.close(handle)


def finished_shards(folder: Path) -> dict[tuple[str, str, int], ShardRecord]:
    """Return the noted shards whose files are present with the noted hashes."""
    done = {}
    for record in read_journal(folder):
        files = [(folder / record.file(kind), record.sha256(kind)) for kind in ("paths", "detail")]
        if all(path.is_file() and file_sha256(path) == sha for path, sha in files):
            done[record.scene, record.site, record.part] = record
    return done


def prepare_folder(planned: Manifest, folder: Path, *, overwrite: bool) -> Manifest:
    """Return the manifest to go on with: the planned one, written, where the folder is free.

    Raises:
        DatasetError: If the folder holds another campaign (and `overwrite` is not set), one that
            was begun with other software, or anything else.
    """
    if (folder / MANIFEST_NAME).is_file():
        manifest = read_manifest(folder)
        same = manifest.config_hash == planned.config_hash
        if same and manifest.shard_size == planned.shard_size:
            _require_same_software(folder, manifest, planned.software)
            return manifest
        if not overwrite:
            raise DatasetError(
                f"{folder} holds another campaign ('{manifest.campaign.name}', config "
                f"{manifest.config_hash[:12]}, {manifest.shard_size} UEs per shard; this is "
                f"'{planned.campaign.name}', {planned.config_hash[:12]}, {planned.shard_size}); "
                "choose another folder or add --overwrite"
            )
        _clear(folder, manifest)
    elif any(not is_partial(path) and path.name != LOCK_NAME for path in folder.iterdir()):
        raise DatasetError(f"{folder} is not empty and holds no dataset; choose another folder")
    write_manifest(folder, planned)
    return planned


def write_shard_pair(
    folder: Path,
    manifest: Manifest,
    record: ShardRecord,
    arrays: tuple[Arrays, Arrays | None],
    names: dict[str, list[str]],
) -> ShardRecord:
    """Check and write the two files of a shard.

    Args:
        folder: The dataset.
        manifest: Whose bands and config hash the files carry.
        record: What the shard is; its hashes are filled in.
        arrays: Of the `paths` and the `detail` file; none where `detail` is left out.
        names: `objects` and `materials`, which the `detail` file counts.

    Raises:
        PhysicsError: If a path breaks a physical law.
        DatasetError: If nothing can be written.
    """
    main, detail = arrays
    carriers = [band.carrier_hz for band in manifest.campaign.bands]
    check_path_physics(main, carriers_hz=carriers, where=record.file("paths"))
    common = {
        "config_hash": manifest.config_hash,
        "frame": "world: x east, y north, z up [m]; angles as in docs/conventions.md",
        "scene": record.scene,
        "site": record.site,
        "bands": [band.name for band in manifest.campaign.bands],
        "carrier_hz": carriers,
    }
    hashes = {"paths_sha256": write_shard(folder / record.file("paths"), "paths", main, common)}
    if detail is not None:
        attributes = {**common, **names}
        path = folder / record.file("detail")
        hashes["detail_sha256"] = write_shard(path, "detail", detail, attributes)
    return record.model_copy(update=hashes)


def new_manifest(
    campaign: Campaign,
    sites: tuple[SiteRecord, ...],
    *,
    shard_size: int,
    software: dict[str, str],
) -> Manifest:
    """Return the manifest of a dataset of which nothing is done yet."""
    config_hash = campaign_hash(campaign, {site.scene: site.scene_hash for site in sites})
    return Manifest(
        id=f"{campaign.name}-{config_hash[:12]}",
        schema_version=SCHEMA_VERSION,
        state="incomplete",
        config_hash=config_hash,
        shard_size=shard_size,
        campaign=campaign,
        sites=sites,
        software=software,
        notes=search_notes(campaign),
    )


def software_versions() -> dict[str, str]:
    """Return the versions of everything that has a part in a dataset's numbers."""
    runtime = find_runtime()
    return {
        **{name: metadata.version(name) for name in _SOFTWARE},
        "python": platform.python_version(),
        "variant": runtime.variant,
        "llvm": runtime.llvm_version or "none",
    }


def changed_software(manifest: Manifest, now: dict[str, str]) -> str:
    """Return which versions are others now than a dataset was made with; nothing if none."""
    changed = [k for k, v in manifest.software.items() if now.get(k) != v]
    return ", ".join(f"{k} {manifest.software[k]} (now {now.get(k)})" for k in changed)


def _require_same_software(folder: Path, manifest: Manifest, now: dict[str, str]) -> None:
    """A dataset is made by one set of versions, or its parts would not fit together."""
    changed = changed_software(manifest, now)
    if manifest.state == "incomplete" and changed:
        raise DatasetError(
            f"{folder} was begun with {changed}; go on with those versions or add --overwrite"
        )


def site_record(site: SitePlan) -> SiteRecord:
    """Return what the manifest says of a planned site."""
    return SiteRecord(
        scene=site.scene.name,
        site=site.site.name,
        position_m=site.site.position_m,
        orientation_rad=site.site.orientation_rad,
        num_ues=len(site.ues),
        scene_hash=site.scene_hash,
        licence=site.scene.settings.licence,
        attribution=site.scene.settings.attribution,
    )


def _clear(folder: Path, manifest: Manifest) -> None:
    """Delete the files of a dataset, and nothing that it did not write."""
    with writable(folder):
        (folder / MANIFEST_NAME).unlink()
        for record in [*manifest.shards, *read_journal(folder)]:
            for kind in ("paths", "detail"):
                (folder / record.file(kind)).unlink(missing_ok=True)
        remove_tree(folder / LOGS_NAME)
        for name in (INDEX_NAME, "CARD.md", "ATTRIBUTION"):
            (folder / name).unlink(missing_ok=True)
        remove_journal(folder)
