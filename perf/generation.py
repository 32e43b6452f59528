"""Time and memory of whole campaigns: flat in the number of UEs, and three bands for about one.

    python perf/generation.py [--scene munich] [--json FILE]

Every row is a campaign in one scene with diffraction, generated in a process of its own. Peak
memory is the process's largest resident size, the time that of its processor for a site's
discovery, tracing, writing and the estimate of completeness (kernels are compiled beforehand, in
the same process, on 100 UEs).
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
from pathlib import Path

from timing import timed

from raymark.config import validate

THREE = ("2.6GHz", "6GHz", "28GHz")


def main() -> None:
    """Run all campaigns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="munich")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 2_000, 10_000], help="UEs")
    parser.add_argument("--discovery", default="standard", help="how thorough")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    scene, sizes, discovery = arguments.scene, arguments.sizes, arguments.discovery
    rows = [in_child(scene, count, THREE, discovery) for count in sizes]
    middle = rows[len(rows) // 2]
    one = in_child(scene, sizes[len(sizes) // 2], THREE[:1], discovery)
    result = {
        "runs": [*rows, one],
        "memory_ratio_largest_to_smallest": rows[-1]["peak_gb"] / rows[0]["peak_gb"],
        "memory_ratio_largest_to_middle": rows[-1]["peak_gb"] / middle["peak_gb"],
        "three_bands_to_one": middle["seconds"] / one["seconds"],
    }
    print(json.dumps({k: v for k, v in result.items() if k != "runs"}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def in_child(scene: str, num_ues: int, bands: tuple[str, ...], discovery: str) -> dict[str, float]:
    """Generate one campaign in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        row = pool.apply(run, (scene, num_ues, bands, discovery))
    print(
        f"{num_ues:>7} UEs {len(bands)} band(s){row['seconds']:>9.1f} s"
        f"{num_ues / row['seconds']:>9.0f} UEs/s{row['peak_gb']:>7.2f} GB",
        flush=True,
    )
    return row


def run(scene: str, num_ues: int, bands: tuple[str, ...], discovery: str) -> dict[str, float]:
    """Generate one campaign in this process."""
    from raymark.dataset.campaign import Campaign  # noqa: PLC0415
    from raymark.generator.generate import generate  # noqa: PLC0415
    from raymark.generator.plan import make_plan  # noqa: PLC0415

    data = {
        "name": "perf",
        "scenes": [scene],
        "bands": list(bands),
        "sampling": {"kind": "tracks", "num_ues": num_ues},
        "tracer": {"diffraction": True, "discovery": discovery},
    }
    plan = make_plan(validate(Campaign, data, where="perf"))
    with tempfile.TemporaryDirectory() as folder:
        search = plan.search(plan.sites[0])
        for _ in range(2):
            search.trace(plan.sites[0].ues.position_m[:100], plan.campaign.bands)
        seconds, _ = timed(lambda: generate(plan, Path(folder)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"num_ues": num_ues, "num_bands": len(bands), "seconds": seconds, "peak_gb": peak}


if __name__ == "__main__":
    main()
