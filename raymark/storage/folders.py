"""Folders that appear whole: made under a name of their own beside the target, then renamed."""

import contextlib
import filecmp
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from raymark.errors import DatasetError
from raymark.storage.atomic import is_dead, partial_of, partials_of, writable

IN_THE_WAY = "is in the way; move it elsewhere"


@contextlib.contextmanager
def new_folder(out: Path, *, replaces: Collection[str] | None = None) -> Iterator[Path]:
    """Yield an empty folder that takes the name of `out` when the block ends well.

    Its temporary name is unique, so that several runs with the same target do not meet: the first
    to finish has it, the others say so. If the block fails, its folder is removed; what killed
    processes of this machine left of the same target goes, too, and nothing else ever does.

    Args:
        out: The target.
        replaces: Files of ours in the folder that is there now, by their names below it: it is
            replaced, and all its other files stay. If not given, nothing may be there.

    Raises:
        DatasetError: If the target is there, at the beginning or in the end, if a file that would
            have to stay is in the way, or if nothing can be written.
    """
    if replaces is None:
        require_absent(out, "exists; choose another folder")
    with writable(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_dead_folders(out)
        partial = partial_of(out)
        partial.mkdir()
    try:
        yield partial
        if replaces is None:
            _name(partial, out)
        else:
            keep_others(out, partial, ours=replaces)
            put_in_place(partial, out, aside=partial_of(out))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(made: Path, folder: Path, *, aside: Path) -> None:
    """Give the name of a folder to another one, and remove the former holder of the name.

    Args:
        made: What takes the name.
        folder: What loses it.
        aside: Name of the former holder for the moment in which there is no `folder`.

    Raises:
        DatasetError: If something is in the way, or cannot be written; all is as it was then.
    """
    require_absent(aside, IN_THE_WAY)
    with writable(folder):
        folder.rename(aside)
        try:
            made.rename(folder)
        except OSError:
            aside.rename(folder)
            raise
        # Under this name, what a killed process leaves of it is removed by the next one.
        shutil.rmtree(aside.rename(partial_of(folder)), ignore_errors=True)


def keep_others(folder: Path, into: Path, *, ours: Collection[str]) -> None:
    """Give another folder all files of a folder that are not ours; they are linked if possible.

    Args:
        folder: What has them now.
        into: What gets them.
        ours: Names of the files that stay behind.

    Raises:
        DatasetError: If another file has such a name there already, or nothing can be written.
    """
    staying = frozenset(ours)
    with writable(into):
        for path in sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()):
            name = path.relative_to(folder)
            if name.as_posix() not in staying:
                _keep(path, into / name)


def remove_dead_folders(out: Path) -> None:
    """Remove the unfinished folders of a target that ended processes of this machine left."""
    for leftover in partials_of(out):
        if leftover.is_dir() and not leftover.is_symlink() and is_dead(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _keep(path: Path, target: Path) -> None:
    if os.path.lexists(target):
        if os.path.samestat(path.lstat(), target.lstat()) or _is_same_file(path, target):
            return
        raise DatasetError(f"{path} is in the way, and raymark did not write it; move it elsewhere")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:  # not every file system has links
        shutil.copy2(path, target, follow_symlinks=False)


def _is_same_file(path: Path, other: Path) -> bool:
    return path.is_file() and other.is_file() and filecmp.cmp(path, other, shallow=False)


def _name(made: Path, out: Path) -> None:
    """Rename a folder to a name that nothing has."""
    meanwhile = "was made by somebody else meanwhile, and stays as it is; choose another folder"
    require_absent(out, meanwhile)
    with writable(out):
        try:
            made.rename(out)
        except OSError:
            require_absent(out, meanwhile)  # it came in this very moment
            raise


def require_absent(path: Path, reason: str) -> None:
    """Refuse a name that something has.

    Args:
        path: The name.
        reason: What is to be said of it, as the end of a sentence.

    Raises:
        DatasetError: If there is anything.
    """
    if os.path.lexists(path):
        raise DatasetError(f"{path} {reason}")
