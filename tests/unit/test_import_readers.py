import datetime as dt
import json
import sys
import types
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import osmium
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

from raymark.errors import ConfigError, SceneError
from raymark.scenes.importing.buildings import MapFeature, SourceMap
from raymark.scenes.importing.fetch import Download, fetch_map
from raymark.scenes.importing.readers import read_map

LON, LAT = 11.57, 48.14
STEP = 1e-4  # degrees; 7 to 11 m
UTM = [691_000.0, 5_334_000.0]

Json = dict[str, Any]


def ring(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def outline(column: float = 0, side: float = STEP) -> Json:
    return {"type": "Polygon", "coordinates": [ring(LON + 3 * column * STEP, LAT, side)]}


def feature(geometry: Json | None, **properties: Any) -> Json:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def collection(*features: Json, **members: Any) -> Json:
    return {"type": "FeatureCollection", "features": list(features), **members}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def by_id(source: SourceMap) -> dict[str, MapFeature]:
    return {item.id: item for item in source.features}


def lost(source: SourceMap) -> dict[str, str]:
    return {finding.building: finding.reason for finding in source.findings}


def test_geojson_gives_tagged_buildings_and_parts_when_it_holds_other_things_too(
    tmp_path: Path,
) -> None:
    hole = outline(side=3 * STEP)
    hole["coordinates"].append(ring(LON + STEP, LAT + STEP, STEP))
    tower = {"type": "MultiPolygon", "coordinates": [outline(2)["coordinates"]]}
    path = write(
        tmp_path / "block.geojson",
        collection(
            feature(hole, **{"@id": "way/1", "building": "yes", "height": 12.5, "name": None}),
            feature(tower, **{"building:part": "yes", "min_height": "3", "building:levels": 4}),
            feature(outline(3), leisure="park"),
            feature(outline(4), building="no"),
            feature({"type": "Point", "coordinates": [LON, LAT]}, building="yes", id=7),
            feature(None, building="yes"),
            feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, building="yes"),
            feature(outline(5), building="yes", location="underground"),
            feature({"type": "Polygon", "coordinates": []}, building="yes"),
            {"type": "Feature", "geometry": outline(6), "properties": None, "id": "bare"},
            feature({"type": "Polygon", "coordinates": [ring(float("inf"), 1, 1)]}, building="yes"),
        ),
    )
    source = read_map(path)
    house, part = source.features
    assert (house.id, house.tags, house.is_part) == (
        "way/1",
        {"@id": "way/1", "building": "yes", "height": "12.5"},
        False,
    )
    assert house.geometry.area == pytest.approx(8 * STEP**2)
    assert (part.id, part.is_part, part.geometry.geom_type) == ("feature/1", True, "MultiPolygon")
    assert part.tags == {"building:part": "yes", "min_height": "3", "building:levels": "4"}
    assert lost(source) == {
        "feature/2": "not tagged as a building",
        "feature/3": "tagged as no building",
        "bare": "not tagged as a building",
        "7": "is no outline but a Point",
        "feature/5": "has no geometry",
        "feature/6": "its geometry cannot be read",
        "feature/7": "lies underground",
        "feature/8": "its outline is empty",
        "feature/10": "its outline has coordinates that are no numbers",
    }
    assert {finding.action for finding in source.findings} == {"dropped"}
    assert source.crs == CRS.from_user_input("OGC:CRS84")
    assert (source.licence, source.attribution) == ("unknown", "unknown")


def test_geojson_gives_all_outlines_when_none_is_tagged_as_a_building(tmp_path: Path) -> None:
    path = write(
        tmp_path / "footprints.geojson",
        collection(
            feature(outline(0), height=7.25, id=3),
            feature(outline(1), height=-1.0, id=3),
            feature(outline(2), landuse="forest"),
        ),
    )
    source = read_map(path)
    # Equal ids get the number of their row.
    assert list(by_id(source)) == ["3", "3#1"]
    assert list(lost(source).values()) == ["tagged as something else than a building"]
    assert source.features[0].tags["height"] == "7.25"


def test_geojson_translates_names_when_they_are_those_of_overture(tmp_path: Path) -> None:
    path = write(
        tmp_path / "overture.geojson",
        collection(
            feature(outline(0), has_parts=True, num_floors=5, facade_material="brick", version=1),
            feature(outline(1), building_id="a", version=1, min_floor=2, roof_material="metal"),
            feature(outline(2), has_parts=False, **{"class": "church"}, is_underground=True),
        ),
    )
    source = read_map(path)
    house, part = source.features
    assert not house.is_part
    assert {"building:levels": "5", "building:material": "brick", "building": "yes"}.items() <= (
        house.tags.items()
    )
    assert part.is_part
    assert (part.tags["building:min_level"], part.tags["roof:material"]) == ("2", "metal")
    assert lost(source) == {"feature/2": "lies underground"}


def test_geojson_gives_every_row_or_its_reason_when_overtures_type_alone_says_what_it_is(
    tmp_path: Path,
) -> None:
    theme = {"theme": "buildings"}
    path = write(
        tmp_path / "mixed.geojson",
        collection(
            feature(outline(0), building="yes", height=5),
            feature(outline(1), type="building", height=9, **theme),
            feature(outline(2), type="building_part", height=9, **theme),
            feature(outline(3), type="place", theme="places"),
            feature(outline(4), height=9),
        ),
    )
    source = read_map(path)
    assert {name: item.is_part for name, item in by_id(source).items()} == {
        "feature/0": False,
        "feature/1": False,
        "feature/2": True,
    }
    assert lost(source) == dict.fromkeys(["feature/3", "feature/4"], "not tagged as a building")


def test_geojson_keeps_all_rows_when_a_name_looks_like_that_of_a_repeated_one(
    tmp_path: Path,
) -> None:
    rows = [feature(outline(i), id=name) for i, name in enumerate(["a", "a#2", "a", "a"])]
    source = read_map(write(tmp_path / "a.geojson", collection(*rows)))
    assert list(by_id(source)) == ["a", "a#2", "a#3", "a#4"]


