"""Add bands to a dataset that exists: fields are computed on its stored geometry.

The result is what the dataset would hold had the bands been there from the start, to the bit:
which paths are kept does not hang on the bands. Some links cannot be served from what is stored
and are searched again: those with a path whose field hangs on more than its stored geometry, a
diffracted one if the field is Sionna RT's, a scattered one if it is ours, and, where the first band
ranked the paths, those that lost some, whose power at the new band is part of a dataset.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex

from raymark.config import validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.campaign import Campaign
from raymark.dataset.manifest import MANIFEST_NAME, Completeness, Manifest, read_manifest
from raymark.dataset.schema import DIFFRACTION, DIFFUSE, NOTHING_TRUNCATED_DB
from raymark.dataset.writing.assembly import Arrays
from raymark.dataset.writing.folder import changed_software, dataset_files
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.errors import ConfigError, DatasetError
from raymark.generator.generate import generate
from raymark.generator.plan import Plan, Progress, ShardPlan, SitePlan, make_plan
from raymark.generator.site_tracing import ShardSource, TracedSite, assemble
from raymark.generator.software import tracing_software
from raymark.generator.tracing import sionna_adapter as adapter
from raymark.generator.tracing.search import SiteSearch
from raymark.radio import Band
from raymark.storage import PlaceLike, as_place
from raymark.storage.atomic import writable
from raymark.storage.folders import (
    IN_THE_WAY,
    keep_others,
    put_in_place,
    remove_dead_folders,
    require_absent,
)


def plan_extension(
    dataset: Dataset,
    bands: tuple[Band, ...],
    *,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Plan:
    """Return the plan of a dataset with further bands.

    Args:
        dataset: A finished dataset.
        bands: What it will have besides its own.
        progress: Told how many scenes are loaded.

    Raises:
        ConfigError: If a band is there already, or cannot be used with the campaign.
        SceneError: If a material is undefined at a band.
        DatasetError: If the dataset is a subset, or scenes or software are no longer its own.
    """
    manifest = dataset.manifest
    for band in bands:
        if band.name in dataset.bands:
            raise ConfigError(f"{dataset.folder} has band '{band.name}' already; leave it out")
    if manifest.subset_of is not None:
        raise DatasetError(
            f"{dataset.folder} was cut from another dataset; add the bands there and cut it again"
        )
    changed = changed_software(manifest, tracing_software())
    if changed:
        raise DatasetError(
            f"{dataset.folder} was made with {changed}; add bands with those versions, or generate "
            "it anew"
        )
    data = manifest.campaign.model_dump(mode="json")
    data["bands"] += [band.model_dump(mode="json") for band in bands]
    campaign = validate(Campaign, data, where=f"{dataset.folder} with further bands")
    plan = make_plan(campaign, progress=progress)
    _require_same_sites(dataset, plan)
    return plan


def extend_dataset(
    dataset: Dataset,
    plan: Plan,
    out: PlaceLike | None = None,
    *,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Manifest:
    """Add the bands of a plan to a dataset, or go on where an interrupted run stopped.

    The result is made beside the dataset and takes its place when it is complete.

    Args:
        dataset: A finished dataset.
        plan: Of `plan_extension`.
        out: Folder of the result; the dataset itself is then left as it is.
        progress: Told how many UEs are done.

    Raises:
        DatasetError: If a file of the dataset is missing or was changed, or if nothing can be
            written.
    """
    shard_size, source = dataset.manifest.shard_size, _source(dataset)
    if out is not None:
        return generate(plan, out, shard_size=shard_size, progress=progress, source=source)
    folder = dataset.folder.require_local("adding bands in place")
    with dataset.folder.locked():
        made, aside = _beside(folder, "extended"), _beside(folder, "before")
        require_absent(aside, IN_THE_WAY)  # before hours of work, not after
        manifest = generate(plan, made, shard_size=shard_size, progress=progress, source=source)
        keep_others(folder, made, ours=dataset_files(folder, dataset.manifest))
        put_in_place(made, folder, aside=aside)
        remove_dead_folders(folder)
    return manifest


def open_for_extension(folder: PlaceLike) -> Dataset:
    """Open a dataset; one whose replacement was cut off is put back in its place first.

    Raises:
        DatasetError: If the folder holds no finished dataset.
    """
    path = as_place(folder).local_path
    if path is not None and not path.exists() and _was_cut_off(path):
        with writable(path):
            _beside(path, "before").rename(path)
    return open_dataset(folder)


def _was_cut_off(folder: Path) -> bool:
    """Return whether beside a missing dataset lie itself and its finished extension."""
    before, extended = (_beside(folder, suffix) for suffix in ("before", "extended"))
    if not all((path / MANIFEST_NAME).is_file() for path in (before, extended)):
        return False
    old, new = read_manifest(before), read_manifest(extended)
    num_bands = len(old.campaign.bands)
    kept = new.campaign.model_copy(update={"bands": new.campaign.bands[:num_bands]})
    return new.state == "complete" and kept == old.campaign


class ExtendedSite:
    """Adds bands to the stored shards of one site."""

    def __init__(self, plan: Plan, site: SitePlan, dataset: Dataset) -> None:
        """Remember what is to be extended; nothing is computed yet."""
        self._plan, self._site, self._dataset = plan, site, dataset
        stored = dataset.manifest.shards
        of_site = [r for r in stored if r.key == site.key]
        self._records = {record.part: record for record in of_site}
        self._new_bands = plan.campaign.bands[len(dataset.bands) :]

    def arrays(self, shard: ShardPlan) -> tuple[Arrays, Arrays]:
        """Return the stored arrays of one shard with rows for the new bands.

        Raises:
            DatasetError: If the search finds other paths than it once did.
        """
        record = self._records[shard.part]
        main = self._dataset.load_shard(record)
        detail = self._dataset.load_shard(record, "detail")
        is_searched = self._needs_search(main)
        of_searched = np.repeat(is_searched, np.diff(main["link/path_offset"]))
        num_new = len(self._new_bands)
        amplitude = np.zeros((num_new, len(of_searched)), dtype="c8")
        # Carriers of reference tell of every band; without them, what is cut off is searched.
        truncated_db = np.tile(main["link/truncated_power_db"][:1], (num_new, 1))
        amplitude[:, ~of_searched] = self._fields(shard, main, detail, ~of_searched)
        if is_searched.any():
            again = self._search_again(shard, is_searched)
            if not np.array_equal(again["path/delay_s"], main["path/delay_s"][of_searched]):
                raise DatasetError(
                    f"{self._dataset.folder}: the paths of {record.file('paths')} are not found "
                    "again on this machine, so no band can be added here; generate it anew"
                )
            amplitude[:, of_searched] = again["path/amplitude"][1:]
            truncated_db[:, is_searched] = again["link/truncated_power_db"][1:]
        added = {"path/amplitude": amplitude, "link/truncated_power_db": truncated_db}
        joined = {name: np.concatenate([main[name], rows]) for name, rows in added.items()}
        return {**main, **joined}, detail

    def completeness(self) -> Completeness | None:
        """Return what is known of the site; it hangs on the first band alone."""
        return self._dataset.manifest.completeness.get(self._site.key)

    def _needs_search(self, main: Arrays) -> Bool[np.ndarray, "link"]:
        """Tell of which links the stored arrays do not hold all that a new band needs."""
        lost = main["link/saturated"] | (main["link/truncated_power_db"][0] > NOTHING_TRUNCATED_DB)
        if self._plan.references(self._site):
            lost[:] = False
        # The tile that a path was scattered at is stored without its size.
        unserved = DIFFUSE if self._plan.campaign.tracer.fields == "raymark" else DIFFRACTION
        has_unserved = (main["path/interaction"] == unserved).any(axis=1)
        link = np.repeat(np.arange(len(lost)), np.diff(main["link/path_offset"]))
        return lost | (np.bincount(link, has_unserved, len(lost)) > 0)

    def _fields(
        self, shard: ShardPlan, main: Arrays, detail: Arrays, rows: Bool[np.ndarray, "path"]
    ) -> Complex[np.ndarray, "new_band kept"]:
        site, ues = self._site.site, shard.ues(self._site)
        unread = np.zeros((int(rows.sum()), 3), dtype="f4")
        geometry = TracedPaths(
            ue_index=np.repeat(np.arange(len(ues)), np.diff(main["link/path_offset"]))[rows],
            delay_s=main["path/delay_s"][rows],
            direction_bs=unread,
            direction_ue=unread,
            interaction=main["path/interaction"][rows],
            vertex_m=detail["path/vertex_m"][rows],
            object_index=detail["path/object"][rows],
            primitive=detail["path/primitive"][rows],
            wedge=detail["path/wedge"][rows],
            amplitude=np.zeros((0, len(unread)), dtype="c8"),
        )
        loaded, bs_m, turn = self._site.loaded, site.position_m, site.orientation_rad
        bs = (np.asarray(bs_m), np.asarray(turn))
        if self._plan.campaign.tracer.fields == "raymark":
            from raymark.generator.tracing.true_fields import TrueFields  # noqa: PLC0415 - torch

            return TrueFields(loaded, *bs).amplitudes(geometry, ues.position_m, self._new_bands)
        endpoints = adapter.make_endpoints(*bs, ues.position_m)
        return loaded.fields_of(geometry, endpoints, self._new_bands)

    def _search_again(self, shard: ShardPlan, rows: Bool[np.ndarray, "ue"]) -> Arrays:
        """Return the arrays of some UEs at the first band and the new ones."""
        ues = shard.ues(self._site).take(np.flatnonzero(rows))
        bands = (self._plan.campaign.bands[0], *self._new_bands)
        references = self._plan.references(self._site)
        paths = self._search.trace(ues.position_m, bands, references)
        return assemble(self._plan, self._site, paths, ues, first_ue=0)[0]

    @cached_property
    def _search(self) -> SiteSearch:
        return self._plan.search(self._site)


def _source(dataset: Dataset) -> Callable[[Plan, SitePlan], ShardSource]:
    def make(plan: Plan, site: SitePlan) -> ShardSource:
        # Sionna's own search leaves out what its paths' fields hang on: it is run anew.
        if plan.campaign.tracer.needs_solver:
            return TracedSite(plan, site)
        return ExtendedSite(plan, site, dataset)

    return make


def _require_same_sites(dataset: Dataset, plan: Plan) -> None:
    for stored, site in zip(dataset.manifest.sites, plan.sites, strict=True):
        if stored.scene_hash != site.scene_hash:
            raise DatasetError(
                f"{dataset.folder} was made from another version of scene '{stored.scene}' "
                f"({stored.scene_hash[:12]}, here it is {site.scene_hash[:12]}); bands can be "
                "added with that version only"
            )


def _beside(folder: Path, suffix: str) -> Path:
    resolved = folder.resolve()
    return resolved.with_name(f"{resolved.name}.{suffix}")
