"""Diffuse reflection of our own against Sionna RT's, link by link.

    python perf/scattering.py --scene munich --folder references
    python perf/scattering.py --scene florence --alpha 4 --fineness 1 2

One bounce and nothing else, at 28 GHz, where all surfaces have the scattering coefficient 0.3. With
nothing else to choose, each of Sionna's rays, which are a lattice, is scattered to every UE: with
many of them their sum is an integral over the same surfaces, found in another way. Its figures are
stored in the folder for the next run. By label: difference of the power of a link, summed over its
paths, and of its delay spread, mean and standard deviation over links, and the largest; paths of a
link; the share of the power that its 256 strongest hold; CPU seconds of a site and of a UE.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from raymark.config import config_hash
from raymark.dataset.campaign import RoughMaterial, TracerSettings
from raymark.dataset.samplings import UniformSampling
from raymark.dataset.schema import DIFFUSE
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.diffuse import DiffuseSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.solver_search import SolverSearch
from raymark.generator.tracing.true_fields import TrueFields
from raymark.radio import BAND_PRESETS, FrontEnd
from raymark.radio.p2040 import ITU_MATERIALS
from raymark.scenes import get_scene

BANDS = (BAND_PRESETS["28GHz"],)
SCATTERING = 0.3
MOST_PATHS = 256
POOL = 8
"""UEs that are drawn for each that is wanted of a label."""


class Bench:
    """One scene whose surfaces scatter, with UEs of both labels."""

    def __init__(self, scene_name: str, num_los: int, num_nlos: int, *, alpha: int) -> None:
        """Load the scene and draw the UEs."""
        scene = get_scene(scene_name)
        self.scene, self.site, self.alpha = scene_name, scene.sites[0], alpha
        rough = RoughMaterial(scattering_coefficient=SCATTERING, lobe_exponent=alpha)
        with tempfile.TemporaryDirectory() as workspace:
            xml = scene.xml_path(Path(workspace))
            self.loaded = LoadedScene(
                xml, FrontEnd(), roughness=dict.fromkeys(ITU_MATERIALS, rough)
            )
        self.bs_m = np.asarray(self.site.position_m, dtype="f4").astype("f8")
        self.orientation_rad = np.asarray(self.site.orientation_rad)
        sampling = UniformSampling(num_ues=POOL * max(num_los, num_nlos))
        pool_m = sample_ues(sampling, self.loaded, self.site, seed=7, scene=scene_name).position_m
        is_los = self.loaded.is_visible(np.broadcast_to(self.bs_m, pool_m.shape), pool_m)
        chosen = [np.flatnonzero(is_los)[:num_los], np.flatnonzero(~is_los)[:num_nlos]]
        self.ue_m, self.is_los = (x[np.concatenate(chosen)] for x in (pool_m, is_los))

    def ours(self, fineness: float) -> tuple[TracedPaths, dict[str, float]]:
        """Return our paths and the CPU seconds that they took."""
        fields = TrueFields(self.loaded, self.bs_m, self.orientation_rad)
        started = time.process_time()
        search = DiffuseSearch(self.loaded, self.bs_m, fields, 1, fineness=fineness)
        lit = time.process_time()
        search.trace(self.ue_m[:1], BANDS)
        warm = time.process_time()
        paths = search.trace(self.ue_m, BANDS)
        per_ue_s = (time.process_time() - warm) / len(self.ue_m)
        return paths, {"site_cpu_s": lit - started, "ue_cpu_s": per_ue_s}

    def sionnas(self, num_rays: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Return power [dB] and delay spread [ns] of every link, and the CPU seconds of a UE."""
        settings = TracerSettings(
            max_depth=1,
            specular_reflection=False,
            diffuse_reflection=True,
            solver_rays=num_rays,
            solver_block_size=1,
        )
        search = SolverSearch(self.loaded, self.bs_m, self.orientation_rad, settings)
        started = time.process_time()
        # One UE at a time: Sionna holds every ray of every UE of a call.
        links = [measured(scattered(search.trace(ue_m[None], BANDS)), 1) for ue_m in self.ue_m]
        per_ue_s = (time.process_time() - started) / len(links)
        power_db, spread_ns = (np.concatenate(values) for values in zip(*links, strict=True))
        return power_db, spread_ns, per_ue_s

    def reference(self, num_rays: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return Sionna's figures, from the folder if they are there."""
        facts = {
            "site": self.site.model_dump(mode="json"),
            "corners": float(self.loaded.triangles.corner_m.sum()),
            "ues": self.ue_m.tolist(),
            "alpha": self.alpha,
            "rays": num_rays,
        }
        file = folder / f"{self.scene}-{config_hash(facts)[:16]}.npz"
        if not file.exists():
            power_db, spread_ns, per_ue_s = self.sionnas(num_rays)
            print(f"Sionna RT, {num_rays} rays: {per_ue_s:.2f} CPU-s a UE", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(file, power_db=power_db, spread_ns=spread_ns)
        with np.load(file) as arrays:
            return arrays["power_db"], arrays["spread_ns"]


def scattered(paths: TracedPaths) -> TracedPaths:
    """Leave out the line of sight, which Sionna's search always finds."""
    return paths.take(np.flatnonzero(paths.interaction[:, 0] == DIFFUSE))


def measured(paths: TracedPaths, num_ues: int) -> tuple[np.ndarray, np.ndarray]:
    """Return power [dB] and delay spread [ns] of every link; -inf and NaN where there is none."""
    power = np.abs(paths.amplitude[0].astype("c16")) ** 2
    delay_ns = 1e9 * paths.delay_s.astype("f8")

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(paths.ue_index, values, num_ues)

    with np.errstate(divide="ignore", invalid="ignore"):
        total = summed(power)
        mean_ns = summed(power * delay_ns) / total
        variance = summed(power * (delay_ns - mean_ns[paths.ue_index]) ** 2) / total
        return 10 * np.log10(total), np.sqrt(variance)


def strongest_share(paths: TracedPaths, num_ues: int) -> np.ndarray:
    """Return the share of each link's power that its strongest paths hold."""
    power = np.abs(paths.amplitude[0].astype("c16")) ** 2
    order = np.lexsort((-power, paths.ue_index))
    ue = paths.ue_index[order]
    is_strong = np.arange(len(ue)) - np.searchsorted(ue, ue) < MOST_PATHS
    total = np.bincount(ue, power[order], num_ues)
    strong = np.bincount(ue, power[order] * is_strong, num_ues)
    return np.divide(strong, total, out=np.ones(num_ues), where=total > 0)


def compare(
    bench: Bench, fineness: float, reference: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Compare and print by label."""
    paths, seconds = bench.ours(fineness)
    num_ues = len(bench.ue_m)
    figures = measured(paths, num_ues)
    num_paths = np.bincount(paths.ue_index, minlength=num_ues)
    held = strongest_share(paths, num_ues)
    print(
        f"{bench.scene}, alpha {bench.alpha}, fineness {fineness:g}: site "
        f"{seconds['site_cpu_s']:.1f} CPU-s, {1e3 * seconds['ue_cpu_s']:.1f} CPU-ms a UE"
    )
    result: dict[str, Any] = {"scene": bench.scene, "alpha": bench.alpha, "fineness": fineness}
    result.update(seconds)
    for label, is_label in (("LOS", bench.is_los), ("NLOS", ~bench.is_los)):
        both = is_label & np.isfinite(figures[0]) & np.isfinite(reference[0])
        either = is_label & (np.isfinite(figures[0]) | np.isfinite(reference[0]))
        row: dict[str, Any] = {
            "num_links": int(both.sum()),
            "of_one_alone": int(either.sum() - both.sum()),
            "paths": float(num_paths[both].mean()),
            "held_mean": float(held[both].mean()),
            "held_least": float(held[both].min()),
        }
        for name, ours, theirs in zip(("power_db", "spread_ns"), figures, reference, strict=True):
            apart = ours[both] - theirs[both]
            row[name] = {
                "sionna": float(theirs[both].mean()),
                **{kind: float(of(apart)) for kind, of in STATISTICS.items()},
            }
        print(f"  {label:<5}{json.dumps(row)}", flush=True)
        result[label] = row
    return result


STATISTICS: dict[str, Callable[[np.ndarray], np.floating]] = {
    "mean": np.mean,
    "std": np.std,
    "largest": lambda apart: np.abs(apart).max(),
}


def main() -> None:
    """Compare on one scene, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="street_canyon")
    parser.add_argument("--rays", type=int, default=10_000_000)
    parser.add_argument("--num-los", type=int, default=10, help="UEs in sight of the BS")
    parser.add_argument("--num-nlos", type=int, default=50, help="UEs that are not")
    parser.add_argument("--alpha", type=int, default=0, help="of the directive lobe; 0 for Lambert")
    parser.add_argument("--fineness", type=float, nargs="+", default=[1.0])
    parser.add_argument("--folder", type=Path, help="where Sionna's figures are stored")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bench = Bench(arguments.scene, arguments.num_los, arguments.num_nlos, alpha=arguments.alpha)
    with tempfile.TemporaryDirectory() as temporary:
        reference = bench.reference(arguments.rays, arguments.folder or Path(temporary))
    rows = [compare(bench, fineness, reference) for fineness in arguments.fineness]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
