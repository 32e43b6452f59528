"""Antennas on wrong maps: as far off as asked for, but never within a building or the ground."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from raymark.radio import Site
from raymark.scenes import get_scene
from raymark.scenes.degrading import Grade, get_grade
from raymark.scenes.degrading.degrade_scene import degrade_scene
from raymark.scenes.degrading.deviations import Draws
from raymark.scenes.degrading.poses import CLEARANCE_M, MAST_M, misplace, open_place

WriteScene = Callable[..., Path]

WALL_X_M, ROOF_M = 30.0, 25.0


def triangles(roof_m: float = ROOF_M) -> np.ndarray:
    """Ground at 0 and a house from x = 0 to 30 m; its ends are far from what is asked for."""
    house = trimesh.creation.box(bounds=[[0, -150, 0], [WALL_X_M, 150, roof_m]])
    ground = trimesh.creation.box(bounds=[[-200, -200, -1], [200, 200, 0]])
    return np.concatenate([house.triangles, ground.triangles[ground.face_normals[:, 2] > 0.5]])


def grade(**sizes: Any) -> Grade:
    return Grade(name="test", about="of a test", **sizes)


def site(name: str = "bs0", position_m: tuple[float, float, float] = (100.0, 0.0, 60.0)) -> Site:
    return Site(name=name, position_m=position_m, azimuth_deg=179.0, downtilt_deg=10.0)


def test_poses_are_as_wrong_as_their_grade_says_when_they_are_many() -> None:
    wrong = [
        misplace(
            site(f"bs{i}"),
            grade(position_m=0.3, angle_deg=2.0),
            right=triangles(),
            wrong=triangles(),
            draws=Draws(1, "town"),
        )
        for i in range(150)
    ]

    moved_m = np.array([w.site.position_m for w in wrong]) - site().position_m
    tilt_deg = np.array([w.site.downtilt_deg for w in wrong]) - 10.0
    turn_deg = (np.array([w.site.azimuth_deg for w in wrong]) - 179.0 + 180) % 360 - 180
    # The root mean square of n normal numbers has a standard deviation of 1 / sqrt(2 n).
    assert np.sqrt((moved_m**2).mean()) == pytest.approx(0.3, rel=3 / np.sqrt(2 * 450))
    for error_deg in (tilt_deg, turn_deg):
        assert np.sqrt((error_deg**2).mean()) == pytest.approx(2.0, rel=3 / np.sqrt(2 * 150))
    assert not any(w.is_freed for w in wrong)
    np.testing.assert_allclose(moved_m, [w.error_m for w in wrong], atol=1e-6)


def test_pose_is_the_right_one_when_the_map_is_right() -> None:
    right = site(position_m=(12.3456789, 4.0, ROOF_M + 0.2))

    found = misplace(
        right, get_grade("exact"), right=triangles(), wrong=triangles(), draws=Draws(1, "town")
    )

    assert found.site is right
    assert not found.is_freed


@pytest.mark.parametrize(
    ("position_m", "expected_m"),
    [
        ((100.0, 0.0, 2.0), (100.0, 0.0, 2.0)),
        ((15.0, 20.0, 26.0), (15.0, 20.0, 26.0)),
        ((15.0, 20.0, 24.0), (15.0, 20.0, ROOF_M + CLEARANCE_M)),
        ((29.0, 20.0, 10.0), (WALL_X_M + CLEARANCE_M, 20.0, 10.0)),
        ((100.0, 0.0, -3.0), (100.0, 0.0, CLEARANCE_M)),
        ((300.0, 0.0, 5.0), (300.0, 0.0, 5.0)),
    ],
    ids=["street", "roof", "below a roof", "within a wall", "below the ground", "no ground"],
)
def test_point_goes_to_the_nearest_open_place_when_it_is_within_something(
    position_m: tuple[float, ...], expected_m: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(open_place(np.array(position_m), triangles()), expected_m)


def test_point_goes_up_when_the_place_beside_the_wall_is_taken() -> None:
    beside = trimesh.creation.box(bounds=[[30.1, 0, 0], [50, 40, 60]]).triangles
    blocked = np.concatenate([triangles(), np.asarray(beside)])

    moved_m = open_place(np.array([29.0, 20.0, 10.0]), blocked)

    np.testing.assert_allclose(moved_m, [29.0, 20.0, ROOF_M + CLEARANCE_M])


@pytest.mark.parametrize(
    ("mast_m", "roof_error_m", "rises_m"),
    [
        (5.0, 2.0, 0.0),
        (5.0, 4.0, 1.0),  # its least height above the roof is MAST_M
        (1.0, 4.0, 4.0),
        (1.0, -4.0, 0.0),
        (0.2, 0.0, 0.0),
    ],
)
def test_antenna_keeps_its_mast_when_the_roof_below_rises(
    mast_m: float, roof_error_m: float, rises_m: float
) -> None:
    found = misplace(
        site(position_m=(15.0, 20.0, ROOF_M + mast_m)),
        get_grade("height"),
        right=triangles(),
        wrong=triangles(ROOF_M + roof_error_m),
        draws=Draws(1, "town"),
    )

    assert MAST_M == 2.0
    np.testing.assert_allclose(found.error_m, [0.0, 0.0, rises_m], atol=1e-9)
    assert found.is_freed == (rises_m > 0)


def test_antenna_is_as_low_as_drawn_when_its_own_height_is_wrong() -> None:
    """A mast of 1 m loses half of it at most where the draw takes more."""
    wrong = [
        misplace(
            site(f"bs{i}", (15.0, 20.0, ROOF_M + 1.0)),
            grade(position_m=0.5),
            right=triangles(),
            wrong=triangles(),
            draws=Draws(1, "town"),
        )
        for i in range(60)
    ]

    above_m = np.array([w.site.position_m[2] for w in wrong]) - ROOF_M
    assert above_m.min() == pytest.approx(CLEARANCE_M)
    assert (above_m < 1.0).mean() == pytest.approx(0.5, abs=0.2)
    assert [w.is_freed for w in wrong] == (np.abs(above_m - CLEARANCE_M) < 1e-9).tolist()


def test_report_counts_antennas_that_are_put_out_when_a_house_swallows_them(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    house = trimesh.creation.box(bounds=[[0, 0, 0], [30, 40, 25]])
    flat = [[-200, -200, 0], [200, -200, 0], [200, 200, 0], [-200, 200, 0]]
    ground = trimesh.Trimesh(flat, [[0, 1, 2], [0, 2, 3]], process=False)
    sites = [
        {"name": f"bs{i}", "position_m": [30.05, 2.0 + i, 10.0], "azimuth_deg": 0.0}
        for i in range(20)
    ]
    meshes = {"house": (house, "brick"), "ground": (ground, "concrete")}
    scene = get_scene(str(write_scene("town", meshes, sites)))

    report = degrade_scene(scene, tmp_path / "map", grade=get_grade("pose"), seed=1)

    made = get_scene(str(tmp_path / "map"))
    x_m = np.array([each.position_m[0] for each in made.sites])
    assert report.num_sites == 20
    assert report.num_freed_sites == (np.abs(x_m - WALL_X_M - CLEARANCE_M) < 1e-3).sum() > 3
    assert (x_m > WALL_X_M).all()
    assert [each.name for each in made.sites] == [each.name for each in scene.sites]
    assert report.rms_position_m > 0
