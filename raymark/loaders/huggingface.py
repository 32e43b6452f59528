"""Links for Hugging Face `datasets` (the extra `huggingface`)."""

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from raymark.extras import import_extra
from raymark.loaders.arrays import DEFAULT_LIMIT_BYTES, batches_in_order, require_fit
from raymark.loaders.choice import LinkChoice, loader, open_links
from raymark.loaders.samples import LinkSamples
from raymark.storage import PlaceLike

if TYPE_CHECKING:
    import datasets


@loader
def huggingface_dataset(
    folder: PlaceLike, *, limit_bytes: int = DEFAULT_LIMIT_BYTES, **choice: Unpack[LinkChoice]
) -> "datasets.Dataset":
    """Return the links of a dataset folder as an Arrow table in memory, in stored order.

    Columns are the fields, but for `csi`: Arrow has no complex numbers, and its parts are
    `csi_real` and `csi_imag`. Rows come as numpy arrays.

    Args:
        folder: Dataset folder.
        limit_bytes: Most memory that the table may take [B]; beyond, `datasets.load_dataset` maps
            a materialised file.
        **choice: Which links and fields, see `LinkChoice`.

    Raises:
        DatasetError: If the folder holds no finished dataset, or has no such scene, band or site.
        ConfigError: If `datasets` is not installed, a choice is not possible, or the limit is
            exceeded.
    """
    hugging = import_extra("datasets", name="Hugging Face datasets")
    samples = open_links(folder, **choice)
    require_fit(samples, limit_bytes)
    features = _features(samples, hugging)
    parts = [
        hugging.Dataset.from_dict(_columns(batch), features=features)
        for _, batch in batches_in_order(samples)
    ]
    return hugging.concatenate_datasets(parts).with_format("numpy")


def _columns(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        if values.dtype.kind == "c":
            columns |= {f"{name}_real": values.real.copy(), f"{name}_imag": values.imag.copy()}
        else:
            columns[name] = values
    return columns


def _features(samples: LinkSamples, hugging: Any) -> Any:
    """Return the type of each column, as the reader of HDF5 would infer it."""
    one = {name: np.zeros(shape, dtype) for name, (shape, dtype) in samples.shapes().items()}
    return hugging.Features(
        {name: _feature(values, hugging) for name, values in _columns(one).items()}
    )


def _feature(values: np.ndarray, hugging: Any) -> Any:
    name = str(values.dtype)
    if values.ndim == 2:
        return hugging.Array2D(values.shape, name)
    value = hugging.Value(name)
    return hugging.List(value, length=len(values)) if values.ndim else value
