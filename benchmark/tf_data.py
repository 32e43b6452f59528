"""Exported tasks as `tf.data`, for Keras and TensorFlow (the extra `tensorflow`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from raymark.dataset.hdf5 import open_hdf5
from raymark.errors import ConfigError
from raymark.extras import import_extra

if TYPE_CHECKING:
    import tensorflow as tf

Part = Literal["train", "validation", "test"]
_ROWS = 64


def load_part(
    path: Path, part: Part, inputs: Sequence[str], *, batch_size: int = 64, seed: int | None = None
) -> "tf.data.Dataset":
    """Return one part of an exported task in batches, read from disk as they are needed.

    Elements are (inputs, position_m) for `train` and `validation`, and inputs alone for `test`;
    inputs is a dictionary by name.

    Args:
        path: File of `raymark bench export`.
        part: `train`, `validation` or `test`.
        inputs: Names of the arrays to read, such as `features` or `csi`.
        batch_size: Links in a batch.
        seed: Shuffle links anew in each epoch; in stored order if not given.

    Raises:
        ConfigError: If TensorFlow is not installed, or the file has no such array.
    """
    tf = import_extra("tensorflow", name="TensorFlow")
    names = [*inputs] + ([] if part == "test" else ["position_m"])
    if not inputs or not path.is_file():
        reason = "is no file" if inputs else "was asked for no inputs"
        raise ConfigError(f"{path} {reason}; `raymark bench export` makes one")
    with open_hdf5(path) as file:
        if part not in file:
            raise ConfigError(f"{path} has no part '{part}' (it has: train, validation, test)")
        missing = [name for name in names if name not in file[part]]
        if missing:
            raise ConfigError(f"{path}: part '{part}' has no arrays {missing}")
        signature = {
            name: tf.TensorSpec((None, *file[part][name].shape[1:]), file[part][name].dtype)
            for name in names
        }
        num_links = len(file[part][names[0]])

    def read() -> Iterator[dict[str, np.ndarray]]:
        with open_hdf5(path) as file:
            for start in range(0, num_links, _ROWS):
                yield {name: file[part][name][start : start + _ROWS] for name in names}

    dataset = tf.data.Dataset.from_generator(read, output_signature=signature).unbatch()
    if seed is not None:
        dataset = dataset.shuffle(num_links, seed=seed)
    dataset = dataset.batch(batch_size)
    if part != "test":
        dataset = dataset.map(lambda row: ({name: row[name] for name in inputs}, row["position_m"]))
    return dataset.prefetch(tf.data.AUTOTUNE)
