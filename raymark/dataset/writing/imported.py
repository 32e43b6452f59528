"""Datasets whose paths another program made: ranked, cut off and checked like traced ones."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

import numpy as np

from raymark.config import config_hash
from raymark.dataset.campaign import Campaign
from raymark.dataset.identity import NOT_DECISIVE
from raymark.dataset.manifest import Manifest, ShardRecord, SiteRecord, site_key
from raymark.dataset.schema import SCHEMA_VERSION
from raymark.dataset.writing.assembly import assemble_shard
from raymark.dataset.writing.finish import finish_dataset
from raymark.dataset.writing.folder import write_shard_pair
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.dataset.writing.ues import SampledUEs
from raymark.radio import Site
from raymark.storage import new_folder

SHARD_SIZE = 1000
_SOFTWARE = ("raymark", "numpy", "h5py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSite:
    """One base station with the UEs and paths that another program gave it.

    Attributes:
        scene: Name of the scene.
        site: Where the panel stands and looks.
        ues: UEs in their order.
        paths: Their paths; `amplitude` follows the convention of `path/amplitude` in the schema.
        licence: SPDX identifier of the source's licence.
        attribution: Whom a user of the data has to name.
        objects: Names that `paths.object_index` counts.
        materials: Material of each object.
    """

    scene: str
    site: Site
    ues: SampledUEs
    paths: TracedPaths
    licence: str
    attribution: str
    objects: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name of the site within the dataset."""
        return site_key(self.scene, self.site.name)


def write_imported(
    folder: Path,
    campaign: Campaign,
    sites: Sequence[ImportedSite],
    *,
    notes: tuple[str, ...],
    packages: tuple[str, ...] = (),
) -> Manifest:
    """Write a dataset of imported paths; it appears whole or not at all.

    Paths are ranked, cut off and labelled as traced ones are, by the campaign's tracer settings.

    Args:
        folder: Where the dataset goes; it must not exist.
        campaign: Bands, front-end and limits; its sampling is of kind `imported`.
        sites: The base stations, scene by scene.
        notes: What a reader must know of how the paths were found.
        packages: Installed packages that made the paths; their versions are noted.

    Raises:
        DatasetError: If the folder exists or cannot be written.
        PhysicsError: If a path breaks a physical law.
    """
    with new_folder(folder) as partial:
        manifest = _manifest(campaign, sites, notes, packages)
        records = [
            _write_part(partial, manifest, site, first)
            for site in sites
            for first in range(0, len(site.ues), SHARD_SIZE)
        ]
        return finish_dataset(partial, manifest, records, seconds=0.0)


def _write_part(folder: Path, manifest: Manifest, site: ImportedSite, first: int) -> ShardRecord:
    ues = site.ues.take(slice(first, first + SHARD_SIZE))
    rows = np.flatnonzero((site.paths.ue_index >= first) & (site.paths.ue_index < first + len(ues)))
    paths = site.paths.take(rows)
    paths.ue_index[:] -= first
    materials = sorted(set(site.materials))
    arrays = assemble_shard(
        paths,
        ues,
        first_ue=first,
        site=site.site,
        settings=manifest.campaign.tracer,
        # Index -1, "no object", is masked: it needs an entry where there is no object at all.
        material_of_object=np.array([materials.index(m) for m in site.materials] or [-1]),
    )
    record = ShardRecord(
        scene=site.scene,
        site=site.site.name,
        part=first // SHARD_SIZE,
        first_ue=first,
        num_ues=len(ues),
        num_paths=len(arrays[0]["path/delay_s"]),
        paths_sha256="",
        detail_sha256="",
    )
    names = {"objects": list(site.objects), "materials": materials}
    return write_shard_pair(folder, manifest, record, arrays, names)


def _manifest(
    campaign: Campaign,
    sites: Sequence[ImportedSite],
    notes: tuple[str, ...],
    packages: tuple[str, ...],
) -> Manifest:
    hashes = {site.key: _source_hash(site) for site in sites}
    identity = campaign.model_dump(mode="json", exclude=set(NOT_DECISIVE))
    of_config = config_hash({"campaign": identity, "sites": hashes})
    return Manifest(
        id=f"{campaign.name}-{of_config[:12]}",
        schema_version=SCHEMA_VERSION,
        state="incomplete",
        config_hash=of_config,
        shard_size=SHARD_SIZE,
        campaign=campaign,
        sites=tuple(
            SiteRecord(
                scene=site.scene,
                site=site.site.name,
                position_m=site.site.position_m,
                orientation_rad=site.site.orientation_rad,
                num_ues=len(site.ues),
                scene_hash=hashes[site.key],
                licence=site.licence,
                attribution=site.attribution,
            )
            for site in sites
        ),
        software={
            **{name: metadata.version(name) for name in (*_SOFTWARE, *packages)},
            "python": platform.python_version(),
        },
        notes=notes,
    )


def _source_hash(site: ImportedSite) -> str:
    """Return a hash over everything that was handed in; imported paths bring no geometry."""
    digest = hashlib.sha256(site.site.model_dump_json().encode())
    for part in (site.ues, site.paths):
        for field in fields(part):
            digest.update(np.ascontiguousarray(getattr(part, field.name)).tobytes())
    return digest.hexdigest()
