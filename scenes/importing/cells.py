"""The ground plan cut into cells, each covered by the same buildings everywhere.

All outlines are noded on a grid of 1 cm at once, so that what nearly touches touches exactly, and
the cells are a coverage: neighbours share vertices and edges.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float, Int

from raymark.scenes.importing.buildings import Footprint

GRID_PER_M = 100
OUTSIDE = -1
_SLIVER_M = 0.05
"""A cell that is nowhere twice as wide comes from inexact outlines, not from a building."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A planar coverage; grid coordinates are whole centimetres.

    Attributes:
        vertex: Grid coordinates of all vertices.
        triangle: Vertices of the triangles of all cells, counter-clockwise.
        triangle_cell: Cell of each triangle, ascending.
        edge: Start and end vertex of each border segment.
        left: Cell on the left of each edge.
        right: Cell on its right, or `OUTSIDE`.
        covers: Buildings above each cell, ascending.
        polygons: The cells as they are before slivers are absorbed, in metres.
    """

    vertex: Int[np.ndarray, "vertex 2"]
    triangle: Int[np.ndarray, "triangle 3"]
    triangle_cell: Int[np.ndarray, "triangle"]
    edge: Int[np.ndarray, "edge 2"]
    left: Int[np.ndarray, "edge"]
    right: Int[np.ndarray, "edge"]
    covers: tuple[tuple[int, ...], ...]
    polygons: np.ndarray

    def neighbours(self) -> set[tuple[int, int]]:
        """Return all pairs of buildings that overlap or share a border, the lower number first."""
        pairs = {pair for cover in set(self.covers) for pair in itertools.combinations(cover, 2)}
        for left, right in zip(self.left.tolist(), self.right.tolist(), strict=True):
            if right != OUTSIDE:
                one, other = set(self.covers[left]), set(self.covers[right])
                sides = itertools.product(one - other, other - one)
                pairs.update((min(pair), max(pair)) for pair in sides)
        return pairs


def cut_into_cells(footprints: Sequence[Footprint]) -> Cells:
    """Cut the ground plan along all outlines.

    Slivers, cells or gaps that are nowhere wider than 10 cm, count as part of the neighbour with
    the longest common border.

    Args:
        footprints: Outlines in metres; they may touch and overlap.
    """
    outlines = shapely.union_all(shapely.boundary(np.array(footprints)), grid_size=1 / GRID_PER_M)
    cells = shapely.get_parts(shapely.polygonize([outlines]))
    cells = shapely.orient_polygons(cells)
    starts, ends, owner = _directed_edges(cells)
    triangles, triangle_cell = _triangulate(cells)
    points = np.concatenate([starts, ends, triangles.reshape(-1, 2)])
    vertex, index = _number(points)
    directed = index[: 2 * len(starts)].reshape(2, -1).T
    edge, left, right = _pair_up(directed, owner, len(vertex))
    covers, is_sliver = _find_covers(cells, footprints)
    length = np.linalg.norm(np.diff(vertex[edge], axis=1)[:, 0], axis=-1)
    return Cells(
        vertex=vertex,
        triangle=index[2 * len(starts) :].reshape(-1, 3),
        triangle_cell=triangle_cell,
        edge=edge,
        left=left,
        right=right,
        covers=_absorb(covers, is_sliver, _borders(is_sliver, left, right, length)),
        polygons=cells,
    )


def to_grid(value_m: Float[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """Round lengths [m] to whole centimetres."""
    return np.rint(np.asarray(value_m) * GRID_PER_M).astype("i8")


def _directed_edges(
    cells: np.ndarray,
) -> tuple[Int[np.ndarray, "edge 2"], Int[np.ndarray, "edge 2"], Int[np.ndarray, "edge"]]:
    """Return start, end and cell of all ring segments; the cell lies on their left."""
    rings, cell_of_ring = shapely.get_rings(cells, return_index=True)
    points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    grid = to_grid(points)
    inner = ring_of_point[:-1] == ring_of_point[1:]
    return grid[:-1][inner], grid[1:][inner], cell_of_ring[ring_of_point[:-1][inner]]


def _triangulate(
    cells: np.ndarray,
) -> tuple[Int[np.ndarray, "triangle 3 2"], Int[np.ndarray, "triangle"]]:
    """Return the corners of the triangles of all cells.

    The constrained Delaunay triangulation keeps every vertex of a border, even those on straight
    lines; clipping ears (earcut) may lose them, which would tear roof and wall apart.
    """
    parts, cell = shapely.get_parts(
        shapely.constrained_delaunay_triangles(cells), return_index=True
    )
    corner = to_grid(shapely.get_coordinates(parts)).reshape(-1, 4, 2)[:, :3]
    (ux, uy), (vx, vy) = (corner[:, 1] - corner[:, 0]).T, (corner[:, 2] - corner[:, 0]).T
    clockwise = ux * vy < uy * vx
    corner[clockwise] = corner[clockwise, ::-1]
    return corner, cell


def _number(
    points: Int[np.ndarray, "n 2"],
) -> tuple[Int[np.ndarray, "vertex 2"], Int[np.ndarray, "n"]]:
    """Return the distinct points and the number of each point among them."""
    key = (points[:, 0] << 32) + points[:, 1]
    _, first, index = np.unique(key, return_index=True, return_inverse=True)
    return points[first], index


def _pair_up(
    directed: Int[np.ndarray, "directed 2"], owner: Int[np.ndarray, "directed"], num_vertices: int
) -> tuple[Int[np.ndarray, "edge 2"], Int[np.ndarray, "edge"], Int[np.ndarray, "edge"]]:
    """Join each segment with the opposite one of the neighbour: edge, left and right cell."""
    start, end = directed.T
    key, opposite = start * num_vertices + end, end * num_vertices + start
    order = np.argsort(key)
    place = np.searchsorted(key[order], opposite).clip(max=len(key) - 1)
    twin = order[place]
    right = np.where(key[twin] == opposite, owner[twin], OUTSIDE)
    kept = (right == OUTSIDE) | (start < end)
    return directed[kept], owner[kept], right[kept]


def _find_covers(
    cells: np.ndarray, footprints: Sequence[Footprint]
) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Return the buildings above a point well inside each cell, and which cells are slivers."""
    core = shapely.buffer(cells, -_SLIVER_M, join_style="mitre")
    is_sliver = shapely.is_empty(core)
    rows = np.flatnonzero(~is_sliver)
    inside = shapely.point_on_surface(core[rows])
    point, building = shapely.STRtree(np.array(footprints)).query(inside, predicate="intersects")
    covers: list[list[int]] = [[] for _ in cells]
    for row, found in zip(rows[point].tolist(), building.tolist(), strict=True):
        covers[row].append(found)
    return [tuple(sorted(cover)) for cover in covers], is_sliver