def test_geojson_gives_footprints_when_their_attribute_building_id_is_not_overtures(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.geojson", collection(feature(outline(), building_id=5)))
    assert not read_map(path).features[0].is_part


def test_geojson_states_its_licence_when_it_says_where_it_is_from(tmp_path: Path) -> None:
    note = "The data included in this document is from www.openstreetmap.org."
    path = write(tmp_path / "a.json", collection(feature(outline()), copyright=note))
    source = read_map(path)
    assert (source.licence, source.attribution) == ("ODbL-1.0", "(c) OpenStreetMap contributors")
    members = {"source": "city survey", "license": "CC-BY-4.0", "attribution": "the city"}
    source = read_map(write(path, collection(feature(outline()), **members)))
    assert (source.source, source.licence, source.attribution) == tuple(members.values())


@pytest.mark.parametrize("name", ["one.geojson", "lines.geojsonl", "marked.geojson"])
def test_geojson_is_read_when_it_is_one_feature_or_lines_or_has_a_byte_order_mark(
    tmp_path: Path, name: str
) -> None:
    text = json.dumps(feature(outline(), tags={"building": "yes", "height": "9"}))
    text = {"lines.geojsonl": f"{text}\n{text}\n\n", "marked.geojson": f"\ufeff{text}"}.get(
        name, text
    )
    source = read_map(write(tmp_path / name, text))
    assert len(source.features) == (2 if name == "lines.geojsonl" else 1)
    assert source.features[0].tags["height"] == "9"


def test_geojson_has_its_own_crs_when_it_has_the_old_member(tmp_path: Path) -> None:
    geometry = {"type": "Polygon", "coordinates": [ring(*UTM, 10.0)]}
    member = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25832"}}
    path = write(tmp_path / "utm.geojson", collection(feature(geometry), crs=member))
    assert read_map(path).crs == CRS.from_epsg(25832)
    assert read_map(path, crs="EPSG:32632").crs == CRS.from_epsg(32632)
    with pytest.raises(ConfigError, match="--crs 'EPSG:1' is not a known"):
        read_map(path, crs="EPSG:1")


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        (None, "is not stated"),
        ({"type": "link", "properties": {"href": "http://example.com"}}, "is not stated"),
        ({"type": "name", "properties": {"name": "EPSG:1"}}, "'EPSG:1' is not known"),
    ],
)
def test_geojson_is_refused_when_its_crs_is_unknown(
    tmp_path: Path, member: Json | None, shown: str
) -> None:
    path = write(tmp_path / "a.geojson", collection(feature(outline()), crs=member))
    with pytest.raises(SceneError, match=f"reference system {shown}; say with --crs"):
        read_map(path)


CORNERS = [(0, 0), (4, 0), (4, 4), (0, 4), (1, 1), (2, 1), (2, 2), (1, 2)]
CORNERS += [(6, 0), (7, 0), (7, 1), (6, 1)]
NODES = {i: (LON + x * STEP, LAT + y * STEP) for i, (x, y) in enumerate(CORNERS, start=1)}
WAYS: dict[int, tuple[list[int], dict[str, str]]] = {
    20: ([1, 2, 3, 4, 1], {"building": "yes"}),  # also the outline of relation 40
    21: ([5, 6, 7, 8, 5], {}),
    22: ([9, 10, 11, 12, 9], {"building:part": "yes", "min_height": "3", "height": "9"}),
    23: ([9, 10, 11], {"building": "yes"}),  # open
    24: ([9, 10, 99, 12, 9], {"building": "yes"}),  # a node is missing
    25: ([9, 11, 10, 12, 9], {"building": "shed"}),  # a bow tie, which others repair
    26: ([9, 10, 9], {"building": "yes"}),
    27: ([9, 10, 11, 12, 9], {"building": "no"}),
    28: ([9, 10, 11, 12, 9], {"highway": "pedestrian"}),
}
RELATIONS: dict[int, tuple[list[tuple[str, int, str]], dict[str, str]]] = {
    40: (
        [("w", 20, "outer"), ("w", 21, "inner")],
        {"type": "multipolygon", "building": "yes", "building:levels": "5"},
    ),
    41: (
        [("w", 21, "outer"), ("w", 77, "outer"), ("w", 23, "outer")],
        {"type": "multipolygon", "building": "yes"},
    ),
    42: ([("w", 22, "part"), ("w", 25, "outline")], {"type": "building", "building": "yes"}),
    43: ([("w", 21, "outline")], {"type": "building", "building": "yes"}),
    44: ([("w", 21, "")], {"type": "site", "building": "yes"}),
}


def osm_xml(*, nodes_first: bool = True) -> str:
    def tags(values: dict[str, str]) -> str:
        return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in values.items())

    nodes = "".join(
        f'<node id="{i}" version="1" lon="{lon:.7f}" lat="{lat:.7f}"/>'
        for i, (lon, lat) in NODES.items()
    )
    ways = "".join(
        f'<way id="{i}" version="1">{"".join(f"<nd ref={chr(34)}{n}{chr(34)}/>" for n in refs)}'
        f"{tags(values)}</way>"
        for i, (refs, values) in WAYS.items()
    )
    kinds = {"w": "way"}
    relations = "".join(
        f'<relation id="{i}" version="1">'
        + "".join(f'<member type="{kinds[t]}" ref="{r}" role="{role}"/>' for t, r, role in members)
        + f"{tags(values)}</relation>"
        for i, (members, values) in RELATIONS.items()
    )
    body = nodes + ways + relations if nodes_first else relations + ways + nodes
    return f'<?xml version="1.0"?><osm version="0.6" generator="test">{body}</osm>'


def write_pbf(path: Path) -> Path:
    with osmium.SimpleWriter(str(path)) as writer:
        for i, lonlat in NODES.items():
            writer.add_node(osmium.osm.mutable.Node(id=i, location=lonlat, version=1))
        for i, (refs, tags) in WAYS.items():
            writer.add_way(osmium.osm.mutable.Way(id=i, nodes=refs, tags=tags, version=1))
        for i, (members, tags) in RELATIONS.items():
            writer.add_relation(
                osmium.osm.mutable.Relation(id=i, members=members, tags=tags, version=1)
            )
    return path


