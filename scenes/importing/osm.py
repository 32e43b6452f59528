"""Buildings of OpenStreetMap's own files: XML (`.osm`) and PBF, read by osmium."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import osmium
import shapely
from pyproj import CRS

from raymark.errors import SceneError
from raymark.scenes.importing.buildings import ImportFinding, SourceMap
from raymark.scenes.importing.geojson import (
    OSM_ATTRIBUTION,
    OSM_LICENCE,
    Row,
    is_building,
    select_buildings,
)
from raymark.scenes.importing.local_frame import WGS84
from raymark.scenes.importing.map_file import is_packed, plain_name, read_bytes

_KEYS = ("building", "building:part")
_NEW = 2**40
"""Above all ids of OpenStreetMap; what an editor calls -5 is this plus 5 while it is read."""
_NEGATIVE = re.compile(rb"""(\b(?:id|ref)=["'])-(\d+)""")
_DELETED = re.compile(rb"""\baction=["']delete["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    tags: dict[str, str]
    is_closed: bool
    lonlat_deg: list[tuple[float, float]] | None
    """None if a node is not in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Relation:
    tags: dict[str, str]
    outer_ways: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collected:
    """All that is tagged as a building, by id; of relations also the areas that came out."""

    ways: dict[int, _Way] = field(default_factory=dict)
    relations: dict[int, _Relation] = field(default_factory=dict)
    areas: dict[int, str] = field(default_factory=dict)


def read_osm(path: Path, crs: CRS | None) -> SourceMap:
    """Read closed ways and multipolygon relations that are buildings or parts of one.

    Raises:
        SceneError: If the file is no OSM file or cut off.
    """
    collected = _collect_in_order(path)
    twice = _outlines_of_relations(collected)
    features, findings = select_buildings(
        [*_way_rows(collected, twice), *_relation_rows(collected)]
    )
    merged = [
        ImportFinding(
            action="merged",
            reason="is tagged like the relation it outlines",
            building=_name("way", way),
        )
        for way in sorted(twice)
    ]
    return SourceMap(
        features=features,
        crs=crs or WGS84,
        source=f"{path.name} (OpenStreetMap)",
        licence=OSM_LICENCE,
        attribution=OSM_ATTRIBUTION,
        findings=(*findings, *merged),
    )


def _collect_in_order(path: Path) -> _Collected:
    """Collect from a file; XML is sorted first, as editors and Overpass write it in any order."""
    try:
        is_pbf = plain_name(path).endswith(".pbf")
        if is_pbf and not is_packed(path):
            return _collect(path)
        with tempfile.TemporaryDirectory() as folder:
            ordered = Path(folder) / "ordered.osm.pbf"
            merger = osmium.MergeInputReader()
            content = read_bytes(path) if is_pbf else _renumbered(path)
            merger.add_buffer(content, "pbf" if is_pbf else "osm")
            with osmium.SimpleWriter(str(ordered)) as writer:
                merger.apply(writer)
            return _collect(ordered)
    except RuntimeError as error:
        kind = "PBF" if plain_name(path).endswith(".pbf") else "XML"
        raise SceneError(
            f"{path} is no valid OpenStreetMap {kind} file, or is cut off ({error}); download or "
            "export it again"
        ) from error


def _renumbered(path: Path) -> bytes:
    """Return XML with positive ids: osmium keeps no locations for an editor's new nodes."""
    text = read_bytes(path)
    if _DELETED.search(text):
        raise SceneError(
            f"{path} holds objects that were deleted in an editor and not uploaded; purge or "
            "upload them there and save it again"
        )
    return _NEGATIVE.sub(lambda match: match[1] + str(_NEW + int(match[2])).encode(), text)


def _name(kind: str, number: int) -> str:
    return f"{kind}/{number if number < _NEW else _NEW - number}"


def _collect(path: Path) -> _Collected:
    collected = _Collected()
    to_wkb = osmium.geom.WKBFactory()
    tagged = osmium.filter.KeyFilter(*_KEYS)
    for item in osmium.FileProcessor(str(path)).with_areas(tagged).with_filter(tagged):
        if isinstance(item, osmium.osm.Way):
            nodes = item.nodes
            is_complete = all(node.location.valid() for node in nodes)
            collected.ways[item.id] = _Way(
                tags=dict(item.tags),
                is_closed=item.is_closed(),
                lonlat_deg=[(node.lon, node.lat) for node in nodes] if is_complete else None,
            )
        elif isinstance(item, osmium.osm.Relation):
            collected.relations[item.id] = _Relation(
                tags=dict(item.tags),
                outer_ways=[
                    member.ref
                    for member in item.members
                    if member.type == "w" and member.role in {"outer", "outline", ""}
                ],
            )
        # A way's own nodes are enough, and osmium gives up on outlines that can be repaired.
        elif isinstance(item, osmium.osm.Area) and not item.from_way() and item.num_rings()[0]:
            collected.areas[item.orig_id()] = to_wkb.create_multipolygon(item)
    return collected


def _outlines_of_relations(collected: _Collected) -> set[int]:
    """Return the ways that repeat a relation's building, which would close its courtyard."""
    twice: set[int] = set()
    for name in collected.areas:
        relation = collected.relations[name]
        for way in relation.outer_ways:
            if way in collected.ways and _kinds(relation.tags) == _kinds(collected.ways[way].tags):
                twice.add(way)
    return twice


def _kinds(tags: dict[str, str]) -> list[bool]:
    return [tags.get(key, "no") != "no" for key in _KEYS]


def _way_rows(collected: _Collected, twice: set[int]) -> Iterator[Row]:
    for name, way in collected.ways.items():
        if name in twice:
            continue
        fault, outline = "", None
        if not way.is_closed:
            fault = "its outline is not closed"
        elif way.lonlat_deg is None:
            fault = "some of its nodes are not in the file"
        elif len(way.lonlat_deg) < 4:
            fault = "its outline has fewer than three corners"
        else:
            outline = shapely.Polygon(way.lonlat_deg)
        yield Row(id=_name("way", name), tags=way.tags, geometry=outline, fault=fault)


def _relation_rows(collected: _Collected) -> Iterator[Row]:
    for name, relation in collected.relations.items():
        kind = relation.tags.get("type", "none")
        fault, outline = "its rings are broken or not all in the file", None
        if name in collected.areas:
            outline = shapely.from_wkb(collected.areas[name])
        elif kind == "building":
            # It only groups an outline and parts, which are buildings on their own.
            ways = [
                collected.ways[way].tags for way in relation.outer_ways if way in collected.ways
            ]
            if any(is_building(tags) for tags in ways):
                continue
            fault = "is a building relation without an outline that is tagged as a building"
        elif kind != "multipolygon":
            fault = f"is a relation of type '{kind}', which has no outline"
        yield Row(id=_name("relation", name), tags=relation.tags, geometry=outline, fault=fault)
