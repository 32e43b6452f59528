"""Prove that a dataset is what its manifest says: hashes, schema, physics."""

from collections.abc import Callable, Iterator

import numpy as np

from raymark.config import seal_of
from raymark.dataset.buildings import buildings_file, read_buildings
from raymark.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    Manifest,
    ShardRecord,
    content_hash,
    kept_kinds,
    read_manifest,
    site_hashes,
)
from raymark.dataset.reader import Dataset
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
        DatasetError: If the folder holds no dataset or an unfinished one.
    """
    folder = as_place(folder)
    manifest = read_manifest(folder)
    if manifest.state != "complete":
        raise DatasetError(f"the dataset in {folder} is not finished; run `raymark generate` again")
    faults = []
    if manifest.seal != seal_of(manifest):
        faults.append(f"{folder / MANIFEST_NAME}: the file was edited, its seal does not fit")
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


def require_content(dataset: Dataset) -> None:
    """Check that arrays and index are those of the content hash, and not only called so.

    Raises:
        SchemaError: If they are not, or a file is missing or unreadable.
    """
    manifest = dataset.manifest
    found = content_hash(site_hashes(dataset.folder, manifest, list(manifest.shards)))
    if found != manifest.content_hash:
        raise SchemaError(
            f"{dataset.folder / MANIFEST_NAME}: content_hash is {str(manifest.content_hash)[:12]}, "
            f"the arrays give {found[:12]}: manifest or data were edited; get the dataset again"
        )
    for fault in index_faults(dataset):
        raise SchemaError(f"{fault}; get the dataset again")


def index_faults(dataset: Dataset) -> Iterator[str]:
    """Compare the rows of the index with the shards that they name.

    Yields:
        A sentence for every column that differs.

    Raises:
        SchemaError: If a file is missing or differs from the manifest.
    """
    path, index = dataset.folder / INDEX_NAME, dataset.index
    if len(index) != sum(site.num_ues for site in dataset.manifest.sites):
        yield f"{path}: {len(index)} rows, the manifest has other numbers of UEs"
    for record in dataset.manifest.shards:
        arrays, rows = dataset.load_shard(record), index[index["shard"] == record.file("paths")]
        expected = {
            "scene": np.full(record.num_ues, record.scene),
            "site": np.full(record.num_ues, record.site),
            **{name: arrays[f"ue/{name}"] for name in ("ue_index", "track_id", "track_step")},
            "los": arrays["link/los"],
            "num_paths": np.diff(arrays["link/path_offset"]),
            **dict(zip(("x_m", "y_m", "z_m"), arrays["ue/position_m"].T, strict=True)),
        }
        for column, values in expected.items():
            if not np.array_equal(rows[column], values):
                yield f"{path}: column {column} differs from {record.file('paths')}"


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
