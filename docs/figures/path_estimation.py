"""Draw docs/figures/path_estimation.png and print the tables of docs/path_estimation.md.

    python docs/figures/path_estimation.py DATASET [--band 6GHz] [--links 600]

Estimated paths of noisy CSI against the ray tracer's paths of the same links, pooled over all
scenes of the dataset. What is drawn is saved beside the figure as `path_estimation.npz`.
"""

import argparse
import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from raymark.dataset import Dataset, Selection, open_dataset
from raymark.dataset.schema import LOS, NLOS
from raymark.plots import house_style, save_figure
from raymark.radio import SPEED_OF_LIGHT_M_S, Panel
from raymark.radio.estimation import EstimatedPaths, detection_threshold, estimate_paths
from raymark.radio.synthesis import (
    PathBatch,
    add_noise,
    arrives,
    panel_direction,
    synthesize_csi,
)

TARGET = Path(__file__).with_name("path_estimation.png")
NUM_RANKS = 8
LABELS = {"LOS": LOS, "NLOS": NLOS}
SNR_EDGES_DB = (-np.inf, 0.0, 15.0, 30.0, np.inf)
CURVES = {
    ("LOS", "strongest"): ("#0072B2", "-"),
    ("LOS", "first"): ("#0072B2", "--"),
    ("NLOS", "strongest"): ("#D55E00", "-"),
    ("NLOS", "first"): ("#D55E00", "--"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Errors of links where a path was found, and the fate of every strong oracle path.

    Attributes:
        snr_db: Mean SNR of one antenna and tone [dB].
        error: Absolute errors by "strongest" and "first": range [m], azimuth and zenith [deg].
        detected: True where a path was found; errors are 0 elsewhere.
        strong: True for oracle paths above the detection threshold, strongest first.
        own: True where such a path has an estimate for itself.
        covered: True where such a path has an estimate near it.
    """

    snr_db: np.ndarray
    error: dict[str, np.ndarray]
    detected: np.ndarray
    strong: np.ndarray
    own: np.ndarray
    covered: np.ndarray


def main() -> None:
    """Compare, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--band", default="6GHz")
    parser.add_argument("--links", type=int, default=600, help="links of each label")
    parser.add_argument("--max-num-paths", type=int, default=8)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset)
    results = {
        name: compare(dataset, arguments.band, label, arguments.links, arguments.max_num_paths)
        for name, label in LABELS.items()
    }
    print_errors(results)
    print_shares(results)
    save_figure(draw(results), TARGET)
    arrays: dict[str, Any] = {
        f"{name}_{which}": result.error[which][result.detected]
        for name, result in results.items()
        for which in result.error
    }
    arrays |= {f"{name}_own": own_share(result) for name, result in results.items()}
    np.savez_compressed(TARGET.with_suffix(".npz"), **arrays)
    print(f"wrote {TARGET}")


def compare(
    dataset: Dataset, band: str, label: int, num_links: int, max_num_paths: int
) -> Comparison:
    """Estimate links of one label, as many from every scene."""
    share = num_links // len(dataset.scenes)
    parts = [
        compare_scene(dataset.select(scene=scene, band=band), label, share, max_num_paths)
        for scene in dataset.scenes
    ]
    fields = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("snr_db", "detected", "strong", "own", "covered")
    }
    error = {
        which: np.concatenate([part.error[which] for part in parts]) for which in parts[0].error
    }
    return Comparison(error=error, **fields)


def compare_scene(
    selection: Selection, label: int, num_links: int, max_num_paths: int
) -> Comparison:
    """Estimate evenly spaced links of one scene from fresh noise, seed 1."""
    front_end = selection.front_end
    links = np.flatnonzero(selection.los == label)
    links = links[np.linspace(0, len(links) - 1, num_links).astype(int)]
    oracle = pick_links(selection.path_batch(0, len(selection)), torch.from_numpy(links))
    oracle = received_by(front_end.panel, oracle)
    noise_variance = front_end.noise_variance(oracle.band)
    clean = synthesize_csi(oracle, front_end.panel)
    found = estimate_paths(
        add_noise(clean, oracle.band, front_end, torch.Generator().manual_seed(1)),
        front_end.panel,
        oracle.band,
        noise_variance=noise_variance,
        orientation_rad=oracle.orientation_rad,
        max_num_paths=max_num_paths,
    )
    counts = (front_end.panel.num_cols, front_end.panel.num_rows, oracle.band.num_subcarriers)
    least = noise_variance * detection_threshold(counts) / np.prod(counts)
    strong = oracle.mask & (oracle.amplitude.abs().square() > least)
    own, covered = match(oracle, found, strong)
    gain = clean.abs().square().mean(dim=(1, 2))
    return Comparison(
        snr_db=(10 * torch.log10(gain / noise_variance)).numpy(),
        error=path_errors(oracle, found, strong),
        detected=(found.mask[:, 0] & strong.any(dim=1)).numpy(),
        strong=strong[:, :NUM_RANKS].numpy(),
        own=own.numpy(),
        covered=covered.numpy(),
    )


