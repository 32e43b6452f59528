"""What a discovery misses, against a much denser one on the same UEs.

    python perf/completeness.py --scene florence --discovery standard thorough --folder references
    python perf/completeness.py --scene munich --discovery "{edge_points: 2, cone_rays: 512}"

The reference shoots 10^7 rays, tries 10 points on every metre of an edge and sends 2,560 rays
from it, if not told otherwise, and all of them are turned against those of the judged discovery; it
keeps every path, and is stored in the folder for the next run. What counts is the union of both. By
label (LOS as in the reference): share of the 25 strongest paths of a link that is found; share of
its power that is missed, mean and 95th percentile over links; links whose first path comes over 1 m
late; links without any path that have one; and the kinds of path whose power is missed most, from
the BS to the UE (D a diffraction, R a reflection), with their part of the mean. Beside it stands
what a dataset would say of itself (`raymark.generator.completeness`), with its share of what the
reference finds.
"""

import argparse
import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from timing import timed

from raymark.config import config_hash, validate
from raymark.dataset.campaign import TracerSettings
from raymark.dataset.samplings import UniformSampling
from raymark.dataset.schema import DIFFRACTION, NO_INTERACTION, SPECULAR
from raymark.dataset.writing.assembly import path_groups
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths
from raymark.generator.completeness import audit, compare_paths
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import BAND_PRESETS, SPEED_OF_LIGHT_M_S, FrontEnd
from raymark.scenes import get_scene

BANDS = (BAND_PRESETS["6GHz"],)
REFERENCE = "{discovery_rays: 10000000, edge_points: 10, cone_rays: 2560, dense_cone_rays: null}"
REFERENCE_TURN = 1 / 3
"""Turn of its rays about z [turns], and shift of its points and fans [steps]."""

