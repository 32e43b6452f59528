"""The ground of an imported scene: flat, or terrain from a raster of heights."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pyproj import CRS, Transformer
from pyproj.database import get_units_map
from pyproj.exceptions import CRSError
from scipy.ndimage import distance_transform_edt, map_coordinates

from raymark.errors import SceneError
from raymark.extras import import_extra
from raymark.scenes.importing.buildings import ImportFinding
from raymark.scenes.importing.ground import Extent, Ground
from raymark.scenes.importing.local_frame import (
    LocalFrame,
    crs_of_file,
    height_unit_m,
    horizontal_crs,
    parse_crs,
)

_HEIGHT_RANGE_M = (-500.0, 9000.0)
"""From the shore of the Dead Sea to Mount Everest; outside lie undeclared no-data values."""
_NO_DATA = -9999.0
"""What ESRI's ASCII grids mean where they do not say."""
_UNITS_M = {
    name.lower(): unit.conv_factor
    for key, unit in get_units_map(category="linear").items()
    for name in (key, unit.proj_short_name)
    if name
} | {
    **dict.fromkeys(("meter", "meters", "metres"), 1.0),
    **dict.fromkeys(("feet", "international foot"), 0.3048),
    **dict.fromkeys(("ftus", "us_survey_foot", "foot_us"), 1200 / 3937),
    # PROJ's database has 0.01 m for it.
    **dict.fromkeys(("dm", "decimeter", "decimetre"), 0.1),
}
"""Names of units [m], as PROJ, GDAL and Esri have them."""
_HEADER_KEYS = {
    *("ncols", "nrows", "cellsize", "dx", "dy", "nodata_value"),
    *("xllcorner", "yllcorner", "xllcenter", "yllcenter"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terrain:
    """A raster of heights.

    Attributes:
        path: Its file.
        height_m: Heights, the northernmost row first; holes are filled from the nearest pixel [m].
        is_hole: Pixels without data.
        to_pixel: Affine map (2 x 3) from coordinates to column and row, whole at pixel centres.
        crs: Reference system of the coordinates.
        assumed: What had to be assumed of its heights, or nothing.
    """

    path: Path
    height_m: Float[np.ndarray, "row column"]
    is_hole: Bool[np.ndarray, "row column"]
    to_pixel: Float[np.ndarray, "2 3"]
    crs: CRS
    assumed: str = ""


def read_terrain(path: Path, *, crs: str | None = None) -> Terrain:
    """Read heights from an ESRI ASCII grid (`.asc`) or a GeoTIFF (`.tif`).

    The unit of heights is that of the raster's band, else that of its reference system, else the
    metre; a system of feet that says nothing of heights leaves that as an assumption.

    Args:
        path: The raster.
        crs: Its reference system, if the file does not say it (an ASCII grid has a `.prj` beside);
            with heights in another unit than metres a compound one, such as "EPSG:2263+6360".

    Raises:
        SceneError: If it cannot be read, has no data or no reference system.
        ConfigError: If a GeoTIFF is given and rasterio is not installed, or `crs` is unknown.
    """
    if not path.is_file():
        raise SceneError(f"terrain {path} does not exist")
    readers = {".asc": _read_ascii_grid, ".tif": _read_geotiff, ".tiff": _read_geotiff}
    if path.suffix.lower() not in readers:
        raise SceneError(
            f"terrain {path}: rasters of type '{path.suffix}' are not read; give an ESRI ASCII "
            "grid (.asc) or a GeoTIFF (.tif), which gdal_translate makes"
        )
    height, to_pixel, found, unit = readers[path.suffix.lower()](path)
    is_hole = ~np.isfinite(height)
    if is_hole.all():
        raise SceneError(f"terrain {path} holds no height at all")
    if is_hole.any():
        row, column = distance_transform_edt(is_hole, return_distances=False, return_indices=True)
        height = height[row, column]
    given_crs = parse_crs(crs, option="--terrain-crs") if crs is not None else None
    chosen_crs = given_crs or _crs_of_raster(path, found)
    unit_m = _height_unit_m(path, given_crs, unit, found)
    return Terrain(
        path=path,
        height_m=height * (unit_m or 1.0),
        is_hole=is_hole,
        to_pixel=to_pixel,
        crs=horizontal_crs(chosen_crs),
        assumed=_assumption(chosen_crs) if unit_m is None else "",
    )


def lay_terrain(
    terrain: Terrain, frame: LocalFrame, extent_m: Extent, *, spacing_m: float
) -> tuple[Ground, tuple[ImportFinding, ...]]:
    """Sample a raster on a regular grid over the extent of a scene.

    Heights count from the lowest grid point, whose own height is the ground's `offset_m`.

    Args:
        terrain: The raster.
        frame: The scene's frame.
        extent_m: x_min, y_min, x_max, y_max of the ground [m].
        spacing_m: Largest distance of grid points [m].

    Returns:
        The ground, what was assumed of its heights, and how many of its points had no data.

    Raises:
        SceneError: If the raster does not cover the extent, or holds absurd heights there.
    """
    x_m, y_m = (_axis(extent_m[i], extent_m[i + 2], spacing_m) for i in (0, 1))
    column, row = _pixels(terrain, frame, x_m, y_m)
    num_rows, num_columns = terrain.height_m.shape
    outside = (abs(row - (num_rows - 1) / 2) > num_rows / 2) | (
        abs(column - (num_columns - 1) / 2) > num_columns / 2
    )
    if outside.any():
        raise SceneError(
            f"terrain {terrain.path} does not cover the scene: {outside.mean():.0%} of its "
            f"{x_m[-1] - x_m[0]:.0f} x {y_m[-1] - y_m[0]:.0f} m lie outside; give a larger raster "
            "or a smaller --bbox"
        )
    height_m = map_coordinates(terrain.height_m, [row, column], order=1, mode="nearest")
    low, high = _HEIGHT_RANGE_M
    if height_m.min() < low or height_m.max() > high:
        raise SceneError(
            f"terrain {terrain.path}: expected heights from {low:g} to {high:g} m, got "
            f"{height_m.min():g} to {height_m.max():g} m; declare its no-data value"
        )
    offset_m = float(height_m.min())
    ground = Ground(x_m=x_m, y_m=y_m, height_m=height_m - offset_m, offset_m=offset_m)
    holes = int(terrain.is_hole[_nearest(row, num_rows), _nearest(column, num_columns)].sum())
    reason = f"{holes} of {height_m.size} ground points have no height; filled from the nearest"
    findings = [
        ImportFinding(action="assumed", reason=terrain.assumed, building="terrain"),
        ImportFinding(action="repaired", reason=reason if holes else "", building="terrain"),
    ]
    return ground, tuple(finding for finding in findings if finding.reason)


def _axis(low_m: float, high_m: float, spacing_m: float) -> Float[np.ndarray, "point"]:
    return np.linspace(low_m, high_m, int(np.ceil((high_m - low_m) / spacing_m)) + 1)


def _pixels(
    terrain: Terrain,
    frame: LocalFrame,
    x_m: Float[np.ndarray, "column"],
    y_m: Float[np.ndarray, "row"],
) -> tuple[Float[np.ndarray, "row column"], Float[np.ndarray, "row column"]]:
    """Return where in the raster the points of a grid lie: column and row."""
    to_raster = Transformer.from_crs(frame.crs, terrain.crs, always_xy=True)
    x, y = to_raster.transform(*np.meshgrid(x_m, y_m))
    a, b = terrain.to_pixel
    return a[0] * x + a[1] * y + a[2], b[0] * x + b[1] * y + b[2]


def _nearest(pixel: Float[np.ndarray, "row column"], size: int) -> np.ndarray:
    return np.rint(pixel).astype("i8").clip(0, size - 1)


def _crs_of_raster(path: Path, found: str | None) -> CRS:
    if found is None:
        raise SceneError(
            f"terrain {path} does not say its reference system; give --terrain-crs, such as "
            "EPSG:25832, or put a .prj file beside it"
        )
    crs_of_file(found, where=f"terrain {path}", option="--terrain-crs")  # raises if it is unknown
    return CRS.from_user_input(found)


def _height_unit_m(
    path: Path, given: CRS | None, unit: str | None, found: str | None
) -> float | None:
    """Return the unit of heights [m] that user, band or file states first; None if none does."""
    if unit and unit.lower() not in _UNITS_M:
        raise SceneError(
            f"terrain {path}: expected heights in a unit of length, got '{unit}'; give a raster "
            "of heights"
        )
    try:
        of_file = CRS.from_user_input(found) if found is not None else None
    except CRSError:
        of_file = None
    return (
        (height_unit_m(given) if given else None)
        or (_UNITS_M[unit.lower()] if unit else None)
        or (height_unit_m(of_file) if of_file else None)
    )


def _assumption(crs: CRS) -> str:
    """Return what is assumed of heights of which nothing says the unit."""
    across = crs.axis_info[0]
    if crs.is_geographic or across.unit_conversion_factor == 1:
        return ""
    return (
        f"heights of the terrain taken as metres; '{across.unit_name}' is stated for x and y alone"
    )


def _read_ascii_grid(path: Path) -> tuple[np.ndarray, np.ndarray, str | None, None]:
    """Read ESRI's ASCII format: a header of `key value` lines, then rows from north to south."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        header: dict[str, float] = {}
        while lines and lines[0].split()[:1] and lines[0].split()[0].lower() in _HEADER_KEYS:
            key, value = lines.pop(0).split()
            header[key.lower()] = float(value)
        height_m = np.array(" ".join(lines).split(), dtype="f8")
        height_m = height_m.reshape(_count(header, "nrows"), _count(header, "ncols"))
        to_pixel = _grid_to_pixel(header)
    except (OSError, ValueError, KeyError) as error:
        what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise SceneError(f"terrain {path} is no ESRI ASCII grid: {what}") from error
    height_m[height_m == header.get("nodata_value", _NO_DATA)] = np.nan
    beside = path.with_suffix(".prj")
    return (
        height_m,
        to_pixel,
        beside.read_text(encoding="utf-8", errors="replace") if beside.is_file() else None,
        None,
    )


def _count(header: dict[str, float], key: str) -> int:
    count = header[key]
    if not (count >= 1 and count.is_integer()):
        raise ValueError(f"its {key} is {count:g}, expected a whole number above 0")
    return int(count)


def _grid_to_pixel(header: dict[str, float]) -> Float[np.ndarray, "2 3"]:
    dx, dy = (header[key] if key in header else header["cellsize"] for key in ("dx", "dy"))
    if not (0 < dx < np.inf and 0 < dy < np.inf):
        raise ValueError("its cell size is not positive and finite")
    x0 = header["xllcenter"] if "xllcenter" in header else header["xllcorner"] + dx / 2
    y0 = header["yllcenter"] if "yllcenter" in header else header["yllcorner"] + dy / 2
    if not np.isfinite([x0, y0]).all():
        raise ValueError("its corner is not finite")
    last_row = header["nrows"] - 1
    return np.array([[1 / dx, 0, -x0 / dx], [0, -1 / dy, last_row + y0 / dy]])


def _read_geotiff(path: Path) -> tuple[np.ndarray, np.ndarray, str | None, str | None]:
    rasterio = import_extra("rasterio", name="rasterio, which reads GeoTIFF,")
    no_place, unreadable = rasterio.errors.NotGeoreferencedWarning, rasterio.errors.RasterioError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", no_place)
            # GeoTIFF 1.0 would else hide what it says of heights.
            with rasterio.Env(GTIFF_REPORT_COMPD_CS=True), rasterio.open(path) as raster:
                heights, to_pixel = _heights(raster), _corner_to_centre(raster)
                return heights, to_pixel, _wkt(raster), raster.units[0]
    except (unreadable, no_place) as error:
        raise SceneError(f"terrain {path} is no georeferenced GeoTIFF: {error}") from error


def _heights(raster: Any) -> Float[np.ndarray, "row column"]:
    stored = np.ma.filled(raster.read(1, masked=True).astype("f8"), np.nan)
    return stored * raster.scales[0] + raster.offsets[0]


def _corner_to_centre(raster: Any) -> Float[np.ndarray, "2 3"]:
    """Count from the centre of the first pixel; rasterio counts from its corner."""
    to_pixel = np.array(~raster.transform, dtype="f8").reshape(3, 3)[:2]
    return to_pixel - np.array([[0, 0, 0.5], [0, 0, 0.5]])


def _wkt(raster: Any) -> str | None:
    return None if raster.crs is None else str(raster.crs.to_wkt())
