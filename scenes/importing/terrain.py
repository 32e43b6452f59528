"""The ground of an imported scene: flat, or terrain from a raster of heights."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pyproj import CRS, Transformer
from scipy.ndimage import distance_transform_edt, map_coordinates

from raymark.errors import SceneError
from raymark.extras import import_extra
from raymark.scenes.importing.buildings import ImportFinding
from raymark.scenes.importing.ground import Extent, Ground
from raymark.scenes.importing.local_frame import LocalFrame, crs_of_file, parse_crs

_HEIGHT_RANGE_M = (-500.0, 9000.0)
"""From the shore of the Dead Sea to Mount Everest; outside lie undeclared no-data values."""
_NO_DATA = -9999.0
"""What ESRI's ASCII grids mean where they do not say."""
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
    """

    path: Path
    height_m: Float[np.ndarray, "row column"]
    is_hole: Bool[np.ndarray, "row column"]
    to_pixel: Float[np.ndarray, "2 3"]
    crs: CRS


def read_terrain(path: Path, *, crs: str | None = None) -> Terrain:
    """Read heights from an ESRI ASCII grid (`.asc`) or a GeoTIFF (`.tif`).

    Args:
        path: The raster; heights in metres.
        crs: Its reference system, if the file does not say it (an ASCII grid has a `.prj` beside).

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
    height_m, to_pixel, found_crs = readers[path.suffix.lower()](path)
    is_hole = ~np.isfinite(height_m)
    if is_hole.all():
        raise SceneError(f"terrain {path} holds no height at all")
    if is_hole.any():
        row, column = distance_transform_edt(is_hole, return_distances=False, return_indices=True)
        height_m = height_m[row, column]
    return Terrain(
        path=path,
        height_m=height_m,
        is_hole=is_hole,
        to_pixel=to_pixel,
        crs=_choose_crs(path, crs, found_crs),
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
        The ground, and how many of its points had no data.

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
    finding = ImportFinding(action="repaired", reason=reason, building="terrain")
    return ground, (finding,) if holes else ()


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


def _choose_crs(path: Path, given: str | None, found: object) -> CRS:
    if given is not None:
        return parse_crs(given, option="--terrain-crs")
    if found is None:
        raise SceneError(
            f"terrain {path} does not say its reference system; give --terrain-crs, such as "
            "EPSG:25832, or put a .prj file beside it"
        )
    return crs_of_file(found, where=f"terrain {path}", option="--terrain-crs")


def _read_ascii_grid(path: Path) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Read ESRI's ASCII format: a header of `key value` lines, then rows from north to south."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        header: dict[str, float] = {}
        while lines and lines[0].split()[:1] and lines[0].split()[0].lower() in _HEADER_KEYS:
            key, value = lines.pop(0).split()
            header[key.lower()] = float(value)
        height_m = np.array(" ".join(lines).split(), dtype="f8")
        height_m = height_m.reshape(int(header["nrows"]), int(header["ncols"]))
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
    )


def _grid_to_pixel(header: dict[str, float]) -> Float[np.ndarray, "2 3"]:
    dx, dy = (header[key] if key in header else header["cellsize"] for key in ("dx", "dy"))
    if min(dx, dy) <= 0:
        raise ValueError("its cell size is not positive")
    x0 = header["xllcenter"] if "xllcenter" in header else header["xllcorner"] + dx / 2
    y0 = header["yllcenter"] if "yllcenter" in header else header["yllcorner"] + dy / 2
    last_row = header["nrows"] - 1
    return np.array([[1 / dx, 0, -x0 / dx], [0, -1 / dy, last_row + y0 / dy]])


def _read_geotiff(path: Path) -> tuple[np.ndarray, np.ndarray, str | None]:
    rasterio = import_extra("rasterio", name="rasterio, which reads GeoTIFF,")
    no_place, unreadable = rasterio.errors.NotGeoreferencedWarning, rasterio.errors.RasterioError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", no_place)
            with rasterio.open(path) as raster:
                return _heights(raster), _corner_to_centre(raster), _wkt(raster)
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
