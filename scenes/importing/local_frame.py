"""The metric frame of an imported scene, boxes in degrees, and checks of a map's coordinates.

Longitudes jump at the 180-degree meridian. A box or a map on both sides of it is understood by
counting longitudes from 0 to 360 degrees there; the projection itself does not mind.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import shapely
from jaxtyping import Float
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from raymark.errors import ConfigError, SceneError
from raymark.scenes.importing.buildings import SourceMap, Surface

BBox = tuple[float, float, float, float]
"""West, south, east, north [deg]; west is greater than east across the 180-degree meridian."""

WGS84 = CRS.from_user_input("OGC:CRS84")
MAX_EXTENT_M = 20_000.0
_EARTH_RADIUS_M = 6_378_137.0
_GeometryT = TypeVar("_GeometryT", bound=BaseGeometry | np.ndarray)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFrame:
    """A plane in metres, x east and y north, that touches the earth at its origin.

    It is the transverse Mercator projection of the WGS84 ellipsoid centred on the origin. Its
    scale is 1 + x^2 / (2 R^2) (Snyder 1987, eq. 8-7), so that lengths are true to 1e-6 within
    9 km of the origin; a UTM zone is off by up to 4e-4, and turned against north.

    Attributes:
        origin_lon_deg: Longitude of the point (0, 0) [deg].
        origin_lat_deg: Its latitude [deg].
    """

    origin_lon_deg: float
    origin_lat_deg: float

    @property
    def crs(self) -> CRS:
        """The frame as a reference system."""
        return _frame_crs(self.origin_lon_deg, self.origin_lat_deg)

    def project(self, geometry: _GeometryT, crs: CRS) -> _GeometryT:
        """Bring a geometry, or an array of them, from its reference system into the frame.

        Raises:
            SceneError: If a point has no place in the frame.
        """

        def project_xy(xy: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
            return self.project_points(xy, crs)

        return shapely.transform(geometry, project_xy)

    def project_points(
        self, points: Float[np.ndarray, "point axis"], crs: CRS
    ) -> Float[np.ndarray, "point axis"]:
        """Bring points (x, y) or (x, y, z) into the frame; z stays as it is.

        Raises:
            SceneError: If a point has no place in the frame.
        """
        projected = np.array(points, dtype=float)
        x_m, y_m = _transformer(crs, self.crs).transform(projected[:, 0], projected[:, 1])
        projected[:, 0], projected[:, 1] = x_m, y_m
        if not np.isfinite(projected[:, :2]).all():
            raise SceneError(
                f"a point of the map in '{crs.name}' cannot be projected to the scene's frame at "
                f"{self.origin_lon_deg:.5f}, {self.origin_lat_deg:.5f}; check its coordinates "
                "and --crs"
            )
        return projected

    def project_surfaces(self, surfaces: Sequence[Surface], crs: CRS) -> tuple[Surface, ...]:
        """Bring the faces of a building into the frame; z stays as it is.

        Raises:
            SceneError: If a point has no place in the frame.
        """
        rings = [ring for surface in surfaces for ring in surface.rings]
        if not rings:
            return ()
        ends = np.cumsum([len(ring) for ring in rings])[:-1]
        # One call for all points: a transformation of a single ring is mostly overhead.
        projected = iter(np.split(self.project_points(np.concatenate(rings), crs), ends))
        return tuple(
            replace(surface, rings=tuple(next(projected) for _ in surface.rings))
            for surface in surfaces
        )

    def to_lonlat(self, points_m: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        """Return longitude and latitude (WGS84) [deg] of points in the frame [m]."""
        lonlat = _transformer(self.crs, WGS84).transform(points_m[:, 0], points_m[:, 1])
        return np.column_stack(lonlat)


UNPLACED = LocalFrame(origin_lon_deg=0.0, origin_lat_deg=0.0)
"""The frame of what has no place on earth."""


def make_frame(source: SourceMap, bbox: BBox | None = None) -> LocalFrame:
    """Make the frame at the centre of a box, or of the map's own bounds; a picture has its own.

    Raises:
        SceneError: If the box or the map is wider than `MAX_EXTENT_M`.
    """
    if source.picture_m is not None:
        return UNPLACED
    if bbox is not None:
        require_box(bbox)
        return _frame_at(bbox)
    box = _enclosing_box(_to_lonlat(bounds_of(source), source.crs))
    _require_size("the map", box, "choose a part of it with --bbox west,south,east,north")
    return _frame_at(box)


def require_box(bbox: BBox) -> None:
    """Refuse a box that no scene can fill, before anything is downloaded.

    Raises:
        SceneError: If it is wider than `MAX_EXTENT_M`.
    """
    _require_size("the box", bbox, "choose a smaller one with --bbox")


def _require_size(what: str, box: BBox, remedy: str) -> None:
    west, south, east, north = box
    width_m, depth_m = _size_m(box)
    if max(width_m, depth_m) > MAX_EXTENT_M:
        raise SceneError(
            f"{what} spans {width_m / 1000:.4g} x {depth_m / 1000:.4g} km, from {west:.5g}, "
            f"{south:.5g} to {east:.5g}, {north:.5g} deg, but a scene can span "
            f"{MAX_EXTENT_M / 1000:g} km at most; {remedy}"
        )


def select_in_box(source: SourceMap, bbox: BBox) -> SourceMap:
    """Return the map with the features alone whose bounds touch a box; none of them is cut.

    Raises:
        SceneError: If it touches none.
    """
    west, south, east, north = _unwrapped(bbox)
    lonlat = _to_lonlat(bounds_of(source), source.crs)
    # Longitudes nearest to the box, also of the second corner of a feature across the meridian.
    centre = (west + east) / 2
    near = lonlat.copy()
    near[..., 0] = centre + np.mod(lonlat[..., 0] - centre + 180, 360) - 180
    low, high = near.min(axis=1), near.max(axis=1)
    touches = (low <= [east, north]).all(axis=1) & (high >= [west, south]).all(axis=1)
    kept = tuple(f for f, inside in zip(source.features, touches, strict=True) if inside)
    if not kept:
        x0, y0, x1, y1 = _enclosing_box(lonlat)
        raise SceneError(
            f"the box {','.join(f'{value:g}' for value in bbox)} holds no building of "
            f"{source.source}; its buildings lie in {x0:.5f},{y0:.5f},{x1:.5f},{y1:.5f}"
        )
    return replace(source, features=kept)


def parse_bbox(text: str) -> BBox:
    """Read "west,south,east,north" [deg]; west > east means across the 180-degree meridian.

    Raises:
        ConfigError: If these are not four numbers in range that make a box.
    """
    form = f"--bbox '{text}' must be west,south,east,north in degrees"
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{form}, got something that is no number") from error
    if len(values) != 4:
        raise ConfigError(f"{form}, got {len(values)} number{'s' * (len(values) != 1)}, not 4")
    west, south, east, north = values
    # Written so that a NaN fails too.
    if not (max(abs(west), abs(east)) <= 180 and max(abs(south), abs(north)) <= 90):
        raise ConfigError(
            f"{form}, longitudes within +-180 and latitudes within +-90 (metres are not read)"
        )
    if south >= north:
        raise ConfigError(f"{form}, but south {south:g} is not below north {north:g}")
    if west == east or _unwrapped((west, south, east, north))[2] - west > 180:
        raise ConfigError(
            f"{form}, but west {west:g} is not left of east {east:g} (a box across the "
            "180-degree meridian, such as 179.9,-17,-179.9,-16.9, is understood)"
        )
    return west, south, east, north


def parse_crs(text: str, *, option: str = "--crs") -> CRS:
    """Read a reference system that a user gives.

    Args:
        text: What was given, such as "EPSG:25832", or "EPSG:2263+6360" with heights.
        option: How.

    Raises:
        ConfigError: If it is unknown or no horizontal reference system.
    """
    try:
        crs = CRS.from_user_input(text)
        horizontal_crs(crs)  # raises if it has no map coordinates
    except (CRSError, SceneError) as error:
        raise ConfigError(
            f"{option} '{text}' is not a known reference system of map coordinates; give its EPSG "
            "code, such as EPSG:4326 (degrees) or EPSG:25832 (UTM zone 32N)"
        ) from error
    return crs


def crs_of_file(value: object, *, where: str, option: str = "--crs") -> CRS:
    """Read a reference system as a file states it: name, URN, URL or PROJJSON.

    Args:
        value: What it states.
        where: The file.
        option: With which its user can say something else.

    Raises:
        SceneError: If it is unknown or no horizontal reference system.
    """
    try:
        return horizontal_crs(CRS.from_user_input(value))
    except (CRSError, SceneError) as error:
        text = " ".join(str(value).split())
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        fault = "is not stated" if value is None else f"'{shown}' is not known"
        raise SceneError(
            f"{where}: its reference system {fault}; say with {option} what its coordinates are, "
            f"such as {option} EPSG:25832"
        ) from error


def horizontal_crs(crs: CRS) -> CRS:
    """Return the horizontal part of a compound or 3D reference system.

    Raises:
        SceneError: If it has none that is geographic or projected.
    """
    flat = crs.to_2d()
    if not (flat.is_geographic or flat.is_projected):
        raise SceneError(f"reference system '{crs.name}' has no map coordinates")
    return flat


def height_unit_m(crs: CRS) -> float | None:
    """Return the unit of the heights of a reference system [m], negative if they count downwards.

    None if it says nothing of heights.
    """
    for axis in crs.axis_info:
        if axis.direction in {"up", "down"}:
            return float(axis.unit_conversion_factor) * (1 if axis.direction == "up" else -1)
    return None


def bounds_of(source: SourceMap) -> Float[np.ndarray, "feature corner=2 axis=2"]:
    """Return the lower and upper corner of every feature, in the map's reference system."""
    geometries = np.array([feature.geometry for feature in source.features], dtype=object)
    return shapely.bounds(geometries).reshape(-1, 2, 2)


