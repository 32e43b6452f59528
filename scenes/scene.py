"""A scene: a folder with `scene.yaml` and `card.md`; geometry by reference, in files or made."""

import hashlib
import importlib
import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

from pydantic import Field

from raymark.config import Strict, canonical_json, nearest, read_yaml, validate
from raymark.errors import SceneError
from raymark.extras import install_command
from raymark.radio import Site
from raymark.registry import Registry

Params = dict[str, float | int | str]


class SceneSettings(Strict):
    """The whole of a `scene.yaml`."""

    title: str
    geometry: Literal["sionna", "files", "procedural"] = Field(
        description="sionna: ships with sionna-rt; files: scene.xml beside; procedural: a module"
    )
    source: str
    licence: str
    attribution: str
    materials: tuple[str, ...] = Field(description="ITU-R P.2040 names of all that occur")
    extent_m: tuple[float, float, float, float] = Field(
        description="x_min, y_min, x_max, y_max of the ground [m]"
    )
    los_share: dict[str, float] = Field(
        default_factory=dict,
        description="Measured LOS share of outdoor points in each site's sector, 10-200 m",
    )
    sites: tuple[Site, ...] = ()


@runtime_checkable
class GeometryModule(Protocol):
    """What `scenes/<name>/geometry.py` of a procedural scene offers."""

    def default_params(self) -> Params:
        """Return every parameter with its default."""

    def build(self, params: Params, folder: Path) -> None:
        """Write `scene.xml` and its meshes into `folder`; the same bytes for the same values."""

    def sites(self, params: Params) -> tuple[Site, ...]:
        """Return the sites of the scene with these parameters."""

    def extent(self, params: Params) -> tuple[float, float, float, float]:
        """Return x_min, y_min, x_max, y_max of the ground [m]."""


class Scene:
    """One scene, with the parameters of a procedural one filled in.

    Attributes:
        name: Name of its folder.
        folder: Where `scene.yaml` lies.
        settings: What `scene.yaml` says.
        params: All parameters; empty if the scene is not procedural.
    """

    def __init__(self, folder: Path, params: Params | None = None) -> None:
        """Read `folder/scene.yaml`.

        Raises:
            ConfigError: If it cannot be read or holds a wrong value.
            SceneError: If a parameter is unknown or has an absurd value.
        """
        self.name = folder.resolve().name
        self.folder = folder
        path = folder / "scene.yaml"
        self.settings = validate(SceneSettings, read_yaml(path), where=str(path))
        self.params = self._fill_params(params or {})

    def with_params(self, params: Params) -> "Scene":
        """Return the same scene with other parameters."""
        return Scene(self.folder, params) if params else self

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """All sites."""
        if self.settings.geometry == "procedural":
            return self._module.sites(self.params)
        return self.settings.sites

    def site(self, name: str) -> Site:
        """Return a site by its name.

        Raises:
            SceneError: If there is none of that name (the nearest is offered).
        """
        known = [site.name for site in self.sites]
        if name not in known:
            raise SceneError(
                f"scene '{self.name}' has no site '{name}'{nearest(name, known)} "
                f"(it has: {', '.join(known)})"
            )
        return self.sites[known.index(name)]

    @property
    def extent_m(self) -> tuple[float, float, float, float]:
        """x_min, y_min, x_max, y_max of the ground [m]."""
        if self.settings.geometry == "procedural":
            return self._module.extent(self.params)
        return self.settings.extent_m

    def xml_path(self, workspace: Path) -> Path:
        """Return the Mitsuba XML of the geometry; a procedural one is written to `workspace`.

        Raises:
            SceneError: If the geometry is not where it should be.
        """
        if self.settings.geometry == "procedural":
            self._module.build(self.params, workspace)
            return workspace / "scene.xml"
        if self.settings.geometry == "sionna":
            path = _sionna_scenes() / self.name / f"{self.name}.xml"
        else:
            path = self.folder / "scene.xml"
        if not path.is_file():
            raise SceneError(f"scene '{self.name}': its geometry {path} is missing")
        return path

    def hash(self, xml_path: Path) -> str:
        """Return the SHA-256 over settings, parameters, XML and meshes."""
        digest = hashlib.sha256(canonical_json(self.settings).encode())
        digest.update(canonical_json(self.params).encode())
        for path in [xml_path, *sorted(xml_path.parent.glob("meshes/*.ply"))]:
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def card(self) -> str:
        """Text of `card.md`."""
        return (self.folder / "card.md").read_text(encoding="utf-8")

    @cached_property
    def _module(self) -> GeometryModule:
        module: Any = importlib.import_module(f"raymark.scenes.{self.name}.geometry")
        return cast("GeometryModule", module)

    def _fill_params(self, params: Params) -> Params:
        if self.settings.geometry != "procedural":
            if params:
                raise SceneError(f"scene '{self.name}' is not procedural and has no parameters")
            return {}
        defaults = self._module.default_params()
        for key in params:
            if key not in defaults:
                raise SceneError(
                    f"scene '{self.name}' has no parameter '{key}'{nearest(key, list(defaults))} "
                    f"(it has: {', '.join(defaults)})"
                )
        return {**defaults, **params}


def scene_names() -> list[str]:
    """Return the names of the built-in scenes."""
    return _REGISTRY.names()


def get_scene(name: str, params: Params | None = None) -> Scene:
    """Return a built-in scene by its name, or one of the user's by the path of its folder.

    Raises:
        ConfigError: If the name is unknown (the nearest is offered).
        SceneError: If a parameter is wrong.
    """
    folder = Path(name)
    if (folder / "scene.yaml").is_file():
        return Scene(folder, params)
    return _REGISTRY.get(name).with_params(params or {})


def _sionna_scenes() -> Path:
    """Find the scenes that ship with sionna-rt, without importing it."""
    spec = importlib.util.find_spec("sionna")
    roots = list(spec.submodule_search_locations or []) if spec else []
    for root in roots:
        if (Path(root) / "rt" / "scenes").is_dir():
            return Path(root) / "rt" / "scenes"
    raise SceneError(
        "sionna-rt is not installed, so its scenes are missing; "
        f"`{install_command('generate')}` adds it"
    )


_REGISTRY = Registry("scene", Path(__file__).parent, "scene.yaml", Scene)
