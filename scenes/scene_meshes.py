"""The meshes of a scene, as its Mitsuba XML names them, and which of them are its ground."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import shapely

from raymark.errors import SceneError
from raymark.scenes.roofs import (
    STEEPEST,
    WELD_M,
    Triangles,
    corner_numbers,
    plan_area,
    plan_normal,
)
from raymark.scenes.scene_shapes import read_shape, text_of
from raymark.scenes.scene_xml import read_scene_xml

_GROUND_NAME = re.compile(r"(^|[-_. ])(ground|terrain|plane)([-_. \d]|$)", re.IGNORECASE)
_BEFORE_NAME = re.compile(r"^(mat-)?(itu[-_])?", re.IGNORECASE)
_THICKNESS_M = 0.1
"""What Sionna RT takes where the file does not say it (its DEFAULT_THICKNESS)."""
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
    """Read the shapes of a Mitsuba scene as meshes, where they stand.

    Raises:
        SceneError: If the scene or a mesh cannot be read (`read_scene_xml`, `read_shape`).
    """
    root = read_scene_xml(xml_path).root
    return tuple(
        SceneMesh(
            name=name_of(shape),
            material="" if bsdf is None else material_of(bsdf),
            triangles=np.asarray(read_shape(shape, where=str(xml_path)).triangles, dtype=float),
        )
        for shape, bsdf in shapes_of(root)
    )


def shapes_of(root: ET.Element) -> Iterator[tuple[ET.Element, ET.Element | None]]:
    """Yield the shapes of a scene's XML, each with its BSDF, if it has one."""
    by_id = {bsdf.get("id", ""): bsdf for bsdf in root.iter("bsdf")}
    for shape in root.iter("shape"):
        named = [by_id.get(ref.get("id", "")) for ref in shape.findall("ref")]
        yield shape, next((x for x in [*shape.findall("bsdf"), *named] if x is not None), None)


def name_of(shape: ET.Element) -> str:
    """Return the name of a shape, without the "mesh-" of Mitsuba's exporters."""
    return shape.get("id", "").removeprefix("mesh-")


def material_of(bsdf: ET.Element) -> str:
    """Return the material as Sionna RT reads it: the string "type", or the id after "mat-itu_"."""
    return text_of(bsdf, "type") or _BEFORE_NAME.sub("", bsdf.get("id", ""))


def thickness_of(bsdf: ET.Element | None, *, where: str) -> float:
    """Return the thickness of the walls of a material [m]; Sionna RT's default if it says none.

    Raises:
        SceneError: If it is no number of metres.
    """
    thickness_m, text = _number(bsdf, "thickness", _THICKNESS_M)
    if not 0 <= thickness_m < np.inf:
        raise SceneError(
            f"{where}: a material has a thickness of '{text}', expected a number of metres"
        )
    return thickness_m


def scattering_of(bsdf: ET.Element | None, *, where: str) -> float:
    """Return the scattering coefficient of a material; 0 if it says none.

    Raises:
        SceneError: If it is no number from 0 to 1.
    """
    scattering, text = _number(bsdf, "scattering_coefficient", 0.0)
    if not 0 <= scattering <= 1:
        raise SceneError(
            f"{where}: a material has a scattering coefficient of '{text}', expected 0 to 1"
        )
    return scattering


def _number(bsdf: ET.Element | None, name: str, default: float) -> tuple[float, str]:
    """Return a number of a material and its text; NaN if that is none."""
    value = None if bsdf is None else bsdf.find(f"float[@name='{name}']")
    text = str(default) if value is None else value.get("value", "")
    try:
        return float(text), text
    except ValueError:
        return np.nan, text


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

    def range_below(self, footprint: shapely.Polygon | shapely.MultiPolygon) -> tuple[float, float]:
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
