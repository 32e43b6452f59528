"""Cut a dataset down to some scenes, sites, bands and UEs; the result is a dataset of its own."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from raymark.config import config_hash
from raymark.dataset import Dataset
from raymark.dataset.buildings import buildings_file
from raymark.dataset.hdf5 import read_names
from raymark.dataset.manifest import Manifest, ShardRecord, SiteRecord
from raymark.dataset.schema import FileKind, fields_of
from raymark.dataset.shard import checked_copy, open_shard
from raymark.dataset.writing.finish import finish_dataset
from raymark.dataset.writing.folder import write_shard_pair
from raymark.errors import ConfigError, counted
from raymark.storage import new_folder

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What a subset keeps; all of it where nothing is named.

    Attributes:
        scenes: Names of scenes.
        sites: Names of sites.
        bands: Names of bands.
        num_ues: The first so many UEs of every site: whole tracks, but for the last.
    """

    scenes: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    num_ues: int | None = None


def cut_dataset(dataset: Dataset, out: Path, cut: Cut) -> Manifest:
    """Write a subset; it appears whole or not at all.

    Paths stay as they are: in the order of the first band of the whole dataset.

    Raises:
        ConfigError: If a scene, site or band is not in the dataset, or nothing would be left out.
        DatasetError: If the folder exists or cannot be written.
        SchemaError: If a file of the dataset is missing or was changed.
    """
    manifest = _manifest(dataset, cut)
    with new_folder(out) as partial:
        records = [
            _write_shard(partial, dataset, manifest, record)
            for site in manifest.sites
            for record in _records_of(dataset, site)
        ]
        for scene, sha256 in manifest.buildings.items():
            _copy_buildings(partial, dataset, scene, sha256)
        return finish_dataset(partial, manifest, records, seconds=0.0)


def _manifest(dataset: Dataset, cut: Cut) -> Manifest:
    whole, campaign = dataset.manifest, dataset.manifest.campaign
    cut = replace(cut, bands=tuple(dataset.band(name).name for name in cut.bands))
    scenes, bands = cut.scenes or dataset.scenes, cut.bands or dataset.bands
    for scene, band, site in itertools.product(scenes, bands, cut.sites or (None,)):
        dataset.select(scene=scene, band=band, site=site)  # refuses what is not there
    sites = tuple(
        site.model_copy(update={"num_ues": min(site.num_ues, cut.num_ues or site.num_ues)})
        for site in whole.sites
        if site.scene in scenes and (not cut.sites or site.site in cut.sites)
    )
    kept = tuple(band for band in campaign.bands if band.name in bands)
    if sites == whole.sites and kept == campaign.bands:
        raise ConfigError(f"nothing of {dataset.folder} would be left out; name what to keep")
    chosen = tuple(c for c in campaign.scenes if Path(c.name).name in scenes)
    of_config = config_hash({"whole": whole.config_hash, "kept": [asdict(cut)]})
    return whole.model_copy(
        update={
            "id": f"{campaign.name}-{of_config[:12]}",
            "state": "incomplete",
            "config_hash": of_config,
            "campaign": campaign.model_copy(
                update={
                    "scenes": chosen,
                    "bands": kept,
                    "description": f"A part of {whole.id}: {_described(cut)}.",
                }
            ),
            "sites": sites,
            "completeness": {
                s.key: whole.completeness[s.key] for s in sites if s.key in whole.completeness
            },
            "buildings": {x: sha256 for x, sha256 in whole.buildings.items() if x in scenes},
            "notes": (*whole.notes, f"cut from {whole.id} ({whole.content_hash})"),
            "subset_of": whole.content_hash,
            "arrays": {},
            "content_hash": None,
        }
    )


def _described(cut: Cut) -> str:
    named = {"scenes": cut.scenes, "sites": cut.sites, "bands": cut.bands}
    texts = [f"{noun} {', '.join(names)}" for noun, names in named.items() if names]
    if cut.num_ues is not None:
        texts.append(f"the first {counted(cut.num_ues, 'UE')} of every site")
    return "; ".join(texts)


def _records_of(dataset: Dataset, site: SiteRecord) -> Iterator[ShardRecord]:
    """Yield the shards that a site keeps, each with the number of UEs that it keeps."""
    for record in dataset.manifest.shards:
        num_ues = min(record.num_ues, site.num_ues - record.first_ue)
        if record.key == site.key and num_ues > 0:
            yield record.model_copy(update={"num_ues": num_ues})


def _write_shard(
    folder: Path, dataset: Dataset, manifest: Manifest, record: ShardRecord
) -> ShardRecord:
    source = next(r for r in dataset.manifest.shards if r.file("paths") == record.file("paths"))
    main = dataset.load_shard(source)
    num_paths = int(main["link/path_offset"][record.num_ues])
    lengths = {"link": record.num_ues, "link+1": record.num_ues + 1, "path": num_paths}
    band_rows = [dataset.bands.index(band.name) for band in manifest.campaign.bands]

    def cut(arrays: Arrays, kind: FileKind) -> Arrays:
        return {
            field.name: _cut_array(arrays[field.name], field.axes, lengths, band_rows)
            for field in fields_of(kind)
        }

    kept = record.model_copy(update={"num_paths": num_paths})
    if "detail" in manifest.left_out:
        return write_shard_pair(folder, manifest, kept, (cut(main, "paths"), None), {})
    detail = dataset.folder.below(record.file("detail"))
    with open_shard(detail, "detail") as file:
        names = {name: list(read_names(file, name, detail)) for name in ("objects", "materials")}
    arrays = cut(main, "paths"), cut(dataset.load_shard(source, "detail"), "detail")
    return write_shard_pair(folder, manifest, kept, arrays, names)


def _copy_buildings(folder: Path, dataset: Dataset, scene: str, sha256: str) -> None:
    name = buildings_file(scene)
    (folder / name).parent.mkdir(exist_ok=True)
    with checked_copy(dataset.folder.below(name), sha256) as copy:
        shutil.copyfile(copy, folder / name)


def _cut_array(
    array: np.ndarray, axes: tuple[str, ...], lengths: dict[str, int], band_rows: list[int]
) -> np.ndarray:
    for i, axis in enumerate(axes):
        if axis == "band":
            array = np.take(array, band_rows, axis=i)
        elif axis in lengths:
            array = np.take(array, range(lengths[axis]), axis=i)
    return array