def received_by(panel: Panel, paths: PathBatch) -> PathBatch:
    """Return the paths that the panel receives, strongest first."""
    direction = panel_direction(paths.zenith_bs_rad, paths.azimuth_bs_rad, paths.orientation_rad)
    mask = paths.mask & arrives(panel, direction)
    amplitude = torch.where(mask, paths.amplitude, 0)
    order = amplitude.abs().argsort(dim=1, descending=True, stable=True)
    names = ("delay_s", "zenith_bs_rad", "azimuth_bs_rad", "num_interactions")
    others: dict[str, Any] = {name: getattr(paths, name).gather(1, order) for name in names}
    return dataclasses.replace(
        paths, amplitude=amplitude.gather(1, order), mask=mask.gather(1, order), **others
    )


def pick_links(paths: PathBatch, links: Tensor) -> PathBatch:
    """Return some links, the paths of each by falling power in this band."""
    order = paths.amplitude[links].abs().argsort(dim=1, descending=True)
    names = ("amplitude", "delay_s", "zenith_bs_rad", "azimuth_bs_rad", "num_interactions", "mask")
    tensors = {name: getattr(paths, name)[links].gather(1, order) for name in names}
    return PathBatch(**tensors, band=paths.band, orientation_rad=paths.orientation_rad)


def path_errors(
    oracle: PathBatch, found: EstimatedPaths, strong: Bool[Tensor, "link path"]
) -> dict[str, np.ndarray]:
    """Return errors of the strongest estimate to the nearest oracle path, and of the first."""
    world = np.zeros(3)
    true_m = oracle.delay_s.unsqueeze(-1) * SPEED_OF_LIGHT_M_S
    true_m = true_m * panel_direction(oracle.zenith_bs_rad, oracle.azimuth_bs_rad, world)
    point_m = found.delay_s[:, :1, None] * SPEED_OF_LIGHT_M_S
    point_m = point_m * panel_direction(
        found.zenith_bs_rad[:, :1], found.azimuth_bs_rad[:, :1], world
    )
    away_m = torch.linalg.vector_norm(true_m - point_m, dim=-1)
    nearest = torch.where(oracle.mask, away_m, torch.inf).argmin(dim=1)
    first = torch.where(strong, oracle.delay_s, torch.inf).argmin(dim=1)
    found_first = torch.where(found.mask, found.delay_s, torch.inf).argmin(dim=1)
    strongest = torch.zeros_like(found_first)
    return {
        "strongest": differences(oracle, nearest, found, strongest),
        "first": differences(oracle, first, found, found_first),
    }


def differences(
    oracle: PathBatch, true_index: Tensor, found: EstimatedPaths, index: Tensor
) -> Float[np.ndarray, "link 3"]:
    """Return absolute errors of range [m], azimuth and zenith [deg] of chosen paths."""

    def gap(name: str) -> Tensor:
        truth = getattr(oracle, name).gather(1, true_index[:, None])[:, 0]
        return getattr(found, name).gather(1, index[:, None])[:, 0] - truth

    azimuth = torch.remainder(gap("azimuth_bs_rad") + torch.pi, 2 * torch.pi) - torch.pi
    columns = [
        gap("delay_s") * SPEED_OF_LIGHT_M_S,
        torch.rad2deg(azimuth),
        torch.rad2deg(gap("zenith_bs_rad")),
    ]
    return torch.stack(columns, dim=-1).abs().numpy()


