"""Fields of paths from their geometry: both ways the same, smooth, and free of what is not read."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import wofz
from wedge_rays import materials

from raymark.errors import ConfigError, PhysicsError
from raymark.fields import (
    Antenna,
    AtCarrier,
    Materials,
    PathGeometry,
    Wedges,
    itu_materials,
    path_amplitude,
    path_amplitudes,
    transfer_matrix,
)
from raymark.fields.antennas import spherical_basis
from raymark.fields.transition import scaled_fresnel_tail
from raymark.radio.elements import element_amplitude

CARRIER_HZ = 6e9
RECIPROCAL_REL = 1e-9
WALLS = ["concrete", "glass", "brick"]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_paths(kinds: str, count: int = 200, seed: int = 0) -> PathGeometry:
    """Random polylines: any is a path when facets bisect its bends and the edge obeys Keller's law.

    Args:
        kinds: R and D, in order from the BS.
        count: How many.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    points = np.cumsum(rng.uniform(-30, 30, (count, len(kinds) + 2, 3)), axis=1)
    along = unit(np.diff(points, axis=1))
    normal = unit(along[:, 1:] - along[:, :-1])
    material = rng.integers(0, len(WALLS), (count, len(kinds)))
    slot = kinds.find("D")
    bends = np.tile(np.array([kind == "D" for kind in kinds], dtype=bool), (count, 1))
    wedge = random_wedges(along[:, slot], along[:, slot + 1], rng) if slot >= 0 else None
    return PathGeometry(
        bs_m=torch.tensor(points[:, 0]),
        ue_m=torch.tensor(points[:, -1]),
        vertex_m=torch.tensor(points[:, 1:-1]),
        reflects=torch.tensor(~bends),
        diffracts=torch.tensor(bends),
        normal=torch.tensor(normal),
        material=torch.tensor(material),
        wedge=no_wedges(count) if wedge is None else wedge,
    )


def no_wedges(count: int) -> Wedges:
    nowhere, row = torch.zeros(count, 3, dtype=torch.float64), torch.zeros(count, dtype=torch.long)
    return Wedges(
        direction=nowhere, normal_0=nowhere, normal_n=nowhere, material_0=row, material_n=row
    )


def random_wedges(arriving: np.ndarray, leaving: np.ndarray, rng: np.random.Generator) -> Wedges:
    """Wedges of 20 to 160 degrees whose open side holds both rays."""
    count = len(arriving)
    edge = unit(np.cross(leaving - arriving, rng.normal(size=(count, 3))))
    across = unit(np.cross(edge, rng.normal(size=(count, 3))))
    other = np.cross(edge, across)

    def azimuth(vectors: np.ndarray) -> np.ndarray:
        x, y = (vectors * across).sum(-1), (vectors * other).sum(-1)
        return np.arctan2(y, x) % (2 * np.pi)

    # The wedge lies in the middle of the larger gap between both rays.
    low, high = np.sort([azimuth(-arriving), azimuth(leaving)], axis=0)
    gap = high - low
    middle = np.where(gap > np.pi, low + gap / 2, high + (2 * np.pi - gap) / 2)
    room = np.maximum(gap, 2 * np.pi - gap)
    inner = np.minimum(rng.uniform(20, 160, count) * np.pi / 180, 0.9 * room)
    begin, end = middle + inner / 2, middle - inner / 2  # the air runs from begin round to end

    def normal(angle: np.ndarray, side: int) -> np.ndarray:
        return side * (np.cos(angle)[:, None] * other - np.sin(angle)[:, None] * across)

    material = torch.tensor(rng.integers(0, len(WALLS), (2, count)))
    return Wedges(
        direction=torch.tensor(edge),
        normal_0=torch.tensor(normal(begin, 1)),
        normal_n=torch.tensor(normal(end, -1)),
        material_0=material[0],
        material_n=material[1],
    )


