"""Position error bounds: closed forms, brute force, and derivatives against displaced traces."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from raymark.benchmark.bounds import (
    linear_array_bound,
    position_error_bound,
    position_information,
)
from raymark.benchmark.path_geometry import PathGradients, path_gradients
from raymark.dataset import Dataset, Selection
from raymark.radio import BAND_PRESETS, Panel
from raymark.radio.frames import angles, unit_vector
from raymark.radio.synthesis import PathBatch, synthesize_csi

SPEED_OF_LIGHT_M_S = 299_792_458.0
BAND = {"name": "6GHz", "carrier_hz": 6e9}
SHORT = {"max_path_length_m": 300.0}
PRESET = BAND_PRESETS["6GHz"]

FLAT_SPECTRUM_REL = 2e-4
"""The closed form's B^2/12 is (B/K)^2 (K^2-1)/12 for K = 64 tones: 1.2e-4 in a deviation."""
BRUTE_REL = 1e-5
"""Central differences of 1 mm err by 1e-9; inverting the whole matrix loses some more digits."""
STEP_M = 0.05
LENGTH_SLOPE = 3e-4
"""Lengths of 100 m are stored to 4e-6 m, and two of them differ over 0.1 m."""
DIRECTION_SLOPE_1_M = 1e-4
"""On facets of 2 km directions are traced to 5e-6 rad, and two of them differ over 0.1 m; the
slopes themselves are 0.02 rad/m."""
TURN_REL = 1e-3
"""Normals come from float32 points, some of them 1 m apart."""
STORED_REL = 1e-5
"""Angles, delays and positions are float32."""


def gradients_of(selection: Selection) -> tuple[PathGradients, np.ndarray]:
    """Derivatives of all paths of a selection of one site, and the link of each."""
    table = selection.path_table(0, len(selection))
    detail = selection.detail_table(0, len(selection))
    link = np.repeat(np.arange(len(selection)), np.diff(table.path_offset))
    arrays = (selection.position_m[link], table.interaction, detail.vertex_m, detail.wedge)
    bs_m = torch.tensor(selection.sites[0].position_m, dtype=torch.float64)
    return path_gradients(bs_m, *(torch.from_numpy(array) for array in arrays)), link


@pytest.fixture(scope="module")
def ridge_and_ground(write_scene: Callable[..., Path]) -> Path:
    """A metal ridge along y between the site and the far side, over a ground."""
    corners = [(-20.0, 0.0), (20.0, 0.0), (0.0, 20.0)]
    ridge = trimesh.Trimesh(
        vertices=[(x, y, z) for y in (-300.0, 300.0) for x, z in corners],
        faces=[(0, 4, 1), (0, 3, 4), (1, 5, 2), (1, 4, 5), (2, 3, 0), (2, 5, 3)],
        process=False,
    )
    square = [(-900, -900, 0), (900, -900, 0), (900, 900, 0), (-900, 900, 0)]
    ground = trimesh.Trimesh(vertices=square, faces=[(0, 1, 2), (0, 2, 3)], process=False)
    meshes = {"ridge": (ridge, "metal"), "ground": (ground, "concrete")}
    site = {"name": "bs0", "position_m": [-50.0, 0.0, 10.0], "azimuth_deg": 0.0}
    return write_scene("ridge_and_ground", meshes, [site])


def test_linear_array_bound_is_4_cm_when_case_is_that_of_the_design() -> None:
    # N = K = 64, 50 MHz, 0 dB, 100 m, boresight.
    assert linear_array_bound(PRESET, 64, snr=1.0, distance_m=100.0) == pytest.approx(
        0.041, abs=5e-4
    )


@pytest.mark.parametrize("azimuth_deg", [0.0, 30.0, -60.0])
def test_bound_equals_the_closed_form_when_array_is_linear_in_line_of_sight(
    far_ground: Path, trace_points: Callable[..., Dataset], azimuth_deg: float
) -> None:
    azimuth_rad = np.radians(azimuth_deg)
    data = trace_points(
        far_ground,
        [[100 * np.cos(azimuth_rad), 100 * np.sin(azimuth_rad), 0.0]],
        bands=[BAND],
        front_end={"panel": {"num_rows": 1, "num_cols": 64}},
        **SHORT,
    )
    selection = data.select(scene=far_ground.name, band="6GHz")
    gain = float(np.abs(selection.path_table(0, 1).amplitude[0]) ** 2)

    bound = position_error_bound(selection, noise_variance=gain)

    expected_m = linear_array_bound(
        PRESET, 64, snr=1.0, distance_m=100.0, azimuth_rad=float(azimuth_rad)
    )
    assert bound.peb_m[0] == pytest.approx(expected_m, rel=FLAT_SPECTRUM_REL)