OsmFile = Callable[[Path], Path]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: write(folder / "block.osm", osm_xml()),
        lambda folder: write(folder / "block.osm.xml", osm_xml(nodes_first=False)),
        lambda folder: write_pbf(folder / "block.osm.pbf"),
    ],
    ids=["xml", "xml out of order", "pbf"],
)
def test_osm_gives_buildings_with_courtyards_and_says_what_is_lost(
    tmp_path: Path, make: OsmFile
) -> None:
    source = read_map(make(tmp_path))
    features = by_id(source)
    assert list(features) == ["way/22", "way/25", "relation/40", "relation/41", "relation/43"]
    courtyard = features["relation/40"]
    # The outer ring is tagged too; if it counted, merging it would fill the courtyard.
    assert courtyard.geometry.area == pytest.approx(15 * STEP**2, rel=1e-4)
    assert courtyard.geometry.geom_type == "MultiPolygon"
    assert courtyard.tags["building:levels"] == "5"
    assert features["way/22"].is_part
    assert features["way/22"].tags == {"building:part": "yes", "min_height": "3", "height": "9"}
    assert not features["way/25"].geometry.is_valid
    assert lost(source) == {
        "way/20": "is tagged like the relation it outlines",
        "way/23": "is tagged like the relation it outlines",
        "way/24": "some of its nodes are not in the file",
        "way/26": "its outline has fewer than three corners",
        "way/27": "tagged as no building",
        "relation/41": "a part of its outline closes no ring and is left out",
        "relation/44": "is a relation of type 'site', which has no outline",
    }
    assert (source.licence, source.attribution) == ("ODbL-1.0", "(c) OpenStreetMap contributors")


def test_osm_is_read_when_an_editor_gave_new_objects_negative_ids(tmp_path: Path) -> None:
    text = osm_xml()
    for number in (22, 9):
        text = text.replace(f'id="{number}"', f'id="-{number}"')
        text = text.replace(f'ref="{number}"', f'ref="-{number}"')
    features = by_id(read_map(write(tmp_path / "edited.osm", text)))
    assert set(features) == {"way/-22", "way/25", "relation/40", "relation/41", "relation/43"}
    assert features["way/-22"].geometry.area == pytest.approx(STEP**2, rel=1e-4)
    deleted = text.replace('<way id="25"', '<way id="25" action="delete"')
    with pytest.raises(SceneError, match="deleted in an editor and not uploaded"):
        read_map(write(tmp_path / "edited.osm", deleted))


@pytest.mark.parametrize("lon", ["nan", "500", "inf", "x"])
def test_osm_is_refused_when_a_coordinate_is_none(tmp_path: Path, lon: str) -> None:
    text = osm_xml().replace(f'lon="{LON:.7f}"', f'lon="{lon}"', 1)
    with pytest.raises(SceneError, match=rf"odd\.osm is no valid .* coordinate: '{lon}'"):
        read_map(write(tmp_path / "odd.osm", text))


def box_solid(first: int) -> list[list[list[list[int]]]]:
    """Boundaries of a box with corners 0-3 below and 4-7 above, normals outwards."""
    faces = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
    return [[[[first + i for i in face]] for face in faces]]


def box_vertices(x: int, y: int, side: int, low: int, high: int) -> list[list[int]]:
    base = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    return [[*point, z] for z in (low, high) for point in base]


BOX_SEMANTICS = {
    "surfaces": [{"type": "GroundSurface"}, {"type": "RoofSurface"}, {"type": "WallSurface"}],
    "values": [[0, 1, 2, 2, 2, 2]],
}


def solid(lod: Any, first: int = 0, **members: Any) -> Json:
    return {"type": "Solid", "lod": lod, "boundaries": box_solid(first), **members}


def city(objects: Json, vertices: list[list[int]], **members: Any) -> Json:
    return {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [0.001, 0.001, 0.001], "translate": [85_000.0, 446_000.0, 10.0]},
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/7415"},
        "CityObjects": objects,
        "vertices": vertices,
        **members,
    }


def test_cityjson_gives_outline_and_height_when_it_is_lod_1(tmp_path: Path) -> None:
    building = {
        "type": "Building",
        "attributes": {"measuredHeight": 99.0, "storeysAboveGround": 3, "owner": {"a": 1}},
        "geometry": [solid("1.2")],
    }
    road = {"type": "Road", "geometry": []}
    vertices = box_vertices(2000, 3000, 10_000, 500, 12_750)
    path = write(tmp_path / "a.city.json", city({"b1": building, "road": road}, vertices))
    source = read_map(path)
    (found,) = source.features
    assert found.id == "b1"
    assert shapely.equals(found.geometry, shapely.box(85_002, 446_003, 85_012, 446_013))
    assert float(found.tags["height"]) == pytest.approx(12.25)
    assert found.tags["building:levels"] == "3"
    assert "owner" not in found.tags
    assert found.surfaces == ()
    assert source.crs == CRS.from_epsg(28992)
    assert lost(source) == {"road": "is a Road, no building"}


