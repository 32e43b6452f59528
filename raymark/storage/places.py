"""Where datasets lie: in local folders, or in object storage behind a URL."""

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from raymark.errors import DatasetError
from raymark.storage.atomic import replacing, writable
from raymark.storage.cache import ObjectCache
from raymark.storage.objects import ObjectPath

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<name>.+)")


def as_folder(place: str | Path) -> Path:
    """Return a place as a path: of this machine, or of object storage if it is a URL.

    Example:
        >>> as_folder("s3://bucket/small") / "dataset.json"
        ObjectPath('s3://bucket/small/dataset.json')
    """
    if isinstance(place, Path):
        return place
    url = _URL.fullmatch(place)
    if url is None:
        return Path(place)
    if url["scheme"] in {"file", "local"}:
        return Path(url["name"])
    return ObjectPath(f"{url['scheme']}:", url["name"])


def is_remote(path: Path) -> bool:
    """Return whether a path lies in object storage."""
    return isinstance(path, ObjectPath)


def require_local(path: Path, task: str) -> None:
    """Refuse a place in object storage.

    Args:
        path: The place.
        task: What cannot be done there, as the beginning of a sentence.

    Raises:
        DatasetError: If the path lies in object storage.
    """
    if is_remote(path):
        raise DatasetError(f"{task} needs a local folder, got {path}; copy it here first")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a local temporary file that becomes `path`, at once, when the block ends well.

    A local file is synchronised and renamed; an object is uploaded whole. Processes that write the
    same file at once do not disturb each other: the last one to finish wins.

    Raises:
        DatasetError: If the disk is full, or the folder or store cannot be written.
    """
    if not isinstance(path, ObjectPath):
        with replacing(path) as partial:
            yield partial
        return
    cache = ObjectCache.of_environment()
    partial = cache.partial_of(path)
    with writable(path):
        try:
            yield partial
            path.upload(partial)
            cache.adopt(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def local_copy(path: Path, cache: ObjectCache | None = None) -> Iterator[Path]:
    """Yield a local file with the content of `path`: itself, or a copy from the cache.

    Args:
        path: A local path, or one of object storage.
        cache: Where copies are kept; that of the environment if not given.

    Raises:
        FileNotFoundError: If the object is missing; a local file is not looked for.
        ConfigError: If the object is larger than the whole cache.
        DatasetError: If the store cannot be reached.
    """
    if isinstance(path, ObjectPath):
        with (cache or ObjectCache.of_environment()).copy_of(path) as copy:
            yield copy
    else:
        yield path


def forget_copies(path: Path) -> None:
    """Drop the cached copies of an object, so that the next reader sees what the store has."""
    if isinstance(path, ObjectPath):
        ObjectCache.of_environment().forget(path)


def remove_tree(folder: Path) -> None:
    """Remove everything below a folder, if there is anything.

    Raises:
        DatasetError: If something cannot be removed.
    """
    if isinstance(folder, ObjectPath):
        for path in folder.sizes_bytes():
            path.unlink(missing_ok=True)
    elif folder.exists():
        with writable(folder):
            shutil.rmtree(folder)


def total_size_bytes(folder: Path, files: Sequence[Path]) -> int:
    """Return the size [B] of those of some files below a folder that exist."""
    if isinstance(folder, ObjectPath):
        sizes = folder.sizes_bytes()
        return sum(sizes.get(path, 0) for path in files)
    return sum(path.stat().st_size for path in files if path.is_file())


def write_text(path: Path, text: str) -> None:
    """Replace a small text file at once: readers see the old or the new one, never a part.

    Raises:
        DatasetError: If the disk is full or the folder cannot be written.
    """
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with local_copy(path) as copy, copy.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
