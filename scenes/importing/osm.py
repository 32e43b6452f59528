"""Buildings of OpenStreetMap's own files: XML (`.osm`) and PBF, read by osmium."""

import html
import re
import tempfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path

import osmium
import shapely
from pyproj import CRS

from raymark.errors import SceneError
from raymark.scenes.importing.buildings import Footprint, SourceMap
from raymark.scenes.importing.geojson import OSM_ATTRIBUTION, OSM_LICENCE, select_buildings
from raymark.scenes.importing.local_frame import WGS84
from raymark.scenes.importing.map_file import is_packed, plain_name, read_bytes
from raymark.scenes.importing.osm_rows import (
    KINDS,
    OsmBuildings,
    OsmNode,
    OsmRelation,
    OsmWay,
    rows_of,
    tags_by_outline,
)

_NEW = 2**40
"""Above all ids of OpenStreetMap; what an editor calls -5 is this plus 5 while it is read."""
_NEGATIVE = re.compile(rb"""(\b(?:id|ref)=["'])-(\d+)""")
_DELETED = re.compile(rb"""\baction=["']delete["']""")
_CHANGES = re.compile(rb"<osmChange\b")
_REMARK = re.compile(rb"<remark\b[^>]*>(.*?)</remark>", re.DOTALL)


def read_osm(path: Path, crs: CRS | None) -> SourceMap:
    """Read ways and multipolygon relations that are buildings or parts of one.

    Raises:
        SceneError: If the file is no OSM file or cut off.
    """
    rows, changes = rows_of(_collect_in_order(path))
    features, findings = select_buildings(rows)
    lost = {finding.building for finding in findings}
    return SourceMap(
        features=features,
        crs=crs or WGS84,
        source=f"{path.name} (OpenStreetMap)",
        licence=OSM_LICENCE,
        attribution=OSM_ATTRIBUTION,
        findings=(*findings, *(change for change in changes if change.building not in lost)),
    )


def broken_off(remark: str, path: Path) -> SceneError:
    """Return the error of an answer that the Overpass API broke off, which its remark says."""
    return SceneError(
        f"{path} is not whole, as the Overpass API remarks: '{' '.join(remark.split())[:200]}'; "
        "download it again, with a longer timeout or a smaller box"
    )


def _collect_in_order(path: Path) -> OsmBuildings:
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
    except (RuntimeError, osmium.InvalidLocationError) as error:
        kind = "PBF" if plain_name(path).endswith(".pbf") else "XML"
        raise SceneError(
            f"{path} is no valid OpenStreetMap {kind} file, or is cut off ({error}); download or "
            "export it again"
        ) from error


def _renumbered(path: Path) -> bytes:
    """Return XML with positive ids: osmium keeps no locations for an editor's new nodes."""
    text = read_bytes(path)
    if _CHANGES.search(text):
        raise SceneError(
            f"{path} holds changes of a map (osmChange), some of which delete what it shows; apply "
            "them to a map first (osmium apply-changes), or give the map itself"
        )
    if remark := _REMARK.search(text):
        raise broken_off(html.unescape(remark[1].decode(errors="replace")), path)
    if _DELETED.search(text):
        raise SceneError(
            f"{path} holds objects that were deleted in an editor and not uploaded; purge or "
            "upload them there and save it again"
        )
    return _NEGATIVE.sub(lambda match: match[1] + str(_NEW + int(match[2])).encode(), text)


def _name(kind: str, number: int) -> str:
    return f"{kind}/{number if number < _NEW else _NEW - number}"


def _collect(path: Path) -> OsmBuildings:
    ways, relations, nodes = {}, {}, []
    areas: dict[int, Footprint] = {}
    tagged = osmium.filter.KeyFilter(*KINDS)
    for item in osmium.FileProcessor(str(path)).with_areas(tagged).with_filter(tagged):
        if isinstance(item, osmium.osm.Node):
            nodes.append(OsmNode(name=_name("node", item.id), tags=dict(item.tags)))
        elif isinstance(item, osmium.osm.Way):
            ways[item.id] = _way(item)
        elif isinstance(item, osmium.osm.Relation):
            relations[item.id] = _relation(item)
        elif isinstance(item, osmium.osm.Area):
            areas |= _area(item)
    by_outline = _relations_by_outline(path, ways)
    relations |= by_outline
    areas |= _areas_of(path, by_outline.keys())
    wanted = {i for relation in relations.values() for i in relation.ways()} - ways.keys()
    return OsmBuildings(
        ways=ways,
        relations=relations,
        areas=areas,
        nodes=nodes,
        members={item.id: _way(item) for item in _ways_of(path, wanted)},
    )


def _relations_by_outline(path: Path, ways: Mapping[int, OsmWay]) -> dict[int, OsmRelation]:
    """Return the multipolygons that are buildings because their outer ways are."""
    found = {}
    relations = osmium.FileProcessor(str(path), osmium.osm.RELATION)
    for item in relations.with_filter(osmium.filter.TagFilter(("type", "multipolygon"))):
        if isinstance(item, osmium.osm.Relation):
            relation = _relation(item)
            if tags := tags_by_outline(relation, ways):
                found[item.id] = replace(relation, tags=tags)
    return found


def _areas_of(path: Path, wanted: Set[int]) -> dict[int, Footprint]:
    """Return the areas of multipolygons by their ids, whatever they are tagged as."""
    if not wanted:
        return {}
    areas = osmium.FileProcessor(str(path)).with_areas(osmium.filter.IdFilter(wanted))
    found: dict[int, Footprint] = {}
    for item in areas.with_filter(osmium.filter.EntityFilter(osmium.osm.AREA)):
        if isinstance(item, osmium.osm.Area):
            found |= _area(item)
    return found


def _area(item: osmium.osm.Area) -> dict[int, Footprint]:
    """Return the area of a relation by its id, if osmium could build it.

    A way's own nodes are enough, and osmium gives up on outlines that can be repaired.
    """
    if item.from_way() or not item.num_rings()[0]:
        return {}
    wkb = osmium.geom.WKBFactory().create_multipolygon(item)
    return {item.orig_id(): shapely.from_wkb(wkb)}


def _relation(item: osmium.osm.Relation) -> OsmRelation:
    return OsmRelation(
        name=_name("relation", item.id),
        tags=dict(item.tags),
        members=[(member.type, member.ref, member.role) for member in item.members],
    )


def _ways_of(path: Path, wanted: set[int]) -> Iterator[osmium.osm.Way]:
    """Yield ways by their ids, whatever they are tagged as."""
    if not wanted:
        return
    ways = osmium.FileProcessor(str(path)).with_locations()
    ways = ways.with_filter(osmium.filter.EntityFilter(osmium.osm.WAY))
    for item in ways.with_filter(osmium.filter.IdFilter(wanted)):
        if isinstance(item, osmium.osm.Way):
            yield item


def _way(item: osmium.osm.Way) -> OsmWay:
    is_complete = all(node.location.valid() for node in item.nodes)
    return OsmWay(
        name=_name("way", item.id),
        tags=dict(item.tags),
        lonlat_deg=[(node.lon, node.lat) for node in item.nodes] if is_complete else None,
    )
