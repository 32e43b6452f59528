"""The index of a dataset, one row per link, for pandas and pyarrow."""

import pandas as pd
import pyarrow.dataset
import pyarrow.parquet

from raymark.dataset import open_dataset
from raymark.dataset.manifest import INDEX_NAME
from raymark.dataset.shard import checked_copy
from raymark.storage import PlaceLike


def load_index(folder: PlaceLike) -> pd.DataFrame:
    """Return the index of a dataset folder: scene, site, position, label and gains of each link.

    Raises:
        DatasetError: If the folder holds no finished dataset, or its index differs.
    """
    return open_dataset(folder).index


def open_index(folder: PlaceLike) -> pyarrow.dataset.Dataset:
    """Open the index of a dataset folder for filters and columns that are read from disk alone.

    That of a dataset in object storage is read into memory.

    Example:
        `open_index("small").to_table(filter=pyarrow.dataset.field("los") == 1)`

    Raises:
        DatasetError: If the folder holds no finished dataset, or its index differs.
    """
    dataset = open_dataset(folder)
    path = dataset.folder / INDEX_NAME
    with checked_copy(path, dataset.manifest.index_sha256) as copy:
        if path.local_path is None:  # the copy may be gone tomorrow
            return pyarrow.dataset.dataset(pyarrow.parquet.read_table(copy))
        return pyarrow.dataset.dataset(copy, format="parquet")
