"""What else maps come as: packed, line by line, from Overpass and GDAL, or as CityGML."""

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import osmium
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from raymark.errors import ConfigError, SceneError
from raymark.scenes.importing.local_frame import make_frame
from raymark.scenes.importing.readers import read_map
from raymark.scenes.importing.terrain import read_terrain

LON, LAT, STEP = 11.57, 48.14, 1e-4
CORNERS = [(LON, LAT), (LON + STEP, LAT), (LON + STEP, LAT + STEP), (LON, LAT + STEP)]
RING = [*CORNERS, CORNERS[0]]

Json = dict[str, Any]


def feature(ring: list[tuple[float, float]] = RING, **properties: Any) -> Json:
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def osm_xml() -> str:
    nodes = "".join(
        f'<node id="{i}" version="1" lon="{x}" lat="{y}"/>' for i, (x, y) in enumerate(CORNERS, 1)
    )
    refs = "".join(f'<nd ref="{i}"/>' for i in (1, 2, 3, 4, 1))
    tags = '<tag k="building" v="yes"/><tag k="height" v="9"/>'
    return f'<osm version="0.6">{nodes}<way id="-7" version="1">{refs}{tags}</way></osm>'


def pbf(folder: Path) -> bytes:
    path = folder / "made.osm.pbf"
    with osmium.SimpleWriter(str(path)) as writer:
        for i, lonlat in enumerate(CORNERS, 1):
            writer.add_node(osmium.osm.mutable.Node(id=i, location=lonlat, version=1))
        tags = {"building": "yes", "height": "9"}
        writer.add_way(osmium.osm.mutable.Way(id=7, nodes=[1, 2, 3, 4, 1], tags=tags, version=1))
    return path.read_bytes()


def parquet(folder: Path) -> bytes:
    path = folder / "made.parquet"
    table = pa.table({"geometry": [shapely.Polygon(RING).wkb], "height": [9.0]})
    geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path.read_bytes()


def content_of(name: str, folder: Path) -> bytes:
    if name.endswith(".pbf"):
        return pbf(folder)
    if name.endswith(".parquet"):
        return parquet(folder)
    text = osm_xml() if name.endswith((".osm", ".xml")) else json.dumps(feature(height=9))
    return text.encode()


@pytest.mark.parametrize(
    "name", ["a.geojson", "a.json", "a.geojsonl", "a.osm", "a.xml", "a.osm.pbf", "a.parquet"]
)
@pytest.mark.parametrize("ending", ["", ".gz", ".bz2"])
def test_map_is_read_when_it_is_packed(name: str, ending: str, tmp_path: Path) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[ending]
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(pack(content_of(name, tmp_path)))

    source = read_map(path)

    (found,) = source.features
    assert found.tags["height"] in {"9", "9.0"}
    assert found.geometry.area == pytest.approx(STEP**2, rel=1e-4)
    assert source.source.startswith(path.name)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.geojson.gz", bytes), ("a.geojson", gzip.compress), ("a.osm", bz2.compress)],
)
def test_map_is_read_when_it_is_packed_otherwise_than_its_name_says(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(content_of(name.removesuffix(".gz"), tmp_path)))

    assert len(read_map(path).features) == 1


@pytest.mark.parametrize("name", ["a.geojson.gz", "a.osm.gz", "a.osm.bz2", "a.parquet.gz"])
@pytest.mark.parametrize("num_bytes", [20, 60])
def test_map_is_refused_when_it_is_packed_and_cut_off(
    name: str, num_bytes: int, tmp_path: Path
) -> None:
    pack = gzip.compress if name.endswith(".gz") else bz2.compress
    path = tmp_path / name
    path.write_bytes(pack(content_of(name.rpartition(".")[0], tmp_path))[:num_bytes])

    with pytest.raises(SceneError, match=r"cannot read .*, or it is cut off"):
        read_map(path)


