"""What the networks of a run did: learning curves, router shares by band, time spent on loading.

    python docs/figures/neural.py RUNS

Of the models that have all cells of `interpolation`: draws docs/figures/learning_curves.png (first
seed, one panel per model) and docs/figures/router_shares.png (share of each modality in the
dispatch weights of SCADF-MoE), and prints fit times, parameters, epochs, latency and the share of
training time spent on making batches.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.benchmark.store import CellResult, RunFolder
from raymark.benchmark.task import Task
from raymark.plots import house_style, new_figure, save_figure

FOLDER = Path(__file__).parent
TRACK, ROUTED = "interpolation", "scadf_moe"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")

Results = list[tuple[Task, CellResult]]


def main() -> None:
    """Read the command line, print the table, draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    run = RunFolder(parser.parse_args().runs)
    results = results_of(run)
    table = pd.DataFrame([_costs(result) for _, result in results])
    print(table.groupby("model").median().round(2).to_string())
    draw_learning_curves(results)
    draw_router_shares(results)


def results_of(run: RunFolder) -> Results:
    """Return the results of the networks that were run on every cell of the track."""
    results = [
        (cell.task, cell.result)
        for cell in run.cells()
        if cell.result.history and cell.task.track == TRACK
    ]
    tasks_of: dict[str, set[str]] = {}
    for task, result in results:
        tasks_of.setdefault(result.model, set()).add(task.id)
    every = set().union(*tasks_of.values())
    return [(task, result) for task, result in results if tasks_of[result.model] == every]


def _costs(result: CellResult) -> dict[str, object]:
    return {
        "model": result.model,
        "parameters": result.num_parameters,
        "fit_s": result.fit_s,
        "best_epoch": result.choices["best_epoch"],
        "epochs": result.choices["epochs"],
        "loading_share": result.diagnostics["loading_share"],
        "latency_ms_per_point": result.predict_ms_per_point,
        "peak_memory_mb": result.peak_memory_mb,
    }


@house_style()
def draw_learning_curves(results: Results) -> None:
    """Draw the validation error of every cell, first seed, by epoch."""
    chosen = [result for _, result in results if result.seed == 0]
    names = sorted({result.model for result in chosen})
    figure, axes = new_figure(1, len(names), panel_inches=(2.6, 2.6))
    for ax, name in zip(axes, names, strict=True):
        for result in chosen:
            if result.model == name:
                error_m = result.history["validation_error_m"]
                ax.plot(np.arange(1, len(error_m) + 1), error_m, lw=0.8, color=COLORS[0])
        ax.set(yscale="log", title=name, xlabel="Epoch", ylim=(1, 200))
    axes[0].set_ylabel("Mean validation error [m]")
    save_figure(figure, FOLDER / "learning_curves.png")


@house_style()
def draw_router_shares(results: Results) -> None:
    """Draw the modality shares of the router, mean over seeds, by scene and band; print them."""
    rows = [
        {"scene": task.scene, "band": band, **share}
        for task, result in results
        if result.model == ROUTED
        for band, share in result.diagnostics["modality_share"].items()
    ]
    if not rows:
        return
    table = pd.DataFrame(rows)
    modalities = [name for name in table.columns if name not in {"scene", "band"}]
    mean = table.groupby(["band", "scene"], sort=False)[modalities].mean()
    print(f"\nModality shares of {ROUTED}\n{mean.round(3).to_string()}")
    figure, axes = new_figure(1, 1, panel_inches=(6.0, 2.8))
    bottom, place = np.zeros(len(mean)), np.arange(len(mean))
    for name, color in zip(modalities, COLORS, strict=False):
        axes[0].bar(place, mean[name], bottom=bottom, color=color, label=name, width=0.8)
        bottom += mean[name].to_numpy()
    axes[0].set_xticks(place, [f"{scene}\n{band}" for band, scene in mean.index], fontsize=7)
    axes[0].set(ylabel="Share of dispatch weights", ylim=(0, 1))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save_figure(figure, FOLDER / "router_shares.png")


if __name__ == "__main__":
    main()
