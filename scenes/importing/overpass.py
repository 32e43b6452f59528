"""OpenStreetMap as the Overpass API answers in JSON, brought to OpenStreetMap's own XML.

With `out geom` ways bring their points along; with `out body; >; out skel` these are elements of
their own. Both are read, and what is then still missing is reported as in any other extract.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pyproj import CRS

from raymark.errors import SceneError
from raymark.scenes.importing.buildings import SourceMap
from raymark.scenes.importing.osm import broken_off, read_osm

_FIRST_MADE = 2**44
"""Above all ids of OpenStreetMap, and those that editors' new objects get while they are read."""


def is_overpass(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is an answer of the Overpass API."""
    return isinstance(document.get("elements"), list) and "type" not in document


def read_overpass(path: Path, documents: list[dict[str, Any]], crs: CRS | None) -> SourceMap:
    """Read the buildings of an answer.

    Raises:
        SceneError: If its elements cannot be read, or it was broken off.
    """
    if "remark" in documents[0]:
        raise broken_off(str(documents[0]["remark"]), path)
    try:
        xml = _Converter().convert(documents[0]["elements"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SceneError(
            f"{path} looks like an answer of the Overpass API, but an element cannot be read "
            f"({type(error).__name__}: {error}); download it again, with `out geom`"
        ) from error
    with tempfile.TemporaryDirectory(prefix="raymark-") as folder:
        file = Path(folder) / "overpass.osm"
        file.write_bytes(ET.tostring(xml, encoding="utf-8"))
        source = read_osm(file, crs)
    return replace(source, source=source.source.replace(file.name, path.name))


class _Converter:
    """Builds the XML, with nodes for points that have none."""

    def __init__(self) -> None:
        self._root = ET.Element("osm", version="0.6", generator="raymark")
        self._made: dict[tuple[float, float], int] = {}
        self._ways: set[int] = set()

    def convert(self, elements: list[dict[str, Any]]) -> ET.Element:
        for item in elements:
            if item["type"] == "node" and "lat" in item:
                self._add_node(int(item["id"]), item)
            elif item["type"] == "way":
                self._add_way(item)
        for item in elements:
            if item["type"] == "relation":
                self._add_relation(item)
        return self._root

    def _add_node(self, number: int, item: Mapping[str, Any]) -> ET.Element:
        lat_deg, lon_deg = float(item["lat"]), float(item["lon"])
        if not (abs(lat_deg) <= 90 and abs(lon_deg) <= 180):
            raise ValueError(f"a point lies at lat {lat_deg:g}, lon {lon_deg:g}")
        place = {"lat": f"{lat_deg:.7f}", "lon": f"{lon_deg:.7f}"}
        return self._add("node", number, item, place)

    def _add(
        self, kind: str, number: int, item: Mapping[str, Any], place: dict[str, str]
    ) -> ET.Element:
        made = ET.SubElement(self._root, kind, {"id": str(number), "version": "1", **place})
        for key, value in (item.get("tags") or {}).items():
            ET.SubElement(made, "tag", k=str(key), v=str(value))
        return made

    def _add_way(self, item: Mapping[str, Any]) -> None:
        self._ways.add(int(item["id"]))
        refs = [*self._points(item)]
        made = self._add("way", int(item["id"]), item, {})
        for ref in refs:
            ET.SubElement(made, "nd", ref=str(ref))

    def _points(self, item: Mapping[str, Any]) -> Iterator[int]:
        """Yield the nodes of a way; points of `out geom` are nodes of their own where they lie."""
        points = item.get("geometry")
        if points is None:
            yield from (int(node) for node in item.get("nodes", []))
            return
        for point in points:
            if point is None:  # cut off at the box that was asked for
                yield _FIRST_MADE - 1
                continue
            place = (float(point["lat"]), float(point["lon"]))
            if place not in self._made:
                self._made[place] = _FIRST_MADE + len(self._made)
                self._add_node(self._made[place], point)
            yield self._made[place]

    def _add_relation(self, item: Mapping[str, Any]) -> None:
        members = item.get("members", [])
        for member in members:
            if member["type"] == "way" and "geometry" in member:
                self._add_member(member)
        made = self._add("relation", int(item["id"]), item, {})
        for member in members:
            role = str(member.get("role", ""))
            ET.SubElement(made, "member", type=member["type"], ref=str(member["ref"]), role=role)

    def _add_member(self, member: Mapping[str, Any]) -> None:
        """Add a way that only its relation brought along."""
        if int(member["ref"]) not in self._ways:
            self._add_way({"id": member["ref"], "geometry": member["geometry"]})