@pytest.mark.parametrize("semantics", [{"semantics": BOX_SEMANTICS}, {}])
def test_cityjson_gives_faces_when_it_is_lod_2(tmp_path: Path, semantics: Json) -> None:
    building = {
        "type": "Building",
        "geometry": [solid(1.0, first=8), solid("2.2", **semantics), solid("3.0", first=8)],
    }
    vertices = box_vertices(0, 0, 8000, -1000, 5000) + box_vertices(0, 0, 9000, 0, 90_000)
    (found,) = read_map(write(tmp_path / "a.json", city({"b": building}, vertices))).features
    assert found.tags == {"height": "6.000"}
    assert [face.kind for face in found.surfaces] == ["ground", "roof", *["wall"] * 4]
    points = np.concatenate([face.rings[0] for face in found.surfaces])
    assert (points[:, 2].min(), points[:, 2].max()) == pytest.approx((0.0, 6.0))
    assert found.geometry.area == pytest.approx(64.0)
    assert all(face.rings[0].shape == (4, 3) for face in found.surfaces)


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": [[0, 1, 2, 2, 2]]},
        {"values": [[0, 1, 2, 2, 2, 2, 2]]},
        {"values": [0, 1, 2, 2, 2, 2]},
        {"values": [[0, 1, 2, 2, 2, 7]]},
        {"values": [[0, 1, 2, 2, 2, -1]]},
        {"values": []},
        {"surfaces": [{}, {}, {}]},
        {"surfaces": 3},
    ],
)
def test_cityjson_keeps_a_building_when_its_semantics_do_not_fit(
    wrong: Json, tmp_path: Path
) -> None:
    building = {"type": "Building", "geometry": [solid("2.2", semantics=BOX_SEMANTICS | wrong)]}
    path = write(tmp_path / "a.json", city({"b": building}, box_vertices(0, 0, 8000, 0, 5000)))

    source = read_map(path)

    assert [face.kind for face in source.features[0].surfaces] == ["ground", "roof", *["wall"] * 4]
    (finding,) = source.findings
    assert (finding.action, finding.building) == ("repaired", "b")
    assert finding.reason == "semantics that do not fit its faces, which are told by their shape"


@pytest.mark.parametrize("values", [None, [None], [[0, 1, None, None, None, None]]])
def test_cityjson_says_nothing_when_faces_have_no_semantics(values: Any, tmp_path: Path) -> None:
    semantics = BOX_SEMANTICS | {"values": values}
    building = {"type": "Building", "geometry": [solid("2.2", semantics=semantics)]}
    path = write(tmp_path / "a.json", city({"b": building}, box_vertices(0, 0, 8000, 0, 5000)))

    source = read_map(path)

    assert [face.kind for face in source.features[0].surfaces] == ["ground", "roof", *["wall"] * 4]
    assert source.findings == ()


@pytest.mark.parametrize("transform", [{}, {"transform": None}])
@pytest.mark.parametrize("version", ["1.1", "2.0", "2.0.1"])
def test_cityjson_is_refused_when_nothing_scales_its_whole_numbers(
    version: str, transform: Json, tmp_path: Path
) -> None:
    document = city({"b": {"type": "Building", "geometry": [solid("1")]}}, [], version=version)
    del document["transform"]
    document |= {"vertices": box_vertices(85_000, 446_000, 20, 0, 9), **transform}

    with pytest.raises(SceneError, match=rf"its 'transform' is missing, which CityJSON {version}"):
        read_map(write(tmp_path / "a.city.json", document))


@pytest.mark.parametrize(
    ("version", "step", "num_findings"), [("2.0", 0.5, 1), ("1.0", 0.5, 0), ("1.0", 1, 0)]
)
def test_cityjson_is_read_when_its_vertices_are_coordinates(
    version: str, step: float, num_findings: int, tmp_path: Path
) -> None:
    vertices: Any = [
        [x * step, y * step, z * step] for x, y, z in box_vertices(85_001, 446_001, 21, 0, 9)
    ]
    document = city({"b": {"type": "Building", "geometry": [solid("1")]}}, vertices)
    document["version"] = version
    del document["transform"]

    source = read_map(write(tmp_path / "a.city.json", document))

    assert source.features[0].geometry.area == pytest.approx((21 * step) ** 2)
    assert len(source.findings) == num_findings
    assert all("no 'transform', which" in finding.reason for finding in source.findings)


def test_cityjson_tells_roofs_when_nothing_but_their_slope_says_so_in_degrees(
    tmp_path: Path,
) -> None:
    # In degrees and metres mixed, every face looks vertical: lengths must be made alike first.
    building = {"type": "Building", "geometry": [solid("2.2")]}
    vertices = box_vertices(0, 0, 100, 0, 5_000_000)
    for corner in (6, 7):
        vertices[corner][2] = 6_000_000
    document = city({"b": building}, vertices)
    document["transform"] = {"scale": [1e-6, 1e-6, 1e-6], "translate": [LON, LAT, 500.0]}
    document["metadata"]["referenceSystem"] = "urn:ogc:def:crs:EPSG::4979"
    source = read_map(write(tmp_path / "a.json", document))
    assert [face.kind for face in source.features[0].surfaces] == ["ground", "roof", *["wall"] * 4]
    assert float(source.features[0].tags["height"]) == pytest.approx(6.0)


def test_cityjson_gives_parts_in_place_of_an_outline_when_they_are_finer(tmp_path: Path) -> None:
    footprint = {"type": "MultiSurface", "lod": "0", "boundaries": [[[0, 1, 2, 3]]]}
    objects = {
        "b": {
            "type": "Building",
            "attributes": {"building:material": "brick"},
            "children": ["p1", "p2", "p3", "gone"],
            "geometry": [footprint],
        },
        "p1": {"type": "BuildingPart", "parents": ["b"], "geometry": [solid("1")]},
        "p2": {"type": "BuildingPart", "parents": ["b"], "geometry": [solid("1", first=8)]},
        "p3": {"type": "BuildingPart", "parents": ["b"], "geometry": [solid("1", first=16)]},
        "orphan": {"type": "BuildingPart", "parents": ["x"], "geometry": [solid("1")]},
    }
    vertices = (
        box_vertices(0, 0, 10_000, 0, 9000)
        + box_vertices(0, 0, 5000, 9000, 30_000)
        + box_vertices(10_000, 0, 5000, 800, 6800)
    )
    features = by_id(read_map(write(tmp_path / "a.json", city(objects, vertices))))
    assert set(features) == {"p1", "p2", "p3", "orphan"}
    assert all(found.is_part for found in features.values())
    heights = {name: dict(found.tags) for name, found in features.items()}
    assert heights["p1"] == {"height": "9.000", "building:material": "brick"}
    assert (heights["p2"]["height"], heights["p2"]["min_height"]) == ("30.000", "9.000")
    # It begins 0.8 m higher, on sloping ground, and does not hover.
    assert heights["p3"]["height"] == "6.000"
    assert "min_height" not in heights["p3"]


