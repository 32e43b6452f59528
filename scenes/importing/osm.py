"""Buildings of OpenStreetMap's own files: XML (`.osm`) and PBF, read by osmium."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import osmium
import shapely
from pyproj import CRS

from raymark.errors import SceneError
from raymark.scenes.importing.buildings import SourceMap
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
)

_NEW = 2**40
"""Above all ids of OpenStreetMap; what an editor calls -5 is this plus 5 while it is read."""
_NEGATIVE = re.compile(rb"""(\b(?:id|ref)=["'])-(\d+)""")
_DELETED = re.compile(rb"""\baction=["']delete["']""")


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
    if _DELETED.search(text):
        raise SceneError(
            f"{path} holds objects that were deleted in an editor and not uploaded; purge or "
            "upload them there and save it again"
        )
    return _NEGATIVE.sub(lambda match: match[1] + str(_NEW + int(match[2])).encode(), text)


def _name(kind: str, number: int) -> str:
    return f"{kind}/{number if number < _NEW else _NEW - number}"


def _collect(path: Path) -> OsmBuildings:
    ways, relations, areas, nodes = {}, {}, {}, []
    to_wkb = osmium.geom.WKBFactory()
    tagged = osmium.filter.KeyFilter(*KINDS)
    for item in osmium.FileProcessor(str(path)).with_areas(tagged).with_filter(tagged):
        if isinstance(item, osmium.osm.Node):
            nodes.append(OsmNode(name=_name("node", item.id), tags=dict(item.tags)))
        elif isinstance(item, osmium.osm.Way):
            ways[item.id] = _way(item)
        elif isinstance(item, osmium.osm.Relation):
            relations[item.id] = OsmRelation(
                name=_name("relation", item.id),
                tags=dict(item.tags),
                members=[(member.type, member.ref, member.role) for member in item.members],
            )
        # A way's own nodes are enough, and osmium gives up on outlines that can be repaired.
        elif isinstance(item, osmium.osm.Area) and not item.from_way() and item.num_rings()[0]:
            areas[item.orig_id()] = shapely.from_wkb(to_wkb.create_multipolygon(item))
    wanted = {i for relation in relations.values() for i in relation.ways()} - ways.keys()
    return OsmBuildings(
        ways=ways,
        relations=relations,
        areas=areas,
        nodes=nodes,
        members={item.id: _way(item) for item in _ways_of(path, wanted)},
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
