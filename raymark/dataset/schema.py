"""The one table of every stored array; writer, reader, validator and the docs are driven by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from raymark.errors import PhysicsError, SchemaError
from raymark.radio import SPEED_OF_LIGHT_M_S
from raymark.radio.elements import ELEMENT_GAIN_DB
from raymark.radio.levels import free_space_amplitude

SCHEMA_VERSION: Final = 1

FileKind = Literal["paths", "detail", "fingerprints", "buildings"]
Arrays = Mapping[str, np.ndarray]

NOTHING_TRUNCATED_DB = -200.0
"""Value of `link/truncated_power_db` where no path was dropped."""

LOS, NLOS, OUTAGE = 1, 0, -1
"""Values of `link/los`."""

NO_INTERACTION, SPECULAR, DIFFUSE, REFRACTION, DIFFRACTION = 0, 1, 2, 4, 8
"""Values of `path/interaction` (Sionna's codes)."""

UNKNOWN = 15
"""Any of them: it stands for all interactions of a path whose source does not tell them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One stored array: where it stands, what it holds, in which unit and order of axes."""

    file: FileKind
    name: str
    dtype: str
    axes: tuple[str, ...]
    unit: str
    description: str


def _spec(
    file: FileKind, name: str, dtype: str, axes: str, unit: str, description: str
) -> FieldSpec:
    return FieldSpec(
        file=file,
        name=name,
        dtype=dtype,
        axes=tuple(axes.split()),
        unit=unit,
        description=description,
    )


FIELDS: tuple[FieldSpec, ...] = (
    _spec("paths", "bs/position_m", "f4", "space", "m", "Centre of the BS panel, world frame"),
    _spec(
        "paths", "bs/orientation_rad", "f4", "space", "rad", "Yaw, pitch (down), roll of the panel"
    ),
    _spec("paths", "ue/position_m", "f4", "link space", "m", "UE antenna, world frame"),
    _spec("paths", "ue/ue_index", "i8", "link", "", "Number of the UE at its scene and site"),
    _spec("paths", "ue/track_id", "i4", "link", "", "Track of the UE; -1 if not on a track"),
    _spec("paths", "ue/track_step", "i4", "link", "", "Time order on the track; -1 if none"),
    _spec(
        "paths",
        "link/path_offset",
        "i8",
        "link+1",
        "",
        "Paths of link i are rows path_offset[i]:path_offset[i+1], by falling power at band 0",
    ),
    _spec("paths", "link/los", "i1", "link", "", "1 LOS, 0 NLOS, -1 outage (no path)"),
    _spec(
        "paths",
        "link/truncated_power_db",
        "f4",
        "band link",
        "dB",
        "Power of the paths that were found and dropped, relative to all found: the largest share "
        "at any carrier of reference, of the band where there is none; -200 if none was dropped",
    ),
    _spec("paths", "link/saturated", "?", "link", "", "More paths were found than may be kept"),
    _spec("paths", "path/delay_s", "f4", "path", "s", "Absolute propagation delay"),
    _spec("paths", "path/zenith_bs_rad", "f4", "path", "rad", "Direction from the BS, world frame"),
    _spec(
        "paths", "path/azimuth_bs_rad", "f4", "path", "rad", "Direction from the BS, world frame"
    ),
    _spec("paths", "path/zenith_ue_rad", "f4", "path", "rad", "Direction from the UE, world frame"),
    _spec(
        "paths", "path/azimuth_ue_rad", "f4", "path", "rad", "Direction from the UE, world frame"
    ),
    _spec(
        "paths",
        "path/interaction",
        "u1",
        "path depth",
        "",
        "0 none, 1 specular, 2 diffuse, 4 refraction, 8 diffraction, in order from the BS; 15, in "
        "imports alone, stands for all of a path that are not known",
    ),
    _spec("paths", "path/num_interactions", "u1", "path", "", "Interactions on the path"),
    _spec(
        "paths",
        "path/amplitude",
        "c8",
        "band path",
        "",
        "Response between the panel's centre and the UE antenna, element patterns included, "
        "without the carrier phase exp(-j 2 pi f tau)",
    ),
    _spec("detail", "path/vertex_m", "f4", "path depth space", "m", "Interaction points from BS"),
    _spec("detail", "path/object", "i2", "path depth", "", "Index in `objects`; -1 if none"),
    _spec("detail", "path/primitive", "i4", "path depth", "", "Triangle of the object; -1 if none"),
    _spec("detail", "path/material", "i2", "path depth", "", "Index in `materials`; -1 if none"),
    _spec(
        "detail",
        "path/wedge",
        "f4",
        "path wedge",
        "m",
        "Diffracting edge: origin, unit vector, length, normals of both faces; 0 if none",
    ),
    _spec("fingerprints", "ue/position_m", "f4", "link space", "m", "UE antenna, world frame"),
    _spec("fingerprints", "ue/ue_index", "i8", "link", "", "Number of the UE at its site"),
    _spec("fingerprints", "ue/site_index", "i2", "link", "", "Index in `sites`"),
    _spec("fingerprints", "link/los", "i1", "link", "", "1 LOS, 0 NLOS, -1 outage (no path)"),
    _spec("fingerprints", "csi", "c8", "link ant subcarrier", "", "Channel frequency response"),
    _spec(
        "fingerprints",
        "aoa_profile",
        "f4",
        "link azimuth",
        "dB",
        "Power over azimuth from the panel's boresight; its attribute `azimuth_rad` has the bins",
    ),
    _spec("fingerprints", "distance_m", "f4", "link", "m", "First-path ToA times c"),
    _spec("fingerprints", "gain_db", "f4", "link", "dB", "Mean channel gain over the panel"),
    _spec(
        "fingerprints",
        "has_signal",
        "?",
        "link",
        "",
        "False where no first path was found: distance_m is then 0, gain_db a bound or -200",
    ),
    _spec("buildings", "raster/x_m", "f8", "column+1", "m", "Edges of the columns, world frame"),
    _spec("buildings", "raster/y_m", "f8", "row+1", "m", "Edges of the rows, world frame"),
    _spec(
        "buildings",
        "raster/height_m",
        "f4",
        "row column",
        "m",
        "Topmost surface above ground at the centre of each cell; 0 where there is no ground",
    ),
    _spec("buildings", "part/building", "i4", "part", "", "Number of the building that it is of"),
    _spec("buildings", "part/ground_m", "f4", "part", "m", "z of the ground, from which it counts"),
    _spec("buildings", "part/bottom_m", "f4", "part", "m", "Where the part begins, above ground"),
    _spec("buildings", "part/top_m", "f4", "part", "m", "Where the part ends, above ground"),
    _spec("buildings", "part/wall_material", "i2", "part", "", "Index in `materials`"),
    _spec("buildings", "part/roof_material", "i2", "part", "", "Index in `materials`"),
    _spec(
        "buildings",
        "part/ring_offset",
        "i4",
        "part+1",
        "",
        "Rings of part i are ring_offset[i]:ring_offset[i+1], the outline first, then its holes",
    ),
    _spec(
        "buildings",
        "ring/point_offset",
        "i4",
        "ring+1",
        "",
        "Points of ring i are point_offset[i]:point_offset[i+1], the first not repeated",
    ),
    _spec(
        "buildings",
        "point/position_m",
        "f4",
        "point xy",
        "m",
        "x and y, world frame; outlines run anticlockwise, holes clockwise",
    ),
)


def fields_of(file: FileKind) -> tuple[FieldSpec, ...]:
    """Return the fields of one kind of file, in the order of the table."""
    return tuple(field for field in FIELDS if field.file == file)


def check_arrays(file: FileKind, arrays: Arrays, *, where: str) -> dict[str, int]:
    """Check names, types, axes and finiteness of a whole file's arrays.

    Returns:
        Length of every axis.

    Raises:
        SchemaError: If an array is missing, unknown, of another type or shape, or not finite.
    """
    expected = {field.name: field for field in fields_of(file)}
    if set(arrays) != set(expected):
        missing, extra = sorted(set(expected) - set(arrays)), sorted(set(arrays) - set(expected))
        raise SchemaError(f"{where}: missing arrays {missing}, unknown arrays {extra}")
    sizes: dict[str, int] = {"space": 3, "wedge": 13, "xy": 2}
    for name, field in expected.items():
        _check_array(field, arrays[name], sizes, where=f"{where}: {name}")
    return sizes


def _check_array(field: FieldSpec, array: np.ndarray, sizes: dict[str, int], *, where: str) -> None:
    if array.dtype != np.dtype(field.dtype):
        raise SchemaError(f"{where} must be of type {np.dtype(field.dtype)}, got {array.dtype}")
    if array.ndim != len(field.axes):
        raise SchemaError(f"{where} must have axes {field.axes}, got shape {array.shape}")
    for axis, length in zip(field.axes, array.shape, strict=True):
        base, extra = (axis[:-2], 1) if axis.endswith("+1") else (axis, 0)
        if sizes.setdefault(base, length - extra) != length - extra:
            raise SchemaError(
                f"{where} has {length} along '{axis}', expected {sizes[base] + extra}"
            )
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise SchemaError(f"{where} holds values that are not finite")


def check_path_physics(arrays: Arrays, *, carriers_hz: list[float], where: str) -> None:
    """Check that stored paths are physically possible.

    A delay is no shorter than the straight line, a label agrees with the paths, rows are ordered,
    and no specular path is stronger than free space over its own length allows.

    Args:
        arrays: All arrays of a `paths` file.
        carriers_hz: Carrier of each band [Hz].
        where: File, for the message.

    Raises:
        SchemaError: If the rows are not those of the links.
        PhysicsError: If a law is broken; the first link and path are named.
    """
    check_offsets(arrays, where=where)
    num_paths = np.diff(arrays["link/path_offset"])
    link = np.repeat(np.arange(len(num_paths)), num_paths)
    _check_delays(arrays, link, where=where)
    _check_labels(arrays, link, where=where)
    _check_gains(arrays, link, carriers_hz, where=where)


def check_offsets(arrays: Arrays, *, where: str) -> None:
    """Check that every path of a `paths` file is of one link.

    Raises:
        SchemaError: If `link/path_offset` does not divide the rows.
    """
    offset = arrays["link/path_offset"]
    if offset[0] != 0 or (np.diff(offset) < 0).any() or offset[-1] != len(arrays["path/delay_s"]):
        raise SchemaError(f"{where}: link/path_offset does not divide the rows of path/*")


def _check_delays(arrays: Arrays, link: np.ndarray, *, where: str) -> None:
    offset_m = arrays["ue/position_m"].astype("f8") - arrays["bs/position_m"].astype("f8")
    straight_m = np.linalg.norm(offset_m, axis=1)[link]
    length_m = arrays["path/delay_s"].astype("f8") * SPEED_OF_LIGHT_M_S
    # float32 delays and vertices: 1e-6 of a few hundred metres, and half a millimetre of rounding.
    short = np.flatnonzero(length_m < straight_m * (1 - 2e-6) - 5e-4)
    if short.size:
        i = short[0]
        raise PhysicsError(
            f"{where}: path {i} of link {link[i]} is {length_m[i]:.4f} m long, shorter than the "
            f"straight line of {straight_m[i]:.4f} m"
        )


def _check_labels(arrays: Arrays, link: np.ndarray, *, where: str) -> None:
    num_links = len(arrays["link/los"])
    direct = arrays["path/num_interactions"] == 0
    has_direct = np.bincount(link[direct], minlength=num_links) > 0
    has_path = np.bincount(link, minlength=num_links) > 0
    expected = np.where(has_direct, LOS, np.where(has_path, NLOS, OUTAGE))
    wrong = np.flatnonzero(expected != arrays["link/los"])
    if wrong.size:
        i = wrong[0]
        raise PhysicsError(
            f"{where}: link {i} is labelled {arrays['link/los'][i]}, "
            f"but its paths say {expected[i]}"
        )


MAX_ELEMENT_GAIN_DB = 2 * max(ELEMENT_GAIN_DB.values())
"""Largest product of both element gains that the front-end offers."""


def _check_gains(arrays: Arrays, link: np.ndarray, carriers_hz: list[float], *, where: str) -> None:
    amplitude = arrays["path/amplitude"]
    if len(amplitude) != len(carriers_hz):
        raise PhysicsError(f"{where}: {len(amplitude)} bands stored, {len(carriers_hz)} expected")
    specular = np.isin(arrays["path/interaction"], (NO_INTERACTION, SPECULAR)).all(axis=1)
    length_m = arrays["path/delay_s"].astype("f8") * SPEED_OF_LIGHT_M_S
    limit = 10 ** (MAX_ELEMENT_GAIN_DB / 20) * (1 + 1e-3)
    for band, carrier_hz in enumerate(carriers_hz):
        free_space = free_space_amplitude(length_m, carrier_hz)
        strong = np.flatnonzero(specular & (np.abs(amplitude[band]) > limit * free_space))
        if strong.size:
            i = strong[0]
            over_db = 20 * np.log10(np.abs(amplitude[band, i]) / free_space[i])
            raise PhysicsError(
                f"{where}: path {i} of link {link[i]} is {over_db:.1f} dB above free space at "
                f"{carrier_hz / 1e9:g} GHz, more than the antennas' {MAX_ELEMENT_GAIN_DB:g} dB"
            )
