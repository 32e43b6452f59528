"""Groups of buildings so far from each other that a search for sites can take one at a time."""

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from raymark.generator.buildings import Extent
from raymark.generator.outdoors import RayCaster, ground_height
from raymark.plots.maps import BUILDING_HEIGHT_M

_WITH_CORNERS = np.ones((3, 3))
"""Cells that touch in a corner are neighbours."""

Triangles = Float[np.ndarray, "tri 3 3"]


def building_clusters(
    caster: RayCaster, triangles: Triangles, extent_m: Extent, *, gap_m: float, margin_m: float
) -> list[Extent]:
    """Return the boxes around groups of buildings, with a margin, cut at the scene's extent.

    Buildings nearer than `gap_m` are in one group, and so are those whose boxes would meet. A
    single group that is half as long as the extent gets the whole of it.

    Args:
        caster: The scene.
        triangles: Corners of all its triangles [m].
        extent_m: x_min, y_min, x_max, y_max of what is searched [m].
        gap_m: Largest distance within a group [m].
        margin_m: Around each group [m].
    """
    centre = triangles.mean(axis=1)
    is_high = centre[:, 2] - ground_height(caster, centre[:, :2]) >= BUILDING_HEIGHT_M
    corners = triangles[is_high][:, :, :2]
    low, high = np.array(extent_m).reshape(2, 2)
    inside = ((corners.max(axis=1) >= low) & (corners.min(axis=1) <= high)).all(axis=1)
    boxes = np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)[inside]
    boxes = np.clip(boxes, low, high)
    group = _groups(np.floor((boxes - low) / gap_m).astype("i8"))
    found = [boxes[group == i] for i in np.unique(group)]
    ends = [(box[:, 0].min(axis=0) - margin_m, box[:, 1].max(axis=0) + margin_m) for box in found]
    cut = [(np.maximum(start, low), np.minimum(end, high)) for start, end in ends]
    if len(cut) == 1 and (cut[0][1] - cut[0][0]).max() > (high - low).max() / 2:
        return [extent_m]
    return [(*start.tolist(), *end.tolist()) for start, end in cut]


def _groups(cells: Int[np.ndarray, "tri 2 2"]) -> Int[np.ndarray, "tri"]:
    """Number triangles, given by their first and last cells: neighbours on the grid alike."""
    size = cells.max(axis=(0, 1), initial=0) + 1
    is_taken = np.zeros(size, dtype=bool)
    is_taken[tuple(cells[:, 0].T)] = True
    wide = (cells[:, 0] != cells[:, 1]).any(axis=1)
    for (x_first, y_first), (x_last, y_last) in np.unique(cells[wide], axis=0).tolist():
        is_taken[x_first : x_last + 1, y_first : y_last + 1] = True
    number, count = ndimage.label(is_taken, _WITH_CORNERS)
    before = count + 1
    while count < before:
        for box in ndimage.find_objects(number):
            is_taken[box] = True
        before = count
        number, count = ndimage.label(is_taken, _WITH_CORNERS)
    return np.asarray(number[tuple(cells[:, 0].T)], dtype="i8")
