"""Tables of a scene's triangles, planes and wedges; plain numpy, made once per scene.

A plane is a connected cluster of coplanar triangles: what a reflection cannot tell apart. Chains
of reflections are chains of plane numbers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_CELL_NORMAL = 2e-5
_CELL_OFFSET_M = 1e-3
"""Triangles within these cells are coplanar. Sionna's image method takes images that differ by
under 1 cm for the same, but cells of 4 mm already merge planes that it keeps apart."""

_BOX_MARGIN_M = 0.05
_WELD_CELL_M = 0.01
_LEAST_WEDGE_ANGLE_RAD = 2e-3
_LEAST_EDGE_M = 1e-3

NO_WEDGE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Triangles:
    """All triangles of all meshes in one table.

    Attributes:
        corner_m: Corners [m].
        shape_id: The ray tracer's number of the mesh of each triangle.
        primitive: Number of each triangle within its mesh.
        first_of_shape: Row of the first triangle of each mesh, by its number.
    """

    corner_m: Float[np.ndarray, "tri 3 3"]
    shape_id: Int[np.ndarray, "tri"]
    primitive: Int[np.ndarray, "tri"]
    first_of_shape: Int[np.ndarray, "shape"]

    @property
    def count(self) -> int:
        """Number of triangles."""
        return len(self.shape_id)

    @property
    def normal(self) -> Float[np.ndarray, "tri 3"]:
        """Unit normals, of the sign that the order of the corners gives."""
        return _normals(self, np.arange(self.count))

    @property
    def centre_m(self) -> Float[np.ndarray, "tri 3"]:
        """Centres of gravity [m]."""
        return self.corner_m.mean(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """Clusters of coplanar triangles, each represented by its largest.

    Attributes:
        of_triangle: Plane of each triangle.
        normal: Unit normal.
        offset_m: Signed distance of the plane from the origin along its normal [m].
        point_m: A point of the representative triangle [m].
        triangle: Row of the representative triangle.
        low_m: Lower corner of the box of all its triangles, less 5 cm [m].
        high_m: Upper corner, plus 5 cm [m].
    """

    of_triangle: Int[np.ndarray, "tri"]
    normal: Float[np.ndarray, "plane 3"]
    offset_m: Float[np.ndarray, "plane"]
    point_m: Float[np.ndarray, "plane 3"]
    triangle: Int[np.ndarray, "plane"]
    low_m: Float[np.ndarray, "plane 3"]
    high_m: Float[np.ndarray, "plane 3"]

    @property
    def count(self) -> int:
        """Number of planes."""
        return len(self.offset_m)

    def reflect(
        self, point_m: Float[np.ndarray, "n 3"], plane: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n 3"]:
        """Return the mirror images of points in planes."""
        normal = self.normal[plane]
        height = np.einsum("ij,ij->i", normal, point_m) - self.offset_m[plane]
        return point_m - 2 * height[:, None] * normal


@dataclass(frozen=True, slots=True, kw_only=True)
class Wedges:
    """Edges that diffract: two faces with an exterior angle, in Sionna's convention.

    The normals point out of the wedge; `normal_0 x direction` points into the 0-face.

    Attributes:
        origin_m: One end of the edge [m].
        direction: Unit vector along it.
        length_m: Its length [m].
        normal_0: Outward normal of the 0-face.
        normal_n: Outward normal of the n-face.
        triangle_0: Row of the triangle of the 0-face.
        triangle_n: Row of the triangle of the n-face.
        local_edge: Number of the edge within the triangle of the 0-face.
        of_triangle: Wedge at each edge of each triangle; -1 if none.
    """

    origin_m: Float[np.ndarray, "wedge 3"]
    direction: Float[np.ndarray, "wedge 3"]
    length_m: Float[np.ndarray, "wedge"]
    normal_0: Float[np.ndarray, "wedge 3"]
    normal_n: Float[np.ndarray, "wedge 3"]
    triangle_0: Int[np.ndarray, "wedge"]
    triangle_n: Int[np.ndarray, "wedge"]
    local_edge: Int[np.ndarray, "wedge"]
    of_triangle: Int[np.ndarray, "tri 3"]

    @property
    def count(self) -> int:
        """Number of wedges."""
        return len(self.length_m)

    @property
    def along_face(self) -> Float[np.ndarray, "wedge 3"]:
        """Unit vectors from the edges into their 0-faces."""
        return np.cross(self.normal_0, self.direction)

    def at(
        self,
        triangle: Int[np.ndarray, "n"],
        end_m: Float[np.ndarray, "n 3"],
        direction: Float[np.ndarray, "n 3"],
    ) -> Int[np.ndarray, "n"]:
        """Return the wedges at edges of triangles.

        Args:
            triangle: One face of each; it must have a wedge.
            end_m: One of the ends of the edge [m].
            direction: Unit vector along it, one way or the other.
        """
        known = self.of_triangle[triangle]
        begin = self.origin_m[known]
        end = begin + self.length_m[known][..., None] * self.direction[known]
        # A wedge whose faces were swapped is stored from its other end.
        apart_m = np.minimum(
            *(np.linalg.norm(point - end_m[:, None], axis=-1) for point in (begin, end))
        )
        aligned = np.abs(np.einsum("nki,ni->nk", self.direction[known], direction))
        nearest = np.where(known >= 0, apart_m + (1 - aligned), np.inf).argmin(axis=1)
        return known[np.arange(len(known)), nearest]


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfEdges:
    """Sionna's wedge at every edge of every triangle, `3 * triangle + local_edge`.

    Attributes are those of `Wedges`; where no other triangle of the mesh shares the edge,
    `triangle_n` equals `triangle_0`.
    """

    origin_m: Float[np.ndarray, "edge 3"]
    direction: Float[np.ndarray, "edge 3"]
    length_m: Float[np.ndarray, "edge"]
    normal_0: Float[np.ndarray, "edge 3"]
    normal_n: Float[np.ndarray, "edge 3"]
    triangle_0: Int[np.ndarray, "edge"]
    triangle_n: Int[np.ndarray, "edge"]


def build_planes(triangles: Triangles) -> Planes:
    """Cluster the triangles of a scene into planes."""
    first, second, third = np.moveaxis(triangles.corner_m, 1, 0)
    cross = np.cross(second - first, third - first)
    double_area = np.linalg.norm(cross, axis=1)
    safe = np.maximum(double_area, 1e-30)[:, None]
    normal = np.where(double_area[:, None] > 1e-12, cross / safe, [0.0, 0.0, 1.0])
    normal *= _upward_sign(normal)[:, None]
    centre = triangles.centre_m
    offset = np.einsum("ij,ij->i", normal, centre)
    plane = _cluster(np.column_stack([normal / _CELL_NORMAL, offset / _CELL_OFFSET_M]))
    order = np.lexsort((-double_area, plane))
    largest = order[np.r_[True, np.diff(plane[order]) > 0]]
    low = np.full((len(largest), 3), np.inf)
    high = np.full((len(largest), 3), -np.inf)
    np.minimum.at(low, plane, triangles.corner_m.min(axis=1))
    np.maximum.at(high, plane, triangles.corner_m.max(axis=1))
    return Planes(
        of_triangle=plane,
        normal=normal[largest],
        offset_m=offset[largest],
        point_m=centre[largest],
        triangle=largest,
        low_m=low - _BOX_MARGIN_M,
        high_m=high + _BOX_MARGIN_M,
    )


def build_wedges(triangles: Triangles, edges: HalfEdges, *, weld: bool) -> Wedges:
    """Collect the diffracting edges of a scene.

    Args:
        triangles: The scene.
        edges: Sionna's wedges at all edges.
        weld: Also join edges of different meshes whose ends coincide within 1 cm. Sionna's
            built-in layouts keep walls and roofs in separate meshes, whose common edges it never
            diffracts at.
    """
    angle = np.arccos(np.clip(np.einsum("ij,ij->i", edges.normal_0, edges.normal_n), -1, 1))
    shared = (edges.triangle_0 != edges.triangle_n) & (edges.length_m > 0)
    rows = np.flatnonzero(shared & (angle > _LEAST_WEDGE_ANGLE_RAD))
    pair = np.sort(np.column_stack([edges.triangle_0[rows], edges.triangle_n[rows]]), axis=1)
    _, first, inverse = np.unique(pair, axis=0, return_index=True, return_inverse=True)
    of_edge = np.full(3 * triangles.count, NO_WEDGE)
    of_edge[rows] = inverse.ravel()
    native = rows[first]
    columns = {name: getattr(edges, name)[native] for name in HalfEdges.__slots__}
    columns["local_edge"] = native % 3
    if weld:
        welded, at_edge = _weld(triangles, np.flatnonzero(edges.triangle_0 == edges.triangle_n))
        known = at_edge >= 0
        of_edge[known] = at_edge[known] + len(native)
        columns = {name: np.concatenate([columns[name], welded[name]]) for name in columns}
    return Wedges(**columns, of_triangle=of_edge.reshape(-1, 3))


def _upward_sign(normal: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Return the sign that makes the first of z, y, x that is not zero positive."""
    x, y, z = normal.T
    leading = np.where(np.abs(z) > 1e-4, z, np.where(np.abs(y) > 1e-4, y, x))
    return np.where(leading < 0, -1.0, 1.0)


