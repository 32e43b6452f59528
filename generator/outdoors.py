"""Where a UE or a base station can stand: outdoors, off the walls, on the ground."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.errors import SceneError
from raymark.radio import Site

XY = Float[np.ndarray, "n 2"]
Points = Float[np.ndarray, "n 3"]

_CLEARANCE_M = 1.0
_WALL_DIRECTIONS = 16


@runtime_checkable
class RayCaster(Protocol):
    """The geometry queries that sampling needs of a loaded scene."""

    @property
    def box_m(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner [m]."""

    def hit_distance(
        self, origin_m: Points, direction: Points
    ) -> tuple[Float[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Distance to the first surface [m], inf if none, and the index of its object."""

    def is_visible(self, start_m: Points, end_m: Points) -> Bool[np.ndarray, "n"]:
        """Whether straight lines are free."""


def ground_height(caster: RayCaster, xy_m: XY) -> Float[np.ndarray, "n"]:
    """Return the height of the lowest surface under each point [m]; inf where there is none.

    A ray goes up from below the scene: what it meets first is the ground, even in a building.
    """
    low, _ = caster.box_m
    below = low[2] - _CLEARANCE_M
    origin = np.column_stack([xy_m, np.full(len(xy_m), below)])
    distance, _ = caster.hit_distance(origin, _repeat((0.0, 0.0, 1.0), len(xy_m)))
    return below + distance


def sees_sky(caster: RayCaster, position_m: Points) -> Bool[np.ndarray, "n"]:
    """Tell whether nothing lies above each point."""
    distance, _ = caster.hit_distance(position_m, _repeat((0.0, 0.0, 1.0), len(position_m)))
    return ~np.isfinite(distance)


def place_outdoors(
    caster: RayCaster, xy_m: XY, *, height_m: float, wall_margin_m: float
) -> tuple[Points, Bool[np.ndarray, "n"]]:
    """Lift points to their height above ground and tell which of them are outdoors.

    Outdoors means ground below, sky above, and no wall within the margin in 16 directions.
    """
    ground = ground_height(caster, xy_m)
    has_ground = np.isfinite(ground)
    position = np.column_stack([xy_m, np.where(has_ground, ground, 0.0) + height_m])
    outdoors = has_ground & sees_sky(caster, position)
    if wall_margin_m > 0:
        rows = np.flatnonzero(outdoors)
        outdoors[rows] = _wall_distance(caster, position[rows]) >= wall_margin_m
    return position, outdoors


def check_site(caster: RayCaster, site: Site, *, scene: str) -> None:
    """Check that a base station stands in the open, inside the scene's box.

    Raises:
        SceneError: If it lies in a building, below the ground or outside.
    """
    position = np.asarray([site.position_m])
    low, high = caster.box_m
    place = f"scene '{scene}', site '{site.name}' at {site.position_m} m"
    if (position[0, :2] < low[:2]).any() or (position[0, :2] > high[:2]).any():
        raise SceneError(f"{place}: outside the scene, which spans {low[:2]} to {high[:2]} m")
    if position[0, 2] <= ground_height(caster, position[:, :2])[0]:
        raise SceneError(f"{place}: below the ground")
    if not sees_sky(caster, position)[0]:
        roof = caster.hit_distance(position, _repeat((0.0, 0.0, 1.0), 1))[0][0]
        raise SceneError(
            f"{place}: inside a building, a surface lies {roof:.1f} m above it; "
            f"raise it above {position[0, 2] + roof:.1f} m or move it"
        )


def _wall_distance(caster: RayCaster, position_m: Points) -> Float[np.ndarray, "n"]:
    angle = np.arange(_WALL_DIRECTIONS) * 2 * np.pi / _WALL_DIRECTIONS
    rays = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(_WALL_DIRECTIONS)])
    origin = np.repeat(position_m, _WALL_DIRECTIONS, axis=0)
    distance, _ = caster.hit_distance(origin, np.tile(rays, (len(position_m), 1)))
    return distance.reshape(-1, _WALL_DIRECTIONS).min(axis=1, initial=np.inf)


def _repeat(direction: tuple[float, float, float], count: int) -> Points:
    return np.tile(direction, (count, 1))
