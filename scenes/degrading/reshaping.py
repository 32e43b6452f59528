"""Buildings that keep their meshes: moved sideways, and stretched above the ground."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from raymark.scenes.degrading.deviations import Deviation, anchor_m
from raymark.scenes.degrading.map_buildings import MapBuilding
from raymark.scenes.scene_meshes import SceneMesh


def reshape_meshes(
    meshes: Sequence[SceneMesh],
    buildings: Sequence[MapBuilding],
    deviations: Mapping[str, Deviation],
) -> tuple[SceneMesh, ...]:
    """Return meshes with the triangles of some buildings, as wrong as a map has them.

    Args:
        meshes: Those in which the rows of the buildings count.
        buildings: Those that stay; a mesh of others alone is left without triangles.
        deviations: By the names of the buildings.
    """
    counts = [len(mesh.triangles) for mesh in meshes]
    is_kept = np.zeros(sum(counts), dtype=bool)
    triangles = np.concatenate([np.zeros((0, 3, 3)), *[mesh.triangles for mesh in meshes]])
    for building in buildings:
        deviation = deviations[building.name]
        is_kept[building.rows] = True
        triangles[building.rows, :, :2] += deviation.shift_m
        height_m = triangles[building.rows, :, 2]
        triangles[building.rows, :, 2] = stretch(height_m, building, deviation.height_m)
    return tuple(_with_rows(meshes, triangles, is_kept, counts))


def stretch(
    height_m: Float[np.ndarray, "*n"], building: MapBuilding, error_m: float
) -> Float[np.ndarray, "*n"]:
    """Return heights [m] of points of a building whose roof is higher by an error [m].

    What stands on the ground stays there, what lies between moves in proportion, and what rises
    above the middle of the roof, as a tower does, moves with it.
    """
    if not error_m:
        return height_m
    anchor = anchor_m(building)
    return height_m + error_m * np.clip((height_m - anchor) / (building.roof_m - anchor), 0.0, 1.0)


def _with_rows(
    meshes: Sequence[SceneMesh],
    triangles: Float[np.ndarray, "triangle 3 3"],
    is_kept: Bool[np.ndarray, "triangle"],
    counts: Sequence[int],
) -> list[SceneMesh]:
    ends = np.cumsum(counts)[:-1]
    parts = zip(np.split(triangles, ends), np.split(is_kept, ends), strict=True)
    return [
        replace(mesh, triangles=part[kept])
        for mesh, (part, kept) in zip(meshes, parts, strict=True)
    ]
