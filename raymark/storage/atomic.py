"""Local files that are replaced at once: readers see the old or the new one, never a part."""

import contextlib
import errno
import glob
import hashlib
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
def writing(path: Path) -> Iterator[Path]:
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
        for leftover in partials_of(path):
            if leftover.is_file() and _is_stale(leftover):
                leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file at once: readers see the old or the new one, never a part.

    What is no Unicode, such as bytes of other encodings in names of files, is written escaped.

    Raises:
        DatasetError: If the disk is full or the folder cannot be written.
    """
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file and bring it to the disk.

    Raises:
        DatasetError: If the disk is full or the folder cannot be written.
    """
    with writable(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # a crash cut the last line off: it must not spoil this one
                file.write(b"\n")
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def partial_of(path: Path) -> Path:
    """Return a name beside `path` that no other process and no other thread writes to."""
    return path.with_name(f"{path.name}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.partial")


def partials_of(path: Path) -> Iterator[Path]:
    """Yield what has a name of `partial_of` beside `path`: temporary files and folders of ours."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        found = _PARTIAL.search(partial.name)
        if found is not None and partial.name[: found.start()] == path.name:
            yield partial


def is_partial(name: str) -> bool:
    """Return whether a name is one of `partial_of`."""
    return _PARTIAL.search(name) is not None


def remove_partials(folder: Path) -> None:
    """Remove all temporary files below a folder but those of this machine's living processes.

    A writer on another machine that is still at work then fails, and leaves nothing behind.
    """
    with writable(folder):
        for partial in folder.rglob("*.partial"):
            if is_partial(partial.name) and partial.is_file() and not _is_at_work(partial):
                partial.unlink(missing_ok=True)


def remove_stale_partials(folder: Path) -> None:
    """Remove the temporary files in a folder whose writers are dead, or silent for a day."""
    for partial in folder.glob("*.partial"):
        if partial.is_file() and _is_stale(partial):
            partial.unlink(missing_ok=True)


def synchronise(path: Path) -> None:
    """Bring a finished file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def require_file(path: Path, *, overwrite: bool) -> None:
    """Check that a file can be written, before what goes into it is computed.

    Raises:
        DatasetError: If a folder has its name, or a file, unless that may be replaced.
    """
    if path.is_dir():
        raise DatasetError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise DatasetError(f"{path} exists; choose another name or add --overwrite")


def require_free_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a folder may be filled, before what goes into it is computed; nothing is made.

    Raises:
        DatasetError: If a file has its name, or it is not empty and `overwrite` is not set.
    """
    if folder.is_file():
        raise DatasetError(f"{folder} is a file; give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise DatasetError(f"{folder} is not empty; choose another folder or add --overwrite")


def require_new_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds files, unless they may be replaced, and make it if it is missing.

    Raises:
        DatasetError: If the folder is not empty and `overwrite` is not set, or cannot be written.
    """
    require_free_folder(folder, overwrite=overwrite)
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)


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
            errno.EFBIG: "the file is larger than may be written here; see `ulimit -f`",
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


def is_dead(partial: Path) -> bool:
    """Return whether a process of this machine that has ended left what `partial_of` has named."""
    pid = _pid_here(partial)
    return pid is not None and not _is_alive(pid)


def _is_at_work(partial: Path) -> bool:
    """Return whether a living process of this machine writes to a temporary file."""
    pid = _pid_here(partial)
    return pid is not None and _is_alive(pid)


def _is_stale(partial: Path) -> bool:
    if not is_partial(partial.name) or _is_at_work(partial):
        return False
    try:
        return is_dead(partial) or time.time() - partial.stat().st_mtime > _ABANDONED_S
    except FileNotFoundError:
        return False


def _pid_here(partial: Path) -> int | None:
    """Return the process of this machine whose temporary file or folder it is, if it is one."""
    found = _PARTIAL.search(partial.name)
    return int(found["pid"]) if found is not None and found["host"] == _host() else None


def _host() -> str:
    return re.sub(r"\W", "_", platform.node() or "host", flags=re.ASCII)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
