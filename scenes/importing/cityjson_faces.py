"""The faces of one object of CityJSON, told apart by their semantics or else by their shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from raymark.scenes.importing.buildings import Surface, SurfaceKind

_NOTHING = "has no geometry"
_LEVEL_M = 0.2
"""How far a corner of the ground may lie above the lowest point of the building."""
_STEEP = 0.1
"""A face with less than this of z in its normal (steeper than 84 deg) is a wall."""
_KINDS: dict[str, SurfaceKind] = {
    "WallSurface": "wall",
    "Window": "wall",
    "Door": "wall",
    "OuterCeilingSurface": "wall",
    "RoofSurface": "roof",
    "OuterFloorSurface": "roof",
    "GroundSurface": "ground",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What the faces of a document share.

    Attributes:
        vertices: Points in the source's CRS, with z [m].
        units_m: Lengths of their axes' units, near enough to tell a wall from a roof [m].
    """

    vertices: Float[np.ndarray, "vertex 3"]
    units_m: Float[np.ndarray, "3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceModel:
    """One object's faces, at the best level of detail that it has."""

    lod: int
    faces: tuple[Surface, ...]
    has_semantics_that_fit: bool

    @property
    def low_m(self) -> float:
        """Height of the lowest corner, in the source's CRS."""
        return min(float(face.rings[0][:, 2].min()) for face in self.faces)

    @property
    def high_m(self) -> float:
        """Height of the highest corner, in the source's CRS."""
        return max(float(face.rings[0][:, 2].max()) for face in self.faces)


class UnusableError(Exception):
    """Why an object cannot be used, in the words of a finding."""


def best_model(item: Mapping[str, Any], geometry: Geometry) -> FaceModel:
    """Return the finest geometry up to LoD 2; LoD 3 models windows and railings.

    Raises:
        UnusableError: If there is none, or it cannot be read.
    """
    choices = item.get("geometry") or []
    try:
        levels = [float(choice["lod"]) for choice in choices]
        usable = [i for i, level in enumerate(levels) if 0 <= level < 3]
        if not usable:
            raise UnusableError(f"is modelled at LoD {levels[0]:g} only" if levels else _NOTHING)
        best = max(usable, key=lambda i: levels[i])
        faces, fits = _faces(choices[best], geometry)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UnusableError("its geometry cannot be read") from error
    if not faces:
        raise UnusableError(_NOTHING)
    return FaceModel(lod=int(levels[best]), faces=faces, has_semantics_that_fit=fits)


def _faces(choice: Mapping[str, Any], geometry: Geometry) -> tuple[tuple[Surface, ...], bool]:
    """Return the faces of a geometry, and whether its semantics fit them.

    Semantics that do not, say nothing of any face; then their shape does.
    """
    boundaries = _outer_faces(choice["type"], choice["boundaries"])
    kinds = _kinds_of(choice, len(boundaries))
    found = [(_rings(rings, geometry.vertices), i) for i, rings in enumerate(boundaries)]
    faces = [(rings, "" if kinds is None else kinds[i]) for rings, i in found if rings]
    low_m = min((float(rings[0][:, 2].min()) for rings, _ in faces), default=0.0)
    surfaces = tuple(
        Surface(
            kind=_KINDS.get(kind) or _kind_by_shape(rings[0] * geometry.units_m, low_m), rings=rings
        )
        for rings, kind in faces
    )
    return surfaces, kinds is not None


def _outer_faces(kind: str, boundaries: Any) -> list[Any]:
    """Return the rings of every face but those of inner shells."""
    if kind in {"MultiSurface", "CompositeSurface"}:
        return list(boundaries)
    if kind == "Solid":
        return list(boundaries[0])
    if kind in {"MultiSolid", "CompositeSolid"}:
        return [face for solid in boundaries for face in solid[0]]
    raise UnusableError(f"its geometry is a {kind}, which has no faces of its own")


def _kinds_of(choice: Mapping[str, Any], num_faces: int) -> list[str] | None:
    """Return the semantic type of every face, empty where it has none; None if they do not fit."""
    semantics = choice.get("semantics") or {}
    try:
        types = {i: str(surface["type"]) for i, surface in enumerate(semantics["surfaces"])}
        values = _outer_values(choice["type"], choice["boundaries"], semantics["values"])
        kinds = ["" if value is None else types[value] for value in values]
    except (AttributeError, KeyError, TypeError, IndexError, ValueError):
        return None if semantics else [""] * num_faces
    return kinds if len(kinds) == num_faces else None


def _outer_values(kind: str, boundaries: Any, values: Any) -> list[int | None]:
    """Return the index of the semantics of every face; one null may stand for many."""
    if values is None:
        return [None] * len(_outer_faces(kind, boundaries))
    if kind in {"MultiSurface", "CompositeSurface"}:
        return list(values)
    if kind == "Solid":
        return _outer_values("MultiSurface", boundaries[0], values[0])
    pairs = zip(boundaries, values, strict=True)
    return [value for solid, own in pairs for value in _outer_values("Solid", solid, own)]


def _rings(
    boundary: list[list[int]], vertices: Float[np.ndarray, "vertex 3"]
) -> tuple[Float[np.ndarray, "point 3"], ...]:
    """Return the rings of a face without repeated points; none if its outer ring is no ring."""
    rings = []
    for indices in boundary:
        if min(indices) < 0:  # which numpy would count from the end
            raise IndexError(min(indices))
        points = vertices[np.array(indices, dtype=int)]
        differs = (points != np.roll(points, 1, axis=0)).any(axis=1)
        rings.append(points[differs])
    if len(rings[0]) < 3:
        return ()
    return tuple(ring for ring in rings if len(ring) >= 3)


def _kind_by_shape(ring_m: Float[np.ndarray, "point 3"], low_m: float) -> SurfaceKind:
    """Tell what a face is by its normal (Newell's method) and height.

    What looks down from above the ground, such as the ceiling of a passage, is taken for a wall.
    """
    offset = ring_m - ring_m[0]
    normal = np.cross(offset, np.roll(offset, -1, axis=0)).sum(axis=0)
    upwards = normal[2] / max(float(np.linalg.norm(normal)), np.finfo(float).tiny)
    if abs(upwards) > _STEEP and ring_m[:, 2].max() <= low_m + _LEVEL_M:
        return "ground"
    return "roof" if upwards > _STEEP else "wall"
