# %% [markdown]
# # A release: made, verified, published, and had by its name
#
# A dataset becomes a folder that others can trust: with card, citation, licences, Croissant and
# checksums. An index then tells where it lies, and anybody has it in one line. It takes
# `pip install ".[generate,release]"`.
#
# ## A dataset

# %%
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate_dataset
from raymark.progress import progress_bars

campaign = Campaign(
    name="canyon",
    scenes=["street_canyon"],
    bands=["6GHz", "28GHz"],
    sampling={"kind": "tracks", "num_ues": 100},
    tracer={"max_depth": 2, "diffraction": True, "weld_edges": True, "discovery": "quick"},
)
with progress_bars("UEs") as progress:
    generate_dataset(campaign, "canyon", progress=progress)

# %% [markdown]
# ## Build
#
# What only you know is a title and who made it. `materialized` adds fingerprints as plain arrays,
# for those who read HDF5 without raymark. A check that fails stops it, and nothing is left behind.

# %%
from pathlib import Path

from raymark.release import About, BuildSettings, build_release

about = About(title="A street canyon", authors=[{"name": "Doe, Jane"}])
settings = BuildSettings(
    version="1.0.0", about=about, date="2026-01-31", materialized=(("street_canyon", "28GHz"),)
)
release = build_release("canyon", Path("release"), settings)
for name in sorted(release.files):
    print(name)

# %% [markdown]
# ## Verify
#
# `names` looks for files, `hashes` reads them, `full` makes anew what can be made anew. It returns
# one sentence for each fault: there is none, until somebody changes a byte.

# %%
from raymark.release import verify_release

verify_release(Path("release"), "full")

# %%
index = Path("release", "index.parquet")
original = index.read_bytes()
index.write_bytes(original[:-1] + b"?")
for fault in verify_release(Path("release"), "hashes"):
    print(fault)
_ = index.write_bytes(original)

# %% [markdown]
# ## Publish
#
# Into a folder here; `s3://...` and `hf://datasets/...` are targets, too. The entry of the index is
# written last, when all files are there.

# %%
from raymark.catalog import publish_release

published = publish_release(Path("release"), "site/canyon-1.0.0", "site/index.json", name="canyon")
print(published.entry.label, "at", *published.entry.mirrors)

# %% [markdown]
# ## Have it by name
#
# Whoever knows the index needs no more than the name. What comes is hashed, kept in a cache, and
# never fetched twice. `RAYMARK_INDEX` and `RAYMARK_CACHE` are set once, in a shell or here.

# %%
import os

import raymark

os.environ["RAYMARK_INDEX"] = "site/index.json"
os.environ["RAYMARK_CACHE"] = "cache"
dataset = raymark.open_dataset("canyon@1.0.0")
dataset.summary().round(2)

# %%
from raymark.catalog import Catalog

for entry in Catalog.of_environment("site/index.json").entries():
    print(entry.label, "-", entry.title)

# %% [markdown]
# [Datasets by name](../datasets_by_name.md) tells of parts of a release, mirrors and work offline,
# [Publish a release](../release.md) of signatures, predictions and boards in a release.
