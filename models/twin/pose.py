"""Where a map has the antenna: its heading and place, learnt from links whose places are known.

A map whose antenna looks half a degree off has the whole city turned about the site, by a metre at
100 m; one whose antenna stands elsewhere has it shifted. Both show in all paths alike, and no
correction of single walls finds them where no label is near. Turned, a map's paths keep lengths and
zeniths, so that nothing is traced again; shifted, a length changes by the shift along the way from
the panel, to the first order.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from raymark.benchmark import CityMap, MapPaths
from raymark.models.twin.calibration import calibrate, log_explained
from raymark.models.twin.features import Observed, Predicted, predicted

_TURNS_DEG = np.arange(-4.0, 4.25, 0.5)
_PRIOR = np.array([math.radians(2.0), 1.0, 1.0, 1.0])
"""Standard deviations of heading [rad] and place [m] before any label is seen: our decision."""
_FIRST_STEPS = np.array([math.radians(0.5), 0.3, 0.3, 0.3])
_MOST_LINKS, _NUM_TRIALS, _NUM_ROUNDS = 600, 80, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How a map is turned about its site, and then shifted.

    Attributes:
        yaw_rad: Counter-clockwise, from above [rad].
        x_m: Shift of the city in the frame of the site [m].
        y_m: The same.
        z_m: The same, upwards.
    """

    yaw_rad: float = 0.0
    x_m: float = 0.0
    y_m: float = 0.0
    z_m: float = 0.0

    def points(self, point_m: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        """Return where points of the map are [m]."""
        return _turned(point_m, self.yaw_rad) + np.array([self.x_m, self.y_m])

    def points_of_map(self, place_m: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        """Return where the map has places [m]: the inverse of `points`."""
        return _turned(place_m - np.array([self.x_m, self.y_m]), -self.yaw_rad)

    def paths(self, paths: MapPaths) -> MapPaths:
        """Return the paths of a map as they are."""
        azimuth_rad = paths.azimuth_rad + np.float32(self.yaw_rad)
        along = self.x_m * np.cos(azimuth_rad) + self.y_m * np.sin(azimuth_rad)
        longer_m = np.sin(paths.zenith_rad) * along + np.cos(paths.zenith_rad) * self.z_m
        return replace(
            paths,
            range_m=np.where(paths.mask, paths.range_m + longer_m, 0.0).astype("f4"),
            azimuth_rad=np.where(paths.mask, azimuth_rad, 0.0).astype("f4"),
            range_gradient=_turned(paths.range_gradient, self.yaw_rad).astype("f4"),
        )

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers."""
        return asdict(self)


def at_places(
    city: CityMap, band: str, pose: Pose, place_m: Float[np.ndarray, "link 2"]
) -> tuple[Predicted, Float[np.ndarray, "link"]]:
    """Return what a map has at places, and how far the nearest of its points is [m].

    Args:
        city: The map.
        band: Name of one of its bands.
        pose: How it is turned and shifted.
        place_m: In the frame of the site [m].
    """
    distance_m, point = _tree_of(city).query(pose.points_of_map(place_m))
    paths = city.paths[band]
    near = MapPaths(**{name: getattr(paths, name)[point] for name in MapPaths.__slots__})
    offset_m = place_m - pose.points(city.point_m[point])
    return predicted(pose.paths(near)).moved(offset_m), distance_m


def as_explained(
    city: CityMap, band: str, pose: Pose, place_m: Float[np.ndarray, "link 2"]
) -> Predicted:
    """Return the same of places on the map alone: elsewhere it has no path."""
    truth, distance_m = at_places(city, band, pose, place_m)
    is_there = (distance_m <= city.spacing_m)[:, None]
    return replace(truth, mask=truth.mask & is_there)


def pose_of(seen: Observed, place_m: Float[np.ndarray, "link 2"], city: CityMap, band: str) -> Pose:
    """Return the pose in which a map explains labelled links best.

    Args:
        seen: Estimated paths of links.
        place_m: Where they are, in the frame of the site [m].
        city: The map.
        band: Name of the band.
    """
    if len(seen) > _MOST_LINKS:
        rows = np.random.default_rng(0).choice(len(seen), _MOST_LINKS, replace=False)
        seen, place_m = seen.take(rows), place_m[rows]
    best = np.zeros(len(_PRIOR))
    for number in range(_NUM_ROUNDS):
        cost = _cost_of(seen, place_m, city, band, best)
        if number == 0:
            turns = np.radians(_TURNS_DEG)[:, None] * np.eye(len(_PRIOR))[0]
            best = min(turns, key=cost)
        simplex = np.vstack([best, best + np.diag(_FIRST_STEPS)])
        options = {"initial_simplex": simplex, "maxfev": _NUM_TRIALS}
        best = minimize(cost, best, method="Nelder-Mead", options=options).x
    return _pose(best)


def _cost_of(
    seen: Observed,
    place_m: Float[np.ndarray, "link 2"],
    city: CityMap,
    band: str,
    known: Float[np.ndarray, "4"],
) -> Callable[[Float[np.ndarray, "4"]], float]:
    """Return how badly a pose explains links, with widths as they are in another pose."""
    calibration = calibrate(seen, at_places(city, band, _pose(known), place_m)[0])

    def cost(x: Float[np.ndarray, "4"]) -> float:
        truth = as_explained(city, band, _pose(x), place_m)
        return 0.5 * float(((x / _PRIOR) ** 2).sum()) - log_explained(seen, truth, calibration)

    return cost


@lru_cache(maxsize=4)
def _tree_of(city: CityMap) -> cKDTree:
    """Return the points of a map, ready to be asked for the nearest."""
    return cKDTree(city.point_m)


def _pose(x: Float[np.ndarray, "4"]) -> Pose:
    yaw_rad, x_m, y_m, z_m = x.tolist()
    return Pose(yaw_rad=yaw_rad, x_m=x_m, y_m=y_m, z_m=z_m)


def _turned(vector: Float[np.ndarray, "*n 2"], yaw_rad: float) -> Float[np.ndarray, "*n 2"]:
    """Turn vectors counter-clockwise."""
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    return vector @ np.array([[cos, sin], [-sin, cos]])
