"""Localization models: every folder with a `model.yaml` is one, found by name."""

from collections.abc import Sequence
from pathlib import Path

from raymark.benchmark.following import FollowingModel, split_name
from raymark.benchmark.localizer import INFO_NAME, ModelFolder, read_model_folder
from raymark.benchmark.model_names import require_free_name
from raymark.benchmark.site_fusion import SUFFIX, FusedModel
from raymark.config import read_text
from raymark.errors import ConfigError
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


def default_model_names(*, with_maps: bool = False, with_sites: bool = False) -> list[str]:
    """Return the names of the models that run without being asked for: all but expensive ones.

    Args:
        with_maps: Whether there are maps, for models that know the city.
        with_sites: Whether several sites hear a UE, for models that take that.
    """
    names = _servable_names(with_maps, with_sites)
    return [name for name in names if not get_model(name).info.is_expensive]


def _servable_names(with_maps: bool, with_sites: bool) -> list[str]:
    models = [get_model(name) for name in model_names()]
    return [
        model.name
        for model in models
        if (with_maps or not model.needs_map) and (with_sites or not model.hears_sites)
    ]


def get_model(name: str) -> ModelFolder:
    """Return a model by its name or the path of its folder; a suffix makes more of it.

    Args:
        name: `MODEL`; `MODEL+filter` or `MODEL+smoother` along tracks; `MODEL+sites` over sites.

    Raises:
        ConfigError: If there is none (the nearest is offered), its folder cannot be read, or a
            folder of a user's is named as something else is.
    """
    is_fused = name.endswith(SUFFIX)
    alone, method = (name.removesuffix(SUFFIX), None) if is_fused else split_name(name)
    if alone != name:
        if not alone:
            raise ConfigError(
                f"'{name}' names no model before '{name[0]}'; as in extra_trees{name}"
            )
        base = get_model(alone)
        if type(base) is not ModelFolder:
            raise ConfigError(f"'{name}' is no model: a model's name takes one suffix alone")
        return FusedModel.of(base) if method is None else FollowingModel.of(base, method)
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
    name, _ = split_name(name.removesuffix(SUFFIX))
    path = _FOLDER / name / "references.bib"
    return read_text(path) if name in model_names() and path.is_file() else ""


def choose_models(
    names: Sequence[str] = (), *, with_maps: bool = False, with_sites: bool = False
) -> list[ModelFolder]:
    """Return the models that are named (or whose folders are), all of them, or the usual ones.

    Args:
        names: Names or paths of folders; `["all"]` for every model that ships with raymark, none
            for those of them that are not expensive.
        with_maps: Whether there are maps; without, models that know the city are left out where
            they are not named.
        with_sites: Whether several sites hear a UE; without, models that take that are left out
            where they are not named.

    Raises:
        ConfigError: If there is no such model (the nearest is offered).
    """
    if list(names) == ["all"]:
        names = _servable_names(with_maps, with_sites)
    names = names or default_model_names(with_maps=with_maps, with_sites=with_sites)
    return [get_model(name) for name in names]


__all__ = [
    "choose_models",
    "default_model_names",
    "get_model",
    "model_names",
    "shipped_references",
]
