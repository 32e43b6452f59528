"""Localization models: every folder with a `model.yaml` is one, found by name."""

from collections.abc import Sequence
from pathlib import Path

from raymark.benchmark.following import FollowingModel, split_name
from raymark.benchmark.localizer import INFO_NAME, ModelFolder, read_model_folder
from raymark.benchmark.model_names import require_free_name
from raymark.config import read_text
from raymark.registry import Registry

_FOLDER = Path(__file__).resolve().parent
_REGISTRY = Registry(
    "model",
    _FOLDER,
    INFO_NAME,
    lambda folder: read_model_folder(folder, package="raymark.models"),
)


def model_names() -> list[str]:
    """Return the names of the models that ship with raymark, sorted."""
    return _REGISTRY.names()


def default_model_names(*, with_maps: bool = False) -> list[str]:
    """Return the names of the models that run without being asked for: all but expensive ones.

    Args:
        with_maps: Whether there are maps, for models that know the city.
    """
    return [name for name in _servable_names(with_maps) if not get_model(name).info.is_expensive]


def _servable_names(with_maps: bool) -> list[str]:
    return [name for name in model_names() if with_maps or not get_model(name).needs_map]


def get_model(name: str) -> ModelFolder:
    """Return a model by its name or the path of its folder; a suffix follows it along tracks.

    Args:
        name: `MODEL`, `MODEL+filter` or `MODEL+smoother`.

    Raises:
        ConfigError: If there is none (the nearest is offered), its folder cannot be read, or a
            folder of a user's is named as something else is.
    """
    alone, method = split_name(name)
    if method is not None:
        return FollowingModel.of(get_model(alone), method)
    folder, shipped = Path(name), model_names()
    if name in shipped or not (folder.is_dir() or len(folder.parts) > 1):
        return _REGISTRY.get(name)
    if folder.resolve().parent == _FOLDER and folder.resolve().name in shipped:
        return _REGISTRY.get(folder.resolve().name)
    model = read_model_folder(folder)
    require_free_name(model.folder, shipped)
    return model


def shipped_references(name: str) -> str:
    """Return the BibTeX beside a model that ships: works that it is after, if any."""
    name, _ = split_name(name)
    path = _FOLDER / name / "references.bib"
    return read_text(path) if name in model_names() and path.is_file() else ""


def choose_models(names: Sequence[str] = (), *, with_maps: bool = False) -> list[ModelFolder]:
    """Return the models that are named (or whose folders are), all of them, or the usual ones.

    Args:
        names: Names or paths of folders; `["all"]` for every model that ships with raymark, none
            for those of them that are not expensive.
        with_maps: Whether there are maps; without, models that know the city are left out where
            they are not named.

    Raises:
        ConfigError: If there is no such model (the nearest is offered).
    """
    if list(names) == ["all"]:
        names = _servable_names(with_maps)
    return [get_model(name) for name in names or default_model_names(with_maps=with_maps)]


__all__ = [
    "choose_models",
    "default_model_names",
    "get_model",
    "model_names",
    "shipped_references",
]
