"""Where the arrays of a site's shards come from: tracing, the usual source of a dataset."""

from typing import Protocol, runtime_checkable

import numpy as np

from raymark.dataset.manifest import Completeness
from raymark.dataset.writing.assembly import Arrays, assemble_shard
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.dataset.writing.ues import SampledUEs
from raymark.generator.completeness import estimate_completeness
from raymark.generator.plan import Plan, ShardPlan, SitePlan


@runtime_checkable
class ShardSource(Protocol):
    """Makes the arrays of one site, shard by shard."""

    def arrays(self, shard: ShardPlan) -> tuple[Arrays, Arrays]:
        """Return the `paths` and the `detail` arrays of one shard."""

    def completeness(self) -> Completeness | None:
        """Return what the site's paths lack, if that is known."""


class TracedSite:
    """Searches the paths of a site and assembles them."""

    def __init__(self, plan: Plan, site: SitePlan) -> None:
        """Discover what the site can reach."""
        self._plan, self._site = plan, site
        self._search = plan.search(site)

    def arrays(self, shard: ShardPlan) -> tuple[Arrays, Arrays]:
        """Trace the UEs of one shard."""
        ues = shard.ues(self._site)
        references = self._plan.references(self._site)
        paths = self._search.trace(ues.position_m, self._plan.campaign.bands, references)
        return assemble(self._plan, self._site, paths, ues, first_ue=shard.first_ue)

    def completeness(self) -> Completeness | None:
        """Estimate what is missed by a denser search."""
        return estimate_completeness(self._plan, self._site, self._search)


def assemble(
    plan: Plan, site: SitePlan, paths: TracedPaths, ues: SampledUEs, *, first_ue: int
) -> tuple[Arrays, Arrays]:
    """Build the arrays of some UEs of a site from their paths."""
    materials = site.materials
    return assemble_shard(
        paths,
        ues,
        first_ue=first_ue,
        site=site.site,
        settings=plan.campaign.tracer,
        material_of_object=np.array([materials.index(m) for m in site.loaded.object_materials]),
    )
