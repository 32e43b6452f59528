"""Diffraction at a wedge of two materials: the uniform theory with reciprocal coefficients.

Kouyoumjian and Pathak (1974) for perfect conductors. For others Fresnel's coefficients stand at
their terms as Holm (2000) has them: R0 and Rn at those of the reflected rays, as Luebbers (1984)
and ITU-R P.526-15, section 4.7, and R0 Rn at the term of the direct ray that belongs to the far
side, so that the field vanishes on a face that is grazed. Their angles change when the ends are
swapped; here the smaller of both angles to a face counts, so that the field is the same both ways.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from raymark.errors import PhysicsError
from raymark.fields.materials import Carrier, Materials
from raymark.fields.paths import Wedges, lengths, unit
from raymark.fields.reflection import SlabReflection, slab_reflection
from raymark.fields.transition import scaled_fresnel_tail
from raymark.radio import SPEED_OF_LIGHT_M_S

_NEAR_BOUNDARY_RAD = 1e-4
_INSIDE_RAD = 0.02
"""Directions that are so far within the wedge cannot be those of a path; stored in float32 they
may graze a face from below."""

Real = Float[Tensor, "row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Angles:
    """Angles at an edge, counted from the 0-face through the air [rad].

    Attributes:
        exterior: Angle of the n-face, n pi.
        source: Towards the last point before the edge.
        receiver: Towards the first point behind it.
        cos_edge: Cosine of the angle between rays and edge.
    """

    exterior: Real
    source: Real
    receiver: Real
    cos_edge: Real


def diffract(
    field: Complex[Tensor, "row 3 pol"],
    legs: tuple[Float[Tensor, "row 3"], Float[Tensor, "row 3"]],
    ways_m: tuple[Real, Real],
    wedge: Wedges,
    materials: Materials,
    carrier_hz: Carrier,
) -> Complex[Tensor, "row 3 pol"]:
    """Return the diffracted field vectors, of a wave that spreads as over the unfolded path.

    With the spreading of Kouyoumjian and Pathak, sqrt(1 / (s s' (s + s'))), what is left of it
    after 1 / (s + s') is taken out cancels their factor sqrt(L) / sin(beta): nothing is singular.

    Args:
        field: Incident field vectors.
        legs: Unit vectors of the rays to the edge and from it.
        ways_m: Whole unfolded ways before the edge, s', and behind it, s [m].
        wedge: One for each row.
        materials: All materials.
        carrier_hz: Carrier [Hz].

    Raises:
        PhysicsError: If a ray runs inside the wedge.
    """
    angles = _angles(legs, wedge)
    near, far, at_0, at_n = _terms(angles, ways_m, carrier_hz)[..., None, None]
    incident, outgoing = _basis(wedge.direction, legs[0]), _basis(wedge.direction, legs[1])
    mirror_0 = _mirror(angles, +1, materials.take(wedge.material_0), carrier_hz)
    mirror_n = _mirror(_from_n_face(angles), -1, materials.take(wedge.material_n), carrier_hz)
    both = (mirror_0 @ mirror_n + mirror_n @ mirror_0) / 2
    unchanged = torch.eye(2, dtype=field.dtype, device=field.device)
    matrix = near * unchanged + far * both + at_0 * mirror_0 + at_n * mirror_n
    components = incident.to(field.dtype) @ field
    return outgoing.to(field.dtype).mT @ (matrix @ components)


def _basis(edge: Float[Tensor, "row 3"], ray: Float[Tensor, "row 3"]) -> Float[Tensor, "row 2 3"]:
    """Return unit vectors across a ray: in the plane of ray and edge, and perpendicular to it."""
    across = unit(torch.linalg.cross(edge, ray))
    return torch.stack([torch.linalg.cross(ray, across), across], dim=1)


def _angles(legs: tuple[Float[Tensor, "row 3"], Float[Tensor, "row 3"]], wedge: Wedges) -> _Angles:
    arriving, leaving = legs
    normals_apart = torch.atan2(
        lengths(torch.linalg.cross(wedge.normal_0, wedge.normal_n)),
        (wedge.normal_0 * wedge.normal_n).sum(-1),
    )
    exterior = math.pi + normals_apart
    return _Angles(
        exterior=exterior,
        source=_angle_from_face(-arriving, wedge, exterior),
        receiver=_angle_from_face(leaving, wedge, exterior),
        # Equal by Keller's law; the mean of both keeps rounded points reciprocal.
        cos_edge=((arriving + leaving) / 2 * wedge.direction).sum(-1),
    )


def _angle_from_face(towards: Float[Tensor, "row 3"], wedge: Wedges, exterior: Real) -> Real:
    """Return the angle of a direction from the 0-face, measured from the middle of the open air.

    So a direction that grazes a face from below by rounding is near 0 or n pi, not near 2 pi.
    """
    along_face = (towards * torch.linalg.cross(wedge.normal_0, wedge.direction)).sum(-1)
    above_face = (towards * wedge.normal_0).sum(-1)
    cos, sin = torch.cos(exterior / 2), torch.sin(exterior / 2)
    from_middle = torch.atan2(
        cos * above_face - sin * along_face, cos * along_face + sin * above_face
    )
    inside = from_middle.detach().abs() - exterior.detach() / 2
    if bool((inside > _INSIDE_RAD).any()):
        raise PhysicsError(
            f"a ray runs {math.degrees(float(inside.max())):.1f} deg inside the wedge that it is "
            "diffracted at; check the wedge's normals and direction"
        )
    return torch.minimum((exterior / 2 + from_middle).clamp_min(0), exterior)


def _from_n_face(angles: _Angles) -> _Angles:
    """Return the same angles, counted from the n-face."""
    return _Angles(
        exterior=angles.exterior,
        source=angles.exterior - angles.source,
        receiver=angles.exterior - angles.receiver,
        cos_edge=angles.cos_edge,
    )


def _terms(
    angles: _Angles, ways_m: tuple[Real, Real], carrier_hz: Carrier
) -> Complex[Tensor, "4 row"]:
    """Return the terms of the direct ray (near and far side), of the 0-face and of the n-face.

    Kouyoumjian and Pathak's cot((pi +- beta) / 2n) F(k L a) with delta = pi +- beta, less the
    multiple of 2 n pi that leaves the least of it: cot(delta / 2n) F(2 k L sin^2(delta / 2)). On
    the boundary, delta = 0, it is the half that completes the ray on its lit side.
    """
    before_m, behind_m = ways_m
    wavenumber = 2 * math.pi * carrier_hz / SPEED_OF_LIGHT_M_S
    distance_m = before_m * behind_m / (before_m + behind_m) * (1 - angles.cos_edge**2)
    apart = (angles.receiver - angles.source).abs()
    together = angles.receiver + angles.source
    delta = math.pi + torch.stack([-apart, apart, -together, together])
    delta = delta - 2 * angles.exterior * torch.round(delta / (2 * angles.exterior))
    n, half = angles.exterior / math.pi, delta / 2
    at_boundary = delta.abs() < _NEAR_BOUNDARY_RAD
    off = torch.where(at_boundary, torch.ones_like(half), half)
    ratio = torch.where(
        at_boundary, n * (1 - half**2 / 6 * (1 - 1 / n**2)), torch.sin(off) / torch.sin(off / n)
    )
    side = torch.where(delta < 0, -torch.ones_like(delta), torch.ones_like(delta))
    tail = scaled_fresnel_tail(torch.sqrt(2 * wavenumber * distance_m) * torch.sin(half).abs())
    return -side * ratio * torch.cos(half / n) / (2 * n) * tail


def _mirror(
    angles: _Angles, sign: int, materials: Materials, carrier_hz: Carrier
) -> Complex[Tensor, "row 2 2"]:
    """Return what a face makes of the two components at an edge.

    At its reflection boundary it is the reflection itself, in the bases of incident and reflected
    ray at the edge. Away from it: the angle to the face is the smaller of both, and the component
    that turns the polarization follows (cos source - cos receiver) / 2, which is cos source on the
    boundary, changes its sign when the ends are swapped, as it must, and has no step.

    Args:
        angles: Counted from this face.
        sign: +1 if the edge's direction is that of the 0-face, -1 if it is opposite.
        materials: Of this face, one for each row.
        carrier_hz: Carrier [Hz].
    """
    grazing = torch.sin(torch.minimum(angles.source, angles.receiver)).abs()
    sin_edge = torch.sqrt(1 - angles.cos_edge**2)
    slab: SlabReflection = slab_reflection(sin_edge * grazing, materials, carrier_hz)
    along = 1 - grazing**2
    mixed = sign * angles.cos_edge * grazing
    mixed = mixed * (torch.cos(angles.source) - torch.cos(angles.receiver)) / 2
    across = (angles.cos_edge * grazing) ** 2
    rows = [
        torch.stack([slab.excess * along - slab.parallel, slab.excess * mixed], dim=-1),
        torch.stack([-slab.excess * mixed, slab.parallel - slab.excess * across], dim=-1),
    ]
    return torch.stack(rows, dim=-2)
