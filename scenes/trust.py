"""Whose code may run: that of shipped scenes, and of folders that the user named.

A procedural scene is Python. Neither a campaign nor a dataset can choose code by naming a folder:
only the command line and the calling program can.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from raymark.errors import SceneError

CODE_NAME = "geometry.py"
"""File of a scene folder that computes its geometry."""

_SHIPPED = Path(__file__).resolve().parent
_TRUSTED: set[Path] = set()

T = TypeVar("T")


def trust_folder(folder: Path) -> None:
    """Allow this process to run the code of one scene folder.

    Raises:
        SceneError: If there is no code in it.
    """
    if not (folder / CODE_NAME).is_file():
        raise SceneError(f"{folder} holds no {CODE_NAME}, so that there is no code to trust")
    _TRUSTED.add(folder.resolve())


def trusted_folders() -> frozenset[Path]:
    """Return the folders whose code this process may run, beside the shipped ones."""
    return frozenset(_TRUSTED)


def call_trusting(folders: frozenset[Path], function: Callable[..., T], *arguments: object) -> T:
    """Call a function with the trust that was given in another process, and take it back after."""
    added = folders - _TRUSTED
    _TRUSTED.update(added)
    try:
        return function(*arguments)
    finally:
        _TRUSTED.difference_update(added)


def is_shipped(folder: Path) -> bool:
    """Tell whether a scene folder is one of those that come with raymark."""
    return folder.resolve().parent == _SHIPPED


def require_trust(folder: Path) -> None:
    """Check that the code of a scene folder may run.

    Raises:
        SceneError: If nobody said so.
    """
    if not is_shipped(folder) and folder.resolve() not in _TRUSTED:
        raise SceneError(
            f"the scene in {folder} is made by code, {folder / CODE_NAME}, which runs only if you "
            f"trust it: read it, and give the option --trust-code {folder} (in Python: "
            "get_scene(..., trust_code=True), or trust_folder)"
        )
