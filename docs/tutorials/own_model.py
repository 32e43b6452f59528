# %% [markdown]
# # A model of your own onto the board
#
# A model is a folder of three files. A suite says what is asked of it, a run asks, and the board is
# computed from the predictions that the run has stored.
#
# ## Data to learn from
#
# A street canyon that raymark builds from a few numbers: 400 users on tracks, traced in seconds.

# %%
import raymark
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate_dataset
from raymark.progress import progress_bars

campaign = Campaign(
    name="canyon",
    scenes=["street_canyon"],
    bands=["6GHz"],
    sampling={"kind": "tracks", "num_ues": 400, "steps_per_track": 5},
    tracer={"max_depth": 3, "diffraction": True, "weld_edges": True, "discovery": "quick"},
)
with progress_bars("UEs") as progress:
    generate_dataset(campaign, "canyon", progress=progress)
dataset = raymark.open_dataset("canyon")

# %% [markdown]
# ## What is asked
#
# A suite names a dataset by its content hash, and tracks by how links are parted. `random-tracks`
# tests on tracks between those of training, which is easy; `nlos-blocks` on whole blocks without
# line of sight that no training link comes near, which is what models are ranked by.

# %%
from raymark.benchmark import Suite

suite = Suite(
    name="canyon",
    version=1,
    preset="none",
    content_hash=dataset.manifest.content_hash,
    scenes=["street_canyon"],
    bands=["6GHz"],
    seeds=[0],
    tracks=[
        {"track": "interpolation", "split": {"kind": "random-tracks"}},
        {
            "track": "unseen-nlos",
            "split": {"kind": "nlos-blocks", "buffer_m": 5.0, "num_folds": 3},
            "folds": [0, 1, 2],
        },
    ],
)
suite

# %%
suite.tasks()[1]

# %% [markdown]
# ## A model
#
# `new_model` writes a folder that works, as `raymark bench new-model my_model` does. Its card says
# where the model comes from and where it fails; `model.yaml` what it takes; `model.py` is the code.
# Here that is replaced: the nearest training links by angle profile and range, averaged.

# %%
from pathlib import Path

from raymark.benchmark.scaffold import new_model

folder = new_model("my_model", Path())
_ = Path(folder, "model.yaml").write_text("""\
title: Nearest by angle and range
summary: Mean of the nearest training positions by angle profile and first-path distance.
is_trajectory: false
inputs: [aoa_profile, scalars]
tuning: k, 3 tries on validation data
config:
  num_neighbours: [1, 3, 5]
""")
_ = Path(folder, "model.py").write_text('''\
"""The nearest training links by angle profile and range."""

import numpy as np
from sklearn.neighbors import KNeighborsRegressor

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune


def features(links: Measurements) -> np.ndarray:
    """Return the angle profile, and the distance on a scale like its own."""
    return np.column_stack([links.aoa_profile_db, 5 * links.distance_m])


class Model(Localizer):
    """Mean position of the k nearest training links."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose k on validation data."""

        def located(k: int) -> np.ndarray:
            self._nearest = KNeighborsRegressor(k).fit(
                features(train.measurements), train.position_m
            )
            return self._nearest.predict(features(validation.measurements))

        best, errors_m = tune(self.config["num_neighbours"], located, validation)
        self.choices = {"num_neighbours": best, "validation_error_m": errors_m}
        located(best)

    def predict(self, test: Measurements) -> Prediction:
        """Locate the links of a test."""
        return Prediction(position_m=self._nearest.predict(features(test)))
''')

# %% [markdown]
# ## Run it
#
# Each model runs in a process of its own, which is handed measurements and never a test position.
# `wknn` and `train_centroid` ship with raymark; `raymark bench models` lists all. The same call
# goes on where an interrupted one stopped, and runs a model again when its code has changed.

# %%
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.suite_run import run_suite
from raymark.models import choose_models

choice = RunChoice(models=tuple(choose_models(["my_model", "wknn", "train_centroid"])))
with progress_bars() as progress:
    done = run_suite(suite, dataset, Path("runs"), choice, progress=progress)
print(done.num_run, "cells run,", len(done.failures), "failed")

# %% [markdown]
# ## The board
#
# `board/index.html` is a page with curves and error maps. A notebook shows the standings.

# %%
from raymark.benchmark.publication import publish_board

with progress_bars() as progress:
    board = publish_board(Path("runs"), Path("board"), dataset=dataset, progress=progress)
board

# %% [markdown]
# Four hundred links are enough to see that all works, and too few to rank models by: look at the
# intervals. Of blocks that no training link comes near they teach little, which is what the track
# is there to show. Another processor rounds the measurements otherwise, and moves these scores.
#
# Where the errors are, on the easier track:

# %%
import pandas as pd

from raymark.plots import plot_error_map

errors = next(shown for shown in board.board.maps if shown.track == "interpolation")
points = {"x_m": errors.x_m, "y_m": errors.y_m, "error_m": errors.error_m["my_model"]}
plot_error_map(pd.DataFrame(points), [], most_m=50.0)

# %% [markdown]
# Next: run it on a suite that is published, `raymark bench run --suite small --data small --models
# my_model --out runs`, and read [what the protocol asks](../benchmark.md).
