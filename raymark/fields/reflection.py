"""Specular reflection at a slab, as an operator on field vectors in world coordinates."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from raymark.fields.materials import Carrier, Materials
from raymark.radio import SPEED_OF_LIGHT_M_S


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabReflection:
    """Reflection coefficients of slabs.

    Attributes:
        parallel: Coefficient of the field in the plane of incidence (TM).
        excess: (perpendicular + parallel) / sin^2 of the angle of incidence. It is finite at normal
            incidence, where the plane of incidence and both coefficients' bases are undefined.
    """

    parallel: Complex[Tensor, "row"]
    excess: Complex[Tensor, "row"]

    def split(self, counts: list[int]) -> list["SlabReflection"]:
        """Return the coefficients of so many rows after one another."""
        parts = zip(self.parallel.split(counts), self.excess.split(counts), strict=True)
        return [SlabReflection(parallel=parallel, excess=excess) for parallel, excess in parts]


def slab_reflection(
    cos_incidence: Float[Tensor, "row"],
    material: Int[Tensor, "row"],
    materials: Materials,
    carrier_hz: Carrier,
) -> SlabReflection:
    """Return the coefficients of slabs in air.

    ITU-R P.2040-3, eqs. 37 (half space), 43 and 44 (slab), less the share that is scattered. The
    sum of both coefficients is written with its factor sin^2 taken out: for the half space
    2 (1 - eta) sin^2 / ((c + a)(eta c + a)), with c the cosine and a = sqrt(eta - sin^2).

    Args:
        cos_incidence: Cosine of the angle to the normal, >= 0.
        material: Row of each slab in `materials`.
        materials: The slabs.
        carrier_hz: Carrier [Hz].
    """
    permittivity = materials.permittivity(carrier_hz)
    wavenumber = 2 * math.pi * carrier_hz / SPEED_OF_LIGHT_M_S
    turn = -2j * wavenumber * materials.thickness_m
    kept = torch.sqrt(1 - materials.scattering**2)
    eta = permittivity.index_select(0, material)
    root = torch.sqrt(eta - (1 - cos_incidence**2))
    echo = torch.exp(turn.index_select(0, material) * root)
    cosine = cos_incidence.to(root.dtype)
    below, above_parallel = cosine + root, eta * cosine
    below_parallel = above_parallel + root
    perpendicular = (cosine - root) / below
    parallel = (above_parallel - root) / below_parallel
    excess = (2 * (1 - permittivity)).index_select(0, material) / (below * below_parallel)
    slab, slab_parallel = 1 - perpendicular**2 * echo, 1 - parallel**2 * echo
    through = kept.index_select(0, material) * (1 - echo)
    return SlabReflection(
        parallel=through * parallel / slab_parallel,
        excess=through * excess * (1 - perpendicular * parallel * echo) / (slab * slab_parallel),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """Where waves meet facets; complex, as the fields are that they turn.

    Attributes:
        normal: Unit normals of the facets, of either sign.
        across: Direction of incidence x normal; its length is the sine of the angle to the normal.
    """

    normal: Complex[Tensor, "row 3"]
    across: Complex[Tensor, "row 3"]

    @classmethod
    def at(cls, direction: Float[Tensor, "row 3"], normal: Float[Tensor, "row 3"]) -> "Mirrors":
        """Return the mirrors for unit vectors of incidence and unit normals of either sign."""
        across = torch.linalg.cross(direction, normal)
        return cls(normal=normal.to(torch.complex128), across=across.to(torch.complex128))

    def split(self, counts: list[int]) -> list["Mirrors"]:
        """Return so many rows after one another."""
        parts = zip(self.normal.split(counts), self.across.split(counts), strict=True)
        return [Mirrors(normal=normal, across=across) for normal, across in parts]


def reflect(
    field: Complex[Tensor, "row 3 pol"], mirror: Mirrors, coefficients: SlabReflection
) -> Complex[Tensor, "row 3 pol"]:
    """Return the reflected field vectors: H (excess w w^T - parallel) E.

    H is the mirror of the facet and w = direction x normal, so that the component along w gets the
    perpendicular coefficient and the other one the parallel coefficient, in the bases of
    ITU-R P.2040-3, without a basis that is undefined at normal incidence.

    Args:
        field: Incident field vectors.
        mirror: One for each row.
        coefficients: At the angles of incidence.
    """
    along_across = torch.einsum("ri,rip->rp", mirror.across, field)
    turned = coefficients.excess[:, None, None] * mirror.across[:, :, None] * along_across[:, None]
    turned = turned - coefficients.parallel[:, None, None] * field
    height = torch.einsum("ri,rip->rp", mirror.normal, turned)
    return turned - 2 * mirror.normal[:, :, None] * height[:, None]