def _to_lonlat(
    bounds: Float[np.ndarray, "feature corner=2 axis=2"], crs: CRS
) -> Float[np.ndarray, "feature corner=2 axis=2"]:
    flat = bounds.reshape(-1, 2)
    lonlat = np.column_stack(_transformer(crs, WGS84).transform(flat[:, 0], flat[:, 1]))
    if not np.isfinite(lonlat).all():
        raise SceneError(
            f"some coordinates of the map are outside of '{crs.name}'; check them and --crs"
        )
    return lonlat.reshape(bounds.shape)


def _enclosing_box(lonlat: Float[np.ndarray, "feature corner=2 axis=2"]) -> BBox:
    lon, lat = lonlat[..., 0], lonlat[..., 1]
    shifted = np.mod(lon, 360)
    if np.ptp(shifted) < np.ptp(lon):
        lon = shifted
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _unwrapped(bbox: BBox) -> BBox:
    west, south, east, north = bbox
    return west, south, east + 360 if east < west else east, north


def _size_m(bbox: BBox) -> tuple[float, float]:
    west, south, east, north = np.deg2rad(_unwrapped(bbox))
    width_m = _EARTH_RADIUS_M * (east - west) * math.cos((south + north) / 2)
    return width_m, _EARTH_RADIUS_M * (north - south)


def _frame_at(bbox: BBox) -> LocalFrame:
    west, south, east, north = _unwrapped(bbox)
    lon_deg = math.remainder((west + east) / 2, 360)
    # A nanodegree is 0.1 mm: the frame can be written down and made again from a card.
    return LocalFrame(
        origin_lon_deg=round(lon_deg, 9), origin_lat_deg=round((south + north) / 2, 9)
    )


@lru_cache(maxsize=16)
def _frame_crs(lon_deg: float, lat_deg: float) -> CRS:
    return CRS.from_proj4(
        f"+proj=tmerc +lat_0={lat_deg!r} +lon_0={lon_deg!r} +k=1 +x_0=0 +y_0=0 "
        "+datum=WGS84 +units=m +no_defs +type=crs"
    )


@lru_cache(maxsize=16)
def _transformer(source: CRS, target: CRS) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
