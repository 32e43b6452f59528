"""Downloading the buildings of a box from OpenStreetMap, through osmnx, once."""

import datetime as dt
import hashlib
import json
import re
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import Field, ValidationError

from raymark.config import Strict, config_hash
from raymark.errors import SceneError
from raymark.extras import import_extra
from raymark.scenes.importing.geojson import OSM_ATTRIBUTION, OSM_LICENCE
from raymark.scenes.importing.local_frame import BBox, require_box

_TAGS: dict[str, bool | str | list[str]] = {"building": True, "building:part": True}
_INNER_NAMES = re.compile(r"ConnectionPool|object at 0x|\w+Error\(")
"""Words of HTTP libraries about themselves, which help nobody who has no network."""


class Download(Strict):
    """What is written beside a downloaded map."""

    bbox: BBox = Field(description="West, south, east, north [deg]")
    tags: tuple[str, ...] = Field(description="Keys that were asked for")
    downloaded_on: dt.date = Field(description="Day of the download, UTC")
    sha256: str = Field(description="Of the map file")


def fetch_map(bbox: BBox, cache: Path) -> Path:
    """Return a GeoJSON of the buildings in a box: from the cache, else downloaded into it.

    Raises:
        ConfigError: If osmnx is needed and not installed.
        SceneError: If the box is too large, the download fails or is empty, or the cached file was
            changed.
    """
    require_box(bbox)
    key = config_hash({"bbox": bbox, "tags": sorted(_TAGS), "service": "overpass"})[:16]
    path, record = cache / f"osm_{key}.geojson", cache / f"osm_{key}.download.json"
    # The record is written last: without it the download was cut off, and is made again.
    if path.is_file() and record.is_file():
        _check_unchanged(path, record)
        return path
    today = dt.datetime.now(tz=dt.UTC).date()
    content = json.dumps(_download(bbox, today), sort_keys=True).encode()
    download = Download(
        bbox=bbox,
        tags=tuple(_TAGS),
        downloaded_on=today,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        record.write_text(download.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SceneError(f"cannot keep the map in {cache}: {error.strerror}") from error
    return path


def _check_unchanged(path: Path, record: Path) -> None:
    try:
        download = Download.model_validate_json(record.read_bytes())
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (ValidationError, OSError) as error:
        raise SceneError(f"{record} cannot be read; remove it to download the map again") from error
    if sha256 != download.sha256:
        raise SceneError(
            f"{path} was changed since its download on {download.downloaded_on} (SHA-256 "
            f"{sha256[:12]}, expected {download.sha256[:12]}); remove it to download it again, "
            "or import it as a local file"
        )


def _download(bbox: BBox, today: dt.date) -> dict[str, Any]:
    osmnx = import_extra("osmnx", name="osmnx, which downloads maps,")
    features: dict[str, dict[str, Any]] = {}
    # raymark's cache is the one that is hashed; osmnx would keep another in the working directory.
    uses_cache, osmnx.settings.use_cache = osmnx.settings.use_cache, False
    try:
        for box in _boxes(bbox):
            features.update(_features_in(box, osmnx))
    finally:
        osmnx.settings.use_cache = uses_cache
    shown = ",".join(f"{value:g}" for value in bbox)
    if not features:
        raise SceneError(f"OpenStreetMap has no building in the box {shown}; choose another --bbox")
    return {
        "type": "FeatureCollection",
        "source": f"OpenStreetMap, box {shown}, downloaded on {today} through Overpass",
        "licence": OSM_LICENCE,
        "attribution": OSM_ATTRIBUTION,
        "features": list(features.values()),
    }


def _boxes(bbox: BBox) -> list[BBox]:
    """Cut a box at the 180-degree meridian, which Overpass does not know."""
    west, south, east, north = bbox
    if west < east:
        return [bbox]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _features_in(box: BBox, osmnx: Any) -> dict[str, dict[str, Any]]:
    try:
        table = osmnx.features_from_bbox(box, _TAGS)
    except osmnx._errors.InsufficientResponseError:
        return {}
    # osmnx raises ValueError for what a server answers and requests' OSError for no answer.
    except (OSError, ValueError) as error:
        raise SceneError(
            f"cannot download the map from OpenStreetMap ({_reason(error)}); "
            "check the network or import a local file instead"
        ) from error
    items = json.loads(table.to_json(na="drop"))["features"]
    names = [f"{kind}/{number}" for kind, number in table.index]
    return {name: {**item, "id": name} for name, item in sorted(zip(names, items, strict=True))}


def _reason(error: Exception) -> str:
    """Say why there is no map; what a library tells of its own inside is left out."""
    text = shorten(str(error), 200)
    if not _INNER_NAMES.search(text):
        return text
    is_late = "timeout" in f"{type(error).__name__} {text}".lower()
    return "the server did not answer in time" if is_late else "the server cannot be reached"