def test_bound_equals_that_of_the_mirrored_ue_when_a_wall_reflects_the_only_path(
    write_scene: Callable[..., Path], far_ground: Path, trace_points: Callable[..., Dataset]
) -> None:
    def plate(corner: Any, u: Any, v: Any) -> trimesh.Trimesh:
        a, u, v = (np.array(x, dtype=float) for x in (corner, u, v))
        return trimesh.Trimesh(
            vertices=[a, a + u, a + u + v, a + v], faces=[[0, 1, 2], [0, 2, 3]], process=False
        )

    site = {"name": "bs0", "position_m": [0.0, 0.0, 0.0], "azimuth_deg": 0.0}
    meshes = {
        "ground": (plate((-900, -900, -500), (1800, 0, 0), (0, 1800, 0)), "concrete"),
        "wall": (plate((-200, 30, -50), (400, 0, 0), (0, 0, 100)), "concrete"),
        "screen": (plate((25, -10, -20), (0, 12, 0), (0, 0, 40)), "concrete"),
    }
    screened = write_scene("screened", meshes, [site])
    options: dict[str, Any] = {"bands": [BAND], "front_end": {}, **SHORT}
    nlos = trace_points(screened, [[50.0, -5.0, -3.0]], max_depth=1, **options)
    mirrored = trace_points(far_ground, [[50.0, 65.0, -3.0]], **options)

    reflected, direct = (
        data.select(scene=name, band="6GHz")
        for data, name in ((nlos, "screened"), (mirrored, "far_ground"))
    )
    assert reflected.los.tolist() == [0]
    assert direct.los.tolist() == [1]
    # The same signal to noise ratio for both, whatever the wall and the elements take.
    peb_m = [
        position_error_bound(
            selection, noise_variance=float(np.abs(selection.path_table(0, 1).amplitude[0]) ** 2)
        ).peb_m[0]
        for selection in (reflected, direct)
    ]
    assert peb_m[0] == pytest.approx(peb_m[1], rel=STORED_REL)


def brute_force_bound(
    paths: PathBatch, gradients: PathGradients, panel: Panel, noise_variance: float
) -> float:
    """Differences of whole CSI matrices by x, y and both parts of each amplitude; one inverse."""
    step_m, scale = 1e-3, float(paths.amplitude.abs().max())
    direction = unit_vector(paths.zenith_bs_rad.numpy()[0], paths.azimuth_bs_rad.numpy()[0])

    def displaced(axis: int, way_m: float) -> np.ndarray:
        delay_s = way_m * gradients.delay_s_m[:, axis]
        turned = direction + way_m * gradients.direction_1_m[:, :, axis].numpy()
        zenith, azimuth = (torch.from_numpy(angle)[None] for angle in angles(turned))
        # The carrier phase belongs to the unknown amplitude, so it stays.
        phase = torch.exp(2j * torch.pi * paths.band.carrier_hz * delay_s)
        moved = dataclasses.replace(
            paths,
            amplitude=paths.amplitude / scale * phase,
            delay_s=paths.delay_s + delay_s,
            zenith_bs_rad=zenith,
            azimuth_bs_rad=azimuth,
        )
        return synthesize_csi(moved, panel).numpy().ravel()

    columns = [(displaced(i, step_m) - displaced(i, -step_m)) / (2 * step_m) for i in (0, 1)]
    for path in range(paths.amplitude.shape[1]):
        for part in (1.0, 1j):
            amplitude = torch.zeros_like(paths.amplitude)
            amplitude[0, path] = part
            alone = dataclasses.replace(paths, amplitude=amplitude)
            columns.append(synthesize_csi(alone, panel).numpy().ravel())
    jacobian = np.stack(columns, axis=1)
    jacobian = np.concatenate([jacobian.real, jacobian.imag])
    information = 2 * scale**2 / noise_variance * jacobian.T @ jacobian
    return float(np.sqrt(np.trace(np.linalg.inv(information)[:2, :2])))


