"""Diffuse scattering by rough surfaces: the field of a tile, as large as its lit solid angle says.

The effective roughness of Degli-Esposti et al. (2007): a surface scatters the share S^2 of what it
would reflect, into Lambert's lobe or into one about the mirrored ray (their directive model).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from raymark.fields.antennas import Antenna, spherical_basis
from raymark.fields.materials import Carrier, Materials
from raymark.fields.paths import lengths, unit
from raymark.fields.reflection import Mirrors, SlabReflection, reflect, slab_reflection
from raymark.fields.transfer import AtCarrier
from raymark.radio import SPEED_OF_LIGHT_M_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Roughness:
    """Where surfaces scatter to; how much they do is `Materials.scattering`.

    Attributes:
        directivity: Exponent alpha_R of the lobe about the mirrored ray; 0 for Lambert's lobe.
        cross_polar: Share K_x of the scattered power that is in the other polarization.
    """

    directivity: Int[Tensor, "material"]
    cross_polar: Float[Tensor, "material"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatteredPaths:
    """Paths from a base station over one tile to a UE.

    Attributes:
        bs_m: Base station of each path [m].
        ue_m: UE of each path [m].
        point_m: Where the tile scatters [m].
        normal: Unit normal of the tile, of either sign.
        solid_angle_sr: What the BS sees of the tile: area x cos / distance^2 if all of it [sr].
        phase_rad: Phase of the tile's own and of the other polarization [rad].
        material: Row of the tile's material.
    """

    bs_m: Float[Tensor, "path 3"]
    ue_m: Float[Tensor, "path 3"]
    point_m: Float[Tensor, "path 3"]
    normal: Float[Tensor, "path 3"]
    solid_angle_sr: Float[Tensor, "path"]
    phase_rad: Float[Tensor, "path 2"]
    material: Int[Tensor, "path"]


def scattered_amplitude(
    paths: ScatteredPaths,
    materials: Materials,
    roughness: Roughness,
    carrier_hz: Carrier,
    *,
    bs: Antenna,
    ue: Antenna,
) -> Complex[Tensor, "path"]:
    """Return the coefficients of scattered paths, without exp(-j 2 pi f tau).

    See `scattered_amplitudes`.

    Args:
        paths: Their geometry.
        materials: The slabs that `paths` counts.
        roughness: Of the same materials.
        carrier_hz: Carrier [Hz].
        bs: Element of the base station.
        ue: Antenna of the UE.
    """
    carrier = AtCarrier(carrier_hz=carrier_hz, materials=materials, bs=bs, ue=ue)
    return scattered_amplitudes(paths, roughness, [carrier])[0]


def scattered_amplitudes(
    paths: ScatteredPaths, roughness: Roughness, carriers: Sequence[AtCarrier]
) -> Complex[Tensor, "carrier path"]:
    """Return the coefficients of scattered paths at several carriers.

    The magnitude is wavelength / (4 pi r) x Gamma S sqrt(f omega), with r the way from the tile to
    the UE, f its lobe and omega its solid angle. Gamma is what a smooth surface would make of the
    length of the incident field vector, so that it is no property of the direction alone. The
    components along the spherical bases of both rays are turned by K_x, each with its phase.

    Args:
        paths: Their geometry; what hangs on it alone is computed once.
        roughness: Of the materials of all carriers.
        carriers: One or more, each with its materials and antennas.
    """
    leg_m = paths.ue_m - paths.point_m
    arriving, leaving = unit(paths.point_m - paths.bs_m), unit(leg_m)
    mirror = Mirrors.at(arriving, paths.normal)
    cosine = (arriving * paths.normal).sum(-1).abs()
    lobe = scattering_pattern(
        arriving, leaving, paths.normal, roughness.directivity[paths.material]
    )
    share = _root(lobe * paths.solid_angle_sr)
    cross_polar = roughness.cross_polar[paths.material]
    launched = {bs: bs.field(arriving) for bs in {at.bs for at in carriers}}
    turned = {
        bs: _turned(unit(field), (arriving, leaving), cross_polar, paths.phase_rad)
        for bs, field in launched.items()
    }
    collected = {ue: ue.field(-leaving) for ue in {at.ue for at in carriers}}
    found = []
    for at in carriers:
        received = (collected[at.ue] * turned[at.bs]).sum(dim=1)
        smooth = replace(at.materials, scattering=torch.zeros_like(at.materials.scattering))
        slabs = slab_reflection(cosine, paths.material, smooth, at.carrier_hz)
        reflected = _reflected_length(launched[at.bs], mirror, slabs)
        scattering = at.materials.scattering[paths.material]
        spreading = SPEED_OF_LIGHT_M_S / (4 * math.pi * at.carrier_hz * lengths(leg_m))
        found.append(spreading * reflected * scattering * share * received)
    return torch.stack(found)


def scattering_pattern(
    arriving: Float[Tensor, "path 3"],
    leaving: Float[Tensor, "path 3"],
    normal: Float[Tensor, "path 3"],
    directivity: Int[Tensor, "path"],
) -> Float[Tensor, "path"]:
    """Return the share of the scattered power per solid angle [1/sr]; 0 behind the surface.

    cos / pi for Lambert's lobe, ((1 + cos psi) / 2)^alpha / F for the directive one, with psi the
    angle from the mirrored ray (Degli-Esposti et al., 2007). Over the half space both make 1.

    Args:
        arriving: Unit vectors of incidence.
        leaving: Unit vectors of the scattered rays.
        normal: Unit normals, of either sign.
        directivity: alpha; 0 for Lambert's lobe.
    """
    height = (arriving * normal).sum(-1)
    cos_leaving = -torch.sign(height) * (leaving * normal).sum(-1)
    mirrored = arriving - 2 * height[:, None] * normal
    about_mirror = (1 + (mirrored * leaving).sum(-1)) / 2
    lobe = cos_leaving / math.pi
    for exponent in torch.unique(directivity[directivity > 0]).tolist():
        directive = about_mirror**exponent / _lobe_integral(height.abs(), exponent)
        lobe = torch.where(directivity == exponent, directive, lobe)
    return torch.where(cos_leaving > 0, lobe, torch.zeros_like(lobe))


def _root(values: Float[Tensor, "path"]) -> Float[Tensor, "path"]:
    """Return square roots; the gradient is 0 where nothing is scattered."""
    nothing = values == 0
    return torch.where(
        nothing, torch.zeros_like(values), torch.sqrt(values.masked_fill(nothing, 1))
    )


def _lobe_integral(cos_incidence: Float[Tensor, "path"], exponent: int) -> Float[Tensor, "path"]:
    """Return the integral of ((1 + cos psi) / 2)^alpha over the half space [sr].

    The binomial theorem leaves integrals of cos^j psi: 2 pi / (j + 1) for even j, the same times
    cos_incidence x sum over w of binom(2w, w) (sin^2 / 4)^w up to w = (j - 1) / 2 for odd j.
    """
    quarter = (1 - cos_incidence**2) / 4
    whole = torch.zeros_like(cos_incidence)
    series = torch.zeros_like(cos_incidence)
    for power in range(exponent + 1):
        share = math.comb(exponent, power) * 2 * math.pi / (power + 1) / 2**exponent
        if power % 2:
            half = (power - 1) // 2
            series = series + math.comb(2 * half, half) * quarter**half
            whole = whole + share * cos_incidence * series
        else:
            whole = whole + share
    return whole


def _reflected_length(
    launched: Float[Tensor, "path 3"], mirror: Mirrors, slabs: SlabReflection
) -> Float[Tensor, "path"]:
    """Return the length of the field vector that slabs reflect."""
    field = launched.to(torch.complex128)[..., None]
    return torch.linalg.vector_norm(reflect(field, mirror, slabs)[..., 0], dim=1)


def _turned(
    vector: Float[Tensor, "path 3"],
    rays: tuple[Float[Tensor, "path 3"], Float[Tensor, "path 3"]],
    cross_polar: Float[Tensor, "path"],
    phase_rad: Float[Tensor, "path 2"],
) -> Complex[Tensor, "path 3"]:
    """Return the field vectors behind a tile of a unit one before it."""
    arriving, leaving = rays
    zenith, azimuth = ((vector * axis).sum(-1) for axis in spherical_basis(arriving))
    own = torch.polar(torch.sqrt(1 - cross_polar), phase_rad[:, 0])
    other = torch.polar(torch.sqrt(cross_polar), phase_rad[:, 1])
    along_zenith, along_azimuth = spherical_basis(leaving)
    return (own * zenith - other * azimuth)[:, None] * along_zenith + (
        other * zenith + own * azimuth
    )[:, None] * along_azimuth
