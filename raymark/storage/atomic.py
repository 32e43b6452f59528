"""Local files that are replaced at once: readers see the old or the new one, never a part."""

import contextlib
import errno
import glob
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from raymark.errors import DatasetError

_PARTIAL = re.compile(r"\.(?P<host>\w+)-(?P<pid>\d+)-[0-9a-f]{8}\.partial$", re.ASCII)
_COLLAPSED = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]")
_ABANDONED_S = 86_400.0
"""Age at which a temporary file of another machine, whose processes nobody can ask, is stale."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; it takes the name of `path` when the block ends well.

    The temporary name is unique, so that processes that write the same file at once do not meet:
    the last one to finish wins, whole. What killed processes left of the same file is removed.

    Raises:
        DatasetError: If the disk is full or the folder cannot be written.
    """
    partial = partial_of(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            synchronise(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        name = glob.escape(path.name)
        for pattern in (f"{name}.partial", f"{name}.*.partial"):
            for leftover in path.parent.glob(pattern):
                if leftover.is_file() and _is_stale(leftover):
                    leftover.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """Return a name beside `path` that no other process and no other thread writes to."""
    return path.with_name(f"{path.name}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.partial")


def is_partial(path: Path) -> bool:
    """Return whether a file is one that `replacing` left behind, of this version or an older."""
    return path.name.endswith(".partial")


def remove_partials(folder: Path) -> None:
    """Remove all temporary files below a folder but those of this machine's living processes.

    A writer on another machine that is still at work then fails, and leaves nothing behind.
    """
    with writable(folder):
        for partial in folder.rglob("*.partial"):
            if _PARTIAL.search(partial.name) and not _is_at_work(partial):
                partial.unlink(missing_ok=True)


def remove_stale_partials(folder: Path) -> None:
    """Remove the temporary files in a folder whose writers are dead, or silent for a day."""
    for partial in folder.glob("*.partial"):
        if _is_stale(partial):
            partial.unlink(missing_ok=True)


def synchronise(path: Path) -> None:
    """Bring a finished file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def require_new_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds files, unless they may be replaced.

    Raises:
        DatasetError: If the folder is not empty and `overwrite` is not set.
    """
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise DatasetError(f"{folder} is not empty; choose another folder or add --overwrite")


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn the system's write errors into one sentence that names the file.

    Raises:
        DatasetError: If something cannot be written, or the path is a URL that was taken for one.
    """
    if _COLLAPSED.match(str(path)):
        url = str(path).replace(":/", "://", 1)
        raise DatasetError(f"{url} is no local folder, and this is written to local folders only")
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full; free some space and run the same command again",
            errno.EDQUOT: "the disk quota is used up; free some space and run again",
            errno.EROFS: "the file system is read-only; choose another folder",
            errno.EACCES: "permission denied; choose a folder that you may write to",
            errno.EPERM: "permission denied; choose a folder that you may write to",
            errno.ENOTDIR: "a part of the path is a file, not a folder",
            errno.EEXIST: "a part of the path is a file, not a folder",
        }
        text = " ".join(str(error).split())
        # HDF5 reports the system's error number only inside its message.
        hidden = next((n for n in reasons if f"errno = {n}," in text), None)
        reason = reasons.get(error.errno or hidden or 0, text)
        raise DatasetError(f"cannot write {path}: {reason}") from error


def _host() -> str:
    return re.sub(r"\W", "_", platform.node() or "host", flags=re.ASCII)


def _is_at_work(partial: Path) -> bool:
    """Return whether a living process of this machine writes to a temporary file."""
    found = _PARTIAL.search(partial.name)
    if found is None or found["host"] != _host():
        return False
    try:
        os.kill(int(found["pid"]), 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_stale(partial: Path) -> bool:
    found = _PARTIAL.search(partial.name)
    if found is None or found["host"] == _host():
        return not _is_at_work(partial)
    try:
        return time.time() - partial.stat().st_mtime > _ABANDONED_S
    except FileNotFoundError:
        return False
