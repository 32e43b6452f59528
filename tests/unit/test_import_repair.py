from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon, box
from shapely.affinity import rotate

from raymark.scenes.importing.buildings import Building, Footprint, HeightSource, Surface
from raymark.scenes.importing.repair import GRID_M, fault_of, repair

AREA_M2 = 1e-6
"""Areas of footprints whose corners lie on the grid are exact to rounding."""
FACES = (Surface(kind="roof", rings=(np.zeros((3, 3)),)),)


def building(
    footprint: Footprint,
    *,
    name: str = "a",
    span_m: tuple[float, float] = (0.0, 9.0),
    height_source: HeightSource = "tag",
    surfaces: tuple[Surface, ...] = (),
) -> Building:
    return Building(
        id=name,
        footprint=footprint,
        bottom_m=span_m[0],
        top_m=span_m[1],
        height_source=height_source,
        wall_material="concrete",
        roof_material="concrete",
        surfaces=surfaces,
    )


def repair_one(footprint: Footprint) -> tuple[Footprint, list[str]]:
    buildings, findings = repair([building(footprint)])
    return buildings[0].footprint, [finding.reason for finding in findings]


def test_footprint_stays_when_it_is_sound() -> None:
    footprint = MultiPolygon([box(0, 0, 10, 8), box(20, 0, 30, 8) - box(24, 3, 26, 5)])
    repaired, reasons = repair_one(footprint)
    assert repaired.equals(footprint)
    assert reasons == []


# Areas by hand.
@pytest.mark.parametrize(
    ("footprint", "area_m2", "reason"),
    [
        (Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]), 50.0, "invalid outline"),
        (
            Polygon([(0, 0), (10, 0), (10, 10), (10, 20), (10, 10), (0, 10)]),
            100.0,
            "invalid outline",
        ),
        (MultiPolygon([box(0, 0, 10, 10), box(5, 5, 15, 15)]), 175.0, "invalid outline"),
        (MultiPolygon([box(0, 0, 10, 10), box(20, 0, 20.9, 1)]), 100.0, "piece under 1 m2"),
        (MultiPolygon([box(0, 0, 10, 10), box(20, 0, 20.15, 40)]), 100.0, "or sliver dropped"),
        (box(0, 0, 10, 10) - box(5, 5, 5.7, 5.7), 100.0, "hole under 0.5 m2 filled"),
        (Polygon([(5, 0), (10, 0), (10, 10), (0, 10), (0, 0)]), 100.0, "collinear corners"),
        (Polygon([(0, 0), (10, 0), (10, 0.004), (10, 10), (0, 10)]), 100.0, ""),
    ],
)
def test_footprint_is_repaired_and_noted_when_it_has_a_fault(
    footprint: Footprint, area_m2: float, reason: str
) -> None:
    repaired, reasons = repair_one(footprint)
    assert repaired.is_valid
    assert repaired.area == pytest.approx(area_m2, abs=AREA_M2)
    assert reason in " ".join(reasons)
    assert repair_one(repaired) == (repaired, [])


def test_corners_are_left_out_when_they_are_collinear_at_the_start_of_a_ring() -> None:
    repaired, _ = repair_one(Polygon([(5, 0), (10, 0), (10, 5), (10, 10), (0, 10), (0, 0)]))
    assert shapely.get_num_coordinates(repaired) == 4 + 1


@pytest.mark.parametrize(
    "footprint",
    [
        Polygon(),
        Polygon([(0, 0), (5, 5), (10, 10)]),
        box(0, 0, 0.9, 1),
        box(0, 0, 0.15, 40),
        MultiPolygon([box(0, 0, 0.9, 1), box(5, 5, 5.1, 20)]),
    ],
)
def test_building_is_dropped_and_noted_once_when_nothing_of_it_is_left(
    footprint: Footprint,
) -> None:
    house = building(box(0, 0, 9, 9), name="house")
    buildings, findings = repair([building(footprint, name="gone"), house])
    assert [b.id for b in buildings] == ["house"]
    assert [(f.action, f.building) for f in findings] == [("dropped", "gone")]


