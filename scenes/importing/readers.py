"""Reading a map of buildings: which reader for which file, and checks of what it gave."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from jaxtyping import Bool
from pyproj import CRS

from raymark.errors import ConfigError, SceneError, counted
from raymark.scenes.importing.buildings import SourceMap
from raymark.scenes.importing.cityjson import is_cityjson, read_cityjson
from raymark.scenes.importing.geojson import LINE_SUFFIXES, read_documents, read_geojson
from raymark.scenes.importing.geoparquet import read_geoparquet
from raymark.scenes.importing.local_frame import (
    MAX_EXTENT_M,
    bounds_of,
    horizontal_crs,
    parse_crs,
)
from raymark.scenes.importing.map_file import is_packed, plain_name, read_bytes
from raymark.scenes.importing.name_hints import hint_at_names
from raymark.scenes.importing.osm import read_osm
from raymark.scenes.importing.overpass import is_overpass, read_overpass
from raymark.scenes.importing.picture import (
    PICTURE_SUFFIXES,
    PictureOptions,
    is_picture,
    read_picture,
)

Reader = Callable[[Path, CRS | None], SourceMap]

_XML_SUFFIXES = (".xml", ".gml", ".citygml")
_CITYGML_ROOTS = ("CityModel", "FeatureCollection")
"""GML of cities has its buildings in either."""
_DEGREES = np.array([180.0, 90.0])
_LONGITUDES = np.array([360.0, 90.0])
"""Maps across the 180-degree meridian, and those that count from 0 to 360, go on beyond 180."""


def read_map(
    path: Path, *, crs: str | None = None, picture: PictureOptions | None = None
) -> SourceMap:
    """Read all buildings of a map file.

    Args:
        path: GeoJSON, CityJSON, OpenStreetMap XML or PBF, GeoParquet or a picture, by its name.
        crs: Reference system of its coordinates, in place of what the file says of itself.
        picture: Scale and colour of a picture.

    Raises:
        ConfigError: If `crs` is unknown, or an option is not for such a map.
        SceneError: If the file is missing, empty, foreign or broken, holds no building, or its
            coordinates cannot be of its reference system.
    """
    _check_readable(path)
    picture = picture or PictureOptions()
    if is_picture(plain_name(path)):
        if crs is not None:
            raise ConfigError(
                f"--crs is for maps that lie somewhere on earth, but {path} is a picture"
            )
        source = read_picture(path, picture)
    else:
        if picture != PictureOptions():
            raise ConfigError(
                f"--metres-per-pixel and --buildings are for pictures, not for {path}"
            )
        reader = _reader_of(path)
        source = reader(path, parse_crs(crs) if crs is not None else None)
        source = replace(source, crs=horizontal_crs(source.crs))
    if not source.features:
        raise SceneError(f"{path} holds no building that could be read{_losses(source)}")
    if source.picture_m is None:
        check_coordinates(source, where=str(path))
    return replace(source, findings=(*source.findings, *hint_at_names(source.features)))


def root_tag(path: Path) -> str:
    """Return the name of the first element of an XML file, without its namespace.

    Empty for what is not named as XML is, or does not exist.

    Raises:
        SceneError: If it is no XML.
    """
    if not plain_name(path).endswith(_XML_SUFFIXES) or not path.is_file():
        return ""
    try:
        stream = io.BytesIO(read_bytes(path))
        _, root = next(ET.iterparse(stream, events=("start",)))  # noqa: S314 - one element
    except (ET.ParseError, ValueError, LookupError, StopIteration) as error:
        raise SceneError(f"{path} is no valid XML, or is cut off: {error}") from error
    return str(root.tag).rpartition("}")[2]


def check_coordinates(source: SourceMap, *, where: str) -> None:
    """Check that the coordinates can be of the reference system that the map claims.

    Raises:
        SceneError: If they are degrees instead of metres, metres instead of degrees, or both.
    """
    bounds = np.abs(bounds_of(source))
    like_degrees = (bounds <= _DEGREES).all(axis=(1, 2))
    is_degrees = (bounds <= _LONGITUDES).all(axis=(1, 2))
    if source.crs.is_geographic and not is_degrees.all():
        got = _position(source, int(np.argmin(is_degrees)))
        if (bounds <= _DEGREES[::-1]).all():
            raise SceneError(
                f"{where}: {got}, which is no longitude and latitude [deg]; it seems to hold "
                "latitudes first, so swap them"
            )
        _check_mixed(~is_degrees, got, where)
        raise SceneError(
            f"{where}: expected degrees (its reference system is '{source.crs.name}'), but {got}; "
            "if these are metres, name their reference system with --crs EPSG:..."
        )
    if source.crs.is_projected and like_degrees.any():
        got = _position(source, int(np.argmax(like_degrees)))
        # Some buildings may lie within 180 m of a grid's origin, if the rest is near it too.
        if bounds.max() > MAX_EXTENT_M:
            _check_mixed(like_degrees, got, where)
        elif like_degrees.all() and bounds.max() > 0:
            raise SceneError(
                f"{where}: expected coordinates in {source.crs.axis_info[0].unit_name}s (its "
                f"reference system is '{source.crs.name}'), but all are within +-180, +-90 as "
                f"degrees are ({got}); if these are degrees, give --crs EPSG:4326"
            )


def _reader_of(path: Path) -> Reader:
    if root := root_tag(path):
        return _reader_of_xml(root, path)
    name = plain_name(path)
    for suffixes, reader in _READERS.items():
        if name.endswith(suffixes):
            return reader
    suffixes_read = [suffix for suffixes in (*_READERS, PICTURE_SUFFIXES) for suffix in suffixes]
    known = ", ".join(suffixes_read) + " (or .gz of it)"
    suffix = "".join(path.suffixes[-2:] if is_packed(path) else path.suffixes[-1:])
    kind = f"of type '{suffix}'" if suffix else "without a suffix"
    raise SceneError(
        f"{path}: maps {kind} are not read; give one of {known}, or convert it "
        "to GeoJSON (QGIS and ogr2ogr can)"
    )


def _reader_of_xml(root: str, path: Path) -> Reader:
    if root == "osm":
        return read_osm
    if root in _CITYGML_ROOTS:
        raise SceneError(
            f"{path} is CityGML, which is not read; convert it to CityJSON, which keeps its walls "
            "and roofs (citygml-tools: citygml-tools to-cityjson FILE)"
        )
    raise SceneError(
        f"{path} is XML that begins with <{root}>; expected <osm> (a map of OpenStreetMap) or "
        "<scene> (a scene of Sionna RT)"
    )


def _check_readable(path: Path) -> None:
    if not path.is_file():
        what = "is a folder, not a map file" if path.is_dir() else "does not exist"
        raise SceneError(f"map {path} {what}")
    try:
        with path.open("rb") as stream:
            is_empty = not stream.read(1)
    except OSError as error:
        raise SceneError(f"cannot read map {path}: {error.strerror}") from error
    if is_empty:
        raise SceneError(f"map {path} is empty (0 bytes); download or export it again")


def _read_json(path: Path, crs: CRS | None) -> SourceMap:
    documents = read_documents(path)
    for is_kind, reader in ((is_cityjson, read_cityjson), (is_overpass, read_overpass)):
        if is_kind(documents[0]):
            return reader(path, documents, crs)
    return read_geojson(path, documents, crs)


def _losses(source: SourceMap) -> str:
    reasons = sorted({finding.reason for finding in source.findings})
    if not reasons:
        return " (it has no closed outline that is tagged as a building)"
    return f"; {counted(len(source.findings), 'feature')} left out: {'; '.join(reasons)}"


def _position(source: SourceMap, index: int) -> str:
    feature = source.features[index]
    x, y = feature.geometry.bounds[:2]
    return f"building '{feature.id}' is at x = {x:.7g}, y = {y:.7g}"


def _check_mixed(differs: Bool[np.ndarray, " feature"], got: str, where: str) -> None:
    if not differs.all():
        raise SceneError(
            f"{where} mixes degrees and metres: {differs.sum()} of {len(differs)} buildings "
            f"differ from the rest ({got}); bring all into one reference system"
        )


_READERS: dict[tuple[str, ...], Reader] = {
    (".geojson", ".json", *LINE_SUFFIXES): _read_json,
    (".osm", ".osm.xml", ".pbf"): read_osm,
    (".parquet", ".geoparquet"): read_geoparquet,
}
