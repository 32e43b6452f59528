"""Multipolygons that are no clean rings, and tags that are spread over several objects.

The broken multipolygons are those of section 7 of OpenStreetMap's test data
(https://github.com/osmcode/osm-testdata, public domain), made anew: corners on a grid, and the area
that it, or the reason that is given here, says is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import shapely
from shapely import Polygon

from raymark.scenes.importing.buildings import MapFeature, SourceMap
from raymark.scenes.importing.readers import read_map

LON, LAT = 11.57, 48.14
STEP = 1e-4

Corner = tuple[int, int]
Tags = Mapping[str, str]
OUTER, INNER = "outer", "inner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way by its corners; equal corners are one node."""

    role: str
    corners: Sequence[Corner]
    tags: Tags


def way(role: str, *corners: Corner, **tags: str) -> Way:
    return Way(role=role, corners=corners, tags=_keys(tags))


def _keys(tags: Mapping[str, str]) -> dict[str, str]:
    return {key.replace("__", ":"): value for key, value in tags.items()}


def square(x: int, y: int, side: int) -> list[Corner]:
    return [(x, y), (x, y + side), (x + side, y + side), (x + side, y), (x, y)]


class OsmFile:
    """An OpenStreetMap file in the making."""

    def __init__(self) -> None:
        self._nodes: dict[Corner, int] = {}
        self._elements: list[str] = []

    def add_way(self, number: int, way: Way) -> None:
        refs = [self._node(corner) for corner in way.corners]
        content = "".join(f'<nd ref="{ref}"/>' for ref in refs) + _tags(way.tags)
        self._elements.append(f'<way id="{number}" version="1">{content}</way>')

    def add_relation(self, number: int, members: Mapping[int, str], tags: Tags) -> None:
        content = "".join(
            f'<member type="{"relation" if ref >= 500 else "way"}" ref="{ref}" role="{role}"/>'
            for ref, role in members.items()
        )
        content += _tags(tags)
        self._elements.append(f'<relation id="{number}" version="1">{content}</relation>')

    def read(self, folder: Path, *, more: str = "") -> SourceMap:
        nodes = "".join(
            f'<node id="{ref}" version="1" lon="{LON + x * STEP:.7f}" lat="{LAT + y * STEP:.7f}"/>'
            for (x, y), ref in self._nodes.items()
        )
        path = folder / "map.osm"
        path.write_text(f'<osm version="0.6">{nodes}{more}{"".join(self._elements)}</osm>')
        return read_map(path)

    def _node(self, corner: Corner) -> int:
        return self._nodes.setdefault(corner, len(self._nodes) + 1)


def _tags(tags: Tags) -> str:
    return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())


def read_multipolygon(folder: Path, *ways: Way, more: str = "", **tags: str) -> SourceMap:
    """Read one multipolygon; its ways are 100, 101, ..., the relation is 500."""
    file = OsmFile()
    for number, member in enumerate(ways, start=100):
        file.add_way(number, member)
    members = {number: member.role for number, member in enumerate(ways, start=100)}
    file.add_relation(500, members, {"type": "multipolygon", "building": "yes", **_keys(tags)})
    return file.read(folder, more=more)


def features_of(source: SourceMap) -> dict[str, MapFeature]:
    return {feature.id: feature for feature in source.features}


def reasons(source: SourceMap, name: str) -> list[str]:
    return [finding.reason for finding in source.findings if finding.building == name]


def shape_on_grid(feature: MapFeature) -> shapely.Geometry:
    """The outline in steps of the grid."""
    return shapely.transform(feature.geometry, lambda lonlat: (lonlat - [LON, LAT]) / STEP)