def test_no_building_is_lost_when_rectangles_are_turned() -> None:
    # GEOS buffers of geometries on a grid were empty for one in ten of these.
    turned = [rotate(box(0, 0, 12, 9), angle, origin=(0, 0)) for angle in np.linspace(0, 90, 300)]
    buildings, findings = repair([building(f, name=str(i)) for i, f in enumerate(turned)])
    assert len(buildings) == 300
    assert findings == ()


@given(
    radii=st.lists(st.floats(2.0, 30.0), min_size=3, max_size=12),
    swap=st.tuples(st.integers(0, 11), st.integers(0, 11)),
)
def test_footprint_is_valid_on_the_grid_and_as_large_when_its_outline_is_arbitrary(
    radii: list[float], swap: tuple[int, int]
) -> None:
    angle = np.arange(len(radii)) * 2 * np.pi / len(radii)
    corners = np.array(radii)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    first, second = (i % len(radii) for i in swap)
    corners[[first, second]] = corners[[second, first]]
    outline = Polygon(corners)
    buildings, _ = repair([building(outline)])
    # What is enclosed: the faces of the noded outline with an odd winding number or more.
    faces = shapely.get_parts(shapely.polygonize([shapely.node(outline.exterior)]))
    most_m2 = float(shapely.area(faces).sum())
    assert all(b.footprint.is_valid for b in buildings)
    corners_found = shapely.get_coordinates([b.footprint for b in buildings]) / GRID_M
    np.testing.assert_allclose(corners_found, np.round(corners_found), atol=1e-6)
    area_m2 = sum(b.footprint.area for b in buildings)
    # A centimetre along the outline, and pieces under 1 m2.
    assert area_m2 <= most_m2 + 2 * GRID_M * outline.length + 0.1
    if outline.is_valid:
        assert area_m2 >= most_m2 - 2 * GRID_M * outline.length - 1.1


def test_twins_are_dropped_when_another_of_the_same_footprint_contains_them() -> None:
    square, again = box(0, 0, 10, 10), Polygon([(10, 10), (10, 0), (0, 0), (0, 10)])
    buildings, findings = repair(
        [
            building(square, name="low", span_m=(0.0, 5.0)),
            building(again, name="high", span_m=(0.0, 9.0)),
            building(square, name="hovers", span_m=(12.0, 15.0)),
            building(square, name="same", span_m=(0.0, 9.0)),
            building(box(0, 0, 10, 11), name="other", span_m=(0.0, 5.0)),
        ]
    )
    assert [b.id for b in buildings] == ["high", "hovers", "other"]
    assert Counter(f.reason for f in findings) == {"same footprint as another building": 2}
    assert {f.building for f in findings} == {"low", "same"}


def test_known_height_wins_when_a_twin_of_assumed_height_is_taller() -> None:
    square = box(0, 0, 10, 10)
    guess = building(square, name="guess", span_m=(0.0, 12.0), height_source="assumed")
    buildings, _ = repair([guess, building(square, name="known", span_m=(0.0, 6.0))])
    assert [b.id for b in buildings] == ["known"]


def test_faces_are_lost_and_noted_when_the_footprint_is_changed() -> None:
    split = MultiPolygon([box(20, 0, 30, 10), box(40, 0, 40.5, 0.5)])
    sound = Polygon([(0, 0), (5, 0), (10, 0), (10, 10), (0, 10)])
    buildings, findings = repair(
        [
            building(sound, name="sound", surfaces=FACES),
            building(split, name="split", surfaces=FACES),
        ]
    )
    assert [len(b.surfaces) for b in buildings] == [1, 0]
    lost = [f.building for f in findings if f.reason.startswith("extruded instead")]
    assert lost == ["split"]


def test_fault_names_its_kind_without_its_place_when_an_outline_crosses_itself() -> None:
    assert fault_of(box(0, 0, 1, 1)) == ""
    cross = Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    assert fault_of(cross) == "invalid outline (self-intersection)"


def test_nothing_is_returned_when_there_is_no_building() -> None:
    assert repair([]) == ((), ())
