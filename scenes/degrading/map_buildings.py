"""The buildings of a scene as a map has them: each by name, with its triangles and its outline.

A mesh may hold one building, its roof alone, or all walls of one material. What makes a building is
that it hangs together within one object, which its meshes' names tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Bool, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from raymark.scenes.footprints import object_name
from raymark.scenes.importing.buildings import Footprint
from raymark.scenes.roofs import (
    STEEPEST,
    WELD_M,
    Triangles,
    corner_numbers,
    plan_area,
    plan_normal,
    plan_outline,
)
from raymark.scenes.scene_meshes import GroundSurface, SceneMesh

TOUCH_M = 0.1
"""Buildings that are nearer share a wall: outlines of maps are no truer."""

_PER_M = 10
"""Places in names are in decimetres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapBuilding:
    """One building of a scene.

    Attributes:
        name: That of its object; with its place if the object has others.
        rows: Its triangles among those of all buildings.
        outline: What it covers, seen from above [m]; empty if it is but walls.
        low_m: z of the lowest ground below it [m].
        high_m: z of the highest ground below it [m].
        roof_m: z of the middle of its roof, by area [m]: towers and domes count little.
    """

    name: str
    rows: Int[np.ndarray, "row"]
    outline: Footprint
    low_m: float
    high_m: float
    roof_m: float


def find_map_buildings(
    meshes: Sequence[SceneMesh], ground: GroundSurface
) -> tuple[MapBuilding, ...]:
    """Return the buildings that meshes are of, by name.

    Triangles of one object are of one building if they share corners or meet when seen from above.
    Walls without a roof, and roofs without walls, are also of the building in another object that
    they share an edge with.

    Args:
        meshes: All but the ground; `rows` of the buildings counts through their triangles.
        ground: What they stand on.
    """
    if not meshes:
        return ()
    triangles = np.concatenate([mesh.triangles for mesh in meshes])
    names = [object_name(mesh) for mesh in meshes]
    known, number = np.unique(names, return_inverse=True)
    objects = np.repeat(number, [len(mesh.triangles) for mesh in meshes])
    label = _label(triangles, objects)
    order = np.argsort(label, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    first = [str(known[objects[rows].min()]) for rows in groups]
    found: dict[str, list[np.ndarray]] = {}
    for rows, name in zip(groups, first, strict=True):
        whole = name if first.count(name) == 1 else f"{name}@{_place(triangles[rows])}"
        found.setdefault(whole, []).append(rows)
    return tuple(
        _building(name, np.sort(np.concatenate(found[name])), triangles, ground)
        for name in sorted(found)
    )


def touching_pairs(buildings: Sequence[MapBuilding]) -> Int[np.ndarray, "pair 2"]:
    """Return the numbers of all buildings that share walls, each pair once."""
    shapes = np.array([building.outline for building in buildings], dtype=object)
    one, other = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=TOUCH_M)
    return np.column_stack([one, other])[one < other]


def linked(pairs: Int[np.ndarray, "pair 2"], count: int) -> Int[np.ndarray, "count"]:
    """Return a number for each of so many things, the same for those that pairs link."""
    ones = np.ones(len(pairs), dtype="i1")
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _building(
    name: str, rows: Int[np.ndarray, "row"], triangles: Triangles, ground: GroundSurface
) -> MapBuilding:
    own = triangles[rows]
    outline = plan_outline(own)
    corners = own.reshape(-1, 3)
    below = outline
    if outline.is_empty:
        below = shapely.MultiPoint(corners[:, :2]).convex_hull.buffer(TOUCH_M)
    low_m, high_m = ground.range_below(below)
    return MapBuilding(
        name=name,
        rows=rows,
        outline=outline,
        low_m=low_m,
        high_m=high_m,
        roof_m=_roof_m(own),
    )


