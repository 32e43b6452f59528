"""How much the search misses, estimated from a second, independent discovery.

Two discoveries with bundles of rays turned against each other find paths independently. The share
of the second's power that the first misses estimates the share that it misses of all (capture and
recapture: Lincoln-Petersen, as in Seber, The Estimation of Animal Abundance, 1982, sec. 3.1).
"""

import numpy as np

from raymark.dataset.manifest import Completeness
from raymark.dataset.writing.assembly import path_groups
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths
from raymark.generator.plan import Plan, SitePlan
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.search import SiteSearch

_NUM_UES = 100
INDEPENDENT_TURN = 1 / 3
"""Turn of the second bundle [turns]; the lattices of both have no ray in common."""


def estimate_completeness(plan: Plan, site: SitePlan, search: SiteSearch) -> Completeness | None:
    """Trace some UEs of a site by its own search and by one of another discovery, and compare.

    Returns:
        The estimate; None where Sionna's own search is used, which has no separate discovery.
    """
    if plan.campaign.tracer.needs_solver:
        return None
    rows = np.linspace(0, len(site.ues) - 1, min(_NUM_UES, len(site.ues))).astype("i8")
    position, band = site.ues.position_m[rows], plan.campaign.bands[:1]
    independent = ChainSearch(
        site.loaded,
        np.asarray(site.site.position_m),
        np.asarray(site.site.orientation_rad),
        plan.campaign.tracer,
        turn=INDEPENDENT_TURN,
    )
    own, other = search.trace(position, band), independent.trace(position, band)
    missed_paths, missed_power = missed_shares(own, other)
    return Completeness(
        num_ues=len(rows),
        missed_paths_share=round(missed_paths, 6),
        missed_power_share=round(missed_power, 6),
    )


def missed_shares(own: TracedPaths, other: TracedPaths) -> tuple[float, float]:
    """Return what `own` lacks of the other's distinct paths, and of a UE's power in the mean."""
    together = join_paths([own, other], [0, 0])
    group = path_groups(together)
    is_own = np.arange(len(group)) < len(own.delay_s)
    _, first = np.unique(np.where(is_own, -1, group), return_index=True)
    first = first[~is_own[first]]  # one row for each distinct path of the other
    if len(first) == 0:
        return 0.0, 0.0
    missed = ~np.isin(group[first], group[is_own])
    ue = together.ue_index[first]
    power = np.abs(together.amplitude[0, first].astype("c16")) ** 2
    total, lost = np.bincount(ue, power), np.bincount(ue, power * missed)
    return float(missed.mean()), float((lost[total > 0] / total[total > 0]).mean())
