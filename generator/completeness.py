"""How much the search misses, estimated by a denser search where it matters.

What a discovery misses are mostly chains that few of the rays that leave an edge would meet, and a
second discovery of the same density mostly misses them as well. Nearly all of their power leaves
edges that other paths to the same UEs leave, too, and those edges are few. So a site's own paths
tell which edges matter, and what leaves these is searched again far more densely. Edges that lead
to no path yet are searched again by few rays, where the BS sees them. All that lies on a grid is
turned.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.manifest import Completeness, MissedPower
from raymark.dataset.schema import NO_INTERACTION
from raymark.dataset.writing.assembly import path_groups
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths
from raymark.generator.plan import Plan, SitePlan
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.mattering_edges import edges_that_matter
from raymark.generator.tracing.search import SiteSearch
from raymark.radio import Band, Site

_NUM_UES = 100
_DENSER, _DENSER_ELSE = 10, 4
"""Density of the rays that leave edges that matter, over that of the settings, where the BS sees
the edge; and of those that leave the BS, and edges that matter to which reflections lead. There
are more of these rays, and less is missed."""

_MOST_RAYS = 100_000_000

_FEW_RAYS_PER_M = 64
"""From other edges that the BS sees, if the settings have no fewer."""

AUDIT_TURN = 0.618
"""Turn of the bundle of rays of the denser search [turns], and shift of what is on a grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What one search lacks of what it and another have found together.

    Attributes:
        paths_share: Share of the other's distinct paths.
        power_share: Share of each UE's power; 0 where it has no path.
        has_path: Whether one of both has a path, by UE.
        is_los: Whether the line of sight is among them, by UE.
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
    """Trace some UEs of a site by its own search and by a denser one, and compare.

    Returns:
        The estimate; None where Sionna's own search is used, which has no separate discovery.
    """
    if plan.campaign.tracer.needs_solver:
        return None
    rows = np.linspace(0, len(site.ues) - 1, min(_NUM_UES, len(site.ues))).astype("i8")
    position, band = site.ues.position_m[rows], plan.campaign.bands[:1]
    own = search.trace(position, band)
    other = audit(site.loaded, site.site, plan.campaign.tracer, own, position, band)
    missed = compare_paths(own, other, len(rows))
    labels = {"LOS": missed.power_of(is_los=True), "NLOS": missed.power_of(is_los=False)}
    power = missed.power_share[missed.has_path]
    return Completeness(
        num_ues=len(rows),
        method="denser edges",
        missed_paths_share=round(missed.paths_share, 6),
        missed_power_share=round(float(power.mean()), 6) if len(power) else 0.0,
        by_label={label: value for label, value in labels.items() if value is not None},
    )


def audit(
    scene: LoadedScene,
    site: Site,
    settings: TracerSettings,
    own: TracedPaths,
    ue_position_m: Float[np.ndarray, "ue 3"],
    bands: tuple[Band, ...],
) -> TracedPaths:
    """Search the paths to some UEs again, more densely at the edges that matter to them.

    Args:
        scene: The scene.
        site: The base station.
        settings: Those of the search that is judged.
        own: The paths that it has found.
        ue_position_m: The UEs [m].
        bands: Carriers; the first tells which edges matter.
    """
    matters = edges_that_matter(scene, own, len(ue_position_m)).to_any
    num_rays = min(_DENSER_ELSE * settings.discovery.discovery_rays, _MOST_RAYS)
    discovery = settings.discovery.model_copy(update={"discovery_rays": num_rays})
    denser = ChainSearch(
        scene,
        np.asarray(site.position_m),
        np.asarray(site.orientation_rad),
        # The tiles that scatter are no discovery: a second one would have the same.
        settings.model_copy(update={"discovery": discovery, "diffuse_reflection": False}),
        turn=AUDIT_TURN,
        effort=_effort(matters, settings.discovery.cone_rays),
    )
    return denser.trace(ue_position_m, bands)


def _effort(
    matters: Bool[np.ndarray, "before wedge"], cone_rays: int
) -> Float[np.ndarray, "before wedge"]:
    """Return how densely the rays leave each edge after how many reflections.

    Args:
        matters: Which edges matter.
        cone_rays: Density of the rays by the settings [1/m].
    """
    effort = np.where(matters, _DENSER_ELSE, 0.0)
    effort[0] = np.where(matters[0], _DENSER, min(1.0, _FEW_RAYS_PER_M / cone_rays))
    return effort


def compare_paths(own: TracedPaths, other: TracedPaths, num_ues: int) -> Missed:
    """Return what `own` lacks of the other's distinct paths, and of each UE's power."""
    together = join_paths([own, other], [0, 0])
    power = np.abs(together.amplitude[0].astype("c16")) ** 2
    is_own = np.arange(len(power)) < len(own.delay_s)
    _, group = np.unique(path_groups(together), return_inverse=True)
    order = np.lexsort((-power, group))
    first = order[np.diff(group[order], prepend=-1) > 0]  # the strongest of those that are alike
    is_found = np.bincount(group, is_own, len(first)) > 0
    is_others = np.bincount(group, ~is_own, len(first)) > 0
    ue, power = together.ue_index[first], power[first]
    total, lost = (np.bincount(ue, x, num_ues) for x in (power, power * ~is_found))
    direct = together.interaction[:, 0] == NO_INTERACTION
    return Missed(
        paths_share=float(np.mean(~is_found[is_others])) if is_others.any() else 0.0,
        power_share=np.divide(lost, total, out=np.zeros(num_ues), where=total > 0),
        has_path=total > 0,
        is_los=np.bincount(together.ue_index[direct], minlength=num_ues) > 0,
    )