def _borders(
    is_sliver: np.ndarray,
    left: Int[np.ndarray, "edge"],
    right: Int[np.ndarray, "edge"],
    length: Float[np.ndarray, "edge"],
) -> dict[int, dict[int, float]]:
    """Return the length of the border of each sliver with each of its neighbours."""
    borders: dict[int, dict[int, float]] = {
        cell: defaultdict(float) for cell in np.flatnonzero(is_sliver).tolist()
    }
    touches = is_sliver[left] | ((right != OUTSIDE) & is_sliver[right])
    columns = (left[touches].tolist(), right[touches].tolist(), length[touches].tolist())
    for a, b, length_ in zip(*columns, strict=True):
        if a in borders:
            borders[a][b] += length_
        if b in borders:
            borders[b][a] += length_
    return borders


def _absorb(
    covers: list[tuple[int, ...]], is_sliver: np.ndarray, borders: dict[int, dict[int, float]]
) -> tuple[tuple[int, ...], ...]:
    """Give each sliver the cover of its nearest neighbour; slivers among slivers come later."""
    covers = list(covers)
    pending = set(np.flatnonzero(is_sliver).tolist())
    while pending:
        settled = {}
        for cell in sorted(pending):
            known = [(length, n) for n, length in borders[cell].items() if n not in pending]
            if known:
                neighbour = max(known)[1]
                settled[cell] = () if neighbour == OUTSIDE else covers[neighbour]
        for cell, cover in settled.items():
            covers[cell] = cover
        pending -= settled.keys()
    return tuple(covers)
