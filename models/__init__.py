"""Localization models: every folder with a `model.yaml` is one, found by name."""

from collections.abc import Sequence
from pathlib import Path

from raymark.benchmark.localizer import INFO_NAME, ModelFolder, read_model_folder
from raymark.registry import Registry

_REGISTRY = Registry(
    "model",
    Path(__file__).parent,
    INFO_NAME,
    lambda folder: read_model_folder(folder, package="raymark.models"),
)


def model_names() -> list[str]:
    """Return the names of the models that ship with raymark, sorted."""
    return _REGISTRY.names()


def default_model_names() -> list[str]:
    """Return the names of the models that run without being asked for: all but expensive ones."""
    return [name for name in model_names() if not get_model(name).info.is_expensive]


def get_model(name: str) -> ModelFolder:
    """Return a model by its name, or by the path of its folder.

    Raises:
        ConfigError: If there is none (the nearest is offered) or its folder cannot be read.
    """
    folder = Path(name)
    if name not in model_names() and (folder.is_dir() or len(folder.parts) > 1):
        return read_model_folder(folder)
    return _REGISTRY.get(name)


def choose_models(names: Sequence[str] = ()) -> list[ModelFolder]:
    """Return the models that are named (or whose folders are), all of them, or the usual ones.

    Args:
        names: Names or paths of folders; `["all"]` for every model that ships with raymark, none
            for those of them that are not expensive.

    Raises:
        ConfigError: If there is no such model (the nearest is offered).
    """
    if list(names) == ["all"]:
        names = model_names()
    return [get_model(name) for name in names or default_model_names()]


__all__ = ["choose_models", "default_model_names", "get_model", "model_names"]
