"""Prove that a dataset is what its manifest says, and that its parts say the same."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from raymark.dataset.buildings import buildings_file, read_buildings
from raymark.dataset.coherence import check_attributes, check_detail, check_shard, check_sizes
from raymark.dataset.hdf5 import read_names
from raymark.dataset.identity import campaign_hash
from raymark.dataset.manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    Manifest,
    ShardRecord,
    content_hash,
    data_files,
    kept_kinds,
    read_manifest,
    site_hashes,
)
from raymark.dataset.reader import Dataset
from raymark.dataset.schema import Arrays, FileKind, check_path_physics
from raymark.dataset.shard import open_shard, read_arrays
from raymark.dataset.tables import index_rows, read_table
from raymark.errors import DatasetError, RaymarkError, SchemaError
from raymark.storage import Place, PlaceLike, as_place

_GAIN_ROUNDING_DB = 1e-3
"""Largest difference of a gain made anew: other processors may round otherwise."""


def verify_dataset(
    folder: PlaceLike, *, progress: Callable[[str], None] = lambda _file: None
) -> list[str]:
    """Check every file of a finished dataset; objects are fetched anew, whatever is cached.

    Beside the hashes of files and arrays, all is made anew that follows from something else that is
    stored: the index from the shards, labels from interactions, delays and angles from points.
    What cannot be made anew is told by `unproven_parts`, what does not belong by `unknown_files`.

    Args:
        folder: The dataset.
        progress: Told the name of every file that is checked.

    Returns:
        One sentence for every fault; empty if all is well.

    Raises:
        DatasetError: If the folder holds no dataset or an unfinished one.
        ConfigError: If the manifest is damaged or contradicts itself.
        SchemaError: If the manifest was edited, against which nothing can be checked.
    """
    folder = as_place(folder)
    manifest = read_manifest(folder)
    if manifest.state != "complete":
        raise DatasetError(f"the dataset in {folder} is not finished; run `raymark generate` again")
    faults = [*_identity_faults(folder, manifest), *_stray_faults(folder)]
    parts = []
    for record in manifest.shards:
        rows, found = _checked_rows(folder, manifest, record, progress)
        parts.append(rows)
        faults += found
    for name, sha256 in _other_files(manifest).items():
        progress(name)
        faults += _file_faults(folder, name, sha256)
    if not faults:
        faults += [*_table_faults(folder, manifest, parts), *_content_faults(folder, manifest)]
    return list(dict.fromkeys(faults))  # a link is found twice


def unknown_files(folder: PlaceLike) -> list[str]:
    """Return what lies in the folder of a dataset and is no part of it.

    Raises:
        DatasetError: If the folder holds no dataset.
    """
    folder = as_place(folder)
    manifest = read_manifest(folder)
    known = {MANIFEST_NAME, *data_files(manifest), *manifest.documents}
    return sorted(set(folder.files_below()) - known)


def unproven_parts(manifest: Manifest) -> list[str]:
    """Return what `verify_dataset` has to believe, a sentence each."""
    sampling = manifest.campaign.sampling
    said = ["Amplitudes and which paths there are: only tracing the campaign again proves them."]
    if sampling.imported_from is not None:
        said.append("Delays and angles: the program that made the paths need not store all points.")
    elif "detail" in manifest.left_out:
        said.append("Delays and angles: the files with the points of the paths were left out.")
    if not manifest.documents:
        said.append("CARD.md and ATTRIBUTION: the manifest has no hashes of them.")
    said.append("Who made it: the seal is a hash without a secret, which anybody can make anew.")
    return said


def require_content(dataset: Dataset) -> None:
    """Check that arrays and index are those of the content hash, and not only called so.

    Raises:
        SchemaError: If they are not, or a file is missing or unreadable.
    """
    folder, manifest = dataset.folder, dataset.manifest
    found = content_hash(site_hashes(folder, manifest, list(manifest.shards)))
    if found != manifest.content_hash:
        raise SchemaError(
            f"{folder / MANIFEST_NAME}: content_hash is {str(manifest.content_hash)[:12]}, "
            f"the arrays give {found[:12]}: manifest or data were edited; get the dataset again"
        )
    bands = [band.name for band in manifest.campaign.bands]
    parts = [index_rows(dataset.load_shard(shard), shard, bands) for shard in manifest.shards]
    for fault in _table_faults(folder, manifest, parts):
        raise SchemaError(f"{fault}; get the dataset again")


def _identity_faults(folder: Place, manifest: Manifest) -> Iterator[str]:
    """Make the hash of the campaign anew, where the manifest holds all that it covers."""
    campaign = manifest.campaign
    is_whole = manifest.subset_of is None and campaign.sampling.imported_from is None
    if is_whole and campaign.sampling.is_self_contained:
        found = campaign_hash(campaign, {site.scene: site.scene_hash for site in manifest.sites})
        if found != manifest.config_hash:
            yield f"{folder / MANIFEST_NAME}: config_hash is not that of its campaign and scenes"
    if manifest.id != f"{campaign.name}-{manifest.config_hash[:12]}":
        yield f"{folder / MANIFEST_NAME}: id is not made of the campaign's name and config_hash"


def _stray_faults(folder: Place) -> Iterator[str]:
    """Name the links that lead out of a folder, and what is no file at all."""
    for name in folder.files_below():
        try:
            folder.below(name)
        except DatasetError as error:
            yield str(error)


def _checked_rows(
    folder: Place, manifest: Manifest, record: ShardRecord, progress: Callable[[str], None]
) -> tuple[pd.DataFrame, list[str]]:
    """Check both files of a shard; return its rows of the index, and its faults."""
    loaded: dict[FileKind, Arrays] = {}
    faults = []
    for kind in kept_kinds(manifest):
        progress(record.file(kind))
        found = _file_faults(folder, record.file(kind), record.sha256(kind))
        try:
            if not found:
                loaded[kind] = _load(folder, manifest, record, kind, loaded)
        except RaymarkError as error:
            found = [str(error)]
        faults += found
    if "paths" not in loaded:
        return pd.DataFrame(), faults
    return index_rows(loaded["paths"], record, [b.name for b in manifest.campaign.bands]), faults


def _load(
    folder: Place,
    manifest: Manifest,
    record: ShardRecord,
    kind: FileKind,
    others: dict[FileKind, Arrays],
) -> Arrays:
    path = folder.below(record.file(kind))
    with open_shard(path, kind) as file:
        arrays = read_arrays(file, kind, path)
        check_attributes(file, manifest, record, where=str(path))
        names = ("objects", "materials") if kind == "detail" else ()
        counted = {name: len(read_names(file, name, path)) for name in names}
    num_bands = len(manifest.campaign.bands)
    check_sizes(arrays, record, kind, num_bands=num_bands, where=str(path))
    if kind == "paths":
        carriers = [band.carrier_hz for band in manifest.campaign.bands]
        check_path_physics(arrays, carriers_hz=carriers, where=str(path))
        check_shard(arrays, manifest, record, where=str(path))
    elif "paths" in others:
        is_traced = manifest.campaign.sampling.imported_from is None
        check_detail(others["paths"], arrays, counted, is_traced=is_traced, where=str(path))
    return arrays


def _other_files(manifest: Manifest) -> dict[str, str | None]:
    buildings = {buildings_file(scene): sha for scene, sha in manifest.buildings.items()}
    return {**buildings, INDEX_NAME: manifest.index_sha256, **manifest.documents}


def _file_faults(folder: Place, name: str, sha256: str | None) -> list[str]:
    try:
        path = folder.below(name)
    except DatasetError as error:
        return [str(error)]
    path.forget_copies()
    if not path.is_file():
        return [f"{path}: the file is missing"]
    if path.sha256() != sha256:
        return [f"{path}: the file differs from the manifest (SHA-256)"]
    return []


def _table_faults(folder: Place, manifest: Manifest, parts: list[pd.DataFrame]) -> Iterator[str]:
    """Read the buildings, and compare the index with the one that the shards give."""
    path = folder.below(INDEX_NAME)
    try:
        for scene, sha256 in manifest.buildings.items():
            read_buildings(folder.below(buildings_file(scene)), sha256)
        stored = read_table(path)
    except RaymarkError as error:
        yield str(error)
        return
    made = pd.concat(parts, ignore_index=True)
    if list(stored.columns) != list(made.columns) or len(stored) != len(made):
        yield f"{path}: {len(stored)} rows, columns {list(stored.columns)}: the shards give others"
        return
    for column in made.columns:
        if not _same_column(stored[column], made[column]):
            yield f"{path}: column {column} differs from the shards"


def _same_column(stored: pd.Series, made: pd.Series) -> bool:
    if stored.dtype != made.dtype:
        return False
    if str(made.name).startswith("gain_db_"):
        return bool((np.abs(stored.to_numpy() - made.to_numpy()) <= _GAIN_ROUNDING_DB).all())
    return bool((stored.to_numpy() == made.to_numpy()).all())


def _content_faults(folder: Place, manifest: Manifest) -> list[str]:
    """Recompute the hashes of the arrays; a swap of whole shards would show here."""
    arrays = site_hashes(folder, manifest, list(manifest.shards))
    faults = [
        f"{folder}: array {name} of {site} differs from the manifest"
        for site, hashes in arrays.items()
        for name in sorted({*hashes, *manifest.arrays.get(site, {})})
        if manifest.arrays.get(site, {}).get(name) != hashes.get(name)
    ]
    if not faults and content_hash(arrays) != manifest.content_hash:
        faults.append(f"{folder}: the content hash in the manifest is not that of its arrays")
    return faults
