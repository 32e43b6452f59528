"""The bytes of a map file, packed or not."""

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from raymark.errors import SceneError

_SUFFIXES = (".gz", ".bz2")
_UNPACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
}
"""What unpacks a file, by its first bytes; names are no proof, servers and browsers unpack too."""


def plain_name(path: Path) -> str:
    """Return the name of a map in lower case, without the ending that says how it is packed."""
    name = path.name.lower()
    return name.removesuffix(path.suffix.lower()) if is_packed(path) else name


def is_packed(path: Path) -> bool:
    """Tell whether the name of a map says that it is packed."""
    return path.suffix.lower() in _SUFFIXES


def read_bytes(path: Path) -> bytes:
    """Return what a map file holds, unpacked.

    Raises:
        SceneError: If it cannot be read, or what it packs is cut off.
    """
    try:
        content = path.read_bytes()
        unpack = next((how for head, how in _UNPACK.items() if content.startswith(head)), None)
        return unpack(content) if unpack is not None else content
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SceneError(
            f"cannot read {path}, or it is cut off ({error}); download or export it again"
        ) from error
