"""Path estimation speed and accuracy against two plain pursuits, same links, same run.

    OMP_NUM_THREADS=1 python perf/path_estimation.py [--num-links 512] [--json FILE]

64 antennas x 64 tones, 8 random paths a link over 25 dB, 20 dB SNR of the strongest path at one
antenna and tone, one core. The peers, in numpy and link by link, with the same threshold: `omp`,
orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad, Asilomar 1993) on our twice
oversampled grid of delays and cosines, with FFTs as its dictionary; and `nomp`, the Newtonized one
from four times oversampling, with one Newton step for a new path and three rounds over all paths
(Mamandipoor, Ramasamy and Madhow, IEEE TSP 2016). The cost of the `music` azimuth profile is given
for scale.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex, Float

from raymark.radio import BAND_PRESETS, SPEED_OF_LIGHT_M_S, Panel
from raymark.radio.estimation import detection_threshold, estimate_paths
from raymark.radio.fingerprints import estimate_aoa_profile
from raymark.radio.synthesis import PathBatch, synthesize_csi

NUM_PATHS = 8
SNR = 100.0
COUNTS = (8, 8, 64)
REPEATS = 3
PEER_LINKS = 64
PANEL, BAND = Panel(), BAND_PRESETS["6GHz"]


def main() -> None:
    """Run the comparison on one core."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-links", type=int, default=512)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = random_paths(arguments.num_links)
    generator = torch.Generator().manual_seed(1)
    clean = synthesize_csi(paths, PANEL)
    noise = torch.randn(clean.shape, dtype=clean.dtype, generator=generator) / math.sqrt(SNR)
    csi = clean + noise
    few = csi[:PEER_LINKS].numpy()
    ours_s = median_seconds(lambda: range_m(csi)) / len(csi)
    omp_s = median_seconds(lambda: pursue_all(few, newton_rounds=0)) / len(few)
    nomp_s = median_seconds(lambda: pursue_all(few, newton_rounds=3)) / len(few)
    music_s = median_seconds(lambda: estimate_aoa_profile(csi[:64], PANEL, method="music")) / 64
    rows = {
        "raymark_links_per_s": 1 / ours_s,
        "omp_links_per_s": 1 / omp_s,
        "nomp_links_per_s": 1 / nomp_s,
        "speedup_over_omp": omp_s / ours_s,
        "speedup_over_nomp": nomp_s / ours_s,
        "music_profile_links_per_s": 1 / music_s,
        **errors("raymark", range_m(csi), paths),
        **errors("omp", pursue_all(few, newton_rounds=0), paths),
        **errors("nomp", pursue_all(few, newton_rounds=3), paths),
    }
    for name, value in rows.items():
        print(f"{name:<34}{value:>12.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def random_paths(num_links: int) -> PathBatch:
    """Draw links of 8 paths, strongest first, anywhere in delay and within 70 deg of boresight."""
    rng = np.random.default_rng(0)
    shape = (num_links, NUM_PATHS)
    level_db = np.sort(rng.uniform(-25, 0, shape))[:, ::-1]
    level_db[:, 0] = 0.0
    amplitude = 10 ** (level_db / 20) * np.exp(2j * np.pi * rng.random(shape))
    zenith_rad = np.pi / 2 + np.radians(rng.uniform(-30, 30, shape))
    return PathBatch(
        amplitude=torch.from_numpy(amplitude.astype("c8")),
        delay_s=torch.from_numpy(rng.uniform(5e-8, 1.2e-6, shape).astype("f4")),
        zenith_bs_rad=torch.from_numpy(zenith_rad.astype("f4")),
        azimuth_bs_rad=torch.from_numpy(np.radians(rng.uniform(-70, 70, shape)).astype("f4")),
        num_interactions=torch.zeros(shape, dtype=torch.int64),
        mask=torch.ones(shape, dtype=torch.bool),
        band=BAND,
        orientation_rad=np.zeros(3),
    )


def range_m(csi: Complex[torch.Tensor, "link ant subcarrier"]) -> Float[np.ndarray, "link path"]:
    """Return the lengths of our estimates, strongest first; infinite where padded [m]."""
    found = estimate_paths(csi, PANEL, BAND, noise_variance=1 / SNR, orientation_rad=np.zeros(3))
    length_m = torch.where(found.mask, found.delay_s * SPEED_OF_LIGHT_M_S, torch.inf)
    return length_m.numpy()


def pursue_all(
    csi: Complex[np.ndarray, "link ant subcarrier"], *, newton_rounds: int
) -> Float[np.ndarray, "link path"]:
    """Return the lengths of the peer's paths, link by link [m]."""
    return np.stack([pursue(link, newton_rounds=newton_rounds) for link in csi])


def pursue(
    csi: Complex[np.ndarray, "ant subcarrier"], *, newton_rounds: int
) -> Float[np.ndarray, "path"]:
    """Return the lengths of the peer's paths of one link, strongest first [m]."""
    target = csi.reshape(COUNTS)
    residual, turns, gain = target, np.zeros((0, 3)), np.zeros(0, dtype="c16")
    threshold = detection_threshold(COUNTS) / SNR * target.size
    # Newton's method has to start on the concave top of a peak.
    sizes = [(4 if newton_rounds else 2) * count for count in COUNTS]
    for _ in range(NUM_PATHS):
        spectrum = np.fft.fftn(residual, s=sizes, axes=(0, 1, 2))
        power = spectrum.real**2 + spectrum.imag**2
        top = np.unravel_index(power.argmax(), sizes)
        if power[top] < threshold:
            break
        turns = np.vstack([turns, np.array(top) / sizes])
        gain = np.append(gain, 0)
        if newton_rounds:
            turns[-1] = newton_step(residual, turns[-1])
            gain[-1] = (residual * atom(turns[-1]).conj()).mean()
        for _ in range(newton_rounds):
            refine_in_turns(target, turns, gain)
        dictionary = np.stack([atom(row).reshape(-1) for row in turns], axis=1)
        gram = dictionary.conj().T @ dictionary
        gain = np.linalg.lstsq(gram, dictionary.conj().T @ target.reshape(-1), rcond=None)[0]
        residual = target - (dictionary @ gain).reshape(COUNTS)
    length_m = np.full(NUM_PATHS, np.inf)
    strongest = turns[np.argsort(-np.abs(gain)), 2]
    length_m[: len(turns)] = (-strongest % 1.0) * BAND.unambiguous_range_m
    return length_m


def atom(turns: Float[np.ndarray, "3"]) -> Complex[np.ndarray, "col row subcarrier"]:
    """Return the response to one path."""
    cols, rows, tones = (
        np.exp(2j * np.pi * turn * np.arange(count)).astype("c8")
        for turn, count in zip(turns, COUNTS, strict=True)
    )
    return cols[:, None, None] * rows[:, None] * tones


def refine_in_turns(
    target: Complex[np.ndarray, "col row subcarrier"],
    turns: Float[np.ndarray, "path 3"],
    gain: Complex[np.ndarray, "path"],
) -> None:
    """Improve every path in place against what the others leave."""
    atoms = [atom(row) for row in turns]
    residual = target - sum(g * a for g, a in zip(gain, atoms, strict=True))
    for i, old in enumerate(atoms):
        alone = residual + gain[i] * old
        turns[i] = newton_step(alone, turns[i])
        new = atom(turns[i])
        gain[i] = (alone * new.conj()).mean()
        residual = alone - gain[i] * new


def newton_step(
    residual: Complex[np.ndarray, "col row subcarrier"], turns: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """Return the parameters after a Newton step, if the matched filter's power rises."""
    moments = residual
    for turn, count in zip(turns, COUNTS, strict=True):
        index = np.arange(count)
        steering = np.exp(-2j * np.pi * turn * index)
        slope = -2j * np.pi * index
        basis = np.stack([steering, slope * steering, slope**2 * steering]).astype("c8")
        moments = np.tensordot(moments, basis, axes=(0, 1))  # the next axis comes first
    unit = np.eye(3, dtype=int)
    value = moments[0, 0, 0]
    first = np.array([moments[tuple(unit[i])] for i in range(3)])
    second = np.array([[moments[tuple(unit[i] + unit[j])] for j in range(3)] for i in range(3)])
    gradient = 2 * (value.conj() * first).real
    hessian = 2 * (np.outer(first, first.conj()) + value.conj() * second).real
    if np.linalg.eigvalsh(hessian).max() >= 0:
        return turns
    trial = turns - np.linalg.solve(hessian, gradient)
    better = abs((residual * atom(trial).conj()).sum()) > abs(value)
    return trial if better else turns


def errors(
    name: str, length_m: Float[np.ndarray, "link path"], paths: PathBatch
) -> dict[str, float]:
    """Return range errors of the strongest path, and the share of paths found within 1 m."""
    true_m = paths.delay_s.numpy()[: len(length_m)] * SPEED_OF_LIGHT_M_S
    strongest_m = np.abs(length_m[:, 0] - true_m[:, 0])
    away_m = np.abs(true_m[:, :, None] - length_m[:, None, :]).min(axis=2)
    return {
        f"{name}_strongest_median_m": float(np.median(strongest_m)),
        f"{name}_strongest_90_percent_m": float(np.quantile(strongest_m, 0.9)),
        f"{name}_paths_within_1_m": float((away_m < 1).mean()),
    }


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
