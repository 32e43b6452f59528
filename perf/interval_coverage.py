"""How often the intervals hold the truth, and tests reject it, by the number of blocks.

    python perf/interval_coverage.py [--num-trials 600]

Half of each error is shared by its block of 20 points, half is the point's own; both halves are
exponential, so that the truth is a gamma distribution's. Nominal are 0.95 and 0.05.
"""

import argparse

import numpy as np
from scipy import stats

from raymark.benchmark.statistics import (
    LEAST_BLOCKS,
    Interval,
    draw_blocks,
    paired_difference,
    resample_blocks,
)

POINTS_PER_BLOCK = 20
SUM_OF_TWO = stats.gamma(2)
TRUTH = {"mean_m": SUM_OF_TWO.mean(), "p80_m": SUM_OF_TWO.ppf(0.8), "p90_m": SUM_OF_TWO.ppf(0.9)}
COLUMNS = (*TRUTH, "mean_m_by_points", "false_positives")


def main() -> None:
    """Print one row for each number of blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-trials", type=int, default=600)
    num_trials = parser.parse_args().num_trials
    rng = np.random.default_rng(0)
    print("blocks" + "".join(f"{name:>18}" for name in COLUMNS))
    for num_blocks in (LEAST_BLOCKS, 10, 20, 40, 80, 160):
        trials = [trial(rng, num_blocks) for _ in range(num_trials)]
        shares = np.mean(trials, axis=0)
        print(f"{num_blocks:>6}" + "".join(f"{share:>18.3f}" for share in shares), flush=True)


def trial(rng: np.random.Generator, num_blocks: int) -> list[bool]:
    """Return which intervals hold the truth, and whether two equal models are told apart."""
    error_m, block = draw(rng, num_blocks)
    draws = draw_blocks(num_blocks, rng=rng)
    blocked = resample_blocks(error_m, block, list(TRUTH), draws)
    points = np.arange(block.size)
    by_points = resample_blocks(error_m, points, ["mean_m"], draw_blocks(block.size, rng=rng))
    other_m, _ = draw(rng, num_blocks)
    other = resample_blocks(other_m, block, ["mean_m"], draws)
    paired = paired_difference(blocked, other, "mean_m")
    intervals = {name: blocked.interval(name) for name in TRUTH}
    held = [
        holds(interval, TRUTH[name])
        for name, interval in (*intervals.items(), ("mean_m", by_points.interval("mean_m")))
    ]
    if paired.p_value is None:
        raise ValueError(f"fewer than {LEAST_BLOCKS} blocks have no p-value")
    return [*held, paired.p_value <= 0.05]


def holds(interval: Interval, truth: float) -> bool:
    """Tell whether an interval holds the truth.

    Raises:
        ValueError: If there are too few blocks for an interval.
    """
    if interval.low is None or interval.high is None:
        raise ValueError(f"fewer than {LEAST_BLOCKS} blocks have no interval")
    return interval.low <= truth <= interval.high


def draw(rng: np.random.Generator, num_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one seed of clustered errors, and the blocks."""
    block = np.repeat(np.arange(num_blocks), POINTS_PER_BLOCK)
    own = rng.exponential(size=(1, block.size))
    return own + rng.exponential(size=num_blocks)[block], block


if __name__ == "__main__":
    main()
