"""Scattered fields from geometry: energy, both ways the same, polarization, gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raymark.fields import (
    Antenna,
    AtCarrier,
    Materials,
    Roughness,
    ScatteredPaths,
    itu_materials,
    scattered_amplitude,
    scattered_amplitudes,
    scattering_pattern,
)

CARRIER_HZ = 28e9
WAVELENGTH_M = 299_792_458.0 / CARRIER_HZ
VACUUM_PERMITTIVITY_F_M = 8.8541878128e-12
QUADRATURE_REL = 1e-9
"""Gauss-Legendre over the cosine and a lattice over the azimuth integrate polynomials exactly; of
these lobes the highest power is 12."""
REFLECTED_REL = 1e-6
"""What returns from the back of 3 m of concrete is below that."""
METAL_REL = 2e-2
"""Metal of ITU-R P.2040 reflects 0.98 and more of the field at these angles, and not the same at
both: the model takes what a surface reflects at the angle of incidence alone."""
SOLID_ANGLE_SR = 1e-3


def half_space(num_cos: int = 24, num_azimuth: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Directions above a surface in the plane z = 0, and their weights [sr]."""
    x, weight = np.polynomial.legendre.leggauss(num_cos)
    cos, azimuth = (x + 1) / 2, np.arange(num_azimuth) * 2 * np.pi / num_azimuth
    z, phi = (a.ravel() for a in np.meshgrid(cos, azimuth, indexing="ij"))
    across = np.sqrt(1 - z**2)
    direction = np.stack([across * np.cos(phi), across * np.sin(phi), z], axis=1)
    return torch.tensor(direction), torch.tensor(np.repeat(weight / 2, num_azimuth)) * (
        2 * np.pi / num_azimuth
    )


def incidence(angle_rad: float, count: int, azimuth_rad: float = 0.4) -> torch.Tensor:
    across = np.sin(angle_rad)
    ray = [across * np.cos(azimuth_rad), across * np.sin(azimuth_rad), -np.cos(angle_rad)]
    return torch.tensor([ray]).expand(count, 3)


def paths_over_tile(angle_rad: float, ue_m: torch.Tensor, distance_m: float) -> ScatteredPaths:
    """A tile at the origin that a BS sees at an angle to its normal, and UEs."""
    count = len(ue_m)
    rng = np.random.default_rng(1)
    return ScatteredPaths(
        bs_m=-distance_m * incidence(angle_rad, count),
        ue_m=ue_m,
        point_m=torch.zeros(count, 3, dtype=torch.float64),
        normal=torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(count, 3),
        solid_angle_sr=torch.full((count,), SOLID_ANGLE_SR, dtype=torch.float64),
        phase_rad=torch.tensor(rng.uniform(0, 2 * np.pi, (count, 2))),
        material=torch.zeros(count, dtype=torch.long),
    )


def roughness(directivity: int, cross_polar: float) -> Roughness:
    return Roughness(
        directivity=torch.tensor([directivity]),
        cross_polar=torch.tensor([cross_polar], dtype=torch.float64),
    )


def reflected_power(angle_rad: float, polarization: str) -> float:
    """Fresnel's coefficient of a concrete half space for a V or H antenna, which are along the
    plane of incidence and across it: ITU-R P.2040-3, eqs. 9, 28-29, table 3, and 37."""
    conductivity = 0.0462 * (CARRIER_HZ / 1e9) ** 0.7822
    eta = 5.24 - 1j * conductivity / (2 * np.pi * CARRIER_HZ * VACUUM_PERMITTIVITY_F_M)
    root = np.sqrt(eta - np.sin(angle_rad) ** 2)
    weight = eta if polarization == "V" else 1
    return float(
        abs((weight * np.cos(angle_rad) - root) / (weight * np.cos(angle_rad) + root)) ** 2
    )


@pytest.mark.parametrize("angle_rad", [0.0, 0.4, 1.1, 1.5])
@pytest.mark.parametrize("directivity", [0, 1, 2, 5, 12])
def test_lobe_has_all_of_the_power_when_it_is_summed_over_the_half_space(
    directivity: int, angle_rad: float
) -> None:
    out, weight = half_space()
    normal = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(len(out), 3)
    exponent = torch.full((len(out),), directivity)

    for side in (1, -1):
        lobe = scattering_pattern(incidence(angle_rad, len(out)), out, side * normal, exponent)
        assert float((lobe * weight).sum()) == pytest.approx(1, rel=QUADRATURE_REL)
    behind = scattering_pattern(incidence(angle_rad, len(out)), -out, normal, exponent)
    assert not behind.any()


def test_directive_lobe_is_strongest_when_the_ray_is_mirrored() -> None:
    out, _ = half_space()
    arriving = incidence(0.7, 1)
    mirrored = arriving * torch.tensor([1, 1, -1])
    out = torch.cat([mirrored, out])
    normal = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(len(out), 3)

    lobe = scattering_pattern(arriving.expand(len(out), 3), out, normal, torch.full((len(out),), 4))

    assert int(lobe.argmax()) == 0


@pytest.mark.parametrize("polarization", ["V", "H"])
@pytest.mark.parametrize("angle_rad", [0.3, 1.2])
@pytest.mark.parametrize(("directivity", "cross_polar"), [(0, 0.0), (0, 0.3), (4, 0.0), (4, 1.0)])
def test_tile_scatters_its_share_of_what_it_would_reflect_when_all_ues_are_counted(
    directivity: int, cross_polar: float, angle_rad: float, polarization: str
) -> None:
    out, weight = half_space()
    distance_m = 70.0
    paths = paths_over_tile(angle_rad, distance_m * out, 30.0)
    wall = itu_materials(["concrete"], CARRIER_HZ, thickness_m=3.0, scattering=0.4)
    bs = Antenna(polarization=polarization)

    power = sum(
        scattered_amplitude(
            paths, wall, roughness(directivity, cross_polar), CARRIER_HZ, bs=bs, ue=ue
        ).abs()
        ** 2
        for ue in (Antenna(polarization="V"), Antenna(polarization="H"))
    )
    scattered = float((power * weight).sum()) * (4 * np.pi * distance_m / WAVELENGTH_M) ** 2

    expected = 0.4**2 * reflected_power(angle_rad, polarization) * SOLID_ANGLE_SR
    assert scattered == pytest.approx(expected, rel=REFLECTED_REL)


