"""CSI synthesis speed against Sionna's own `Paths.cfr`, for the same links in the same run.

    python perf/synthesis.py [--num-ues 500] [--json FILE]

64 antennas x 64 tones, up to 25 paths a link, 6 GHz, Munich. The peer's paths are traced first,
outside the clock; then both sides turn them into CSI, several times, and the medians are compared.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from raymark.dataset.samplings import UniformSampling
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.backend import rt
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import BAND_PRESETS, FrontEnd, Panel
from raymark.radio.synthesis import PathBatch, subcarrier_frequencies, synthesize_csi
from raymark.scenes import get_scene

NUM_PATHS = 25
REPEATS = 7
BATCH = 256


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-ues", type=int, default=500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    band, panel = BAND_PRESETS["6GHz"], Panel(mirrors_back=True)  # open, as Sionna's is
    paths, orientation = trace(arguments.num_ues)
    tones = [float(f) for f in subcarrier_frequencies(band)]
    peer_s = median_seconds(
        lambda: paths.cfr(frequencies=tones, normalize_delays=False, out_type="numpy")
    )
    batch = as_batch(paths, orientation)
    starts = range(0, arguments.num_ues, BATCH)
    parts = [slice_batch(batch, start, start + BATCH) for start in starts]
    ours_s = median_seconds(lambda: [synthesize_csi(part, panel) for part in parts])
    rows = {
        "links": arguments.num_ues,
        "paths_per_link": int(batch.mask.sum()) / arguments.num_ues,
        "sionna_links_per_s": arguments.num_ues / peer_s,
        "raymark_links_per_s": arguments.num_ues / ours_s,
        "speedup": peer_s / ours_s,
        "full_batch_links_per_s": full_batch_rate(batch),
    }
    for name, value in rows.items():
        print(f"{name:<24}{value:>14.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def trace(num_ues: int) -> tuple[rt.Paths, np.ndarray]:
    """Let PathSolver find the paths of some UEs to an 8x8 panel."""
    scene = get_scene("munich")
    site = scene.sites[0]
    with tempfile.TemporaryDirectory() as workspace:
        loaded = LoadedScene(scene.xml_path(Path(workspace)), FrontEnd())
    sampling = UniformSampling(num_ues=num_ues)
    ues = sample_ues(sampling, loaded, site, seed=7, scene="munich").position_m
    sionna = loaded.sionna
    sionna.frequency = BAND_PRESETS["6GHz"].carrier_hz
    sionna.tx_array = rt.PlanarArray(num_rows=8, num_cols=8, pattern="tr38901", polarization="V")
    sionna.rx_array = rt.PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")
    sionna.add(rt.Transmitter("bs", position=site.position_m, orientation=site.orientation_rad))
    for i, position in enumerate(ues):
        sionna.add(rt.Receiver(f"ue{i}", position=[float(x) for x in position]))
    paths = rt.PathSolver()(
        sionna, max_depth=4, samples_per_src=100_000, refraction=False, diffraction=True
    )
    return paths, np.asarray(site.orientation_rad)


def as_batch(paths: rt.Paths, orientation: np.ndarray) -> PathBatch:
    """Take the strongest paths of each link."""
    real, imag = (part.numpy()[:, 0, 0, 0] for part in paths.a)
    valid = paths.valid.numpy()[:, 0]
    amplitude = np.where(valid, real + 1j * imag, 0)
    order = np.argsort(-np.abs(amplitude), axis=1)[:, :NUM_PATHS]

    def pick(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.take_along_axis(values, order, axis=1).copy())

    return PathBatch(
        amplitude=pick(amplitude.astype("c8")),
        delay_s=pick(np.where(valid, paths.tau.numpy()[:, 0], 0).astype("f4")),
        zenith_bs_rad=pick(paths.theta_t.numpy()[:, 0]),
        azimuth_bs_rad=pick(paths.phi_t.numpy()[:, 0]),
        num_interactions=pick(valid.astype("i8")),
        mask=pick(valid),
        band=BAND_PRESETS["6GHz"],
        orientation_rad=orientation,
    )


def slice_batch(batch: PathBatch, start: int, stop: int) -> PathBatch:
    """Return some links of a batch."""
    names = ("amplitude", "delay_s", "zenith_bs_rad", "azimuth_bs_rad", "num_interactions", "mask")
    tensors = {name: getattr(batch, name)[start:stop] for name in names}
    return PathBatch(**tensors, band=batch.band, orientation_rad=batch.orientation_rad)


def full_batch_rate(batch: PathBatch) -> float:
    """Return links/s where every link has all 25 paths, as the target is stated."""
    part = slice_batch(batch, 0, BATCH)
    return part.num_links / median_seconds(lambda: synthesize_csi(part, FrontEnd().panel))


def median_seconds(call: Callable[[], object]) -> float:
    """Return the median time of a call after one warm-up."""
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
