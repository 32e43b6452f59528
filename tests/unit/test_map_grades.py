"""Grades of maps, and how far the errors that are drawn for each building go."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from raymark.errors import ConfigError
from raymark.scenes.degrading import GRADES, SIZE_SOURCES, Grade, get_grade
from raymark.scenes.degrading.deviations import Deviation, Draws, draw_deviations
from raymark.scenes.degrading.map_buildings import MapBuilding
from raymark.scenes.degrading.reshaping import stretch

BIBLIOGRAPHY = Path(__file__).parents[2] / "docs" / "references.bib"


def grade(**sizes: Any) -> Grade:
    return Grade(name="test", about="of a test", **sizes)


def test_grade_offers_the_nearest_when_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown grade 'surveid'; did you mean 'surveyed'"):
        get_grade("surveid")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"missing_share": 0.6, "merged_share": 0.6}, "make 1.2 together"),
        ({"material": "marbel"}, "unknown material 'marbel'; did you mean 'marble'"),
        ({"shift_m": -1.0}, "greater than or equal to 0"),
        ({"shift": 1.0}, "Extra inputs are not permitted"),
        ({"name": "a/b"}, "a name has at most"),
    ],
)
def test_grade_is_refused_when_a_size_is_absurd(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Grade.model_validate({"name": "test", "about": "of a test", **sizes})


def test_each_error_has_a_source_when_listed() -> None:
    keys = set(re.findall(r"@\w+\{(\w+),", BIBLIOGRAPHY.read_text(encoding="utf-8")))
    cited = set(re.findall(r"\b[a-z]+(?:19|20)\d\d\b", " ".join(SIZE_SOURCES.values())))

    assert SIZE_SOURCES.keys() == Grade.model_fields.keys() - {"name", "about"}
    assert cited
    assert cited <= keys


def test_grades_have_the_errors_of_their_names_when_listed() -> None:
    assert [*GRADES] == [
        *("exact", "surveyed", "open"),
        *("height", "shift", "outline", "missing", "material", "pose"),
    ]
    assert not GRADES["exact"].sizes
    whole = {**GRADES["open"].sizes, **GRADES["surveyed"].sizes}
    alone = [name for name in GRADES if name not in ("exact", "surveyed", "open")]
    for name in alone:
        assert GRADES[name].sizes.items() <= whole.items()
    assert len({error for name in alone for error in GRADES[name].sizes}) == 8


def lone(
    count: int, height_m: Callable[[int], float] = lambda i: 8.0 + i % 12
) -> list[MapBuilding]:
    """Buildings that share no walls."""
    return [
        building(f"b{i:04d}", shapely.box(20 * i, 0, 20 * i + 10, 10), height_m(i))
        for i in range(count)
    ]


def building(name: str, outline: shapely.Polygon, height_m: float) -> MapBuilding:
    return MapBuilding(
        name=name, rows=np.arange(1), outline=outline, low_m=0.0, high_m=0.0, roof_m=height_m
    )


def deviations_of(buildings: list[MapBuilding], wrong: Grade) -> list[Deviation]:
    return [*draw_deviations(buildings, wrong, draws=Draws(1, "town")).values()]


def rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_footprints_move_as_far_as_their_grade_says_when_they_are_many() -> None:
    shifts_m = np.array([d.shift_m for d in deviations_of(lone(400), grade(shift_m=0.5))])

    # The root mean square of n lengths in the plane has a standard deviation of 1 / (2 sqrt(n)).
    assert rms(np.linalg.norm(shifts_m, axis=1)) == pytest.approx(0.5, rel=3 / (2 * np.sqrt(400)))
    assert np.abs(shifts_m.mean(axis=0)).max() < 3 * 0.5 / np.sqrt(2 * 400)


def test_houses_move_as_one_and_as_far_as_others_when_they_share_walls() -> None:
    rows = [
        building(f"b{k:03d}-{i}", shapely.box(10 * i, 30 * k, 10 * i + 10, 30 * k + 10), 9.0)
        for k in range(300)
        for i in range(4)
    ]

    shifts_m = np.array([d.shift_m for d in deviations_of(rows, grade(shift_m=0.5))])

    by_row = shifts_m.reshape(300, 4, 2)
    np.testing.assert_array_equal(by_row, np.broadcast_to(by_row[:, :1], by_row.shape))
    assert rms(np.linalg.norm(by_row[:, 0], axis=1)) == pytest.approx(
        0.5, rel=3 / (2 * np.sqrt(300))
    )


def test_heights_are_as_wrong_as_their_grade_says_when_they_are_many() -> None:
    wrong = deviations_of(lone(400), grade(height_m=1.0))

    assert rms([d.height_m for d in wrong]) == pytest.approx(1.0, rel=3 / np.sqrt(2 * 400))
    assert not any(d.is_height_limited or d.is_height_unknown or d.shift_m.any() for d in wrong)


def test_heights_are_whole_levels_and_a_share_is_drawn_when_a_map_knows_levels() -> None:
    tall = lone(400, height_m=lambda i: 40.0 + i % 12)
    sizes = {"height_m": 3.0, "level_height_m": 3.0, "unknown_height_share": 0.3}

    wrong = deviations_of(tall, grade(**sizes))

    is_unknown = np.array([d.is_height_unknown for d in wrong])
    said_m = np.array([b.roof_m + d.height_m for b, d in zip(tall, wrong, strict=True)])
    levels = said_m[~is_unknown] / 3.0
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-9)
    assert is_unknown.mean() == pytest.approx(0.3, abs=3 * np.sqrt(0.3 * 0.7 / 400))
    # 3 m of errors, and those of rounding, uniform over a level.
    errors_m = [d.height_m for d in wrong if not d.is_height_unknown]
    assert rms(errors_m) == pytest.approx(np.sqrt(9 + 9 / 12), rel=3 / np.sqrt(2 * 280))
    assert np.median(said_m[is_unknown]) == pytest.approx(np.median(said_m[~is_unknown]), abs=2.0)


def test_height_keeps_half_of_a_house_when_the_error_is_larger() -> None:
    houses = lone(100)

    wrong = deviations_of(houses, grade(height_m=50.0))

    left = np.array([1 + d.height_m / b.roof_m for b, d in zip(houses, wrong, strict=True)])
    limited = np.array([d.is_height_limited for d in wrong])
    assert limited.sum() > 20
    np.testing.assert_allclose(left[limited], 0.5)
    assert (left[~limited] > 0.5).all()


@pytest.mark.parametrize("roof_m", [0.0, -3.0])
def test_height_stays_when_the_ground_buries_a_building(roof_m: float) -> None:
    (wrong,) = deviations_of([building("cellar", shapely.box(0, 0, 9, 9), roof_m)], GRADES["open"])

    assert wrong.height_m == 0.0
    assert wrong.is_height_limited


def test_buildings_are_missing_and_merged_as_often_as_their_grade_says_when_they_are_pairs() -> (
    None
):
    pairs = [
        building(f"b{k:04d}-{i}", shapely.box(10 * i, 30 * k, 10 + 12 * i, 30 * k + 10), 9.0)
        for k in range(300)
        for i in range(2)
    ]

    missing = deviations_of(pairs, grade(missing_share=0.1))
    merged = draw_deviations(pairs, grade(merged_share=0.1), draws=Draws(1, "town"))

    assert np.mean([d.is_missing for d in missing]) == pytest.approx(
        0.1, abs=3 * np.sqrt(0.1 * 0.9 / 600)
    )
    into = [(name, d.merged_into) for name, d in merged.items() if d.merged_into != name]
    assert all(name.endswith("-0") and other == f"{name[:-1]}1" for name, other in into)
    # A pair is one if either of it draws so.
    assert len(into) / 300 == pytest.approx(0.19, abs=3 * np.sqrt(0.19 * 0.81 / 300))


@pytest.mark.parametrize(("alone", "field"), [("shift", "shift_m"), ("height", "height_m")])
def test_error_alone_is_that_of_the_whole_grade_when_drawn(alone: str, field: str) -> None:
    only, whole = (deviations_of(lone(5), GRADES[name]) for name in (alone, "surveyed"))

    for one, other in zip(only, whole, strict=True):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        assert np.any(getattr(one, field))


def test_no_building_is_merged_when_all_stand_alone() -> None:
    wrong = draw_deviations(lone(50), grade(merged_share=1.0), draws=Draws(1, "town"))

    assert all(name == d.merged_into and not d.is_missing for name, d in wrong.items())


def test_no_building_deviates_when_there_is_none() -> None:
    assert draw_deviations([], get_grade("open"), draws=Draws(1, "town")) == {}


@given(
    levels_m=st.lists(st.floats(-10, 100), min_size=2, max_size=20),
    error_m=st.floats(-4.0, 20.0),
    high_m=st.floats(0.0, 20.0),
)
def test_stretch_keeps_the_order_of_heights_when_it_takes_less_than_half(
    levels_m: list[float], error_m: float, high_m: float
) -> None:
    on_slope = replace(building("house", shapely.box(0, 0, 1, 1), 16.0), high_m=high_m)
    rising = np.sort(levels_m)

    moved = stretch(rising, on_slope, error_m)

    assert (np.diff(moved) >= -1e-9).all()
    np.testing.assert_array_equal(moved[rising <= 0], rising[rising <= 0])
