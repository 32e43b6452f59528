"""UE sampling in a town of boxes whose rays are followed in closed form, without a ray tracer."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from raymark.dataset.samplings import (
    BaseSampling,
    ImportedSampling,
    Sampling,
    SectorSampling,
)
from raymark.dataset.writing.ues import SampledUEs
from raymark.errors import ConfigError, SceneError
from raymark.generator.outdoors import check_site, place_outdoors
from raymark.generator.sampling import in_sector, read_positions, sample_ues
from raymark.radio import Site

HALF_M = 150.0
SLOPE = 0.1
"""The ground is the plane z = SLOPE x, or level."""

HOUSES = np.array(
    [
        [[20, 20, -50], [60, 60, 30]],
        [[20, -60, -50], [60, -20, 30]],
        [[-60, -60, -50], [-20, 60, 30]],
        [[90, -100, -50], [120, 100, 30]],
    ],
    dtype=float,
)
"""Low and high corner of each [m]."""


class BoxTown:
    """Rays against boxes by the slab method, and against the ground by one division."""

    def __init__(self, slope: float = 0.0, houses: np.ndarray = HOUSES) -> None:
        self.slope, self.houses = slope, houses

    @property
    def box_m(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([-HALF_M, -HALF_M, -50.0]), np.array([HALF_M, HALF_M, 30.0])

    def hit_distance(
        self, origin_m: np.ndarray, direction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(origin_m))
        candidates = [self._ground(origin_m, direction)]
        candidates += [self._house(origin_m, direction, *house) for house in self.houses]
        table = np.stack(candidates, axis=1) if len(rows) else np.zeros((0, 1))
        nearest = table.argmin(axis=1)
        distance = table[rows, nearest]
        return distance, np.where(np.isfinite(distance), nearest, -1)

    def is_visible(self, start_m: np.ndarray, end_m: np.ndarray) -> np.ndarray:
        offset = end_m - start_m
        length = np.linalg.norm(offset, axis=1)
        distance, _ = self.hit_distance(start_m, offset / length[:, None])
        return distance > length

    def _ground(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        fall = direction[:, 2] - self.slope * direction[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = -(origin[:, 2] - self.slope * origin[:, 0]) / fall
            there = origin[:, :2] + t[:, None] * direction[:, :2]
        inside = (np.abs(there) <= HALF_M).all(axis=1)
        return np.where((t > 1e-9) & inside, t, np.inf)

    def _house(
        self, origin: np.ndarray, direction: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second = (low - origin) / direction, (high - origin) / direction
        within = (low <= origin) & (origin <= high)
        near = np.where(
            direction == 0, np.where(within, -np.inf, np.inf), np.minimum(first, second)
        )
        far = np.where(direction == 0, np.where(within, np.inf, -np.inf), np.maximum(first, second))
        enter, leave = near.max(axis=1), far.min(axis=1)
        hit = np.where(enter > 1e-9, enter, leave)
        return np.where((enter <= leave) & (leave > 1e-9), hit, np.inf)


SITE = Site(name="bs0", position_m=(0.0, 0.0, 25.0), azimuth_deg=20.0)
HEIGHT_M, MARGIN_M = 1.5, 1.0

LEAST_CLEARANCE_M = 0.75 * MARGIN_M
"""16 horizontal rays miss a right-angled corner that is nearer than the margin by up to 22 %."""


def draw(kind: str, *, town: BoxTown | None = None, seed: int = 3, **settings: Any) -> SampledUEs:
    base: dict[str, Any] = {"kind": kind, "max_range_m": 140.0}
    if kind in ("tracks", "uniform"):
        base["num_ues"] = 130
    if kind == "grid":
        base["spacing_m"] = 9.0
    sampling = TypeAdapter(Sampling).validate_python(base | settings)
    return sample_ues(sampling, town or BoxTown(), SITE, seed=seed, scene="town")


KINDS = get_args(get_args(Sampling)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_sampler_when_raymark_draws_it(kind: type[BaseSampling]) -> None:
    drawn_by = sample_ues.dispatch(kind)

    assert (drawn_by is sample_ues.dispatch(object)) == (kind is ImportedSampling)


def test_sampling_says_so_when_the_ues_were_imported() -> None:
    sampling = ImportedSampling(source="another program")

    with pytest.raises(ConfigError, match="UEs are those of the imported simulation and come with"):
        sample_ues(sampling, BoxTown(), SITE, seed=0, scene="town")


def wall_distance_m(position_m: np.ndarray) -> np.ndarray:
    """Horizontal distance of each point to the nearest house; 0 inside."""
    gap = np.maximum(HOUSES[:, 0, :2] - position_m[:, None, :2], 0)
    gap = np.maximum(gap, position_m[:, None, :2] - HOUSES[:, 1, :2])
    return np.hypot(gap[..., 0], gap[..., 1]).min(axis=1)


SHORT = {"tracks": {"steps_per_track": 2}}
"""Keeps the search for a place to walk short."""

each_kind = pytest.mark.parametrize(
    "kind", [x.model_fields["kind"].default for x in SectorSampling.__subclasses__()]
)


@each_kind
def test_ues_stand_outdoors_off_the_walls_when_sampled(kind: str) -> None:
    ues = draw(kind)

    assert len(ues) > 20
    assert wall_distance_m(ues.position_m).min() > LEAST_CLEARANCE_M


@each_kind
def test_ues_stand_in_the_sector_when_sampled(kind: str) -> None:
    ues = draw(kind, min_range_m=15.0, sector_half_width_deg=40.0)

    distance = np.hypot(*ues.position_m[:, :2].T)
    azimuth_deg = np.degrees(np.arctan2(ues.position_m[:, 1], ues.position_m[:, 0])) - 20.0
    assert distance.min() >= 15.0 - 1e-4  # float32 positions
    assert distance.max() <= 140.0 + 1e-4
    assert np.abs(azimuth_deg).max() <= 40.0 + 1e-4


@each_kind
@pytest.mark.parametrize("slope", [0.0, SLOPE, -SLOPE])
def test_ues_follow_the_ground_when_it_slopes(kind: str, slope: float) -> None:
    ues = draw(kind, town=BoxTown(slope), height_m=1.7)

    expected = slope * ues.position_m[:, 0] + 1.7
    np.testing.assert_allclose(ues.position_m[:, 2], expected, atol=1e-4)


@each_kind
def test_ues_are_the_same_when_drawn_again(kind: str) -> None:
    settings = {"jitter_m": 2.0} if kind == "grid" else {}
    first, second = draw(kind, **settings), draw(kind, **settings)

    for name in ("position_m", "track_id", "track_step"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("kind", ["tracks", "uniform"])
def test_ues_are_others_when_seed_is_another(kind: str) -> None:
    assert not np.array_equal(draw(kind).position_m, draw(kind, seed=4).position_m)


@pytest.mark.parametrize("kind", ["tracks", "uniform"])
def test_first_ues_stay_when_more_are_asked_for(kind: str) -> None:
    few, many = draw(kind, num_ues=60), draw(kind, num_ues=250)

    np.testing.assert_array_equal(many.position_m[:50], few.position_m[:50])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tracks", "uniform"])
@pytest.mark.parametrize("num_ues", [1, 7, 130, 3000])
def test_num_of_ues_is_as_asked_when_sampled(kind: str, num_ues: int) -> None:
    ues = draw(kind, num_ues=num_ues)

    assert len(ues) == num_ues
    assert ues.position_m.shape == (num_ues, 3)
    assert ues.position_m.dtype == np.float32


def test_uniform_ues_are_uniform_over_the_area_when_the_town_is_empty() -> None:
    empty = BoxTown(houses=HOUSES[:0])
    ues = draw("uniform", town=empty, num_ues=4000, min_range_m=10, max_range_m=100)

    # Half of the area lies within sqrt((10^2 + 100^2) / 2); a share of 4000 deviates by 0.8 %.
    distance = np.hypot(*ues.position_m[:, :2].T)
    assert (distance < np.sqrt((10**2 + 100**2) / 2)).mean() == pytest.approx(0.5, abs=0.04)
    azimuth_deg = np.degrees(np.arctan2(ues.position_m[:, 1], ues.position_m[:, 0])) - 20.0
    assert (azimuth_deg < 0).mean() == pytest.approx(0.5, abs=0.04)
    assert np.ptp(azimuth_deg) > 118


def test_tracks_keep_time_order_when_walked() -> None:
    ues = draw("tracks", num_ues=60, steps_per_track=25)

    np.testing.assert_array_equal(ues.track_id, np.repeat([0, 1, 2], [25, 25, 10]))
    np.testing.assert_array_equal(ues.track_step, [*range(25), *range(25), *range(10)])


def test_tracks_step_within_limits_when_ground_is_level() -> None:
    ues = draw("tracks", num_ues=500, min_step_m=0.5, max_step_m=1.5)

    step_m = np.hypot(*np.diff(ues.position_m[:, :2], axis=0).T)[np.diff(ues.track_id) == 0]
    assert step_m.min() >= 0.5 - 1e-4
    assert step_m.max() <= 1.5 + 1e-4
    assert step_m.mean() == pytest.approx(1.0, abs=5 * 0.29 / np.sqrt(len(step_m)))


def test_tracks_turn_smoothly_when_the_town_is_empty() -> None:
    empty = BoxTown(houses=HOUSES[:0])
    ues = draw("tracks", town=empty, num_ues=2500, turn_std_deg=5.0)

    step = np.diff(ues.position_m[:, :2].astype("f8"), axis=0)
    heading = np.degrees(np.arctan2(step[:, 1], step[:, 0]))
    same = (np.diff(ues.track_id)[1:] == 0) & (np.diff(ues.track_id)[:-1] == 0)
    turn_deg = ((np.diff(heading) + 180) % 360 - 180)[same]
    # At the edge of the sector they turn further, so the bulk is what the setting promises.
    assert np.percentile(np.abs(turn_deg), 68) == pytest.approx(5.0, rel=0.2)


def test_tracks_never_walk_through_a_wall_when_houses_stand_there() -> None:
    ues, town = draw("tracks", num_ues=1000, max_step_m=8.0, min_step_m=6.0), BoxTown()

    same = np.diff(ues.track_id) == 0
    position = ues.position_m.astype("f8")
    assert town.is_visible(position[:-1][same], position[1:][same]).all()


def test_grid_has_the_spacing_when_it_has_no_jitter() -> None:
    ues = draw("grid", spacing_m=10.0)

    np.testing.assert_allclose(ues.position_m[:, :2] / 10, np.round(ues.position_m[:, :2] / 10))
    assert len(np.unique(ues.position_m[:, :2], axis=0)) == len(ues)
    assert (ues.track_id == -1).all()


def test_grid_points_move_within_the_jitter_when_it_is_set() -> None:
    ues = draw("grid", spacing_m=10.0, jitter_m=2.0)

    shift = ues.position_m[:, :2] - 10 * np.round(ues.position_m[:, :2] / 10)
    assert np.abs(shift).max() <= 2.0 + 1e-4
    assert np.abs(shift).max() > 1.5


@each_kind
def test_sampling_raises_when_the_sector_has_no_outdoor_point(kind: str) -> None:
    everywhere = np.array([[[-200, -200, -50], [200, 200, 20]]], dtype=float)

    with pytest.raises(SceneError, match=r"scene 'town', site 'bs0': the sector of \+-60 deg"):
        draw(kind, town=BoxTown(houses=everywhere), **SHORT.get(kind, {}))


@pytest.mark.parametrize("kind", ["tracks", "uniform"])
def test_sampling_raises_when_the_sector_lies_off_the_ground(kind: str) -> None:
    site = SITE.model_copy(update={"position_m": (1000.0, 0.0, 25.0)})
    sampling = TypeAdapter(Sampling).validate_python(
        {"kind": kind, "num_ues": 5, **SHORT.get(kind, {})}
    )

    with pytest.raises(SceneError, match="found 0 outdoor points of"):
        sample_ues(sampling, BoxTown(), site, seed=0, scene="town")


@pytest.mark.parametrize("azimuth_deg", [-180.0, -90.0, 0.0, 135.0, 180.0])
def test_in_sector_wraps_around_when_boresight_is_any(azimuth_deg: float) -> None:
    site = SITE.model_copy(update={"azimuth_deg": azimuth_deg})
    sampling = TypeAdapter(Sampling).validate_python({"kind": "uniform", "num_ues": 1})
    off_deg = np.array([-61, -59, 0, 59, 61])
    angle = np.radians(azimuth_deg + off_deg)
    xy = 50 * np.column_stack([np.cos(angle), np.sin(angle)])

    assert in_sector(sampling, site, xy).tolist() == [False, True, True, True, False]


def test_place_outdoors_tells_roofed_and_groundless_points_when_mixed() -> None:
    points = np.array(
        [[0.0, 0.0], [40.0, 40.0], [19.5, 40.0], [18.5, 40.0], [149.0, 0.0], [151, 0]]
    )

    position, outdoors = place_outdoors(BoxTown(), points, height_m=1.5, wall_margin_m=1.0)

    assert outdoors.tolist() == [True, False, False, True, True, False]
    np.testing.assert_allclose(position[outdoors, 2], 1.5)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ((40.0, 40.0, 10.0), r"inside a building, a surface lies 20\.0 m above it; raise it above"),
        ((0.0, 0.0, -1.0), r"below the ground"),
        ((500.0, 0.0, 10.0), r"outside the scene"),
    ],
)
def test_check_site_raises_when_site_is_not_in_the_open(
    position: tuple[float, float, float], message: str
) -> None:
    site = SITE.model_copy(update={"position_m": position})

    with pytest.raises(SceneError, match=rf"scene 'town', site 'bs0' at .*{message}"):
        check_site(BoxTown(), site, scene="town")


def test_check_site_accepts_when_site_is_on_a_roof() -> None:
    site = SITE.model_copy(update={"position_m": (40.0, 40.0, 33.0)})

    check_site(BoxTown(), site, scene="town")


def given(path: Path, **settings: Any) -> SampledUEs:
    data = {"kind": "positions", "files": {"town": str(path)}, **settings}
    sampling = TypeAdapter(Sampling).validate_python(data)
    return sample_ues(sampling, BoxTown(SLOPE), SITE, seed=0, scene="town")


def test_positions_come_from_csv_when_it_has_two_columns(tmp_path: Path) -> None:
    (tmp_path / "ue.csv").write_text("name,x_m,y_m\na,10,0\nb,-10,5.5\n", encoding="utf-8")

    ues = given(tmp_path / "ue.csv", height_m=2.0)

    np.testing.assert_allclose(ues.position_m, [[10, 0, 3.0], [-10, 5.5, 1.0]], atol=1e-5)
    assert ues.track_id.tolist() == ues.track_step.tolist() == [-1, -1]


def test_positions_keep_their_height_when_csv_has_three_columns(tmp_path: Path) -> None:
    (tmp_path / "ue.csv").write_text("z_m,x_m,y_m\n7,10,0\n31,40,40\n", encoding="utf-8")

    ues = given(tmp_path / "ue.csv")

    # The second stands on a roof: its own height counts, not the one above the ground.
    np.testing.assert_allclose(ues.position_m, [[10, 0, 7], [40, 40, 31]], atol=1e-5)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_positions_come_from_npy_when_it_has_any_number_type(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "ue.npy", np.array([[10, 0], [12, -3]], dtype=dtype))

    ues = given(tmp_path / "ue.npy")

    np.testing.assert_allclose(ues.position_m, [[10, 0, 2.5], [12, -3, 2.7]], atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("5,0\n40,40\n41,41\n", r"2 of 3 positions are not outdoors in 'town', the first is row 1"),
        ("500,0\n", r"1 of 1 positions are not outdoors in 'town', the first is row 0 at \(500, 0"),
    ],
)
def test_positions_raise_when_a_point_is_not_outdoors(
    tmp_path: Path, rows: str, message: str
) -> None:
    (tmp_path / "ue.csv").write_text("x_m,y_m\n" + rows, encoding="utf-8")

    with pytest.raises(SceneError, match=message):
        given(tmp_path / "ue.csv")


def test_positions_raise_when_a_point_is_below_the_ground(tmp_path: Path) -> None:
    (tmp_path / "ue.csv").write_text("x_m,y_m,z_m\n0,0,1\n0,0,-1\n", encoding="utf-8")

    with pytest.raises(SceneError, match=r"1 of 2 positions are not outdoors .* row 1 "):
        given(tmp_path / "ue.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"x,y\n1,2\n",
            r"a\.csv: expected columns x_m, y_m and optionally z_m, got \['x', 'y",
        ),
        ("a.csv", b"", r"cannot read positions from .*a\.csv"),
        ("a.csv", b"x_m,y_m\n", r"expected shape \[n, 2\] or \[n, 3\], got \[0, 2\]"),
        ("a.csv", b"x_m,y_m\n1,east\n", r"cannot read positions from .*a\.csv: .*'east'"),
        ("a.csv", b"x_m,y_m\n1,\n", r"positions must be finite numbers"),
        ("a.csv", b"\xff\xfe\x00\xd8", r"cannot read positions from .*a\.csv"),
        ("a.txt", b"1 2\n", r"positions must be a \.csv or \.npy file"),
        ("a.npy", b"no numpy", r"cannot read positions from .*a\.npy"),
    ],
)
def test_read_positions_raises_when_file_is_no_table(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        read_positions(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"expected shape \[n, 2\] or \[n, 3\], got \[3\]"),
        (np.zeros((2, 4)), r"got \[2, 4\]"),
        (np.zeros((0, 2)), r"got \[0, 2\]"),
        (np.array([[1.0, np.inf]]), r"must be finite numbers"),
        (np.array([["a", "b"]]), r"must be finite numbers"),
        (np.array([[1, {}]], dtype=object), r"cannot read positions"),
    ],
)
def test_read_positions_raises_when_array_is_no_table(
    tmp_path: Path, array: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)

    with pytest.raises(ConfigError, match=message):
        read_positions(tmp_path / "a.npy")


def test_read_positions_raises_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read positions from .*a\.csv: .*No such file"):
        read_positions(tmp_path / "a.csv")
