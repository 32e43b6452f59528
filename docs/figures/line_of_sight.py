"""How far the AoA + ToA geometry is from the position error bound in line of sight, and why.

    OMP_NUM_THREADS=1 python docs/figures/line_of_sight.py DATASET [--band 6GHz] [--num-links 1000]

Prints, by scene, the median error and the median ratio to the bound of each link when 8, 16 or 24
paths are extracted (the strongest 8 are used in any case), when the direct path alone is there, and
by the power of the direct path over all others (K).
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from raymark.benchmark.bounds import position_error_bound
from raymark.benchmark.measuring import NUM_KEPT_PATHS
from raymark.benchmark.site_frames import site_frame_positions
from raymark.dataset import DEFAULT_BATCH_SIZE, Selection, open_dataset
from raymark.dataset.schema import LOS
from raymark.radio import SPEED_OF_LIGHT_M_S
from raymark.radio.estimation import EstimatedPaths, estimate_paths
from raymark.radio.fingerprints import measured_fingerprints
from raymark.radio.synthesis import PathBatch

WITHIN_DB = 20.0
K_EDGES_DB = (-np.inf, 3.0, 8.0, 12.0, np.inf)


def main() -> None:
    """Read the command line and report on every scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--band", default="6GHz")
    parser.add_argument("--num-links", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(arguments.dataset)
    for scene in dataset.scenes:
        selection = dataset.select(scene=scene, band=arguments.band)
        report(selection, min(arguments.num_links, len(selection)))


def report(selection: Selection, num_links: int) -> None:
    """Print the tables of one scene."""
    is_los = selection.los[:num_links] == LOS
    bound_m = position_error_bound(selection).peb_m[:num_links][is_los]
    ratio_db = direct_over_others_db(selection, num_links)[is_los]
    errors_m = {
        f"{count} paths extracted": errors(selection, num_links, count)[is_los]
        for count in (8, 16, 24)
    }
    errors_m["direct path alone"] = errors(selection, num_links, 8, direct_only=True)[is_los]
    print(f"{selection.sites[0].scene} {selection.band.name}: {is_los.sum()} LOS links")
    for name, error_m in errors_m.items():
        print(f"  {name:<22}{summary(error_m, bound_m)}")
    for low, high in itertools.pairwise(K_EDGES_DB):
        inside = (ratio_db >= low) & (ratio_db < high)
        if inside.any():
            text = summary(errors_m["24 paths extracted"][inside], bound_m[inside])
            print(f"  24 paths, K {low:>4g} to {high:<4g} dB {text}, {inside.sum()} links")


def summary(error_m: np.ndarray, bound_m: np.ndarray) -> str:
    """Return median, P90 and the median ratio to the bound as text."""
    median_m, p90_m = np.quantile(error_m, [0.5, 0.9])
    ratio = np.median(error_m / bound_m)
    return f"median {100 * median_m:6.2f} cm, P90 {100 * p90_m:6.1f} cm, {ratio:5.2f} x the bound"


def errors(
    selection: Selection, num_links: int, num_extracted: int, *, direct_only: bool = False
) -> np.ndarray:
    """Return the error of the first path's end for every link [m]."""
    true_m = site_frame_positions(
        selection.position_m[:num_links, :2], selection.site_index[:num_links], selection.sites
    )
    found_m = [
        first_path_end(selection, paths)
        for paths in estimates(selection, num_links, num_extracted, direct_only)
    ]
    return np.linalg.norm(np.concatenate(found_m) - true_m, axis=1)


def estimates(
    selection: Selection, num_links: int, num_extracted: int, direct_only: bool
) -> Iterator[EstimatedPaths]:
    """Yield the paths estimated from the noisy CSI of each batch."""
    front_end = selection.front_end
    for start in range(0, num_links, DEFAULT_BATCH_SIZE):
        paths = selection.path_batch(start, min(start + DEFAULT_BATCH_SIZE, num_links))
        if direct_only:
            paths = keep_direct(paths)
        csi = measured_fingerprints(
            paths,
            front_end,
            generator=selection.batch_noise_generator(start, 0),
            calibration=selection.calibration(start, front_end),
        ).csi
        yield estimate_paths(
            csi,
            front_end.panel,
            paths.band,
            noise_variance=front_end.noise_variance(paths.band),
            orientation_rad=paths.orientation_rad,
            max_num_paths=num_extracted,
        ).strongest(NUM_KEPT_PATHS)


def keep_direct(paths: PathBatch) -> PathBatch:
    """Return the paths with all but the direct one silenced."""
    tensors = {name: getattr(paths, name) for name in PathBatch.__slots__}
    tensors["amplitude"] = paths.amplitude * (paths.num_interactions == 0)
    return PathBatch(**tensors)


def first_path_end(selection: Selection, paths: EstimatedPaths) -> np.ndarray:
    """Return what the model `aoa_toa` would, in the frame of the (only) site."""
    site = selection.sites[0]
    height_m = site.position_m[2] - float(np.median(selection.position_m[:, 2]))
    power_db, mask = paths.power_db.numpy(), paths.mask.numpy()
    counts = mask & (power_db >= power_db.max(axis=1, keepdims=True) - WITHIN_DB)
    column = np.where(counts, paths.delay_s.numpy(), np.inf).argmin(axis=1)
    rows = np.arange(len(column))
    range_m = paths.delay_s.numpy()[rows, column].astype("f8") * SPEED_OF_LIGHT_M_S
    azimuth_rad = paths.azimuth_bs_rad.numpy()[rows, column] - site.orientation_rad[0]
    ground_m = np.sqrt(np.maximum(range_m**2 - height_m**2, 0.0))
    return ground_m[:, None] * np.stack([np.cos(azimuth_rad), np.sin(azimuth_rad)], axis=1)


def direct_over_others_db(selection: Selection, num_links: int) -> np.ndarray:
    """Return the power of each link's direct path over all others [dB]."""
    table = selection.path_table(0, num_links)
    link = np.repeat(np.arange(num_links), np.diff(table.path_offset))
    power = np.abs(table.amplitude) ** 2
    is_direct = (table.interaction != 0).sum(axis=1) == 0
    direct, others = (
        np.bincount(link[chosen], power[chosen], num_links) for chosen in (is_direct, ~is_direct)
    )
    return 10 * np.log10(np.maximum(direct, 1e-30) / np.maximum(others, 1e-30))


if __name__ == "__main__":
    main()
