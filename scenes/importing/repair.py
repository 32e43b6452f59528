"""Footprints made fit to be extruded: valid, on a grid, without slivers, specks and duplicates."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import shapely
from jaxtyping import Bool, Int
from shapely import MultiPolygon, Polygon

from raymark.scenes.importing.buildings import Action, Building, Footprint, ImportFinding

GRID_M = 0.01
"""Corners lie on this grid; nothing smaller is told apart. A map's outlines are true to 10 cm."""
LEAST_AREA_M2 = 1.0
LEAST_HOLE_M2 = 0.5
SLIVER_HALF_WIDTH_M = 0.1
"""What is nowhere twice as wide comes from inexact drawing, not from a building."""

_NOTHING_LEFT = f"footprint encloses nothing, under {LEAST_AREA_M2:g} m2 or a sliver"

Polygons = np.ndarray
"""Shapely geometries, in an array of objects."""


@dataclass(slots=True)
class _Notes:
    """Collects findings, and which footprints are no longer what their source has.

    Attributes:
        ids: Ids of all buildings.
        changed: Numbers of those whose footprint was changed by more than the grid.
        findings: All so far.
    """

    ids: Sequence[str]
    changed: set[int] = field(default_factory=set)
    findings: list[ImportFinding] = field(default_factory=list)

    def add(self, action: Action, reason: str, which: Iterable[int]) -> None:
        """Say that the same was done to buildings, given by their numbers."""
        for i in sorted(set(which)):
            self.findings.append(ImportFinding(action=action, reason=reason, building=self.ids[i]))

    def drop(self, which: Iterable[int]) -> None:
        """Say that nothing is left of buildings, instead of what was done to them before."""
        names = {self.ids[i] for i in which}
        self.findings = [finding for finding in self.findings if finding.building not in names]
        self.add("dropped", _NOTHING_LEFT, which)


def repair(
    buildings: Sequence[Building],
) -> tuple[tuple[Building, ...], tuple[ImportFinding, ...]]:
    """Repair the footprints of all buildings, and leave out those that nothing is left of.

    Outlines that cross themselves are made valid, corners put on a grid of 1 cm, repeated and
    collinear ones left out; pieces under 1 m2 or nowhere 0.2 m wide are dropped, holes under
    0.5 m2 filled. Of buildings with the same footprint, those that another contains are dropped,
    and those of assumed height beside one of known height.
    A building whose footprint was changed by more than the grid loses the faces of its source.

    Returns:
        The buildings that are left, in their order, and what was done to which.
    """
    notes = _Notes([building.id for building in buildings])
    footprints = np.array([building.footprint for building in buildings], dtype=object)
    pieces, owner = shapely.get_parts(_make_valid(footprints, notes), return_index=True)
    pieces, owner = _drop_specks(pieces, owner, notes)
    notes.drop(set(range(len(buildings))) - set(owner.tolist()))
    pieces = _simplify(_fill_holes(pieces, owner, notes), owner, notes)
    whole = _join(pieces, owner)
    repaired = {i: _with_footprint(buildings[i], whole[i], i in notes.changed) for i in whole}
    lost = [
        i for i, building in repaired.items() if buildings[i].surfaces and not building.surfaces
    ]
    notes.add(
        "repaired",
        "extruded instead of its 3D faces: footprint repaired",
        lost,
    )
    twins = _duplicates(repaired)
    notes.add("dropped", "same footprint as another building", twins)
    kept = tuple(building for i, building in repaired.items() if i not in set(twins))
    return kept, tuple(notes.findings)


def make_valid(footprints: Polygons) -> Polygons:
    """Return what outlines enclose: overlaps count once, lines and points not at all."""
    return shapely.make_valid(footprints, method="structure", keep_collapsed=False)


def is_speck(pieces: Polygons) -> Bool[np.ndarray, " piece"]:
    """Return which polygons are too small, or nowhere twice `SLIVER_HALF_WIDTH_M` wide."""
    core = shapely.buffer(_forget_grid(pieces), -SLIVER_HALF_WIDTH_M, join_style="mitre")
    return (shapely.area(pieces) < LEAST_AREA_M2) | shapely.is_empty(core)


def fault_of(footprint: Footprint) -> str:
    """Return what is wrong with an outline, or nothing."""
    if footprint.is_valid:
        return ""
    return f"invalid outline ({shapely.is_valid_reason(footprint).split('[')[0].lower()})"


