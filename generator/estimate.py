"""What a plan will cost, measured on its own first UEs instead of guessed."""

import time
from dataclasses import dataclass

from raymark.generator.plan import Plan, SitePlan
from raymark.generator.site_tracing import assemble
from raymark.work.peak_memory import peak_memory_bytes

_NUM_FIRST = 200
_BYTES_PER_LINK = 60
_BYTES_PER_PATH = 55
_BYTES_PER_PATH_AND_BAND = 8
"""Sizes in the shards (both files, compressed), rounded up from the `small` preset."""

_AUDIT_SHARE = 0.5
"""What the estimate of completeness costs, over the discovery that it judges (docs/tracing.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Cost of a plan.

    Attributes:
        seconds: Time on this machine, but for the outlines of buildings.
        size_bytes: Size of the dataset.
        memory_bytes: Memory of a process that traces one shard at a time.
        basis: What was measured.
    """

    seconds: float
    size_bytes: float
    memory_bytes: int
    basis: str


def estimate(plan: Plan, shard_size: int) -> Estimate:
    """Trace one shard of every site and extrapolate."""
    seconds, num_paths, num_probed = 0.0, 0.0, 0
    for site in plan.sites:
        count = min(shard_size, len(site.ues))
        share = len(site.ues) / count
        discovery_s, first_s, trace_s, kept = _probe(plan, site, count)
        seconds += (1 + _AUDIT_SHARE) * discovery_s + first_s + trace_s * share
        num_paths += kept * share
        num_probed += count
    per_path = _BYTES_PER_PATH + _BYTES_PER_PATH_AND_BAND * len(plan.campaign.bands)
    return Estimate(
        seconds=seconds,
        size_bytes=plan.num_links * _BYTES_PER_LINK + num_paths * per_path,
        memory_bytes=peak_memory_bytes(),
        basis=f"measured on {num_probed} of the UEs",
    )


def _probe(plan: Plan, site: SitePlan, count: int) -> tuple[float, float, float, int]:
    """Return seconds for discovery, for the first UEs and for `count`, and how many paths are kept.

    With the first UEs comes what is paid once: kernels, and a second search of edges.
    """
    position = site.ues.position_m[:count]
    started = time.perf_counter()
    search = plan.search(site)
    discovered = time.perf_counter()
    search.trace(position[:_NUM_FIRST], plan.campaign.bands)
    warm = time.perf_counter()
    paths = search.trace(position, plan.campaign.bands, plan.references(site))
    arrays, _ = assemble(plan, site, paths, site.ues.take(slice(0, count)), first_ue=0)
    traced = time.perf_counter()
    kept = len(arrays["path/delay_s"])
    return discovered - started, warm - discovered, traced - warm, kept
