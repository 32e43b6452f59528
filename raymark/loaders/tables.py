"""The index of a dataset, one row per link, for pandas and pyarrow."""

from pathlib import Path

import pandas as pd
import pyarrow.dataset

from raymark.dataset import open_dataset
from raymark.errors import SchemaError
from raymark.manifest import INDEX_NAME
from raymark.shard import file_sha256


def load_index(folder: str | Path) -> pd.DataFrame:
    """Return the index of a dataset folder: scene, site, position, label and gains of each link.

    Raises:
        DatasetError: If the folder holds no finished dataset, or its index differs.
    """
    return open_dataset(folder).index


def open_index(folder: str | Path) -> pyarrow.dataset.Dataset:
    """Open the index of a dataset folder for filters and columns that are read from disk alone.

    Example:
        `open_index("small").to_table(filter=pyarrow.dataset.field("los") == 1)`

    Raises:
        DatasetError: If the folder holds no finished dataset, or its index differs.
    """
    dataset = open_dataset(folder)
    path = dataset.folder / INDEX_NAME
    if not path.is_file() or file_sha256(path) != dataset.manifest.index_sha256:
        raise SchemaError(f"{path}: the file is missing or differs from the manifest")
    return pyarrow.dataset.dataset(path, format="parquet")
