"""Which objects of OpenStreetMap are one building, with which outline and which tags.

A multipolygon is its area; osmium builds it, or `enclose` repairs it. Outer ways that are tagged as
the same building go into it, and what they say stands where the relation says nothing. A `building`
relation only groups an outline and parts, which are buildings on their own, and lends its tags.
Of old, the tags of a multipolygon stood on its outer ways alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shapely import Polygon

from raymark.scenes.importing.buildings import Action, Footprint, ImportFinding
from raymark.scenes.importing.geojson import Row, is_building
from raymark.scenes.importing.rings import Line, area_of, enclose, polygons_of

KINDS = ("building", "building:part")

_OUTER = frozenset({"outer", "outline", ""})
_INNER = frozenset({"inner"})
_OF_SOMETHING_ELSE = frozenset(
    {"barrier", "boundary", "highway", "landuse", "leisure", "natural", "railway", "waterway"}
)
"""Ways with one of these are something of their own, and their heights are those of that."""
_SAYS_NOTHING = frozenset({"created_by", "fixme", "note", "source", "type"})
"""Keys that do not say what a multipolygon is."""
_CROSSED = "its rings crossed, touched, overlapped or were repeated"
_LOOKS = ("height", "min_height", "est_height", "building:", "roof:")
"""Beginnings of the keys that decide how a building stands there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsmNode:
    """A node that is tagged as a building."""

    name: str
    tags: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OsmWay:
    """A way; its places are None if a node is not in the file."""

    name: str
    tags: dict[str, str]
    lonlat_deg: Line | None

    @property
    def is_closed(self) -> bool:
        """Whether it ends where it begins, be it in another node."""
        places = self.lonlat_deg
        return places is not None and len(places) > 3 and places[0] == places[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class OsmRelation:
    """A relation that is tagged as a building; members are type ("n", "w" or "r"), id and role."""

    name: str
    tags: dict[str, str]
    members: list[tuple[str, int, str]]

    def ways(self, roles: frozenset[str] = _OUTER | _INNER) -> list[int]:
        """Return the ids of its ways with these roles."""
        return [name for kind, name, role in self.members if kind == "w" and role in roles]


@dataclass(frozen=True, slots=True, kw_only=True)
class OsmBuildings:
    """All that is tagged as a building, by id.

    Attributes:
        ways: Ways so tagged.
        relations: Relations so tagged.
        areas: What osmium makes of multipolygons among them.
        members: Other ways of these relations.
        nodes: Nodes so tagged.
    """

    ways: dict[int, OsmWay]
    relations: dict[int, OsmRelation]
    areas: dict[int, Footprint]
    members: dict[int, OsmWay]
    nodes: list[OsmNode]


def tags_by_outline(relation: OsmRelation, ways: Mapping[int, OsmWay]) -> dict[str, str]:
    """Return the tags of a multipolygon that says nothing itself, but whose outer ways do.

    Args:
        relation: Any multipolygon.
        ways: All ways that are tagged as a building.

    Returns:
        Its tags with what its outer ways are; none if it says something itself, or if they are no
        buildings of one kind.
    """
    if relation.tags.keys() - _SAYS_NOTHING:
        return {}
    outer = [ways[number].tags for number in relation.ways(_OUTER) if number in ways]
    kinds = [{key: tags[key] for key in KINDS if key in tags} for tags in outer]
    are_one = bool(kinds) and is_building(kinds[0]) and all(kind == kinds[0] for kind in kinds)
    return relation.tags | kinds[0] if are_one else {}


def rows_of(found: OsmBuildings) -> tuple[list[Row], list[ImportFinding]]:
    """Return a row for each building, and what was merged or repaired for it."""
    table = _Table(found)
    table.read_relations()
    table.read_ways()
    fault = "is no outline but a node"
    nodes = [Row(id=n.name, tags=n.tags, geometry=None, fault=fault) for n in found.nodes]
    return [*table.of_ways, *table.of_relations, *nodes], table.findings


class _Table:
    """Collects rows; relations are read before ways.

    Attributes:
        of_ways: Rows of ways.
        of_relations: Rows of relations.
        findings: What was done.
    """

    def __init__(self, found: OsmBuildings) -> None:
        self._found = found
        self._settled: set[int] = set()
        self._lent: dict[tuple[str, int], dict[str, str]] = {}
        self.of_ways: list[Row] = []
        self.of_relations: list[Row] = []
        self.findings: list[ImportFinding] = []

    def read_relations(self) -> None:
        """Add the areas of all relations but those that group buildings, which lend their tags."""
        areas = dict(self._found.relations)
        for number, relation in self._found.relations.items():
            if relation.tags.get("type") == "building" and (group := self._grouped(relation)):
                self._lent.update(dict.fromkeys(group, relation.tags))
                del areas[number]
        for number, relation in areas.items():
            area, fault = self._outline(number, relation)
            if area is None:
                row = Row(id=relation.name, tags=relation.tags, geometry=None, fault=fault)
                self.of_relations.append(row)
                continue
            twins = self._twins(relation)
            self._settled.update(twins)
            self._add_area(number, relation, area, list(twins.values()))

    def read_ways(self) -> None:
        """Add all ways that no relation stands for."""
        for number, way in self._found.ways.items():
            if number not in self._settled:
                tags = self._lent_to("w", number) | way.tags
                outline, fault = self._outline_of_way(way)
                self.of_ways.append(Row(id=way.name, tags=tags, geometry=outline, fault=fault))

    def _outline(self, number: int, relation: OsmRelation) -> tuple[Footprint | None, str]:
        """Return the area of a relation, or why it has none."""
        kind = relation.tags.get("type", "none")
        if number in self._found.areas:
            return self._found.areas[number], ""
        if kind not in {"multipolygon", "building"}:
            return None, f"is a relation of type '{kind}', which has no outline"
        outer, inner = (self._lines(relation.ways(roles)) for roles in (_OUTER, _INNER))
        usual = _CROSSED if kind == "multipolygon" else ""
        area = self._enclose(relation.name, outer, inner, usual=usual)
        return area, "its rings are broken or not all in the file"

    def _outline_of_way(self, way: OsmWay) -> tuple[Footprint | None, str]:
        """Return the area of a way, or why it has none; closed ones are repaired later."""
        if way.lonlat_deg is None:
            return None, "some of its nodes are not in the file"
        if way.is_closed:
            return Polygon(way.lonlat_deg), ""
        if len(way.lonlat_deg) < 4:
            return None, "its outline has fewer than three corners"
        return self._enclose(
            way.name, [way.lonlat_deg], [], usual=_CROSSED
        ), "its outline is not closed"

    def _grouped(self, relation: OsmRelation) -> list[tuple[str, int]]:
        """Return the outlines in a relation that are buildings on their own, by type and id."""
        tables: dict[str, Mapping[int, OsmWay | OsmRelation]] = {
            "w": self._found.ways,
            "r": self._found.relations,
        }
        return [
            (kind, number)
            for kind, number, role in relation.members
            if role in _OUTER
            and (item := tables.get(kind, {}).get(number))
            and _kinds(item.tags)[0]
        ]

    def _lent_to(self, kind: str, number: int) -> dict[str, str]:
        tags = self._lent.get((kind, number), {})
        return {key: value for key, value in tags.items() if key not in {*KINDS, "type"}}

    def _add_area(
        self, number: int, relation: OsmRelation, area: Footprint, twins: list[OsmWay]
    ) -> None:
        """Add an area; of its outer ways, those that look different are buildings of their own."""
        tags = self._lent_to("r", number) | relation.tags
        apart = [way for way in twins if way.is_closed] if _differ(twins) else []
        for way in twins:
            reason = "is tagged like the relation it outlines"
            if way in apart:
                own = area_of(way.lonlat_deg)
                piece = polygons_of(area.intersection(own))
                self.of_ways.append(Row(id=way.name, tags=tags | way.tags, geometry=piece))
                area = polygons_of(area.difference(own))
                reason = "looks different from other outlines of its relation and stands for itself"
            self.findings.append(_finding("merged", reason, way.name))
        if not (apart and area.is_empty):
            for way in self._outer_ways(relation):
                if way not in apart:
                    tags = {k: v for k, v in way.tags.items() if k not in KINDS} | tags
            self.of_relations.append(Row(id=relation.name, tags=tags, geometry=area))

    def _twins(self, relation: OsmRelation) -> dict[int, OsmWay]:
        """Return the outer ways that repeat a relation's building, and would close its yard."""
        outer = {number: self._found.ways.get(number) for number in relation.ways(_OUTER)}
        kinds = _kinds(relation.tags)
        return {n: way for n, way in outer.items() if way and _kinds(way.tags) == kinds}

    def _outer_ways(self, relation: OsmRelation) -> Iterator[OsmWay]:
        """Yield the outer ways whose tags speak of a relation's building."""
        kinds = _kinds(relation.tags)
        for number in relation.ways(_OUTER):
            way = self._way(number)
            is_other = way and is_building(way.tags) and _kinds(way.tags) != kinds
            if way and not is_other and _OF_SOMETHING_ELSE.isdisjoint(way.tags):
                yield way

    def _enclose(
        self, name: str, outer: list[Line | None], inner: list[Line | None], *, usual: str = ""
    ) -> Footprint | None:
        """Return what lines go around, and note what was done, or what usually is the reason."""
        area, changes = enclose(outer, inner)
        changes = changes or ((usual,) if usual else ())
        if area is not None:
            self.findings += [_finding("repaired", change, name) for change in changes]
        return area

    def _lines(self, numbers: list[int]) -> list[Line | None]:
        ways = [self._way(number) for number in numbers]
        return [way.lonlat_deg if way else None for way in ways]

    def _way(self, number: int) -> OsmWay | None:
        return self._found.ways.get(number) or self._found.members.get(number)


def _kinds(tags: Mapping[str, str]) -> list[bool]:
    return [tags.get(key, "no") != "no" for key in KINDS]


def _differ(ways: list[OsmWay]) -> bool:
    """Whether ways say different things of the height or the materials of their building."""
    said: dict[str, str] = {}
    pairs = (pair for way in ways for pair in way.tags.items())
    return any(
        said.setdefault(key, value) != value
        for key, value in pairs
        if key.startswith(_LOOKS) and key not in KINDS
    )


def _finding(action: Action, reason: str, name: str) -> ImportFinding:
    return ImportFinding(action=action, reason=reason, building=name)
