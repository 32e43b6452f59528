# %% [markdown]
# # Links in PyTorch, TensorFlow and Hugging Face
#
# One line each, with the same names, shapes and numbers: whatever loads them, a link has the same
# sample for the same seed. [Loaders](../loaders.md) has all options, and what is fast.
#
# This page needs the extras of what it shows: `pip install ".[generate,tensorflow,huggingface]"`.
#
# ## A dataset
#
# Any folder, name or release will do; here is one that takes seconds to trace.

# %%
from raymark.dataset.campaign import Campaign
from raymark.generator.generate import generate_dataset
from raymark.progress import progress_bars

campaign = Campaign(
    name="canyon",
    scenes=["street_canyon"],
    bands=["6GHz", "28GHz"],
    sampling={"kind": "tracks", "num_ues": 200},
    tracer={"max_depth": 2, "diffraction": True, "weld_edges": True, "discovery": "quick"},
)
with progress_bars("UEs") as progress:
    generate_dataset(campaign, "canyon", progress=progress)
links = {"scene": "street_canyon", "band": "28GHz"}

# %% [markdown]
# ## numpy and pandas

# %%
from raymark.loaders import load_index, load_numpy

arrays = load_numpy("canyon", **links)
for name, values in arrays.items():
    print(f"{name:11} {values.dtype!s:10} {values.shape}")

# %%
load_index("canyon")[["scene", "site", "ue_index", "los"]].head()

# %% [markdown]
# ## PyTorch
#
# A `DataLoader` of dictionaries. `num_workers=2` reads in two processes; the samples stay the same.

# %%
import torch

from raymark.loaders import torch_dataset, torch_loader

loader = torch_loader("canyon", batch_size=64, fields=("aoa_profile", "position_m"), **links)
for batch in loader:
    print({name: tuple(values.shape) for name, values in batch.items()})

# %%
torch_dataset("canyon", **links)

# %% [markdown]
# Enough to train with: two layers that guess the position of the user from the angle profile.

# %%
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
mean_m, losses = torch.from_numpy(arrays["position_m"]).mean(dim=0), []
for _ in range(20):
    for batch in loader:
        guess_m = 30 * network(batch["aoa_profile"] / 50 + 2) + mean_m
        loss = (guess_m - batch["position_m"]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
print("the loss fell:", losses[-1] < losses[0] / 2)

# %% [markdown]
# ## TensorFlow
#
# A `tf.data.Dataset` of the same samples; `inputs.map(...)` makes pairs for `model.fit`.

# %%
import numpy as np

from raymark.loaders import tf_dataset

inputs = tf_dataset("canyon", batch_size=64, shuffle=False, **links)
first = next(iter(inputs))
print(first["csi"].dtype.name, tuple(first["csi"].shape))
print("as numpy has them:", np.allclose(first["csi"], arrays["csi"][:64], rtol=1e-4, atol=1e-12))

# %% [markdown]
# ## Hugging Face
#
# A `datasets.Dataset`, whose columns are plain numbers: complex ones come as real and imaginary
# part.

# %%
from raymark.loaders import huggingface_dataset

table = huggingface_dataset("canyon", fields=("csi", "position_m", "los"), **links)
print(table)

# %%
np.round(table.with_format("numpy")[0]["position_m"], 1)
