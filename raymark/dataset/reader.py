"""Read a dataset: choose links by scene, site and band; get paths, labels and fingerprints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Complex, Float, Int

from raymark.config import nearest
from raymark.dataset.buildings import Buildings, buildings_file, read_buildings
from raymark.dataset.coherence import check_sizes
from raymark.dataset.manifest import INDEX_NAME, Manifest, ShardRecord, SiteRecord, read_manifest
from raymark.dataset.path_tables import DetailTable, PathTable
from raymark.dataset.shard import checked_copy, read_shard
from raymark.dataset.tables import read_table
from raymark.dataset.views import DatasetViews, LinkViews, open_by_name
from raymark.errors import DatasetError, SchemaError
from raymark.keywords import keywords_checked
from raymark.radio import Band, FingerprintKind, FrontEnd, ProfileMethod, band_name
from raymark.radio.fingerprints import Fingerprints, measured_fingerprints, oracle_fingerprints
from raymark.radio.synthesis import PathBatch, calibration_error
from raymark.seeding import child_generator
from raymark.storage import Place, PlaceLike, as_place

DEFAULT_BATCH_SIZE = 256
_OF_LINKS = ("ue/position_m", "ue/ue_index", "link/los")


class Dataset(DatasetViews):
    """A finished dataset folder; files are read when they are needed and checked when opened.

    Attributes:
        folder: Where it lies, here or in object storage.
        manifest: Its `dataset.json`.
    """

    def __init__(self, folder: PlaceLike) -> None:
        """Open `folder`.

        Raises:
            DatasetError: If it holds no dataset, or one that is not finished.
            SchemaError: If its `dataset.json` was edited.
        """
        self.folder: Place = as_place(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        if self.manifest.state != "complete":
            raise DatasetError(
                f"the dataset in {self.folder} is not finished; run the same "
                "`raymark generate` command again, it goes on where it stopped"
            )

    def facts(self) -> dict[str, str]:
        """Return what it holds, where it lies, and its content hash."""
        places: dict[str, list[str]] = {}
        for site in self.manifest.sites:
            places.setdefault(site.scene, []).append(site.site)
        return {
            "name": self.manifest.id,
            "folder": str(self.folder),
            "links": str(sum(site.num_ues for site in self.manifest.sites)),
            "scenes": ", ".join(f"{scene} ({', '.join(of)})" for scene, of in places.items()),
            "bands": ", ".join(self.bands),
            "content hash": str(self.manifest.content_hash),
        }

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes."""
        return tuple(dict.fromkeys(site.scene for site in self.manifest.sites))

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(band.name for band in self.manifest.campaign.bands)

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row per link: scene, site, position, label, track, gains, shard and row.

        Raises:
            SchemaError: If the file is missing, differs from the manifest or has not a row a link.
        """
        path = self.folder.below(INDEX_NAME)
        with checked_copy(path, self.manifest.index_sha256) as copy:
            table = read_table(copy)
        num_links = sum(record.num_ues for record in self.manifest.shards)
        if len(table) != num_links:
            raise SchemaError(f"{path} has {len(table)} rows, expected {num_links}, one a link")
        return table

    def band(self, name: str) -> Band:
        """Return a band by its name; a carrier may be spelled "28 GHz" or 28e9, too.

        Raises:
            DatasetError: If the dataset has no such band (the nearest is offered).
        """
        name = name if name in self.bands else band_name(name)
        self._require("band", name, self.bands)
        return self.manifest.campaign.bands[self.bands.index(name)]

    @keywords_checked(required=("scene", "band"))
    def select(self, *, scene: str, band: str, site: str | None = None) -> "Selection":
        """Choose the links of one scene at one band, of one site or of all.

        Raises:
            DatasetError: If scene, band or site is not in the dataset (the nearest is offered).
        """
        self._require("scene", scene, self.scenes)
        sites = tuple(record for record in self.manifest.sites if record.scene == scene)
        if site is not None:
            self._require("site", site, [record.site for record in sites])
            sites = tuple(record for record in sites if record.site == site)
        chosen = self.band(band)
        return Selection(
            dataset=self, band=chosen, band_index=self.bands.index(chosen.name), sites=sites
        )

    def buildings(self, scene: str) -> Buildings | None:
        """Read what stands in a scene, once; nothing if the dataset has no file of it.

        Imported datasets have none, nor have those of older versions.

        Raises:
            DatasetError: If the scene is not in the dataset (the nearest is offered).
            SchemaError: If the file is missing or differs from the manifest.
        """
        self._require("scene", scene, self.scenes)
        sha256 = self.manifest.buildings.get(scene)
        if sha256 is None:
            return None
        if scene not in self._buildings:
            place = self.folder.below(buildings_file(scene))
            self._buildings[scene] = read_buildings(place, sha256)
        return self._buildings[scene]

    @cached_property
    def _buildings(self) -> dict[str, Buildings]:
        """What was read."""
        return {}

    def load_shard(
        self, record: ShardRecord, kind: Literal["paths", "detail"] = "paths"
    ) -> dict[str, np.ndarray]:
        """Read the arrays of one file of a shard; the last four files are kept in memory.

        Raises:
            DatasetError: If files of this kind were left out of the dataset.
            SchemaError: If the file is missing or differs from the manifest.
        """
        if kind in self.manifest.left_out:
            raise DatasetError(
                f"{self.folder} was published without its '{kind}' files; the full release or "
                "the campaign in its dataset.json has them"
            )
        path = self.folder.below(record.file(kind))
        return _load_checked(path, record, kind, len(self.bands))

    def _require(self, noun: str, name: str, known: Sequence[str]) -> None:
        if name not in known:
            raise DatasetError(
                f"{self.folder} has no {noun} '{name}'{nearest(name, list(known))} "
                f"(it has: {', '.join(known)})"
            )


def open_dataset(folder: PlaceLike) -> Dataset:
    """Open a finished dataset: a folder, a URL such as `s3://bucket/name`, or one that has a name.

    A published dataset is called `name@1.0.0`, as the index says that RAYMARK_INDEX names. It is
    fetched if the cache does not have it. A folder of that very name goes before; without `@`, and
    with a `/`, a text is always a path.

    Raises:
        DatasetError: If the folder holds no dataset, or one that is not finished, or it cannot be
            fetched.
        ConfigError: If there is none of that name and version, or no index is set.
    """
    if isinstance(folder, str) and "@" in folder:
        named: Dataset | None = open_by_name(folder)
        if named is not None:
            return named
    return Dataset(folder)


@dataclass(frozen=True, repr=False)
class Selection(LinkViews):
    """The links of one scene at one band; its order is site by site, then by UE."""

    dataset: Dataset
    band: Band
    band_index: int
    sites: tuple[SiteRecord, ...]

    def facts(self) -> dict[str, str]:
        """Return which links these are; nothing is read."""
        return {
            "scene": self.sites[0].scene,
            "sites": ", ".join(site.site for site in self.sites),
            "band": self.band.name,
            "links": str(len(self)),
        }

    @property
    def front_end(self) -> FrontEnd:
        """The front-end at the selection's band."""
        return self.dataset.manifest.campaign.front_end_at(self.band)

    @cached_property
    def _shards(self) -> tuple[ShardRecord, ...]:
        keys = [site.key for site in self.sites]
        records = [r for r in self.dataset.manifest.shards if r.key in keys]
        order = sorted(records, key=lambda r: (keys.index(r.key), r.first_ue))
        return tuple(order)

    @cached_property
    def _first_row(self) -> Int[np.ndarray, "shard1"]:
        return np.cumsum([0, *(record.num_ues for record in self._shards)])

    def __len__(self) -> int:
        """Return the number of links."""
        return int(self._first_row[-1])

    @cached_property
    def position_m(self) -> Float[np.ndarray, "link 3"]:
        """UE positions, world frame [m]."""
        return self._of_links["ue/position_m"]

    @cached_property
    def los(self) -> Int[np.ndarray, "link"]:
        """Labels: 1 LOS, 0 NLOS, -1 outage."""
        return self._of_links["link/los"]

    @cached_property
    def ue_index(self) -> Int[np.ndarray, "link"]:
        """Number of each UE at its site."""
        return self._of_links["ue/ue_index"]

    @cached_property
    def site_index(self) -> Int[np.ndarray, "link"]:
        """Index of each link's site in `sites`."""
        keys = [site.key for site in self.sites]
        return np.concatenate([np.full(r.num_ues, keys.index(r.key)) for r in self._shards])

    @cached_property
    def _of_links(self) -> dict[str, np.ndarray]:
        """Small columns, all in one pass: of many shards only the last ones are in memory."""
        shards = (self.dataset.load_shard(record) for record in self._shards)
        parts = [[arrays[name] for name in _OF_LINKS] for arrays in shards]
        columns = zip(*parts, strict=True)
        return {name: np.concatenate(c) for name, c in zip(_OF_LINKS, columns, strict=True)}

    def path_table(self, start: int, stop: int) -> PathTable:
        """Return the paths of links `start:stop` as ragged numpy arrays.

        Raises:
            IndexError: If the range is not within the selection.
        """
        pieces = [
            (self.dataset.load_shard(record), rows, paths)
            for record, rows, paths in self._pieces(start, stop)
        ]
        counts = [np.diff(arrays["link/path_offset"])[rows] for arrays, rows, _ in pieces]
        offset = np.concatenate([[0], *counts]).cumsum()
        names = [
            field for field in PathTable.__slots__ if field not in ("path_offset", "amplitude")
        ]
        columns = {
            name: np.concatenate([arrays[f"path/{name}"][paths] for arrays, _, paths in pieces])
            for name in names
        }
        amplitude = np.concatenate(
            [arrays["path/amplitude"][self.band_index, paths] for arrays, _, paths in pieces]
        )
        return PathTable(path_offset=offset, amplitude=amplitude, **columns)

    def detail_table(self, start: int, stop: int) -> DetailTable:
        """Return points and edges of the paths of links `start:stop`, as they are stored.

        Raises:
            IndexError: If the range is not within the selection.
        """
        pieces = [
            (self.dataset.load_shard(record, "detail"), paths)
            for record, _, paths in self._pieces(start, stop)
        ]
        columns = {
            name: np.concatenate([arrays[f"path/{name}"][paths] for arrays, paths in pieces])
            for name in DetailTable.__slots__
        }
        return DetailTable(**columns)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[ShardRecord, slice, slice]]:
        """Yield (shard, links, paths) of every shard that overlaps the range, at least one."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"links {start}:{stop} are not within 0:{len(self)}")
        for first, record in zip(self._first_row[:-1], self._shards, strict=True):
            low, high = max(start - first, 0), min(stop - first, record.num_ues)
            if low < high or (start == stop and first <= start < first + record.num_ues):
                offset = self.dataset.load_shard(record)["link/path_offset"]
                yield record, slice(low, high), slice(offset[low], offset[high])

    def path_batch(self, start: int, stop: int) -> PathBatch:
        """Return the paths of links `start:stop`, padded, in torch; they must share a site.

        Raises:
            DatasetError: If the range spans several sites, whose panels point elsewhere.
        """
        table = self.path_table(start, stop)
        sites = np.unique(self.site_index[start:stop])
        if len(sites) > 1:
            raise DatasetError(f"links {start}:{stop} belong to several sites; select one site")
        site = self.sites[int(sites[0]) if len(sites) else 0]
        orientation_rad = np.asarray(site.orientation_rad, dtype="f8")
        return table.batch(np.arange(stop - start), self.band, orientation_rad)

    def ranges(self, batch_size: int = DEFAULT_BATCH_SIZE) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of batches in order; a batch never spans two sites."""
        edges = np.flatnonzero(np.diff(self.site_index)) + 1
        for low, high in zip([0, *edges], [*edges, len(self)], strict=True):
            for start in range(int(low), int(high), batch_size):
                yield start, min(start + batch_size, int(high))

    @keywords_checked()
    def fingerprints(
        self,
        start: int,
        stop: int,
        *,
        kind: FingerprintKind = "measured",
        generator: torch.Generator | None = None,
        method: ProfileMethod = "bartlett",
        device: torch.device | str = "cpu",
    ) -> Fingerprints:
        """Make the fingerprints of links `start:stop` (of one site) on a device.

        Args:
            start: First link.
            stop: One past the last link.
            kind: `measured` (estimated from noisy CSI) or `oracle` (the ray tracer's values).
            generator: Source of fresh noise, on `device`; needed for `measured`.
            method: Estimator of the measured angle-of-arrival profile.
            device: Where to compute.

        Raises:
            DatasetError: If the range spans several sites, or `measured` lacks a generator.
        """
        paths = self.path_batch(start, stop).to(device)
        front_end = self.front_end
        if kind == "oracle":
            return oracle_fingerprints(paths, front_end)
        if generator is None:
            raise DatasetError("measured fingerprints need a torch.Generator for their noise")
        return measured_fingerprints(
            paths,
            front_end,
            generator=generator,
            calibration=self.calibration(start, front_end).to(device),
            method=method,
        )

    def calibration(self, link: int, front_end: FrontEnd) -> Complex[torch.Tensor, "ant"]:
        """Return the fixed gain of each antenna of a link's site, under a front-end's errors."""
        site = self.sites[int(self.site_index[link])]
        rng = child_generator(self.dataset.manifest.campaign.seed, site.key, "calibration")
        return calibration_error(front_end, rng)

    def batch_noise_generator(self, start: int, seed: int) -> torch.Generator:
        """Return the source of noise of a whole batch that starts at link `start`.

        Files of fingerprints and the benchmark draw so. The loaders, which take links in any order
        and company, draw the noise of each link from a generator of its own: other numbers of the
        same distribution under the same seed.
        """
        site = self.sites[int(self.site_index[start])]
        first_ue = int(self.ue_index[start])
        rng = child_generator(seed, site.key, self.band.name, "noise", first_ue)
        return torch.Generator().manual_seed(int(rng.integers(2**62)))


@lru_cache(maxsize=4)
def _load_checked(
    path: Place, record: ShardRecord, kind: Literal["paths", "detail"], num_bands: int
) -> dict[str, np.ndarray]:
    with checked_copy(path, record.sha256(kind)) as copy:
        arrays = read_shard(copy, kind)
    check_sizes(arrays, record, kind, num_bands=num_bands, where=str(path))
    return arrays
