import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from shapely import Polygon, box
from shapely.affinity import translate

from raymark.errors import SceneError
from raymark.scenes.importing.buildings import (
    Building,
    Footprint,
    ImportFinding,
    MapFeature,
    SourceMap,
    Surface,
)
from raymark.scenes.importing.height_tags import parse_length_m, read_extent
from raymark.scenes.importing.heights import (
    DEFAULT_HEIGHT,
    draw_height_m,
    to_buildings,
    typical_heights,
)
from raymark.scenes.importing.local_frame import WGS84, LocalFrame
from raymark.scenes.importing.material_rules import read_rules

FRAME = LocalFrame(origin_lon_deg=11.57, origin_lat_deg=48.14)
RULES = read_rules()
DEG_PER_M = 1 / 111_195.0
"""Degrees of latitude; boxes in these tests leave a metre to spare."""
AREA_M2 = 1e-3
"""Footprints go to degrees and back: 1e-9 deg is 0.1 mm."""
HOUSE = box(0, 0, 10, 10)


def feature(
    geometry: Footprint,
    tags: Mapping[str, str] | None = None,
    *,
    name: str = "a",
    frame: LocalFrame = FRAME,
    **more: Any,
) -> MapFeature:
    """A feature in degrees whose geometry is given in metres; a building unless tagged."""
    lonlat = shapely.transform(geometry, frame.to_lonlat)
    kind = {} if more.get("is_part") else {"building": "yes"}
    return MapFeature(id=name, geometry=lonlat, tags={**kind, **(tags or {})}, **more)


def part(geometry: Footprint, tags: Mapping[str, str] | None = None, name: str = "p") -> MapFeature:
    return feature(geometry, {"building:part": "yes", **(tags or {})}, name=name, is_part=True)


def source(*features: MapFeature, crs: CRS = WGS84) -> SourceMap:
    return SourceMap(features=features, crs=crs, source="map.osm", licence="x", attribution="x")


def convert(
    *features: MapFeature, **options: Any
) -> tuple[dict[str, Building], tuple[ImportFinding, ...]]:
    buildings, findings = to_buildings(source(*features), FRAME, rules=RULES, **options)
    return {building.id: building for building in buildings}, findings


def reasons(findings: tuple[ImportFinding, ...], building: str) -> list[str]:
    return [finding.reason for finding in findings if finding.building == building]


def bbox(west_m: float, south_m: float, east_m: float, north_m: float) -> Any:
    """A box in degrees around these metres."""
    low, high = FRAME.to_lonlat(
        np.array([[west_m, south_m], [east_m, north_m]], dtype=float)
    ).tolist()
    return (*low, *high)


@pytest.mark.parametrize(
    ("text", "length_m"),
    [
        ("12", 12.0),
        (" 12 m", 12.0),
        ("12.5m", 12.5),
        ("12,5 metres", 12.5),
        ("39 ft", 39 * 0.3048),
        ("39'", 39 * 0.3048),
        ("5'6\"", 66 * 0.0254),
        ("5\u2032 6\u2033", 66 * 0.0254),
        ("-3", -3.0),
    ],
)
def test_length_is_read_in_metres_when_mappers_write_its_unit(text: str, length_m: float) -> None:
    assert parse_length_m(text) == pytest.approx(length_m, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "tall", "~10", "10;12", "10-12", "12 storeys", "nan", "inf", "1.2.3", "'", '6"']
)
def test_length_is_none_when_the_text_is_no_length(text: str) -> None:
    assert parse_length_m(text) is None


@given(st.floats(0, 1000).map(lambda value: round(value, 3)))
def test_length_is_that_of_python_when_it_is_a_plain_number(value: float) -> None:
    assert parse_length_m(f"{value:.3f}") == value


