"""Buildings made anew as prisms on wrong footprints, by what extrudes those of a map."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely

from raymark.scenes.degrading.deviations import Deviation
from raymark.scenes.degrading.grades import Grade
from raymark.scenes.degrading.map_buildings import MapBuilding
from raymark.scenes.degrading.reshaping import stretch
from raymark.scenes.footprints import object_buildings
from raymark.scenes.importing.buildings import Building, Footprint
from raymark.scenes.importing.cells import cut_into_cells
from raymark.scenes.importing.repair import GRID_M, repair
from raymark.scenes.importing.solids import Meshes, build_solids
from raymark.scenes.roofs import only_polygons
from raymark.scenes.scene_meshes import GroundSurface, SceneMesh

ROOF_TOLERANCE_M = 1.0
"""Largest difference of a sloped roof and the flat pieces that stand for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """Buildings that were made anew.

    Attributes:
        meshes: Their surfaces by name, each with its material.
        num_without_roof: Buildings that no footprint shows.
        num_vanished: Pieces of which the outlines leave nothing.
    """

    meshes: Meshes
    num_without_roof: int
    num_vanished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A prism of a building.

    Attributes:
        owner: The building.
        prism: As it is extruded; its heights count from `ground_m`.
    """

    owner: MapBuilding
    prism: Building


def rebuild(
    meshes: Sequence[SceneMesh],
    buildings: Sequence[MapBuilding],
    deviations: Mapping[str, Deviation],
    *,
    grade: Grade,
    ground: GroundSurface,
) -> Rebuilt:
    """Make buildings anew: generalise their footprints, merge, move and stretch them.

    Args:
        meshes: Those in which the rows of the buildings count.
        buildings: Those that are made anew.
        deviations: By the names of the buildings.
        grade: Which detail outlines lose.
        ground: What they stand on.
    """
    pieces = [piece for b in buildings for piece in _pieces(meshes, b, ground)]
    pieces = _merged(pieces, buildings, deviations)
    names = {deviations[building.name].merged_into for building in buildings}
    num_without_roof = len(names) - len({piece.owner.name for piece in pieces})
    prisms = _wrong_prisms(pieces, deviations, grade, ground)
    if not prisms:
        return Rebuilt(meshes={}, num_without_roof=num_without_roof, num_vanished=len(pieces))
    solids = build_solids(prisms, np.array([prism.ground_m for prism in prisms]))
    return Rebuilt(
        meshes=solids.meshes,
        num_without_roof=num_without_roof,
        num_vanished=len(pieces) - int(solids.is_kept.sum()),
    )


def generalise(footprints: Sequence[Footprint], detail_m: float) -> list[Footprint]:
    """Return footprints without the corners whose triangles are smaller than a detail squared.

    Borders that footprints share stay shared: the cells into which all outlines cut the plane are
    generalised as one, as in visvalingam1993. What is nowhere 10 cm wide goes to its neighbour.
    """
    if not detail_m or not footprints:
        return list(footprints)
    cells = cut_into_cells(footprints)
    is_covered = np.array([len(cover) > 0 for cover in cells.covers])
    simple = cells.polygons.copy()
    simple[is_covered] = shapely.coverage_simplify(simple[is_covered], detail_m)
    below: list[list[int]] = [[] for _ in footprints]
    for cell, cover in enumerate(cells.covers):
        for footprint in cover:
            below[footprint].append(cell)
    return [only_polygons(shapely.union_all(simple[found], grid_size=GRID_M)) for found in below]


def _pieces(
    meshes: Sequence[SceneMesh], building: MapBuilding, ground: GroundSurface
) -> list[_Piece]:
    ends = np.cumsum([len(mesh.triangles) for mesh in meshes])
    of_mesh = np.searchsorted(ends, building.rows, side="right")
    parts = []
    for i in np.unique(of_mesh).tolist():
        rows = building.rows[of_mesh == i] - (ends[i] - len(meshes[i].triangles))
        parts.append(replace(meshes[i], triangles=meshes[i].triangles[rows]))
    found = object_buildings(building.name, parts, ground, tolerance_m=ROOF_TOLERANCE_M)
    return [_Piece(owner=building, prism=prism) for prism in found]


def _merged(
    pieces: Sequence[_Piece],
    buildings: Sequence[MapBuilding],
    deviations: Mapping[str, Deviation],
) -> list[_Piece]:
    """Make one prism of all pieces of buildings that are merged, at their mean height."""
    by_name = {building.name: building for building in buildings}
    groups: dict[str, list[_Piece]] = defaultdict(list)
    for piece in pieces:
        groups[deviations[piece.owner.name].merged_into].append(piece)
    made = []
    for name, group in groups.items():
        is_merged = any(piece.owner.name != name for piece in group)
        made += [_one_prism(by_name[name], group)] if is_merged else group
    return made


def _one_prism(owner: MapBuilding, group: Sequence[_Piece]) -> _Piece:
    owners = {piece.owner.name: piece.owner for piece in group}.values()
    top_m = float(np.average([o.roof_m for o in owners], weights=[o.outline.area for o in owners]))
    low_m = min(owner.low_m for owner in owners)
    largest = max((piece.prism for piece in group), key=lambda prism: prism.footprint.area)
    outline = shapely.union_all([piece.prism.footprint for piece in group], grid_size=GRID_M)
    prism = replace(
        largest,
        id=owner.name,
        footprint=only_polygons(outline),
        bottom_m=0.0,
        top_m=top_m - low_m,
        ground_m=low_m,
    )
    return _Piece(owner=owner, prism=prism)


def _wrong_prisms(
    pieces: Sequence[_Piece],
    deviations: Mapping[str, Deviation],
    grade: Grade,
    ground: GroundSurface,
) -> tuple[Building, ...]:
    """Return the prisms that a wrong map has, fit to be extruded."""
    outlines = generalise([piece.prism.footprint for piece in pieces], grade.outline_m)
    shifted = [
        _shifted(piece, outline, deviations[piece.owner.name])
        for piece, outline in zip(pieces, outlines, strict=True)
        if not outline.is_empty
    ]
    return repair(_stretched(shifted, deviations, grade.material, ground))[0]


def _shifted(piece: _Piece, outline: Footprint, deviation: Deviation) -> _Piece:
    footprint = shapely.transform(outline, lambda xy: xy + deviation.shift_m)
    return replace(piece, prism=replace(piece.prism, footprint=footprint))


def _stretched(
    pieces: Sequence[_Piece],
    deviations: Mapping[str, Deviation],
    material: str | None,
    ground: GroundSurface,
) -> list[Building]:
    """Return prisms with wrong heights, each building's from the lowest ground below it."""
    lows_m: dict[str, float] = {}
    for piece in pieces:
        low_m = ground.range_below(piece.prism.footprint)[0]
        lows_m[piece.owner.name] = min(low_m, lows_m.get(piece.owner.name, np.inf))
    made = []
    for piece in pieces:
        prism, low_m = piece.prism, lows_m[piece.owner.name]
        ends_m = np.array([prism.bottom_m, prism.top_m]) + (prism.ground_m or 0.0)
        ends_m = stretch(ends_m, piece.owner, deviations[piece.owner.name].height_m) - low_m
        made.append(
            replace(
                prism,
                bottom_m=float(ends_m[0]) if prism.bottom_m > 0 else 0.0,
                top_m=float(ends_m[1]),
                ground_m=low_m,
                wall_material=material or prism.wall_material,
                roof_material=material or prism.roof_material,
            )
        )
    return made
