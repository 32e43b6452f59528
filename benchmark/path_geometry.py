"""How delays and directions of paths follow the UE on a map of fixed planes and edges."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from raymark.dataset.schema import DIFFRACTION, DIFFUSE, SPECULAR
from raymark.radio import SPEED_OF_LIGHT_M_S

_SINGULAR_REL = 1e-12
"""Stiffness below which a point is held: only rays that graze a plane to 1e-6 rad come there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathGradients:
    """First derivatives of path parameters with respect to the UE's position (x, y, z).

    Attributes:
        delay_s_m: Of the delay [s/m].
        direction_1_m: Of the unit vector from the BS, world frame [1/m].
    """

    delay_s_m: Float[Tensor, "path 3"]
    direction_1_m: Float[Tensor, "path 3 3"]


def path_gradients(
    bs_position_m: Float[Tensor, "3"],
    ue_position_m: Float[Tensor, "path 3"],
    interaction: UInt8[Tensor, "path depth"],
    vertex_m: Float[Tensor, "path depth 3"],
    wedge: Float[Tensor, "path 13"],
) -> PathGradients:
    """Return the derivatives of delay and direction at the BS, the map held fixed.

    By Fermat's principle a path's length L(v; x) is stationary in its points v, so that its
    gradient is the unit vector of the last leg. The points slide along their planes and edges by
    the implicit function theorem, dv/dx = -(d2L/dv2)^-1 d2L/dv dx, and the direction follows the
    first of them. A plane's normal is that of the mirrored ray, k_in - k_out.

    A refraction does not bend the ray and is no point here. A diffuse reflection is a scatterer
    that is fixed in space: what lies before it does not move with the UE.

    Args:
        bs_position_m: Centre of the panel [m].
        ue_position_m: UE of each path [m].
        interaction: As in the schema, in order from the BS.
        vertex_m: Interaction points [m].
        wedge: As in the schema; origin, unit vector, ... of the diffracting edge.
    """
    depth = interaction.shape[1]
    bends = (interaction == SPECULAR) | (interaction == DIFFRACTION) | (interaction == DIFFUSE)
    # Points go to the end of the row; what is free before them repeats the BS.
    order = torch.argsort(bends.to(torch.uint8), dim=1, stable=True)
    bends, interaction = bends.gather(1, order), interaction.gather(1, order)
    vertex_m = vertex_m.double().gather(1, order.unsqueeze(-1).expand_as(vertex_m))
    bs = bs_position_m.double().expand(len(order), 1, 3)
    vertex_m = torch.where(bends.unsqueeze(-1), vertex_m, bs)
    nodes_m = torch.cat([bs, vertex_m, ue_position_m.double().unsqueeze(1)], dim=1)
    unit, bending_1_m = _legs(nodes_m)
    tangent = _tangents(interaction, unit, wedge[:, 3:6].double())
    moved = _displacements(tangent, bending_1_m)
    first = depth - bends.sum(dim=1)
    row = torch.arange(len(first), device=first.device)
    return PathGradients(
        delay_s_m=unit[:, -1] / SPEED_OF_LIGHT_M_S,
        direction_1_m=bending_1_m[row, first] @ moved[row, first],
    )


def _legs(
    nodes_m: Float[Tensor, "path node 3"],
) -> tuple[Float[Tensor, "path leg 3"], Float[Tensor, "path leg 3 3"]]:
    """Return unit vectors of the legs and how they turn, (1 - k k^T) / length; 0 for no leg."""
    leg_m = nodes_m.diff(dim=1)
    length_m = leg_m.norm(dim=-1, keepdim=True)
    inverse_1_m = torch.where(length_m > 0, 1 / length_m, 0.0)
    unit = leg_m * inverse_1_m
    across = torch.eye(3, dtype=unit.dtype, device=unit.device) - _outer(unit)
    return unit, across * inverse_1_m.unsqueeze(-1)


def _tangents(
    interaction: UInt8[Tensor, "path depth"],
    unit: Float[Tensor, "path leg 3"],
    edge: Float[Tensor, "path 3"],
) -> Float[Tensor, "path depth 3 2"]:
    """Return the directions in which each point may slide, as columns; 0 where it may not."""
    normal = torch.nn.functional.normalize(unit[:, :-1] - unit[:, 1:], dim=-1)
    axis = torch.nn.functional.one_hot(normal.abs().argmin(dim=-1), 3).to(normal.dtype)
    first = torch.nn.functional.normalize(torch.linalg.cross(normal, axis), dim=-1)
    plane = torch.stack([first, torch.linalg.cross(normal, first)], dim=-1)
    line = torch.stack([edge, torch.zeros_like(edge)], dim=-1).unsqueeze(1)
    kind = interaction[..., None, None]
    return torch.where(kind == SPECULAR, plane, torch.where(kind == DIFFRACTION, line, 0.0))


def _displacements(
    tangent: Float[Tensor, "path depth 3 2"], bending_1_m: Float[Tensor, "path leg 3 3"]
) -> Float[Tensor, "path leg 3 3"]:
    """Return the motion of the points, and last of the UE itself, per motion of the UE."""
    num_paths, depth = tangent.shape[:2]
    ue = torch.eye(3, dtype=tangent.dtype, device=tangent.device).expand(num_paths, 1, 3, 3)
    if depth == 0:
        return ue
    stiffness = tangent.new_zeros(num_paths, depth, 2, depth, 2)
    for k in range(depth):
        here = tangent[:, k].mT
        stiffness[:, k, :, k] = here @ (bending_1_m[:, k] + bending_1_m[:, k + 1]) @ here.mT
        if k + 1 < depth:
            stiffness[:, k, :, k + 1] = -here @ bending_1_m[:, k + 1] @ tangent[:, k + 1]
            stiffness[:, k + 1, :, k] = stiffness[:, k, :, k + 1].mT
    pull = tangent.new_zeros(num_paths, depth, 2, 3)
    pull[:, -1] = tangent[:, -1].mT @ bending_1_m[:, -1]
    compliance = torch.linalg.pinv(
        stiffness.flatten(3, 4).flatten(1, 2), rtol=_SINGULAR_REL, hermitian=True
    )
    slide = (compliance @ pull.flatten(1, 2)).unflatten(1, (depth, 2))
    return torch.cat([tangent @ slide, ue], dim=1)


def _outer(vector: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    return vector.unsqueeze(-1) * vector.unsqueeze(-2)
