"""The meshes of a scene, as its Mitsuba XML names them, and which of them are its ground."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import shapely
import trimesh

from raymark.errors import SceneError, sentence_of
from raymark.scenes.importing.buildings import Footprint
from raymark.scenes.roofs import (
    STEEPEST,
    WELD_M,
    Triangles,
    corner_numbers,
    plan_area,
    plan_normal,
)
from raymark.storage import within

_GROUND_NAME = re.compile(r"(^|[-_. ])(ground|terrain|plane)([-_. \d]|$)", re.IGNORECASE)
_GROUND_COVER = 0.9
"""A mesh without walls that covers so much of the scene's box is its ground, whatever its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneMesh:
    """A mesh of a scene.

    Attributes:
        name: Its name, without the "mesh-" that Mitsuba's exporters put before it.
        material: ITU-R P.2040 name.
        triangles: Corners of its triangles [m].
    """

    name: str
    material: str
    triangles: Triangles


def read_meshes(xml_path: Path) -> tuple[SceneMesh, ...]:
    """Read the meshes of a Mitsuba scene.

    Raises:
        SceneError: If a shape is no PLY file, is moved by a transform, or cannot be read.
    """
    try:
        root = ET.parse(xml_path).getroot()  # noqa: S314 (a scene that is about to be traced)
    except (OSError, ValueError, LookupError, ET.ParseError) as error:
        raise SceneError(f"cannot read the geometry of {xml_path}: {error}") from error
    materials = {
        bsdf.get("id", ""): _text_of(bsdf, "type") or bsdf.get("id", "")
        for bsdf in root.iter("bsdf")
    }
    return tuple(_read_mesh(shape, materials, xml_path) for shape in root.iter("shape"))


def are_ground(meshes: Sequence[SceneMesh]) -> list[bool]:
    """Tell which meshes are ground: without walls, and so named or as wide as the scene."""
    corners = np.concatenate(
        [mesh.triangles.reshape(-1, 3) for mesh in meshes] or [np.zeros((1, 3))]
    )
    width_m, depth_m, _ = np.ptp(corners, axis=0)
    found = []
    for mesh in meshes:
        area_m2 = plan_area(mesh.triangles)
        has_walls = (plan_normal(mesh.triangles)[area_m2 > WELD_M**2] < STEEPEST).any()
        is_wide = area_m2.sum() >= _GROUND_COVER * width_m * depth_m
        is_named = _GROUND_NAME.search(mesh.name) is not None
        found.append(bool(not has_walls and (is_named or is_wide)))
    return found


class GroundSurface:
    """The ground's triangles, asked for its heights below an outline."""

    def __init__(self, triangles: Triangles) -> None:
        """Index all triangles of the ground [m]."""
        triangles = triangles[plan_area(triangles) > WELD_M**2]
        self._tree = shapely.STRtree(shapely.polygons(triangles[..., :2]))
        corner = triangles.reshape(-1, 3)
        self._corner_m = corner[np.unique(corner_numbers(triangles), return_index=True)[1]]
        self._corners = shapely.STRtree(shapely.points(self._corner_m[:, :2]))
        # The plane through each triangle, z = a + b x + c y.
        columns = np.concatenate([np.ones((len(triangles), 3, 1)), triangles[..., :2]], axis=-1)
        self._plane = np.linalg.solve(columns, triangles[..., 2:])[..., 0]

    def range_below(self, footprint: Footprint) -> tuple[float, float]:
        """Return the lowest and the highest of the ground's points below an outline and within."""
        within = self._corners.query(footprint, predicate="contains")
        outline = shapely.get_coordinates(footprint)
        row, triangle = self._tree.query(shapely.points(outline), predicate="intersects")
        if len(row) == 0 and len(within) == 0:
            within = np.array([self._corners.nearest(shapely.centroid(footprint))])
        flat = np.column_stack([np.ones(len(row)), outline[row]])
        heights = (flat * self._plane[triangle]).sum(axis=1)
        heights = np.concatenate([heights, self._corner_m[within, 2]])
        return float(heights.min()), float(heights.max())


def _text_of(element: ET.Element, name: str) -> str:
    texts = (child for child in element.iter("string") if child.get("name") == name)
    return next((child.get("value", "") for child in texts), "")


def _read_mesh(shape: ET.Element, materials: dict[str, str], xml_path: Path) -> SceneMesh:
    name, file_name = shape.get("id", ""), _text_of(shape, "filename")
    fault = ""
    if shape.get("type") != "ply":
        fault = f"is of type '{shape.get('type')}', expected 'ply'"
    elif shape.find("transform") is not None:
        fault = "is moved by a transform; write its mesh where it stands"
    if fault:
        raise SceneError(f"{xml_path}: shape '{name}' {fault}")
    refs = [ref.get("id", "") for ref in shape.iter("ref")]
    return SceneMesh(
        name=name.removeprefix("mesh-"),
        material=materials.get(refs[0], refs[0]) if refs else "",
        triangles=_read_triangles(within(xml_path.parent, file_name), xml_path),
    )


def _read_triangles(path: Path, xml_path: Path) -> Triangles:
    try:
        mesh = trimesh.load_mesh(path, process=False)
        triangles = np.asarray(mesh.triangles, dtype=float)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        name = path.relative_to(xml_path.parent)
        raise SceneError(f"{xml_path}: cannot read {name} ({sentence_of(error)})") from error
    if (mesh.faces < 0).any() or not np.isfinite(triangles).all():
        raise SceneError(f"{xml_path}: {path} has corners that do not exist or are not finite")
    return triangles
