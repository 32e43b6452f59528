"""Buildings of GeoParquet files, such as Overture's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from raymark.errors import SceneError
from raymark.scenes.importing.buildings import SourceMap
from raymark.scenes.importing.geojson import (
    OSM_ATTRIBUTION,
    OSM_LICENCE,
    Row,
    is_overture,
    select_buildings,
    tags_of,
)
from raymark.scenes.importing.local_frame import WGS84, crs_of_file
from raymark.scenes.importing.map_file import is_packed, read_bytes


def read_geoparquet(path: Path, crs: CRS | None) -> SourceMap:
    """Read outlines and the plain columns beside them; nested columns are left out.

    Raises:
        SceneError: If it is no GeoParquet file, is cut off, or its geometry has another encoding
            than WKB.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(read_bytes(path)) if is_packed(path) else path) as file:
            geo = _geo_metadata(file, path)
            column = _geometry_column(geo, file, path)
            features, findings = select_buildings(_rows(file, column))
            # Overture's buildings come from several makers, under the licence of the strictest.
            from_overture = is_overture(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise SceneError(
            f"{path} is no valid Parquet file, or is cut off ({' '.join(str(error).split())}); "
            "download or export it again"
        ) from error
    return SourceMap(
        features=features,
        crs=crs or _crs(geo["columns"][column], path),
        source=f"{path.name} ({'Overture buildings' if from_overture else 'GeoParquet'})",
        licence=OSM_LICENCE if from_overture else "unknown",
        attribution=f"{OSM_ATTRIBUTION}, Overture Maps Foundation" if from_overture else "unknown",
        findings=findings,
    )


def _geo_metadata(file: pq.ParquetFile, path: Path) -> dict[str, Any]:
    text = (file.schema_arrow.metadata or {}).get(b"geo")
    try:
        geo = json.loads(text) if text is not None else None
    except ValueError:
        geo = None
    if not isinstance(geo, dict) or not isinstance(geo.get("columns"), dict):
        raise SceneError(
            f"{path} is Parquet but not GeoParquet: its 'geo' metadata are missing or broken; "
            "write it with a tool that keeps them (DuckDB spatial, GDAL, geopandas)"
        )
    return geo


def _geometry_column(geo: dict[str, Any], file: pq.ParquetFile, path: Path) -> str:
    schema, name = file.schema_arrow, geo.get("primary_column")
    again = next((key for key in schema.names if schema.names.count(key) > 1), None)
    if again is not None:
        raise SceneError(f"{path} has two columns '{again}'; write it again with one")
    column = geo["columns"].get(name) if isinstance(name, str) else None
    if not isinstance(name, str) or not isinstance(column, dict) or name not in schema.names:
        raise SceneError(f"{path}: its 'geo' metadata name no geometry column that it has")
    encoding = column.get("encoding")
    if encoding != "WKB":
        raise SceneError(
            f"{path}: geometry column '{name}' must be encoded as WKB, got '{encoding}'; write it "
            "again as WKB"
        )
    stored = schema.field(name).type
    if not _is_binary(stored.value_type if pa.types.is_dictionary(stored) else stored):
        raise SceneError(
            f"{path}: geometry column '{name}' must hold WKB, which is binary, got values of type "
            f"'{stored}'; write it again as WKB"
        )
    return name


def _is_binary(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(is_kind(kind) for is_kind in kinds)


def _crs(column: dict[str, Any], path: Path) -> CRS:
    """Return the column's reference system; absent means WGS84, but null means unknown."""
    if "crs" not in column:
        return WGS84
    return crs_of_file(column["crs"], where=str(path))


def _rows(file: pq.ParquetFile, column: str) -> Iterator[Row]:
    schema = file.schema_arrow
    plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
    index = 0
    for batch in file.iter_batches(columns=plain):
        wkb = batch.column(column).to_numpy(zero_copy_only=False)
        geometries = shapely.from_wkb(wkb, on_invalid="ignore")
        attributes = batch.drop_columns([column]).to_pylist()
        unreadable = np.array([value is not None for value in wkb]) & shapely.is_missing(geometries)
        for properties, geometry, fails in zip(attributes, geometries, unreadable, strict=True):
            name = properties.get("id")
            yield Row(
                id=f"row/{index}" if name is None else str(name),
                tags=tags_of(properties),
                geometry=geometry,
                fault="its geometry cannot be read" if fails else "has no geometry",
            )
            index += 1
