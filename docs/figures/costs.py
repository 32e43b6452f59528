"""Renew `benchmark/costs.csv`, of which `raymark bench run --dry-run` tells hours beforehand.

    python docs/figures/costs.py DATASET RUNS

Takes the median time of a fit of every model in a run (one core each), and measures how long the
estimation of 1,000 links takes here. Rows of other suites, and of models that the run lacks, stay.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raymark.benchmark.measurements import SiteContext
from raymark.benchmark.measuring import measurements_of_csi
from raymark.benchmark.run_plan import COSTS, MEASURING
from raymark.benchmark.store import RunFolder
from raymark.dataset import Dataset, open_dataset
from raymark.storage import write_text

NUM_LINKS = 1000


def main() -> None:
    """Read the command line, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runs", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = RunFolder(arguments.runs)
    suite = run.info().suite
    found = {MEASURING: float(f"{survey_s(open_dataset(arguments.dataset)):.3g}")}
    for name in run.models():
        if times := run.fit_times(name):
            found[name] = float(f"{np.median(times):.3g}")
    fresh = pd.DataFrame({"suite": suite.name, "model": list(found), "fit_s": list(found.values())})
    known = pd.read_csv(COSTS) if COSTS.is_file() else fresh.iloc[:0]
    table = pd.concat([known, fresh]).drop_duplicates(["suite", "model"], keep="last")
    text = table.sort_values(["suite", "model"]).to_csv(index=False)
    write_text(COSTS, text)
    print(text)


def survey_s(dataset: Dataset) -> float:
    """Return the seconds in which one core estimates 1,000 links."""
    first = dataset.manifest.sites[0]
    selection = dataset.select(scene=first.scene, band=dataset.bands[-1], site=first.site)
    stop = min(NUM_LINKS, len(selection))
    prints = selection.fingerprints(0, stop, generator=torch.Generator().manual_seed(0))
    site = selection.sites[0]
    start = time.process_time()
    measurements_of_csi(
        prints.csi,
        site=SiteContext(name=site.key, panel=selection.front_end.panel, height_m=10.0),
        band=selection.band,
        front_end=selection.front_end,
        orientation_rad=np.array(site.orientation_rad),
    )
    return (time.process_time() - start) * NUM_LINKS / stop


if __name__ == "__main__":
    main()
