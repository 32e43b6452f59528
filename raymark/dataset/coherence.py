"""Whether the parts of a dataset say the same: manifest, files, paths and their points."""

from collections.abc import Mapping

import h5py
import numpy as np
from jaxtyping import Float, Int, UInt

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.hdf5 import read_attributes, read_names
from raymark.dataset.manifest import Manifest, ShardRecord
from raymark.dataset.schema import (
    DIFFRACTION,
    DIFFUSE,
    NO_INTERACTION,
    REFRACTION,
    SPECULAR,
    UNKNOWN,
    Arrays,
    FileKind,
    check_arrays,
    check_offsets,
)
from raymark.errors import PhysicsError, SchemaError
from raymark.radio import SPEED_OF_LIGHT_M_S
from raymark.radio.frames import unit_vector

_KNOWN = (NO_INTERACTION, SPECULAR, DIFFUSE, REFRACTION, DIFFRACTION, UNKNOWN)
_SETTINGS = {
    SPECULAR: "specular_reflection",
    DIFFUSE: "diffuse_reflection",
    REFRACTION: "refraction",
    DIFFRACTION: "diffraction",
}
# float32 coordinates, delays and angles; their rounding grows with the distance from the origin.
_ROUNDING_M, _ROUNDING = 5e-4, 2e-6


def check_attributes(
    file: h5py.File, manifest: Manifest, record: ShardRecord, *, where: str
) -> None:
    """Check that a file of a shard says of itself what the manifest says of it.

    Raises:
        SchemaError: If it is of another scene, site or band.
    """
    found, bands = read_attributes(file, where), manifest.campaign.bands
    texts = {"scene": record.scene, "site": record.site}
    for name, expected in texts.items():
        if str(found.get(name)) != expected:
            raise SchemaError(f"{where}: {name} is {found.get(name)!r}, expected '{expected}'")
    names, carriers_hz = (read_names(file, name, where) for name in ("bands", "carrier_hz"))
    expected_hz = tuple(str(np.float64(band.carrier_hz)) for band in bands)
    if names != tuple(band.name for band in bands) or carriers_hz != expected_hz:
        raise SchemaError(f"{where}: it is of the bands {names}, the manifest has others")


def check_sizes(
    arrays: Arrays, record: ShardRecord, kind: FileKind, *, num_bands: int, where: str
) -> None:
    """Check that the arrays of a shard fit the schema, and have the rows that the manifest says.

    Raises:
        SchemaError: If they do not.
    """
    sizes = check_arrays(kind, arrays, where=where)
    expected = {"path": record.num_paths, "link": record.num_ues, "band": num_bands}
    if any(sizes.get(axis, length) != length for axis, length in expected.items()):
        raise SchemaError(f"{where}: the numbers of UEs, paths or bands differ from the manifest")
    if kind == "paths":
        check_offsets(arrays, where=where)


def check_shard(arrays: Arrays, manifest: Manifest, record: ShardRecord, *, where: str) -> None:
    """Check that the arrays of a `paths` file fit the manifest and each other.

    Args:
        arrays: All arrays of the file, which fit the schema.
        manifest: That of the dataset.
        record: What the manifest says of the shard.
        where: File, for the message.

    Raises:
        SchemaError: If the UEs or the site are others, or paths are out of order.
    """
    numbers = record.first_ue + np.arange(record.num_ues)
    if not np.array_equal(arrays["ue/ue_index"], numbers):
        raise SchemaError(
            f"{where}: ue/ue_index must count from {record.first_ue} to {numbers[-1]}, each once"
        )
    site = next(site for site in manifest.sites if site.key == record.key)
    stands = {"bs/position_m": site.position_m, "bs/orientation_rad": site.orientation_rad}
    for name, expected in stands.items():
        if not np.allclose(arrays[name].astype("f8"), expected, rtol=_ROUNDING, atol=_ROUNDING):
            raise SchemaError(f"{where}: {name} is {arrays[name]}, the manifest says {expected}")
    _check_interactions(arrays, where)
    if manifest.campaign.sampling.imported_from is None:
        _check_kinds(arrays["path/interaction"], manifest.campaign.tracer, where)
    if manifest.subset_of is None:  # its first band may be another than that which ranked
        _check_order(arrays, where)


def check_detail(
    main: Arrays, detail: Arrays, counted: Mapping[str, int], *, is_traced: bool, where: str
) -> None:
    """Check that points, objects and edges are those of the paths; delays and angles made anew.

    Args:
        main: All arrays of the `paths` file.
        detail: All arrays of the `detail` file.
        counted: Numbers of its `objects` and `materials`.
        is_traced: Whether raymark found the paths: other programs need not store every point.
        where: The `detail` file, for the message.

    Raises:
        SchemaError: If an index counts beyond what there is.
        PhysicsError: If a delay or an angle is not that of the points.
    """
    present = main["path/interaction"] != NO_INTERACTION
    limits = {"path/object": counted["objects"], "path/material": counted["materials"]}
    for name, limit in limits.items():
        if ((detail[name] < -1) | (detail[name] >= limit)).any():
            raise SchemaError(f"{where}: {name} counts beyond the {limit} names of the file")
    if detail["path/vertex_m"][~present].any():
        raise SchemaError(f"{where}: path/vertex_m has points where there is no interaction")
    if is_traced:
        _check_geometry(main, detail["path/vertex_m"].astype("f8"), where)
        _check_edges(main, detail, where)


