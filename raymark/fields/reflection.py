"""Specular reflection at a slab, as an operator on field vectors in world coordinates."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
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


def slab_reflection(
    cos_incidence: Float[Tensor, "row"], materials: Materials, carrier_hz: Carrier
) -> SlabReflection:
    """Return the coefficients of slabs in air.

    ITU-R P.2040-3, eqs. 37 (half space), 43 and 44 (slab), less the share that is scattered. The
    sum of both coefficients is written with its factor sin^2 taken out: for the half space
    2 (1 - eta) sin^2 / ((c + a)(eta c + a)), with c the cosine and a = sqrt(eta - sin^2).

    Args:
        cos_incidence: Cosine of the angle to the normal, >= 0.
        materials: One for each row.
        carrier_hz: Carrier [Hz].
    """
    eta = materials.permittivity(carrier_hz)
    root = torch.sqrt(eta - (1 - cos_incidence**2))
    wavenumber = 2 * math.pi * carrier_hz / SPEED_OF_LIGHT_M_S
    echo = torch.exp(-2j * wavenumber * materials.thickness_m * root)
    below, below_parallel = cos_incidence + root, eta * cos_incidence + root
    perpendicular = (cos_incidence - root) / below
    parallel = (eta * cos_incidence - root) / below_parallel
    excess = 2 * (1 - eta) / (below * below_parallel)
    slab, slab_parallel = 1 - perpendicular**2 * echo, 1 - parallel**2 * echo
    kept = torch.sqrt(1 - materials.scattering**2) * (1 - echo)
    return SlabReflection(
        parallel=kept * parallel / slab_parallel,
        excess=kept * excess * (1 - perpendicular * parallel * echo) / (slab * slab_parallel),
    )


def reflect(
    field: Complex[Tensor, "row 3 pol"],
    direction: Float[Tensor, "row 3"],
    normal: Float[Tensor, "row 3"],
    coefficients: SlabReflection,
) -> Complex[Tensor, "row 3 pol"]:
    """Return the reflected field vectors: H (excess w w^T - parallel) E.

    H is the mirror of the facet and w = direction x normal, so that the component along w gets the
    perpendicular coefficient and the other one the parallel coefficient, in the bases of
    ITU-R P.2040-3, without a basis that is undefined at normal incidence.

    Args:
        field: Incident field vectors.
        direction: Unit vectors of incidence.
        normal: Unit normals of the facets, of either sign.
        coefficients: At the angles of incidence.
    """
    across = torch.linalg.cross(direction, normal).to(field.dtype)
    along_across = torch.einsum("ri,rip->rp", across, field)
    turned = coefficients.excess[:, None, None] * across[:, :, None] * along_across[:, None]
    turned = turned - coefficients.parallel[:, None, None] * field
    height = torch.einsum("ri,rip->rp", normal.to(field.dtype), turned)
    return turned - 2 * normal[:, :, None] * height[:, None]