def test_lines_are_read_when_records_are_separated(tmp_path: Path) -> None:
    """RFC 8142: a record separator before each object."""
    path = tmp_path / "records.geojsonseq"
    path.write_text(f"\x1e{json.dumps(feature())}\n" * 2, encoding="utf-8")

    assert len(read_map(path).features) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tar.gz", b"x", r"maps of type '\.tar\.gz' are not read"),
        (
            "a.geojson",
            json.dumps(feature()).encode("utf-16"),
            r"not text in UTF-8; save it in that",
        ),
        ("a.geojson", b"{}\n{}", r"one object per line is read from \.geojsonl"),
        ("a.json", b'{"type": "Topology"}', r"JSON of type 'Topology'; convert it to GeoJSON"),
        ("a.json", b'{"features": []}', r"JSON of type 'none'; convert it to GeoJSON"),
    ],
)
def test_map_is_refused_with_the_next_step_when_it_is_of_another_kind(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(SceneError, match=message):
        read_map(path)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_at_line_feeds_alone_when_names_hold_other_ends(
    separator: str, end: str, tmp_path: Path
) -> None:
    name = f"A{separator}B"
    line = json.dumps(feature(name=name, height=9), ensure_ascii=ord(separator) < 0x20)
    path = tmp_path / "lines.geojsonl"
    path.write_bytes(f"{line}{end}{line}{end}".encode())

    assert [found.tags["name"] for found in read_map(path).features] == [name, name]


@pytest.mark.parametrize("turn", [0.0, 360.0])
@pytest.mark.parametrize("west", [179.9995, -180.0005, 180.2, -181.0, 200.0])
def test_longitudes_beyond_180_are_those_on_the_other_side(
    west: float, turn: float, tmp_path: Path
) -> None:
    ring = [(west + x - LON, y) for x, y in RING]
    wrapped = [((x + 180) % 360 - 180, y) for x, y in ring]
    other = [(x + turn * (x < 0), y) for x, y in wrapped]
    path = tmp_path / "pacific.geojson"
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature(ring), feature(other)]}),
        encoding="utf-8",
    )

    source = read_map(path)

    frame = make_frame(source)
    first, second = (frame.project(f.geometry, source.crs) for f in source.features)
    assert shapely.hausdorff_distance(first, second) < 1e-3
    assert -180 <= frame.origin_lon_deg <= 180
    assert abs((frame.origin_lon_deg - west - STEP / 2 + 180) % 360 - 180) < 1e-6


