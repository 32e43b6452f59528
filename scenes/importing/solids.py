"""Closed surfaces of buildings: the exact union of their extruded footprints.

Each cell of the ground plan is filled over the union of the heights of the buildings above it. The
surface lies where filled and empty meet, so that shared walls vanish, overlaps merge and passages
stay open. Every vertical edge is split at all heights that occur there: no T-junctions.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from raymark.scenes.importing.buildings import Building, ImportFinding
from raymark.scenes.importing.cells import GRID_PER_M, OUTSIDE, Cells, cut_into_cells, to_grid
from raymark.scenes.importing.meshes import weld
from raymark.scenes.importing.surveyed import close_surfaces

SINK_M = 0.1
"""Floors lie this deep in the ground: else the edge of wall and floor would diffract."""

_NOUNS = {
    frozenset({"wall"}): "walls",
    frozenset({"roof"}): "roofs",
    frozenset({"wall", "roof"}): "buildings",
}

Meshes = dict[str, tuple[trimesh.Trimesh, str]]
_Interval = tuple[int, int]
_Levels = tuple[_Interval, ...]
_Corner = tuple[int, int]
"""Vertex of the ground plan and height [cm]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solids:
    """The surfaces of all buildings.

    Attributes:
        meshes: By name, each with its ITU-R P.2040 material; closed only all together.
        base_m: The height that the heights of each building count from [m].
        is_kept: Whether anything of each building is there.
        findings: Buildings that were merged, or left nothing.
    """

    meshes: Meshes
    base_m: Float[np.ndarray, "building"]
    is_kept: Bool[np.ndarray, "building"]
    findings: tuple[ImportFinding, ...]


def build_solids(buildings: Sequence[Building], ground_m: Float[np.ndarray, "building"]) -> Solids:
    """Build the surfaces of all buildings.

    Args:
        buildings: Buildings and parts; they may touch and overlap.
        ground_m: Height of the lowest ground below each footprint [m].
    """
    cells = cut_into_cells([building.footprint for building in buildings])
    neighbours = cells.neighbours()
    base_m = _shared_base(buildings, ground_m, neighbours)
    surveyed, findings = close_surfaces(buildings, base_m, neighbours, sink_m=SINK_M)
    span = _spans(buildings, base_m)
    covers = [tuple(b for b in cover if b not in surveyed) for cover in cells.covers]
    levels = [_union(span[b] for b in cover) for cover in covers]
    top_building = [max(cover, key=lambda b: span[b][1], default=-1) for cover in covers]
    faces = _Faces(cells.vertex)
    for kind, corners, cell in (*_slabs(cells, levels), *_walls(cells, levels)):
        building = buildings[top_building[cell]]
        faces.add(kind, _material(building, kind), corners)
    for index, parts in surveyed.items():
        for kind, triangles in parts.items():
            faces.add_free(kind, _material(buildings[index], kind), triangles)
    is_kept = _is_kept(covers, span, surveyed.keys())
    findings += _overlaps(buildings, covers, span) + _vanished(buildings, is_kept)
    return Solids(meshes=faces.meshes(), base_m=base_m, is_kept=is_kept, findings=findings)


class _Faces:
    """Collects triangles by material."""

    def __init__(self, vertex: Int[np.ndarray, "vertex 2"]) -> None:
        self._vertex = vertex
        self._corners: dict[str, list[np.ndarray]] = defaultdict(list)
        self._triangles_m: dict[str, list[np.ndarray]] = defaultdict(list)
        self._kinds: dict[str, set[str]] = defaultdict(set)

    def add(self, kind: str, material: str, corners: np.ndarray) -> None:
        """Add triangles [triangle 3 2] of vertices of the ground plan and heights [cm]."""
        self._corners[material].append(corners)
        self._kinds[material].add(kind)

    def add_free(self, kind: str, material: str, triangles_m: np.ndarray) -> None:
        """Add triangles [triangle 3 3] by their coordinates [m]."""
        self._triangles_m[material].append(triangles_m)
        self._kinds[material].add(kind)

    def meshes(self) -> Meshes:
        """Return one mesh per material, named after what is made of it.

        Walls and roofs of one material share a mesh, so that the edges between them diffract.
        """
        return {
            f"{material}_{_NOUNS[frozenset(kinds)]}": (weld(self._triangles(material)), material)
            for material, kinds in sorted(self._kinds.items())
        }

    def _triangles(self, material: str) -> Float[np.ndarray, "triangle 3 3"]:
        corners = np.concatenate([np.zeros((0, 3, 2), dtype="i8"), *self._corners[material]])
        grid = np.concatenate([self._vertex[corners[..., 0]], corners[..., 1:]], axis=-1)
        return np.concatenate([grid / GRID_PER_M, *self._triangles_m[material]])


def _material(building: Building, kind: str) -> str:
    return building.wall_material if kind == "wall" else building.roof_material


def _shared_base(
    buildings: Sequence[Building],
    ground_m: Float[np.ndarray, "building"],
    neighbours: set[tuple[int, int]],
) -> Float[np.ndarray, "building"]:
    """Let parts that hover count from the same ground as what they rest on."""
    pairs = [p for p in sorted(neighbours) if any(buildings[b].bottom_m > 0 for b in p)]
    rows, columns = np.array(pairs, dtype="i8").reshape(-1, 2).T
    size = len(buildings)
    graph = coo_array((np.ones(len(rows), dtype="i1"), (rows, columns)), shape=(size, size))
    num_groups, group = connected_components(graph, directed=False)
    lowest = np.full(num_groups, np.inf)
    np.minimum.at(lowest, group, ground_m)
    return lowest[group]


