"""Links for TensorFlow and Keras as `tf.data` (the extra `tensorflow`)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Unpack

import numpy as np

from raymark.errors import ConfigError
from raymark.extras import import_extra
from raymark.loaders.choice import LinkChoice, loader, open_links
from raymark.loaders.order import LinkOrder
from raymark.storage import PlaceLike

if TYPE_CHECKING:
    import tensorflow as tf


@loader
def tf_dataset(
    folder: PlaceLike,
    *,
    batch_size: int = 64,
    shuffle: bool = True,
    fresh_noise: bool = False,
    **choice: Unpack[LinkChoice],
) -> "tf.data.Dataset":
    """Return batches of links: dictionaries of tensors by field, those of `torch_loader`.

    Each iteration over it is one more epoch.

    Args:
        folder: Dataset folder.
        batch_size: Links in a batch.
        shuffle: Visit the links in a new order in each epoch; in stored order if not.
        fresh_noise: Draw the noise anew in each epoch; the same in each if not.
        **choice: Which links and fields, see `LinkChoice`.

    Raises:
        DatasetError: If the folder holds no finished dataset, or has no such scene, band or site.
        ConfigError: If TensorFlow is not installed, or a choice is not possible.
    """
    tf = import_extra("tensorflow", name="TensorFlow")
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    samples = open_links(folder, **choice)
    order = LinkOrder(len(samples), seed=samples.seed, shuffle=shuffle, fresh_noise=fresh_noise)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        links, draw = order.next_epoch()
        for start in range(0, len(links), batch_size):
            made = samples.take(links[start : start + batch_size], draw)
            yield {name: values.numpy() for name, values in made.items()}

    signature = {
        name: tf.TensorSpec((None, *shape), dtype)
        for name, (shape, dtype) in samples.shapes().items()
    }
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    num_batches = -(-len(samples) // batch_size)
    return data.apply(tf.data.experimental.assert_cardinality(num_batches)).prefetch(
        tf.data.AUTOTUNE
    )
