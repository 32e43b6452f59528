"""Buildings of GeoJSON (RFC 7946), and the rules by which any table of outlines is read.

Names of attributes are OpenStreetMap's. Those of Overture's schema are translated; footprints
without any tag (Microsoft's, Google's, a cadastre's) are buildings if nothing in the file is
tagged as one.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import shapely
from pyproj import CRS
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from raymark.config import unique_keys
from raymark.errors import SceneError
from raymark.scenes.importing.buildings import ImportFinding, MapFeature, SourceMap
from raymark.scenes.importing.local_frame import WGS84, crs_of_file
from raymark.scenes.importing.map_file import plain_name, read_bytes
from raymark.scenes.importing.other_tags import unpacked

OSM_LICENCE = "ODbL-1.0"
OSM_ATTRIBUTION = "(c) OpenStreetMap contributors"

_OVERTURE_NAMES = {
    "num_floors": "building:levels",
    "num_floors_underground": "building:levels:underground",
    "min_floor": "building:min_level",
    "facade_material": "building:material",
    "roof_material": "roof:material",
    "roof_shape": "roof:shape",
    "roof_height": "roof:height",
}
_OVERTURE_PAIRS = ({"building_id", "version"}, {"theme", "type"})
# Outlines that carry one of these keys are no footprints, even in a file without a `building`.
_OTHER_KEYS = frozenset(
    {"boundary", "highway", "landuse", "leisure", "natural", "railway", "waterway"}
)
LINE_SUFFIXES = (".jsonl", ".geojsonl", ".ndjson", ".geojsons", ".geojsonseq")
"""Endings of files with one object per line."""
_BLANK = " \t\r\n\x1e"
"""Around an object: white space of JSON, and the record separator of RFC 8142."""
_TOP_LEVEL = ("FeatureCollection", "Feature", "Polygon", "MultiPolygon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table of outlines.

    Attributes:
        id: What the source calls it.
        tags: As `tags_of` gives them.
        geometry: Its geometry, of any type; None if there is none.
        fault: Why its geometry could not be read.
    """

    id: str
    tags: Mapping[str, str]
    geometry: BaseGeometry | None
    fault: str = "has no geometry"


def read_geojson(path: Path, documents: list[dict[str, Any]], crs: CRS | None) -> SourceMap:
    """Read the buildings of a collection, or of one feature per line.

    Raises:
        SceneError: If it is no GeoJSON or mixes reference systems.
    """
    if documents[0].get("type") not in _TOP_LEVEL:
        raise SceneError(
            f"{path} is no map: expected GeoJSON or CityJSON, got JSON of type "
            f"'{documents[0].get('type', 'none')}'; convert it to GeoJSON (QGIS and ogr2ogr can)"
        )
    items = [item for document in documents for item in _items(document, path)]
    features, findings = select_buildings(_row(item, i) for i, item in enumerate(items))
    head = documents[0]
    is_osm = "openstreetmap" in str(head.get("copyright", "")).lower()
    return SourceMap(
        features=features,
        crs=crs or _crs(path, [*documents, *items]),
        source=_text(head, "source") or f"{path.name} (GeoJSON)",
        licence=_text(head, "licence", "license") or (OSM_LICENCE if is_osm else "unknown"),
        attribution=_text(head, "attribution")
        or (OSM_ATTRIBUTION if is_osm else _text(head, "copyright") or "unknown"),
        findings=findings,
    )


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Read a JSON file, or the lines of a `.jsonl` one, as objects; there is at least one.

    Raises:
        SceneError: If it is no JSON, repeats a key, or is something other than objects.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
        # Lines end at \n alone: the other ends of lines that Unicode knows may stand in a name.
        is_lines = plain_name(path).endswith(LINE_SUFFIXES)
        texts = [part.strip(_BLANK) for part in text.split("\n")] if is_lines else [text]
        documents = [
            json.loads(part, object_pairs_hook=unique_keys) for part in texts if part.strip()
        ]
    except UnicodeDecodeError as error:
        raise SceneError(
            f"{path} is no JSON: it is not text in UTF-8; save it in that encoding (an editor can, "
            "and iconv)"
        ) from error
    except (ValueError, RecursionError) as error:
        advice = (
            "; one object per line is read from .geojsonl" if "Extra data" in str(error) else ""
        )
        raise SceneError(f"{path} is no valid JSON, or is cut off: {error}{advice}") from error
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise SceneError(f"{path} is no map: expected a JSON object of GeoJSON or CityJSON")
    return documents


