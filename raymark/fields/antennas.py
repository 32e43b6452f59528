"""Patterns and polarization of single antennas in torch, so that gradients pass through them.

The patterns are those of `raymark.radio.elements`, whose constants they use; a test compares both.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raymark.radio import ElementPattern, Polarization
from raymark.radio.elements import BEAM_WIDTH_DEG, ELEMENT_GAIN_DB, LARGEST_LOSS_DB
from raymark.radio.frames import rotation_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Antenna:
    """One antenna element.

    Attributes:
        pattern: Gain over direction.
        polarization: Along the antenna's own zenith (V) or azimuth (H) direction, as model 2 of
            3GPP TR 38.901, eqs. 7.3-4 and 7.3-5, has it.
        orientation_rad: Yaw, pitch (down) and roll [rad].
    """

    pattern: ElementPattern = "iso"
    polarization: Polarization = "V"
    orientation_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def field(self, direction: Float[Tensor, "path 3"]) -> Float[Tensor, "path 3"]:
        """Return the field vector towards unit directions, over that of an isotropic antenna."""
        turn = torch.from_numpy(rotation_matrix(np.asarray(self.orientation_rad))).to(direction)
        local = direction @ turn
        zenith, azimuth = spherical_basis(local)
        vector = zenith if self.polarization == "V" else azimuth
        return _amplitude(self.pattern, local)[:, None] * vector @ turn.T


def spherical_basis(
    direction: Float[Tensor, "*n 3"],
) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n 3"]]:
    """Return the unit vectors of growing zenith angle and azimuth; at the poles, of azimuth 0."""
    x, y, z = direction.unbind(-1)
    across = torch.hypot(x, y)
    at_pole = across == 0
    safe = torch.where(at_pole, torch.ones_like(across), across)
    cos, sin = torch.where(at_pole, torch.ones_like(x), x / safe), y / safe
    zenith = torch.stack([z * cos, z * sin, -across], dim=-1)
    azimuth = torch.stack([-sin, cos, torch.zeros_like(sin)], dim=-1)
    return zenith, azimuth


def _amplitude(pattern: ElementPattern, local: Float[Tensor, "path 3"]) -> Float[Tensor, "path"]:
    """Return the square root of the gain towards unit directions in the antenna's frame."""
    x, y, z = local.unbind(-1)
    across = torch.hypot(x, y)
    largest = 10 ** (ELEMENT_GAIN_DB[pattern] / 20)
    if pattern == "iso":
        return torch.ones_like(z)
    if pattern == "dipole":
        return largest * across
    width_rad = math.radians(BEAM_WIDTH_DEG)
    vertical_db = 12 * ((torch.atan2(across, z) - math.pi / 2) / width_rad) ** 2
    horizontal_db = 12 * (torch.atan2(y, x) / width_rad) ** 2
    loss_db = vertical_db.clamp_max(LARGEST_LOSS_DB) + horizontal_db.clamp_max(LARGEST_LOSS_DB)
    return largest * 10 ** (-loss_db.clamp_max(LARGEST_LOSS_DB) / 20)