@pytest.mark.parametrize(
    ("tags", "span_m", "height_source", "num_faults"),
    [
        ({"height": "12", "building:levels": "9"}, (0, 12), "tag", 0),
        ({"building:height": "12"}, (0, 12), "tag", 0),
        ({"est_height": "7"}, (0, 7), "tag", 0),
        ({"building:levels": "4"}, (0, 12), "levels", 0),
        ({"num_floors": "4"}, (0, 12), "levels", 0),
        ({"building:levels": "2.5", "roof:levels": "1"}, (0, 10.5), "levels", 0),
        ({"building:levels": "2", "roof:levels": "x"}, (0, 6), "levels", 1),
        ({"height": "tall", "building:levels": "2"}, (0, 6), "levels", 1),
        ({"height": "-1", "est_height": "8"}, (0, 8), "tag", 1),
        ({"building:levels": "2", "roof:height": "5 m"}, (0, 11), "levels", 0),
        ({"building:levels": "2", "roof:height": "0", "roof:levels": "1"}, (0, 6), "levels", 0),
        ({"building:levels": "2", "roof:height": "-1", "roof:levels": "1"}, (0, 9), "levels", 1),
        ({"height": "12", "roof:height": "5"}, (0, 12), "tag", 0),
        (
            {"building:levels": "4", "building:min_level": "4", "roof:height": "3"},
            (12, 15),
            "levels",
            0,
        ),
        ({"height": "0"}, (0, 0), "tag", 0),
        ({"building:levels": "0", "building:levels:underground": "2"}, (0, 0), "levels", 0),
        ({"num_floors": "-1"}, (0, 0), "levels", 0),
        ({"building:levels:underground": "2"}, (0, 0), "levels", 0),
        ({"building:levels:underground": "0"}, (0, None), "assumed", 0),
        ({"building:levels:underground": "1", "building:levels": "2"}, (0, 6), "levels", 0),
        ({"building:levels": "0", "roof:levels": "1"}, (0, 3), "levels", 0),
        ({"height": "0", "building:levels": "2"}, (0, 6), "levels", 1),
        ({"height": "1200", "building:levels": "0"}, (0, 0), "levels", 1),
        ({"height": "12", "min_height": "4"}, (4, 12), "tag", 0),
        ({"building:levels": "5", "building:min_level": "2"}, (6, 15), "levels", 0),
        ({"height": "12", "min_height": "12"}, (0, 12), "tag", 1),
        ({"height": "12", "min_height": "x", "building:min_level": "1"}, (3, 12), "tag", 1),
        ({"height": "12", "min_height": "-2"}, (0, 12), "tag", 1),
        ({"min_height": "4"}, (4, None), "assumed", 0),
        ({}, (0, None), "assumed", 0),
    ],
)
def test_extent_comes_from_the_first_tag_that_can_be_true(
    tags: dict[str, str],
    span_m: tuple[float, float | None],
    height_source: str,
    num_faults: int,
) -> None:
    extent = read_extent(tags)
    assert (extent.bottom_m, extent.top_m) == span_m
    assert extent.source == height_source
    assert len(extent.faults) == num_faults


def test_ignored_values_are_findings_when_another_source_is_taken() -> None:
    buildings, findings = convert(feature(HOUSE, {"height": "tall", "building:levels": "2"}))
    assert (buildings["a"].top_m, buildings["a"].height_source) == (6.0, "levels")
    assert findings == (
        ImportFinding(action="assumed", reason="height ignored: no length", building="a"),
    )


def test_assumed_heights_are_lognormal_around_the_median_when_enough_are_known() -> None:
    known = [3.0, *([20.0] * 4), *np.geomspace(10, 40, 11).tolist()]
    features = [
        feature(HOUSE, {"building": "flats", "height": f"{top:.6f}"}, name=f"known/{i}")
        for i, top in enumerate(known)
    ]
    typical = typical_heights(features)["flats"]
    assert typical.median_m == pytest.approx(np.median(known), rel=1e-6)
    drawn = [draw_height_m(typical, 0, f"way/{i}") for i in range(2000)]
    # Five standard errors of a median: sqrt(pi / 2) * spread / sqrt(2000).
    tolerance = 5 * math.sqrt(math.pi / 2) * typical.log_spread / math.sqrt(2000)
    assert abs(math.log(np.median(drawn) / typical.median_m)) < tolerance
    # Draws beyond 2 deviations are moved there, which leaves 0.9594 of a normal's spread.
    assert np.std(np.log(drawn)) == pytest.approx(0.9594 * typical.log_spread, rel=0.08)