BIG = square(0, 0, 8)
CROSSED = "its rings crossed, touched, overlapped or were repeated"
GAP = "its outline had a gap, closed by a straight line"
OPEN = "a part of its outline closes no ring and is left out"
DIAMOND = [(5, 6), (7, 5), (5, 2), (3, 2), (5, 6)]
BESIDE = [(4, 4), (6, 8), (4, 8), (2, 4), (4, 4)]
BROKEN: dict[str, tuple[list[Way], Polygon | shapely.MultiPolygon, str]] = {
    "710 outer rings overlap": (
        [
            way(OUTER, *square(0, 0, 4)),
            way(OUTER, (2, 2), (6, 2), (6, 6)),
            way(OUTER, (6, 6), (2, 6), (2, 2)),
        ],
        Polygon(square(0, 0, 4)) | Polygon(square(2, 2, 4)),
        CROSSED,
    ),
    "711 two ways hold the same side": (
        [way(OUTER, (0, 0), (0, 3), (3, 3)), way(OUTER, (0, 3), (3, 3), (3, 0), (0, 0))],
        Polygon(square(0, 0, 3)),
        CROSSED,
    ),
    "714 open by a small gap": (
        [way(OUTER, (4, 0), (0, 0), (0, 4), (4, 4), (4, 1))],
        Polygon(square(0, 0, 4)),
        GAP,
    ),
    "715 two open halves": (
        [way(OUTER, (4, 0), (0, 0), (0, 3)), way(OUTER, (0, 4), (4, 4), (4, 1))],
        Polygon(square(0, 0, 4)),
        GAP,
    ),
    "740 outer ring crosses itself": (
        [way(OUTER, (0, 0), (4, 0), (0, 4)), way(OUTER, (0, 4), (4, 4), (0, 0))],
        Polygon([(0, 0), (4, 0), (2, 2)]) | Polygon([(0, 4), (2, 2), (4, 4)]),
        CROSSED,
    ),
    "743 spike": (
        [way(OUTER, (0, 0), (0, 4)), way(OUTER, (0, 4), (0, 2), (2, 2), (2, 0), (0, 0))],
        Polygon(square(0, 0, 2)),
        CROSSED,
    ),
    "745 way goes back into itself": (
        [way(OUTER, *square(0, 0, 2), (-2, 0), (-2, 2), (0, 2))],
        Polygon([(-2, 0), (2, 0), (2, 2), (-2, 2)]),
        CROSSED,
    ),
    "752 inner rings overlap": (
        [way(OUTER, *square(0, 0, 9)), way(INNER, *DIAMOND), way(INNER, *BESIDE)],
        Polygon(square(0, 0, 9)) - Polygon(DIAMOND) - Polygon(BESIDE),
        CROSSED,
    ),
    "754 inner ring touches the outer one beside its nodes": (
        [way(OUTER, *BIG), way(INNER, (6, 2), (8, 4), (6, 6), (4, 4), (6, 2))],
        Polygon(BIG) - Polygon([(6, 2), (8, 4), (6, 6), (4, 4)]),
        CROSSED,
    ),
    "756 inner ring lies on the outer one": (
        [way(OUTER, *BIG), way(INNER, *square(6, 3, 2))],
        Polygon(BIG) - Polygon(square(6, 3, 2)),
        CROSSED,
    ),
    "768 outer rings share parts of a side": (
        [way(OUTER, *square(0, 0, 3)), way(OUTER, (3, 3), (6, 3), (6, 0), (3, 0), (3, 1), (3, 3))],
        Polygon([(0, 0), (6, 0), (6, 3), (0, 3)]),
        CROSSED,
    ),
    "771 outer rings touch beside their nodes": (
        [way(OUTER, *square(0, 0, 4)), way(OUTER, (2, 4), (4, 6), (2, 8), (0, 6), (2, 4))],
        Polygon(square(0, 0, 4)) | Polygon([(2, 4), (4, 6), (2, 8), (0, 6)]),
        CROSSED,
    ),
    "773 inner rings touch beside their nodes": (
        [
            way(OUTER, *square(-1, -1, 10)),
            way(INNER, *square(0, 0, 4)),
            way(INNER, (2, 4), (4, 6), (2, 8), (0, 6), (2, 4)),
        ],
        Polygon(square(-1, -1, 10))
        - Polygon(square(0, 0, 4))
        - Polygon([(2, 4), (4, 6), (2, 8), (0, 6)]),
        CROSSED,
    ),
    "791 two ways are the same": (
        [way(OUTER, *square(0, 0, 4)), way(OUTER, *square(0, 0, 4))],
        Polygon(square(0, 0, 4)),
        CROSSED,
    ),
    "792 two ways are the same from other corners": (
        [way(OUTER, *square(0, 0, 4)), way(OUTER, *square(0, 0, 4)[1:], (0, 4))],
        Polygon(square(0, 0, 4)),
        CROSSED,
    ),
    "793 one way repeats most of another": (
        [way(OUTER, *square(0, 0, 4)), way(OUTER, *square(0, 0, 4)[:-1])],
        Polygon(square(0, 0, 4)),
        CROSSED,
    ),
    "an island lies in a yard that touches the wall": (
        [way(OUTER, *BIG), way(INNER, *square(4, 2, 4)), way(OUTER, *square(5, 3, 1))],
        Polygon(BIG) - Polygon(square(4, 2, 4)) | Polygon(square(5, 3, 1)),
        CROSSED,
    ),
    "a yard is open": (
        [way(OUTER, *BIG), way(INNER, (1, 1), (5, 1), (5, 5))],
        Polygon(BIG),
        OPEN,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_multipolygon_is_repaired_and_noted_when_its_rings_are_not_clean(
    tmp_path: Path, case: str
) -> None:
    ways, expected, reason = BROKEN[case]
    source = read_multipolygon(tmp_path, *ways, height="12")
    assert list(features_of(source)) == ["relation/500"]
    got = shape_on_grid(source.features[0])
    assert got.is_valid
    # A thousandth of a step is the 1e-7 degrees to which OpenStreetMap keeps its nodes.
    assert shapely.symmetric_difference(got, expected).area < 0.01
    assert reasons(source, "relation/500") == [reason]


@pytest.mark.parametrize(
    "ways",
    [
        [way(OUTER, (0, 0), (0, 4)), way(OUTER, (0, 4), (0, 0))],
        [way(OUTER, (0, 0), (0, 2)), way(OUTER, (0, 2), (2, 2), (2, 0))],
    ],
    ids=["741 a line", "744 a side is missing"],
)
def test_multipolygon_is_dropped_and_noted_when_it_encloses_nothing(
    tmp_path: Path, ways: list[Way]
) -> None:
    file = OsmFile()
    file.add_way(90, way("", *square(20, 20, 2), building="yes"))
    for number, member in enumerate(ways, start=100):
        file.add_way(number, member)
    roles = dict.fromkeys(range(100, 100 + len(ways)), OUTER)
    file.add_relation(500, roles, {"type": "multipolygon", "building": "yes"})
    source = file.read(tmp_path)
    assert list(features_of(source)) == ["way/90"]
    assert reasons(source, "relation/500") == ["its rings are broken or not all in the file"]


def test_multipolygon_stays_and_is_noted_when_a_yard_is_not_in_the_file(tmp_path: Path) -> None:
    file = OsmFile()
    file.add_way(100, way(OUTER, *BIG))
    members = {100: OUTER, 101: INNER}
    file.add_relation(500, members, {"type": "multipolygon", "building": "yes"})
    source = file.read(tmp_path)
    assert shape_on_grid(source.features[0]).area == pytest.approx(64, rel=1e-3)
    assert reasons(source, "relation/500") == [
        "a part of its outline is not in the file and left out"
    ]


def test_way_is_closed_and_noted_when_its_gap_is_small(tmp_path: Path) -> None:
    file = OsmFile()
    file.add_way(100, way("", *square(0, 0, 4)[:-1], (1, 0), building="yes"))
    file.add_way(101, way("", *square(9, 0, 4)[:-1], building="yes"))
    source = file.read(tmp_path)
    assert list(features_of(source)) == ["way/100"]
    assert shape_on_grid(source.features[0]).area == pytest.approx(16, rel=1e-3)
    assert reasons(source, "way/100") == [GAP]
    assert reasons(source, "way/101") == ["its outline is not closed"]


def test_way_is_closed_when_its_ends_are_two_nodes_at_one_place(tmp_path: Path) -> None:
    nodes = "".join(
        f'<node id="{900 + i}" version="1" lon="{LON + x * STEP:.7f}" lat="{LAT + y * STEP:.7f}"/>'
        for i, (x, y) in enumerate(square(0, 0, 4))
    )
    refs = "".join(f'<nd ref="{900 + i}"/>' for i in range(5))
    tags = _tags({"building": "yes"})
    source = OsmFile().read(tmp_path, more=f'{nodes}<way id="1" version="1">{refs}{tags}</way>')
    assert shape_on_grid(source.features[0]).area == pytest.approx(16, rel=1e-3)
    assert source.findings == ()


@pytest.mark.parametrize("kind", [{"building": "yes"}, {}], ids=["building too", "looks alone"])
def test_relation_takes_what_it_does_not_say_from_its_outer_way(
    tmp_path: Path, kind: dict[str, str]
) -> None:
    looks = {"height": "30", "building:material": "brick", "roof:shape": "flat"}
    outer = Way(role=OUTER, corners=BIG, tags={**kind, **looks})
    inner = way(INNER, *square(2, 2, 2), height="3", wall="no")
    source = read_multipolygon(tmp_path, outer, inner, roof__shape="gabled")
    assert list(features_of(source)) == ["relation/500"]
    assert source.features[0].tags == {
        "type": "multipolygon",
        "building": "yes",
        "height": "30",
        "building:material": "brick",
        "roof:shape": "gabled",
    }


def test_relation_takes_nothing_from_an_outer_way_that_is_something_else(tmp_path: Path) -> None:
    source = read_multipolygon(
        tmp_path,
        way(OUTER, (0, 0), (0, 4), (4, 4), barrier="wall", height="2"),
        way(OUTER, (4, 4), (4, 0), (0, 0), building__levels="5"),
    )
    assert source.features[0].tags == {
        "type": "multipolygon",
        "building": "yes",
        "building:levels": "5",
    }


def test_outer_ways_stand_for_themselves_when_they_look_different(tmp_path: Path) -> None:
    source = read_multipolygon(
        tmp_path,
        way(OUTER, *BIG, building="yes", height="30"),
        way(INNER, *square(2, 2, 2)),
        way(OUTER, *square(10, 0, 3), building="yes", height="9"),
        building__material="brick",
    )
    features = features_of(source)
    assert {name: feature.tags["height"] for name, feature in features.items()} == {
        "way/100": "30",
        "way/102": "9",
    }
    assert {feature.tags["building:material"] for feature in features.values()} == {"brick"}
    areas = [shape_on_grid(feature).area for feature in features.values()]
    assert areas == pytest.approx([60, 9], rel=1e-3)
    assert "looks different from other outlines" in reasons(source, "way/100")[0]


@pytest.mark.parametrize("own", [{}, {"source": "survey", "created_by": "JOSM"}], ids=str)
def test_multipolygon_is_what_its_outer_way_is_when_it_says_nothing(
    tmp_path: Path, own: dict[str, str]
) -> None:
    file = OsmFile()
    file.add_way(100, way(OUTER, *BIG, building="church", height="20"))
    file.add_way(101, way(INNER, *square(2, 2, 2)))
    file.add_relation(500, {100: OUTER, 101: INNER}, {"type": "multipolygon", **own})
    source = file.read(tmp_path)
    (found,) = source.features
    assert (found.id, found.tags["building"], found.tags["height"]) == (
        "relation/500",
        "church",
        "20",
    )
    assert shape_on_grid(found).area == pytest.approx(60, rel=1e-3)
    assert [(f.action, f.building) for f in source.findings] == [("merged", "way/100")]


def test_multipolygon_joins_outer_ways_when_they_alone_are_tagged(tmp_path: Path) -> None:
    file = OsmFile()
    file.add_way(100, way(OUTER, (0, 0), (0, 8), (8, 8), building="yes"))
    file.add_way(101, way(OUTER, (8, 8), (8, 0), (0, 0), building="yes"))
    file.add_relation(500, {100: OUTER, 101: OUTER}, {"type": "multipolygon"})
    (found,) = file.read(tmp_path).features
    assert found.id == "relation/500"
    assert shape_on_grid(found).area == pytest.approx(64, rel=1e-3)


@pytest.mark.parametrize(
    "tags",
    [
        {"type": "multipolygon", "landuse": "residential"},
        {"type": "multipolygon", "building": "no"},
        {"type": "site"},
    ],
    ids=str,
)
def test_outer_way_stands_for_itself_when_its_relation_is_something_else(
    tmp_path: Path, tags: dict[str, str]
) -> None:
    file = OsmFile()
    file.add_way(100, way(OUTER, *BIG, building="yes"))
    file.add_way(101, way(INNER, *square(2, 2, 2)))
    file.add_relation(500, {100: OUTER, 101: INNER}, tags)
    (found,) = file.read(tmp_path).features
    assert found.id == "way/100"
    assert shape_on_grid(found).area == pytest.approx(64, rel=1e-3)


def test_building_relation_lends_its_tags_to_the_outline_that_it_groups(tmp_path: Path) -> None:
    file = OsmFile()
    file.add_way(100, way("", *BIG, building="church", height="20"))
    file.add_way(101, way("", *square(0, 0, 2), building__part="yes", height="40"))
    file.add_way(102, way("", *square(20, 0, 8)))
    file.add_relation(500, {102: OUTER}, {"type": "multipolygon", "building": "yes"})
    tags = {"type": "building", "building": "yes", "height": "50", "building:material": "stone"}
    file.add_relation(501, {100: "outline", 101: "part", 500: "outline"}, tags)
    features = features_of(file.read(tmp_path))
    assert features["way/100"].tags == {
        "building": "church",
        "height": "20",
        "building:material": "stone",
    }
    assert features["relation/500"].tags["height"] == "50"
    assert features["way/101"].tags == {"building:part": "yes", "height": "40"}
    assert set(features) == {"way/100", "way/101", "relation/500"}


def test_node_is_counted_when_it_is_tagged_as_a_building(tmp_path: Path) -> None:
    node = f'<node id="900" version="1" lon="{LON}" lat="{LAT}">{_tags({"building": "yes"})}</node>'
    source = read_multipolygon(tmp_path, way(OUTER, *BIG), more=node)
    assert reasons(source, "node/900") == ["is no outline but a node"]
