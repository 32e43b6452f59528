"""Rays around one wedge, from plain geometry: direct, reflected at both faces, and diffracted."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from raymark.fields import Antenna, Materials, PathGeometry, Wedges, path_amplitude

SPEED_OF_LIGHT_M_S = 299_792_458.0
BANDS_HZ = {"2.6GHz": 2.6e9, "6GHz": 6e9, "28GHz": 28e9}

PERFECT_S_M = 1e20
"""So high a conductivity that reflection coefficients are +-1 to 1e-9."""


@dataclass(frozen=True, kw_only=True)
class WedgeSetting:
    """A wedge along z with its 0-face in the half plane x > 0, y = 0; angles run from there.

    `edge_deg` is the angle between the rays and the edge; 90 is normal incidence.
    """

    n: float = 1.5
    source_deg: float = 50.0
    before_m: float = 40.0
    behind_m: float = 25.0
    edge_deg: float = 90.0
    turn: Any = None


def perfect_conductor() -> Materials:
    return materials(1.0, PERFECT_S_M)


def materials(eps: float, sigma: float, thickness_m: float = 10.0, s: float = 0.0) -> Materials:
    columns = (torch.tensor([x], dtype=torch.float64) for x in (eps, sigma, thickness_m, s))
    names = ("relative_permittivity", "conductivity_s_m", "thickness_m", "scattering")
    return Materials(**dict(zip(names, columns, strict=True)))


def around(
    angle_deg: np.ndarray, way_m: float, along_m: float, setting: WedgeSetting
) -> np.ndarray:
    """Points at angles about the edge, at a distance from the origin and a height."""
    angle = np.radians(np.atleast_1d(angle_deg))
    across_m = way_m * np.sin(np.radians(setting.edge_deg))
    points = [across_m * np.cos(angle), across_m * np.sin(angle), np.full(angle.shape, along_m)]
    return turned(np.stack(points, axis=-1), setting)


def turned(vectors: Any, setting: WedgeSetting) -> np.ndarray:
    vectors = np.asarray(vectors, dtype="f8")
    return vectors if setting.turn is None else vectors @ setting.turn.T


def ends(receiver_deg: np.ndarray, setting: WedgeSetting) -> tuple[np.ndarray, np.ndarray]:
    cos = np.cos(np.radians(setting.edge_deg))
    receiver = around(receiver_deg, setting.behind_m, setting.behind_m * cos, setting)
    source = around(setting.source_deg, setting.before_m, -setting.before_m * cos, setting)
    return np.broadcast_to(source, receiver.shape), receiver


def face_normals(setting: WedgeSetting) -> tuple[np.ndarray, np.ndarray]:
    end = np.pi * setting.n
    return turned([0, 1, 0], setting), turned([np.sin(end), -np.cos(end), 0], setting)


def diffracted(receiver_deg: np.ndarray, setting: WedgeSetting) -> PathGeometry:
    """The path over the edge, with the edge point in the origin."""
    source, receiver = ends(receiver_deg, setting)
    return one_slot(source, receiver, 0 * source, setting, diffracts=True)


def reflected(receiver_deg: np.ndarray, setting: WedgeSetting, face: int) -> PathGeometry:
    """The path over the 0-face (0) or the n-face (1); its point may lie beyond the edge."""
    source, receiver = ends(receiver_deg, setting)
    normal = face_normals(setting)[face]
    height, other = source @ normal, receiver @ normal
    share = (height / (height + other))[:, None]
    image = source - 2 * height[:, None] * normal
    return one_slot(source, receiver, image + share * (receiver - image), setting, normal=normal)


def direct(receiver_deg: np.ndarray, setting: WedgeSetting) -> PathGeometry:
    source, receiver = ends(receiver_deg, setting)
    path = one_slot(source, receiver, 0 * source, setting)
    return replace(path, reflects=torch.zeros_like(path.reflects))


def one_slot(
    source: np.ndarray,
    receiver: np.ndarray,
    vertex: np.ndarray,
    setting: WedgeSetting,
    *,
    diffracts: bool = False,
    normal: np.ndarray | None = None,
) -> PathGeometry:
    count = len(source)
    flags = torch.full((count, 1), diffracts)
    normal = np.zeros(3) if normal is None else normal
    return PathGeometry(
        bs_m=torch.tensor(source),
        ue_m=torch.tensor(receiver),
        vertex_m=torch.tensor(vertex)[:, None],
        reflects=~flags,
        diffracts=flags,
        normal=torch.tensor(normal).expand(count, 1, 3),
        material=torch.zeros(count, 1, dtype=torch.long),
        wedge=wedges(count, setting),
    )


def wedges(count: int, setting: WedgeSetting) -> Wedges:
    normal_0, normal_n = face_normals(setting)
    rows = torch.zeros(count, dtype=torch.long)
    return Wedges(
        direction=torch.tensor(turned([0, 0, 1], setting)).expand(count, 3),
        normal_0=torch.tensor(normal_0).expand(count, 3),
        normal_n=torch.tensor(normal_n).expand(count, 3),
        material_0=rows,
        material_n=rows,
    )


def total_field(
    receiver_deg: np.ndarray,
    setting: WedgeSetting,
    slab: Materials,
    carrier_hz: float,
    *,
    antenna: Antenna,
) -> np.ndarray:
    """Sum of all rays that exist, over the incident field at the edge."""
    receiver_deg = np.atleast_1d(np.asarray(receiver_deg, dtype="f8"))
    end, source = 180 * setting.n, setting.source_deg
    total = phasors(diffracted(receiver_deg, setting), slab, carrier_hz, antenna)
    rays = [
        (np.abs(receiver_deg - source) < 180, direct(receiver_deg, setting)),
        (receiver_deg + source < 180, reflected(receiver_deg, setting, 0)),
        (2 * end - receiver_deg - source < 180, reflected(receiver_deg, setting, 1)),
    ]
    for exists, paths in rays:
        total = total + np.where(exists, phasors(paths, slab, carrier_hz, antenna), 0)
    wavenumber = 2 * np.pi * carrier_hz / SPEED_OF_LIGHT_M_S
    at_edge = np.exp(-1j * wavenumber * setting.before_m) / (2 * wavenumber * setting.before_m)
    return total / at_edge


def phasors(
    paths: PathGeometry, slab: Materials, carrier_hz: float, antenna: Antenna
) -> np.ndarray:
    amplitude = path_amplitude(paths, slab, carrier_hz, bs=antenna, ue=antenna).numpy()
    length_m = torch.linalg.vector_norm(paths.legs_m, dim=-1).sum(-1).numpy()
    return amplitude * np.exp(-2j * np.pi * carrier_hz / SPEED_OF_LIGHT_M_S * length_m)