def test_assumed_height_is_9_m_give_or_take_3_m_when_too_few_are_known() -> None:
    known = [feature(HOUSE, {"height": "50"}, name=f"known/{i}") for i in range(9)]
    unknown = [feature(HOUSE, name=f"way/{i}") for i in range(400)]
    buildings, findings = convert(*known, *unknown)
    tops_m = np.array([b.top_m for b in buildings.values() if b.height_source == "assumed"])
    assert len(tops_m) == len(findings) == 400
    assert reasons(findings, "way/0") == ["height not known, drawn around 9 m +- 3 m"]
    # Five standard errors: 3 m / sqrt(400) for the mean; the lognormal mean is 9.5 m.
    assert tops_m.mean() == pytest.approx(9.0 * math.exp(1 / 18), abs=5 * 3 / 20)
    assert tops_m.std() == pytest.approx(3.0, abs=0.5)
    assert DEFAULT_HEIGHT.median_m == 9.0


def test_height_is_the_one_given_when_the_map_does_not_know_it() -> None:
    buildings, findings = convert(
        feature(shapely.box(0, 0, 9, 9), {"height": "7"}, name="known"),
        feature(shapely.box(20, 0, 29, 9), name="unknown"),
        feature(shapely.box(40, 0, 49, 9), {"min_height": "25"}, name="hovers"),
        feature(shapely.box(60, 0, 90, 30), {"height": "30"}, name="outline"),
        part(shapely.box(60, 0, 90, 30), name="part"),
        height_m=20.0,
    )

    found = {name: (b.top_m, b.height_source) for name, b in buildings.items()}
    assert found["known"] == (7, "tag")
    assert found["unknown"] == (20, "given")
    assert found["part"] == (30, "tag")  # as high as its outline
    assert found["hovers"][0] > 25
    assert found["hovers"][1] == "assumed"
    assert reasons(findings, "unknown") == []


def test_assumed_heights_follow_their_own_kind_when_several_are_known() -> None:
    known = [
        feature(HOUSE, {"building": kind, "height": height}, name=f"{kind}/{i}")
        for kind, height in (("garage", "3"), ("tower", "90"))
        for i in range(10)
    ]
    unknown = [feature(HOUSE, {"building": kind}, name=kind) for kind in ("garage", "tower")]
    buildings, findings = convert(*known, *unknown)
    # All known heights of a kind are the same, so that draws have no spread.
    assert (buildings["garage"].top_m, buildings["tower"].top_m) == (3.0, 90.0)
    assert "those of its kind" in reasons(findings, "garage")[0]


def test_buildings_are_the_same_when_another_box_or_order_is_taken() -> None:
    rng = np.random.default_rng(0)
    features = [
        feature(
            translate(HOUSE, 20.0 * x, 20.0 * y),
            {"height": f"{rng.uniform(5, 40):.1f}"} if (x + y) % 3 == 0 else {},
            name=f"way/{x}-{y}",
        )
        for x in range(-8, 8)
        for y in range(-8, 8)
    ]
    everything, _ = convert(*features)
    some, _ = convert(*features[::-1], bbox=bbox(-50, -50, 50, 50))
    assert 9 < len(some) < len(everything)
    for name, building in some.items():
        assert building.top_m == everything[name].top_m
        assert building.height_source == everything[name].height_source
        assert building.footprint.equals_exact(everything[name].footprint, 1e-9)
    other, _ = convert(*features, seed=1)
    assumed = [name for name, b in everything.items() if b.height_source == "assumed"]
    assert all(other[name].top_m != everything[name].top_m for name in assumed[:20])


def test_assumed_top_is_a_level_above_the_bottom_when_the_draw_is_lower() -> None:
    buildings, _ = convert(feature(HOUSE, {"min_height": "40"}))
    assert (buildings["a"].bottom_m, buildings["a"].top_m) == (40.0, 43.0)


def test_parts_replace_their_outline_when_they_fill_it() -> None:
    buildings, findings = convert(
        feature(box(0, 0, 20, 10), {"height": "30"}, name="whole"),
        part(box(0, 0, 10, 10), {"height": "12"}, name="p1"),
        part(box(10, 0, 19.95, 10), {"height": "20", "min_height": "4"}, name="p2"),
    )
    assert set(buildings) == {"p1", "p2"}
    assert (buildings["p2"].bottom_m, buildings["p2"].top_m) == (4.0, 20.0)
    assert buildings["p1"].is_part
    assert reasons(findings, "whole") == ["outline replaced by its parts"]


