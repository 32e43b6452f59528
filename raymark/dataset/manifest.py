"""`dataset.json`: what a dataset holds, from what it was made, and the hash of every part."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from raymark.config import Name, Strict, config_hash, read_sealed, sealed_json
from raymark.dataset.buildings import buildings_file
from raymark.dataset.campaign import Campaign
from raymark.dataset.earlier import with_earlier
from raymark.dataset.schema import FileKind, fields_of
from raymark.dataset.shard import read_shard
from raymark.errors import ConfigError, DatasetError
from raymark.storage import Place, PlaceLike, as_place

MANIFEST_NAME = "dataset.json"
INDEX_NAME = "index.parquet"


def site_key(scene: str, site: str) -> str:
    """Return the name of a site within a dataset, `<scene>/<site>`."""
    return f"{scene}/{site}"


class SiteRecord(Strict):
    """One base station of one scene, as it was traced."""

    scene: Name
    site: Name
    position_m: tuple[float, float, float]
    orientation_rad: tuple[float, float, float]
    num_ues: int
    scene_hash: str = Field(description="SHA-256 over the geometry and the scene's own settings")
    licence: str
    attribution: str

    @property
    def key(self) -> str:
        """Name of the site within the dataset."""
        return site_key(self.scene, self.site)


class ShardRecord(Strict):
    """One pair of files, `paths/...` and `detail/...`, that holds a range of UEs of one site."""

    scene: Name
    site: Name
    part: int = Field(ge=0)
    first_ue: int = Field(ge=0)
    num_ues: int = Field(ge=1)
    num_paths: int = Field(ge=0)
    paths_sha256: str
    detail_sha256: str

    @property
    def key(self) -> str:
        """Name of its site within the dataset."""
        return site_key(self.scene, self.site)

    def file(self, kind: FileKind) -> str:
        """Path of one of its files, relative to the dataset."""
        return f"{kind}/{self.key}/part-{self.part:04d}.h5"

    def sha256(self, kind: FileKind) -> str:
        """Hash of one of its files."""
        return self.paths_sha256 if kind == "paths" else self.detail_sha256


class MissedPower(Strict):
    """Share of a UE's power at the first band that is missed, over the UEs of one label."""

    num_ues: int = Field(description="UEs that were traced twice and have a path")
    mean_share: float = Field(description="Mean over UEs")
    p95_share: float = Field(description="95th percentile over UEs")


class Completeness(Strict):
    """What a site's paths lack, estimated by a second search."""

    num_ues: int = Field(description="UEs that were traced twice")
    method: Literal["second discovery", "denser edges"] = Field(
        default="second discovery",
        exclude_if=lambda value: value == "second discovery",
        description="What the paths are compared with: another discovery of the same density, as "
        "in earlier datasets, or one that is denser at the edges that matter to these UEs",
    )
    missed_paths_share: float = Field(
        description="Share of the distinct paths that the second search finds"
    )
    missed_power_share: float = Field(
        description="Share of a UE's power at the first band, mean over UEs"
    )
    by_label: dict[Literal["LOS", "NLOS"], MissedPower] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="The same by label; a label that no UE has is left out",
    )

    @property
    def share_in_words(self) -> str:
        """The missed share of a UE's power, in NLOS apart if that is known."""
        whole = f"about {self.missed_power_share:.2%} of a UE's power"
        nlos = self.by_label.get("NLOS")
        if nlos is None:
            return whole
        return f"{whole} (NLOS: mean {nlos.mean_share:.2%}, p95 {nlos.p95_share:.2%})"

    @property
    def search_in_words(self) -> str:
        """The search that the paths are compared with."""
        return {
            "second discovery": "a second discovery",
            "denser edges": "a search that is denser at the edges that matter to them",
        }[self.method]


class Manifest(Strict):
    """The whole of `dataset.json`."""

    id: str
    schema_version: Literal[1]
    state: Literal["incomplete", "complete"]
    config_hash: str
    shard_size: int
    campaign: Annotated[Campaign, BeforeValidator(with_earlier)]
    sites: tuple[SiteRecord, ...] = Field(min_length=1)
    software: dict[str, str]
    notes: tuple[str, ...] = Field(default=(), description="What a reader must know of the tracing")
    completeness: dict[str, Completeness] = Field(
        default_factory=dict, description="By site; none where Sionna's own search was used"
    )
    generation: dict[str, float | int | str] = Field(default_factory=dict)
    content_hash: str | None = None
    arrays: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="SHA-256 of every array of every site, over all shards"
    )
    shards: tuple[ShardRecord, ...] = ()
    left_out: tuple[FileKind, ...] = Field(
        default=(),
        exclude_if=lambda value: not value,
        description="Kinds of files that this copy of the dataset does not have",
    )
    subset_of: str | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Content hash of the dataset that this one was cut from",
    )
    buildings: dict[Name, str] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="SHA-256 of the file of every scene's buildings, where it has one",
    )
    documents: dict[Name, str] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="SHA-256 of CARD.md and ATTRIBUTION, as they were written",
    )
    index_sha256: str | None = None
    seal: str | None = Field(default=None, description="SHA-256 over all the rest of this file")

    @model_validator(mode="after")
    def _parts_fit(self) -> "Manifest":
        keys = [site.key for site in self.sites]
        if len(set(keys)) < len(keys):
            raise ValueError("'sites' lists a site twice")
        scenes = {site.scene for site in self.sites}
        unknown = {record.key for record in self.shards} - set(keys)
        unknown |= (set(self.arrays) | set(self.completeness)) - set(keys)
        unknown |= set(self.buildings) - scenes
        if unknown:
            raise ValueError(f"it names {sorted(unknown)}, which are none of its sites or scenes")
        if self.state == "complete":
            for site in self.sites:
                _require_gapless(site, [r for r in self.shards if r.key == site.key])
        return self


