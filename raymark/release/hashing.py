"""Sizes and hashes of many files at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from raymark.release.record import ReleasedFile
from raymark.storage import file_sha256, within


def hash_files(
    folder: Path, names: Sequence[str], *, progress: Callable[[str], None] = lambda _name: None
) -> dict[str, ReleasedFile]:
    """Return size and SHA-256 of files, in the order of their names.

    Args:
        folder: Where they lie.
        names: Paths relative to it.
        progress: Told of every file that is done.
    """

    def read(name: str) -> ReleasedFile:
        path = within(folder, name)
        found = ReleasedFile(size_bytes=path.stat().st_size, sha256=file_sha256(path))
        progress(name)
        return found

    # Hashing releases the interpreter's lock, so that threads use all cores.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))
