"""Areas of ways that are no clean rings: they cross, touch, overlap, repeat or have small gaps.

They are repaired as other outlines are: what crosses itself encloses all that it goes around, and
overlaps count once. Roles decide what is filled: from the largest ring to the smallest, outer ones
are added and inner ones taken out, so that an island in a courtyard stays.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import shapely
from shapely import LineString, MultiLineString, MultiPolygon, Polygon
from shapely.coords import CoordinateSequence
from shapely.geometry.base import BaseGeometry

from raymark.scenes.importing.buildings import Footprint
from raymark.scenes.importing.repair import make_valid

MAX_GAP = 0.1
"""Lines whose ends lie apart by no more than this share of their length are closed."""

Line = Sequence[tuple[float, float]]


def enclose(
    outer: Sequence[Line | None], inner: Sequence[Line | None] = ()
) -> tuple[Footprint | None, tuple[str, ...]]:
    """Return what lines enclose together, and what had to be done for it.

    Args:
        outer: Lines around it, in any order and direction; None for those that are not known.
        inner: Lines around its holes.

    Returns:
        The area, None if the lines enclose nothing, and what was left out or closed.
    """
    faults: list[str] = []
    added, taken = _areas(outer, faults), _areas(inner, faults)
    rings = [*((piece, True) for piece in added), *((piece, False) for piece in taken)]
    area = Polygon()
    for piece, is_outer in sorted(rings, key=lambda ring: -ring[0].area):
        area = area.union(piece) if is_outer else area.difference(piece)
    found = polygons_of(area)
    return (None, ()) if found.is_empty else (found, tuple(dict.fromkeys(faults)))


def polygons_of(area: BaseGeometry) -> Footprint:
    """Return the polygons of a geometry alone, without lines and points."""
    parts = [part for part in shapely.get_parts(area).tolist() if part.area > 0]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def area_of(ring: Line | CoordinateSequence) -> Footprint:
    """Return what a closed line goes around."""
    area: Footprint = make_valid(np.array([Polygon(ring)], dtype=object))[0]
    return area


def _areas(lines: Sequence[Line | None], faults: list[str]) -> list[Footprint]:
    """Return the area of each ring, or of each face if lines meet in other ways."""
    known = [LineString(line) for line in lines if line is not None and len(line) > 1]
    if len(known) < len(lines):
        faults.append("a part of its outline is not in the file and left out")
    rings = [line for line in known if line.is_closed]
    chains = _join([line for line in known if not line.is_closed])
    bridges = _bridge([chain for chain in chains if not chain.is_closed])
    if bridges:
        faults.append("its outline had a gap, closed by a straight line")
        chains = _join([*chains, *bridges])
    rings += [chain for chain in chains if chain.is_closed]
    areas = [area_of(ring.coords) for ring in rings if len(ring.coords) > 3]
    loose = [chain for chain in chains if not chain.is_closed]
    if loose:
        borders = [area.boundary for area in areas]
        faces, *rest = shapely.polygonize_full([shapely.union_all([*loose, *borders])])
        areas += shapely.get_parts(faces).tolist()
        if not all(shapely.is_empty(lines) for lines in rest):
            faults.append("a part of its outline closes no ring and is left out")
    return [area for area in areas if area.area > 0]


def _join(lines: list[LineString]) -> list[LineString]:
    """Join lines at common ends."""
    merged = shapely.line_merge(MultiLineString(lines))
    return [line for line in shapely.get_parts(merged).tolist() if not line.is_empty]


def _bridge(chains: list[LineString]) -> list[LineString]:
    """Return straight lines over the gaps between ends, the shortest first."""
    ends = [end for chain in chains for end in (chain.coords[0], chain.coords[-1])]
    limit = MAX_GAP * sum(chain.length for chain in chains)
    pairs = itertools.combinations(range(len(ends)), 2)
    gaps = sorted((math.dist(ends[a], ends[b]), a, b) for a, b in pairs)
    taken: set[int] = set()
    bridges = []
    for gap, a, b in gaps:
        if gap <= limit and taken.isdisjoint((a, b)):
            taken.update((a, b))
            bridges += [LineString([ends[a], ends[b]])] if gap > 0 else []
    return bridges
