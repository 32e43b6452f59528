"""Buildings traced from a picture of two colours, as sets of radio maps ship them.

RadioMapSeer has its buildings white on black, 256 x 256 pixels of 1 m (arXiv 2212.11777);
WAIR-D grey on white, with dark outlines (`environment.png`). The lower left corner of the
picture is the origin of the scene, x points right and y up.

Outlines count as ground. In WAIR-D's environment 00743 the lines of sight of the traced buildings
are then those of its 10,000 links but for 0.8 %; it is 2 % where they count as buildings.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from jaxtyping import Bool, Float, UInt8
from PIL import Image, UnidentifiedImageError

from raymark.errors import ConfigError, SceneError, counted
from raymark.scenes.importing.buildings import ImportFinding, MapFeature, SourceMap
from raymark.scenes.importing.local_frame import MAX_EXTENT_M, UNPLACED
from raymark.scenes.importing.map_file import read_bytes

PICTURE_SUFFIXES = (".png", ".gif", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
MOST_PIXELS = 25_000_000
LEAST_AREA_PX = 4
"""Smaller spots are noise, or what is left of a line."""
TOLERANCE_PX = 1.2
"""Below, the steps of slanting walls stay: 150 rectangles of any angle, 12 to 50 pixels wide, have
72 corners at 0.5, 11 at 1.0 and 5 at 1.2 in the mean, and lie up to 0.7 pixels off in each case."""
CLEAR_SHARE = 0.4
"""The rarer colour is the buildings' up to this share of the picture; beyond, its user must say."""

_FORMATS = ("PNG", "GIF", "BMP", "JPEG", "TIFF")
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_LEVELS = 24
"""Greys that differ by no more are one colour: pictures that were packed with loss blur."""
_LEAST_THIRD = 0.05
"""A third colour on less of the picture is edges, outlines, writing."""
_MOST_STEPS = 500_000
_LEAST_KEPT_AREA = 0.8

