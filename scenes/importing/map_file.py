"""The bytes of a map file, packed or not."""

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from raymark.errors import SceneError

_UNPACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".bz2": bz2.decompress}


def plain_name(path: Path) -> str:
    """Return the name of a map in lower case, without the ending that says how it is packed."""
    name = path.name.lower()
    return name.removesuffix(path.suffix.lower()) if is_packed(path) else name


def is_packed(path: Path) -> bool:
    """Tell whether the name of a map says that it is packed."""
    return path.suffix.lower() in _UNPACK


def read_bytes(path: Path) -> bytes:
    """Return what a map file holds, unpacked.

    Raises:
        SceneError: If it cannot be read, or is not packed as its name says.
    """
    try:
        content = path.read_bytes()
        return _UNPACK[path.suffix.lower()](content) if is_packed(path) else content
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SceneError(
            f"cannot read {path}, or it is cut off ({error}); download or export it again"
        ) from error
