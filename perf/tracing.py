"""Tracing speed and completeness, side by side with Sionna RT's PathSolver in the same run.

    OMP_NUM_THREADS=1 python perf/tracing.py [--scene munich] [--json FILE]     1,000 and 300 UEs
    OMP_NUM_THREADS=1 python perf/tracing.py --quick [--scene munich] [--json FILE]

Methods: `PathSolver per band` as its users call it (one call for each band), and `ours` (chain
search, discovery included in the time). Both compute in one thread, and the processor's seconds
count, so that what else runs does not. Kernels are compiled before, for both alike. The peer shoots
10^5 rays without and 10^6 rays with diffraction, if not told otherwise, with a table of 10^7 paths.
"""

import argparse
import json
import multiprocessing
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sionna_paths import read_sionna_paths
from timing import timed

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.samplings import UniformSampling
from raymark.dataset.schema import DIFFRACTION
from raymark.dataset.writing.assembly import path_groups
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.backend import rt, use_one_thread
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.search import make_search
from raymark.radio import BAND_PRESETS, FrontEnd
from raymark.scenes import get_scene

BANDS = tuple(BAND_PRESETS[name] for name in ("2.6GHz", "6GHz", "28GHz"))
DEPTH = 4
TABLE_SIZE = 10_000_000
PEER_RAYS = {"specular": 100_000, "diffraction": 1_000_000}
PER_BAND, OURS = "PathSolver per band", "ours"


@dataclass(frozen=True)
class Case:
    """One scene with its UEs."""

    scene: str
    num_ues: int
    diffraction: bool
    peer_rays: int | None = None
    discovery: str = "standard"


@dataclass(frozen=True)
class Timing:
    """What one method needed for one case."""

    method: str
    scene: str
    kind: str
    num_ues: int
    one_band_s: float
    three_bands_s: float
    num_paths: int


class Bench:
    """One scene, loaded, with the UEs of a case."""

    def __init__(self, case: Case) -> None:
        """Load the scene and draw the UEs."""
        scene = get_scene(case.scene)
        self.case, self.site = case, scene.sites[0]
        with tempfile.TemporaryDirectory() as workspace:
            self.loaded = LoadedScene(scene.xml_path(Path(workspace)), FrontEnd())
        sampling = UniformSampling(num_ues=case.num_ues)
        self.ues = sample_ues(sampling, self.loaded, self.site, seed=7, scene=case.scene).position_m
        self.bs_m = np.asarray(self.site.position_m)
        self.orientation = np.asarray(self.site.orientation_rad)
        self.kind = "diffraction" if case.diffraction else "specular"
        self.peer_rays = case.peer_rays or PEER_RAYS[self.kind]

    def ours(
        self, ues: np.ndarray, bands: tuple[Any, ...], discovery: str | None = None
    ) -> TracedPaths:
        """Discover, as the case says if not told otherwise, and trace."""
        settings = TracerSettings(
            max_depth=DEPTH,
            diffraction=self.case.diffraction,
            discovery=discovery or self.case.discovery,
        )
        search = make_search(self.loaded, self.bs_m, self.orientation, settings, seed=0)
        return search.trace(ues, bands)

    def per_band(self, ues: np.ndarray, bands: tuple[Any, ...]) -> TracedPaths:
        """Call PathSolver once for every band, as its users do."""
        scene, front_end = self.loaded.sionna, FrontEnd()
        scene.tx_array, scene.rx_array = antenna(front_end.panel), antenna(front_end.ue)
        for name in [*scene.transmitters, *scene.receivers]:
            scene.remove(name)
        scene.add(rt.Transmitter("bs", position=self.site.position_m, orientation=self.orientation))
        for i, position in enumerate(ues):
            scene.add(rt.Receiver(f"ue{i}", position=[float(x) for x in position]))
        parts = []
        for band in bands:
            scene.frequency = band.carrier_hz
            paths = rt.PathSolver()(
                scene,
                max_depth=DEPTH,
                samples_per_src=self.peer_rays,
                max_num_paths_per_src=TABLE_SIZE,
                refraction=False,
                diffraction=self.case.diffraction,
            )
            parts.append(read_sionna_paths(paths))
        return parts[0]

    def run(self, method: str) -> tuple[Timing, TracedPaths]:
        """Time one method at one band and at three."""
        call = {PER_BAND: self.per_band, OURS: self.ours}[method]
        for _ in range(2):  # two rounds: Dr.Jit compiles some kernels at the second only
            if method == OURS:
                self.ours(self.ues, BANDS, "quick")
            else:
                call(self.ues[:5], BANDS)
        three_bands_s, paths = timed(lambda: call(self.ues, BANDS))
        if method == PER_BAND:  # three equal calls: one band is their mean
            one_band_s = three_bands_s / len(BANDS)
        else:
            one_band_s, _ = timed(lambda: call(self.ues, BANDS[:1]))
        timing = Timing(
            method=method,
            scene=self.case.scene,
            kind=self.kind,
            num_ues=self.case.num_ues,
            one_band_s=one_band_s,
            three_bands_s=three_bands_s,
            num_paths=len(np.unique(path_groups(paths))),
        )
        return timing, paths


