"""The folder of an imported scene: written beside, then put in its place at once."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
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
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name '{name}' must begin with a letter and hold only letters, digits, _ and -"
        )
    if name in scene_names():
        raise ConfigError(f"--name '{name}' is that of a built-in scene; choose another")
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


def sites_of(folder: Path) -> list[str]:
    """Return the names of the sites of a scene that is about to be replaced."""
    path = folder / "scene.yaml"
    if not path.is_file():
        return []
    return [s.name for s in validate(SceneSettings, read_yaml(path), where=str(path)).sites]


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` if no error comes.

    Of a folder that was there, what an import wrote goes and all other files stay.

    Raises:
        SceneError: If it cannot be written, or a file of the user's is in the way.
    """
    partial = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            _keep_others(folder, partial)
            former = partial.with_name(f"{partial.name}-former")
            folder.rename(former)
            partial.rename(folder)
            shutil.rmtree(former)
        else:
            partial.rename(folder)
    except OSError as error:
        raise SceneError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _keep_others(folder: Path, partial: Path) -> None:
    """Copy the files that the former import did not write."""
    record = ImportReport.model_validate_json((folder / RECORD).read_bytes())
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder)
        if name.as_posix() in record.files:
            continue
        if (partial / name).exists():
            raise SceneError(f"{path} is in the way, and no import wrote it; move it elsewhere")
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, partial / name)
