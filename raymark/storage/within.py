"""The one way from a name that stands in a file to the file that it names."""

import stat
from pathlib import Path

from raymark.errors import DatasetError


def within(folder: Path, name: str) -> Path:
    """Return the file of a folder that a name of somebody else's means; it need not be there.

    Args:
        folder: What must not be left.
        name: Path below it, its parts separated by `/`.

    Raises:
        DatasetError: If the name or a link leads out of the folder, or there is something that is
            no regular file: a folder, a FIFO, a device.
    """
    require_below(name, folder)
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DatasetError(f"{path} is a link that leads out of {folder}; put its file there")
        if not stat.S_ISREG(path.stat().st_mode):
            raise DatasetError(f"{path} is no regular file; move it elsewhere")
    except (FileNotFoundError, NotADirectoryError):
        return path
    # A name that is too long, a circle of links; until Python 3.12 the latter is no OSError.
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a circle of links"
        raise DatasetError(f"{path} cannot be a file: {reason}") from error
    return path


def require_below(name: str, folder: object) -> None:
    """Refuse a name that is no path of a file below a folder.

    Args:
        name: The name.
        folder: Where it is to lie, for the message.

    Raises:
        DatasetError: If it is absolute or empty, climbs, or holds what no path can.
    """
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise DatasetError(f"{name!r} is no name of a file in {folder}")