def _spans(buildings: Sequence[Building], base_m: Float[np.ndarray, "building"]) -> list[_Interval]:
    """Return the heights of bottom and top of all buildings [cm]."""
    bottom = np.array([b.bottom_m if b.bottom_m > 0 else -SINK_M for b in buildings])
    top = np.array([b.top_m for b in buildings])
    low, high = to_grid(base_m + bottom), to_grid(base_m + top)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _union(spans: Iterator[_Interval]) -> _Levels:
    """Return disjoint intervals in rising order; those that touch become one."""
    merged: list[_Interval] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _slabs(cells: Cells, levels: list[_Levels]) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield the tops and bottoms of all cells as (kind, corners, cell)."""
    first = np.searchsorted(cells.triangle_cell, np.arange(len(levels) + 1)).tolist()
    for cell, intervals in enumerate(levels):
        triangles = cells.triangle[first[cell] : first[cell + 1]]
        for low, high in intervals:
            for plan, z in ((triangles[:, ::-1], low), (triangles, high)):
                yield "roof", np.stack([plan, np.full_like(plan, z)], axis=-1), cell


def _walls(cells: Cells, levels: list[_Levels]) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield the walls between cells of different levels as (kind, corners, cell)."""
    heights = _heights_at_vertices(cells, levels)
    edges = zip(cells.edge.tolist(), cells.left.tolist(), cells.right.tolist(), strict=True)
    for (start, end), left, right in edges:
        inner = levels[left]
        outer = () if right == OUTSIDE else levels[right]
        if inner == outer:
            continue
        for low, high, on_left in _difference(inner, outer):
            # Seen from outside, the solid behind, the wall runs from left to right.
            a, b = (start, end) if on_left else (end, start)
            chains = [[(v, z) for z in heights[v] if low <= z <= high] for v in (a, b)]
            yield "wall", np.array(_strip(*chains)), left if on_left else right


def _heights_at_vertices(cells: Cells, levels: list[_Levels]) -> list[list[int]]:
    """Return all heights at which a cell at each vertex begins or ends, in rising order."""
    heights: list[set[int]] = [set() for _ in cells.vertex]
    edges = zip(cells.edge.tolist(), cells.left.tolist(), cells.right.tolist(), strict=True)
    for ends, left, right in edges:
        sides = levels[left] if right == OUTSIDE else levels[left] + levels[right]
        for vertex in ends:
            heights[vertex].update(z for interval in sides for z in interval)
    return [sorted(found) for found in heights]


def _difference(inner: _Levels, outer: _Levels) -> Iterator[tuple[int, int, bool]]:
    """Yield the intervals (low, high) that are in one of two sets; True if in the first."""
    breaks = sorted({z for interval in inner + outer for z in interval})
    for low, high in itertools.pairwise(breaks):
        in_inner, in_outer = (any(a <= low and high <= b for a, b in s) for s in (inner, outer))
        if in_inner != in_outer:
            yield low, high, in_inner


def _strip(left: list[_Corner], right: list[_Corner]) -> list[tuple[_Corner, _Corner, _Corner]]:
    """Fill the wall between two rising chains of corners with triangles."""
    triangles = []
    i = j = 0
    while i + 1 < len(left) or j + 1 < len(right):
        rises_left = j + 1 == len(right) or (
            i + 1 < len(left) and left[i + 1][1] <= right[j + 1][1]
        )
        if rises_left:
            triangles.append((left[i], right[j], left[i + 1]))
            i += 1
        else:
            triangles.append((left[i], right[j], right[j + 1]))
            j += 1
    return triangles


def _overlaps(
    buildings: Sequence[Building], covers: list[tuple[int, ...]], span: list[_Interval]
) -> tuple[ImportFinding, ...]:
    """Report every building whose volume overlaps that of another."""
    merged: set[int] = set()
    for cover in set(covers):
        highest = -1
        for building in sorted(cover, key=lambda b: span[b]):
            if highest >= 0 and span[building][0] < span[highest][1]:
                merged.update((building, highest))
            if highest < 0 or span[building][1] > span[highest][1]:
                highest = building
    reason = "overlaps another building; both became one solid"
    return tuple(
        ImportFinding(action="merged", reason=reason, building=buildings[b].id)
        for b in sorted(merged)
    )


def _is_kept(
    covers: list[tuple[int, ...]], span: list[_Interval], surveyed: Iterable[int]
) -> Bool[np.ndarray, "building"]:
    """Tell which buildings have a volume."""
    is_kept = np.zeros(len(span), dtype=bool)
    is_kept[[b for cover in covers for b in cover if span[b][0] < span[b][1]]] = True
    is_kept[list(surveyed)] = True
    return is_kept


def _vanished(
    buildings: Sequence[Building], is_kept: Bool[np.ndarray, "building"]
) -> tuple[ImportFinding, ...]:
    """Report every building that left nothing."""
    reason = "thinner than 10 cm or lower than 1 cm"
    return tuple(
        ImportFinding(action="dropped", reason=reason, building=buildings[i].id)
        for i in np.flatnonzero(~is_kept).tolist()
    )
