"""What an import was asked for and what it did, with the tables that say so in the folder."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import shapely
from pydantic import BeforeValidator, Field

from raymark.config import Strict
from raymark.scenes.importing.buildings import Action, Building, HeightSource, ImportFinding
from raymark.scenes.importing.ground import Extent
from raymark.scenes.importing.height_tags import MAX_HEIGHT_M
from raymark.scenes.importing.local_frame import BBox, LocalFrame, parse_bbox
from raymark.scenes.importing.picture import Colour, PictureOptions

_DECIMALS_DEG = 8
"""A millimetre on the ground."""


def _read_bbox(value: Any) -> Any:
    return parse_bbox(value) if isinstance(value, str) else value


class ImportOptions(Strict):
    """Everything beside the map that decides what an import makes of it."""

    bbox: Annotated[BBox | None, BeforeValidator(_read_bbox)] = Field(
        default=None, description="West, south, east, north [deg]"
    )
    crs: str | None = Field(default=None, description="Of the map, if its file does not say it")
    metres_per_pixel: float | None = Field(default=None, gt=0, le=1000, description="Of a picture")
    buildings: Colour | None = Field(
        default=None, description="Colour of a picture's buildings; the rarer if None"
    )
    height_m: float | None = Field(
        default=None,
        gt=0,
        le=MAX_HEIGHT_M,
        description="Of buildings whose height the map does not know; drawn if None [m]",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of assumed heights")
    rules: Path | None = Field(default=None, description="YAML of material rules")
    bands: str | None = Field(
        default=None, description="Materials must be defined there; separated by commas"
    )
    terrain: Path | None = Field(default=None, description="Raster of heights; flat if None")
    terrain_crs: str | None = Field(default=None, description="Of the raster, if it has none")
    terrain_spacing_m: float = Field(default=10.0, ge=0.5, le=1000.0)

    @property
    def picture(self) -> PictureOptions:
        """What is said of a picture."""
        return PictureOptions(metres_per_pixel=self.metres_per_pixel, buildings=self.buildings)

    def without_folders(self) -> "ImportOptions":
        """Return the same options with the bare names of files."""
        names = {key: getattr(self, key) for key in ("rules", "terrain")}
        return self.model_copy(
            update={key: Path(path.name) for key, path in names.items() if path is not None}
        )


class FrameRecord(Strict):
    """The scene's frame: metres east and north of its origin."""

    crs: str = Field(description="PROJ string")
    origin_lon_deg: float
    origin_lat_deg: float


class FindingCount(Strict):
    """How many findings say the same."""

    action: Action
    reason: str
    count: int


class ImportReport(Strict):
    """The record of an import, `import.json`."""

    name: str
    source: str
    licence: str
    attribution: str
    input_sha256: dict[str, str] = Field(description="Of each file that was read, by its name")
    options: ImportOptions
    frame: FrameRecord | None = Field(description="None if the source does not say where it lies")
    extent_m: Extent
    ground_offset_m: float = Field(description="Height of z = 0 in the terrain's raster [m]")
    num_features: int = Field(description="Buildings and parts that were read")
    height_sources: dict[HeightSource, int] = Field(description="Buildings kept, by their source")
    materials: tuple[str, ...]
    num_triangles: int
    findings: tuple[FindingCount, ...] = ()
    files: tuple[str, ...] = Field(default=(), description="All that the import wrote")

    @property
    def num_buildings(self) -> int:
        """Number of buildings and parts in the scene."""
        return sum(self.height_sources.values())


def group_findings(findings: Sequence[ImportFinding]) -> tuple[FindingCount, ...]:
    """Count equal findings together, the most frequent first."""
    counts = Counter((finding.action, finding.reason) for finding in findings)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        FindingCount(action=action, reason=reason, count=count)
        for (action, reason), count in ranked
    )


def findings_csv(findings: Sequence[ImportFinding]) -> str:
    """Return one row per finding."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["building", "action", "reason"])
    writer.writerows((f.building, f.action, f.reason) for f in findings)
    return stream.getvalue()


def buildings_geojson(buildings: Sequence[Building], frame: LocalFrame) -> str:
    """Return the footprints in WGS84, with heights, their sources and materials."""

    def to_degrees(points_m: np.ndarray) -> np.ndarray:
        return np.round(frame.to_lonlat(points_m), _DECIMALS_DEG)

    outlines = shapely.transform(np.array([b.footprint for b in buildings]), to_degrees)
    features = [
        {"type": "Feature", "properties": _properties(b), "geometry": json.loads(outline)}
        for b, outline in zip(buildings, shapely.to_geojson(outlines), strict=True)
    ]
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, separators=(",", ":"), ensure_ascii=False) + "\n"


def _properties(building: Building) -> dict[str, str | float | bool]:
    return {
        "id": building.id,
        "bottom_m": round(building.bottom_m, 2),
        "top_m": round(building.top_m, 2),
        "height_source": building.height_source,
        "wall_material": building.wall_material,
        "roof_material": building.roof_material,
        "is_part": building.is_part,
    }
