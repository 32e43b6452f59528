"""HDF5 files of anybody's: a full disk ends in an error, and reading never leaves the file.

The library's own driver keeps what it could not write, tries again while the process ends, and
crashes there. Here, failures are kept from it and raised when it has let go of the file. In
reading, links, other files' arrays and arrays without content are refused before they are followed.
"""

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from raymark.errors import SchemaError
from raymark.storage import PlaceLike, as_place

_MOST_INFLATED = 1100
"""Largest factor by which gzip's format can unpack, 1032, and some bytes of headers."""
LARGEST_ARRAY_BYTES = 4 << 30
"""What is read at once; the arrays of a shard of many thousand UEs have some megabytes."""
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises of damaged files."""


class NewHdf5(io.FileIO):
    """A file that HDF5 writes to; once the disk is full, it takes no more and remembers why."""

    def __init__(self, path: Path) -> None:
        """Make the file, or empty it."""
        super().__init__(path, "w+")
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or remember why it cannot be written."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        with self._remembered():
            while len(rest) and self._failure is None:
                rest = rest[super().write(rest) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or remember why it cannot be set."""
        with self._remembered():
            super().truncate(size)
        return self.tell() if size is None else size

    def require_written(self) -> None:
        """Raise what went wrong, if anything did.

        Raises:
            OSError: The system's error at the first write that failed.
        """
        if self._failure is not None:
            raise self._failure

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failure = self._failure or error


@contextlib.contextmanager
def new_hdf5(path: Path) -> Iterator[tuple[h5py.File, NewHdf5]]:
    """Yield an empty HDF5 file, and what it is written to: long work asks it `require_written`.

    Raises:
        OSError: If the disk is full, or another write has failed.
    """
    with NewHdf5(path) as target:
        try:
            with h5py.File(target, "w", libver="v110") as file:
                yield file, target
        finally:
            target.require_written()


@contextlib.contextmanager
def open_hdf5(path: PlaceLike) -> Iterator[h5py.File]:
    """Open a file for reading that holds all that it shows.

    Raises:
        SchemaError: If it is missing, damaged, or holds a link or an array of another file.
    """
    with _damage_of(path, OSError), contextlib.ExitStack() as held:
        with _damage_of(path, *_DAMAGE):
            copy = held.enter_context(as_place(path).local_copy())
            file = held.enter_context(h5py.File(copy, "r"))
            _require_self_contained(file, str(path))
        yield file


def read_array(file: h5py.File, name: str, path: PlaceLike) -> np.ndarray:
    """Read an array of numbers of an `open_hdf5` file.

    Args:
        file: The file.
        name: Name of the array.
        path: The file's, for the message.

    Raises:
        SchemaError: If there is none, it is no array of numbers, is damaged, or is larger than what
            the file can hold.
    """
    with _damage_of(path, *_DAMAGE):
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "biufcS":
            raise SchemaError(f"{path}: {name} is no array of numbers")
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        stored = min(dataset.id.get_storage_size(), file.id.get_filesize())
        if size > min(LARGEST_ARRAY_BYTES, _MOST_INFLATED * stored):
            raise SchemaError(
                f"{path}: {name} claims the shape {dataset.shape} ({size / 1e6:.0f} MB), but the "
                f"file holds {stored} bytes of it"
            )
        values: np.ndarray = np.asarray(dataset[()])
    return values


def read_attributes(file: h5py.File, path: PlaceLike) -> dict[str, Any]:
    """Read the attributes of a whole file.

    Raises:
        SchemaError: If they are damaged.
    """
    with _damage_of(path, *_DAMAGE):
        return dict(file.attrs)


def read_names(file: h5py.File, name: str, path: PlaceLike) -> tuple[str, ...]:
    """Read an attribute that is a list of names.

    Raises:
        SchemaError: If it is missing or damaged.
    """
    attributes = read_attributes(file, path)
    if name not in attributes:
        raise SchemaError(f"{path}: the attribute '{name}' is missing")
    return tuple(str(item) for item in np.atleast_1d(attributes[name]))


def array_names(file: h5py.File) -> set[str]:
    """Return the names of all arrays of an `open_hdf5` file."""
    names: list[str] = []
    file.visit(names.append)
    return {name for name in names if isinstance(file[name], h5py.Dataset)}


def _require_self_contained(file: h5py.File, where: str) -> None:
    links: dict[str, Any] = {}
    file.visititems_links(links.__setitem__)  # a visitor must not raise: the error would be lost
    for name, link in links.items():
        is_own = isinstance(link, h5py.HardLink)
        item = file[name] if is_own else None
        if not is_own or (isinstance(item, h5py.Dataset) and (item.is_virtual or item.external)):
            raise SchemaError(f"{where}: {name} is a link or lies in another file; put it here")


@contextlib.contextmanager
def _damage_of(path: PlaceLike, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SchemaError(f"{path}: the file is missing") from error
    except kinds as error:  # h5py reports truncation and checksum faults this way
        raise SchemaError(
            f"{path}: the file is damaged ({' '.join(str(error).split())})"
        ) from error
