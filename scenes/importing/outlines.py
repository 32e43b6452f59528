"""Outlines and the parts within them, as OpenStreetMap's "Simple 3D Buildings" tells them apart.

Parts take the place of the outline that holds them. What they leave of it, which that scheme does
not draw, stays, so that incomplete parts open no holes; its height is the outline's own unless one
of the parts is as high, for an outline is as high as its highest part.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import shapely
from shapely import MultiPolygon

from raymark.scenes.importing.buildings import Action, Footprint, ImportFinding, MapFeature
from raymark.scenes.importing.height_tags import Extent, read_extent
from raymark.scenes.importing.repair import GRID_M, fault_of, is_speck, make_valid

_LIKE_A_PART_M = 0.5
"""An outline that differs less from its highest part is as high as that."""


@dataclass(slots=True, kw_only=True, eq=False)
class Item:
    """A feature on its way to a building.

    Attributes:
        feature: As the map has it.
        extent: What is known of its height.
        unusable: Why it is no building, or nothing.
        footprint: In the frame; parts are taken out of it.
        outline: The outline that holds it, if it is a part.
        rest: What is known of the height of what its parts leave, if it has some.
        limit_m: The height of its highest part, which what that leaves does not exceed [m].
    """

    feature: MapFeature
    extent: Extent
    unusable: str
    footprint: Footprint
    outline: "Item | None" = None
    rest: Extent | None = None
    limit_m: float | None = None


def finding_of(action: Action, reason: str, item: Item) -> ImportFinding:
    """Return a finding on a feature."""
    return ImportFinding(action=action, reason=reason, building=item.feature.id)


def find_outlines(parts: list[Item], outlines: list[Item]) -> None:
    """Give each part the outline that contains most of it, if one contains more than half."""
    part_area, whole_area = _valid(parts), _valid(outlines)
    pairs = shapely.STRtree(whole_area).query(part_area, predicate="intersects")
    shared_m2 = shapely.area(shapely.intersection(part_area[pairs[0]], whole_area[pairs[1]]))
    is_most = shared_m2 > shapely.area(part_area)[pairs[0]] / 2
    # The largest share comes last, and stays.
    for pair in np.argsort(shared_m2, kind="stable"):
        if is_most[pair]:
            parts[pairs[0, pair]].outline = outlines[pairs[1, pair]]


def carve(items: list[Item]) -> list[ImportFinding]:
    """Take parts out of their outlines' footprints; an outline that is used up becomes empty."""
    parts_of: dict[Item, list[Item]] = defaultdict(list)
    for item in items:
        if item.outline is not None:
            parts_of[item.outline].append(item)
    findings = []
    for outline, parts in parts_of.items():
        if fault := fault_of(outline.footprint):
            findings.append(finding_of("repaired", fault, outline))
        outline.footprint = _difference(outline, parts)
        reason = "outline replaced by its parts"
        if not outline.footprint.is_empty:
            reason = f"outline is what its parts leave, {_judge_rest(outline, parts)}"
        findings.append(finding_of("merged", reason, outline))
        if outline.feature.surfaces:
            reason = "extruded instead of its 3D faces: parts lie within it"
            findings.append(finding_of("repaired", reason, outline))
            outline.feature = replace(outline.feature, surfaces=())
    return findings


def _judge_rest(outline: Item, parts: list[Item]) -> str:
    """Find the height of what parts leave of an outline; return which one that is."""
    whole = outline.extent
    known_m = [part.extent.top_m for part in parts if part.extent.top_m is not None]
    highest_m = max(known_m, default=-np.inf)
    levels = read_extent(outline.feature.tags, heights=False)
    for extent, which in ((whole, "at its own height"), (levels, "as high as its levels")):
        is_own = extent.source == "surveyed"
        if is_own or (extent.top_m and abs(extent.top_m - highest_m) >= _LIKE_A_PART_M):
            outline.rest = extent
            return which
    outline.rest = replace(whole, top_m=None, source="assumed")
    outline.limit_m = None if whole.top_m is None else highest_m
    return "whose height is not known"


def _difference(outline: Item, parts: list[Item]) -> MultiPolygon:
    taken = shapely.union_all(_valid(parts), grid_size=GRID_M)
    pieces = shapely.get_parts(shapely.difference(_valid([outline])[0], taken, grid_size=GRID_M))
    return MultiPolygon(pieces[~is_speck(pieces)].tolist())


def _valid(items: list[Item]) -> np.ndarray:
    return make_valid(np.array([item.footprint for item in items], dtype=object))
