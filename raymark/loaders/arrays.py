"""Links as plain arrays in memory."""

import math
from collections.abc import Iterator
from typing import Unpack

import numpy as np

from raymark.errors import ConfigError
from raymark.loaders.choice import LinkChoice, loader, open_links
from raymark.loaders.samples import LinkSamples
from raymark.storage import PlaceLike

DEFAULT_LIMIT_BYTES = 2_000_000_000
"""Memory that is not exceeded unless it is asked for."""

_BATCH_SIZE = 256


@loader
def load_numpy(
    folder: PlaceLike, *, limit_bytes: int = DEFAULT_LIMIT_BYTES, **choice: Unpack[LinkChoice]
) -> dict[str, np.ndarray]:
    """Return the links of a dataset folder as arrays by field, in stored order.

    Args:
        folder: Dataset folder.
        limit_bytes: Most memory that the arrays may take [B].
        **choice: Which links and fields, see `LinkChoice`.

    Raises:
        DatasetError: If the folder holds no finished dataset, or has no such scene, band or site.
        ConfigError: If a choice is not possible, or the arrays would exceed the limit.
    """
    samples = open_links(folder, **choice)
    require_fit(samples, limit_bytes)
    arrays = {
        name: np.empty((len(samples), *shape), dtype=dtype)
        for name, (shape, dtype) in samples.shapes().items()
    }
    for links, batch in batches_in_order(samples):
        for name, values in batch.items():
            arrays[name][links] = values
    return arrays


def batches_in_order(samples: LinkSamples) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yield (links, arrays by field) of all links, a few hundred at a time."""
    for start in range(0, len(samples), _BATCH_SIZE):
        stop = min(start + _BATCH_SIZE, len(samples))
        made = samples.take(np.arange(start, stop))
        yield slice(start, stop), {name: values.numpy() for name, values in made.items()}


def require_fit(samples: LinkSamples, limit_bytes: int) -> None:
    """Refuse arrays that would take too much memory.

    Raises:
        ConfigError: If all samples together exceed the limit; the sizes are told.
    """
    sizes = {
        name: len(samples) * math.prod(shape) * dtype.itemsize
        for name, (shape, dtype) in samples.shapes().items()
    }
    if sum(sizes.values()) > limit_bytes:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ConfigError(
            f"{len(samples)} links take {sum(sizes.values()) / 1e9:.3g} GB, of which "
            f"'{largest}' {sizes[largest] / 1e9:.3g} GB, more than limit_bytes = {limit_bytes:.3g};"
            " raise it, choose fewer fields or one site, or stream with torch_loader"
        )