Colour = Literal["dark", "light"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """What a picture does not say of itself.

    Attributes:
        metres_per_pixel: Side of a pixel [m].
        buildings: Which of the two colours is buildings; the rarer one if not given.
    """

    metres_per_pixel: float | None = None
    buildings: Colour | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Colours:
    """The two colours of a picture.

    Attributes:
        dark: Level of the darker, from 0 to 255.
        light: Level of the other.
        is_dark: Which pixels are nearer to the darker.
        is_line: Which are darker or lighter than both: outlines, writing.
    """

    dark: int
    light: int
    is_dark: Bool[np.ndarray, "row column"]
    is_line: Bool[np.ndarray, "row column"]


def is_picture(name: str) -> bool:
    """Tell whether a file is one by its name."""
    return name.endswith(PICTURE_SUFFIXES)


def read_picture(path: Path, options: PictureOptions) -> SourceMap:
    """Trace the buildings of a picture: their outlines along pixels, then straightened.

    Args:
        path: PNG, GIF, BMP, JPEG or TIFF of 8 bits a channel.
        options: Scale and colour.

    Raises:
        ConfigError: If the scale is missing.
        SceneError: If it is no such picture, too large, or its two colours cannot be told.
    """
    if options.metres_per_pixel is None:
        raise ConfigError(
            f"{path} is a picture, which has no scale: give --metres-per-pixel, its width in "
            "metres over its width in pixels"
        )
    grey = _read_grey(path)
    scale_m = options.metres_per_pixel
    depth_m, width_m = (scale_m * side for side in grey.shape)
    if max(width_m, depth_m) > MAX_EXTENT_M:
        raise SceneError(
            f"{path} spans {width_m / 1000:.4g} x {depth_m / 1000:.4g} km at {scale_m:g} m a "
            f"pixel, but a scene can span {MAX_EXTENT_M / 1000:g} km at most"
        )
    colours = _two_colours(grey, path)
    is_building, finding = _buildings(colours, options.buildings, path)
    outlines = _trace(is_building, path)
    features, findings = _features(outlines, grey.shape, scale_m)
    return SourceMap(
        features=features,
        crs=UNPLACED.crs,
        source=f"{path.name} (picture, {scale_m:g} m a pixel)",
        licence="unknown",
        attribution="unknown",
        findings=(*finding, *findings),
        picture_m=(width_m, depth_m),
    )


def _read_grey(path: Path) -> UInt8[np.ndarray, "row column"]:
    """Return a picture in grey; what is transparent is white."""
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _require_plain(image, path)
                coloured = image.convert("RGBA")
        ground = Image.new("RGBA", coloured.size, "white")
        return np.asarray(Image.alpha_composite(ground, coloured).convert("L"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        raise SceneError(
            f"{path} is no picture that can be read: expected {', '.join(_FORMATS)}"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise SceneError(
            f"{path} is no picture that can be read, or is cut off: {' '.join(str(error).split())}"
        ) from error


def _require_plain(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(path)
    num_frames = getattr(image, "n_frames", 1)
    if num_frames > 1:
        raise SceneError(f"{path} has {num_frames} pictures in it; save the one that is meant")
    if image.mode not in _EIGHT_BITS:
        raise SceneError(
            f"{path} has pixels of the type '{image.mode}', not of 8 bits a channel; save it so "
            "(heights of ground are given with --terrain)"
        )


def _too_large(path: Path) -> SceneError:
    return SceneError(f"{path} has more than {MOST_PIXELS:,} pixels; cut or scale it down")


def _two_colours(grey: UInt8[np.ndarray, "row column"], path: Path) -> _Colours:
    """Find the two colours that make up a picture, by how often each level of grey occurs."""
    counts, found = np.bincount(grey.ravel(), minlength=256), []
    while counts.any():
        level = int(counts.argmax())
        near = slice(max(level - _LEVELS, 0), level + _LEVELS + 1)
        found.append((level, int(counts[near].sum()) / grey.size))
        counts[near] = 0
    found.sort(key=lambda colour: -colour[1])
    if len(found) < 2 or (len(found) > 2 and found[2][1] >= _LEAST_THIRD):
        seen = ", ".join(f"grey {level} on {share:.1%}" for level, share in found[:4])
        num_colours = sum(share >= _LEAST_THIRD for _, share in found) if found[2:] else 1
        raise SceneError(
            f"{path}: expected two colours, buildings and ground, got "
            f"{counted(num_colours, 'colour')} ({seen}); save a plan that has these two alone"
        )
    dark, light = sorted(level for level, _ in found[:2])
    return _Colours(
        dark=dark,
        light=light,
        is_dark=grey.astype("i4") * 2 < dark + light,
        is_line=(grey < dark - _LEVELS) | (grey > light + _LEVELS),
    )


def _buildings(
    colours: _Colours, chosen: Colour | None, path: Path
) -> tuple[Bool[np.ndarray, "row column"], tuple[ImportFinding, ...]]:
    """Return which pixels are buildings: of the colour that is chosen, else of the rarer one."""
    share = float(colours.is_dark.mean())
    rarer: Colour = "dark" if share <= 0.5 else "light"
    if chosen is not None:
        return _without_lines(colours.is_dark == (chosen == "dark"), colours.is_line)
    if min(share, 1 - share) > CLEAR_SHARE:
        raise SceneError(
            f"{path}: its dark colour (grey {colours.dark}) is on {share:.0%} of it and its light "
            f"one (grey {colours.light}) on the rest, so either may be the buildings; say with "
            "--buildings dark or --buildings light"
        )
    reason = f"the {rarer} colour taken for buildings, as it is the rarer one"
    finding = ImportFinding(action="assumed", reason=reason, building="picture")
    is_building, findings = _without_lines(colours.is_dark == (rarer == "dark"), colours.is_line)
    return is_building, (finding, *findings)


def _without_lines(
    is_building: Bool[np.ndarray, "row column"], is_line: Bool[np.ndarray, "row column"]
) -> tuple[Bool[np.ndarray, "row column"], tuple[ImportFinding, ...]]:
    """Take outlines for ground, with what blurs beyond them: strips of a single pixel's width."""
    if not is_line.any():
        return is_building, ()
    inner = is_building & ~is_line
    square = inner[1:, 1:] & inner[:-1, 1:] & inner[1:, :-1] & inner[:-1, :-1]
    is_wide = np.zeros_like(inner)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            is_wide[rows, columns] |= square
    finding = ImportFinding(
        action="assumed",
        reason=f"outlines, {(is_building & ~is_wide).sum():,} pixels, taken for ground",
        building="picture",
    )
    return is_wide, (finding,)


def _trace(is_building: Bool[np.ndarray, "row column"], path: Path) -> np.ndarray:
    """Return the outlines of all areas, with their holes, along the sides of pixels.

    Areas that meet at a corner alone are two. Coordinates are columns and rows, from the top left.
    """
    framed = np.pad(is_building, 1)
    row, column = np.nonzero(framed[1:] != framed[:-1])
    across = np.stack([np.column_stack([column - 1, row]), np.column_stack([column, row])], axis=1)
    row, column = np.nonzero(framed[:, 1:] != framed[:, :-1])
    down = np.stack([np.column_stack([column, row - 1]), np.column_stack([column, row])], axis=1)
    steps = np.concatenate([across, down]).astype("f8")
    if len(steps) > _MOST_STEPS:
        raise SceneError(
            f"{path}: its buildings have {len(steps):,} sides of pixels, as noise has; give a plan "
            "of two colours"
        )
    areas = shapely.get_parts(shapely.polygonize(shapely.linestrings(steps)))
    inside = shapely.get_coordinates(shapely.point_on_surface(areas)).astype("i8")
    areas = areas[is_building[inside[:, 1], inside[:, 0]]]
    return areas[np.lexsort(shapely.bounds(areas)[:, :2].T)]


def _features(
    areas: np.ndarray, shape: tuple[int, ...], scale_m: float
) -> tuple[tuple[MapFeature, ...], list[ImportFinding]]:
    """Return areas as buildings in metres; spots are left out, those at the edge are told."""
    num_rows, num_columns = shape
    size_px, bounds = shapely.area(areas), shapely.bounds(areas)
    at_edge = (bounds[:, :2] <= 0).any(axis=1) | (bounds[:, 2:] >= [num_columns, num_rows]).any(1)
    outlines = shapely.transform(
        _straightened(areas), lambda xy: (xy * [1, -1] + [0, num_rows]) * scale_m
    )
    features, findings = [], []
    for i, outline in enumerate(outlines):
        name = f"area/{i}"
        if size_px[i] < LEAST_AREA_PX:
            reason = f"spot of less than {LEAST_AREA_PX} pixels"
            findings.append(ImportFinding(action="dropped", reason=reason, building=name))
            continue
        if at_edge[i]:
            reason = "may go on beyond the edge of the picture"
            findings.append(ImportFinding(action="assumed", reason=reason, building=name))
        features.append(MapFeature(id=name, geometry=outline, tags={"building": "yes"}))
    return tuple(features), findings


def _straightened(areas: np.ndarray) -> np.ndarray:
    """Leave out the steps of slanting walls; what would lose its area by that stays as it is."""
    areas = shapely.normalize(areas)  # rings begin at a corner, which simplifying never removes
    straight = shapely.simplify(areas, TOLERANCE_PX)
    change: Float[np.ndarray, " area"] = shapely.area(straight) / shapely.area(areas)
    is_kept = np.abs(change - 1) <= 1 - _LEAST_KEPT_AREA
    return np.where(is_kept, straight, shapely.simplify(areas, 0))