def metal() -> Materials:
    return itu_materials(["metal"], CARRIER_HZ, scattering=0.6)


def test_lamberts_lobe_of_metal_is_the_same_both_ways_when_antennas_are_swapped() -> None:
    rng = np.random.default_rng(2)
    ends = rng.uniform(-40, 40, (2, 300, 3))
    ends[..., 2] = np.abs(ends[..., 2]) + 5  # grazing rays, which metal absorbs, are left out
    area_m2 = 0.01
    forth = replace(paths_over_tile(0.0, torch.tensor(ends[1]), 1.0), bs_m=torch.tensor(ends[0]))
    back = replace(forth, bs_m=forth.ue_m, ue_m=forth.bs_m)

    def amplitude(paths: ScatteredPaths, bs: str, ue: str) -> torch.Tensor:
        away_m = paths.bs_m.norm(dim=1)
        seen = replace(paths, solid_angle_sr=area_m2 * paths.bs_m[:, 2] / away_m**3)
        antennas = {"bs": Antenna(polarization=bs), "ue": Antenna(polarization=ue)}
        return scattered_amplitude(seen, metal(), roughness(0, 0.2), CARRIER_HZ, **antennas)

    for one, two in (("V", "V"), ("V", "H"), ("H", "H")):
        torch.testing.assert_close(
            amplitude(forth, one, two), amplitude(back, two, one), rtol=METAL_REL, atol=0
        )


def test_cross_polar_power_is_its_share_when_the_ray_is_of_one_polarization() -> None:
    out, _ = half_space(4, 6)
    paths = paths_over_tile(0.5, 20.0 * out, 30.0)

    own, other = (
        scattered_amplitude(
            paths,
            metal(),
            roughness(0, 0.25),
            CARRIER_HZ,
            bs=Antenna(polarization="V"),
            ue=Antenna(polarization=polarization),
        ).abs()
        for polarization in ("V", "H")
    )

    torch.testing.assert_close(other**2, own**2 / 3)


def test_amplitude_has_the_phases_of_the_tile_when_these_are_turned() -> None:
    out, _ = half_space(4, 6)
    paths = paths_over_tile(0.5, 20.0 * out, 30.0)
    turned = replace(paths, phase_rad=paths.phase_rad + torch.tensor([0.3, 0.0]))
    antennas = {"bs": Antenna(), "ue": Antenna()}

    before, after = (
        scattered_amplitude(p, metal(), roughness(0, 0.1), CARRIER_HZ, **antennas)
        for p in (paths, turned)
    )

    torch.testing.assert_close(after, before * np.exp(0.3j))


def test_gradients_agree_with_differences_when_materials_and_points_change() -> None:
    out, _ = half_space(3, 4)
    out = torch.cat([out, -out[:1]])  # behind the surface, where nothing is scattered
    ue_m = (20.0 * out).requires_grad_()
    permittivity = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)
    share = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    cross_polar = torch.tensor([0.2], dtype=torch.float64, requires_grad=True)

    def power(
        permittivity: torch.Tensor, share: torch.Tensor, cross: torch.Tensor, ue_m: torch.Tensor
    ) -> torch.Tensor:
        wall = replace(
            itu_materials(["concrete"], CARRIER_HZ),
            relative_permittivity=permittivity,
            scattering=share,
        )
        rough = Roughness(directivity=torch.tensor([3]), cross_polar=cross)
        amplitude = scattered_amplitude(
            paths_over_tile(0.6, ue_m, 30.0), wall, rough, CARRIER_HZ, bs=Antenna(), ue=Antenna()
        )
        return 1e9 * (amplitude.abs() ** 2)

    assert torch.autograd.gradcheck(power, (permittivity, share, cross_polar, ue_m), atol=1e-4)


def test_amplitudes_are_those_of_each_carrier_when_they_are_computed_together() -> None:
    paths = paths_over_tile(0.6, 20.0 * half_space(3, 4)[0], 30.0)
    rough = roughness(3, 0.2)
    one, other = Antenna(orientation_rad=(0.4, 0.1, 0.0)), Antenna(polarization="H")
    cases = [(2.6e9, one, other), (28e9, one, one), (6e9, other, other)]
    carriers = [
        AtCarrier(
            carrier_hz=hz,
            materials=itu_materials(["concrete"], hz, scattering=0.3),
            bs=bs,
            ue=ue,
        )
        for hz, bs, ue in cases
    ]

    found = scattered_amplitudes(paths, rough, carriers)

    alone = [
        scattered_amplitude(paths, at.materials, rough, at.carrier_hz, bs=at.bs, ue=at.ue)
        for at in carriers
    ]
    torch.testing.assert_close(found, torch.stack(alone), rtol=0, atol=0)
    assert bool((found.abs() > 0).all())


def test_nothing_is_scattered_when_there_is_no_path() -> None:
    paths = paths_over_tile(0.5, torch.zeros(0, 3, dtype=torch.float64), 30.0)

    found = scattered_amplitude(
        paths, metal(), roughness(0, 0.1), CARRIER_HZ, bs=Antenna(), ue=Antenna()
    )

    assert found.shape == (0,)
