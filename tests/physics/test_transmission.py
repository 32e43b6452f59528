"""Refraction through a slab, and Sionna's own search beside the chain search."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from raymark.config import validate
from raymark.dataset import Dataset
from raymark.dataset.campaign import Campaign
from raymark.errors import DatasetError
from raymark.generator.generate import generate
from raymark.generator.plan import make_plan

SPEED_OF_LIGHT_M_S = 299_792_458.0
VACUUM_PERMITTIVITY_F_M = 8.8541878128e-12
BANDS_HZ = {"2.6GHz": 2.6e9, "6GHz": 6e9, "28GHz": 28e9}
THICKNESS_M = 0.1
WALL_X_M = 20.0

SLAB_REL = 2e-3
"""The phase across the slab is 100 rad and more at 28 GHz, its float32 cosine good to 1e-4; the
resonances multiply that."""


def brick_transmission(carrier_hz: float, cos_incidence: np.ndarray) -> np.ndarray:
    """Transmission of a brick slab, E in the plane of incidence (P.2040-3, eqs. 31, 43-44)."""
    conductivity = 0.0238 * (carrier_hz / 1e9) ** 0.16
    eta = 3.91 - 1j * conductivity / (2 * np.pi * carrier_hz * VACUUM_PERMITTIVITY_F_M)
    root = np.sqrt(eta - (1 - cos_incidence**2))
    r = (eta * cos_incidence - root) / (eta * cos_incidence + root)
    q = 2 * np.pi * THICKNESS_M * carrier_hz / SPEED_OF_LIGHT_M_S * root
    return (1 - r**2) * np.exp(-1j * q) / (1 - r**2 * np.exp(-2j * q))


@pytest.fixture(scope="module")
def behind_wall(write_scene: Callable[..., Path]) -> Path:
    wall = trimesh.Trimesh(
        vertices=[(WALL_X_M, y, z) for y, z in ((-90, -40), (90, -40), (90, 60), (-90, 60))],
        faces=[(0, 1, 2), (0, 2, 3)],
        process=False,
    )
    plate = trimesh.Trimesh(
        vertices=[(-500, -500, -50), (500, -500, -50), (500, 500, -50), (-500, 500, -50)],
        faces=[(0, 1, 2), (0, 2, 3)],
        process=False,
    )
    site = {"name": "bs0", "position_m": [0.0, 0.0, 0.0], "azimuth_deg": 0.0}
    meshes = {"wall": (wall, "brick"), "ground": (plate, "concrete")}
    return write_scene("behind_wall", meshes, [site], thickness_m=THICKNESS_M)


@pytest.mark.parametrize("band", BANDS_HZ)
def test_transmitted_path_has_slab_coefficient_when_a_wall_is_between(
    behind_wall: Path, trace_points: Callable[..., Dataset], band: str
) -> None:
    # In the vertical plane through the BS, so that V antennas are parallel to the plane.
    ues = np.array([[40.0, 0.0, 0.0], [60.0, 0.0, 25.0], [45.0, 0.0, -30.0]])
    data = trace_points(
        behind_wall, ues, bands=[band], refraction=True, specular_reflection=False, max_depth=1
    )

    selection = data.select(scene="behind_wall", band=band)
    paths = selection.path_table(0, 3)

    distance_m = np.linalg.norm(ues, axis=1)
    transmission = brick_transmission(BANDS_HZ[band], ues[:, 0] / distance_m)
    friis = SPEED_OF_LIGHT_M_S / BANDS_HZ[band] / (4 * np.pi * distance_m)
    assert selection.los.tolist() == [0, 0, 0]
    assert paths.interaction.tolist() == [[4], [4], [4]]
    np.testing.assert_allclose(np.abs(paths.amplitude), np.abs(transmission) * friis, rtol=SLAB_REL)


def test_link_is_in_outage_when_refraction_is_off(
    behind_wall: Path, trace_points: Callable[..., Dataset]
) -> None:
    data = trace_points(behind_wall, [[40.0, 0.0, 0.0]], bands=["6GHz"], max_depth=0)

    assert data.select(scene="behind_wall", band="6GHz").los.tolist() == [-1]


def test_both_searches_find_the_same_paths_when_these_are_few(
    ground_and_wall: Path, trace_points: Callable[..., Dataset]
) -> None:
    """Diffuse reflection calls for Sionna's search; smooth materials scatter nothing."""
    ues = [(40.0, 10.0, 1.5), (60.0, 20.0, 3.0), (35.0, -10.0, 1.5)]
    tables = []
    for diffuse in (False, True):
        data = trace_points(ground_and_wall, ues, diffuse_reflection=diffuse, max_depth=2)
        assert any("Sionna's own search" in note for note in data.manifest.notes) == diffuse
        tables.append(data.select(scene="ground_and_wall", band="28GHz").path_table(0, 3))

    chains, solver = tables
    np.testing.assert_array_equal(chains.path_offset, solver.path_offset)
    np.testing.assert_array_equal(chains.interaction, solver.interaction)
    np.testing.assert_allclose(chains.delay_s, solver.delay_s, rtol=1e-6)
    np.testing.assert_allclose(chains.amplitude, solver.amplitude, rtol=1e-3)


@pytest.fixture(scope="module")
def solver_campaign(behind_wall: Path) -> dict[str, Any]:
    return {
        "name": "solver",
        "scenes": [{"name": str(behind_wall)}],
        "bands": ["6GHz"],
        "sampling": {"kind": "uniform", "num_ues": 20, "max_range_m": 60.0},
        "tracer": {
            "refraction": True,
            "max_depth": 1,
            "solver_rays": 5000,
            "solver_block_size": 4,
        },
    }


def test_content_is_the_same_when_solver_shards_are_of_other_sizes(
    solver_campaign: dict[str, Any], tmp_path: Path
) -> None:
    plan = make_plan(validate(Campaign, solver_campaign, where="x"))

    first, second = (
        generate(plan, tmp_path / str(size), shard_size=size).content_hash for size in (4, 12)
    )

    assert first == second


def test_generation_raises_when_a_solver_block_would_be_divided(
    solver_campaign: dict[str, Any], tmp_path: Path
) -> None:
    plan = make_plan(validate(Campaign, solver_campaign, where="x"))

    with pytest.raises(DatasetError, match=r"shard size 6 must be a multiple of .* \(4 UEs\)"):
        generate(plan, tmp_path, shard_size=6)