def test_cityjson_gives_the_outer_shell_and_holes_when_a_solid_has_them(tmp_path: Path) -> None:
    vertices = box_vertices(0, 0, 9000, 0, 3000) + box_vertices(3000, 3000, 3000, 0, 3000)
    geometry = solid("1", semantics={"surfaces": [], "values": None})
    geometry["boundaries"][0][0].append([8, 9, 10, 11])
    geometry["boundaries"].append([[[8, 9, 10]]])
    multi = {"type": "MultiSolid", "lod": "1", "boundaries": [geometry["boundaries"]]}
    objects = {
        "a": {"type": "Building", "geometry": [geometry]},
        "b": {"type": "Building", "geometry": [multi]},
    }
    for found in read_map(write(tmp_path / "a.json", city(objects, vertices))).features:
        assert found.geometry.area == pytest.approx(81.0 - 9.0)


def test_cityjson_says_what_is_lost_when_geometry_is_missing_or_broken(tmp_path: Path) -> None:
    bad = solid("1")
    bad["boundaries"][0][2] = [[0, 1, 99]]
    negative = solid("1")
    negative["boundaries"][0][2] = [[0, 1, -1]]
    line = {"type": "MultiLineString", "lod": "1", "boundaries": [[0, 1]]}
    flat = {"type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 5, 4]]]}
    objects = {
        "good": {"type": "Building", "geometry": [solid("1")]},
        "none": {"type": "Building"},
        "bad": {"type": "Building", "geometry": [bad]},
        "negative": {"type": "Building", "geometry": [negative]},
        "fine": {"type": "Building", "geometry": [solid("3.1")]},
        "line": {"type": "Building", "geometry": [line]},
        "flat": {"type": "Building", "geometry": [flat]},
        "tree": {"type": "SolitaryVegetationObject", "geometry": [solid("1")]},
        "alone": {"type": "BuildingPart", "geometry": [solid("1")], "parents": ["good"]},
    }
    source = read_map(write(tmp_path / "a.json", city(objects, box_vertices(0, 0, 9, 0, 9))))
    assert list(by_id(source)) == ["good", "alone"]
    assert lost(source) == {
        "tree": "is a SolitaryVegetationObject, no building",
        "none": "has no geometry",
        "bad": "its geometry cannot be read",
        "negative": "its geometry cannot be read",
        "fine": "is modelled at LoD 3.1 only",
        "line": "its geometry is a MultiLineString, which has no faces of its own",
        "flat": "its faces enclose no area",
    }


def test_cityjson_reads_heights_in_feet_when_its_crs_is_in_feet(tmp_path: Path) -> None:
    building = {"type": "Building", "geometry": [solid("1")]}
    document = city({"b": building}, box_vertices(0, 0, 10_000, 0, 100_000))
    document["metadata"]["referenceSystem"] = "urn:ogc:def:crs:EPSG::2263"
    (found,) = read_map(write(tmp_path / "a.json", document)).features
    # 100 US survey feet of 1200 / 3937 m; tags hold millimetres.
    assert float(found.tags["height"]) == pytest.approx(100 * 1200 / 3937, abs=1e-3)


@pytest.mark.parametrize(
    ("crs", "height_m"), [("EPSG:2263+5703", 100.0), ("EPSG:25832+6360", 30.48)]
)
def test_cityjson_reads_heights_in_their_own_unit_when_the_given_crs_has_one(
    tmp_path: Path, crs: str, height_m: float
) -> None:
    building = {"type": "Building", "geometry": [solid("1")]}
    document = city({"b": building}, box_vertices(0, 0, 10_000, 0, 100_000))
    source = read_map(write(tmp_path / "a.json", document), crs=crs)
    assert float(source.features[0].tags["height"]) == pytest.approx(height_m, abs=1e-3)
    assert source.crs == CRS(crs).to_2d()


def test_cityjson_keeps_the_attribute_when_its_faces_are_flat(tmp_path: Path) -> None:
    flat = {"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2, 3]]]}
    building = {"type": "Building", "geometry": [flat], "attributes": {"measuredHeight": 7.5}}
    document = city({"b": building}, box_vertices(0, 0, 10_000, 0, 1))
    (found,) = read_map(write(tmp_path / "a.json", document)).features
    assert found.tags["height"] == "7.5"


def test_cityjson_sequence_gives_all_features_when_each_has_its_own_vertices(
    tmp_path: Path,
) -> None:
    building = {"type": "Building", "geometry": [solid("1")]}
    lines = [city({}, [])] + [
        {
            "type": "CityJSONFeature",
            "id": name,
            "CityObjects": {name: building},
            "vertices": box_vertices(x, 0, 9000, 0, 3000),
        }
        for name, x in (("a", 0), ("b", 20_000))
    ]
    path = write(tmp_path / "a.city.jsonl", "\n".join(map(json.dumps, lines)))
    features = by_id(read_map(path))
    assert [features[name].geometry.bounds[0] for name in "ab"] == [85_000.0, 85_020.0]


SCALED_UP = {"transform": {"scale": [1e10, 1, 1], "translate": [0, 0, 0]}}
SCALED_TO_NOTHING = {"transform": {"scale": [1, 0, 1], "translate": [0, 0, 0]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {}}, "its reference system is not stated; say with --crs"),
        ({"vertices": None}, "its 'vertices' or 'transform' are missing or broken"),
        ({"transform": {"scale": [1]}}, "its 'vertices' or 'transform' are missing or broken"),
        ({"vertices": 5, "transform": None, "version": "1.0"}, "are missing or broken"),
        ({"vertices": [[float("nan"), 0, 0]] * 8}, "are missing or broken"),
        ({"vertices": [[10**400, 0, 0]] * 8}, "are missing or broken"),
        ({"vertices": [[1e308, 0, 0]] * 8, **SCALED_UP}, "are missing or broken"),
        (SCALED_TO_NOTHING, "are missing or broken"),
        ({"transform": {"scale": [1, 1, 1], "translate": [0, 0, float("inf")]}}, "or broken"),
        ({"CityObjects": []}, "its 'CityObjects' must be an object of objects"),
        ({"CityObjects": {}}, "holds no building that could be read"),
    ],
)
def test_cityjson_is_refused_when_it_lacks_what_all_have(
    tmp_path: Path, change: Json, message: str
) -> None:
    building = {"type": "Building", "geometry": [solid("1")]}
    document = {**city({"b": building}, box_vertices(0, 0, 9000, 0, 3000)), **change}
    with pytest.raises(SceneError, match=message):
        read_map(write(tmp_path / "a.json", document))


