# %% [markdown]
# # The map lane: locating with a city map
#
# Some localizers know the city: a map of it, traced beforehand, tells which paths to expect where.
# No map is right, so raymark makes maps wrong as real ones are, and asks what is lost by it.
# [Localizers that know the city](../map_aware.md) has the protocol; this page goes through it in a
# street canyon of a few houses, in less than two minutes on two cores.
#
# ## Data

# %%
import raymark
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate_dataset
from raymark.progress import progress_bars

campaign = Campaign(
    name="canyon",
    scenes=["street_canyon"],
    bands=["6GHz"],
    sampling={"kind": "tracks", "num_ues": 200, "steps_per_track": 5, "max_range_m": 80},
    tracer={"max_depth": 2, "diffraction": True, "weld_edges": True, "discovery": "quick"},
)
with progress_bars("UEs") as progress:
    generate_dataset(campaign, "canyon", progress=progress)
dataset = raymark.open_dataset("canyon")

# %% [markdown]
# ## Two maps
#
# `exact` is the scene itself, a bound that no real map reaches; `surveyed` is as wrong as a city's
# own survey: half a metre in position, a metre in height. Each is traced on a grid of outdoor
# points, 4 m apart here and 2 m in the suites. A map is a dataset as any other, so it is looked at
# as one.

# %%
from pathlib import Path

from raymark.generator.city_maps import make_map
from raymark.scenes.degrading import get_grade

for name in ("exact", "surveyed"):
    with progress_bars("points") as progress:
        make_map(
            dataset, Path("maps"), grade=get_grade(name), seed=0, spacing_m=4, progress=progress
        )
surveyed = raymark.open_dataset("maps/surveyed-0")
surveyed

# %%
surveyed.select(scene=surveyed.scenes[0], band="6GHz").plot_coverage_map()

# %% [markdown]
# ## What is asked
#
# The tracks `map-...` hand a model the map of their grade beside the measurements, and test where
# no training link comes near. Models without a map run on them, too, and show what a map is worth.

# %%
from raymark.benchmark import Suite

suite = Suite(
    name="canyon-map",
    version=1,
    preset="none",
    content_hash=dataset.manifest.content_hash,
    scenes=["street_canyon"],
    bands=["6GHz"],
    seeds=[0],
    tracks=[
        {
            "track": track,
            "split": {"kind": "nlos-blocks", "buffer_m": 4.0, "num_folds": 3},
            "folds": [0],
        }
        for track in ("map-surveyed", "map-exact")
    ],
)
suite

# %% [markdown]
# ## Trace and match
#
# `twin_match` asks at every point of the map how well its paths explain the measured ones, and
# learns from labelled links what the map is wrong by.

# %%
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.suite_run import run_suite
from raymark.models import choose_models

models = tuple(choose_models(["twin_match", "wknn"], with_maps=True))
with progress_bars() as progress:
    done = run_suite(
        suite, dataset, Path("runs"), RunChoice(models=models, maps=Path("maps")), progress=progress
    )
print(done.num_run, "cells run,", len(done.failures), "failed")

# %%
from raymark.benchmark.publication import publish_board

with progress_bars() as progress:
    board = publish_board(Path("runs"), Path("board"), dataset=dataset, progress=progress)
board

# %% [markdown]
# A dozen links are tested here, in a canyon that is simpler than any city: the page shows how it is
# done. What maps are worth in three cities, and what their errors cost, was
# [measured](../map_aware.md) with thousands.
