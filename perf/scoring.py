"""Speed of scoring and of the block bootstrap, against pandas and scipy in the same run.

    python perf/scoring.py [--num-cells 500] [--num-points 2000] [--json FILE]

A cell is one task, model and seed. Scoring turns predictions into errors and computes every metric
over every label; the peer is a pandas groupby by cell and label, with the same metrics written in
numpy. The bootstrap gives the intervals of every metric over the points of a cell, 3 seeds in 60
blocks; the peer is `scipy.stats.bootstrap` over blocks, which needs one call for each metric. The
script refuses to print a ratio where the two sides disagree.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy import stats

from raymark.benchmark.labels import label_masks
from raymark.benchmark.metrics import METRICS, point_errors, score
from raymark.benchmark.statistics import draw_blocks, resample_blocks

REPEATS = 3
NUM_SEEDS, NUM_BLOCKS, NUM_RESAMPLES = 3, 60, 1000
QUANTILES = {"median_m": 0.5, "p67_m": 0.67, "p80_m": 0.8, "p90_m": 0.9, "p95_m": 0.95}
NAIVE: dict[str, Callable[[np.ndarray], float]] = {
    "mse_m2": lambda e: float(np.mean(e**2) / 2),
    "rmse_m": lambda e: float(np.sqrt(np.mean(e**2))),
    "mean_m": lambda e: float(np.mean(e)),
    "share_under_1m": lambda e: float(np.mean(e < 1)),
    "share_under_3m": lambda e: float(np.mean(e < 3)),
    "outlier_share": lambda e: float(np.mean(e > 50)),
} | {name: (lambda e, q=q: float(np.quantile(e, q))) for name, q in QUANTILES.items()}

T = TypeVar("T")
Scores = dict[tuple[int, str, str], float]


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-cells", type=int, default=500)
    parser.add_argument("--num-points", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (arguments.num_cells, arguments.num_points)
    true_m = rng.uniform(0, 500, (*shape, 2))
    predicted_m = true_m + rng.gamma(0.7, 15.0, (*shape, 1)) * rng.normal(size=(*shape, 2))
    los = rng.choice([1, 0, -1], size=shape, p=[0.4, 0.5, 0.1])
    rows = {"predictions": float(np.prod(shape))}
    rows |= compare_scoring(predicted_m, true_m, los)
    error_m = np.linalg.norm(predicted_m - true_m, axis=-1)[:NUM_SEEDS]
    rows |= compare_bootstrap(error_m, rng.integers(NUM_BLOCKS, size=shape[1]))
    for name, value in rows.items():
        print(f"{name:<30}{value:>14.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def compare_scoring(
    predicted_m: np.ndarray, true_m: np.ndarray, los: np.ndarray
) -> dict[str, float]:
    """Score all cells both ways."""
    ours_s, ours = median_seconds(lambda: score_cells(predicted_m, true_m, los))
    peer_s, peer = median_seconds(lambda: score_with_pandas(predicted_m, true_m, los))
    for key, value in peer.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-9, err_msg=str(key))
    return {"scoring_s": ours_s, "scoring_pandas_s": peer_s, "scoring_speedup": peer_s / ours_s}


def score_cells(predicted_m: np.ndarray, true_m: np.ndarray, los: np.ndarray) -> Scores:
    """Score as raymark does."""
    scores = {}
    for cell, (predicted, true, labels) in enumerate(zip(predicted_m, true_m, los, strict=True)):
        errors = point_errors(predicted, true)
        for label, mask in label_masks(labels).items():
            for name, value in score(errors, mask).items():
                scores[cell, label, name] = value
    return scores


def score_with_pandas(predicted_m: np.ndarray, true_m: np.ndarray, los: np.ndarray) -> Scores:
    """Score by groupby and apply; it has LOS and NLOS apart, and then both as `all`."""
    num_cells, num_points = los.shape
    frame = pd.DataFrame(
        {
            "cell": np.repeat(np.arange(num_cells), num_points),
            "label": np.select([los == 1, los == 0], ["los", "nlos"], "outage").ravel(),
            "error_m": np.linalg.norm(predicted_m - true_m, axis=-1).ravel(),
        }
    )
    reached = frame[frame["label"] != "outage"].assign(label="all")

    def metrics(error_m: "pd.Series[float]") -> "pd.Series[float]":
        values = error_m.to_numpy()
        return pd.Series({name: reduce(values) for name, reduce in NAIVE.items()})

    scores: dict[Any, float] = {}
    for part in (frame, reached):
        found = part.groupby(["cell", "label"])["error_m"].apply(metrics)
        scores |= {key: float(value) for key, value in found.items()}
    return scores


def compare_bootstrap(error_m: np.ndarray, block: np.ndarray) -> dict[str, float]:
    """Make the intervals of one cell both ways."""
    names = [name for name, metric in METRICS.items() if not metric.needs_covariance]

    def ours() -> dict[str, tuple[float, float]]:
        rng = np.random.default_rng(0)
        with_points, index = np.unique(block, return_inverse=True)
        draws = draw_blocks(len(with_points), rng=rng, num_resamples=NUM_RESAMPLES)
        found = resample_blocks(error_m, index, names, draws)
        intervals = {name: found.interval(name) for name in names}
        return {name: (own.low or 0.0, own.high or 0.0) for name, own in intervals.items()}

    ours_s, found = median_seconds(ours)
    peer_s, peer = median_seconds(lambda: bootstrap_with_scipy(error_m, block))
    for name, bounds in peer.items():
        # Other draws, and percentiles that are not expanded: a tenth of the width is allowed.
        tolerance = 0.1 * (bounds[1] - bounds[0])
        np.testing.assert_allclose(found[name], bounds, atol=tolerance, rtol=0, err_msg=name)
    return {
        "bootstrap_per_cell_s": ours_s,
        "bootstrap_scipy_s": peer_s,
        "bootstrap_speedup": peer_s / ours_s,
    }


def bootstrap_with_scipy(error_m: np.ndarray, block: np.ndarray) -> dict[str, tuple[float, float]]:
    """Resample blocks by their indices, metric by metric."""
    num_blocks = int(block.max()) + 1
    points = [np.flatnonzero(block == i) for i in range(num_blocks)]
    bounds = {}
    for name, reduce in NAIVE.items():

        def statistic(drawn: np.ndarray, reduce: Callable[..., float] = reduce) -> float:
            sample = error_m[:, np.concatenate([points[i] for i in drawn])]
            return float(np.mean([reduce(error) for error in sample]))

        interval = stats.bootstrap(
            (np.arange(num_blocks),),
            statistic,
            vectorized=False,
            n_resamples=NUM_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(1),
        ).confidence_interval
        bounds[name] = (float(interval.low), float(interval.high))
    return bounds


def median_seconds(call: Callable[[], T]) -> tuple[float, T]:
    """Return the median time of a call after one warm-up, and its result."""
    result = call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), result


if __name__ == "__main__":
    main()
