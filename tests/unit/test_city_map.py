"""What a localizer is told of a city: points and paths in the frame of the map's own site."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from raymark.benchmark import load_suite
from raymark.benchmark.city_map import (
    MAX_NUM_PATHS,
    CityMap,
    open_map,
    read_city_map,
    strongest_paths,
)
from raymark.benchmark.suite_run import maps_of
from raymark.benchmark.task import Suite
from raymark.dataset import Dataset
from raymark.dataset.manifest import SiteRecord
from raymark.dataset.path_tables import PathTable
from raymark.errors import ConfigError, SceneError
from raymark.generator.city_maps import make_map
from raymark.scenes.degrading import get_grade

BAND = "6GHz"


@pytest.fixture(scope="module")
def site(benchmark_dataset: Dataset) -> SiteRecord:
    """The western site of the yard: azimuth 5 degrees, 10 m above the ground."""
    return next(site for site in benchmark_dataset.manifest.sites if site.site == "west")


@pytest.fixture(scope="module")
def exact(benchmark_maps: Path, benchmark_dataset: Dataset, site: SiteRecord) -> CityMap:
    return read_city_map(benchmark_maps, benchmark_dataset.folder, site, "exact", 0)


def test_line_of_sight_is_that_of_the_frame_when_a_map_is_exact(exact: CityMap) -> None:
    paths = exact.paths[BAND]
    row, column = np.nonzero(paths.mask & (paths.num_interactions == 0))
    x, y = exact.point_m[row].T
    ground_m, drop_m = np.hypot(x, y), 10.0 - 1.5

    assert len(row) > 20
    range_m = np.hypot(ground_m, drop_m)
    np.testing.assert_allclose(paths.range_m[row, column], range_m, atol=1e-3)
    np.testing.assert_allclose(paths.azimuth_rad[row, column], np.arctan2(y, x), atol=1e-5)
    np.testing.assert_allclose(
        paths.zenith_rad[row, column], np.pi / 2 + np.arctan2(drop_m, ground_m), atol=1e-5
    )
    gradient = exact.point_m[row] / range_m[:, None]
    np.testing.assert_allclose(paths.range_gradient[row, column], gradient, atol=1e-5)


def test_gradient_is_the_change_between_points_when_paths_have_interactions(
    exact: CityMap,
) -> None:
    """The same path at two points 8 m apart: by the mean of their gradients, to the third order."""
    paths, step = exact.paths[BAND], exact.spacing_m
    place = {tuple(np.round(point / step).astype(int)): i for i, point in enumerate(_world(exact))}
    gaps = []
    for (x, y), i in place.items():
        other = place.get((x + 1, y))
        if other is None:
            continue
        way = exact.point_m[other] - exact.point_m[i]
        for j in np.flatnonzero(paths.mask[i] & (paths.num_interactions[i] == 1)):
            near = np.abs(paths.azimuth_rad[other] - paths.azimuth_rad[i, j]) < 0.1
            near &= paths.mask[other] & (paths.num_interactions[other] == 1)
            mean = (paths.range_gradient[other] + paths.range_gradient[i, j]) / 2 @ way
            change = paths.range_m[other] - paths.range_m[i, j]
            gaps += np.abs(change - mean)[near].tolist()

    # Another path of one interaction may be near, too.
    assert len(gaps) > 50
    assert np.quantile(gaps, 0.3) < 0.03


def test_paths_are_sorted_and_padded_when_points_have_few(exact: CityMap) -> None:
    paths = exact.paths[BAND]
    power_db = np.where(paths.mask, paths.power_db, -np.inf)
    with np.errstate(invalid="ignore"):
        steps = np.diff(power_db, axis=1)

    assert not (steps > 0).any()
    assert not paths.mask.all()
    for name in ("range_m", "azimuth_rad", "zenith_rad", "power_db", "range_gradient"):
        assert (getattr(paths, name)[~paths.mask] == 0).all()


def test_strongest_paths_are_of_those_that_are_received() -> None:
    count = MAX_NUM_PATHS + 2
    offset = np.array([0, 3, 3, 3 + count])
    amplitude = np.array([1.0, 3.0, 2.0, *np.linspace(1.0, 2.0, count)])
    is_received = np.array([True, False, True, *[True] * (count - 1), False])
    table = PathTable(
        path_offset=offset,
        amplitude=amplitude.astype("c8"),
        interaction=np.zeros((3 + count, 1), dtype="u1"),
        **{
            name: np.zeros(3 + count, dtype="f4")
            for name in (
                "delay_s",
                "zenith_bs_rad",
                "azimuth_bs_rad",
                "zenith_ue_rad",
                "azimuth_ue_rad",
            )
        },
    )

    rows, mask = strongest_paths(table, is_received)

    assert mask.sum(axis=1).tolist() == [2, 0, MAX_NUM_PATHS]
    assert rows[0, :2].tolist() == [2, 0]
    assert rows[2].tolist() == list(range(1 + count, 1 + count - MAX_NUM_PATHS, -1))


def test_city_is_off_in_the_frame_when_a_map_has_the_antenna_elsewhere(
    benchmark_maps: Path, benchmark_dataset: Dataset, site: SiteRecord, exact: CityMap
) -> None:
    wrong = read_city_map(benchmark_maps, benchmark_dataset.folder, site, "pose", 1)
    mapped = next(s for s in open_map(benchmark_maps, "pose", 1).manifest.sites if s.site == "west")

    corner = exact.buildings[0].rings_m[0][0]
    moved = wrong.buildings[0].rings_m[0][0]
    world = _rotation(site) @ corner + site.position_m[:2]
    expected = _rotation(mapped).T @ (world - mapped.position_m[:2])

    assert site.position_m != mapped.position_m
    np.testing.assert_allclose(moved, expected, atol=1e-3)
    assert np.linalg.norm(moved - corner) > 0.05


def test_map_names_neither_seed_nor_scene_when_it_is_handed_on(exact: CityMap) -> None:
    told = {field.name for field in dataclasses.fields(exact)}

    assert told == {"grade", "buildings", "point_m", "spacing_m", "paths"}


def test_map_is_refused_when_it_is_missing(
    benchmark_maps: Path, benchmark_dataset: Dataset, site: SiteRecord
) -> None:
    with pytest.raises(ConfigError, match="has no map 'open-7'; `raymark bench maps` makes it"):
        read_city_map(benchmark_maps, benchmark_dataset.folder, site, "open", 7)


def test_map_is_refused_when_it_is_of_another_place(
    benchmark_maps: Path, benchmark_dataset: Dataset, site: SiteRecord
) -> None:
    elsewhere = site.model_copy(update={"position_m": (-95.0, 3.0, 10.0)})

    with pytest.raises(ConfigError, match=r"35 m from where it stands.*a map of another place"):
        read_city_map(benchmark_maps, benchmark_dataset.folder, elsewhere, "exact", 0)


def test_map_is_refused_when_it_lacks_the_site(
    benchmark_maps: Path, benchmark_dataset: Dataset, site: SiteRecord
) -> None:
    unknown = site.model_copy(update={"site": "north"})

    with pytest.raises(ConfigError, match="has no site yard-exact-0/north"):
        read_city_map(benchmark_maps, benchmark_dataset.folder, unknown, "exact", 0)


def test_map_is_refused_when_it_is_no_grid(
    tmp_path: Path, benchmark_dataset: Dataset, site: SiteRecord
) -> None:
    shutil.copytree(str(benchmark_dataset.folder), tmp_path / "exact-0")

    with pytest.raises(ConfigError, match="must be sampled on a grid, got 'tracks'"):
        read_city_map(tmp_path, benchmark_dataset.folder, site, "exact", 0)


def test_map_is_refused_when_it_has_other_bands_or_another_panel(
    benchmark_maps: Path, two_site_dataset: Dataset, small_dataset: Dataset, site: SiteRecord
) -> None:
    with pytest.raises(ConfigError, match=r"another front-end than that of .* at band '2.6GHz'"):
        read_city_map(benchmark_maps, small_dataset.folder, site, "exact", 0)
    with pytest.raises(ConfigError, match="another front-end"):
        read_city_map(benchmark_maps, two_site_dataset.folder, site, "exact", 0)


def test_map_is_not_made_when_the_scene_was_edited(
    benchmark_maps: Path, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(benchmark_maps / "scenes", tmp_path / "scenes")
    record = tmp_path / "scenes" / "yard-exact-0" / "degraded.json"
    text = record.read_text()
    start = text.index('"source_sha256": "') + len('"source_sha256": "')
    record.write_text(text[:start] + "0" * 64 + text[start + 64 :])

    with pytest.raises(
        SceneError, match="yard-exact-0 is the map of scene 'yard' in another state"
    ):
        make_map(benchmark_dataset, tmp_path, grade=get_grade("exact"), seed=0)


def test_suite_names_its_maps_when_it_has_tracks_with_maps(benchmark_suite: Suite) -> None:
    suite = load_suite("small-map")

    assert maps_of(suite, grades=["open"]) == [("open", 0), ("open", 1), ("open", 2)]
    assert len(maps_of(suite)) == 9
    with pytest.raises(ConfigError, match="no maps of grade 'opem'; did you mean 'open'"):
        maps_of(suite, grades=["opem"])
    with pytest.raises(ConfigError, match="has no track with maps"):
        maps_of(benchmark_suite)


def _world(city: CityMap) -> np.ndarray:
    """Turn the points back by the site's azimuth: a grid along x and y."""
    angle = np.radians(5.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return city.point_m @ rotation.T


def _rotation(site: SiteRecord) -> np.ndarray:
    yaw = site.orientation_rad[0]
    return np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
