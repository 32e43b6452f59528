"""What a plan will cost, measured on its own first UEs instead of guessed."""

import time
from dataclasses import dataclass

from raymark.generator.generate import trace_block
from raymark.generator.plan import Plan

_BYTES_PER_LINK = 700
_BYTES_PER_PATH_AND_BAND = 8
_BYTES_PER_PATH = 60
"""Sizes in the shards (both files, compressed), rounded up from the `small` preset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Cost of a plan.

    Attributes:
        seconds: Tracing time on this machine.
        size_bytes: Size of the dataset.
        basis: What was measured.
    """

    seconds: float
    size_bytes: float
    basis: str


def estimate(plan: Plan) -> Estimate:
    """Trace the first block of every scene twice and extrapolate from the second time."""
    tracer = plan.campaign.tracer
    seconds, size_bytes, num_probed = 0.0, 0.0, 0
    for site in plan.sites:
        num_ues = min(tracer.block_size, len(site.ues))
        trace_block(plan, site, 0, num_ues)  # compiles the kernels
        started = time.perf_counter()
        paths = trace_block(plan, site, 0, num_ues)
        seconds += (time.perf_counter() - started) * len(site.ues) / num_ues
        kept = min(len(paths.delay_s) / num_ues, tracer.max_num_paths)
        per_path = _BYTES_PER_PATH + _BYTES_PER_PATH_AND_BAND * len(plan.campaign.bands)
        size_bytes += len(site.ues) * (_BYTES_PER_LINK + kept * per_path)
        num_probed += num_ues
    return Estimate(
        seconds=seconds, size_bytes=size_bytes, basis=f"measured on {num_probed} of the UEs"
    )