def match(
    oracle: PathBatch, found: EstimatedPaths, strong: Bool[Tensor, "link path"]
) -> tuple[Bool[Tensor, "link rank"], Bool[Tensor, "link rank"]]:
    """Tell which oracle paths have an estimate within half a resolution cell on every axis.

    The strongest oracle path chooses first, the nearest in range, and keeps its estimate.
    """
    range_m = SPEED_OF_LIGHT_M_S * (oracle.delay_s[:, :, None] - found.delay_s[:, None, :]).abs()
    orientation = oracle.orientation_rad
    true = panel_direction(oracle.zenith_bs_rad, oracle.azimuth_bs_rad, orientation)[..., 1:]
    ours = panel_direction(found.zenith_bs_rad, found.azimuth_bs_rad, orientation)[..., 1:]
    cosine = (true[:, :, None] - ours[:, None]).abs().amax(dim=-1)
    half_cell_m = SPEED_OF_LIGHT_M_S / oracle.band.bandwidth_hz / 2
    near = (range_m < half_cell_m) & (cosine < 0.125) & found.mask[:, None] & strong[..., None]
    free = torch.ones_like(found.mask)
    own = torch.zeros(near.shape[0], NUM_RANKS, dtype=torch.bool)
    for rank in range(NUM_RANKS):
        choice = torch.where(near[:, rank] & free, range_m[:, rank], torch.inf)
        own[:, rank] = torch.isfinite(choice).any(dim=1)
        taken = torch.nn.functional.one_hot(choice.argmin(dim=1), free.shape[1]).bool()
        free = free & ~(taken & own[:, rank, None])
    return own, near[:, :NUM_RANKS].any(dim=2)


def own_share(result: Comparison) -> Float[np.ndarray, "rank"]:
    """Return the share of strong oracle paths with an estimate for themselves, by rank."""
    return result.own.sum(axis=0) / np.maximum(result.strong.sum(axis=0), 1)


def print_errors(results: dict[str, Comparison]) -> None:
    """Print the table of error quantiles."""
    print("| label | SNR [dB] | links | path | range [m] | azimuth [deg] | zenith [deg] |")
    print("|---|---|---|---|---|---|---|")
    for name, result in results.items():
        for low, high in itertools.pairwise(SNR_EDGES_DB):
            inside = (result.snr_db >= low) & (result.snr_db < high)
            used = inside & result.detected
            if used.sum() < 20:  # fewer say nothing about a 90 % quantile
                continue
            for which, error in result.error.items():
                middle, most = np.quantile(error[used], [0.5, 0.9], axis=0)
                cells = [f"{a:.3g} / {b:.3g}" for a, b in zip(middle, most, strict=True)]
                links = f"{used.sum()} of {inside.sum()}"
                print(
                    f"| {name} | {low:g} to {high:g} | {links} | {which} |", " | ".join(cells), "|"
                )


def print_shares(results: dict[str, Comparison]) -> None:
    """Print the table of oracle paths that were found."""
    print("\n| label | | " + " | ".join(str(rank + 1) for rank in range(NUM_RANKS)) + " |")
    print("|---" * (NUM_RANKS + 2) + "|")
    for name, result in results.items():
        number = result.strong.sum(axis=0)
        rows = {
            "paths": [f"{n}" for n in number],
            "own estimate": [f"{share:.3f}" for share in own_share(result)],
            "near an estimate": [f"{n:.3f}" for n in result.covered.sum(axis=0) / number],
        }
        for title, cells in rows.items():
            print(f"| {name} | {title} | " + " | ".join(cells) + " |")


@house_style()
def draw(results: dict[str, Comparison]) -> Figure:
    """Return the figure: two error curves and the share found."""
    figure = Figure(figsize=(11.5, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_errors(left, results, axis=0, label="Range error [m]")
    draw_errors(middle, results, axis=1, label="Azimuth error [deg]")
    left.legend()
    ranks = np.arange(1, NUM_RANKS + 1)
    for name, result in results.items():
        color = CURVES[name, "strongest"][0]
        near = result.covered.sum(axis=0) / np.maximum(result.strong.sum(axis=0), 1)
        right.plot(ranks, near, "^--", color=color, label=f"{name}, near an estimate")
        right.plot(ranks, own_share(result), "o-", color=color, label=f"{name}, its own estimate")
    right.set(
        xlabel="Rank of the oracle path by power",
        ylabel="Share of oracle paths above the threshold",
        ylim=(0, 1.02),
    )
    right.legend(loc="lower left")
    return figure


def draw_errors(ax: Axes, results: dict[str, Comparison], *, axis: int, label: str) -> None:
    """Draw distributions of one error."""
    for (name, which), (color, line) in CURVES.items():
        result = results[name]
        error = np.sort(result.error[which][result.detected, axis])
        share = (np.arange(len(error)) + 0.5) / len(error)
        ax.plot(error, share, color=color, linestyle=line, label=f"{name}, {which}")
    ax.set(xscale="log", xlabel=label, ylabel="Share of links", ylim=(0, 1))
    ax.set_xlim(left=1e-3)


if __name__ == "__main__":
    main()