def _make_valid(footprints: Polygons, notes: _Notes) -> Polygons:
    """Make outlines valid before and after their corners are put on the grid."""
    broken = np.flatnonzero(~shapely.is_valid(footprints))
    faults = np.array([fault_of(footprint) for footprint in footprints[broken]], dtype=object)
    for fault in sorted(set(faults)):
        notes.add("repaired", fault, broken[faults == fault].tolist())
    notes.changed.update(broken.tolist())
    sound = footprints.copy()
    sound[broken] = make_valid(footprints[broken])
    return _forget_grid(shapely.set_precision(sound, GRID_M))


def _forget_grid(polygons: Polygons) -> Polygons:
    # GEOS 3.14 buffers of geometries that carry a grid come out empty now and then.
    return shapely.set_precision(polygons, 0)


def _drop_specks(
    pieces: Polygons, owner: Int[np.ndarray, " piece"], notes: _Notes
) -> tuple[Polygons, Int[np.ndarray, " kept"]]:
    speck = is_speck(pieces)
    notes.add(
        "repaired", f"piece under {LEAST_AREA_M2:g} m2 or sliver dropped", owner[speck].tolist()
    )
    notes.changed.update(owner[speck].tolist())
    return pieces[~speck], owner[~speck]


def _fill_holes(pieces: Polygons, owner: Int[np.ndarray, " piece"], notes: _Notes) -> Polygons:
    filled = pieces.copy()
    which = []
    for i in np.flatnonzero(shapely.get_num_interior_rings(pieces) > 0):
        rings = shapely.get_rings(pieces[i])
        large = shapely.area(shapely.polygons(rings[1:])) >= LEAST_HOLE_M2
        if not large.all():
            filled[i] = shapely.polygons(rings[0], holes=rings[1:][large])
            which.append(int(owner[i]))
    notes.add("repaired", f"hole under {LEAST_HOLE_M2:g} m2 filled", which)
    notes.changed.update(which)
    return filled


def _simplify(pieces: Polygons, owner: Int[np.ndarray, " piece"], notes: _Notes) -> Polygons:
    # Normal form begins a ring at its lowest leftmost point, a corner, so that the end of the
    # line that is simplified is never a point that should go; twins become equal, too.
    before = shapely.normalize(pieces)
    after = shapely.simplify(before, GRID_M, preserve_topology=True)
    fewer = shapely.get_num_coordinates(after) < shapely.get_num_coordinates(before)
    notes.add("repaired", "repeated or collinear corners left out", owner[fewer].tolist())
    return shapely.normalize(after)


def _join(pieces: Polygons, owner: Int[np.ndarray, " piece"]) -> dict[int, Footprint]:
    groups: dict[int, list[Polygon]] = defaultdict(list)
    for i, piece in zip(owner.tolist(), pieces, strict=True):
        groups[i].append(piece)
    return {i: group[0] if len(group) == 1 else MultiPolygon(group) for i, group in groups.items()}


def _with_footprint(building: Building, footprint: Footprint, is_changed: bool) -> Building:
    surfaces = () if is_changed else building.surfaces
    return replace(building, footprint=footprint, surfaces=surfaces)


def _duplicates(buildings: dict[int, Building]) -> list[int]:
    """Return the numbers of buildings that lie within another of the same footprint."""
    same: dict[bytes, list[int]] = defaultdict(list)
    for i, building in buildings.items():
        same[shapely.to_wkb(shapely.normalize(building.footprint))].append(i)
    twins = []
    for group in same.values():
        kept: list[Building] = []
        # What is known comes before what is assumed, whichever is taller.
        for i in sorted(group, key=lambda i: _rank(buildings[i])):
            if any(_stands_for(other, buildings[i]) for other in kept):
                twins.append(i)
            else:
                kept.append(buildings[i])
    return sorted(twins)


def _rank(building: Building) -> tuple[bool, float, float]:
    return not _is_known(building), -building.top_m, building.bottom_m


def _is_known(building: Building) -> bool:
    """Whether the map knows how high a building is."""
    return building.height_source not in ("given", "assumed")


def _stands_for(kept: Building, twin: Building) -> bool:
    """Whether a building is superfluous beside one of its footprint that ranks before it."""
    only_twin_is_assumed = _is_known(kept) and not _is_known(twin)
    is_lower = only_twin_is_assumed or twin.top_m <= kept.top_m
    return is_lower and kept.bottom_m <= twin.bottom_m
