"""Electrical properties of surfaces, as tensors that gradients may reach."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from raymark.radio.p2040 import material_law

VACUUM_PERMITTIVITY_F_M = 8.8541878128e-12

Carrier = float | Float[Tensor, ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """Homogeneous slabs at one carrier.

    Attributes:
        relative_permittivity: Real part of the relative permittivity.
        conductivity_s_m: Conductivity [S/m].
        thickness_m: Thickness of the slab [m].
        scattering: Scattering coefficient S; a reflection keeps sqrt(1 - S^2) of its amplitude.
    """

    relative_permittivity: Float[Tensor, "material"]
    conductivity_s_m: Float[Tensor, "material"]
    thickness_m: Float[Tensor, "material"]
    scattering: Float[Tensor, "material"]

    def permittivity(self, carrier_hz: Carrier) -> Complex[Tensor, "material"]:
        """Return the complex relative permittivity (ITU-R P.2040-3, eq. 9)."""
        loss = self.conductivity_s_m / (2 * math.pi * carrier_hz * VACUUM_PERMITTIVITY_F_M)
        return torch.complex(self.relative_permittivity, -loss)


def itu_materials(
    names: Sequence[str],
    carrier_hz: Carrier,
    *,
    thickness_m: float | Sequence[float] = 0.1,
    scattering: float | Sequence[float] = 0.0,
) -> Materials:
    """Return materials of ITU-R P.2040 at a carrier.

    Args:
        names: Names of the table.
        carrier_hz: Carrier [Hz]; a tensor lets gradients through.
        thickness_m: Of each slab, or of all [m]; 0.1 m is Sionna RT's.
        scattering: Scattering coefficient of each, or of all.

    Raises:
        ConfigError: If a material is unknown or undefined at the carrier.
    """
    carrier = torch.as_tensor(carrier_hz, dtype=torch.float64)
    laws = [material_law(name, carrier.item()) for name in names]
    a, b, c, d = (
        torch.tensor([getattr(law, name) for law in laws], dtype=torch.float64) for name in "abcd"
    )
    carrier_ghz = carrier / 1e9
    everywhere = torch.zeros(len(laws), dtype=torch.float64)
    return Materials(
        relative_permittivity=a * carrier_ghz**b,
        conductivity_s_m=c * carrier_ghz**d,
        thickness_m=everywhere + torch.as_tensor(thickness_m, dtype=torch.float64),
        scattering=everywhere + torch.as_tensor(scattering, dtype=torch.float64),
    )
