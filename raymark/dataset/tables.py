"""Tables of a dataset and of what is computed from it, and the one that finds its links."""

from pathlib import Path

import numpy as np
import pandas as pd

from raymark.dataset.manifest import ShardRecord
from raymark.dataset.schema import Arrays
from raymark.errors import SchemaError
from raymark.radio.levels import to_db
from raymark.storage import PlaceLike, as_place

_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, NotImplementedError)
"""What pyarrow raises of damaged files."""


def read_table(path: PlaceLike, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file of anybody's.

    Args:
        path: The file.
        columns: What to read; all columns if not given.

    Raises:
        SchemaError: If it is missing, damaged or lacks a column.
    """
    try:
        with as_place(path).local_copy() as copy:
            return pd.read_parquet(copy, columns=columns)
    except FileNotFoundError as error:
        raise SchemaError(f"{path}: the file is missing") from error
    except _DAMAGE as error:
        raise SchemaError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file of anybody's.

    Raises:
        SchemaError: If it is missing or damaged.
    """
    try:
        return pd.read_csv(path)
    except (*_DAMAGE, OverflowError) as error:
        raise SchemaError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def index_rows(arrays: Arrays, record: ShardRecord, bands: list[str]) -> pd.DataFrame:
    """Return the rows of the index that belong to a shard.

    Args:
        arrays: Of its `paths` file.
        record: What the manifest says of it.
        bands: Names of the dataset's bands.
    """
    position, offset = arrays["ue/position_m"], arrays["link/path_offset"]
    link = np.repeat(np.arange(record.num_ues), np.diff(offset))
    columns: dict[str, object] = {
        "scene": record.scene,
        "site": record.site,
        "ue_index": arrays["ue/ue_index"],
        "x_m": position[:, 0],
        "y_m": position[:, 1],
        "z_m": position[:, 2],
        "los": arrays["link/los"],
        "num_paths": np.diff(offset).astype("i4"),
        "track_id": arrays["ue/track_id"],
        "track_step": arrays["ue/track_step"],
        "shard": record.file("paths"),
        "row": np.arange(record.num_ues, dtype="i4"),
    }
    for i, band in enumerate(bands):
        power = np.abs(arrays["path/amplitude"][i].astype("c16")) ** 2
        # Of no paths at all, numpy would make integers.
        gain = np.bincount(link, power, record.num_ues).astype("f8")
        columns[f"gain_db_{band}"] = to_db(gain).astype("f4")
    return pd.DataFrame(columns)
