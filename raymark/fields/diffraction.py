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
from jaxtyping import Complex, Float, Int
from torch import Tensor

from raymark.errors import PhysicsError
from raymark.fields.materials import Carrier
from raymark.fields.paths import Wedges, lengths, unit
from raymark.fields.reflection import SlabReflection
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Face:
    """What a face does besides Fresnel's coefficients; see `_matrix`.

    Attributes:
        cos_incidence: Cosine of the angle to the face's normal.
        along: Of the excess, between the components in the plane of ray and edge.
        mixed: Of the excess, from one component to the other.
        across: Of the excess, between the components perpendicular to that plane.
    """

    cos_incidence: Real
    along: Real
    mixed: Real
    across: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class Bends:
    """Diffractions, less all that hangs on the carrier.

    Attributes:
        incident: Bases across the rays to the edge.
        outgoing: Bases across the rays from it.
        distance_m: L sin^2(beta) of the uniform theory [m].
        sine: |sin(delta / 2)| of the four terms: of the direct ray (near and far side), of the
            0-face and of the n-face.
        factor: The terms without their transition function.
        faces: What the 0-face and the n-face do.
        material: Rows of the materials of both faces.
    """

    incident: Complex[Tensor, "row 2 3"]
    outgoing: Complex[Tensor, "row 2 3"]
    distance_m: Real
    sine: Float[Tensor, "4 row"]
    factor: Float[Tensor, "4 row"]
    faces: tuple[_Face, _Face]
    material: tuple[Int[Tensor, "row"], Int[Tensor, "row"]]


def bends(
    legs: tuple[Float[Tensor, "row 3"], Float[Tensor, "row 3"]],
    ways_m: tuple[Real, Real],
    wedge: Wedges,
) -> Bends:
    """Return what diffractions hang on besides the carrier.

    Args:
        legs: Unit vectors of the rays to the edge and from it.
        ways_m: Whole unfolded ways before the edge, s', and behind it, s [m].
        wedge: One for each row.

    Raises:
        PhysicsError: If a ray runs inside the wedge.
    """
    angles = _angles(legs, wedge)
    before_m, behind_m = ways_m
    sine, factor = _terms(angles)
    return Bends(
        incident=_basis(wedge.direction, legs[0]).to(torch.complex128),
        outgoing=_basis(wedge.direction, legs[1]).to(torch.complex128),
        distance_m=before_m * behind_m / (before_m + behind_m) * (1 - angles.cos_edge**2),
        sine=sine,
        factor=factor,
        faces=(_face(angles, +1), _face(_from_n_face(angles), -1)),
        material=(wedge.material_0, wedge.material_n),
    )


def bend_matrix(
    at: Bends, slabs: tuple[SlabReflection, SlabReflection], carrier_hz: Carrier
) -> Complex[Tensor, "row 2 2"]:
    """Return what diffractions make of the components in their bases.

    They are of a wave that spreads as over the unfolded path. With the spreading of Kouyoumjian and
    Pathak, sqrt(1 / (s s' (s + s'))), what is left of it after 1 / (s + s') is taken out cancels
    their factor sqrt(L) / sin(beta): nothing is singular.

    Args:
        at: The diffractions.
        slabs: Coefficients of the 0-faces and the n-faces at the angles of `at.faces`.
        carrier_hz: Carrier [Hz].
    """
    wavenumber = 2 * math.pi * carrier_hz / SPEED_OF_LIGHT_M_S
    tail = scaled_fresnel_tail(torch.sqrt(2 * wavenumber * at.distance_m) * at.sine)
    near, far, at_0, at_n = (at.factor * tail)[..., None, None]
    mirror_0, mirror_n = (_matrix(face, slab) for face, slab in zip(at.faces, slabs, strict=True))
    both = (mirror_0 @ mirror_n + mirror_n @ mirror_0) / 2
    unchanged = torch.eye(2, dtype=both.dtype, device=both.device)
    return near * unchanged + far * both + at_0 * mirror_0 + at_n * mirror_n


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


def _terms(angles: _Angles) -> tuple[Float[Tensor, "4 row"], Float[Tensor, "4 row"]]:
    """Return |sin(delta / 2)| of the four terms, and what stands before their transition function.

    Kouyoumjian and Pathak's cot((pi +- beta) / 2n) F(k L a) with delta = pi +- beta, less the
    multiple of 2 n pi that leaves the least of it: cot(delta / 2n) F(2 k L sin^2(delta / 2)). On
    the boundary, delta = 0, it is the half that completes the ray on its lit side.
    """
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
    return torch.sin(half).abs(), -side * ratio * torch.cos(half / n) / (2 * n)


def _face(angles: _Angles, sign: int) -> _Face:
    """Return what a face makes of the two components at an edge.

    At its reflection boundary it is the reflection itself, in the bases of incident and reflected
    ray at the edge. Away from it: the angle to the face is the smaller of both, and the component
    that turns the polarization follows (cos source - cos receiver) / 2, which is cos source on the
    boundary, changes its sign when the ends are swapped, as it must, and has no step.

    Args:
        angles: Counted from this face.
        sign: +1 if the edge's direction is that of the 0-face, -1 if it is opposite.
    """
    grazing = torch.sin(torch.minimum(angles.source, angles.receiver)).abs()
    mixed = sign * angles.cos_edge * grazing
    return _Face(
        cos_incidence=torch.sqrt(1 - angles.cos_edge**2) * grazing,
        along=1 - grazing**2,
        mixed=mixed * (torch.cos(angles.source) - torch.cos(angles.receiver)) / 2,
        across=(angles.cos_edge * grazing) ** 2,
    )


def _matrix(face: _Face, slab: SlabReflection) -> Complex[Tensor, "row 2 2"]:
    """Return what faces make of the components: their excess times a matrix, and the parallel."""
    turned = slab.excess * face.mixed
    rows = [
        torch.stack([slab.excess * face.along - slab.parallel, turned], dim=-1),
        torch.stack([-turned, slab.parallel - slab.excess * face.across], dim=-1),
    ]
    return torch.stack(rows, dim=-2)
