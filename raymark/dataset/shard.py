"""HDF5 files of the dataset: written whole or not at all, read back checked."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from raymark.dataset.hdf5 import array_names, new_hdf5, open_hdf5, read_array, read_attributes
from raymark.dataset.schema import SCHEMA_VERSION, FieldSpec, FileKind, check_arrays, fields_of
from raymark.errors import SchemaError
from raymark.storage import PlaceLike, as_place, file_sha256

_CHUNK_BYTES = 1 << 20

_REMEDY = (
    "`raymark verify DIR` lists all such files of the dataset, `raymark generate --repair DIR` "
    "makes them again"
)


def write_shard(
    path: PlaceLike,
    kind: FileKind,
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
) -> str:
    """Write one file so that it is either absent or complete.

    The arrays go to a temporary file, which is flushed, reopened, compared with what was to be
    written, synchronised and renamed, or uploaded.

    Returns:
        SHA-256 (hex) of the file.

    Raises:
        SchemaError: If the arrays break the schema, or do not come back from disk as written.
        DatasetError: If the disk is full or the folder cannot be written.
    """
    check_arrays(kind, arrays, where=str(path))
    with as_place(path).writing() as partial:
        with new_hdf5(partial) as (file, _):
            file.attrs.update({"schema_version": SCHEMA_VERSION, "kind": kind, **attributes})
            for field in fields_of(kind):
                _write_array(file, field, arrays[field.name])
        _require_equal(partial, kind, arrays)
        return file_sha256(partial)


def read_shard(path: PlaceLike, kind: FileKind) -> dict[str, np.ndarray]:
    """Read the arrays of one file.

    Raises:
        SchemaError: If the file is missing, truncated, of another kind or lacks an array.
    """
    with open_shard(path, kind) as file:
        return read_arrays(file, kind, path)


def read_arrays(file: h5py.File, kind: FileKind, path: PlaceLike) -> dict[str, np.ndarray]:
    """Read all arrays of an open file.

    Args:
        file: The file.
        kind: Which arrays it must have, and no others.
        path: The file's, for the message.

    Raises:
        SchemaError: If it lacks an array, has another one, or is damaged.
    """
    known, found = {field.name for field in fields_of(kind)}, array_names(file)
    if found != known:
        missing, unknown = sorted(known - found), sorted(found - known)
        raise SchemaError(f"{path}: missing arrays {missing}, unknown arrays {unknown}")
    return {name: read_array(file, name, path) for name in sorted(known)}


@contextlib.contextmanager
def open_shard(path: PlaceLike, kind: FileKind) -> Iterator[h5py.File]:
    """Open one file for reading and check what it says of itself.

    Raises:
        SchemaError: If the file is missing, damaged, or of another kind or schema version.
    """
    with open_hdf5(path) as file:
        attributes = read_attributes(file, path)
        found = tuple(str(attributes.get(name)) for name in ("kind", "schema_version"))
        if found != (kind, str(SCHEMA_VERSION)):
            raise SchemaError(
                f"{path}: expected a '{kind}' file of schema {SCHEMA_VERSION}, got {found}"
            )
        yield file


@contextlib.contextmanager
def checked_copy(path: PlaceLike, sha256: str | None) -> Iterator[Path]:
    """Yield a local file with the content of `path`, which is the file itself if it is local.

    Raises:
        SchemaError: If the file is missing, or its hash is not the given one.
    """
    with contextlib.ExitStack() as held:
        try:
            copy = held.enter_context(as_place(path).local_copy())
            found = file_sha256(copy)
        except FileNotFoundError as error:
            raise SchemaError(f"{path}: the file is missing; {_REMEDY}") from error
        if found != sha256:
            raise SchemaError(f"{path}: the file differs from the manifest; {_REMEDY}")
        yield copy


def _write_array(file: h5py.File, field: FieldSpec, array: np.ndarray) -> None:
    options: dict[str, Any] = {}
    if array.ndim and array.size:
        options = {
            "chunks": _chunks(field, array),
            "shuffle": True,
            "compression": "gzip",
            "compression_opts": 4,
            "fletcher32": True,
        }
    dtype = h5py.complex_compat_dtype(array.dtype) if array.dtype.kind == "c" else array.dtype
    dataset = file.create_dataset(field.name, shape=array.shape, dtype=dtype, **options)
    if array.size:
        dataset[...] = array
    dataset.attrs.update({"unit": field.unit, "axes": list(field.axes)})
    dataset.attrs["description"] = field.description
    # Else its place in the file hangs on when it is closed, hence on who holds it: Dask's profiler
    # keeps the frames of a worker for a moment.
    dataset.flush()


def _chunks(field: FieldSpec, array: np.ndarray) -> tuple[int, ...]:
    """Choose chunks of whole samples: full along all axes but `link` or `path`."""
    long_axis = next((i for i, a in enumerate(field.axes) if a.startswith(("link", "path"))), 0)
    row_bytes = array.nbytes // array.shape[long_axis] or 1
    rows = min(array.shape[long_axis], max(1, _CHUNK_BYTES // row_bytes))
    return tuple(rows if i == long_axis else n for i, n in enumerate(array.shape))


def _require_equal(path: Path, kind: FileKind, arrays: Mapping[str, np.ndarray]) -> None:
    stored = read_shard(path, kind)
    for name, array in arrays.items():
        if stored[name].dtype != array.dtype or not np.array_equal(stored[name], array):
            raise SchemaError(f"{path}: {name} did not come back from disk as it was written")
