# %% [markdown]
# # A first dataset, and its figures
#
# A hundred users in Munich, two bands, and the paths between them and a base station: traced here,
# in about a minute on two cores. The ray tracer comes with `pip install ".[generate]"`.
#
# ## Trace it
#
# A campaign says what is made. `discovery="quick"` and 100 users are for a first look; the presets
# (`raymark presets list`) have the settings and sizes of datasets that are published.

# %%
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate_dataset
from raymark.progress import progress_bars

campaign = Campaign(
    name="first",
    scenes=["munich"],
    bands=["6GHz", "28GHz"],
    sampling={"kind": "tracks", "num_ues": 100, "steps_per_track": 5},
    tracer={"diffraction": True, "weld_edges": True, "discovery": "quick"},
)
with progress_bars("UEs") as progress:
    generate_dataset(campaign, "first", progress=progress)

# %% [markdown]
# The same call goes on where an interrupted one stopped, and a finished dataset is left as it is.
# The content hash at the end of the table is that of every array: it is the same on every x86-64
# processor.

# %%
import raymark

dataset = raymark.open_dataset("first")
dataset

# %%
dataset.summary().round(2)

# %% [markdown]
# ## Look at it
#
# Links are chosen by scene and band. They draw what `raymark inspect` draws; every `plot_...` takes
# the axes to draw on as `ax`, and makes a figure of its own without.

# %%
links = dataset.select(scene="munich", band="28GHz")
links.plot_los_map()

# %%
links.plot_coverage_map()

# %%
links.plot_gain_vs_distance()

# %% [markdown]
# One link alone: the power over angle and path length that noisy channel state information (CSI)
# shows, with the paths that were traced.

# %%
strongest = int(links.table()["gain_db"].astype(float).idxmax())
links.plot_angle_delay_profile(strongest)

# %% [markdown]
# ## Take its arrays
#
# Paths are what is stored. Fingerprints are made of them when they are asked for, with fresh noise
# from the generator that is given.

# %%
import torch

noise = torch.Generator().manual_seed(0)
batch = links.fingerprints(0, 100, generator=noise)
{name: tuple(getattr(batch, name).shape) for name in ("csi", "aoa_profile", "distance_m")}

# %%
links.table()[["x_m", "y_m", "los", "num_paths", "gain_db"]].head().round(1)

# %%
links.path_table(0, 100)

# %% [markdown]
# ## Check it
#
# Files, arrays and physics are made anew and compared, as `raymark verify first` does it. An empty
# list says that nothing is wrong.

# %%
from raymark.dataset.verification import verify_dataset

verify_dataset("first")

# %% [markdown]
# ## And in 3D
#
# The page works in any browser, without a network: turn the city, click a user, see the paths.

# %%
from pathlib import Path

from raymark.generator.viewer import ViewChoice, view_scene
from raymark.scenes import get_scene

page = Path("first.html")
_ = view_scene(get_scene("munich"), page, ViewChoice(band="28GHz"), dataset=dataset)
print("wrote", page)

# %% [markdown]
# Next: [a block of your own](own_block.md), [loaders for your framework](loaders.md),
# [a model of your own on the board](own_model.md).
