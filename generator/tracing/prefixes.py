"""Prefixes of diffracted paths: which edges the BS reaches through which reflections.

Points all along every edge are tried through every beam that may reach them: an edge is found
however little of its faces the BS can see.
"""

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.generator.tracing.backtracking import source_images
from raymark.generator.tracing.beams import Beams, BeamTable
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.tables import Wedges
from raymark.generator.tracing.targets import PairSearch, TargetTree, build_tree

OFF_EDGE_M = 1e-3
"""Step from an edge into the open, as in Sionna's image method."""

_OUTSIDE_M = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """Edges that the BS reaches after a chain of reflections.

    Attributes:
        plane: Planes of the reflections before the edge.
        wedge: The edge.
        flip: Whether the n-face is turned to the last image of the BS.
        image_m: Last image of the BS [m].
        sees: Whether the point in each part of the edge is visible through the chain.
    """

    plane: Int[np.ndarray, "prefix length"]
    wedge: Int[np.ndarray, "prefix"]
    flip: Bool[np.ndarray, "prefix"]
    image_m: Float[np.ndarray, "prefix 3"]
    sees: Bool[np.ndarray, "prefix part"]

    def undivided(self) -> "Prefixes":
        """Return the same without what is visible of the edges."""
        return replace(self, sees=self.sees[:, :0])


def join_prefixes(first: Prefixes, second: Prefixes) -> Prefixes:
    """Return the prefixes of two, after chains of one length each, whose edges are not divided."""
    return Prefixes(
        plane=np.concatenate([first.plane, second.plane]),
        wedge=np.concatenate([first.wedge, second.wedge]),
        flip=np.concatenate([first.flip, second.flip]),
        image_m=np.concatenate([first.image_m, second.image_m]),
        sees=np.concatenate([first.sees, second.sees]),
    )


class EdgePoints:
    """Points on all edges, one in each of the equal parts of an edge that is open.

    Attributes:
        num_parts: Number of parts of each edge.
        wedge: Edge of each point.
        part: Its part of the edge.
        position_m: The point, a step off the edge into the open [m].
    """

    def __init__(
        self, scene: LoadedScene, points_per_m: Float[np.ndarray, "wedge"], *, turn: float
    ) -> None:
        """Choose the points.

        Args:
            scene: Whose edges.
            points_per_m: Least number of points on a metre of each edge; 0 for none.
            turn: Shift of the points, in steps.
        """
        wedges = scene.wedges
        self.num_parts = np.ceil(wedges.length_m * points_per_m).astype("i8")
        wedge = np.repeat(np.arange(wedges.count), self.num_parts)
        first = np.cumsum(self.num_parts) - self.num_parts
        part = np.arange(len(wedge)) - first[wedge]
        step_m = (wedges.length_m / np.maximum(self.num_parts, 1))[wedge]
        along_m = (part + (0.5 + turn) % 1.0) * step_m
        on_edge_m = wedges.origin_m[wedge] + along_m[:, None] * wedges.direction[wedge]
        is_open = scene.is_open(on_edge_m, wedge)
        self.wedge, self.part = wedge[is_open], part[is_open]
        self.position_m = on_edge_m[is_open] + OFF_EDGE_M * outward(wedges, self.wedge)

    def of(self, edges: Bool[np.ndarray, "wedge"]) -> "EdgePoints":
        """Return the points of some edges."""
        if edges.all():
            return self
        result, rows = copy.copy(self), np.flatnonzero(edges[self.wedge])
        vars(result).pop("tree", None)  # that of all points, if it is known
        result.wedge, result.part = self.wedge[rows], self.part[rows]
        result.position_m = self.position_m[rows]
        return result

    @cached_property
    def tree(self) -> TargetTree:
        """The points as targets; there must be one."""
        return build_tree(self.position_m)


def find_prefixes(
    scene: LoadedScene,
    bs_position_m: Float[np.ndarray, "3"],
    table: BeamTable,
    points: EdgePoints,
) -> Prefixes:
    """Return the edges that the BS sees through the chains of a table, in part at least.

    Args:
        scene: The scene.
        bs_position_m: The BS [m].
        table: Chains of one length.
        points: Points on the edges of the scene.
    """
    wedges, beams = scene.wedges, Beams(scene, bs_position_m, table)
    images_m = source_images(bs_position_m, table.plane, scene.planes)[:, -1]

    def before_faces(
        chain: Int[np.ndarray, "n"], wedge: Int[np.ndarray, "n"]
    ) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
        offset = images_m[chain] - wedges.origin_m[wedge]
        before_0 = np.einsum("ij,ij->i", offset, wedges.normal_0[wedge]) > _OUTSIDE_M
        before_n = np.einsum("ij,ij->i", offset, wedges.normal_n[wedge]) > _OUTSIDE_M
        return before_0, before_n

    seen = [np.zeros((0, 2), dtype="i8")]
    for chain, target in PairSearch(len(table), beams.holds, beams.crosses).find(points.tree):
        before_0, before_n = before_faces(chain, points.wedge[target])
        pairs = np.column_stack([chain, target])[before_0 | before_n]
        reached = beams.reach(pairs[:, 0], points.position_m[pairs[:, 1]])
        seen.append(pairs[reached])
    chain, target = np.concatenate(seen).T
    key = chain * wedges.count + points.wedge[target]
    distinct, prefix = np.unique(key, return_inverse=True)
    chain, wedge = np.divmod(distinct, max(wedges.count, 1))
    sees = np.zeros((len(distinct), points.num_parts.max(initial=1)), dtype=bool)
    sees[prefix, points.part[target]] = True
    before_0, _ = before_faces(chain, wedge)
    return Prefixes(
        plane=table.plane[chain], wedge=wedge, flip=~before_0, image_m=images_m[chain], sees=sees
    )


def outward(wedges: Wedges, wedge: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 3"]:
    """Return unit vectors from edges into the open, half-way between both normals."""
    between = wedges.normal_0[wedge] + wedges.normal_n[wedge]
    return between / np.maximum(np.linalg.norm(between, axis=1), 1e-9)[:, None]
