"""What is wrong with each building of a map: drawn from its name, whatever stands beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from jaxtyping import Float, Int

from raymark.scenes.degrading.grades import Grade
from raymark.scenes.degrading.map_buildings import (
    TOUCH_M,
    MapBuilding,
    linked,
    touching_pairs,
)
from raymark.scenes.importing.heights import draw_height_m, typical_height
from raymark.seeding import child_generator

_LEAST_LEFT = 0.5
"""Share of a building's height above the ground that no error takes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """What is wrong with one building.

    Attributes:
        shift_m: How far its footprint is moved [m].
        height_m: How much higher its roof is [m].
        is_missing: Whether the map lacks it.
        merged_into: Name of the building that it is a part of; mostly its own.
        is_height_unknown: Whether its height was drawn from those of the others.
        is_height_limited: Whether the error that was drawn had left too little of it.
    """

    shift_m: Float[np.ndarray, "2"]
    height_m: float
    is_missing: bool
    merged_into: str
    is_height_unknown: bool
    is_height_limited: bool


class Draws:
    """The random numbers of one scene, each by what it is for and whom."""

    def __init__(self, seed: int, scene: str) -> None:
        """Take the seed and the name of the scene, which are a part of every draw."""
        self._seed, self._scene = seed, scene

    def normal(self, what: str, name: str, count: int) -> Float[np.ndarray, "count"]:
        """Return standard normal numbers."""
        return child_generator(self._seed, self._scene, what, name).standard_normal(count)

    def share(self, what: str, name: str) -> float:
        """Return a number from 0 to 1, uniform."""
        return float(child_generator(self._seed, self._scene, what, name).random())

    def height_m(self, tops_m: Sequence[float], name: str) -> float:
        """Return a height as an import draws those that its map does not know [m]."""
        return draw_height_m(typical_height(tops_m), self._seed, f"{self._scene}/{name}")


def draw_deviations(
    buildings: Sequence[MapBuilding], grade: Grade, *, draws: Draws
) -> dict[str, Deviation]:
    """Return what is wrong with each building, by its name.

    Buildings that share walls are shifted as one: no map has slits between the houses of a row.
    Each of their draws counts the same, and the sum is scaled so that its size is that of one.

    Args:
        buildings: In the order of their names.
        grade: How large the errors are.
        draws: Where random numbers come from.
    """
    pairs = touching_pairs(buildings)
    is_missing, merged_into = _fates(buildings, pairs, grade, draws)
    shift_m = _shifts(buildings, pairs, grade, draws)
    heights = _heights(buildings, grade, draws)
    return {
        building.name: Deviation(
            shift_m=shift_m[i],
            height_m=heights[building.name].error_m,
            is_missing=is_missing[i],
            merged_into=merged_into[i],
            is_height_unknown=heights[building.name].is_unknown,
            is_height_limited=heights[building.name].is_limited,
        )
        for i, building in enumerate(buildings)
    }


def anchor_m(building: MapBuilding) -> float:
    """Return the height from which a building is stretched [m]: the ground on its highest side.

    Walls below meet the slope of the ground and stay. What the ground buries by more than half is
    stretched from its middle.
    """
    return min(building.high_m, (building.low_m + building.roof_m) / 2)


def _shifts(
    buildings: Sequence[MapBuilding], pairs: Int[np.ndarray, "pair 2"], grade: Grade, draws: Draws
) -> Float[np.ndarray, "building 2"]:
    if not grade.shift_m:
        return np.zeros((len(buildings), 2))
    row = linked(pairs, len(buildings))
    own = np.array([draws.normal("shift", b.name, 2) for b in buildings]).reshape(-1, 2)
    total = np.zeros_like(own)
    np.add.at(total, row, own)
    size = np.bincount(row, minlength=len(buildings))
    per_axis_m = grade.shift_m / np.sqrt(2)
    return per_axis_m * (total / np.sqrt(np.maximum(size, 1))[:, None])[row]


def _fates(
    buildings: Sequence[MapBuilding], pairs: Int[np.ndarray, "pair 2"], grade: Grade, draws: Draws
) -> tuple[list[bool], list[str]]:
    """Tell which buildings are missing, and of which building each is a part."""
    names = [building.name for building in buildings]
    faulty = grade.missing_share + grade.merged_share
    if not faulty:
        return [False] * len(names), names
    lot = [draws.share("fate", name) for name in names]
    is_missing = [value < grade.missing_share for value in lot]
    neighbours: dict[int, list[int]] = {i: [] for i in range(len(names))}
    for one, other in pairs.tolist():
        if not is_missing[one] and not is_missing[other]:
            neighbours[one].append(other)
            neighbours[other].append(one)
    merges = [
        (i, _nearest(buildings, i, neighbours[i]))
        for i, value in enumerate(lot)
        if grade.missing_share <= value < faulty and neighbours[i]
    ]
    return is_missing, _largest_of_each(buildings, np.array(merges, dtype="i8").reshape(-1, 2))


def _nearest(buildings: Sequence[MapBuilding], own: int, neighbours: Sequence[int]) -> int:
    """Return the neighbour that shares the longest wall with a building."""

    def rank(other: int) -> tuple[float, str]:
        return _border(buildings[own], buildings[other]), buildings[other].name

    return max(neighbours, key=rank)


def _border(one: MapBuilding, other: MapBuilding) -> float:
    """Return how much of two buildings lies along each other [m^2], to the millimetre squared."""
    return round(shapely.area(shapely.intersection(one.outline.buffer(TOUCH_M), other.outline)), 6)


def _largest_of_each(
    buildings: Sequence[MapBuilding], merges: Int[np.ndarray, "merge 2"]
) -> list[str]:
    """Return for each building the name of the largest that it is merged with, or its own."""
    row = linked(merges, len(buildings))
    largest: dict[int, MapBuilding] = {}
    for group, building in zip(row.tolist(), buildings, strict=True):
        known = largest.setdefault(group, building)
        if building.outline.area > known.outline.area:
            largest[group] = building
    return [largest[group].name for group in row.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Height:
    error_m: float
    is_unknown: bool = False
    is_limited: bool = False


def _heights(buildings: Sequence[MapBuilding], grade: Grade, draws: Draws) -> Mapping[str, _Height]:
    if not grade.height_m and not grade.level_height_m and not grade.unknown_height_share:
        return dict.fromkeys([building.name for building in buildings], _Height(error_m=0.0))
    heights = {building.name: _known(building, grade, draws) for building in buildings}
    tops_m = {b.name: b.roof_m - b.low_m + heights[b.name].error_m for b in buildings}
    is_unknown = {name: draws.share("known", name) < grade.unknown_height_share for name in tops_m}
    known_m = [top_m for name, top_m in tops_m.items() if not is_unknown[name] and top_m > 0]
    for building in buildings:
        if is_unknown[building.name]:
            error_m = draws.height_m(known_m, building.name) - (building.roof_m - building.low_m)
            heights[building.name] = replace(_limited(building, error_m), is_unknown=True)
    return heights


def _known(building: MapBuilding, grade: Grade, draws: Draws) -> _Height:
    """Return what is wrong with a height that the map says."""
    top_m = building.roof_m - building.low_m
    said_m = top_m + grade.height_m * draws.normal("height", building.name, 1).item()
    if grade.level_height_m is not None:
        said_m = grade.level_height_m * max(round(said_m / grade.level_height_m), 1)
    return _limited(building, said_m - top_m)


def _limited(building: MapBuilding, error_m: float) -> _Height:
    if building.roof_m <= building.low_m:  # the ground buries it: there is nothing to stretch
        return _Height(error_m=0.0, is_limited=error_m != 0)
    lowest_m = -(1 - _LEAST_LEFT) * (building.roof_m - anchor_m(building))
    return _Height(error_m=max(error_m, lowest_m), is_limited=error_m < lowest_m)
