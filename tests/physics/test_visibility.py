"""LOS labels against an own ray caster, and no path shorter than the straight line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import trimesh

from raymark.config import validate
from raymark.dataset import Dataset
from raymark.dataset.campaign import Campaign
from raymark.generator.plan import make_plan
from raymark.scenes import get_scene

SPEED_OF_LIGHT_M_S = 299_792_458.0
LENGTH_M = 1e-3
"""Half a millimetre for Sionna's ray offsets and as much for float32 at a few hundred metres."""


def first_hit(start_m: np.ndarray, end_m: np.ndarray, triangles: np.ndarray) -> float:
    """Moeller and Trumbore 1997: share of the way to the first triangle; inf if all is free."""
    direction = end_m - start_m
    edge_1, edge_2 = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normal = np.cross(direction, edge_2)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / np.einsum("ij,ij->i", edge_1, normal)
        offset = start_m - triangles[:, 0]
        u = inverse * np.einsum("ij,ij->i", offset, normal)
        across = np.cross(offset, edge_1)
        v, t = inverse * (across @ direction), inverse * np.einsum("ij,ij->i", edge_2, across)
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return float(t[hit].min(initial=np.inf))


def is_blocked(start_m: np.ndarray, end_m: np.ndarray, triangles: np.ndarray) -> bool:
    """Does the segment between two points cross any triangle?"""
    return first_hit(start_m, end_m, triangles) < 1


@pytest.fixture(scope="module")
def canyon_labels(make_dataset: Callable[..., Dataset], small_campaign: dict[str, Any]) -> Dataset:
    return make_dataset(
        {
            **small_campaign,
            "bands": ["6GHz"],
            "sampling": {"kind": "uniform", "num_ues": 400},
            "tracer": {"max_depth": 0},
        }
    )


@pytest.fixture(scope="module")
def canyon_triangles(
    small_campaign: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> np.ndarray:
    scene = get_scene("street_canyon", small_campaign["scenes"][0]["params"])
    xml = scene.xml_path(tmp_path_factory.mktemp("canyon"))
    meshes = [trimesh.load_mesh(path) for path in sorted((xml.parent / "meshes").glob("*.ply"))]
    return np.concatenate([mesh.triangles for mesh in meshes])


def test_ray_queries_agree_with_own_ray_caster_when_rays_are_random(
    small_campaign: dict[str, Any], canyon_triangles: np.ndarray
) -> None:
    plan = make_plan(validate(Campaign, small_campaign, where="test"))
    loaded, rng = plan.sites[0].loaded, np.random.default_rng(5)
    # Above the ground, in streets and in houses: the last wall may stand close to the end.
    start, end = rng.uniform((-120, -120, 0.5), (120, 120, 40), (2, 400, 3))
    reach_m = np.linalg.norm(end - start, axis=1)
    share = np.array([first_hit(a, b, canyon_triangles) for a, b in zip(start, end, strict=True)])

    distance_m, mesh = loaded.hit_distance(start, (end - start) / reach_m[:, None])
    visible = loaded.is_visible(start, end)

    np.testing.assert_allclose(distance_m, share * reach_m, rtol=1e-5, atol=LENGTH_M)
    np.testing.assert_array_equal(mesh >= 0, np.isfinite(share))
    near = np.abs(share - 1) < 1e-3  # whoever ends on a wall is neither here nor there
    np.testing.assert_array_equal(visible[~near], share[~near] > 1)
    assert ((share > 0.9) & (share < 1)).sum() > 5
    assert 20 < visible.sum() < 380


def test_los_label_agrees_with_own_ray_caster_when_link_is_not_grazing(
    canyon_labels: Dataset, canyon_triangles: np.ndarray
) -> None:
    selection = canyon_labels.select(scene="street_canyon", band="6GHz")
    bs = np.array(selection.sites[0].position_m)

    # A link is grazing when a shift of the UE by 2 cm decides; float32 rays may differ there.
    shifts = 0.02 * np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])
    verdicts = np.array(
        [
            [is_blocked(bs, ue + shift, canyon_triangles) for shift in shifts]
            for ue in selection.position_m.astype("f8")
        ]
    )
    clear_cut = (verdicts == verdicts[:, :1]).all(axis=1)
    assert clear_cut.mean() > 0.95
    np.testing.assert_array_equal((selection.los == 1)[clear_cut], ~verdicts[clear_cut, 0])
    assert 0.1 < (selection.los == 1).mean() < 0.9  # both verdicts are put to the test


def test_delay_is_never_below_distance_over_c_when_paths_are_many(small_dataset: Dataset) -> None:
    selection = small_dataset.select(scene="street_canyon", band="28GHz")
    paths = selection.path_table(0, len(selection))
    link = np.repeat(np.arange(len(selection)), np.diff(paths.path_offset))
    offset_m = selection.position_m.astype("f8") - np.array(selection.sites[0].position_m)
    straight_m = np.linalg.norm(offset_m, axis=1)[link]

    length_m = paths.delay_s.astype("f8") * SPEED_OF_LIGHT_M_S

    assert (length_m > straight_m - LENGTH_M).all()
    direct = (paths.interaction == 0).all(axis=1)
    np.testing.assert_allclose(length_m[direct], straight_m[direct], atol=LENGTH_M)
    assert direct.any()


def test_path_length_equals_sum_of_segments_when_vertices_are_stored(
    small_dataset: Dataset,
) -> None:
    selection = small_dataset.select(scene="street_canyon", band="6GHz")
    bs = np.array(selection.sites[0].position_m)

    for record in small_dataset.manifest.shards:
        detail = read_vertices(small_dataset.folder / record.file("detail"))
        rows = slice(record.first_ue, record.first_ue + record.num_ues)
        paths = selection.path_table(rows.start, rows.stop)
        link = np.repeat(np.arange(record.num_ues), np.diff(paths.path_offset))
        ue = selection.position_m[rows].astype("f8")[link]
        count = (paths.interaction > 0).sum(axis=1)
        for i, (vertices, used) in enumerate(zip(detail, count, strict=True)):
            corners = np.vstack([bs, vertices[:used], ue[i]])
            length_m = np.linalg.norm(np.diff(corners, axis=0), axis=1).sum()
            assert paths.delay_s[i] * SPEED_OF_LIGHT_M_S == pytest.approx(length_m, abs=LENGTH_M)


def read_vertices(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["path/vertex_m"][()].astype("f8")
