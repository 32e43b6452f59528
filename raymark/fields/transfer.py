"""From the geometry of paths to their polarimetric transfer matrices and coefficients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from raymark.fields.antennas import Antenna, spherical_basis
from raymark.fields.materials import Carrier, Materials
from raymark.fields.paths import PathGeometry
from raymark.fields.rays import Rays, rays_of
from raymark.radio import SPEED_OF_LIGHT_M_S


def transfer_matrix(
    paths: PathGeometry, materials: Materials, carrier_hz: Carrier
) -> Complex[Tensor, "path 2 2"]:
    """Return the transfer matrices between ideal antennas, without exp(-j 2 pi f tau).

    Rows are the zenith and azimuth components at the UE, columns those at the BS, in the world's
    spherical bases of the directions from each end outwards. Free space, wavelength / (4 pi
    length), is in it. Swapping the ends transposes it.

    Args:
        paths: Their geometry.
        materials: The slabs that `paths` counts.
        carrier_hz: Carrier [Hz].

    Raises:
        PhysicsError: If a ray runs inside the wedge that it is diffracted at.
    """
    rays = rays_of(paths)
    launched = torch.stack(spherical_basis(rays.from_bs), dim=-1)
    received = torch.stack(spherical_basis(rays.from_ue), dim=-1)
    field = _arriving(rays, launched, materials, carrier_hz)
    return received.to(field.dtype).mT @ field


def path_amplitude(
    paths: PathGeometry,
    materials: Materials,
    carrier_hz: Carrier,
    *,
    bs: Antenna,
    ue: Antenna,
) -> Complex[Tensor, "path"]:
    """Return the coefficients of paths between two antennas, without exp(-j 2 pi f tau).

    Args:
        paths: Their geometry.
        materials: The slabs that `paths` counts.
        carrier_hz: Carrier [Hz].
        bs: Element of the base station.
        ue: Antenna of the UE.

    Raises:
        PhysicsError: If a ray runs inside the wedge that it is diffracted at.

    Example:
        Line of sight over 100 m at 3 GHz.

        >>> from raymark.fields import Wedges, itu_materials
        >>> none = torch.zeros(1, 0, dtype=torch.bool)
        >>> nowhere = torch.zeros(1, 3, dtype=torch.float64)
        >>> row = torch.zeros(1, dtype=torch.long)
        >>> paths = PathGeometry(
        ...     bs_m=nowhere, ue_m=nowhere + torch.tensor([100.0, 0, 0]),
        ...     vertex_m=nowhere[:, None][:, :0], reflects=none, diffracts=none,
        ...     normal=nowhere[:, None][:, :0], material=row[:, None][:, :0],
        ...     wedge=Wedges(direction=nowhere, normal_0=nowhere, normal_n=nowhere,
        ...                  material_0=row, material_n=row))
        >>> air = itu_materials(["vacuum"], 3e9)
        >>> a = path_amplitude(paths, air, 3e9, bs=Antenna(), ue=Antenna())
        >>> round(20 * math.log10(abs(a.item())), 2)
        -81.99
    """
    carrier = AtCarrier(carrier_hz=carrier_hz, materials=materials, bs=bs, ue=ue)
    return path_amplitudes(paths, [carrier])[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtCarrier:
    """What the fields of paths hang on besides their geometry.

    Attributes:
        carrier_hz: Carrier [Hz].
        materials: The slabs that paths count, at this carrier.
        bs: Element of the base station.
        ue: Antenna of the UE.
    """

    carrier_hz: Carrier
    materials: Materials
    bs: Antenna
    ue: Antenna


def path_amplitudes(
    paths: PathGeometry, carriers: Sequence[AtCarrier]
) -> Complex[Tensor, "carrier path"]:
    """Return the coefficients of paths at several carriers, as `path_amplitude` does at one.

    What hangs on their geometry alone is computed once.

    Args:
        paths: Their geometry.
        carriers: One or more, each with its materials and antennas.

    Raises:
        PhysicsError: If a ray runs inside the wedge that it is diffracted at.
    """
    rays = rays_of(paths)
    launched = {bs: bs.field(rays.from_bs)[..., None] for bs in {at.bs for at in carriers}}
    received = {ue: ue.field(rays.from_ue)[..., None] for ue in {at.ue for at in carriers}}
    found = []
    for at in carriers:
        field = _arriving(rays, launched[at.bs], at.materials, at.carrier_hz)
        found.append((received[at.ue] * field).sum(dim=(1, 2)))
    return torch.stack(found)


def _arriving(
    rays: Rays,
    launched: Float[Tensor, "path 3 pol"],
    materials: Materials,
    carrier_hz: Carrier,
) -> Complex[Tensor, "path 3 pol"]:
    """Return field vectors at the UE of waves that leave the BS with unit vectors."""
    spreading = SPEED_OF_LIGHT_M_S / (4 * math.pi * carrier_hz * rays.length_m)
    return rays.carry(launched, materials, carrier_hz) * spreading[:, None, None]