def _roof_m(triangles: Triangles) -> float:
    """Return the height of which as much of a roof lies above as below [m]; that of mere walls."""
    roof = triangles[plan_normal(triangles) > STEEPEST]
    if len(roof) == 0:
        return float(triangles[..., 2].max())
    height_m = roof[..., 2].mean(axis=1)
    order = np.argsort(height_m, kind="stable")
    area_m2 = np.cumsum(plan_area(roof)[order])
    return float(height_m[order][np.searchsorted(area_m2, area_m2[-1] / 2)])


def _place(triangles: Triangles) -> str:
    low_m = triangles.reshape(-1, 3)[:, :2].min(axis=0)
    x, y = np.rint(low_m * _PER_M).astype("i8").tolist()
    return f"{x},{y}"


def _label(
    triangles: Triangles, objects: Int[np.ndarray, "triangle"]
) -> Int[np.ndarray, "triangle"]:
    """Return the number of the building that each triangle is of."""
    corner = corner_numbers(triangles)
    # A corner counts anew in each object, so that houses which share a wall stay apart.
    key = objects[:, None] * (int(corner.max()) + 1) + corner
    node = np.unique(key, return_inverse=True)[1].reshape(-1, 3)
    sides = np.concatenate([node[:, :2], node[:, 1:]])
    piece = linked(sides, int(node.max()) + 1)[node[:, 0]]
    pairs = np.concatenate(
        [
            _pairs_above_each_other(triangles, objects, piece),
            _pairs_of_fragments(triangles, corner, piece),
        ]
    )
    return linked(pairs, int(piece.max()) + 1)[piece]


def _pairs_above_each_other(
    triangles: Triangles, objects: Int[np.ndarray, "triangle"], piece: Int[np.ndarray, "triangle"]
) -> Int[np.ndarray, "pair 2"]:
    """Return the pieces of one object that meet when seen from above."""
    pieces_of = np.unique(np.column_stack([objects, piece]), axis=0)[:, 0]
    rows = np.flatnonzero(np.bincount(pieces_of)[objects] > 1)
    plans = _plans(triangles[rows])
    one, other = shapely.STRtree(plans).query(plans, predicate="intersects")
    one, other = rows[one], rows[other]
    kept = (objects[one] == objects[other]) & (piece[one] < piece[other])
    return np.column_stack([piece[one], piece[other]])[kept]


def _plans(triangles: Triangles) -> np.ndarray:
    """Return triangles as seen from above: areas, and lines where they stand upright."""
    plans = np.asarray(shapely.linestrings(triangles[..., :2]), dtype=object)
    has_area = plan_area(triangles) > WELD_M**2
    plans[has_area] = shapely.polygons(triangles[has_area][..., :2])
    return plans


def _pairs_of_fragments(
    triangles: Triangles, corner: Int[np.ndarray, "triangle 3"], piece: Int[np.ndarray, "triangle"]
) -> Int[np.ndarray, "pair 2"]:
    """Return the pieces that share an edge and of which one is but walls or but roofs."""
    is_wall = np.abs(plan_normal(triangles)) <= STEEPEST
    is_fragment = ~(_has(is_wall, piece) & _has(~is_wall, piece))
    ends = np.sort(corner[:, [[0, 1], [1, 2], [2, 0]]], axis=-1).reshape(-1, 2)
    edge = np.unique(ends, axis=0, return_inverse=True)[1].ravel()
    owner = np.repeat(piece, 3)
    shared = np.unique(np.column_stack([edge, owner]), axis=0)
    same = shared[:-1, 0] == shared[1:, 0]
    pairs = np.column_stack([shared[:-1, 1], shared[1:, 1]])[same]
    return pairs[is_fragment[pairs].any(axis=1)]


def _has(
    is_so: Bool[np.ndarray, "triangle"], piece: Int[np.ndarray, "triangle"]
) -> Bool[np.ndarray, "piece"]:
    """Tell which pieces have a triangle that is so."""
    return np.bincount(piece, weights=is_so) > 0
