"""A site as it is worked on: opened where the work is done, then made into files, part by part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from raymark.dataset.buildings import write_buildings
from raymark.dataset.manifest import Completeness, Manifest, ShardRecord, SiteRecord
from raymark.dataset.writing.assembly import Arrays
from raymark.dataset.writing.folder import write_shard_pair
from raymark.generator.plan import Plan, ShardPlan, SitePlan
from raymark.generator.site_tracing import ShardSource, TracedSite
from raymark.storage import Place

MakeSource = Callable[[Plan, SitePlan], ShardSource]

Part = ShardPlan | Literal["completeness", "buildings"]
"""A shard of a site, the estimate of what its paths lack, or the buildings of its scene."""


@runtime_checkable
class SiteWork(Protocol):
    """What whoever works on a site is told."""

    @property
    def folder(self) -> Place:
        """Where the dataset lies."""

    @property
    def manifest(self) -> Manifest:
        """Whose bands and config hash its files carry."""

    @property
    def site(self) -> SiteRecord:
        """What the manifest says of it."""

    @property
    def plan(self) -> Plan:
        """The plan of at least the site's scene; it is kept for a while."""

    def opened(self) -> tuple[SitePlan, ShardSource]:
        """Return the site with its scene, and what makes its arrays; it is kept for a while."""


class LoadedSites:
    """The sites of a plan that was loaded by this process."""

    def __init__(self, plan: Plan, source: MakeSource = TracedSite) -> None:
        """Search nothing yet; `source` makes the arrays of a site."""
        self.plan, self._make_source = plan, source
        self._last: tuple[SitePlan, ShardSource] | None = None

    def opened(self, key: str) -> tuple[SitePlan, ShardSource]:
        """Return a site and its source; the last one is kept."""
        if self._last is None or self._last[0].key != key:
            self._last = None  # its search needs memory
            site = self.plan.site(key)
            self._last = (site, self._make_source(self.plan, site))
        return self._last


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSite:
    """One of the sites of a plan that was loaded by this process."""

    folder: Place
    manifest: Manifest
    site: SiteRecord
    sites: LoadedSites

    @property
    def plan(self) -> Plan:
        """The whole plan."""
        return self.sites.plan

    def opened(self) -> tuple[SitePlan, ShardSource]:
        """Return the site and its source; see `SiteWork`."""
        return self.sites.opened(self.site.key)


def make_part(work: SiteWork, part: Part) -> ShardRecord | Completeness | str | None:
    """Make one part of a dataset.

    Returns:
        The record of a shard; the estimate, if there can be one; the SHA-256 of the buildings.

    Raises:
        PhysicsError: If a path breaks a physical law.
        DatasetError: If nothing can be written, or this is another scene or software than planned.
    """
    if part == "buildings":
        # Reading meshes takes most of a second to load: of many workers one finds the buildings.
        from raymark.generator.buildings import plan_buildings  # noqa: PLC0415

        scene = work.site.scene
        return write_buildings(work.folder, scene, plan_buildings(work.plan, scene))
    site, source = work.opened()
    if part == "completeness":
        return source.completeness()
    return _write_shard(work, site, part, source.arrays(part))


def _write_shard(
    work: SiteWork, site: SitePlan, shard: ShardPlan, arrays: tuple[Arrays, Arrays]
) -> ShardRecord:
    record = ShardRecord(
        scene=site.scene.name,
        site=site.site.name,
        part=shard.part,
        first_ue=shard.first_ue,
        num_ues=shard.num_ues,
        num_paths=len(arrays[0]["path/delay_s"]),
        paths_sha256="",
        detail_sha256="",
    )
    names = {"objects": list(site.loaded.object_names), "materials": site.materials}
    return write_shard_pair(work.folder, work.manifest, record, arrays, names)
