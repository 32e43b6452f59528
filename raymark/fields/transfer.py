"""From the geometry of paths to their polarimetric transfer matrices and coefficients."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from raymark.fields.antennas import Antenna, spherical_basis
from raymark.fields.diffraction import diffract
from raymark.fields.materials import Carrier, Materials
from raymark.fields.paths import PathGeometry, lengths, unit
from raymark.fields.reflection import reflect, slab_reflection
from raymark.radio import SPEED_OF_LIGHT_M_S

Field = Complex[Tensor, "path 3 pol"]


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
    from_bs, from_ue = _ends(paths)
    launched = torch.stack(spherical_basis(from_bs), dim=-1)
    received = torch.stack(spherical_basis(from_ue), dim=-1)
    field = _transport(paths, launched, materials, carrier_hz)
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
    from_bs, from_ue = _ends(paths)
    field = _transport(paths, bs.field(from_bs)[..., None], materials, carrier_hz)
    return (ue.field(from_ue)[..., None] * field).sum(dim=(1, 2))


def _ends(paths: PathGeometry) -> tuple[Float[Tensor, "path 3"], Float[Tensor, "path 3"]]:
    """Return unit vectors from the BS along the first leg and from the UE along the last."""
    legs_m = paths.legs_m
    row = torch.arange(len(legs_m), device=legs_m.device)
    return unit(legs_m[:, 0]), unit(-legs_m[row, paths.num_interactions])


def _transport(
    paths: PathGeometry,
    launched: Float[Tensor, "path 3 pol"],
    materials: Materials,
    carrier_hz: Carrier,
) -> Field:
    """Return field vectors at the UE of waves that leave the BS with unit vectors."""
    legs_m = paths.legs_m
    length_m, direction = lengths(legs_m), unit(legs_m)
    so_far_m = torch.cumsum(length_m, dim=1)
    whole_m = so_far_m[:, -1]
    field = launched.to(torch.complex128)
    for slot in range(paths.reflects.shape[1]):
        rows = paths.reflects[:, slot].nonzero()[:, 0]
        arriving, normal = direction[rows, slot], paths.normal[rows, slot]
        cosine = (arriving * normal).sum(-1).abs()
        slabs = materials.take(paths.material[rows, slot])
        coefficients = slab_reflection(cosine, slabs, carrier_hz)
        field = field.index_copy(0, rows, reflect(field[rows], arriving, normal, coefficients))
        rows = paths.diffracts[:, slot].nonzero()[:, 0]
        before_m = so_far_m[rows, slot]
        diffracted = diffract(
            field[rows],
            (direction[rows, slot], direction[rows, slot + 1]),
            (before_m, whole_m[rows] - before_m),
            paths.wedge.take(rows),
            materials,
            carrier_hz,
        )
        field = field.index_copy(0, rows, diffracted)
    spreading = SPEED_OF_LIGHT_M_S / (4 * math.pi * carrier_hz * whole_m)
    return field * spreading[:, None, None]
