# %% [markdown]
# # Gallery
#
# What raymark draws, each figure below the lines that make it, of one small dataset: 300 users in
# a street canyon, traced here in seconds. Every `plot_...` takes the axes to draw on as `ax`;
# colours are told apart by those who see fewer of them, and labels have shapes of their own.
#
# `raymark inspect`, `raymark bench audit`, `raymark bench board`, `raymark scenes preview`,
# `raymark scenes add-site` and `raymark train` write the same figures as files, their data beside
# them.

# %%
import raymark
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate_dataset

campaign = Campaign(
    name="canyon",
    scenes=["street_canyon"],
    bands=["6GHz", "28GHz"],
    sampling={"kind": "tracks", "num_ues": 300, "steps_per_track": 5},
    tracer={"max_depth": 3, "diffraction": True, "weld_edges": True, "discovery": "quick"},
)
generate_dataset(campaign, "canyon")
dataset = raymark.open_dataset("canyon")
links = dataset.select(scene="street_canyon", band="28GHz")

# %% [markdown]
# ## Links on a map
#
# Line of sight, none, or no path at all:

# %%
links.plot_los_map()

# %% [markdown]
# Gain, over the buildings of the scene:

# %%
links.plot_coverage_map()

# %% [markdown]
# Two bands side by side, on axes of one figure:

# %%
from raymark.plots import new_figure, share_ranges

figure, axes = new_figure(1, 2, panel_inches=(4.8, 4.4))
for band, ax in zip(dataset.bands, axes, strict=True):
    dataset.select(scene="street_canyon", band=band).plot_coverage_map(ax=ax)
    ax.set_title(band)
share_ranges(axes)
figure

# %% [markdown]
# ## Distributions

# %%
links.plot_gain_vs_distance()

# %%
figure, axes = new_figure(1, 2, panel_inches=(5.2, 4.2))
links.plot_delay_spread_cdf(ax=axes[0])
links.plot_azimuth_spread_cdf(ax=axes[1])
figure

# %% [markdown]
# ## One link
#
# Its noisy channel over antennas and tones, and its power over angle and path length with the paths
# that were traced:

# %%
strongest = int(links.table()["gain_db"].astype(float).idxmax())
links.plot_csi_magnitude(strongest)

# %%
links.plot_angle_delay_profile(strongest)

# %% [markdown]
# ## Scenes
#
# Buildings by height, with the site and its sector:

# %%
from raymark.plots import plot_scene_plan
from raymark.plots.selections import heights_of, site_marks

plot_scene_plan(heights_of(links), site_marks(links))

# %% [markdown]
# Places where a site could stand, ranked by what it covers, with the points of the best:

# %%
from raymark.generator.site_candidates import SitingSettings
from raymark.generator.site_writing import plot_proposals
from raymark.generator.siting import propose_sites
from raymark.scenes import get_scene

scene = get_scene("street_canyon")
plot_proposals(scene, propose_sites(scene, SitingSettings(range_m=100)))

# %% [markdown]
# A page in 3D, which needs a browser and no network: turn the scene, choose a user, see the paths.

# %%
from pathlib import Path

from raymark.generator.viewer import ViewChoice, view_scene

_ = view_scene(scene, Path("scene.html"), ViewChoice(band="28GHz"), dataset=dataset)

# %% [markdown]
# ![A street canyon in 3D with the paths of one user](../figures/scene_page.png)
#
# ## Splits
#
# Which links train, validate and test, and what lies in the buffer between them:

# %%
from raymark.benchmark.split_settings import NlosBlocks
from raymark.benchmark.splits import PART_NAMES, links_of, make_split
from raymark.plots import plot_split_map

blocks = NlosBlocks(kind="nlos-blocks", buffer_m=5.0, num_folds=3)
split = make_split(dataset, "street_canyon", blocks, window_size=5)
part = split.table["part"].map(PART_NAMES)
plot_split_map(links_of(dataset, "street_canyon").assign(part=part), height_map=heights_of(links))

# %% [markdown]
# How fast two links become unlike with their distance, which says how wide a buffer must be:

# %%
from raymark.benchmark.audit import plot_variograms, variogram

plot_variograms({"street_canyon": variogram(dataset, "street_canyon", "28GHz")})

# %% [markdown]
# ## Scores

# %%
from raymark.benchmark import Suite
from raymark.benchmark.publication import publish_board
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.suite_run import run_suite
from raymark.models import choose_models

suite = Suite(
    name="gallery",
    version=1,
    preset="none",
    content_hash=dataset.manifest.content_hash,
    scenes=["street_canyon"],
    bands=["28GHz"],
    seeds=[0],
    tracks=[{"track": "interpolation", "split": {"kind": "random-tracks"}}],
)
models = tuple(choose_models(["wknn", "train_centroid"]))
run_suite(suite, dataset, Path("runs"), RunChoice(models=models))
board = publish_board(Path("runs"), Path("board"), dataset=dataset)

# %% [markdown]
# The board is a page: standings with intervals, curves, error maps and the card of each model.
#
# ![The page of a board](../figures/board_page.png)
#
# The errors of one model on a map:

# %%
import pandas as pd

from raymark.plots import plot_error_map

errors = board.board.maps[0]
points = {"x_m": errors.x_m, "y_m": errors.y_m, "error_m": errors.error_m["wknn"]}
plot_error_map(pd.DataFrame(points), site_marks(links), height_map=heights_of(links), most_m=50.0)

# %% [markdown]
# ## Training
#
# Curves of a network over its epochs, here of two layers that guess a position from an angle
# profile:

# %%
import torch

from raymark.loaders import load_numpy
from raymark.plots import plot_learning_curves

arrays = load_numpy("canyon", scene="street_canyon", band="28GHz")
profile = torch.from_numpy(arrays["aoa_profile"]) / 50 + 2
position_m = torch.from_numpy(arrays["position_m"])
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
curves = {"training": [], "validation": []}
for _ in range(40):
    error_m = (30 * network(profile) + position_m.mean(dim=0) - position_m).norm(dim=1)
    curves["training"].append(error_m[60:].mean().item())
    curves["validation"].append(error_m[:60].mean().item())
    optimizer.zero_grad()
    error_m[60:].mean().backward()
    optimizer.step()
plot_learning_curves(curves, "Error [m]")
