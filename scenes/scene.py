"""A scene: a folder with `scene.yaml` and `card.md`; geometry by reference, in files or made."""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from raymark.config import (
    Strict,
    canonical_json,
    nearest,
    read_text,
    read_yaml,
    require_name,
    validate,
)
from raymark.errors import SceneError
from raymark.radio import Site
from raymark.registry import Registry
from raymark.scenes.geometries import GEOMETRIES, Extent, Params, known_geometry
from raymark.scenes.scene_xml import read_scene_xml
from raymark.scenes.trust import trust_folder


class SceneSettings(Strict):
    """The whole of a `scene.yaml`."""

    title: str = Field(description="One line for lists and figures")
    geometry: Annotated[str, AfterValidator(known_geometry)] = Field(
        description="sionna: ships with sionna-rt; files: scene.xml beside; procedural: a module"
    )
    source: str = Field(description="Where the geometry comes from")
    licence: str = Field(description="Licence of the geometry, an SPDX name")
    attribution: str = Field(description="Whom its users must name")
    materials: tuple[str, ...] = Field(description="ITU-R P.2040 names of all that occur")
    extent_m: Extent = Field(description="x_min, y_min, x_max, y_max of the ground [m]")
    los_share: dict[str, float] = Field(
        default_factory=dict,
        description="Measured LOS share of outdoor points in each site's sector, 10-200 m",
    )
    sites: tuple[Site, ...] = Field(default=(), description="Its base stations")


class Scene:
    """One scene, with the parameters of a procedural one filled in.

    Attributes:
        name: Name of its folder.
        folder: Where `scene.yaml` lies.
        settings: What `scene.yaml` says.
        geometry: Where its geometry comes from, and what follows from that.
    """

    def __init__(self, folder: Path, params: Params | None = None) -> None:
        """Read `folder/scene.yaml`, and run the code of a procedural scene that is trusted.

        Raises:
            ConfigError: If it cannot be read or holds a wrong value.
            SceneError: If a parameter is unknown or has an absurd value, or if the code of the
                scene is not trusted or fails.
        """
        self.name = _checked_name(folder)
        self.folder = folder
        path = folder / "scene.yaml"
        self.settings = validate(SceneSettings, read_yaml(path), where=str(path))
        self.geometry = GEOMETRIES[self.settings.geometry].make(
            folder, params or {}, extent_m=self.settings.extent_m, sites=self.settings.sites
        )

    def with_params(self, params: Params) -> "Scene":
        """Return the same scene with other parameters."""
        return Scene(self.folder, params) if params else self

    @property
    def params(self) -> Params:
        """All parameters; empty if the scene is not procedural."""
        return self.geometry.params

    @property
    def sites(self) -> tuple[Site, ...]:
        """All sites."""
        return self.geometry.sites

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
    def extent_m(self) -> Extent:
        """x_min, y_min, x_max, y_max of the ground [m]."""
        return self.geometry.extent_m

    def xml_path(self, workspace: Path) -> Path:
        """Return the Mitsuba XML of the geometry; a procedural one is written to `workspace`.

        Raises:
            SceneError: If the geometry is not where it should be.
        """
        return self.geometry.xml_path(workspace)

    def hash(self, xml_path: Path) -> str:
        """Return the SHA-256 over settings, parameters, XML, what it names, and the user's code.

        Raises:
            SceneError: If the XML cannot be read or names what it must not (`read_scene_xml`).
        """
        digest = hashlib.sha256(canonical_json(self.settings).encode())
        digest.update(canonical_json(self.params).encode())
        for path in [xml_path, *read_scene_xml(xml_path).files]:
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
        digest.update(self.geometry.code)
        return digest.hexdigest()

    @property
    def card(self) -> str:
        """Text of `card.md`; its title if there is none.

        Raises:
            ConfigError: If it cannot be read.
        """
        path = self.folder / "card.md"
        if not path.exists():
            return f"# {self.settings.title}\n\n{self.folder} holds no card.md.\n"
        return read_text(path)


def scene_names() -> list[str]:
    """Return the names of the built-in scenes."""
    return _REGISTRY.names()


def get_scene(name: str, params: Params | None = None, *, trust_code: bool = False) -> Scene:
    """Return a built-in scene by its name, or one of the user's by the path of its folder.

    Args:
        name: Name or path.
        params: Parameters of a procedural scene; the rest have their defaults.
        trust_code: Run the code of the user's procedural scene, now and whenever this process
            meets its folder again.

    Raises:
        ConfigError: If the name is unknown (the nearest is offered).
        SceneError: If a parameter is wrong, or if the code of the scene is not trusted or fails.
    """
    folder = Path(name)
    if (folder / "scene.yaml").is_file():
        if trust_code:
            trust_folder(folder)
        return Scene(folder, params)
    return _REGISTRY.get(name).with_params(params or {})


def _checked_name(folder: Path) -> str:
    name = folder.resolve().name
    try:
        return require_name(name)
    except ValueError as error:
        raise SceneError(
            f"the folder {folder} gives a scene the name {name!r}: {error}; rename the folder"
        ) from error


_REGISTRY = Registry("scene", Path(__file__).parent, "scene.yaml", Scene)
