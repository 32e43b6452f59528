"""Buildings whose source models them in 3D: their faces are used as they are if they are closed."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import shapely
from jaxtyping import Float

from raymark.scenes.importing.buildings import Building, ImportFinding, Surface
from raymark.scenes.importing.meshes import is_closed, weld

_DECIMALS = 3
"""Corners of one building that agree to the millimetre are the same."""
_LEAST_VOLUME_M3 = 0.1

Parts = dict[str, np.ndarray]
"""Triangles [triangle 3 3] of walls and roofs [m]."""


def close_surfaces(
    buildings: Sequence[Building],
    base_m: Float[np.ndarray, "building"],
    neighbours: set[tuple[int, int]],
    *,
    sink_m: float,
) -> tuple[dict[int, Parts], tuple[ImportFinding, ...]]:
    """Return the triangles of all buildings whose own faces can be used, by their number.

    A building that touches another, or whose faces are not closed, is left to be extruded, which
    is reported.

    Args:
        buildings: All buildings.
        base_m: The height that the heights of each building count from [m].
        neighbours: Pairs of buildings that touch or overlap.
        sink_m: How far floors are put into the ground [m].
    """
    touching = {building for pair in neighbours for building in pair}
    used, findings = {}, []
    for i, building in enumerate(buildings):
        if not building.surfaces:
            continue
        parts = None if i in touching else _closed_parts(building.surfaces, sink_m)
        if parts is not None:
            used[i] = {kind: _lift(corners, base_m[i]) for kind, corners in parts.items()}
            continue
        why = "building touches another" if i in touching else "faces are not closed"
        reason = f"extruded instead of its 3D faces: the {why}"
        findings.append(ImportFinding(action="repaired", reason=reason, building=building.id))
    return used, tuple(findings)


def _closed_parts(surfaces: Sequence[Surface], sink_m: float) -> Parts | None:
    """Return the triangles by kind, normals outwards, or None if the faces are not closed."""
    faces = []
    for surface in surfaces:
        corners = _triangulate([np.round(ring, _DECIMALS) for ring in surface.rings])
        if corners is None:
            return None
        faces.append((surface.kind, corners))
    mesh = weld(np.concatenate([corners for _, corners in faces]))
    if not is_closed(mesh) or abs(mesh.volume) < _LEAST_VOLUME_M3:
        return None
    ground = [corners.reshape(-1, 3) for kind, corners in faces if kind == "ground"]
    floor = {tuple(corner) for corner in np.concatenate([np.zeros((0, 3)), *ground]).tolist()}
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for kind, corners in faces:
        outward = corners if mesh.volume > 0 else corners[:, ::-1]
        parts["wall" if kind == "wall" else "roof"].append(_sink(outward, floor, sink_m))
    return {kind: np.concatenate(found) for kind, found in parts.items()}


def _triangulate(
    rings: Sequence[Float[np.ndarray, "point 3"]],
) -> Float[np.ndarray, "triangle 3 3"] | None:
    """Cut a flat face into triangles, wound as its outer ring; None if its outline is not valid.

    The axis that the face is most nearly perpendicular to is left out, which keeps coordinates
    exact.
    """
    outer = rings[0]
    normal = np.cross(outer, np.roll(outer, -1, axis=0)).sum(axis=0)
    axis = int(np.abs(normal).argmax())
    plan = [(axis + 1) % 3, (axis + 2) % 3]
    if min(len(ring) for ring in rings) < 3:
        return None
    face = shapely.Polygon(outer[:, plan], [ring[:, plan] for ring in rings[1:]])
    if not face.is_valid or face.area == 0:
        return None
    corner = {tuple(point[plan].tolist()): point for ring in rings for point in ring}
    parts = shapely.get_parts(shapely.constrained_delaunay_triangles(face))
    found = shapely.get_coordinates(parts).reshape(-1, 4, 2)[:, :3]
    is_ccw = shapely.is_ccw(shapely.get_exterior_ring(parts))
    found = np.where((is_ccw == (normal[axis] > 0))[:, None, None], found, found[:, ::-1])
    return np.array([[corner[tuple(point)] for point in triangle] for triangle in found.tolist()])


def _sink(
    corners: Float[np.ndarray, "triangle 3 3"], floor: set[tuple[float, ...]], sink_m: float
) -> Float[np.ndarray, "triangle 3 3"]:
    """Lower the corners that belong to a floor."""
    sunk = corners.reshape(-1, 3).copy()
    sunk[[tuple(corner) in floor for corner in sunk.tolist()], 2] -= sink_m
    return sunk.reshape(-1, 3, 3)


def _lift(
    corners: Float[np.ndarray, "triangle 3 3"], height_m: float
) -> Float[np.ndarray, "triangle 3 3"]:
    return corners + np.array([0.0, 0.0, height_m])
