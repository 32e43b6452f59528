"""Links of a dataset for numpy, PyTorch, TensorFlow, pandas and Hugging Face, one line each.

Every loader makes fingerprints from the paths of a dataset folder when they are asked for, with the
same names, shapes and numbers; see docs/loaders.md. TensorFlow and `datasets` are imported by their
own loaders only.
"""

from raymark.loaders.arrays import load_numpy
from raymark.loaders.choice import LinkChoice, open_links
from raymark.loaders.huggingface import huggingface_dataset
from raymark.loaders.order import LinkOrder
from raymark.loaders.samples import FIELDS, LinkSamples
from raymark.loaders.tables import load_index, open_index
from raymark.loaders.tensorflow_data import tf_dataset
from raymark.loaders.torch_data import TorchLinks, as_arrays, torch_dataset, torch_loader

__all__ = [
    "FIELDS",
    "LinkChoice",
    "LinkOrder",
    "LinkSamples",
    "TorchLinks",
    "as_arrays",
    "huggingface_dataset",
    "load_index",
    "load_numpy",
    "open_index",
    "open_links",
    "tf_dataset",
    "torch_dataset",
    "torch_loader",
]