def test_outline_keeps_its_height_where_parts_leave_it() -> None:
    whole = box(0, 0, 20, 20)
    buildings, findings = convert(
        feature(whole, {"height": "30"}, name="whole"),
        part(box(0, 0, 10, 10), {"height": "12"}, name="p1"),
        part(box(10, 10, 20, 19.98), {"height": "12"}, name="p2"),
    )
    left = buildings["whole"].footprint
    assert left.area == pytest.approx(400 - 100 - 99.8, abs=0.1)
    assert buildings["whole"].top_m == 30.0
    overlap_m2 = [left.intersection(buildings[name].footprint).area for name in ("p1", "p2")]
    assert max(overlap_m2) < 20 * 0.01
    assert reasons(findings, "whole") == ["outline is what its parts leave, at its own height"]


@pytest.mark.parametrize(
    ("levels", "top_m", "which"),
    [
        ({"building:levels": "4"}, 12.0, "as high as its levels"),
        # The levels are those of the tower, too: they say nothing of the rest.
        ({"building:levels": "32"}, 8.0, "whose height is not known"),
        ({}, 8.0, "whose height is not known"),
    ],
)
def test_rest_of_an_outline_is_lower_when_a_part_is_as_high_as_the_outline(
    levels: dict[str, str], top_m: float, which: str
) -> None:
    known = [
        feature(
            box(90, 20.0 * i, 99, 20 * i + 9), {"building": "church", "height": "8"}, name=f"{i}"
        )
        for i in range(10)
    ]
    buildings, findings = convert(
        feature(box(0, 0, 40, 20), {"building": "church", "height": "96", **levels}, name="whole"),
        part(box(0, 0, 10, 20), {"height": "96.2"}, name="tower"),
        *known,
    )
    assert buildings["tower"].top_m == 96.2
    assert buildings["whole"].footprint.area == pytest.approx(600, abs=0.1)
    assert buildings["whole"].top_m == top_m
    assert reasons(findings, "whole")[0] == f"outline is what its parts leave, {which}"


def test_rest_of_an_outline_is_no_higher_than_its_parts_when_its_height_is_drawn() -> None:
    buildings, findings = convert(
        feature(box(0, 0, 40, 20), {"height": "2"}, name="whole"),
        part(box(0, 0, 10, 20), {"height": "2"}),
    )
    assert (buildings["whole"].top_m, buildings["whole"].height_source) == (2.0, "assumed")
    assert reasons(findings, "whole")[1] == (
        "height of what parts leave of an outline not known, drawn around 9 m +- 3 m"
    )


def test_part_takes_height_and_materials_of_its_outline_when_it_has_none() -> None:
    tags = {"building:levels": "5", "building:material": "brick", "roof:material": "glass"}
    buildings, findings = convert(
        feature(box(0, 0, 20, 10), tags, name="whole"),
        feature(box(12, 0, 30, 10), {"height": "50"}, name="neighbour"),
        part(box(0, 0, 10, 10), {"roof:material": "metal"}, name="inner"),
        part(box(10, 0, 15, 10), {"min_height": "16"}, name="high"),
    )
    inner = buildings["inner"]
    assert (inner.top_m, inner.height_source) == (15.0, "levels")
    assert (inner.wall_material, inner.roof_material) == ("brick", "metal")
    assert reasons(findings, "inner") == ["part is as high as its outline"]
    # The outline ends below where this one begins, so that its height cannot be the part's.
    assert buildings["high"].height_source == "assumed"
    assert buildings["high"].top_m > 16


def test_part_stays_as_it_is_when_no_outline_holds_most_of_it() -> None:
    buildings, findings = convert(
        feature(box(0, 0, 10, 10), {"height": "30"}, name="whole"),
        part(box(6, 0, 16, 10), {"height": "12"}, name="p"),
    )
    assert buildings["whole"].footprint.area == pytest.approx(100, abs=AREA_M2)
    assert buildings["p"].footprint.area == pytest.approx(100, abs=AREA_M2)
    assert findings == ()


def test_outline_is_cut_and_noted_when_it_crosses_itself() -> None:
    bow = Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])
    buildings, findings = convert(
        feature(bow, {"height": "9"}, name="whole"),
        part(Polygon([(0, 0), (0, 20), (10, 10)]), {"height": "5"}),
    )
    assert buildings["whole"].footprint.area == pytest.approx(100, abs=0.5)
    assert reasons(findings, "whole")[0] == "invalid outline (self-intersection)"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"building": "no"}, "tagged as no building"),
        ({"location": "underground", "height": "5"}, "lies underground"),
        ({"layer": "-1"}, "layer below the ground"),
        ({"height": "0"}, "nothing of it stands above the ground"),
        ({"building:levels": "0"}, "nothing of it stands above the ground"),
        ({"building:levels:underground": "2"}, "nothing of it stands above the ground"),
    ],
)
def test_feature_is_dropped_and_noted_when_it_is_no_solid_above_ground(
    tags: dict[str, str], reason: str
) -> None:
    buildings, findings = convert(feature(HOUSE, tags), feature(HOUSE, {"height": "5"}, name="b"))
    assert set(buildings) == {"b"}
    assert [finding.action for finding in findings] == ["dropped"]
    assert reason in reasons(findings, "a")[0]


