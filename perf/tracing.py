"""Tracing speed and completeness, side by side with Sionna RT's PathSolver in the same run.

    OMP_NUM_THREADS=1 python perf/tracing.py --quick [--scene munich] --json tracing.json
    OMP_NUM_THREADS=1 python perf/tracing.py [--scene munich etoile] --json tracing.json
    OMP_NUM_THREADS=1 python perf/tracing.py --scaling --plot docs/figures/tracing.png

Methods: `PathSolver per band` as its users call it (one call for each band), `PathSolver, one
trace` (its search once, its fields per band), `ours` (chain search, discovery included in the
time). All compute in one thread, and its processor's seconds count, so that a busy machine does not
matter. Kernels are compiled before, for all methods alike. The peer shoots 10^5 rays without and
10^6 rays with diffraction, if not told otherwise, with a table of 10^7 paths.
"""

import argparse
import json
import multiprocessing
import resource
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
from raymark.generator.tracing.sionna_adapter import (
    SolverSettings,
    make_endpoints,
    solver_candidates,
    validate_candidates,
)
from raymark.radio import BAND_PRESETS, FrontEnd
from raymark.scenes import get_scene

BANDS = tuple(BAND_PRESETS[name] for name in ("2.6GHz", "6GHz", "28GHz"))
DEPTH = 4
TABLE_SIZE = 10_000_000
PEER_RAYS = {"specular": 100_000, "diffraction": 1_000_000}
PER_BAND, ONE_TRACE, OURS = "PathSolver per band", "PathSolver, one trace", "ours"


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
    peak_memory_gb: float


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

    def one_trace(self, ues: np.ndarray, bands: tuple[Any, ...]) -> TracedPaths:
        """Search by PathSolver once, in blocks that fit into memory; fields at every band."""
        settings = SolverSettings(
            max_depth=DEPTH,
            num_rays=self.peer_rays,
            specular_reflection=True,
            diffuse_reflection=False,
            refraction=False,
            diffraction=self.case.diffraction,
            seed=42,
        )
        parts, block = [], 50
        starts = list(range(0, len(ues), block))
        for start in starts:
            endpoints = make_endpoints(self.bs_m, self.orientation, ues[start : start + block])
            buffer = solver_candidates(self.loaded.sionna, endpoints, settings)
            validate_candidates(self.loaded.sionna, buffer, endpoints)
            buffer.discard_invalid()
            parts.append(self.loaded.with_fields(buffer, endpoints, bands))
        return join_paths(parts, starts)

    def run(self, method: str) -> tuple[Timing, TracedPaths]:
        """Time one method at one band and at three."""
        call = {PER_BAND: self.per_band, ONE_TRACE: self.one_trace, OURS: self.ours}[method]
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
            peak_memory_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
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


def compare(case: Case, methods: list[str], *, with_thorough: bool) -> dict[str, Any]:
    """Run several methods on the same UEs in this process."""
    use_one_thread()
    bench = Bench(case)
    timings, sets = [], {}
    for method in methods:
        timing, sets[method] = bench.run(method)
        timings.append(timing)
        print_timing(timing)
    if with_thorough:
        sets["ours, thorough"] = bench.ours(bench.ues, BANDS[:1], "thorough")
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
        f"{timing.num_paths:>9} paths {timing.peak_memory_gb:>6.2f} GB",
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


def in_child(case: Case, methods: list[str]) -> dict[str, Any]:
    """Run one comparison in a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(compare, (case, methods), {"with_thorough": not case.diffraction})


def plot_scaling(results: list[dict[str, Any]], path: Path) -> None:
    """Draw three-band tracing time against the number of UEs, for Munich."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, 4), layout="constrained")
    timings = [t for r in results for t in r["timings"] if t["scene"] == "munich"]
    for axes, kind in zip(figure.subplots(1, 2), ("specular", "diffraction"), strict=True):
        for method in (PER_BAND, ONE_TRACE, OURS):
            rows = [t for t in timings if t["kind"] == kind and t["method"] == method]
            rows.sort(key=lambda t: t["num_ues"])
            axes.loglog(
                [t["num_ues"] for t in rows], [t["three_bands_s"] for t in rows], "o-", label=method
            )
        axes.set(title=f"Munich, {kind}", xlabel="UEs", ylabel="Processor time for three bands [s]")
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def cases_of(scenes: list[str]) -> list[tuple[Case, list[str]]]:
    """Return the comparison of each scene without and with diffraction."""
    return [
        (Case(scene, num_ues, diffraction), [PER_BAND, OURS])
        for scene in scenes
        for num_ues, diffraction in ((1000, False), (300, True))
    ]


def scaling_cases() -> list[tuple[Case, list[str]]]:
    """Return what the figure shows; the peer is left out where it would take an hour."""
    everyone = [PER_BAND, ONE_TRACE, OURS]
    return [
        (Case("munich", num_ues, diffraction), everyone if num_ues <= most else [OURS])
        for diffraction, most in ((False, 1000), (True, 100))
        for num_ues in (100, 1000, 10_000)
    ]


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", nargs="+", default=["munich", "etoile", "florence"])
    parser.add_argument("--quick", action="store_true", help="few UEs, in this process")
    parser.add_argument("--num-ues", type=int, default=1000, help="of --quick, specular")
    parser.add_argument("--peer-rays", type=int, help="of --quick")
    parser.add_argument("--discovery", default="standard", help="of --quick, how thorough")
    parser.add_argument("--scaling", action="store_true", help="100 to 10,000 UEs of Munich")
    parser.add_argument("--json", type=Path, help="write the ratios and all timings")
    parser.add_argument("--plot", type=Path, help="draw the scaling")
    arguments = parser.parse_args()
    results = []
    if arguments.quick:
        how = (arguments.peer_rays, arguments.discovery)
        for scene in arguments.scene:
            for num_ues, diffraction in ((arguments.num_ues, False), (40, True)):
                case = Case(scene, min(num_ues, arguments.num_ues), diffraction, *how)
                results.append(compare(case, [PER_BAND, OURS], with_thorough=True))
    else:
        cases = scaling_cases() if arguments.scaling else cases_of(arguments.scene)
        results = [in_child(case, methods) for case, methods in cases]
    compared = [r for r in results if PER_BAND in r["recall"]]
    summary = [
        {key: r["case"][key] for key in ("scene", "num_ues", "diffraction")} | ratios(r)
        for r in compared
    ]
    print(json.dumps(summary, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"ratios": summary, "runs": results}, indent=1) + "\n")
    if arguments.plot:
        plot_scaling(results, arguments.plot)


if __name__ == "__main__":
    main()
