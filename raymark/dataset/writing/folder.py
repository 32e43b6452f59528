"""The dataset folder as a place of work: whose it is, and what is done."""

from collections.abc import Iterator

from raymark.dataset.buildings import buildings_file
from raymark.dataset.campaign import Campaign
from raymark.dataset.identity import campaign_hash, is_surely_another
from raymark.dataset.journal import read_journal, remove_journal
from raymark.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    Manifest,
    ShardRecord,
    SiteRecord,
    read_manifest,
    write_manifest,
)
from raymark.dataset.schema import SCHEMA_VERSION, check_path_physics
from raymark.dataset.shard import write_shard
from raymark.dataset.writing.assembly import Arrays
from raymark.dataset.writing.card import CARD_NAME
from raymark.errors import DatasetError
from raymark.storage import Place, PlaceLike, as_place

LOGS_NAME = "logs"
_NO_DATASET = "{folder} is not empty and holds no dataset; choose another folder"


def finished_shards(folder: PlaceLike) -> dict[tuple[str, str, int], ShardRecord]:
    """Return the noted shards whose files are present with the noted hashes."""
    folder, done = as_place(folder), {}
    for record in read_journal(folder):
        files = [
            (folder.below(record.file(kind)), record.sha256(kind)) for kind in ("paths", "detail")
        ]
        if all(path.is_file() and path.sha256() == sha for path, sha in files):
            done[record.scene, record.site, record.part] = record
    return done


def require_room(campaign: Campaign, folder: PlaceLike, *, overwrite: bool) -> None:
    """Refuse a folder that cannot take a dataset, before its scenes are loaded.

    Raises:
        DatasetError: If the folder holds a campaign with other settings (and `overwrite` is not
            set), or anything else.
    """
    folder = as_place(folder)
    if (folder / MANIFEST_NAME).is_file():
        held = read_manifest(folder).campaign
        if not overwrite and is_surely_another(campaign, held):
            raise DatasetError(
                f"{folder} holds another campaign ('{held.name}' version {held.version}; this is "
                f"'{campaign.name}' version {campaign.version}); choose another folder or add "
                "--overwrite"
            )
    elif not folder.is_free():
        raise DatasetError(_NO_DATASET.format(folder=folder))


def prepare_folder(planned: Manifest, folder: PlaceLike, *, overwrite: bool) -> Manifest:
    """Return the manifest to go on with: the planned one, written, where the folder is free.

    Raises:
        DatasetError: If the folder holds another campaign (and `overwrite` is not set), one that
            was begun with other software, or anything else.
    """
    folder = as_place(folder)
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
    elif not folder.is_free():
        raise DatasetError(_NO_DATASET.format(folder=folder))
    write_manifest(folder, planned)
    return planned


def write_shard_pair(
    folder: PlaceLike,
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
    folder = as_place(folder)
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
    hashes = {
        "paths_sha256": write_shard(folder.below(record.file("paths")), "paths", main, common)
    }
    if detail is not None:
        attributes = {**common, **names}
        path = folder.below(record.file("detail"))
        hashes["detail_sha256"] = write_shard(path, "detail", detail, attributes)
    return record.model_copy(update=hashes)


def new_manifest(
    campaign: Campaign,
    sites: tuple[SiteRecord, ...],
    *,
    shard_size: int,
    software: dict[str, str],
    notes: tuple[str, ...],
) -> Manifest:
    """Return the manifest of a dataset of which nothing is done yet.

    Args:
        campaign: What is made.
        sites: Its base stations, scene by scene.
        shard_size: UEs per file.
        software: Versions of what makes it.
        notes: What a reader must know of how the paths are found.
    """
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
        notes=notes,
    )


def dataset_files(folder: PlaceLike, manifest: Manifest) -> list[str]:
    """Return the names of the files that a run writes into a dataset, the manifest first."""
    shards = [*manifest.shards, *read_journal(folder)]
    files = [record.file(kind) for record in shards for kind in ("paths", "detail")]
    buildings = dict.fromkeys(buildings_file(site.scene) for site in manifest.sites)
    return [MANIFEST_NAME, *files, *buildings, INDEX_NAME, CARD_NAME, "ATTRIBUTION"]


def changed_software(manifest: Manifest, now: dict[str, str]) -> str:
    """Return which versions are others now than a dataset was made with; nothing if none."""
    changed = [k for k, v in manifest.software.items() if now.get(k) != v]
    return ", ".join(f"{k} {manifest.software[k]} (now {now.get(k)})" for k in changed)


def _require_same_software(folder: Place, manifest: Manifest, now: dict[str, str]) -> None:
    """A dataset is made by one set of versions, or its parts would not fit together."""
    changed = changed_software(manifest, now)
    if manifest.state == "incomplete" and changed:
        raise DatasetError(
            f"{folder} was begun with {changed}; go on with those versions or add --overwrite"
        )


def _clear(folder: Place, manifest: Manifest) -> None:
    """Delete the files of a dataset, and nothing that it did not write."""
    for name in dataset_files(folder, manifest):
        folder.below(name).unlink()
    for name in _log_files(manifest):
        folder.below(name).unlink()
    remove_journal(folder)


def _log_files(manifest: Manifest) -> Iterator[str]:
    for site in manifest.sites:
        num_parts = -(-site.num_ues // manifest.shard_size)
        for part in ("buildings", *(f"part-{i:04d}" for i in range(num_parts))):
            yield f"{LOGS_NAME}/{site.key}/{part}.log"