@pytest.mark.parametrize(
    "tags",
    [
        {"building": "roof", "min_height": "4", "height": "5"},
        {"layer": "-1", "height": "5"},
        {"layer": "1"},
        {"layer": "x"},
    ],
)
def test_feature_stays_when_it_is_a_solid_above_ground(tags: dict[str, str]) -> None:
    buildings, _ = convert(feature(HOUSE, tags))
    assert set(buildings) == {"a"}


def test_part_under_the_ground_takes_nothing_from_its_outline_when_it_lies_within() -> None:
    buildings, findings = convert(
        feature(HOUSE, {"height": "9"}, name="whole"),
        part(box(0, 0, 5, 10), {"building:levels": "0", "building:levels:underground": "2"}),
    )
    assert set(buildings) == {"whole"}
    assert buildings["whole"].footprint.area == pytest.approx(100, abs=AREA_M2)
    assert reasons(findings, "p") == ["nothing of it stands above the ground"]


@pytest.mark.parametrize(
    ("tags", "span_m"),
    [
        ({"building": "roof", "height": "8"}, (7.7, 8.0)),
        ({"building": "carport", "building:levels": "1"}, (2.7, 3.0)),
        ({"building": "yes", "wall": "no", "height": "4"}, (3.7, 4.0)),
        ({"building": "roof", "height": "8", "min_height": "6"}, (6.0, 8.0)),
    ],
)
def test_roof_is_a_slab_when_it_has_no_walls(
    tags: dict[str, str], span_m: tuple[float, float]
) -> None:
    buildings, _ = convert(feature(HOUSE, tags))
    assert (buildings["a"].bottom_m, buildings["a"].top_m) == span_m


def test_roof_is_a_slab_when_it_is_a_part() -> None:
    buildings, findings = convert(
        feature(box(0, 0, 20, 10), {"building": "train_station", "height": "12"}, name="whole"),
        part(box(0, 0, 10, 10), {"height": "12"}, name="hall"),
        part(box(10, 0, 20, 10), {"building:part": "roof", "height": "8"}, name="platform"),
    )
    assert set(buildings) == {"hall", "platform"}
    assert (buildings["platform"].bottom_m, buildings["platform"].top_m) == (7.7, 8.0)
    assert reasons(findings, "platform") == ["roof without walls, made a slab of 0.3 m"]


def test_roof_without_walls_is_low_when_its_height_is_not_known() -> None:
    roofs = [feature(HOUSE, {"building": "carport"}, name=f"way/{i}") for i in range(100)]
    buildings, findings = convert(*roofs)
    tops_m = np.array([building.top_m for building in buildings.values()])
    # Five standard errors of the mean of 4 m +- 1 m.
    assert tops_m.mean() == pytest.approx(4.0 * math.exp(1 / 32), abs=0.5)
    thickness_m = [building.top_m - building.bottom_m for building in buildings.values()]
    assert thickness_m == pytest.approx([0.3] * 100, abs=0.006)
    assert "drawn around 4 m +- 1 m" in reasons(findings, "way/0")[0]


def test_box_keeps_whole_what_it_touches_and_parts_of_it() -> None:
    # The bounds of the corner touch the box, but the building itself goes around it.
    corner = box(0, 0, 40, 40) - box(0, 0, 30, 30)
    buildings, findings = convert(
        feature(box(-100, 5, 5, 15), {"height": "30"}, name="long"),
        part(box(-100, 5, -80, 15), {"height": "12"}, name="far"),
        feature(corner, {"height": "9"}, name="corner"),
        feature(box(-60, 40, -50, 50), {"building": "no"}, name="outside"),
        bbox=bbox(2, 2, 20, 20),
    )
    assert set(buildings) == {"long", "far"}
    assert buildings["far"].footprint.area == pytest.approx(200, abs=AREA_M2)
    assert {finding.building for finding in findings} == {"long"}


