"""Shapes of a Mitsuba XML as meshes: files, cubes and rectangles, brought to where they stand."""

import io
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import trimesh
from jaxtyping import Float
from trimesh.exchange.ply import load_ply

from raymark.errors import SceneError

Matrix = Float[np.ndarray, "4 4"]


def read_shape(shape: ET.Element, *, where: str) -> trimesh.Trimesh:
    """Return the mesh of a shape, moved as its transforms say.

    Args:
        shape: Element of an XML that `read_scene_xml` gave.
        where: What errors name.

    Raises:
        SceneError: If its file holds no mesh, or a transform no numbers.
    """
    kind = shape.get("type", "")
    mesh = _UNIT_SHAPES[kind]() if kind in _UNIT_SHAPES else _from_file(shape, where)
    for transform in shape.findall("transform"):
        mesh.apply_transform(_matrix_of(transform, where))
    if not mesh.area > 0:
        raise SceneError(
            f"{where}: shape '{shape.get('id', '')}' has no area; its transform flattens it"
        )
    flips = shape.find("boolean[@name='flip_normals']")
    if flips is not None and flips.get("value") == "true":
        mesh.invert()
    return mesh


def text_of(element: ET.Element, name: str) -> str:
    """Return the value of a string of an element; empty if it has none of that name."""
    texts = (child for child in element.findall("string") if child.get("name") == name)
    return next((child.get("value", "") for child in texts), "")


def _from_file(shape: ET.Element, where: str) -> trimesh.Trimesh:
    path, kind = Path(text_of(shape, "filename")), shape.get("type", "")
    try:
        # From its bytes, so that nothing is opened that the mesh names.
        content = io.BytesIO(path.read_bytes())
        mesh = _READERS[kind](content)
        corners = np.asarray(mesh.triangles, dtype=float)
    except Exception as error:  # trimesh raises what its parsers stumble over
        reason = " ".join(str(error).split())
        raise SceneError(f"{where}: cannot read {path.name} ({reason})") from error
    fault = ""
    if len(corners) == 0:
        fault = "holds no triangle"
    elif (mesh.faces < 0).any() or not np.isfinite(corners).all():
        fault = "has a corner that does not exist or is no number"
    if fault:
        raise SceneError(f"{where}: {path.name} {fault}; export it again")
    return mesh


def _read_ply(content: io.BytesIO) -> trimesh.Trimesh:
    """Read what a PLY file is, without the scene that trimesh would make of it and copy."""
    found = load_ply(content, skip_materials=True)
    faces = found.get("faces")
    faces = np.zeros((0, 3), dtype=int) if faces is None else faces
    return trimesh.Trimesh(found["vertices"], faces, process=False)


def _read_obj(content: io.BytesIO) -> trimesh.Trimesh:
    return trimesh.load_mesh(
        content,
        file_type="obj",
        process=False,
        skip_materials=True,
        group_material=False,
        split_object=False,
    )


def _cube() -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=[[-1, -1, -1], [1, 1, 1]])


def _rectangle() -> trimesh.Trimesh:
    corners = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)


def _matrix_of(transform: ET.Element, where: str) -> Matrix:
    """Return a transform; its steps are applied one after the other."""
    matrix = np.eye(4)
    for step in transform:
        try:
            matrix = _STEPS[step.tag](step) @ matrix
        except (KeyError, ValueError) as error:
            text = ET.tostring(step, encoding="unicode").strip()
            raise SceneError(f"{where}: cannot read the transform {text}") from error
    if not np.isfinite(matrix).all():
        raise SceneError(f"{where}: a transform has a value that is no number")
    return matrix


def _vector(step: ET.Element, default: float) -> Float[np.ndarray, "3"]:
    """Return what `value` says, once or thrice, or x, y and z do."""
    value = step.get("value")
    if value is not None:
        return np.broadcast_to(_numbers(value), 3)
    return np.array([float(step.get(axis, default)) for axis in "xyz"])


def _numbers(text: str) -> Float[np.ndarray, " number"]:
    return np.array(text.replace(",", " ").split(), dtype=float)


def _translate(step: ET.Element) -> Matrix:
    return np.asarray(trimesh.transformations.translation_matrix(_vector(step, 0.0)))


def _scale(step: ET.Element) -> Matrix:
    return np.diag([*_vector(step, 1.0), 1.0])


def _rotate(step: ET.Element) -> Matrix:
    angle_rad = np.deg2rad(float(step.get("angle", "")))
    return np.asarray(trimesh.transformations.rotation_matrix(angle_rad, _vector(step, 0.0)))


def _matrix(step: ET.Element) -> Matrix:
    values = _numbers(step.get("value", ""))
    if len(values) == 9:
        return np.block([[values.reshape(3, 3), np.zeros((3, 1))], [np.zeros((1, 3)), np.eye(1)]])
    return values.reshape(4, 4)


_READERS: dict[str, Callable[[io.BytesIO], trimesh.Trimesh]] = {"ply": _read_ply, "obj": _read_obj}
_UNIT_SHAPES: dict[str, Callable[[], trimesh.Trimesh]] = {"cube": _cube, "rectangle": _rectangle}
_STEPS: dict[str, Callable[[ET.Element], Matrix]] = {
    "translate": _translate,
    "scale": _scale,
    "rotate": _rotate,
    "matrix": _matrix,
}