def _cluster(features: Float[np.ndarray, "n k"]) -> Int[np.ndarray, "n"]:
    """Number the groups of rows that share a cell of one of two shifted unit grids.

    Two grids, half a cell apart, keep a border from dividing what belongs together.
    """
    starts, ends = [], []
    for shift in (0.0, 0.5):
        cells = np.floor(features + shift + 0.0317).astype("i8")
        _, cell = np.unique(cells, axis=0, return_inverse=True)
        order = np.argsort(cell.ravel(), kind="stable")
        same = np.diff(cell.ravel()[order]) == 0
        starts.append(order[1:][same])
        ends.append(order[:-1][same])
    pairs = (np.concatenate(starts), np.concatenate(ends))
    size = len(features)
    graph = coo_array((np.ones(len(pairs[0]), dtype="i1"), pairs), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    return group.astype("i8")


def _weld(
    triangles: Triangles, boundary: Int[np.ndarray, "edge"]
) -> tuple[dict[str, np.ndarray], Int[np.ndarray, "all_edge"]]:
    """Join pairs of boundary edges with the same ends into wedges.

    Returns:
        The columns of the new wedges, and the new wedge at every edge of the scene (-1 if none).
    """
    tri, local = boundary // 3, boundary % 3
    start, end = triangles.corner_m[tri, local], triangles.corner_m[tri, (local + 1) % 3]
    cells = np.round(np.stack([start, end], axis=1) / _WELD_CELL_M).astype("i8")
    swap = _is_greater(cells[:, 0], cells[:, 1])
    cells[swap] = cells[swap][:, ::-1]
    _, key, count = np.unique(cells.reshape(-1, 6), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(key.ravel(), kind="stable")
    begin = np.concatenate([[0], np.cumsum(count)[:-1]])[count == 2]
    one, two = order[begin], order[begin + 1]
    wedge, valid = _welded_wedge(triangles, tri[one], tri[two], start[one], end[one])
    wedge["local_edge"] = local[one]
    at_edge = np.full(3 * triangles.count, NO_WEDGE)
    number = np.cumsum(valid) - 1
    at_edge[boundary[one[valid]]] = number[valid]
    at_edge[boundary[two[valid]]] = number[valid]
    return {name: column[valid] for name, column in wedge.items()}, at_edge


def _welded_wedge(
    triangles: Triangles,
    tri_0: Int[np.ndarray, "n"],
    tri_n: Int[np.ndarray, "n"],
    start: Float[np.ndarray, "n 3"],
    end: Float[np.ndarray, "n 3"],
) -> tuple[dict[str, np.ndarray], Bool[np.ndarray, "n"]]:
    """Orient edge and normals as Sionna's `wedge_geometry` does."""
    length = np.linalg.norm(end - start, axis=1)
    direction = (end - start) / np.maximum(length, 1e-12)[:, None]
    centre_0 = triangles.centre_m[tri_0] - start
    centre_n = triangles.centre_m[tri_n] - start
    normal_0 = _away_from(_normals(triangles, tri_0), centre_n)
    normal_n = _away_from(_normals(triangles, tri_n), centre_0)
    into_0 = np.einsum("ij,ij->i", np.cross(normal_0, direction), centre_0)
    turn = into_0 < 0
    angle = np.arccos(np.clip(np.einsum("ij,ij->i", normal_0, normal_n), -1, 1))
    columns = {
        "origin_m": np.where(turn[:, None], end, start),
        "direction": np.where(turn[:, None], -direction, direction),
        "length_m": length,
        "normal_0": normal_0,
        "normal_n": normal_n,
        "triangle_0": tri_0,
        "triangle_n": tri_n,
    }
    return columns, (length > _LEAST_EDGE_M) & (angle > _LEAST_WEDGE_ANGLE_RAD)


def _normals(triangles: Triangles, tri: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 3"]:
    first, second, third = np.moveaxis(triangles.corner_m[tri], 1, 0)
    cross = np.cross(second - first, third - first)
    return cross / np.maximum(np.linalg.norm(cross, axis=1), 1e-30)[:, None]


def _away_from(
    normal: Float[np.ndarray, "n 3"], inside: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Turn normals so that they point away from the other face."""
    towards = np.einsum("ij,ij->i", normal, inside) > 1e-6
    return np.where(towards[:, None], -normal, normal)


def _is_greater(left: Int[np.ndarray, "n 3"], right: Int[np.ndarray, "n 3"]) -> np.ndarray:
    """Compare rows lexicographically."""
    differs = left != right
    first = differs.argmax(axis=1)
    rows = np.arange(len(left))
    return differs.any(axis=1) & (left[rows, first] > right[rows, first])
