"""A site as it is worked on: opened where the work is done, then made into files, part by part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from raymark.dataset.manifest import Completeness, Manifest, ShardRecord
from raymark.dataset.writing.folder import write_shard_pair
from raymark.generator.plan import Plan, ShardPlan, SitePlan
from raymark.generator.site_tracing import ShardSource, TracedSite
from raymark.storage import Place

MakeSource = Callable[[Plan, SitePlan], ShardSource]


@runtime_checkable
class SiteWork(Protocol):
    """What whoever works on a site is told."""

    @property
    def folder(self) -> Place:
        """Where the dataset lies."""

    @property
    def manifest(self) -> Manifest:
        """Whose bands and config hash its files carry."""

    def opened(self) -> tuple[SitePlan, ShardSource]:
        """Return the site with its scene, and what makes its arrays; it is kept for a while."""


class LoadedSites:
    """The sites of a plan that was loaded by this process."""

    def __init__(self, plan: Plan, source: MakeSource = TracedSite) -> None:
        """Search nothing yet; `source` makes the arrays of a site."""
        self._plan, self._make_source = plan, source
        self._last: tuple[SitePlan, ShardSource] | None = None

    def opened(self, key: str) -> tuple[SitePlan, ShardSource]:
        """Return a site and its source; the last one is kept."""
        if self._last is None or self._last[0].key != key:
            self._last = None  # its search needs memory
            site = next(site for site in self._plan.sites if site.key == key)
            self._last = (site, self._make_source(self._plan, site))
        return self._last


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSite:
    """One of the sites of a plan that was loaded by this process."""

    folder: Place
    manifest: Manifest
    key: str
    sites: LoadedSites

    def opened(self) -> tuple[SitePlan, ShardSource]:
        """Return the site and its source; see `SiteWork`."""
        return self.sites.opened(self.key)


def make_part(work: SiteWork, shard: ShardPlan | None) -> ShardRecord | Completeness | None:
    """Write a shard of a site, or, without one, estimate what the site's paths lack.

    Raises:
        PhysicsError: If a path breaks a physical law.
        DatasetError: If nothing can be written, or this is another scene or software than planned.
    """
    site, source = work.opened()
    if shard is None:
        return source.completeness()
    arrays = source.arrays(shard)
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
