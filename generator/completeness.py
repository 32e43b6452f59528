"""How much the search misses, estimated from a second, independent discovery.

Two discoveries whose rays, points of edges and fans lie between each other's find paths
independently. The share of the second's power that the first misses estimates the share that it
misses of all (capture and recapture: Lincoln-Petersen, as in Seber, The Estimation of Animal
Abundance, 1982, sec. 3.1).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from raymark.dataset.manifest import Completeness, MissedPower
from raymark.dataset.schema import NO_INTERACTION
from raymark.dataset.writing.assembly import path_groups
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths
from raymark.generator.plan import Plan, SitePlan
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.search import SiteSearch

_NUM_UES = 100
INDEPENDENT_TURN = 1 / 3
"""Turn of the second bundle [turns], and shift of what lies on a grid [steps]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What one discovery lacks of what another has found.

    Attributes:
        paths_share: Share of the other's distinct paths.
        power_share: Share of each UE's power; 0 where the other has no path.
        has_path: Whether the other has a path, by UE.
        is_los: Whether the other has the line of sight, by UE.
    """

    paths_share: float
    power_share: Float[np.ndarray, "ue"]
    has_path: Bool[np.ndarray, "ue"]
    is_los: Bool[np.ndarray, "ue"]

    def power_of(self, *, is_los: bool) -> MissedPower | None:
        """Return the missed power of one label; None if no UE with a path has it."""
        share = self.power_share[self.has_path & (self.is_los == is_los)]
        if len(share) == 0:
            return None
        mean, p95 = share.mean(), np.quantile(share, 0.95)
        return MissedPower(
            num_ues=len(share), mean_share=round(float(mean), 6), p95_share=round(float(p95), 6)
        )


def estimate_completeness(plan: Plan, site: SitePlan, search: SiteSearch) -> Completeness | None:
    """Trace some UEs of a site by its own search and by one of another discovery, and compare.

    Returns:
        The estimate; None where Sionna's own search is used, which has no separate discovery.
    """
    if plan.campaign.tracer.needs_solver:
        return None
    rows = np.linspace(0, len(site.ues) - 1, min(_NUM_UES, len(site.ues))).astype("i8")
    position, band = site.ues.position_m[rows], plan.campaign.bands[:1]
    # The tiles that scatter are no discovery: a second one would have the same.
    settings = plan.campaign.tracer.model_copy(update={"diffuse_reflection": False})
    independent = ChainSearch(
        site.loaded,
        np.asarray(site.site.position_m),
        np.asarray(site.site.orientation_rad),
        settings,
        turn=INDEPENDENT_TURN,
    )
    own, other = search.trace(position, band), independent.trace(position, band)
    missed = compare_paths(own, other, len(rows))
    labels = {"LOS": missed.power_of(is_los=True), "NLOS": missed.power_of(is_los=False)}
    power = missed.power_share[missed.has_path]
    return Completeness(
        num_ues=len(rows),
        missed_paths_share=round(missed.paths_share, 6),
        missed_power_share=round(float(power.mean()), 6) if len(power) else 0.0,
        by_label={label: value for label, value in labels.items() if value is not None},
    )


def compare_paths(own: TracedPaths, other: TracedPaths, num_ues: int) -> Missed:
    """Return what `own` lacks of the other's distinct paths, and of each UE's power."""
    together = join_paths([own, other], [0, 0])
    group = path_groups(together)
    is_own = np.arange(len(group)) < len(own.delay_s)
    _, first = np.unique(np.where(is_own, -1, group), return_index=True)
    first = first[~is_own[first]]  # one row for each distinct path of the other
    missed = ~np.isin(group[first], group[is_own])
    ue = together.ue_index[first]
    power = np.abs(together.amplitude[0, first].astype("c16")) ** 2
    total = np.bincount(ue, power, num_ues)
    lost = np.bincount(ue, power * missed, num_ues)
    direct = other.interaction[:, 0] == NO_INTERACTION
    return Missed(
        paths_share=float(missed.mean()) if len(missed) else 0.0,
        power_share=np.divide(lost, total, out=np.zeros(num_ues), where=total > 0),
        has_path=total > 0,
        is_los=np.bincount(other.ue_index[direct], minlength=num_ues) > 0,
    )