NUM_STRONGEST = 25
LATE_M = 1.0
MOST_KINDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What one discovery misses on the links of one label.

    Attributes:
        num_links: Links with a path in the reference.
        strongest_found: Share of the 25 strongest paths of a link, mean.
        power_mean: Share of a link's power that is missed, mean.
        power_p95: Its 95th percentile.
        late_share: Share of links whose first path comes over 1 m late.
        num_lost: Links without any path.
        kinds: Missed power by kind of path, mean over links, the largest.
    """

    num_links: int
    strongest_found: float
    power_mean: float
    power_p95: float
    late_share: float
    num_lost: int
    kinds: dict[str, float]


class Bench:
    """One scene, loaded, with its UEs."""

    def __init__(self, scene_name: str, num_ues: int, *, weld_edges: bool) -> None:
        """Load the scene and draw the UEs."""
        scene = get_scene(scene_name)
        self.scene, self.site, self.weld_edges = scene_name, scene.sites[0], weld_edges
        with tempfile.TemporaryDirectory() as workspace:
            xml = scene.xml_path(Path(workspace))
            self.loaded = LoadedScene(xml, FrontEnd(), weld_edges=weld_edges)
        sampling = UniformSampling(num_ues=num_ues)
        self.ue_m = sample_ues(
            sampling, self.loaded, self.site, seed=7, scene=scene_name
        ).position_m

    def settings(self, discovery: str) -> TracerSettings:
        """Return the settings with a discovery, given by its name or as a mapping in YAML."""
        data = {
            "diffraction": True,
            "weld_edges": self.weld_edges,
            "discovery": yaml.safe_load(discovery),
        }
        return validate(TracerSettings, data, where="perf")

    def trace(
        self, settings: TracerSettings, *, turn: float = 0.0
    ) -> tuple[TracedPaths, dict[str, float]]:
        """Return the paths to all UEs and the seconds of the processor that they took."""
        few = settings.discovery.model_copy(
            update={"discovery_rays": 1000, "cone_rays": 1, "dense_cone_rays": None}
        )
        self._search(settings.model_copy(update={"discovery": few})).trace(self.ue_m[:5], BANDS)
        discovery_s, search = timed(lambda: self._search(settings, turn=turn))
        matching_s, paths = timed(lambda: search.trace(self.ue_m, BANDS))
        seconds = {"discovery_s": discovery_s, "ue_ms": 1e3 * matching_s / len(self.ue_m)}
        return paths, seconds

    def _search(self, settings: TracerSettings, *, turn: float = 0.0) -> ChainSearch:
        position, orientation = self.site.position_m, self.site.orientation_rad
        return ChainSearch(
            self.loaded, np.asarray(position), np.asarray(orientation), settings, turn=turn
        )

    def reference(self, settings: TracerSettings, folder: Path) -> TracedPaths:
        """Return the paths of the reference, from the folder if they are there."""
        facts = {
            "site": self.site.model_dump(mode="json"),
            "corners": float(self.loaded.triangles.corner_m.sum()),
            "ues": self.ue_m.tolist(),
            "settings": settings.model_dump(mode="json"),
            "turn": REFERENCE_TURN,
        }
        file = folder / f"{self.scene}-{config_hash(facts)[:16]}.npz"
        if not file.exists():
            paths, seconds = self.trace(settings, turn=REFERENCE_TURN)
            print_seconds("reference", seconds)
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(file, **{name: getattr(paths, name) for name in TracedPaths.__slots__})
        with np.load(file) as arrays:
            columns = {name: arrays[name] for name in TracedPaths.__slots__}
        columns["num_references"] = int(columns["num_references"])
        return TracedPaths(**columns)


class Union:
    """The distinct paths of a reference and of a discovery that is judged."""

    def __init__(self, reference: TracedPaths, judged: TracedPaths, num_ues: int) -> None:
        """Number the distinct paths of both, with the strongest of those that are alike."""
        paths = join_paths([reference, judged], [0, 0])
        is_judged = np.arange(len(paths.delay_s)) >= len(reference.delay_s)
        power = np.abs(paths.amplitude[0].astype("c16")) ** 2
        _, group = np.unique(path_groups(paths), return_inverse=True)
        order = np.lexsort((-power, group))
        first = order[np.r_[True, np.diff(group[order]) > 0]] if len(order) else order
        self.num_ues = num_ues
        self.ue, self.power = paths.ue_index[first], power[first]
        self.length_m = paths.delay_s[first].astype("f8") * SPEED_OF_LIGHT_M_S
        self.interaction = paths.interaction[first]
        self.found = np.bincount(group, is_judged, len(first)) > 0
        direct = reference.interaction[:, 0] == NO_INTERACTION
        self.is_los = np.bincount(reference.ue_index[direct], minlength=num_ues) > 0

    def missed(self, *, is_los: bool) -> Missed | None:
        """Return what is missed on the links of one label; None if none of them has a path."""
        total = self._by_ue(self.power)
        link = np.flatnonzero((total > 0) & (self.is_los == is_los))
        if len(link) == 0:
            return None
        lost = self._by_ue(self.power * ~self.found)[link] / total[link]
        order = np.lexsort((-self.power, self.ue))
        rank = np.arange(len(order)) - np.searchsorted(self.ue[order], self.ue[order])
        strong = order[rank < NUM_STRONGEST]
        is_strong = np.isin(np.arange(len(self.ue)), strong)
        share = self._by_ue(is_strong & self.found)[link] / self._by_ue(is_strong)[link]
        first_m, found_m = self._first_m(np.ones_like(self.found)), self._first_m(self.found)
        has_any = np.isfinite(found_m[link])
        late = has_any & (found_m[link] > first_m[link] + LATE_M)
        return Missed(
            num_links=len(link),
            strongest_found=float(np.mean(share)),
            power_mean=float(np.mean(lost)),
            power_p95=float(np.quantile(lost, 0.95)),
            late_share=float(np.mean(late)),
            num_lost=int((~has_any).sum()),
            kinds=self._kinds(total, link),
        )

    def _by_ue(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.ue, values, self.num_ues)

    def _first_m(self, rows: np.ndarray) -> np.ndarray:
        first = np.full(self.num_ues, np.inf)
        np.minimum.at(first, self.ue[rows], self.length_m[rows])
        return first

    def _kinds(self, total: np.ndarray, link: np.ndarray) -> dict[str, float]:
        kinds: Counter[str] = Counter()
        rows = np.flatnonzero(~self.found & np.isin(self.ue, link))
        for row in rows:
            kinds[kind_of(self.interaction[row])] += self.power[row] / total[self.ue[row]]
        return {kind: value / len(link) for kind, value in kinds.most_common(MOST_KINDS)}


def kind_of(interaction: np.ndarray) -> str:
    """Return the interactions of a path as letters."""
    letters = {SPECULAR: "R", DIFFRACTION: "D"}
    return "".join(letters[code] for code in interaction if code != NO_INTERACTION) or "direct"


def main() -> None:
    """Compare, and print a table for every discovery."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", default="munich")
    parser.add_argument("--discovery", nargs="+", default=["standard"], help="names or mappings")
    parser.add_argument("--reference", default=REFERENCE, help="name or mapping")
    parser.add_argument("--folder", type=Path, help="where references are stored")
    parser.add_argument("--num-ues", type=int, default=150)
    parser.add_argument("--weld-edges", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bench = Bench(arguments.scene, arguments.num_ues, weld_edges=arguments.weld_edges)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        reference = bench.reference(bench.settings(arguments.reference), folder)
    rows = [compare(bench, discovery, reference) for discovery in arguments.discovery]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def compare(bench: Bench, discovery: str, reference: TracedPaths) -> dict[str, Any]:
    """Run one discovery and print what it misses."""
    paths, seconds = bench.trace(bench.settings(discovery))
    print_seconds(f"{bench.scene}, {discovery}", seconds)
    estimate_s, other = timed(
        lambda: audit(bench.loaded, bench.site, bench.settings(discovery), paths, bench.ue_m, BANDS)
    )
    estimated = compare_paths(paths, other, len(bench.ue_m))
    print(f"  estimate: {estimate_s:.2f} CPU-s", flush=True)
    union = Union(reference, paths, len(bench.ue_m))
    result: dict[str, Any] = {"scene": bench.scene, "discovery": discovery, **seconds}
    result["estimate_s"] = estimate_s
    for label, is_los in (("LOS", True), ("NLOS", False)):
        missed = union.missed(is_los=is_los)
        if missed is None:
            continue
        kinds = ", ".join(f"{kind} {value:.4f}" for kind, value in missed.kinds.items())
        print(
            f"  {label:<5}{missed.num_links:>5} links  25 strongest {missed.strongest_found:.3f}"
            f"  power missed {missed.power_mean:.4f} (p95 {missed.power_p95:.4f})"
            f"  late {missed.late_share:.3f}  lost {missed.num_lost}  {kinds}",
            flush=True,
        )
        estimate = estimated.power_of(is_los=is_los)
        if estimate is not None:
            print(
                f"        estimate {estimate.mean_share:.4f} (p95 {estimate.p95_share:.4f}): "
                f"{estimate.mean_share / max(missed.power_mean, 1e-6):.2f} and "
                f"{estimate.p95_share / max(missed.power_p95, 1e-6):.2f} of it",
                flush=True,
            )
        result[label] = {**asdict(missed), "estimate": estimate and estimate.model_dump()}
    return result


def print_seconds(name: str, seconds: dict[str, float]) -> None:
    """Print what a discovery and its matching took."""
    print(
        f"{name}: {seconds['discovery_s']:.2f} CPU-s, {seconds['ue_ms']:.2f} CPU-ms a UE",
        flush=True,
    )


if __name__ == "__main__":
    main()
