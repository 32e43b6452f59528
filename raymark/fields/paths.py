"""The geometry of paths, as a dataset stores it: what a field hangs on besides the carrier."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raymark.errors import PhysicsError

_SHORTEST_M = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Wedges:
    """The diffracting wedge of each path; rows of paths without one are not read.

    The normals point out of the wedge, and `normal_0 x direction` points into the 0-face, as in
    `path/wedge` of a dataset. The exterior angle is pi and the angle between the normals.

    Attributes:
        direction: Unit vector along the edge.
        normal_0: Outward unit normal of the 0-face.
        normal_n: Outward unit normal of the n-face.
        material_0: Row of the 0-face's material.
        material_n: Row of the n-face's material.
    """

    direction: Float[Tensor, "path 3"]
    normal_0: Float[Tensor, "path 3"]
    normal_n: Float[Tensor, "path 3"]
    material_0: Int[Tensor, "path"]
    material_n: Int[Tensor, "path"]

    def take(self, rows: Int[Tensor, "row"]) -> "Wedges":
        """Return the wedges of some paths."""
        return Wedges(
            direction=self.direction[rows],
            normal_0=self.normal_0[rows],
            normal_n=self.normal_n[rows],
            material_0=self.material_0[rows],
            material_n=self.material_n[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PathGeometry:
    """Paths between base stations and UEs, in order from the BS.

    Slots beyond the last interaction of a path neither reflect nor diffract; what else they hold is
    not read. All lengths are computed from the points, in float64 if these are.

    Attributes:
        bs_m: Base station of each path [m].
        ue_m: UE of each path [m].
        vertex_m: Interaction points [m].
        reflects: Whether a slot is a specular reflection.
        diffracts: Whether a slot is the diffraction.
        normal: Unit normals of the facets that reflect, of either sign.
        material: Row of the material of each facet that reflects.
        wedge: Wedges of the paths that diffract.
    """

    bs_m: Float[Tensor, "path 3"]
    ue_m: Float[Tensor, "path 3"]
    vertex_m: Float[Tensor, "path depth 3"]
    reflects: Bool[Tensor, "path depth"]
    diffracts: Bool[Tensor, "path depth"]
    normal: Float[Tensor, "path depth 3"]
    material: Int[Tensor, "path depth"]
    wedge: Wedges

    def __post_init__(self) -> None:
        """Check that interactions come without gaps and no path diffracts twice.

        Raises:
            PhysicsError: If one does.
        """
        present = self.reflects | self.diffracts
        if bool((self.reflects & self.diffracts).any()):
            raise PhysicsError("a slot both reflects and diffracts; it can do one")
        if bool((present[:, 1:] & ~present[:, :-1]).any()):
            raise PhysicsError("a path has an empty slot before an interaction; close the gap")
        if bool((self.diffracts.sum(dim=1) > 1).any()):
            raise PhysicsError("a path diffracts twice; fields are of one diffraction at most")

    @property
    def num_interactions(self) -> Int[Tensor, "path"]:
        """Interactions of each path."""
        return (self.reflects | self.diffracts).sum(dim=1)

    @property
    def legs_m(self) -> Float[Tensor, "path leg 3"]:
        """Vectors from point to point, zero beyond the last interaction's [m]."""
        present = (self.reflects | self.diffracts)[..., None]
        vertex = torch.where(present, self.vertex_m, self.ue_m[:, None])
        points = torch.cat([self.bs_m[:, None], vertex, self.ue_m[:, None]], dim=1)
        return torch.diff(points, dim=1)


def lengths(vectors: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Return the lengths of vectors; the gradient is 0 where they are."""
    return torch.linalg.vector_norm(vectors, dim=-1)


def unit(vectors: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Return unit vectors, and zero where there is no direction."""
    return vectors / lengths(vectors).clamp_min(_SHORTEST_M)[..., None]
