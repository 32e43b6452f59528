"""A scene taken apart into its ground and its buildings."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymark.errors import SceneError
from raymark.radio.p2040 import ITU_MATERIALS
from raymark.scenes.degrading.map_buildings import MapBuilding, find_map_buildings
from raymark.scenes.importing.sionna_scene import free_names
from raymark.scenes.scene import Scene
from raymark.scenes.scene_meshes import (
    GroundSurface,
    SceneMesh,
    are_ground,
    read_meshes,
    scattering_of,
    shapes_of,
    thickness_of,
)
from raymark.scenes.scene_xml import read_scene_xml


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A mesh of a scene, with what counts of its walls beside their material.

    Attributes:
        name: That a file can have.
        mesh: The mesh.
        is_ground: Whether it is ground.
        thickness_m: Of its walls [m].
        scattering: Scattering coefficient of its walls.
    """

    name: str
    mesh: SceneMesh
    is_ground: bool
    thickness_m: float
    scattering: float


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """A scene, taken apart.

    Attributes:
        shapes: All meshes, in their order.
        surface: The ground, for its heights.
        buildings: By name.
        sha256: Hash of the scene.
    """

    shapes: tuple[Shape, ...]
    surface: GroundSurface
    buildings: tuple[MapBuilding, ...]
    sha256: str

    @property
    def meshes(self) -> list[SceneMesh]:
        """Those of the buildings, in which their rows count."""
        return [shape.mesh for shape in self.shapes if not shape.is_ground]


def read_city(scene: Scene) -> City:
    """Take a scene apart.

    Raises:
        SceneError: If it cannot be read, has no ground or no building, or walls of another material
            than ITU-R P.2040 has.
    """
    where = f"scene '{scene.name}'"
    with tempfile.TemporaryDirectory(prefix="raymark-") as workspace:
        xml_path = scene.xml_path(Path(workspace))
        meshes = read_meshes(xml_path)
        walls = [bsdf for _, bsdf in shapes_of(read_scene_xml(xml_path).root)]
        sha256 = scene.hash(xml_path)
    _require_known_materials(meshes, where)
    grounds = are_ground(meshes)
    names = free_names([mesh.name for mesh in meshes])
    shapes = tuple(
        Shape(
            name=name,
            mesh=mesh,
            is_ground=is_ground,
            thickness_m=thickness_of(bsdf, where=where),
            scattering=scattering_of(bsdf, where=where),
        )
        for name, mesh, is_ground, bsdf in zip(names, meshes, grounds, walls, strict=True)
    )
    ground = [shape.mesh.triangles for shape in shapes if shape.is_ground]
    others = [shape.mesh for shape in shapes if not shape.is_ground]
    if not ground or not others:
        missing = "no building" if ground else "no mesh that is its ground"
        raise SceneError(f"{where} has {missing}, so that its map cannot be wrong")
    surface = GroundSurface(np.concatenate(ground))
    return City(
        shapes=shapes,
        surface=surface,
        buildings=find_map_buildings(others, surface),
        sha256=sha256,
    )


def _require_known_materials(meshes: Sequence[SceneMesh], where: str) -> None:
    for mesh in meshes:
        if mesh.material not in ITU_MATERIALS:
            raise SceneError(
                f"{where}: mesh '{mesh.name}' is of '{mesh.material}', expected a material of "
                f"ITU-R P.2040 ({', '.join(ITU_MATERIALS)}); `raymark scenes check` tells more"
            )
