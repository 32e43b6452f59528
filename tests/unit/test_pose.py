"""Where a map has the antenna, learnt at labelled places of a yard of three mirrors."""

import math
from dataclasses import replace

import numpy as np
import pytest

from raymark.benchmark import CityMap, Labelled, MapPaths, Measurements
from raymark.benchmark.measurements import SiteContext
from raymark.models.twin.features import Observed, predicted
from raymark.models.twin.localizer import TwinLocalizer
from raymark.models.twin.pose import Pose, at_places, pose_of
from raymark.radio import Band, Panel

BAND = "6GHz"
HEIGHT_M = 20.0
"""Of the antenna above the UEs."""
WALLS = (((0.0, 1.0), 25.0), ((0.0, -1.0), 30.0), ((1.0, 0.0), 90.0))
"""Normal of each wall, and its distance from the antenna [m]."""
OFF = Pose(yaw_rad=math.radians(1.3), x_m=0.4, y_m=-0.3, z_m=0.5)


def paths_to(point_m: np.ndarray, pose: Pose, height_m: float) -> MapPaths:
    """The direct path and one over each wall, in a map in which the walls are off by a pose."""
    parts = []
    for normal, distance_m in [((0.0, 0.0), 0.0), *WALLS]:
        facing = Pose(yaw_rad=-pose.yaw_rad).points(np.array([normal]))[0]
        gap_m = distance_m - np.array(normal) @ (pose.x_m, pose.y_m) - point_m @ facing
        image_m = point_m + 2 * gap_m[:, None] * facing
        ground_m = np.linalg.norm(image_m, axis=1)
        range_m = np.hypot(ground_m, height_m)
        antenna_m = 2 * (distance_m - np.array(normal) @ (pose.x_m, pose.y_m)) * facing
        parts.append(
            {
                "range_m": range_m,
                "range_gradient": (point_m - antenna_m) / range_m[:, None],
                "azimuth_rad": np.arctan2(image_m[:, 1], image_m[:, 0]),
                "zenith_rad": np.pi / 2 + np.arctan2(height_m, ground_m),
                "power_db": -70 - 20 * np.log10(range_m),
                "num_interactions": np.full(len(point_m), int(any(normal))),
            }
        )
    columns = {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}
    count = columns.pop("num_interactions")
    return MapPaths(
        **{name: column.astype("f4") for name, column in columns.items()},
        num_interactions=count,
        mask=np.ones(count.shape, dtype=bool),
    )


def city(pose: Pose) -> CityMap:
    """A map whose antenna is where a pose says, on a grid of 2 m."""
    axes = np.arange(10.0, 80.0, 2.0), np.arange(-26.0, 22.0, 2.0)
    point_m = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    paths = {BAND: paths_to(point_m, pose, HEIGHT_M + pose.z_m)}
    return CityMap(grade="", buildings=(), point_m=point_m, spacing_m=2.0, paths=paths)


@pytest.fixture
def places_m() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.uniform((14, -22), (76, 18), (150, 2))


@pytest.fixture
def seen(places_m: np.ndarray) -> Observed:
    """What is measured there, off by 5 cm, 0.002 and 1 dB."""
    truth = predicted(paths_to(places_m, Pose(), HEIGHT_M))
    noise = np.random.default_rng(4).normal(size=truth.feature.shape)
    feature = truth.feature + noise * (0.05, 0.002, 0.002, 1.0)
    return Observed(feature=feature.astype("f4"), mask=truth.mask)


def test_pose_is_found_when_the_antenna_looks_and_stands_elsewhere(
    seen: Observed, places_m: np.ndarray
) -> None:
    found = pose_of(seen, places_m, city(OFF), BAND)

    assert math.degrees(abs(found.yaw_rad - OFF.yaw_rad)) < 0.1
    assert abs(found.x_m - OFF.x_m) < 0.1
    assert abs(found.y_m - OFF.y_m) < 0.1
    assert abs(found.z_m - OFF.z_m) < 0.1


def test_pose_is_hardly_one_when_the_map_is_right(seen: Observed, places_m: np.ndarray) -> None:
    found = pose_of(seen, places_m, city(Pose()), BAND)

    assert math.degrees(abs(found.yaw_rad)) < 0.05
    assert max(abs(found.x_m), abs(found.y_m), abs(found.z_m)) < 0.05


def test_pose_is_none_when_no_link_shows_a_path(places_m: np.ndarray, seen: Observed) -> None:
    blind = replace(seen, mask=np.zeros_like(seen.mask))

    found = pose_of(blind, places_m, city(OFF), BAND)

    assert max(map(abs, found.to_dict().values())) < 1e-2


def test_map_in_its_pose_is_that_of_the_true_antenna(places_m: np.ndarray) -> None:
    told, _ = at_places(city(OFF), BAND, OFF, places_m)
    truth = predicted(paths_to(places_m, Pose(), HEIGHT_M))

    # To the first order of the shift, and of the way from the nearest point, up to 1.5 m off.
    gap = told.feature - truth.feature
    assert np.abs(gap[..., 0]).max() < 0.1
    np.testing.assert_allclose(OFF.points(OFF.points_of_map(places_m)), places_m, atol=1e-9)
    np.testing.assert_allclose(told.gradient, truth.gradient, atol=0.15)


def labelled(seen: Observed, place_m: np.ndarray, city_map: CityMap) -> Labelled:
    """Links at one site whose map is given; the yard's antenna looks along x."""
    count, zeros = len(seen), np.zeros(len(seen))
    site = SiteContext(name="yard/bs0", panel=Panel(), height_m=HEIGHT_M, city=city_map)
    range_m, along_y, along_z, power_db = np.moveaxis(seen.feature.astype("f8"), -1, 0)
    zenith_rad = np.arccos(along_z)
    measurements = Measurements(
        sites=(site,),
        bands=(Band(name=BAND, carrier_hz=6e9),),
        site_index=np.zeros(count, dtype="i8"),
        band_index=np.zeros(count, dtype="i8"),
        window=np.arange(count),
        window_step=np.zeros(count, dtype="i8"),
        path_range_m=range_m,
        path_azimuth_rad=np.arcsin(along_y / np.sin(zenith_rad)),
        path_zenith_rad=zenith_rad,
        path_power_db=power_db,
        path_mask=seen.mask,
        aoa_profile_db=np.zeros((count, 4)),
        distance_m=zeros,
        gain_db=zeros,
        has_signal=np.ones(count, dtype=bool),
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
    )
    return Labelled(measurements=measurements, position_m=place_m, los=np.zeros(count, dtype="i8"))


def test_antenna_is_where_labels_have_it_when_that_locates_validation_links_better(
    seen: Observed, places_m: np.ndarray
) -> None:
    links = labelled(seen, places_m, city(OFF))
    learnt, asked = links.take(np.arange(100)), links.take(np.arange(100, 150))
    config = {"num_modes": 32, "is_corrected": [False], "temper": [1.0], "estimate": ["mode"]}
    error_m = {}
    for choices in ([False], [False, True]):
        model = TwinLocalizer({**config, "is_posed": choices}, seed=0)
        model.fit(learnt, asked)
        found_m = model.predict(asked.measurements).position_m
        error_m[len(choices)] = np.median(np.linalg.norm(found_m - asked.position_m, axis=1))

    assert model.choices["is_posed"]
    assert error_m[2] < 0.5 * error_m[1]
