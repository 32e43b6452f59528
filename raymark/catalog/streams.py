"""Bytes from anywhere, from any point on: a folder, HTTP, object storage, the Hugging Face hub."""

import contextlib
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

from raymark.catalog.http import Stream, UnreachableError, open_http
from raymark.catalog.hub import open_hub
from raymark.errors import ConfigError, DatasetError
from raymark.storage import as_place
from raymark.storage.stored_object import StoredObject
from raymark.storage.within import require_below

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_WEB = ("http", "https")
_STORES = ("s3", "gs", "abfs")
"""Object storage that is read through fsspec, which knows other ways to this machine's files."""

Opener = Callable[[str, int, float], AbstractContextManager[Stream]]


def scheme_of(location: str) -> str:
    """Return the scheme of a URL; that of a path is `file`."""
    found = _SCHEME.match(location)
    return "file" if found is None or found[1] == "local" else found[1]


def is_local(location: str) -> bool:
    """Return whether a location is a path or a URL of a path."""
    return scheme_of(location) == "file"


def local_path(location: str) -> Path:
    """Return the path that a local location means.

    Raises:
        DatasetError: If it is elsewhere.
    """
    return as_place(location).require_local("this")


def file_below(folder: str, name: str) -> str:
    """Return the location of a file in a folder, given its name in a list of somebody else's.

    Raises:
        DatasetError: If the name leads out of the folder.
    """
    require_below(name, folder)
    if scheme_of(folder) in _WEB:
        name = quote(name)
    return f"{folder.rstrip('/')}/{name}"


def resolved(mirror: str, index: str) -> str:
    """Return where a mirror lies that an index names, whether whole or from beside the index.

    Args:
        mirror: A URL, a path, or a name beside the index.
        index: Address of the index.

    Raises:
        DatasetError: If a name leads out of the folder of the index, or an index from elsewhere
            names a path of this machine.
    """
    is_beside = _SCHEME.match(mirror) is None and not mirror.startswith("/")
    if is_beside:
        folder = (
            posixpath.dirname(index.partition("?")[0])
            if not is_local(index)
            else str(local_path(index).parent)
        )
        return file_below(folder, mirror.rstrip("/"))
    if is_local(mirror) and not is_local(index):
        raise DatasetError(f"{index} names {mirror}, a folder of this machine; it may not do so")
    return mirror


@contextlib.contextmanager
def open_stream(location: str, start: int, *, timeout_s: float) -> Iterator[Stream]:
    """Open a file from a point on, or from its beginning where that cannot be done.

    Args:
        location: A URL or a path.
        start: Number of bytes that are not needed [B].
        timeout_s: How long a server may be silent [s].

    Raises:
        UnreachableError: If there is no answer, or one that may be better the next time.
        DatasetError: If there is no such file, or it must not be read.
        ConfigError: If a package is missing that the scheme needs.
    """
    scheme = scheme_of(location)
    if scheme not in _OPENERS:
        known = ", ".join(f"{name}://" for name in _OPENERS)
        raise ConfigError(f"{location}: nothing is fetched by {scheme}:// (there are: {known})")
    with _OPENERS[scheme](location, start, timeout_s) as stream:
        yield stream


@contextlib.contextmanager
def _open_local(location: str, start: int, _timeout_s: float) -> Iterator[Stream]:
    path = local_path(location)
    try:
        if not path.is_file():
            raise DatasetError(f"{path}: there is no such file")
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            yield Stream(start=start, size_bytes=path.stat().st_size, read=file.read)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _open_object(location: str, start: int, _timeout_s: float) -> Iterator[Stream]:
    try:
        with StoredObject(url=location).reading(start) as file:
            yield Stream(start=start, size_bytes=int(file.size), read=file.read)
    except FileNotFoundError as error:
        raise DatasetError(f"{location}: there is no such object") from error


_OPENERS: dict[str, Opener] = {
    **dict.fromkeys(_WEB, open_http),
    "file": _open_local,
    **dict.fromkeys(_STORES, _open_object),
    "hf": open_hub,
}

__all__ = [
    "Stream",
    "UnreachableError",
    "file_below",
    "is_local",
    "local_path",
    "open_stream",
    "resolved",
    "scheme_of",
]
