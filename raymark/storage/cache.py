"""Local copies of objects: a folder of bounded size that several processes share."""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raymark.errors import ConfigError
from raymark.storage.atomic import partial_of, remove_stale_partials, synchronise, writable
from raymark.storage.lock import locked_file
from raymark.storage.stored_object import StoredObject

FOLDER_VARIABLE = "RAYMARK_CACHE"
LIMIT_VARIABLE = "RAYMARK_CACHE_BYTES"
DEFAULT_LIMIT_BYTES = 4_000_000_000
_LOCK_NAME = "lock"
_VERSION_KEYS = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified", "created")
"""What stores say of an object that changes with its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCache:
    """Copies of objects; those that were not used for the longest time go first.

    A copy is named after its URL and version, so that an object that has changed is fetched anew.
    Copies in use are held by a lock of the system, which a dead process does not keep.

    Attributes:
        folder: Where the copies lie.
        limit_bytes: Most bytes that they may take together.
    """

    folder: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES

    @classmethod
    def of_environment(cls) -> "ObjectCache":
        """Return the cache that RAYMARK_CACHE (a folder) and RAYMARK_CACHE_BYTES name.

        Raises:
            ConfigError: If the limit is no whole number.
        """
        named = os.environ.get(FOLDER_VARIABLE)
        folder = Path(named) if named else user_cache() / "objects"
        limit_bytes = limit_of_environment(LIMIT_VARIABLE, DEFAULT_LIMIT_BYTES)
        return cls(folder=folder, limit_bytes=limit_bytes)

    @contextlib.contextmanager
    def copy_of(self, stored: StoredObject) -> Iterator[Path]:
        """Yield a copy of an object, which stays for as long as the block lasts.

        Raises:
            FileNotFoundError: If there is no such object.
            ConfigError: If the object is larger than the whole cache.
            DatasetError: If the store cannot be reached, or the copy cannot be written.
        """
        target, size_bytes = self._target(stored)
        if size_bytes > self.limit_bytes:
            raise ConfigError(
                f"{stored.url} has {size_bytes} bytes, and the cache in {self.folder} may hold "
                f"{self.limit_bytes}; raise {LIMIT_VARIABLE}"
            )
        with contextlib.ExitStack() as held:
            with self._alone():
                is_there = _hold(target, held)
                if not is_there:
                    self._make_room(size_bytes)
            if not is_there:
                held.callback(self._trim)  # after use: others in use may have stood in the way
                partial = self.partial_of(stored)
                try:
                    stored.download(partial)
                    self._publish(partial, target, held)
                finally:
                    partial.unlink(missing_ok=True)
            yield target

    def adopt(self, partial: Path, stored: StoredObject) -> None:
        """Keep a file that was just uploaded as the copy of its object."""
        target, size_bytes = self._target(stored)
        if size_bytes <= self.limit_bytes:
            with contextlib.ExitStack() as held:
                self._publish(partial, target, held)

    def forget(self, stored: StoredObject) -> None:
        """Drop the copies of an object, so that it is fetched anew."""
        with self._alone():
            for copy in self.folder.glob(f"{_digest(stored.url)}-*"):
                _drop(copy)

    def partial_of(self, stored: StoredObject) -> Path:
        """Return a temporary name in the cache's folder, which is made if need be."""
        with writable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return partial_of(self.folder / stored.name)

    def size_bytes(self) -> int:
        """Return how many bytes the copies take, those being written included."""
        return sum(size for _, size, _ in self._files())

    def _target(self, stored: StoredObject) -> tuple[Path, int]:
        info = stored.metadata()
        version = json.dumps([str(info.get(key)) for key in _VERSION_KEYS])
        name = f"{_digest(stored.url)}-{_digest(version)}-{stored.name}"
        return self.folder / name, int(info["size"])

    def _publish(self, partial: Path, target: Path, held: contextlib.ExitStack) -> None:
        with writable(target):
            synchronise(partial)
            with self._alone():
                if not target.exists():  # another process may have been faster: its copy is in use
                    partial.replace(target)
                _hold(target, held)
                self._make_room(0)

    def _trim(self) -> None:
        with self._alone():
            self._make_room(0)

    def _make_room(self, num_bytes: int) -> None:
        """Drop copies, the longest unused first, until so many bytes are free."""
        remove_stale_partials(self.folder)
        total = self.size_bytes() + num_bytes
        for _, size, file in sorted(self._files()):
            if total <= self.limit_bytes:
                return
            if not file.name.endswith(".partial") and _drop(file):
                total -= size

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (time of the last use, size [B], file)."""
        for file in self.folder.iterdir():
            if file.name != _LOCK_NAME:
                with contextlib.suppress(FileNotFoundError):  # a temporary file that is done
                    status = file.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield status.st_mtime_ns, status.st_size, file

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes and threads from adding and dropping copies."""
        with locked_file(self.folder / _LOCK_NAME):
            yield


def user_cache() -> Path:
    """Return where programs of this user keep what can be made again, the folder of raymark's."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raymark"


def cache_folder() -> Path:
    """Return the folder below which folders are kept: RAYMARK_CACHE, or that of this user."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else user_cache()


def limit_of_environment(variable: str, default_bytes: int) -> int:
    """Return a number of bytes that a variable gives.

    Args:
        variable: Its name.
        default_bytes: What counts if it is not set.

    Raises:
        ConfigError: If it is no whole number.
    """
    text = os.environ.get(variable) or str(default_bytes)
    if not text.isdecimal():
        raise ConfigError(f"{variable} must be a number of bytes, got '{text}'")
    return int(text)


def _hold(copy: Path, held: contextlib.ExitStack) -> bool:
    """Keep a copy from being dropped until `held` is closed, if it is there."""
    try:
        handle = os.open(copy, os.O_RDONLY)
    except FileNotFoundError:
        return False
    held.callback(os.close, handle)
    fcntl.flock(handle, fcntl.LOCK_SH)
    now_ns = time.time_ns()  # the system's own clock of files is too coarse to tell an order
    os.utime(copy, ns=(now_ns, now_ns))
    return True


def _drop(copy: Path) -> bool:
    """Remove a copy, unless it is in use."""
    handle = os.open(copy, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        copy.unlink()
        return True
    finally:
        os.close(handle)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