@pytest.mark.parametrize("lon", [361.0, -400.0, 691_000.0])
def test_map_is_refused_when_longitudes_are_none(lon: float, tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    ring = [(lon + x - LON, y) for x, y in RING]
    path.write_text(json.dumps(feature(ring)), encoding="utf-8")

    with pytest.raises(SceneError, match="expected degrees"):
        read_map(path)


@pytest.mark.parametrize(
    "other_tags",
    [
        '"building:levels"=>"7","height"=>"21","name"=>"the \\"old\\" one, 2=>1"',
        '{"building:levels": "7", "height": "21", "name": "the \\"old\\" one, 2=>1"}',
        {"building:levels": "7", "height": "21", "name": 'the "old" one, 2=>1'},
    ],
    ids=["hstore", "json", "object"],
)
def test_tags_are_read_when_gdal_keeps_them_together(other_tags: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    row = feature(building="yes", name=None, other_tags=other_tags)
    path.write_text(json.dumps(row), encoding="utf-8")

    (found,) = read_map(path).features

    assert found.tags == {
        "building": "yes",
        "building:levels": "7",
        "height": "21",
        "name": 'the "old" one, 2=>1',
    }


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("HEIGHT", "height"),
        ("Building:Levels", "building:levels"),
        ("building_levels", "building:levels"),
        ("MIN_HEIGHT", "min_height"),
        ("measuredHeight", "height"),
        ("bldg_height", "height"),
    ],
)
def test_attribute_is_hinted_at_when_its_name_is_written_otherwise(
    attribute: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.geojson"
    rows = [feature(building="yes", **{attribute: 5}), feature(building="yes", **{name: 5})]
    rows.append(feature(building="yes", **{name: 5, attribute: 7}))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": rows}), encoding="utf-8")

    (finding,) = read_map(path).findings

    assert finding.building == "feature/0"
    assert finding.reason == f"attribute '{attribute}' is not read; call it '{name}' if it is that"


def points(corners: list[tuple[float, float]]) -> list[Json]:
    return [{"lat": y, "lon": x} for x, y in corners]


def courtyard() -> list[tuple[float, float]]:
    return [(LON + x * STEP, LAT + y * STEP) for x, y in ((0.4, 0.4), (0.6, 0.4), (0.6, 0.6))]


NODES = [{"type": "node", "id": i, "lat": y, "lon": x} for i, (x, y) in enumerate(CORNERS, 1)]
TAGS = {"building": "yes", "height": "12"}
INNER = [*courtyard(), courtyard()[0]]
MEMBERS = [
    {"type": "way", "ref": 1, "role": "outer", "geometry": points(RING)},
    {"type": "way", "ref": 2, "role": "inner", "geometry": points(INNER)},
]
RELATION = {
    "type": "relation",
    "id": 5,
    "tags": {**TAGS, "type": "multipolygon"},
    "members": MEMBERS,
}


@pytest.mark.parametrize(
    ("elements", "name", "area"),
    [
        ([{"type": "way", "id": 1, "tags": TAGS, "geometry": points(RING)}], "way/1", 1.0),
        ([{"type": "way", "id": 1, "tags": TAGS, "nodes": [1, 2, 3, 4, 1]}, *NODES], "way/1", 1.0),
        ([RELATION], "relation/5", 1 - 0.02),
    ],
    ids=["geometry", "nodes", "relation"],
)
def test_overpass_json_is_read_as_the_map_it_is(
    elements: list[Json], name: str, area: float, tmp_path: Path
) -> None:
    path = tmp_path / "overpass.json"
    answer = {"version": 0.6, "generator": "Overpass API", "elements": elements}
    path.write_text(json.dumps(answer), encoding="utf-8")

    source = read_map(path)

    (found,) = source.features
    assert (found.id, found.tags["height"]) == (name, "12")
    assert found.geometry.area == pytest.approx(area * STEP**2, rel=2e-2)
    assert (source.source, source.licence) == ("overpass.json (OpenStreetMap)", "ODbL-1.0")


def test_overpass_json_says_what_is_lost_when_points_are_missing(tmp_path: Path) -> None:
    bare = {"type": "way", "id": 1, "tags": TAGS, "nodes": [1, 2, 3, 4, 1]}
    cut = {"type": "way", "id": 2, "tags": TAGS, "geometry": [*points(RING[:2]), None]}
    whole = {"type": "way", "id": 3, "tags": TAGS, "geometry": points(RING)}
    path = tmp_path / "overpass.json"
    path.write_text(json.dumps({"elements": [bare, cut, whole]}), encoding="utf-8")

    source = read_map(path)

    assert [found.id for found in source.features] == ["way/3"]
    assert {finding.building for finding in source.findings} == {"way/1", "way/2"}


@pytest.mark.parametrize(
    "elements",
    [
        [1],
        [{"type": "way"}],
        [{"type": "node", "id": "x", "lat": 1, "lon": 1}],
        [{"type": "node", "id": 1, "lat": float("nan"), "lon": 1}],
        [{"type": "way", "id": 1, "tags": TAGS, "geometry": [{"lat": 1, "lon": 500}]}],
    ],
)
def test_overpass_json_is_refused_when_an_element_is_none(
    elements: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "overpass.json"
    path.write_text(json.dumps({"elements": elements}), encoding="utf-8")

    with pytest.raises(SceneError, match="looks like an answer of the Overpass API, but"):
        read_map(path)


REMARK = 'runtime error: Query timed out in "query" at line 3 after 26 seconds.'


@pytest.mark.parametrize("elements", [[], NODES], ids=["empty", "elements"])
def test_overpass_json_is_refused_with_its_remark_when_it_was_broken_off(
    elements: list[Json], tmp_path: Path
) -> None:
    path = tmp_path / "overpass.json"
    path.write_text(json.dumps({"elements": elements, "remark": REMARK}), encoding="utf-8")

    with pytest.raises(SceneError, match=rf"overpass\.json is not whole.*'{REMARK}'; download"):
        read_map(path)


@pytest.mark.parametrize("name", ["a.osm", "a.osm.gz"])
def test_overpass_xml_is_refused_with_its_remark_when_it_was_broken_off(
    name: str, tmp_path: Path
) -> None:
    remark = REMARK.replace('"', "&quot;")
    text = osm_xml().replace("</osm>", f"\n<remark> {remark} </remark>\n</osm>").encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)

    with pytest.raises(SceneError, match=rf"{name} is not whole.*'{REMARK}'; download"):
        read_map(path)


@pytest.mark.parametrize("change", ["create", "modify", "delete"])
def test_osm_is_refused_when_it_holds_changes(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.osm"
    text = osm_xml().replace('<osm version="0.6">', f'<osmChange version="0.6"><{change}>')
    path.write_text(text.replace("</osm>", f"</{change}></osmChange>"), encoding="utf-8")

    with pytest.raises(SceneError, match=r"a\.osm holds changes of a map .*; apply"):
        read_map(path)


@pytest.mark.parametrize("name", ["town.gml", "town.xml", "town.citygml", "town.gml.gz"])
@pytest.mark.parametrize("version", ["1.0", "2.0", "3.0"])
def test_citygml_is_refused_with_the_way_to_cityjson(
    name: str, version: str, tmp_path: Path
) -> None:
    text = f'<c:CityModel xmlns:c="http://www.opengis.net/citygml/{version}"></c:CityModel>'
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())

    with pytest.raises(SceneError, match="is CityGML, which is not read; convert it to CityJSON"):
        read_map(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("<kml/>", "is XML that begins with <kml>"), ("<a", "is no valid XML, or is cut off")],
)
def test_xml_is_refused_when_it_is_something_else(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SceneError, match=message):
        read_map(path)


def test_terrain_names_its_own_option_when_its_system_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.asc"
    path.write_text(
        "ncols 2\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 5\n1 1\n", encoding="ascii"
    )
    (tmp_path / "a.prj").write_text("Projection UTM\nZone 32\n", encoding="ascii")

    message = r"system 'Projection UTM Zone 32' is not known; say with --terrain-crs"
    with pytest.raises(SceneError, match=message):
        read_terrain(path)
    with pytest.raises(ConfigError, match=r"^--terrain-crs 'EPSG:1' is not a known"):
        read_terrain(path, crs="EPSG:1")