def test_box_works_when_it_lies_across_the_180_degree_meridian() -> None:
    frame = LocalFrame(origin_lon_deg=180.0, origin_lat_deg=-17.0)
    places_m = (-300.0, -20.0, 10.0, 300.0)
    features = [
        feature(translate(HOUSE, x_m, 0), {"height": "9"}, name=f"{x_m:g}", frame=frame)
        for x_m in places_m
    ]
    half_deg = 100 * DEG_PER_M
    box_deg = (180 - half_deg, -17 - half_deg, -180 + half_deg, -17 + half_deg)
    buildings, _ = to_buildings(source(*features), frame, rules=RULES, bbox=box_deg)
    assert {building.id for building in buildings} == {"-20", "10"}


def test_box_is_refused_with_counts_when_it_meets_no_building() -> None:
    court = feature(box(-50, -50, 50, 50) - box(-40, -40, 40, 40), {"height": "9"})
    cellar = feature(box(0, 0, 5, 5), {"location": "underground"}, name="cellar")
    message = (
        r"the box 11.5699,48.1399,.* meets no building above ground of map.osm, which has 2 in "
        r"all, 1 left out \(lies underground\); the nearest lie in 11.5693.*; choose another box"
    )
    with pytest.raises(SceneError, match=message):
        convert(court, cellar, bbox=bbox(-10, -10, 10, 10))
    with pytest.raises(SceneError, match=r"holds no building of map.osm; its buildings lie in"):
        convert(court, cellar, bbox=(2.0, 48.0, 2.1, 48.1))


def test_map_is_refused_when_no_building_stands_above_ground() -> None:
    cellars = [feature(HOUSE, {"location": "underground"}, name=name) for name in "ab"]
    message = r"no building stands above ground in map.osm.*2 left out \(lies underground\)"
    with pytest.raises(SceneError, match=message):
        convert(*cellars)
    with pytest.raises(SceneError, match=r"map.osm holds no building"):
        convert()


def faces(bottom_m: float, top_m: float) -> tuple[Surface, ...]:
    """Floor and roof of the house."""
    corners = shapely.get_coordinates(shapely.transform(HOUSE, FRAME.to_lonlat))[:4]
    return tuple(
        Surface(kind=kind, rings=(np.column_stack([corners, np.full(4, z)]),))
        for kind, z in (("ground", bottom_m), ("roof", top_m))
    )


def test_faces_come_down_to_the_ground_when_the_source_models_them() -> None:
    house = feature(HOUSE, {"height": "99"}, surfaces=faces(512.0, 524.5))
    buildings, findings = convert(house)
    building = buildings["a"]
    assert (building.bottom_m, building.top_m) == (0.0, 12.5)
    assert building.height_source == "surveyed"
    heights_m = [np.unique(face.rings[0][:, 2]).tolist() for face in building.surfaces]
    assert heights_m == [[0.0], [12.5]]
    corners = {tuple(corner) for corner in np.round(building.surfaces[1].rings[0][:, :2]).tolist()}
    assert corners == {(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)}
    assert findings == ()


def test_faces_are_ignored_and_noted_when_their_height_cannot_be_true() -> None:
    buildings, findings = convert(feature(HOUSE, {"height": "9"}, surfaces=faces(5.0, 5.0)))
    assert (buildings["a"].top_m, buildings["a"].height_source) == (9.0, "tag")
    assert buildings["a"].surfaces == ()
    assert reasons(findings, "a") == ["3D faces ignored: height not within 0-1000 m"]


def test_faces_are_lost_and_noted_when_parts_lie_within_the_outline() -> None:
    house = feature(HOUSE, name="whole", surfaces=faces(0.0, 12.0))
    buildings, findings = convert(house, part(box(0, 0, 5, 5), {"height": "15"}))
    assert buildings["whole"].surfaces == ()
    assert buildings["whole"].top_m == 12.0
    assert "extruded instead of its 3D faces: parts lie within it" in reasons(findings, "whole")


def test_unknown_material_is_a_finding_when_no_rule_knows_it() -> None:
    buildings, findings = convert(feature(HOUSE, {"height": "9", "building:material": "straw"}))
    assert buildings["a"].wall_material == RULES.default.walls
    assert reasons(findings, "a") == ["no material rule for building:material=straw"]
