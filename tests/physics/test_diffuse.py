"""Diffuse reflection from tiles: power of a wall, shadows, both searches, and whole datasets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.dataset import Dataset
from raymark.dataset.campaign import RoughMaterial, TracerSettings
from raymark.dataset.schema import DIFFUSE, SPECULAR
from raymark.dataset.verification import verify_dataset
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.errors import SceneError
from raymark.generator.tracing.diffuse import DiffuseSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.scatterers import TileSearch
from raymark.generator.tracing.solver_search import SolverSearch
from raymark.generator.tracing.true_fields import TrueFields
from raymark.radio import BAND_PRESETS, SPEED_OF_LIGHT_M_S, FrontEnd

BAND = BAND_PRESETS["28GHz"]
SCATTERING = 0.4
BS_M = np.array([0.0, 0.0, 10.0])
UE_M = np.array([[30.0, 8.0, 1.5], [12.0, -20.0, 1.5], [22.0, 28.9, 3.0]])
VACUUM_PERMITTIVITY_F_M = 8.8541878128e-12

WriteScene = Callable[..., Path]


def rectangle(corner_m: list[float], edges_m: list[list[float]]) -> trimesh.Trimesh:
    a, (u, v) = np.array(corner_m), np.array(edges_m)
    return trimesh.Trimesh(vertices=[a, a + u, a + u + v, a + v], faces=[[0, 1, 2], [0, 2, 3]])


def square() -> trimesh.Trimesh:
    return rectangle([-40, -40, 0], [[100, 0, 0], [0, 80, 0]])


@pytest.fixture(scope="module")
def plain(write_scene: WriteScene) -> Path:
    """A ground of 100 m x 80 m and nothing else."""
    meshes = {"ground": (square(), "concrete")}
    return write_scene("plain", meshes, [SITE], scattering=SCATTERING)


@pytest.fixture(scope="module")
def yard(write_scene: WriteScene) -> Path:
    """Ground, a wall behind the UEs and a block that shades both."""
    meshes = {
        "ground": (square(), "concrete"),
        "wall": (rectangle([-40, 30, 0], [[100, 0, 0], [0, 0, 20]]), "brick"),
        "block": (trimesh.creation.box(bounds=[[14, -4, 0], [20, 18, 8]]), "concrete"),
    }
    return write_scene("yard", meshes, [SITE], scattering=SCATTERING)


SITE = {"name": "bs0", "position_m": BS_M.tolist(), "azimuth_deg": 30.0, "downtilt_deg": 5.0}
ISO = {"panel": {"num_rows": 1, "num_cols": 1, "element_pattern": "iso"}}


def loaded_scene(folder: Path) -> LoadedScene:
    return LoadedScene(folder / "scene.xml", FrontEnd.model_validate(ISO))


def search_of(loaded: LoadedScene, fineness: float = 1.0) -> DiffuseSearch:
    return DiffuseSearch(loaded, BS_M, TrueFields(loaded, BS_M, np.zeros(3)), 2, fineness=fineness)


def power_by_ue(paths: TracedPaths, num_ues: int) -> np.ndarray:
    power = np.abs(paths.amplitude[0].astype("c16")) ** 2
    return np.bincount(paths.ue_index, power, num_ues)


def power_of_ground(ue_m: np.ndarray, step_m: float = 0.1) -> float:
    """Lambert's lobe over the ground, summed over squares; vertical antennas, concrete.

    Fresnel's coefficient of a half space, E in the plane of incidence: ITU-R P.2040-3, eqs. 9,
    28-29, table 3, and 31b. What returns from the lower face of 3 m is below 1e-8.
    """
    x, y = np.arange(-40, 60, step_m) + step_m / 2, np.arange(-40, 40, step_m) + step_m / 2
    point_m = np.stack(np.meshgrid(x, y, [0.0], indexing="ij"), axis=-1).reshape(-1, 3)
    before_m, behind_m = (np.linalg.norm(end_m - point_m, axis=1) for end_m in (BS_M, ue_m))
    cos_in, cos_out = BS_M[2] / before_m, ue_m[2] / behind_m
    conductivity = 0.0462 * (BAND.carrier_hz / 1e9) ** 0.7822
    eta = 5.24 - 1j * conductivity / (2 * np.pi * BAND.carrier_hz * VACUUM_PERMITTIVITY_F_M)
    root = np.sqrt(eta - (1 - cos_in**2))
    reflected = np.abs((eta * cos_in - root) / (eta * cos_in + root)) ** 2
    density = reflected * cos_in * cos_out / (np.pi * before_m**2 * behind_m**2)
    wavelength_m = SPEED_OF_LIGHT_M_S / BAND.carrier_hz
    return float((wavelength_m * SCATTERING / (4 * np.pi)) ** 2 * density.sum() * step_m**2)


def test_power_of_a_ground_is_the_integral_when_tiles_are_fine(plain: Path) -> None:
    loaded = loaded_scene(plain)
    expected = np.array([power_of_ground(ue_m) for ue_m in UE_M])

    off = [
        np.abs(
            power_by_ue(search_of(loaded, fineness).trace(UE_M, (BAND,)), len(UE_M)) / expected - 1
        )
        for fineness in (1.0, 2.0, 4.0)
    ]

    # Of second order in the size of the tiles: a half of it leaves a quarter of the error.
    assert (off[0] < 0.03).all()
    assert off[1].mean() < off[0].mean() / 2
    assert off[2].mean() < off[1].mean() / 2


def test_bs_sees_of_the_tiles_what_its_rays_hit_when_a_block_casts_a_shadow(yard: Path) -> None:
    loaded = loaded_scene(yard)
    tiles = TileSearch(loaded, BS_M, np.arange(loaded.triangles.count), fineness=1.0)

    count = 200_000
    z = 1 - (2 * np.arange(count) + 1) / count
    turn, across = np.pi * (1 + 5**0.5) * np.arange(count), np.sqrt(1 - z**2)
    ray = np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)
    distance_m, _ = loaded.hit_distance(np.broadcast_to(BS_M, ray.shape), ray)

    seen_sr = 4 * np.pi * np.isfinite(distance_m).mean()
    assert tiles.solid_angle_sr == pytest.approx(seen_sr, rel=2e-3)


def test_every_scatterer_is_seen_from_both_ends_when_a_block_casts_a_shadow(yard: Path) -> None:
    loaded = loaded_scene(yard)

    paths = search_of(loaded).trace(UE_M, (BAND,))

    point_m = paths.vertex_m[:, 0].astype("f8")
    bs_m = np.broadcast_to(BS_M, point_m.shape)
    ue_m = UE_M.astype("f4").astype("f8")[paths.ue_index]
    assert loaded.is_visible(bs_m, point_m).all()
    assert loaded.is_visible(ue_m, point_m).all()
    length_m = np.linalg.norm(point_m - bs_m, axis=1) + np.linalg.norm(point_m - ue_m, axis=1)
    np.testing.assert_allclose(paths.delay_s * SPEED_OF_LIGHT_M_S, length_m, rtol=1e-12)
    triangle = loaded.rows_of(paths.object_index[:, 0], paths.primitive[:, 0])
    corner_m, normal = loaded.triangles.corner_m[triangle], loaded.triangles.normal[triangle]
    off_m = np.abs(((point_m - corner_m[:, 0]) * normal).sum(axis=1))
    assert off_m.max() < 1e-5
    assert (paths.interaction == [DIFFUSE, 0]).all()


@pytest.mark.slow
def test_power_and_delay_spread_are_sionnas_when_it_scatters_every_ray(yard: Path) -> None:
    """Its rays are a lattice: with nothing else to choose it integrates over the same surfaces."""
    loaded = loaded_scene(yard)
    settings = TracerSettings(
        max_depth=1, specular_reflection=False, diffuse_reflection=True, solver_rays=400_000
    )
    theirs = SolverSearch(loaded, BS_M, np.zeros(3), settings).trace(UE_M, (BAND,))
    theirs = theirs.take(np.flatnonzero(theirs.interaction[:, 0] == DIFFUSE))

    ours = search_of(loaded).trace(UE_M, (BAND,))

    def spread_s(paths: TracedPaths) -> np.ndarray:
        power, total = np.abs(paths.amplitude[0]) ** 2, power_by_ue(paths, len(UE_M))
        mean_s, square = (
            np.bincount(paths.ue_index, power * paths.delay_s.astype("f8") ** n) / total
            for n in (1, 2)
        )
        return np.sqrt(square - mean_s**2)

    level_db = 10 * np.log10(power_by_ue(ours, len(UE_M)) / power_by_ue(theirs, len(UE_M)))
    assert np.abs(level_db).max() < 0.2
    np.testing.assert_allclose(spread_s(ours), spread_s(theirs), rtol=0.03)


def test_paths_are_the_same_bits_when_the_company_changes(yard: Path) -> None:
    search = search_of(loaded_scene(yard))
    rng = np.random.default_rng(4)
    ue_m = np.column_stack([rng.uniform(-30, 50, 40), rng.uniform(-35, 28, 40), np.full(40, 1.5)])
    whole = search.trace(ue_m, (BAND,))

    for group in ([7], [31, 7, 2], rng.permutation(40).tolist()):
        part = search.trace(ue_m[group], (BAND,))
        for i, ue in enumerate(group):
            one, other = (
                paths.take(np.flatnonzero(paths.ue_index == row))
                for paths, row in ((part, i), (whole, ue))
            )
            assert one.amplitude.tobytes() == other.amplitude.tobytes()
            assert one.vertex_m.tobytes() == other.vertex_m.tobytes()
            assert one.delay_s.tobytes() == other.delay_s.tobytes()


def test_nothing_is_found_when_there_is_no_ue_and_nothing_that_scatters(
    yard: Path, ground_and_wall: Path
) -> None:
    loaded = loaded_scene(yard)
    bands, none = (BAND, BAND_PRESETS["6GHz"]), np.zeros((0, 3))

    assert search_of(loaded).trace(none, bands).amplitude.shape == (2, 0)
    # Beneath the ground, which is lit from above.
    assert search_of(loaded).trace(np.array([[5.0, 5.0, -3.0]]), bands).amplitude.shape == (2, 0)
    assert search_of(loaded_scene(ground_and_wall)).trace(UE_M, bands).amplitude.shape == (2, 0)


def test_materials_scatter_as_they_are_told_to_when_the_file_says_otherwise(yard: Path) -> None:
    rough = RoughMaterial(scattering_coefficient=0.25, lobe_exponent=3, cross_polar_share=0.125)

    loaded = LoadedScene(yard / "scene.xml", FrontEnd(), roughness={"brick": rough})

    of = {material: i for i, material in enumerate(loaded.object_materials)}
    assert loaded.object_scattering[of["brick"]] == 0.25
    assert loaded.object_directivity[of["brick"]] == 3
    assert loaded.object_cross_polar[of["brick"]] == 0.125
    assert loaded.object_scattering[of["concrete"]] == pytest.approx(SCATTERING)
    assert loaded.object_directivity[of["concrete"]] == 0


@pytest.fixture(scope="module")
def scattered(yard: Path, trace_points: Callable[..., Dataset]) -> Dataset:
    return trace_points(
        yard,
        UE_M,
        bands=["28GHz", "6GHz"],
        diffuse_reflection=True,
        fields="raymark",
        kept_power_share=0.999,
        max_num_paths=256,
    )


def test_dataset_has_both_kinds_of_reflection_when_surfaces_are_rough(
    scattered: Dataset, yard: Path, trace_points: Callable[..., Dataset]
) -> None:
    smooth = trace_points(yard, UE_M, bands=["28GHz"], kept_power_share=0.999)
    paths, without = (
        data.select(scene="yard", band="28GHz").path_table(0, len(UE_M))
        for data in (scattered, smooth)
    )

    assert verify_dataset(scattered.folder) == []
    assert any("one bounce from tiles" in note for note in scattered.manifest.notes)
    kinds = set(paths.interaction[:, 0].tolist())
    assert {SPECULAR, DIFFUSE} <= kinds
    assert DIFFUSE not in without.interaction
    # What is scattered leaves the reflected paths as they are: these had lost its share before.
    reflected, before = (
        np.sort(np.abs(table.amplitude[(table.interaction == SPECULAR).any(axis=1)]))[-5:]
        for table in (paths, without)
    )
    np.testing.assert_allclose(reflected, before, rtol=1e-6)


def test_campaign_is_refused_when_nothing_scatters(
    ground_and_wall: Path, trace_points: Callable[..., Dataset]
) -> None:
    with pytest.raises(SceneError, match=r"nothing scatters, .* \(brick, concrete\)"):
        trace_points(ground_and_wall, UE_M, diffuse_reflection=True, fields="raymark")


@pytest.mark.slow
def test_what_is_cut_off_is_counted_when_few_scattered_paths_are_kept(
    scattered: Dataset, yard: Path, trace_points: Callable[..., Dataset]
) -> None:
    few = trace_points(
        yard,
        UE_M,
        bands=["28GHz", "6GHz"],
        diffuse_reflection=True,
        fields="raymark",
        kept_power_share=0.999,
        max_num_paths=3,
    )
    many, kept = (data.load_shard(data.manifest.shards[0]) for data in (scattered, few))

    def power(arrays: dict[str, np.ndarray]) -> np.ndarray:
        return np.add.reduceat(
            np.abs(arrays["path/amplitude"][0]) ** 2, arrays["link/path_offset"][:-1]
        )

    lost = 1 - power(kept) / power(many)
    said = 10 ** (kept["link/truncated_power_db"][0] / 10)
    assert kept["link/saturated"].all()
    assert (said > lost - 1e-3).all()
    assert (said < 1.5 * lost + 2e-3).all()
