"""Points in front of a site whose paths tell which edges matter about it."""

import numpy as np
from jaxtyping import Float

from raymark.generator.outdoors import place_outdoors
from raymark.generator.tracing.loaded_scene import LoadedScene

_RANGE_M = 200.0
"""Largest ground distance from the BS, as of a sector's UEs by default; our decision."""

_HEIGHT_M, _WALL_MARGIN_M = 1.5, 1.0
_TRIES = 4
"""Points that are tried for one witness; where less ground lies outdoors there are fewer."""

_R2 = (0.7548776662466927, 0.5698402909980532)
"""Steps of the sequence R2 (Roberts, 2018), of which any first part is spread evenly."""


def witness_points(
    scene: LoadedScene,
    bs_position_m: Float[np.ndarray, "3"],
    azimuth_rad: float,
    num_points: int,
) -> Float[np.ndarray, "point 3"]:
    """Return outdoor points spread evenly over the half-disc in front of a BS [m].

    Args:
        scene: The scene.
        bs_position_m: The BS [m].
        azimuth_rad: Where its panel looks.
        num_points: Number of points; fewer come where little ground lies outdoors.
    """
    number = np.arange(_TRIES * num_points)
    area, turn = ((0.5 + number * step) % 1.0 for step in _R2)
    radius_m, angle = _RANGE_M * np.sqrt(area), azimuth_rad + np.pi * (turn - 0.5)
    offset_m = radius_m[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    position_m, is_outdoors = place_outdoors(
        scene, bs_position_m[:2] + offset_m, height_m=_HEIGHT_M, wall_margin_m=_WALL_MARGIN_M
    )
    return position_m[is_outdoors][:num_points]