def select_buildings(
    rows: Iterable[Row],
) -> tuple[tuple[MapFeature, ...], tuple[ImportFinding, ...]]:
    """Choose the rows that are buildings; all others become findings."""
    rows = list(rows)
    any_tagged = any("building" in row.tags or "building:part" in row.tags for row in rows)
    taken = {row.id for row in rows}
    features: dict[str, MapFeature] = {}
    findings = []
    for index, row in enumerate(rows):
        fault = _other_than_building(row.tags, any_tagged=any_tagged) or _fault(row)
        if fault:
            findings.append(ImportFinding(action="dropped", reason=fault, building=row.id))
            continue
        name = row.id
        if name in features:
            name = next(n for i in itertools.count(index) if (n := f"{row.id}#{i}") not in taken)
            taken.add(name)
        features[name] = MapFeature(
            id=name,
            geometry=shapely.force_2d(row.geometry),
            tags=row.tags,
            is_part=not _is_set(row.tags, "building") and _is_set(row.tags, "building:part"),
        )
    return tuple(features.values()), tuple(findings)


def tags_of(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return attributes as OpenStreetMap would write them; nested and missing ones are left out."""
    tags: dict[str, str] = {}
    for key, value in unpacked(properties).items():
        text = _tag_text(value)
        if text:
            tags.setdefault(_OVERTURE_NAMES.get(key, key), text)
    # Overture says by its schema, not by an attribute, that a row is a building or a part.
    if is_overture(properties) and tags.get("theme", "buildings") == "buildings":
        is_part = "building_id" in tags or tags.get("type") == "building_part"
        tags.setdefault("building:part" if is_part else "building", tags.get("class", "yes"))
    return tags


def is_overture(names: Iterable[str]) -> bool:
    """Whether attributes are those of Overture's buildings or building parts."""
    names = set(names)
    return "has_parts" in names or any(pair <= names for pair in _OVERTURE_PAIRS)


def is_building(tags: Mapping[str, str]) -> bool:
    """Whether something is tagged as a building or as a part of one."""
    return _is_set(tags, "building") or _is_set(tags, "building:part")


def is_underground(tags: Mapping[str, str]) -> bool:
    """Whether something is tagged as lying below the ground."""
    return tags.get("location") == "underground" or _is_set(tags, "is_underground")


def _is_set(tags: Mapping[str, str], key: str) -> bool:
    return tags.get(key, "no") != "no"


def _other_than_building(tags: Mapping[str, str], *, any_tagged: bool) -> str:
    """Return why a row is none of the buildings of its file, or nothing."""
    if any_tagged and not is_building(tags):
        is_denied = "building" in tags or "building:part" in tags
        return "tagged as no building" if is_denied else "not tagged as a building"
    if not any_tagged and not _OTHER_KEYS.isdisjoint(tags):
        return "tagged as something else than a building"
    return "lies underground" if is_underground(tags) else ""


def _items(document: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    if document.get("type") == "FeatureCollection":
        items = document.get("features")
    elif document.get("type") == "Feature":
        items = [document]
    else:
        items = [{"type": "Feature", "geometry": document}]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise SceneError(f"{path} is no valid GeoJSON: its 'features' must be a list of objects")
    return items


def _row(item: dict[str, Any], index: int) -> Row:
    properties = item.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    # Some exporters of OpenStreetMap's data keep its tags in an object of their own.
    nested = properties.get("tags")
    tags = tags_of({**properties, **(nested if isinstance(nested, dict) else {})})
    names = (item.get("id"), properties.get("@id"), properties.get("id"))
    name = next((str(name) for name in names if name is not None), f"feature/{index}")
    geometry = item.get("geometry")
    if geometry is None:
        return Row(id=name, tags=tags, geometry=None)
    try:
        return Row(id=name, tags=tags, geometry=shapely.geometry.shape(geometry))
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return Row(id=name, tags=tags, geometry=None, fault="its geometry cannot be read")


def _fault(row: Row) -> str:
    if row.geometry is None:
        return row.fault
    if row.geometry.geom_type not in {"Polygon", "MultiPolygon"}:
        return f"is no outline but a {row.geometry.geom_type}"
    if row.geometry.is_empty:
        return "its outline is empty"
    if not all(math.isfinite(value) for value in row.geometry.bounds):
        return "its outline has coordinates that are no numbers"
    return ""


def _crs(path: Path, objects: list[dict[str, Any]]) -> CRS:
    """Return the one reference system of the `crs` members (GeoJSON of 2008), or WGS84."""
    stated = [member["crs"] for member in objects if "crs" in member]
    if any(member != stated[0] for member in stated):
        raise SceneError(f"{path} mixes reference systems; bring all features into one first")
    if not stated:
        return WGS84
    properties = stated[0].get("properties") if isinstance(stated[0], dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return crs_of_file(name, where=str(path))


def _text(head: Mapping[str, Any], *keys: str) -> str:
    values = (head.get(key) for key in keys)
    return next((value for value in values if isinstance(value, str) and value), "")


def _tag_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value).strip()
    # Tables have decimal numbers and floats of other sizes, too.
    number = float(value) if isinstance(value, Real | Decimal) else math.nan
    return f"{number:.10g}" if math.isfinite(number) else ""