@pytest.mark.parametrize(
    "member",
    [
        {"attributes": ["a"]},
        {"attributes": 5},
        {"children": 5},
        {"children": [["b"], {}, None, "no such thing"]},
        {"children": "b"},
    ],
    ids=str,
)
def test_cityjson_keeps_a_building_when_a_member_of_it_is_of_another_type(
    tmp_path: Path, member: Json
) -> None:
    building = {"type": "Building", "geometry": [solid("1")], **member}
    odd = {"type": ["Building"], "geometry": [solid("1")]}
    below = {"type": "Building", "geometry": [solid("-inf")]}
    vertices = box_vertices(0, 0, 9000, 0, 3000)
    document = city({"b": building, "odd": odd, "below": below}, vertices)
    source = read_map(write(tmp_path / "a.city.json", document))
    assert {name: found.tags for name, found in by_id(source).items()} == {"b": {"height": "3.000"}}
    assert lost(source) == {
        "odd": "is a ['Building'], no building",
        "below": "is modelled at LoD -inf only",
    }


def write_parquet(path: Path, columns: Json, geo: Json | None, **options: Any) -> Path:
    table = pa.table(columns)
    if geo is not None:
        table = table.replace_schema_metadata({b"geo": json.dumps(geo).encode()})
    pq.write_table(table, path, **options)
    return path


def geo_of(**members: Any) -> Json:
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], **members}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def squares(number: int, x: float = LON, y: float = LAT, side: float = STEP) -> list[bytes]:
    return [
        shapely.to_wkb(shapely.box(x + 3 * i * side, y, x + (3 * i + 1) * side, y + side))
        for i in range(number)
    ]


def test_geoparquet_gives_overtures_buildings_when_there_are_several_row_groups(
    tmp_path: Path,
) -> None:
    columns = {
        "id": ["a", "b", "c", "d"],
        "geometry": [*squares(2), None, b"nonsense"],
        "bbox": [{"xmin": 0.0}] * 4,
        "sources": [[{"dataset": "OpenStreetMap"}]] * 4,
        "has_parts": [False, None, False, False],
        "building_id": [None, "a", None, None],
        "height": [12.5, None, 1.0, 1.0],
        "num_floors": pa.array([4, None, None, None], pa.int32()),
    }
    path = write_parquet(tmp_path / "o.parquet", columns, geo_of(), row_group_size=1)
    source = read_map(path)
    features = by_id(source)
    assert features["a"].tags["height"] == "12.5"
    assert features["a"].tags["building:levels"] == "4"
    assert [features[name].is_part for name in "ab"] == [False, True]
    assert shapely.equals(features["a"].geometry, shapely.from_wkb(squares(1)[0]))
    assert lost(source) == {"c": "has no geometry", "d": "its geometry cannot be read"}
    assert source.licence == "ODbL-1.0"
    assert source.crs == CRS.from_user_input("OGC:CRS84")


@pytest.mark.parametrize(
    "heights",
    [
        pa.array([Decimal("7.00"), None], pa.decimal128(5, 2)),
        pa.array([Decimal(7), None], pa.decimal256(40, 0)),
        pa.array([np.float16(7), None], pa.float16()),
        pa.array([7, None], pa.float32()),
        pa.array([7, None], pa.uint8()),
    ],
    ids=lambda heights: str(heights.type),
)
def test_geoparquet_gives_heights_when_they_are_any_numbers(
    tmp_path: Path, heights: pa.Array
) -> None:
    columns = {"geometry": squares(2), "height": heights}
    source = read_map(write_parquet(tmp_path / "a.parquet", columns, geo_of()))
    assert [found.tags for found in source.features] == [{"height": "7"}, {}]


def test_geoparquet_has_its_own_crs_when_it_states_one(tmp_path: Path) -> None:
    geo = geo_of(crs=CRS.from_epsg(25832).to_json_dict())
    columns = {"geometry": squares(2, *UTM, side=10.0)}
    source = read_map(write_parquet(tmp_path / "a.geoparquet", columns, geo))
    assert (source.crs, list(by_id(source))) == (CRS.from_epsg(25832), ["row/0", "row/1"])
    assert source.licence == "unknown"


@pytest.mark.parametrize(
    ("geo", "message"),
    [
        (None, "is Parquet but not GeoParquet"),
        ({"columns": []}, "is Parquet but not GeoParquet"),
        ({**geo_of(), "primary_column": "shape"}, "name no geometry column that it has"),
        ({**geo_of(), "primary_column": ["geometry"]}, "name no geometry column that it has"),
        ({**geo_of(), "columns": {"geometry": "WKB"}}, "name no geometry column that it has"),
        (geo_of(encoding="polygon"), "must be encoded as WKB, got 'polygon'"),
        (geo_of(crs=None), "its reference system is not stated; say with --crs"),
    ],
)
def test_geoparquet_is_refused_when_its_metadata_do_not_do(
    tmp_path: Path, geo: Json | None, message: str
) -> None:
    with pytest.raises(SceneError, match=message):
        read_map(write_parquet(tmp_path / "a.parquet", {"geometry": squares(1)}, geo))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1], "int64"),
        ([{"x": 1}], "struct<x: int64>"),
        ([squares(1)[0].hex()], "string"),
        ([[squares(1)[0]]], "list<element: binary>"),
    ],
    ids=["whole number", "struct", "text", "list"],
)
def test_geoparquet_is_refused_when_its_geometry_is_not_binary(
    tmp_path: Path, values: list[Any], kind: str
) -> None:
    with pytest.raises(SceneError, match=rf"must hold WKB.*, got values of type '{kind}'"):
        read_map(write_parquet(tmp_path / "a.parquet", {"geometry": values}, geo_of()))