def _check_interactions(arrays: Arrays, where: str) -> None:
    codes, count = arrays["path/interaction"], arrays["path/num_interactions"]
    if not np.isin(codes, _KNOWN).all():
        raise SchemaError(f"{where}: path/interaction has codes that are none of {_KNOWN}")
    expected = np.arange(codes.shape[1]) < count[:, None]
    differs = ((codes != NO_INTERACTION) != expected).any(axis=1)
    wrong = np.flatnonzero(differs | (count > codes.shape[1]))
    if wrong.size:
        raise SchemaError(
            f"{where}: path {wrong[0]} has the interactions {codes[wrong[0]]}, and "
            f"path/num_interactions says {count[wrong[0]]}"
        )


def _check_kinds(codes: UInt[np.ndarray, "path depth"], tracer: TracerSettings, where: str) -> None:
    """Check that there are no interactions but those that the campaign traced."""
    for code, setting in _SETTINGS.items():
        if not getattr(tracer, setting) and (codes == code).any():
            raise SchemaError(
                f"{where}: path/interaction has code {code}, but the campaign's tracer has no "
                f"{setting}"
            )


def _check_order(arrays: Arrays, where: str) -> None:
    link = _links(arrays)
    power = np.abs(arrays["path/amplitude"][0].astype("c16")) ** 2
    rises = (link[1:] == link[:-1]) & (power[1:] > power[:-1] * (1 + _ROUNDING))
    if rises.any():
        row = int(np.argmax(rises)) + 1
        raise SchemaError(f"{where}: path {row} is stronger than the one before it, of its link")


def _check_geometry(main: Arrays, vertex_m: Float[np.ndarray, "path depth 3"], where: str) -> None:
    """Make delays and angles anew from the points; the error of an angle counts at its point."""
    count, link = main["path/num_interactions"].astype("i8"), _links(main)
    ue_m, bs_m = main["ue/position_m"].astype("f8")[link], main["bs/position_m"].astype("f8")
    points_m = np.repeat(ue_m[:, None], vertex_m.shape[1] + 2, axis=1)
    points_m[:, 0] = bs_m
    is_point = np.arange(vertex_m.shape[1]) < count[:, None]
    points_m[:, 1:-1][is_point] = vertex_m[is_point]
    length_m = np.linalg.norm(np.diff(points_m, axis=1), axis=2).sum(axis=1)
    limit_m = _ROUNDING_M + _ROUNDING * (length_m + np.abs(points_m).max(axis=(1, 2)))
    stored_m = main["path/delay_s"].astype("f8") * SPEED_OF_LIGHT_M_S
    ends_m = {"bs": points_m[:, 1] - bs_m, "ue": points_m[np.arange(len(count)), count] - ue_m}
    errors_m = {
        "path/delay_s": np.abs(length_m - stored_m),
        **{f"the direction from the {end}": _miss_m(main, end, ends_m[end]) for end in ends_m},
    }
    for name, error_m in errors_m.items():
        wrong = np.flatnonzero(~(error_m <= limit_m))
        if wrong.size:
            raise PhysicsError(
                f"{where}: {name} of path {wrong[0]} of link {link[wrong[0]]} is not that of its "
                f"points, it is off by {error_m[wrong[0]]:.4g} m"
            )


def _miss_m(
    main: Arrays, end: str, target_m: Float[np.ndarray, "path 3"]
) -> Float[np.ndarray, "path"]:
    """Return by how much a stored direction misses the first point that it leads to."""
    zenith, azimuth = (main[f"path/{angle}_{end}_rad"].astype("f8") for angle in _ANGLES)
    range_m = np.linalg.norm(target_m, axis=1, keepdims=True)
    return np.linalg.norm(range_m * unit_vector(zenith, azimuth) - target_m, axis=1)


_ANGLES = ("zenith", "azimuth")


def _check_edges(main: Arrays, detail: Arrays, where: str) -> None:
    """Check that a diffracting edge is there where a path is diffracted, and nowhere else."""
    is_diffracted = (main["path/interaction"] == DIFFRACTION).any(axis=1)
    wrong = np.flatnonzero(is_diffracted != detail["path/wedge"].any(axis=1))
    if wrong.size:
        raise SchemaError(f"{where}: path/wedge and path/interaction differ at path {wrong[0]}")


def _links(arrays: Arrays) -> Int[np.ndarray, "path"]:
    num_paths = np.diff(arrays["link/path_offset"])
    return np.repeat(np.arange(len(num_paths)), num_paths)
