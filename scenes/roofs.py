"""What stands below the roofs of a triangle mesh, as prisms: an outline, a bottom and a top.

Walls are not read, but for their material: a roof's triangles say where a building stands and how
high, what faces down below them says where it begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import shapely
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely import MultiPolygon, Polygon

WELD_M = 1e-3
"""Corners that are nearer count as one."""
STEEPEST = 0.02
"""Vertical part of a wall's unit normal, at most: 89 degrees against the ground."""

_LEVEL_M = 0.05
"""Surfaces that rise or differ by less count as level."""

Triangles = Float[np.ndarray, "triangle corner=3 axis=3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prism:
    """A piece of a building.

    Attributes:
        footprint: Outline [m].
        bottom_m: Height at which it begins [m].
        top_m: Height at which it ends [m].
        roof: Numbers of the triangles that it comes from.
    """

    footprint: Polygon | MultiPolygon
    bottom_m: float
    top_m: float
    roof: Int[np.ndarray, "row"]


def cut_prisms(triangles: Triangles, *, tolerance_m: float) -> list[Prism]:
    """Return the prisms that fill an object up to its roofs.

    Connected roof triangles become one prism at their mean height if that is within the tolerance
    everywhere. Other roofs become a prism up to their eaves and layers upon it, each as wide as
    the roof is at the layer's middle. Sloped undersides count as level at each triangle's mean.

    Args:
        triangles: Corners of one object's triangles, counter-clockwise seen from outside [m]. It
            may be open at the bottom, then it reaches down to its lowest point.
        tolerance_m: Largest difference between a roof and its prisms [m].
    """
    up = plan_normal(triangles)
    height_m = triangles[..., 2]
    base_m = float(height_m.min())
    rows = np.flatnonzero(up > STEEPEST)
    below = _undersides(triangles[up < -STEEPEST], base_m)
    prisms: list[Prism] = []
    is_level = np.ptp(height_m[rows], axis=1) < _LEVEL_M
    for group in _connected(triangles[rows], is_level):
        roof_top_m = float(height_m[rows[group]].max())
        for prism in _fill(triangles, rows[group], base_m, tolerance_m):
            prisms += _stand_on(prism, below, roof_top_m)
    return prisms


def plan_normal(triangles: Triangles) -> Float[np.ndarray, "triangle"]:
    """Return the upward part of each triangle's unit normal; 0 for those without area."""
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    length = np.linalg.norm(normal, axis=1)
    return np.divide(normal[:, 2], length, out=np.zeros(len(normal)), where=length > 1e-9)


def plan_area(triangles: Triangles) -> Float[np.ndarray, "triangle"]:
    """Return the area of each triangle seen from above [m^2]."""
    (ux, uy), (vx, vy) = (triangles[:, i, :2].T - triangles[:, 0, :2].T for i in (1, 2))
    return np.abs(ux * vy - uy * vx) / 2


def corner_numbers(triangles: Triangles) -> Int[np.ndarray, "triangle corner=3"]:
    """Return a number for each corner, the same for corners at the same place."""
    grid = np.rint(triangles.reshape(-1, 3) / WELD_M).astype("i8")
    order = np.lexsort(grid.T[::-1])  # many times faster than `np.unique` of rows
    is_new = (grid[order[1:]] != grid[order[:-1]]).any(axis=1)
    number = np.zeros(len(grid), dtype=int)
    number[order[1:]] = np.cumsum(is_new)
    return number.reshape(-1, 3)


def plan_outline(triangles: Triangles) -> Polygon | MultiPolygon:
    """Return what triangles cover, seen from above."""
    flat = shapely.polygons(triangles[plan_area(triangles) > WELD_M**2][..., :2])
    return only_polygons(shapely.union_all(flat, grid_size=WELD_M))


def _connected(
    triangles: Triangles, is_level: Bool[np.ndarray, "triangle"]
) -> list[Int[np.ndarray, "member"]]:
    """Group triangles that share edges, level ones apart from sloped ones."""
    count = len(triangles)
    corner = corner_numbers(triangles)
    one, other = np.sort(corner[:, [[0, 1], [1, 2], [2, 0]]], axis=-1).reshape(-1, 2).T
    key = 2 * (one * (3 * count) + other) + np.repeat(is_level, 3)
    keys, edge = np.unique(key, return_inverse=True)
    # A graph of triangles and their edges.
    links = (np.ones(len(edge), dtype="i1"), (np.repeat(np.arange(count), 3), count + edge))
    size = count + len(keys)
    label = connected_components(coo_array(links, shape=(size, size)), directed=False)[1][:count]
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if count else []


def _fill(
    triangles: Triangles, rows: Int[np.ndarray, "row"], base_m: float, tolerance_m: float
) -> Iterator[Prism]:
    """Yield the prisms below one connected piece of roof, all down to the object's lowest point."""
    roof = triangles[rows]
    low_m, high_m = float(roof[..., 2].min()), float(roof[..., 2].max())
    outline = plan_outline(roof)
    if high_m - low_m <= 2 * tolerance_m:
        mean_m = float(np.average(roof[..., 2].mean(axis=1), weights=plan_area(roof)))
        yield Prism(footprint=outline, bottom_m=base_m, top_m=mean_m, roof=rows)
        return
    if low_m - base_m >= _LEVEL_M:
        yield Prism(footprint=outline, bottom_m=base_m, top_m=low_m, roof=rows)
    num_layers = int(np.ceil((high_m - low_m) / (2 * tolerance_m)))
    levels_m = np.linspace(low_m, high_m, num_layers + 1)
    for bottom_m, top_m in zip(levels_m[:-1].tolist(), levels_m[1:].tolist(), strict=True):
        footprint = plan_outline(_part_above(roof, (bottom_m + top_m) / 2))
        yield Prism(footprint=footprint, bottom_m=bottom_m, top_m=top_m, roof=rows)


def _part_above(triangles: Triangles, level_m: float) -> Float[np.ndarray, "part corner=3 axis=3"]:
    vertices = triangles.reshape(-1, 3)
    faces = np.arange(len(vertices)).reshape(-1, 3)
    points, kept, _ = trimesh.intersections.slice_faces_plane(
        vertices, faces, plane_normal=(0.0, 0.0, 1.0), plane_origin=(0.0, 0.0, level_m)
    )
    return np.asarray(points, dtype=float)[kept].reshape(-1, 3, 3)


def only_polygons(geometry: shapely.Geometry) -> Polygon | MultiPolygon:
    """Leave out points and lines."""
    parts = shapely.get_parts(geometry, return_index=False)
    polygons = [part for part in parts.tolist() if part.geom_type == "Polygon"]
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)


