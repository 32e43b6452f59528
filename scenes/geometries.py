"""Where the geometry of a scene comes from: what `geometry` in its `scene.yaml` names.

Another way is one class here, named in `GEOMETRIES`.
"""

import contextlib
import hashlib
import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Protocol, runtime_checkable

from raymark.config import Strict, nearest, validate
from raymark.errors import RaymarkError, SceneError
from raymark.extras import install_command
from raymark.radio import Site
from raymark.scenes.trust import CODE_NAME, is_shipped, require_trust

Params = dict[str, float | int | str]
Extent = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry(ABC):
    """The geometry of one scene, and what follows from it.

    Attributes:
        folder: Folder of the scene.
        extent_m: x_min, y_min, x_max, y_max of the ground [m].
        sites: All sites.
        params: All parameters; empty if the scene is not procedural.
        code: Source that is part of what the scene is; empty if there is none, or if it ships with
            raymark, whose version stands for it.
    """

    has_computed_sites: ClassVar[bool] = False
    """Whether sites follow from parameters, so that none can be added to `scene.yaml`."""

    folder: Path
    extent_m: Extent
    sites: tuple[Site, ...]
    params: Params = field(default_factory=dict)
    code: bytes = b""

    @classmethod
    def make(
        cls, folder: Path, params: Params, *, extent_m: Extent, sites: tuple[Site, ...]
    ) -> "Geometry":
        """Return the geometry of a scene.

        Args:
            folder: Folder of the scene.
            params: What was asked for.
            extent_m: What `scene.yaml` says [m].
            sites: What `scene.yaml` says.

        Raises:
            SceneError: If a parameter cannot be used.
        """
        if params:
            raise SceneError(f"scene '{_name(folder)}' is not procedural and has no parameters")
        return cls(folder=folder, extent_m=extent_m, sites=sites)

    @abstractmethod
    def xml_path(self, workspace: Path) -> Path:
        """Return the Mitsuba XML; a procedural one is written to `workspace`.

        Raises:
            SceneError: If the geometry is not where it should be.
        """


class SionnaGeometry(Geometry):
    """A scene of the same name that ships with sionna-rt."""

    __slots__ = ()

    def xml_path(self, workspace: Path) -> Path:  # noqa: ARG002 - for those that are made
        """Return where sionna-rt has it, without importing it.

        Raises:
            SceneError: If sionna-rt has no such scene, or is not installed.
        """
        name = _name(self.folder)
        return _existing(name, (_sionna_scenes() / name / f"{name}.xml").resolve())


class FilesGeometry(Geometry):
    """`scene.xml` and its meshes in the folder."""

    __slots__ = ()

    def xml_path(self, workspace: Path) -> Path:  # noqa: ARG002 - for those that are made
        """Return the file in the folder.

        Raises:
            SceneError: If it is missing.
        """
        return _existing(_name(self.folder), self.folder / "scene.xml")


@runtime_checkable
class GeometryModule(Protocol):
    """What `geometry.py` of a procedural scene offers."""

    def default_params(self) -> Params:
        """Return every parameter with its default."""

    def build(self, params: Params, folder: Path) -> None:
        """Write `scene.xml` and its meshes into `folder`; the same bytes for the same values."""

    def sites(self, params: Params) -> tuple[Site, ...]:
        """Return the sites of the scene with these parameters."""

    def extent(self, params: Params) -> Extent:
        """Return x_min, y_min, x_max, y_max of the ground [m]."""


class _Computed(Strict):
    """What a module answered."""

    params: Params
    extent_m: Extent
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProceduralGeometry(Geometry):
    """Computed from parameters by `geometry.py` in the folder.

    Attributes:
        module: The code, loaded.
    """

    has_computed_sites: ClassVar[bool] = True

    module: GeometryModule

    @classmethod
    def make(
        cls,
        folder: Path,
        params: Params,
        *,
        extent_m: Extent,  # noqa: ARG003 - computed, too
        sites: tuple[Site, ...],  # noqa: ARG003
    ) -> "ProceduralGeometry":
        """Run the code of a scene, if it is trusted, and ask it for extent and sites.

        Args:
            folder: Folder of the scene.
            params: What was asked for; the rest has its default.
            extent_m: Not used.
            sites: Not used.

        Raises:
            SceneError: If the code is not trusted or fails, or if a parameter is unknown or absurd.
            ConfigError: If the code answers something else than it should.
        """
        require_trust(folder)
        path = folder / CODE_NAME
        code = path.read_bytes() if path.is_file() else b""
        with _blaming(path):
            module = _load(path, code)
            if not isinstance(module, GeometryModule):
                raise SceneError(
                    f"{path} must define default_params, build, sites and extent, as "
                    "docs/new_scene.md shows"
                )
            filled = _filled(_name(folder), params, module.default_params())
            answers = {"extent_m": module.extent(filled), "sites": module.sites(filled)}
        computed = validate(_Computed, {"params": filled, **answers}, where=str(path))
        return cls(
            folder=folder,
            extent_m=computed.extent_m,
            sites=computed.sites,
            params=computed.params,
            code=b"" if is_shipped(folder) else code,
            module=module,
        )

    def xml_path(self, workspace: Path) -> Path:
        """Build the geometry in `workspace`.

        Raises:
            SceneError: If the code fails, or writes no `scene.xml`.
        """
        with _blaming(self.folder / CODE_NAME):
            self.module.build(self.params, workspace)
        return _existing(_name(self.folder), workspace / "scene.xml")


GEOMETRIES: dict[str, type[Geometry]] = {
    "sionna": SionnaGeometry,
    "files": FilesGeometry,
    "procedural": ProceduralGeometry,
}
"""Every way by its name in `scene.yaml`."""


def known_geometry(name: str) -> str:
    """Return the name of a geometry as it is.

    Raises:
        ValueError: If there is none of that name (the nearest is offered).
    """
    if name not in GEOMETRIES:
        known = list(GEOMETRIES)
        raise ValueError(
            f"unknown geometry '{name}'{nearest(name, known)} (there are: {', '.join(known)})"
        )
    return name


def _load(path: Path, code: bytes) -> ModuleType:
    """Run a source as a module of a name of its own: what was hashed is what runs, from no cache.

    Raises:
        SceneError: If there is no source.
    """
    if not code:
        raise SceneError(f"{path} is missing or empty; a procedural scene is made by it")
    digest = hashlib.sha256(f"{path.resolve()}\0".encode() + code).hexdigest()
    name = f"raymark_scene_{digest[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module  # dataclasses and pickle look there
        try:
            exec(compile(code, str(path), "exec"), module.__dict__)  # noqa: S102 - trusted
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say whose code it was that failed."""
    try:
        yield
    except RaymarkError:
        raise
    except Exception as error:
        raise SceneError(f"{path} failed: {type(error).__name__}: {error}") from error


def _filled(scene: str, params: Params, defaults: Params) -> Params:
    for key in params:
        if key not in defaults:
            raise SceneError(
                f"scene '{scene}' has no parameter '{key}'{nearest(key, list(defaults))} "
                f"(it has: {', '.join(defaults)})"
            )
    return {**defaults, **params}


def _name(folder: Path) -> str:
    return folder.resolve().name


def _existing(scene: str, path: Path) -> Path:
    if not path.is_file():
        raise SceneError(f"scene '{scene}': its geometry {path} is missing")
    return path


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