def test_bound_equals_brute_force_when_csi_is_differentiated_numerically(
    small_dataset: Dataset,
) -> None:
    selection = small_dataset.select(scene="street_canyon", band="6GHz")
    gradients, link = gradients_of(selection)
    bound = position_error_bound(selection, noise_variance=1e-12)
    counts = np.bincount(link, minlength=len(selection))
    panel = small_dataset.manifest.campaign.front_end.panel
    nlos = np.flatnonzero((selection.los == 0) & bound.is_bounded)
    few = nlos[np.argsort(counts[nlos], kind="stable")][[0, 1, len(nlos) // 4]]
    assert counts[few].max() > 3
    for i in [*np.flatnonzero(selection.los == 1)[:2], *few]:
        batch = selection.path_batch(int(i), int(i) + 1)
        direct = batch.num_interactions[0] == 0
        used = direct if selection.los[i] == 1 else torch.ones_like(direct)
        rows = torch.from_numpy(np.flatnonzero(link == i))[used]
        lone = {
            name: getattr(batch, name)[:, used].double()
            for name in ("delay_s", "zenith_bs_rad", "azimuth_bs_rad")
        }
        lone |= {name: getattr(batch, name)[:, used] for name in ("num_interactions", "mask")}
        amplitude = batch.amplitude[:, used].to(torch.complex128)
        expected_m = brute_force_bound(
            dataclasses.replace(batch, amplitude=amplitude, **lone),
            PathGradients(
                delay_s_m=gradients.delay_s_m[rows], direction_1_m=gradients.direction_1_m[rows]
            ),
            panel,
            1e-12,
        )
        assert bound.peb_m[i] == pytest.approx(expected_m, rel=BRUTE_REL)


def test_bound_halves_when_power_is_four_times_as_much(small_dataset: Dataset) -> None:
    selection = small_dataset.select(scene="street_canyon", band="28GHz")
    noise_variance = small_dataset.manifest.campaign.front_end.noise_variance(selection.band)

    bound = position_error_bound(selection)
    quieter = position_error_bound(selection, noise_variance=noise_variance / 4)

    np.testing.assert_array_equal(quieter.is_bounded, bound.is_bounded)
    np.testing.assert_allclose(quieter.peb_m, bound.peb_m / 2, rtol=1e-12)


def test_bound_is_masked_when_link_is_in_outage(
    ridge_and_ground: Path, trace_points: Callable[..., Dataset]
) -> None:
    points = [[50.0, 0.0, 2.0], [-30.0, 5.0, 2.0], [60.0, 0.0, 2.0]]
    data = trace_points(ridge_and_ground, points, front_end={}, bands=[BAND], **SHORT)
    selection = data.select(scene="ridge_and_ground", band="6GHz")

    bound = position_error_bound(selection)

    assert selection.los.tolist() == [-1, 1, -1]
    assert bound.is_bounded.tolist() == [False, True, False]
    assert bound.peb_m[[0, 2]].tolist() == [0.0, 0.0]
    assert bound.peb_m[1] > 0


def test_bound_is_masked_when_one_element_sees_only_a_range(
    far_ground: Path, trace_points: Callable[..., Dataset]
) -> None:
    data = trace_points(far_ground, [[60.0, 20.0, 0.0]], bands=[BAND], **SHORT)

    bound = position_error_bound(data.select(scene=far_ground.name, band="6GHz"))

    assert bound.is_bounded.tolist() == [False]
    assert bound.peb_m.tolist() == [0.0]


def test_bound_of_two_sites_equals_that_of_each_when_selection_holds_both(
    two_site_dataset: Dataset,
) -> None:
    both = position_error_bound(two_site_dataset.select(scene="two_sites", band="6GHz"))

    parts = [
        position_error_bound(two_site_dataset.select(scene="two_sites", band="6GHz", site=site))
        for site in ("west", "east")
    ]

    np.testing.assert_allclose(both.peb_m, np.concatenate([p.peb_m for p in parts]), rtol=1e-9)


def test_information_has_rank_one_when_the_only_path_bends_around_an_upright_edge() -> None:
    # Turning about the edge changes neither the length nor the direction at the BS.
    bs_m, ue_m = np.array([0.0, 0.0, 10.0]), np.array([40.0, 30.0, 2.0])
    across_m = [20.0, np.hypot(20.0, 30.0)]
    corner_m = np.array([20.0, 0.0, 10 - 8 * across_m[0] / sum(across_m)])
    wedge = np.array([20.0, 0, 0, 0, 0, 1, 30, 0, 0, 0, 0, 0, 0])
    gradients = one_path(bs_m, ue_m, [8], [corner_m], wedge)
    zenith, azimuth = (torch.from_numpy(a) for a in angles((corner_m - bs_m)[None, None]))
    length_m = np.linalg.norm(corner_m - bs_m) + np.linalg.norm(ue_m - corner_m)
    paths = PathBatch(
        amplitude=torch.ones(1, 1, dtype=torch.complex128),
        delay_s=torch.tensor([[length_m / SPEED_OF_LIGHT_M_S]], dtype=torch.float64),
        zenith_bs_rad=zenith,
        azimuth_bs_rad=azimuth,
        num_interactions=torch.ones(1, 1, dtype=torch.int64),
        mask=torch.ones(1, 1, dtype=torch.bool),
        band=PRESET,
        orientation_rad=np.zeros(3),
    )

    information = position_information(paths, gradients, Panel()).equivalent_1_m2

    eigenvalues, vectors = np.linalg.eigh(information[0].numpy())
    assert eigenvalues[0] < 1e-12 * eigenvalues[1]
    away = (ue_m - corner_m)[:2] / np.linalg.norm((ue_m - corner_m)[:2])
    assert abs(vectors[:, 1] @ away) == pytest.approx(1, abs=1e-9)


def one_path(
    bs_m: np.ndarray, ue_m: np.ndarray, codes: list[int], points_m: list[Any], wedge: np.ndarray
) -> PathGradients:
    return path_gradients(
        torch.from_numpy(bs_m),
        torch.from_numpy(ue_m)[None],
        torch.tensor([codes], dtype=torch.uint8),
        torch.tensor(np.array([points_m])).double(),
        torch.from_numpy(wedge)[None],
    )


def slopes_by_tracing(selection: Selection, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes by x and y of length and BS direction of the paths of the first `num_points` links.

    The other links are displaced by +x, -x, +y, -y; a path is found again by its interactions and
    by its direction and length.
    """
    table = selection.path_table(0, len(selection))
    length_m = table.delay_s.astype("f8") * SPEED_OF_LIGHT_M_S
    u = unit_vector(table.zenith_bs_rad.astype("f8"), table.azimuth_bs_rad.astype("f8"))
    offset = table.path_offset

    def again(path: int, link: int) -> int:
        rows = np.arange(offset[link], offset[link + 1])
        same = (table.interaction[rows] == table.interaction[path]).all(axis=1)
        away = np.abs(u[rows] - u[path]).sum(axis=1) + np.abs(length_m[rows] - length_m[path])
        return int(rows[np.argmin(np.where(same, away, np.inf))])

    slopes = []
    for point in range(num_points):
        for path in range(offset[point], offset[point + 1]):
            seen = [again(path, num_points * (k + 1) + point) for k in range(4)]
            values = np.column_stack([length_m[seen], u[seen]])
            slopes.append((values[[0, 2]] - values[[1, 3]]) / (2 * STEP_M))
    array = np.array(slopes)  # path, moved axis, length and direction
    return array[:, :, 0], array[:, :, 1:].swapaxes(1, 2)


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ("flat_ground", {(0, 0), (1, 0)}),
        ("ground_and_wall", {(0, 0), (1, 0), (1, 1)}),
        ("ridge_and_ground", {(8, 0), (8, 1), (1, 8)}),
    ],
)
def test_derivatives_equal_those_of_displaced_traces_when_map_is_fixed(
    request: pytest.FixtureRequest,
    trace_points: Callable[..., Dataset],
    scene: str,
    expected: set[tuple[int, int]],
) -> None:
    folder = request.getfixturevalue(scene)
    base = np.array([[40.0, 8.0, 1.5], [55.0, -14.0, 2.0], [32.0, 21.0, 4.0]])
    moves = STEP_M * np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    points = (moves[:, None] + base).reshape(-1, 3)
    data = trace_points(folder, points, bands=["6GHz"], diffraction=True)
    selection = data.select(scene=folder.name, band="6GHz")

    gradients, link = gradients_of(selection)
    length_slope, direction_slope = slopes_by_tracing(selection, len(base))

    wanted = link < len(base)
    kinds = selection.path_table(0, len(selection)).interaction[wanted]
    assert {tuple(kind) for kind in kinds.tolist()} >= expected
    found = gradients.delay_s_m.numpy()[wanted, :2] * SPEED_OF_LIGHT_M_S
    np.testing.assert_allclose(found, length_slope, rtol=0, atol=LENGTH_SLOPE)
    found = gradients.direction_1_m.numpy()[wanted, :, :2]
    np.testing.assert_allclose(found, direction_slope, rtol=0, atol=DIRECTION_SLOPE_1_M)


def test_direction_turns_by_one_over_the_length_when_points_slide(small_dataset: Dataset) -> None:
    # Unfolded at its planes and edges every path is straight, and seen from its far end.
    selection = small_dataset.select(scene="street_canyon", band="6GHz")
    length_m = selection.path_table(0, 50).delay_s * SPEED_OF_LIGHT_M_S

    gradients, _ = gradients_of(selection)

    turn_1_m = np.linalg.norm(gradients.direction_1_m.numpy(), ord=2, axis=(1, 2))
    np.testing.assert_allclose(turn_1_m * length_m, 1, rtol=TURN_REL)


def test_derivatives_are_those_of_the_straight_line_when_path_is_only_refracted() -> None:
    bs_m, ue_m = np.array([0.0, 0.0, 10.0]), np.array([40.0, 30.0, 2.0])
    straight = one_path(bs_m, ue_m, [0, 0], [(0, 0, 0)] * 2, np.zeros(13))

    through = [bs_m + share * (ue_m - bs_m) for share in (0.3, 0.4)]
    refracted = one_path(bs_m, ue_m, [4, 4], through, np.zeros(13))

    distance_m = np.linalg.norm(ue_m - bs_m)
    k = (ue_m - bs_m) / distance_m
    for found in (straight, refracted):
        np.testing.assert_allclose(found.delay_s_m[0], k / SPEED_OF_LIGHT_M_S, rtol=1e-12)
        expected = (np.eye(3) - np.outer(k, k)) / distance_m
        np.testing.assert_allclose(found.direction_1_m[0], expected, atol=1e-15)


def test_derivatives_ignore_a_refraction_when_it_stands_between_reflections() -> None:
    bs_m, ue_m = np.array([0.0, 0.0, 10.0]), np.array([40.0, 0.0, 5.0])
    # Ground at z = 0: the image of the BS lies at z = -10, two thirds of the way are before it.
    point_m = np.array([40 * 10 / 15, 0.0, 0.0])
    plain = one_path(bs_m, ue_m, [1, 0, 0], [point_m, (0, 0, 0), (0, 0, 0)], np.zeros(13))

    before, after = (bs_m + point_m) / 2, (ue_m + point_m) / 2
    screened = one_path(bs_m, ue_m, [4, 1, 4], [before, point_m, after], np.zeros(13))

    np.testing.assert_allclose(screened.direction_1_m, plain.direction_1_m, atol=1e-15)
    np.testing.assert_allclose(screened.delay_s_m, plain.delay_s_m, rtol=1e-12)


@pytest.mark.parametrize("codes", [[2, 0], [1, 2], [2, 1]])
def test_direction_stays_when_path_passes_a_diffuse_scatterer(codes: list[int]) -> None:
    bs_m, ue_m = np.array([0.0, 0.0, 10.0]), np.array([40.0, 30.0, 2.0])
    points_m = [np.array([20.0, 0.0, 0.0]), np.array([40.0, 4.0, 6.0])]

    found = one_path(bs_m, ue_m, codes, points_m, np.zeros(13))

    last = points_m[1 if codes[1] else 0]
    k = (ue_m - last) / np.linalg.norm(ue_m - last)
    np.testing.assert_allclose(found.delay_s_m[0], k / SPEED_OF_LIGHT_M_S, rtol=1e-12)
    assert (found.direction_1_m == 0).all()