def _undersides(triangles: Triangles, base_m: float) -> list[tuple[float, shapely.Geometry]]:
    """Return what faces down above the lowest point: heights and outlines, from the top down."""
    height_m = triangles[..., 2].mean(axis=1)
    hover = height_m > base_m + _LEVEL_M
    triangles, height_m = triangles[hover], height_m[hover]
    step = np.rint(height_m / _LEVEL_M)
    return [
        (float(height_m[step == value].mean()), plan_outline(triangles[step == value]))
        for value in np.unique(step)[::-1]
    ]


def _stand_on(
    prism: Prism, below: list[tuple[float, shapely.Geometry]], roof_top_m: float
) -> Iterator[Prism]:
    """Split a prism where undersides of different heights lie below its roof.

    The highest one counts; what of a prism lies below it is open.
    """
    left = prism.footprint
    for bottom_m, outline in below:
        if bottom_m >= roof_top_m - _LEVEL_M or left.is_empty:
            continue
        shared = only_polygons(shapely.intersection(left, outline, grid_size=WELD_M))
        if shared.is_empty:
            continue
        left = only_polygons(shapely.difference(left, outline, grid_size=WELD_M))
        if bottom_m < prism.top_m - WELD_M:
            yield replace(prism, footprint=shared, bottom_m=max(bottom_m, prism.bottom_m))
    if not left.is_empty:
        yield replace(prism, footprint=left)
