"""Prefixes of diffracted paths: which edges the BS reaches through which reflections."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.generator.tracing import sionna_adapter as adapter
from raymark.generator.tracing.backtracking import source_images
from raymark.generator.tracing.candidates import PathCandidates
from raymark.generator.tracing.chains import Bounce
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.tables import Wedges

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
        image_m: The BS and its images [m].
        sees: Whether each sample point of the edge is visible through the chain.
    """

    plane: Int[np.ndarray, "prefix length"]
    wedge: Int[np.ndarray, "prefix"]
    flip: Bool[np.ndarray, "prefix"]
    image_m: Float[np.ndarray, "prefix length1 3"]
    sees: Bool[np.ndarray, "prefix sample"]

    def take(self, rows: Int[np.ndarray, "row"]) -> "Prefixes":
        """Return some of the prefixes."""
        return Prefixes(
            plane=self.plane[rows],
            wedge=self.wedge[rows],
            flip=self.flip[rows],
            image_m=self.image_m[rows],
            sees=self.sees[rows],
        )


def find_prefixes(
    scene: LoadedScene,
    bs_position_m: Float[np.ndarray, "3"],
    bounce: Bounce,
    num_samples: int,
    *,
    turn: float,
) -> Prefixes:
    """Return the edges of the triangles hit after each chain that it can see, in part at least.

    Args:
        scene: The scene.
        bs_position_m: The BS [m].
        bounce: What the rays from the BS have met after chains of one length.
        num_samples: Points of each edge that are tried.
        turn: Shift of these points, in steps.
    """
    wedges = scene.wedges
    wedge = wedges.of_triangle[bounce.triangle]
    row, edge = np.nonzero(wedge >= 0)
    pairs = np.column_stack([bounce.before.plane[row], wedge[row, edge]])
    pairs = np.unique(pairs, axis=0)
    plane, wedge = pairs[:, :-1], pairs[:, -1]
    images = source_images(bs_position_m, plane, scene.planes)
    offset = images[:, -1] - wedges.origin_m[wedge]
    before_0 = np.einsum("ij,ij->i", offset, wedges.normal_0[wedge])
    before_n = np.einsum("ij,ij->i", offset, wedges.normal_n[wedge])
    prefixes = Prefixes(
        plane=plane,
        wedge=wedge,
        flip=before_0 <= _OUTSIDE_M,
        image_m=images,
        sees=np.zeros((len(wedge), num_samples), dtype=bool),
    ).take(np.flatnonzero(np.maximum(before_0, before_n) > _OUTSIDE_M))
    sees = _sees(scene, bs_position_m, prefixes, num_samples, turn=turn)
    return Prefixes(
        plane=prefixes.plane,
        wedge=prefixes.wedge,
        flip=prefixes.flip,
        image_m=prefixes.image_m,
        sees=sees,
    ).take(np.flatnonzero(sees.any(axis=1)))


def edge_samples(
    wedges: Wedges, wedge: Int[np.ndarray, "n"], num_samples: int, *, turn: float
) -> tuple[Float[np.ndarray, "n sample 3"], Float[np.ndarray, "n sample 3"]]:
    """Return points along edges, and the same points a step off into the open [m]."""
    share = (np.arange(num_samples) + (0.5 + turn) % 1.0) / num_samples
    along = share[None, :, None] * wedges.length_m[wedge][:, None, None]
    on_edge = wedges.origin_m[wedge][:, None] + along * wedges.direction[wedge][:, None]
    return on_edge, on_edge + OFF_EDGE_M * outward(wedges, wedge)[:, None]


def outward(wedges: Wedges, wedge: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 3"]:
    """Return unit vectors from edges into the open, half-way between both normals."""
    between = wedges.normal_0[wedge] + wedges.normal_n[wedge]
    return between / np.maximum(np.linalg.norm(between, axis=1), 1e-9)[:, None]


def _sees(
    scene: LoadedScene,
    bs_position_m: Float[np.ndarray, "3"],
    prefixes: Prefixes,
    num_samples: int,
    *,
    turn: float,
) -> Bool[np.ndarray, "prefix sample"]:
    """Tell which sample points of its edge the BS sees through the chain of each prefix."""
    count, length = prefixes.plane.shape
    if count == 0:
        return np.zeros((0, num_samples), dtype=bool)
    _, off_edge = edge_samples(scene.wedges, prefixes.wedge, num_samples, turn=turn)
    targets = off_edge.reshape(-1, 3)
    if length == 0:
        seen = scene.is_visible(targets, np.broadcast_to(bs_position_m, targets.shape))
        return seen.reshape(count, num_samples)
    none = np.full(len(targets), -1)
    candidates = PathCandidates(
        ue_index=np.arange(len(targets)),
        slot=np.repeat(prefixes.plane, num_samples, axis=0),
        wedge=none,
        flip=none >= 0,
    )
    endpoints = adapter.make_endpoints(bs_position_m, np.zeros(3), targets)
    buffer = adapter.candidate_buffer(candidates, scene.triangles, scene.planes, None)
    return adapter.validate_candidates(scene.sionna, buffer, endpoints).reshape(count, num_samples)