def antenna(array: Any) -> rt.PlanarArray:
    """Return one element of a panel or UE; the responses of both are compared."""
    return rt.PlanarArray(
        num_rows=1, num_cols=1, pattern=array.element_pattern, polarization=array.polarization
    )


def recalls(sets: dict[str, TracedPaths], *, diffracted: bool) -> dict[str, dict[str, float]]:
    """Return each method's share of the union of all: of the distinct paths, and of their power."""
    parts = [p.take(np.flatnonzero(is_wanted(p, diffracted=diffracted))) for p in sets.values()]
    parts = [without_bands(p) for p in parts]
    owner = np.repeat(np.arange(len(parts)), [len(p.delay_s) for p in parts])
    together = join_paths(parts, [0] * len(parts))
    group = path_groups(together)
    _, group = np.unique(group, return_inverse=True)
    power = np.zeros(group.max(initial=-1) + 1)
    np.maximum.at(power, group, np.abs(together.amplitude[0].astype("c16")) ** 2)
    result = {}
    for number, name in enumerate(sets):
        found = np.unique(group[owner == number])
        result[name] = {
            "paths": len(found) / max(1, len(power)),
            "missed_power": 1 - power[found].sum() / max(power.sum(), 1e-300),
        }
    return result


def is_wanted(paths: TracedPaths, *, diffracted: bool) -> np.ndarray:
    """Tell which paths diffract, or which do not."""
    return (paths.interaction == DIFFRACTION).any(axis=1) == diffracted


def without_bands(paths: TracedPaths) -> TracedPaths:
    """Keep the first band only."""
    columns = {name: getattr(paths, name) for name in TracedPaths.__slots__}
    return TracedPaths(**{**columns, "amplitude": paths.amplitude[:1]})


def compare(case: Case, *, thorough: str | None) -> dict[str, Any]:
    """Run both methods on the same UEs in this process, and ours by another discovery."""
    use_one_thread()
    bench = Bench(case)
    timings, sets = [], {}
    for method in (PER_BAND, OURS):
        timing, sets[method] = bench.run(method)
        timings.append(timing)
        print_timing(timing)
    if thorough is not None:
        sets[f"ours, {thorough}"] = bench.ours(bench.ues, BANDS[:1], thorough)
    recall = recalls(sets, diffracted=case.diffraction)
    for name, values in recall.items():
        print(
            f"    {name:<22} {values['paths']:.3f} of the union, "
            f"{values['missed_power']:.2e} of its power missed"
        )
    return {"case": asdict(case), "timings": [asdict(t) for t in timings], "recall": recall}


def print_timing(timing: Timing) -> None:
    """Print one row."""
    print(
        f"  {timing.scene:<14}{timing.kind:<12}{timing.num_ues:>6} UEs  {timing.method:<22}"
        f"{timing.num_ues / timing.one_band_s:>9.0f} UEs/s (1 band)"
        f"{timing.num_ues / timing.three_bands_s:>9.0f} UEs/s (3 bands)"
        f"{timing.num_paths:>9} paths",
        flush=True,
    )


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Return speed-ups over PathSolver per band, and both recalls."""
    by_method = {timing["method"]: timing for timing in result["timings"]}
    peer, own = by_method[PER_BAND], by_method[OURS]
    return {
        "speedup_one_band": peer["one_band_s"] / own["one_band_s"],
        "speedup_three_bands": peer["three_bands_s"] / own["three_bands_s"],
        "recall": result["recall"][OURS]["paths"],
        "recall_peer": result["recall"][PER_BAND]["paths"],
    }


def in_child(case: Case) -> dict[str, Any]:
    """Run one comparison in a process of its own, where nothing is left of another."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(compare, (case,), {"thorough": None if case.diffraction else "thorough"})


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="munich")
    parser.add_argument("--quick", action="store_true", help="few UEs, in this process")
    parser.add_argument("--num-ues", type=int, default=1000, help="of --quick, specular")
    parser.add_argument("--peer-rays", type=int, help="of --quick")
    parser.add_argument("--discovery", default="standard", help="of --quick, how thorough")
    parser.add_argument("--thorough", default="thorough", help="of --quick, what is compared with")
    parser.add_argument("--json", type=Path, help="write the ratios and all timings")
    arguments = parser.parse_args()
    scene, num_ues = arguments.scene, arguments.num_ues
    if arguments.quick:
        how = (arguments.peer_rays, arguments.discovery)
        cases = (Case(scene, num_ues, False, *how), Case(scene, min(40, num_ues), True, *how))
        results = [compare(case, thorough=arguments.thorough) for case in cases]
    else:
        results = [in_child(case) for case in (Case(scene, 1000, False), Case(scene, 300, True))]
    specular, diffraction = results
    summary = {"specular": ratios(specular), "diffraction": ratios(diffraction)}
    print(json.dumps(summary, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({**summary, "runs": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