def test_geoparquet_is_refused_when_two_columns_have_one_name(tmp_path: Path) -> None:
    values = [pa.array(squares(1)), pa.array([3.0]), pa.array([4.0])]
    table = pa.Table.from_arrays(values, names=["geometry", "height", "height"])
    table = table.replace_schema_metadata({b"geo": json.dumps(geo_of()).encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SceneError, match="has two columns 'height'"):
        read_map(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "name", ["a.geojson", "a.json", "a.city.json", "a.osm", "a.osm.pbf", "a.parquet"]
)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"hello, I am no map", "is no valid"),
        (b"\xff\xfe\x00\x01PK", "is no "),
    ],
    ids=["missing", "empty", "foreign text", "foreign bytes"],
)
def test_map_is_refused_when_it_is_missing_empty_or_foreign(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SceneError, match=message):
        read_map(path)


@pytest.mark.parametrize("kind", ["a.geojson", "a.city.json", "a.osm", "a.osm.pbf", "a.parquet"])
def test_map_is_refused_when_it_is_cut_off(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    building = {"type": "Building", "geometry": [solid("1")]}
    make: dict[str, Callable[[], Path]] = {
        "a.geojson": lambda: write(path, collection(feature(outline()))),
        "a.city.json": lambda: write(path, city({"b": building}, box_vertices(0, 0, 9, 0, 3))),
        "a.osm": lambda: write(path, osm_xml()),
        "a.osm.pbf": lambda: write_pbf(path),
        "a.parquet": lambda: write_parquet(path, {"geometry": squares(1)}, geo_of()),
    }
    content = make[kind]().read_bytes()
    assert read_map(path).features
    path.write_bytes(content[: 2 * len(content) // 3])
    with pytest.raises(SceneError, match=r"is no valid .* cut off"):
        read_map(path)


def test_map_is_refused_when_its_type_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"'\.shp' are not read; give one of \.geojson, .*\.pbf"):
        read_map(write(tmp_path / "a.shp", "x"))
    with pytest.raises(SceneError, match="maps without a suffix are not read"):
        read_map(write(tmp_path / "map", "x"))
    (tmp_path / "b.osm").mkdir()
    with pytest.raises(SceneError, match="is a folder, not a map file"):
        read_map(tmp_path / "b.osm")


@pytest.mark.parametrize("content", ["[1, 2]", '{"type": "Topology"}', '{"a": 1}', "3"])
def test_map_is_refused_when_its_json_is_something_else(tmp_path: Path, content: str) -> None:
    with pytest.raises(SceneError, match="is no map: expected"):
        read_map(write(tmp_path / "a.json", content))


@pytest.mark.parametrize("name", ["a.geojson", "a.geojsonl"])
def test_geojson_is_refused_when_a_key_is_given_twice(tmp_path: Path, name: str) -> None:
    text = json.dumps(feature(outline(), height=10)).replace(": 10", ': 10, "height": 20')
    with pytest.raises(SceneError, match="key 'height' is given 2 times"):
        read_map(write(tmp_path / name, text))


@pytest.mark.parametrize("features", [{}, [1], None])
def test_map_is_refused_when_its_features_are_no_objects(tmp_path: Path, features: Any) -> None:
    path = write(tmp_path / "a.json", {"type": "FeatureCollection", "features": features})
    with pytest.raises(SceneError, match="its 'features' must be a list of objects"):
        read_map(path)


def test_map_is_refused_when_it_holds_no_building(tmp_path: Path) -> None:
    park = collection(feature(outline(), leisure="park"))
    with pytest.raises(SceneError, match="holds no building that could be read"):
        read_map(write(tmp_path / "a.geojson", park))
    point = {"type": "Point", "coordinates": [LON, LAT]}
    points = collection(feature(point, building="yes"), feature(point, building="yes"))
    with pytest.raises(SceneError, match="2 features left out: is no outline but a Point"):
        read_map(write(tmp_path / "a.geojson", points))
    empty = '<?xml version="1.0"?><osm version="0.6"></osm>'
    with pytest.raises(SceneError, match="holds no building that could be read"):
        read_map(write(tmp_path / "a.osm", empty))


def metric(x: float = UTM[0]) -> Json:
    return {"type": "Polygon", "coordinates": [ring(x, UTM[1], 10.0)]}


def test_map_is_refused_when_it_holds_metres_in_place_of_degrees(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", collection(feature(metric()), feature(metric())))
    with pytest.raises(
        SceneError, match=r"expected degrees .*'feature/0' is at x = 691000, y = 5334000.*--crs"
    ):
        read_map(path)
    assert len(read_map(path, crs="EPSG:25832").features) == 2


def test_map_is_refused_when_it_holds_degrees_in_place_of_metres(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", collection(feature(outline())))
    with pytest.raises(SceneError, match=r"coordinates in metres .*x = 11\.57, y = 48\.14.*4326"):
        read_map(path, crs="EPSG:25832")


@pytest.mark.parametrize("crs", [None, "EPSG:25832"])
def test_map_is_refused_when_it_mixes_degrees_and_metres(tmp_path: Path, crs: str | None) -> None:
    path = write(
        tmp_path / "a.geojson",
        collection(feature(outline()), feature(outline()), feature(metric())),
    )
    number = 1 if crs is None else 2
    with pytest.raises(SceneError, match=f"mixes degrees and metres: {number} of 3 buildings"):
        read_map(path, crs=crs)


def test_map_is_refused_when_its_features_have_different_crs(tmp_path: Path) -> None:
    member = {"type": "name", "properties": {"name": "EPSG:25832"}}
    path = write(
        tmp_path / "a.geojson", collection(feature(outline()), {**feature(metric()), "crs": member})
    )
    path = write(path, collection({**feature(outline()), "crs": None}, crs=member))
    with pytest.raises(SceneError, match="mixes reference systems"):
        read_map(path)


def test_map_is_refused_when_latitudes_come_first(tmp_path: Path) -> None:
    geometry = {"type": "Polygon", "coordinates": [ring(40.0, -120.0, 0.001)]}
    path = write(tmp_path / "a.geojson", collection(feature(geometry)))
    with pytest.raises(SceneError, match="latitudes first, so swap them"):
        read_map(path)


def test_map_is_read_when_a_metric_one_has_a_building_near_its_origin(tmp_path: Path) -> None:
    rings = [ring(0.0, 0.0, 10.0), ring(500.0, 0.0, 10.0)]
    features = (feature({"type": "Polygon", "coordinates": [points]}) for points in rings)
    path = write(tmp_path / "a.geojson", collection(*features))
    assert len(read_map(path, crs="+proj=tmerc +lat_0=48 +lon_0=11 +type=crs").features) == 2


class FakeTable:
    """What osmnx gives back: a table with (kind, number) as its index."""

    def __init__(self, features: dict[tuple[str, int], Json]) -> None:
        self.index = list(features)
        self._features = features

    def to_json(self, *, na: str) -> str:
        assert na == "drop"
        features = [{**item, "id": str(key)} for key, item in self._features.items()]
        return json.dumps(collection(*features))


class NothingFoundError(ValueError):
    """As osmnx's own."""


@pytest.fixture
def overpass(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Stand in for osmnx at its boundary: `answer` is called, and boxes are written down."""
    table = FakeTable(
        {
            ("way", 7): feature(outline(), building="yes", height="8"),
            ("node", 3): feature({"type": "Point", "coordinates": [LON, LAT]}, building="yes"),
        }
    )
    fake: Any = types.ModuleType("osmnx")
    state = types.SimpleNamespace(boxes=[], answer=lambda: table, module=fake)

    def features_from_bbox(box: tuple[float, ...], tags: Json) -> FakeTable:
        assert tags == {"building": True, "building:part": True}
        assert fake.settings.use_cache is False
        state.boxes.append(box)
        return state.answer()

    fake.features_from_bbox = features_from_bbox
    fake.settings = types.SimpleNamespace(use_cache=True)
    fake._errors = types.SimpleNamespace(InsufficientResponseError=NothingFoundError)
    monkeypatch.setitem(sys.modules, "osmnx", fake)
    return state


BOX = (11.57, 48.14, 11.58, 48.15)


def test_fetch_keeps_map_date_and_hash_when_it_downloads(
    tmp_path: Path, overpass: types.SimpleNamespace
) -> None:
    path = fetch_map(BOX, tmp_path / "cache")
    source = read_map(path)
    (house,) = source.features
    assert (house.id, house.tags["height"]) == ("way/7", "8")
    assert lost(source) == {"node/3": "is no outline but a Point"}
    assert source.licence == "ODbL-1.0"
    assert "11.57,48.14,11.58,48.15" in source.source
    record = Download.model_validate_json(path.with_suffix(".download.json").read_bytes())
    assert record.bbox == BOX
    assert abs(record.downloaded_on - dt.datetime.now(tz=dt.UTC).date()) <= dt.timedelta(days=1)
    assert overpass.module.settings.use_cache is True


def test_fetch_downloads_once_when_the_box_is_the_same(
    tmp_path: Path, overpass: types.SimpleNamespace
) -> None:
    first = fetch_map(BOX, tmp_path)
    assert fetch_map(BOX, tmp_path) == first
    assert len(overpass.boxes) == 1
    assert fetch_map((11.57, 48.14, 11.58, 48.16), tmp_path) != first
    assert len(overpass.boxes) == 2
    # A download that was cut off has no record, and is made again.
    first.with_suffix(".download.json").unlink()
    assert fetch_map(BOX, tmp_path) == first
    assert len(overpass.boxes) == 3


def test_fetch_refuses_the_cached_map_when_it_was_changed(
    tmp_path: Path, overpass: types.SimpleNamespace
) -> None:
    path = fetch_map(BOX, tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(SceneError, match=r"was changed since its download.*remove it"):
        fetch_map(BOX, tmp_path)
    path.with_suffix(".download.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SceneError, match=r"cannot be read; remove it to download the map again"):
        fetch_map(BOX, tmp_path)


def test_fetch_asks_twice_when_the_box_crosses_the_180_degree_meridian(
    tmp_path: Path, overpass: types.SimpleNamespace
) -> None:
    path = fetch_map((179.99, -17.0, -179.99, -16.9), tmp_path)
    assert overpass.boxes == [(179.99, -17.0, 180.0, -16.9), (-180.0, -17.0, -179.99, -16.9)]
    assert len(json.loads(path.read_text(encoding="utf-8"))["features"]) == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no route to host"), r"cannot download .*\(no route to host\).*network"),
        (ValueError("504 Gateway Timeout"), r"cannot download .*504 Gateway"),
        (
            ConnectionError(
                "HTTPSConnectionPool(host='overpass-api.de', port=443): Max retries exceeded with "
                "url: /api (Caused by NameResolutionError('Failed to resolve'))"
            ),
            r"OpenStreetMap \(the server cannot be reached\); check the network",
        ),
        (
            TimeoutError("HTTPSConnectionPool(host='overpass-api.de'): Read timed out."),
            r"OpenStreetMap \(the server did not answer in time\)",
        ),
        (NothingFoundError("none"), r"has no building in the box 11\.57,48\.14,11\.58,48\.15"),
    ],
)
def test_fetch_is_refused_when_the_network_fails_or_the_box_is_empty(
    tmp_path: Path, overpass: types.SimpleNamespace, error: Exception, message: str
) -> None:
    def fail() -> None:
        raise error

    overpass.answer = fail
    with pytest.raises(SceneError, match=message):
        fetch_map(BOX, tmp_path / "cache")
    assert not list(tmp_path.rglob("*.geojson"))


def test_fetch_refuses_a_box_before_the_download_when_no_scene_could_fill_it(
    tmp_path: Path, overpass: types.SimpleNamespace
) -> None:
    with pytest.raises(
        SceneError, match=r"the box spans .* km, .* 20 km at most; choose a smaller"
    ):
        fetch_map((11.0, 48.0, 12.0, 48.5), tmp_path)
    assert overpass.boxes == []


def test_fetch_names_the_extra_when_osmnx_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "osmnx", None)
    with pytest.raises(ConfigError, match=r'pip install "raymark\[maps\]"'):
        fetch_map(BOX, tmp_path)
