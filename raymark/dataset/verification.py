"""Prove that a dataset is what its manifest says: hashes, schema, physics."""

from collections.abc import Callable

from raymark.dataset.buildings import buildings_file, read_buildings
from raymark.dataset.manifest import (
    INDEX_NAME,
    Manifest,
    ShardRecord,
    content_hash,
    kept_kinds,
    read_manifest,
    site_hashes,
)
from raymark.dataset.schema import FileKind, check_arrays, check_path_physics
from raymark.dataset.shard import read_shard
from raymark.errors import DatasetError, RaymarkError, SchemaError
from raymark.storage import Place, PlaceLike, as_place


def verify_dataset(
    folder: PlaceLike, *, progress: Callable[[str], None] = lambda _file: None
) -> list[str]:
    """Check every file of a finished dataset; objects are fetched anew, whatever is cached.

    Args:
        folder: The dataset.
        progress: Told the name of every file that is checked.

    Returns:
        One sentence for every fault; empty if all is well.

    Raises:
        DatasetError: If the folder holds no dataset, an unfinished one, or an edited
            `dataset.json`, against which nothing can be checked.
    """
    folder = as_place(folder)
    manifest = read_manifest(folder)
    if manifest.state != "complete":
        raise DatasetError(f"the dataset in {folder} is not finished; run `raymark generate` again")
    faults = []
    for record in manifest.shards:
        for kind in kept_kinds(manifest):
            progress(record.file(kind))
            faults += _fault_of(folder, manifest, record, kind)
    for scene, sha256 in manifest.buildings.items():
        progress(buildings_file(scene))
        faults += _buildings_fault(folder / buildings_file(scene), sha256)
    progress(INDEX_NAME)
    faults += _file_fault(folder / INDEX_NAME, manifest.index_sha256)
    if not faults:
        faults += _content_faults(folder, manifest)
    return faults


def _fault_of(folder: Place, manifest: Manifest, record: ShardRecord, kind: FileKind) -> list[str]:
    path = folder / record.file(kind)
    faults = _file_fault(path, record.sha256(kind))
    if faults:
        return faults
    try:
        arrays = read_shard(path, kind)
        sizes = check_arrays(kind, arrays, where=str(path))
        if sizes["path"] != record.num_paths or sizes.get("link", record.num_ues) != record.num_ues:
            raise SchemaError(f"{path}: the numbers of UEs or paths differ from the manifest")
        if kind == "paths":
            carriers = [band.carrier_hz for band in manifest.campaign.bands]
            check_path_physics(arrays, carriers_hz=carriers, where=str(path))
    except RaymarkError as error:
        return [str(error)]
    return []


def _buildings_fault(path: Place, sha256: str) -> list[str]:
    faults = _file_fault(path, sha256)
    try:
        if not faults:
            read_buildings(path, sha256)
    except RaymarkError as error:
        return [str(error)]
    return faults


def _file_fault(path: Place, sha256: str | None) -> list[str]:
    path.forget_copies()
    if not path.is_file():
        return [f"{path}: the file is missing"]
    if path.sha256() != sha256:
        return [f"{path}: the file differs from the manifest (SHA-256)"]
    return []


def _content_faults(folder: Place, manifest: Manifest) -> list[str]:
    """Recompute the hashes of the arrays; a swap of whole shards would show here."""
    arrays = site_hashes(folder, manifest, list(manifest.shards))
    faults = [
        f"{folder}: array {name} of {site} differs from the manifest"
        for site, hashes in arrays.items()
        for name, value in hashes.items()
        if manifest.arrays.get(site, {}).get(name) != value
    ]
    if not faults and content_hash(arrays) != manifest.content_hash:
        faults.append(f"{folder}: the content hash in the manifest is not that of its arrays")
    return faults
