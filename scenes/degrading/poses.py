"""Where a map has the antennas: a little off, but never within a building or the ground."""

from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float

from raymark.radio import Site
from raymark.radio.frames import wrap_deg
from raymark.scenes.degrading.deviations import Draws
from raymark.scenes.degrading.grades import Grade
from raymark.scenes.roofs import Triangles, plan_outline

CLEARANCE_M = 0.5
"""How far off walls and ground an antenna is put that had ended within."""

MAST_M = 2.0
"""So high above a roof an antenna stays, if it stands so high: who mounts it knows its mast."""

_NEAR_M = 50.0
"""Sides of buildings farther away are not looked for: going up is nearer than that."""

_ROUNDING_M = 1e-6

Point = Float[np.ndarray, "3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongSite:
    """A site as a wrong map has it.

    Attributes:
        site: Its pose.
        error_m: How far off it is, by coordinate [m].
        error_deg: How far its azimuth and its downtilt are off [deg].
        is_freed: Whether it had ended within something, or too low above it.
    """

    site: Site
    error_m: Point
    error_deg: Float[np.ndarray, "2"]
    is_freed: bool


def misplace(
    site: Site,
    grade: Grade,
    *,
    right: Float[np.ndarray, "right 3 3"],
    wrong: Float[np.ndarray, "wrong 3 3"],
    draws: Draws,
) -> WrongSite:
    """Return a site as a wrong map has it.

    An antenna is known to stand in the open, and so high above what carries it. Where the errors of
    its position or of a building leave it lower than that, or within, it goes to the nearest place
    that fits: up, or sideways out of a wall. An error of its own height stays.

    Args:
        site: The right one.
        grade: How large the errors are.
        right: All triangles of the right map, ground included [m].
        wrong: Those of the wrong one [m].
        draws: Where random numbers come from.
    """
    right_m = np.array(site.position_m)
    error_m = np.round(grade.position_m * draws.normal("position", site.name, 3), 3)
    error_deg = np.round(grade.angle_deg * draws.normal("angles", site.name, 2), 3)
    clearance_m = float(right_m[2]) - _top_m(right_m, right)
    least_m = min(clearance_m, max(min(clearance_m, MAST_M) + min(error_m[2], 0.0), CLEARANCE_M))
    wrong_m = open_place(right_m + error_m, wrong, least_m=least_m)
    azimuth_deg, downtilt_deg = np.array([site.azimuth_deg, site.downtilt_deg]) + error_deg
    changed = {
        "position_m": tuple(np.round(wrong_m, 6).tolist()),
        "azimuth_deg": wrap_deg(round(float(azimuth_deg), 6)),
        "downtilt_deg": float(np.clip(downtilt_deg, -90, 90)),
    }
    is_freed = bool((wrong_m != right_m + error_m).any())
    is_same = not (is_freed or error_m.any() or error_deg.any())
    return WrongSite(
        site=site if is_same else site.model_copy(update=changed),
        error_m=wrong_m - right_m,
        error_deg=error_deg,
        is_freed=is_freed,
    )


def open_place(position_m: Point, surfaces: Triangles, *, least_m: float = CLEARANCE_M) -> Point:
    """Return the nearest place with nothing above it, and so far above what lies below it.

    Args:
        position_m: A point [m].
        surfaces: All triangles of a scene [m].
        least_m: Least height above the topmost surface [m].
    """
    lowest_m = _top_m(position_m, surfaces) + least_m
    if position_m[2] >= lowest_m - _ROUNDING_M:
        return position_m
    raised_m = np.array([*position_m[:2], lowest_m])
    aside_m = _beside(position_m, surfaces, least_m)
    is_free = aside_m[2] >= _top_m(aside_m, surfaces) + least_m
    is_nearer = np.linalg.norm(aside_m - position_m) < np.linalg.norm(raised_m - position_m)
    return aside_m if is_free and is_nearer else raised_m


def _top_m(position_m: Point, surfaces: Triangles) -> float:
    """Return the height of the topmost surface at a point [m]; -inf where there is none."""
    return float(np.max(_heights_at(position_m[:2], surfaces), initial=-np.inf))


def _heights_at(xy_m: Float[np.ndarray, "2"], surfaces: Triangles) -> Float[np.ndarray, "surface"]:
    """Return the heights of all surfaces above and below a point, by barycentric coordinates."""
    low_m, high_m = surfaces[..., :2].min(axis=1), surfaces[..., :2].max(axis=1)
    near = surfaces[((low_m <= xy_m) & (xy_m <= high_m)).all(axis=1)]
    side_u, side_v = (near[:, i] - near[:, 0] for i in (1, 2))
    offset = xy_m - near[:, 0, :2]
    area = side_u[:, 0] * side_v[:, 1] - side_u[:, 1] * side_v[:, 0]
    flat = np.abs(area) > 1e-9
    u = offset[flat, 0] * side_v[flat, 1] - offset[flat, 1] * side_v[flat, 0]
    v = side_u[flat, 0] * offset[flat, 1] - side_u[flat, 1] * offset[flat, 0]
    u, v = u / area[flat], v / area[flat]
    within = (u >= 0) & (v >= 0) & (u + v <= 1)
    heights = near[flat, 0, 2] + u * side_u[flat, 2] + v * side_v[flat, 2]
    return heights[within]


def _beside(position_m: Point, surfaces: Triangles, least_m: float) -> Point:
    """Return the nearest point at the same height off all that covers or carries this one."""
    low_m, high_m = surfaces[..., :2].min(axis=1), surfaces[..., :2].max(axis=1)
    offset_m = np.maximum(low_m - position_m[:2], position_m[:2] - high_m)
    is_near = offset_m.max(axis=1) < _NEAR_M
    is_in_the_way = surfaces[..., 2].max(axis=1) > position_m[2] - least_m
    covered = plan_outline(surfaces[is_near & is_in_the_way])
    way = shapely.shortest_line(shapely.Point(position_m[:2]), shapely.boundary(covered))
    if way is None or way.length == 0:
        return position_m
    start_m, end_m = shapely.get_coordinates(way)
    return np.array([*(end_m + CLEARANCE_M * (end_m - start_m) / way.length), position_m[2]])
