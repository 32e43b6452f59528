"""The ground of a scene: heights on a regular grid, two triangles to each of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
import trimesh
from jaxtyping import Float, Int

from raymark.scenes.importing.buildings import Footprint

Extent = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Heights on a regular grid; each cell is cut from its south-west to its north-east corner.

    Attributes:
        x_m: Grid lines from west to east [m].
        y_m: Grid lines from south to north [m].
        height_m: Heights where they cross [m].
        offset_m: The height above sea level that these count from [m]; 0 for flat ground.
    """

    x_m: Float[np.ndarray, "column"]
    y_m: Float[np.ndarray, "row"]
    height_m: Float[np.ndarray, "row column"]
    offset_m: float = 0.0

    @property
    def extent_m(self) -> Extent:
        """x_min, y_min, x_max, y_max [m]."""
        return float(self.x_m[0]), float(self.y_m[0]), float(self.x_m[-1]), float(self.y_m[-1])

    def mesh(self) -> trimesh.Trimesh:
        """Return the surface, normals upwards."""
        x, y = np.meshgrid(self.x_m, self.y_m)
        index = np.arange(x.size).reshape(x.shape)
        south_west, south_east = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
        north_west, north_east = index[1:, :-1].ravel(), index[1:, 1:].ravel()
        lower = np.column_stack([south_west, south_east, north_east])
        upper = np.column_stack([south_west, north_east, north_west])
        vertices = np.column_stack([x.ravel(), y.ravel(), self.height_m.ravel()])
        return trimesh.Trimesh(vertices=vertices, faces=np.vstack([lower, upper]), process=False)

    def height_at(self, xy_m: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point"]:
        """Return the height of the surface at points within the extent [m]."""
        cell = self._in_cells(xy_m)
        last = np.array(self.height_m.shape[::-1]) - 2
        corner = np.clip(np.floor(cell).astype("i8"), 0, last)
        u, v = (cell - corner).T
        j, i = corner.T
        h = self.height_m
        south_west, north_east = h[i, j], h[i + 1, j + 1]
        lower = south_west + u * (h[i, j + 1] - south_west) + v * (north_east - h[i, j + 1])
        upper = south_west + v * (h[i + 1, j] - south_west) + u * (north_east - h[i + 1, j])
        return np.where(u >= v, lower, upper)

    def lowest_below(self, footprints: Sequence[Footprint]) -> Float[np.ndarray, "footprint"]:
        """Return the lowest height below each footprint [m]."""
        owner, height = self._heights_below(footprints)
        lowest = np.full(len(footprints), np.inf)
        np.minimum.at(lowest, owner, height)
        return lowest

    def highest_below(self, footprints: Sequence[Footprint]) -> Float[np.ndarray, "footprint"]:
        """Return the highest height below each footprint [m]."""
        owner, height = self._heights_below(footprints)
        highest = np.full(len(footprints), -np.inf)
        np.maximum.at(highest, owner, height)
        return highest

    def _heights_below(
        self, footprints: Sequence[Footprint]
    ) -> tuple[Int[np.ndarray, "point"], Float[np.ndarray, "point"]]:
        """Return the footprint and the height [m] of all points that can be its extremes.

        The surface is flat between the edges of its triangles: the lowest and the highest point are
        grid points within the footprint, or lie on its outline, at a vertex or at a crossing with
        such an edge.
        """
        shapes = np.array(footprints)
        outline, owner = self._outline_points(shapes)
        x, y = np.meshgrid(self.x_m, self.y_m)
        nodes = np.column_stack([x.ravel(), y.ravel()])
        inside, node = shapely.STRtree(shapely.points(nodes)).query(shapes, predicate="contains")
        heights = np.concatenate([self.height_at(outline), self.height_m.ravel()[node]])
        return np.concatenate([owner, inside]), heights

    def _in_cells(self, xy_m: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        """Return positions counted in cells."""
        low = np.array([self.x_m[0], self.y_m[0]])
        step = np.array([self.x_m[1] - self.x_m[0], self.y_m[1] - self.y_m[0]])
        return (xy_m - low) / step

    def _outline_points(
        self, shapes: np.ndarray
    ) -> tuple[Float[np.ndarray, "point 2"], np.ndarray]:
        """Return vertices of the outlines and their crossings with edges, and whose they are."""
        rings, shape_of_ring = shapely.get_rings(_polygons(shapes), return_index=True)
        point, ring = shapely.get_coordinates(rings, return_index=True)
        owner = _owner(shapes)[shape_of_ring[ring]]
        same = ring[:-1] == ring[1:]
        start, end, owner_of_side = point[:-1][same], point[1:][same], owner[:-1][same]
        points, owners = [point], [owner]
        from_, to = self._in_cells(start), self._in_cells(end)
        for line in ([1.0, 0.0], [0.0, 1.0], [1.0, -1.0]):
            side, share = _crossings(from_ @ line, to @ line)
            points.append(start[side] + share[:, None] * (end[side] - start[side]))
            owners.append(owner_of_side[side])
        return np.concatenate(points), np.concatenate(owners)


def flat_ground(extent_m: Extent) -> Ground:
    """Return a plane at height 0."""
    x0, y0, x1, y1 = extent_m
    return Ground(x_m=np.array([x0, x1]), y_m=np.array([y0, y1]), height_m=np.zeros((2, 2)))


def _polygons(shapes: np.ndarray) -> np.ndarray:
    return shapely.get_parts(shapes)


def _owner(shapes: np.ndarray) -> np.ndarray:
    """Return the shape that each polygon belongs to."""
    return np.repeat(np.arange(len(shapes)), shapely.get_num_geometries(shapes))


def _crossings(
    start: Float[np.ndarray, "side"], end: Float[np.ndarray, "side"]
) -> tuple[np.ndarray, Float[np.ndarray, "crossing"]]:
    """Return where a value that runs from start to end is whole: the side and the share of it."""
    first, last = np.ceil(np.minimum(start, end)), np.floor(np.maximum(start, end))
    count = np.where(start == end, 0, np.maximum(last - first + 1, 0)).astype("i8")
    side = np.repeat(np.arange(len(start)), count)
    rank = np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count)
    value = first[side] + rank
    return side, (value - start[side]) / (end[side] - start[side])