def swapped_ends(paths: PathGeometry) -> PathGeometry:
    return replace(
        paths,
        bs_m=paths.ue_m,
        ue_m=paths.bs_m,
        vertex_m=paths.vertex_m.flip(1),
        reflects=paths.reflects.flip(1),
        diffracts=paths.diffracts.flip(1),
        normal=paths.normal.flip(1),
        material=paths.material.flip(1),
    )


def swapped_faces(wedge: Wedges) -> Wedges:
    return Wedges(
        direction=-wedge.direction,
        normal_0=wedge.normal_n,
        normal_n=wedge.normal_0,
        material_0=wedge.material_n,
        material_n=wedge.material_0,
    )


def largest_change(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative to each path's matrix, not to its elements, which may vanish."""
    size = torch.linalg.matrix_norm(expected)
    return float((torch.linalg.matrix_norm(found - expected) / size).max())


@pytest.mark.parametrize("kinds", ["R", "RR", "RRRR", "D", "RD", "DR", "RDRR", "RRDR"])
def test_transfer_matrix_is_transposed_when_ends_are_swapped(kinds: str) -> None:
    paths, walls = random_paths(kinds), itu_materials(WALLS, CARRIER_HZ)

    forth = transfer_matrix(paths, walls, CARRIER_HZ)
    back = transfer_matrix(swapped_ends(paths), walls, CARRIER_HZ)

    assert largest_change(back.mT, forth) < RECIPROCAL_REL


def test_amplitude_is_the_same_when_ends_and_antennas_are_swapped() -> None:
    paths, walls = random_paths("RDR"), itu_materials(WALLS, CARRIER_HZ)
    one = Antenna(pattern="tr38901", orientation_rad=(0.4, 0.1, 0.0))
    other = Antenna(pattern="dipole", polarization="H")

    forth = path_amplitude(paths, walls, CARRIER_HZ, bs=one, ue=other)
    back = path_amplitude(swapped_ends(paths), walls, CARRIER_HZ, bs=other, ue=one)

    torch.testing.assert_close(forth, back, rtol=RECIPROCAL_REL, atol=0)


def carriers() -> list[AtCarrier]:
    """Carriers that share one antenna each, but differ in materials."""
    one = Antenna(pattern="tr38901", orientation_rad=(0.4, 0.1, 0.0))
    other = Antenna(pattern="dipole", polarization="H")
    pairs = [(2.6e9, one, other), (28e9, one, one), (6e9, other, other)]
    return [
        AtCarrier(carrier_hz=hz, materials=itu_materials(WALLS, hz), bs=bs, ue=ue)
        for hz, bs, ue in pairs
    ]


@pytest.mark.parametrize("kinds", ["", "R", "D", "RDR"])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_amplitudes_are_those_of_each_carrier_when_they_are_computed_together(
    kinds: str, count: int
) -> None:
    paths = random_paths(kinds, count)
    points_m = torch.cat([paths.bs_m[:, None], paths.vertex_m, paths.ue_m[:, None]], dim=1)
    along = unit(torch.diff(points_m, dim=1).numpy())
    from_bs, from_ue = torch.tensor(along[:, 0]), torch.tensor(-along[:, -1])

    found = path_amplitudes(paths, carriers())

    for row, at in zip(found, carriers(), strict=True):
        launched, received = (
            torch.stack([(antenna.field(v) * axis).sum(-1) for axis in spherical_basis(v)], dim=-1)
            for antenna, v in ((at.bs, from_bs), (at.ue, from_ue))
        )
        matrix = transfer_matrix(paths, at.materials, at.carrier_hz)
        expected = torch.einsum("pi,pij,pj->p", received + 0j, matrix, launched + 0j)
        torch.testing.assert_close(row, expected, rtol=RECIPROCAL_REL, atol=1e-15)


def test_transfer_matrix_is_the_same_when_faces_are_swapped() -> None:
    paths, walls = random_paths("RDR"), itu_materials(WALLS, CARRIER_HZ)

    one = transfer_matrix(paths, walls, CARRIER_HZ)
    other = transfer_matrix(replace(paths, wedge=swapped_faces(paths.wedge)), walls, CARRIER_HZ)

    assert largest_change(other, one) < RECIPROCAL_REL


@pytest.mark.parametrize("kinds", ["", "RR", "RDR"])
def test_transfer_matrix_is_the_same_when_unused_slots_follow(kinds: str) -> None:
    paths, walls = random_paths(kinds), itu_materials(WALLS, CARRIER_HZ)
    count = len(paths.bs_m)
    unused = torch.zeros(count, 2, dtype=torch.bool)
    anything = torch.full((count, 2, 3), 1e3, dtype=torch.float64)
    padded = replace(
        paths,
        vertex_m=torch.cat([paths.vertex_m, anything], dim=1),
        reflects=torch.cat([paths.reflects, unused], dim=1),
        diffracts=torch.cat([paths.diffracts, unused], dim=1),
        normal=torch.cat([paths.normal, anything], dim=1),
        material=torch.cat([paths.material, unused.long()], dim=1),
    )

    expected = transfer_matrix(paths, walls, CARRIER_HZ)

    torch.testing.assert_close(transfer_matrix(padded, walls, CARRIER_HZ), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_transfer_matrix_has_a_row_a_path_when_there_are_none_or_one(count: int) -> None:
    paths = random_paths("RDR", count)

    found = transfer_matrix(paths, itu_materials(WALLS, CARRIER_HZ), CARRIER_HZ)

    assert found.shape == (count, 2, 2)
    assert bool(torch.isfinite(found.abs()).all())


@pytest.mark.parametrize("tilt_rad", [0.0, 1e-9, 1e-4])
def test_reflection_has_no_step_when_incidence_is_normal(tilt_rad: float) -> None:
    up = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    side = torch.tensor([[tilt_rad, 0.0, 0.0]], dtype=torch.float64)
    paths = PathGeometry(
        bs_m=10 * (up - side),
        ue_m=10 * (up + side),
        vertex_m=0 * up[:, None],
        reflects=torch.ones(1, 1, dtype=torch.bool),
        diffracts=torch.zeros(1, 1, dtype=torch.bool),
        normal=up[:, None],
        material=torch.zeros(1, 1, dtype=torch.long),
        wedge=no_wedges(1),
    )
    antenna = Antenna(orientation_rad=(0.3, np.pi / 2, 0.0))  # looks along z

    found = path_amplitude(paths, materials(4.0, 0.0), CARRIER_HZ, bs=antenna, ue=antenna)

    # A half space would reflect (1 - 2) / (1 + 2); of a slab of 10 m without loss, by its echo:
    echo = np.exp(-2j * 2 * np.pi * CARRIER_HZ / 299_792_458.0 * 10.0 * 2.0)
    slab = -1 / 3 * (1 - echo) / (1 - echo / 9)
    expected = slab * 299_792_458.0 / (4 * np.pi * CARRIER_HZ * 20)
    assert complex(found[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", ["R", "DR"])
def test_gradients_are_those_of_finite_differences(kinds: str) -> None:
    paths, names = random_paths(kinds, count=3, seed=4), WALLS
    antenna = Antenna(pattern="tr38901", orientation_rad=(0.4, 0.1, 0.0))
    slabs = itu_materials(names, CARRIER_HZ, scattering=0.3)

    def amplitude(vertex: Any, ue: Any, eps: Any, sigma: Any, thickness: Any) -> torch.Tensor:
        moved = replace(paths, vertex_m=vertex, ue_m=ue)
        changed = replace(
            slabs, relative_permittivity=eps, conductivity_s_m=sigma, thickness_m=thickness
        )
        found = path_amplitude(moved, changed, CARRIER_HZ, bs=antenna, ue=antenna)
        return torch.view_as_real(found * 1e4)

    inputs = [
        paths.vertex_m,
        paths.ue_m,
        slabs.relative_permittivity,
        slabs.conductivity_s_m,
        slabs.thickness_m,
    ]
    inputs = [value.clone().requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(amplitude, inputs, eps=1e-7, atol=1e-5, rtol=1e-4)


def test_gradient_of_the_carrier_is_that_of_finite_differences() -> None:
    paths = random_paths("RDR", count=3, seed=4)

    def amplitude(carrier_ghz: torch.Tensor) -> torch.Tensor:
        carrier_hz = carrier_ghz * 1e9
        slabs = itu_materials(WALLS, carrier_hz)
        return torch.view_as_real(1e4 * transfer_matrix(paths, slabs, carrier_hz))

    carrier_ghz = torch.tensor(6.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(amplitude, [carrier_ghz], eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pattern", ["tr38901", "dipole", "iso"])
@pytest.mark.parametrize("polarization", ["V", "H"])
def test_antenna_has_the_gain_of_its_element(pattern: Any, polarization: Any) -> None:
    direction = unit(np.random.default_rng(0).normal(size=(500, 3)))
    orientation = (2.1, 0.2, -0.3)
    antenna = Antenna(pattern=pattern, polarization=polarization, orientation_rad=orientation)

    field = antenna.field(torch.tensor(direction)).numpy()

    expected = element_amplitude(pattern, direction, np.array(orientation))
    np.testing.assert_allclose(np.linalg.norm(field, axis=1), expected, rtol=1e-12)
    np.testing.assert_allclose((field * direction).sum(axis=1), 0, atol=1e-12)


def test_fresnel_tail_is_the_faddeeva_function() -> None:
    u = np.logspace(-9, 6, 300)

    found = scaled_fresnel_tail(torch.tensor(u)).numpy()

    np.testing.assert_allclose(found, wofz(1j * u * np.exp(0.25j * np.pi)), rtol=1e-12)


def test_scattering_takes_its_share_from_a_reflection() -> None:
    paths = random_paths("R")

    whole = transfer_matrix(paths, itu_materials(WALLS, CARRIER_HZ), CARRIER_HZ)
    rest = transfer_matrix(paths, itu_materials(WALLS, CARRIER_HZ, scattering=0.6), CARRIER_HZ)

    torch.testing.assert_close(rest, 0.8 * whole)


def broken(paths: PathGeometry, how: str) -> PathGeometry:
    if how == "gap":
        gap = torch.tensor([False, True, True])
        return replace(paths, reflects=paths.reflects & gap, diffracts=paths.diffracts & gap)
    if how == "twice":
        return replace(paths, diffracts=~paths.diffracts, reflects=paths.diffracts)
    return replace(paths, diffracts=paths.diffracts | True)


@pytest.mark.parametrize(
    ("how", "message"),
    [("gap", "empty slot"), ("twice", "diffracts twice"), ("both", "both reflects and diffracts")],
)
def test_geometry_is_refused_when_interactions_are(how: str, message: str) -> None:
    with pytest.raises(PhysicsError, match=message):
        broken(random_paths("RDR", count=2), how)


def test_field_is_refused_when_a_ray_runs_inside_the_wedge() -> None:
    paths = random_paths("D", count=2)
    wedge = replace(paths.wedge, normal_0=-paths.wedge.normal_0, normal_n=-paths.wedge.normal_n)

    with pytest.raises(PhysicsError, match="inside the wedge"):
        transfer_matrix(replace(paths, wedge=wedge), itu_materials(WALLS, CARRIER_HZ), CARRIER_HZ)


def test_material_is_refused_when_undefined_at_the_carrier() -> None:
    with pytest.raises(ConfigError, match="'wet_ground' is defined for 1-10 GHz, got 28 GHz"):
        itu_materials(["concrete", "wet_ground"], 28e9)


def test_materials_take_values_of_each_when_given() -> None:
    found: Materials = itu_materials(["glass", "brick"], CARRIER_HZ, thickness_m=[0.02, 0.3])

    assert found.thickness_m.tolist() == [0.02, 0.3]
    assert found.scattering.tolist() == [0.0, 0.0]
