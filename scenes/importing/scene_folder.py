"""The folder of an imported scene: where it may be, and what an import wrote there."""

import re
from pathlib import Path

from raymark.config import read_yaml, validate
from raymark.errors import ConfigError, SceneError
from raymark.scenes.importing.report import ImportReport
from raymark.scenes.scene import SceneSettings, scene_names

RECORD = "import.json"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def target_folder(out: Path, name: str, *, overwrite: bool) -> Path:
    """Return where a scene goes.

    Raises:
        ConfigError: If the name cannot be used.
        SceneError: If the folder exists and is not to be overwritten, or no import wrote it.
    """
    require_free_name(name, what=f"--name '{name}'")
    folder = out / name
    if not folder.exists():
        return folder
    if not overwrite:
        raise SceneError(f"{folder} exists; choose another --name or --out, or give --overwrite")
    if not (folder / RECORD).is_file():
        raise SceneError(
            f"{folder} holds no {RECORD}: no import wrote it, so none replaces it; choose another "
            "--name or --out"
        )
    return folder


def require_free_name(name: str, *, what: str) -> None:
    """Check that a new scene can be called so.

    Args:
        name: Name of its folder.
        what: What gave it, for errors.

    Raises:
        ConfigError: If it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{what} must begin with a letter and hold only letters, digits, _ and -")
    if name in scene_names():
        raise ConfigError(f"{what} is that of a built-in scene; choose another")


def sites_of(folder: Path) -> list[str]:
    """Return the names of the sites of a scene that is about to be replaced."""
    path = folder / "scene.yaml"
    if not path.is_file():
        return []
    return [s.name for s in validate(SceneSettings, read_yaml(path), where=str(path)).sites]


def files_of_import(folder: Path) -> tuple[str, ...]:
    """Return the names of the files that an import wrote into a folder."""
    return ImportReport.model_validate_json((folder / RECORD).read_bytes()).files