def _require_gapless(site: SiteRecord, records: list[ShardRecord]) -> None:
    """Check that the shards of a site hold each of its UEs once."""
    end = 0
    for part, record in enumerate(sorted(records, key=lambda r: r.first_ue)):
        if (record.part, record.first_ue) != (part, end):
            raise ValueError(
                f"the shards of {site.key} do not follow each other: part {record.part} begins "
                f"with UE {record.first_ue}, expected part {part} with UE {end}"
            )
        end += record.num_ues
    if end != site.num_ues:
        raise ValueError(f"the shards of {site.key} hold {end} UEs, the site has {site.num_ues}")


def read_manifest(folder: PlaceLike) -> Manifest:
    """Read `dataset.json`; its seal is checked by all who open a dataset.

    Raises:
        DatasetError: If the folder holds no dataset.
        ConfigError: If the file cannot be read or was edited into something invalid.
        SchemaError: If it was edited, whatever in it: its seal does not fit.
    """
    path = as_place(folder).below(MANIFEST_NAME)
    if not path.is_file():
        raise DatasetError(f"{folder} holds no dataset ({MANIFEST_NAME} is missing)")
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return read_sealed(Manifest, text, where=str(path))


def write_manifest(folder: PlaceLike, manifest: Manifest) -> None:
    """Seal the manifest and replace `dataset.json` at once."""
    (as_place(folder) / MANIFEST_NAME).write_text(sealed_json(manifest))


def kept_kinds(manifest: Manifest) -> tuple[FileKind, ...]:
    """Return the kinds of files that a dataset has."""
    kinds: tuple[FileKind, ...] = ("paths", "detail")
    return tuple(kind for kind in kinds if kind not in manifest.left_out)


def data_files(manifest: Manifest) -> dict[str, str | None]:
    """Return the SHA-256 of the files of data by their names: shards, buildings and index."""
    kinds = kept_kinds(manifest)
    shards = {r.file(kind): r.sha256(kind) for r in manifest.shards for kind in kinds}
    buildings = {buildings_file(scene): sha256 for scene, sha256 in manifest.buildings.items()}
    return {**shards, **buildings, INDEX_NAME: manifest.index_sha256}


def hash_arrays(shards: Iterable[PlaceLike], kind: FileKind) -> dict[str, str]:
    """Return the SHA-256 of each array over all shards of one site, in order.

    Every array is hashed with its link or path axis first and offsets as counts, so that the
    hashes do not depend on how the UEs were divided into shards.
    """
    digests = {field.name: hashlib.sha256() for field in fields_of(kind)}
    for i, shard in enumerate(shards):
        for name, rows in _canonical_rows(read_shard(shard, kind), kind):
            if i == 0 or not name.startswith("bs/"):
                digests[name].update(rows.tobytes())
    return {f"{kind}/{name}": digest.hexdigest() for name, digest in digests.items()}


def site_hashes(
    folder: Place, manifest: Manifest, records: list[ShardRecord]
) -> dict[str, dict[str, str]]:
    """Return the hash of every array of every site over all its shards.

    Of files that were left out, the hashes are those of the manifest.
    """
    result: dict[str, dict[str, str]] = {}
    for site in manifest.sites:
        own = [r for r in records if r.key == site.key]
        result[site.key] = {
            name: value
            for name, value in manifest.arrays.get(site.key, {}).items()
            if name.split("/")[0] in manifest.left_out
        }
        for kind in kept_kinds(manifest):
            files = [folder.below(r.file(kind)) for r in sorted(own, key=lambda r: r.first_ue)]
            result[site.key].update(hash_arrays(files, kind))
    return result


def content_hash(arrays: dict[str, dict[str, str]]) -> str:
    """Return one hash over the hashes of all arrays of all sites."""
    return config_hash(arrays)


def _canonical_rows(
    arrays: dict[str, np.ndarray], kind: FileKind
) -> Iterator[tuple[str, np.ndarray]]:
    for field in fields_of(kind):
        array = arrays[field.name]
        if field.axes == ("link+1",):
            array = np.diff(array)
        elif field.axes[0] == "band":
            array = np.moveaxis(array, 0, -1)
        yield field.name, np.ascontiguousarray(array)
