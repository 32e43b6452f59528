"""What the stages of an import hand on: features of a map, buildings in metres, findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from pyproj import CRS
from shapely import MultiPolygon, Polygon

Footprint: TypeAlias = Polygon | MultiPolygon
SurfaceKind = Literal["wall", "roof", "ground"]
HeightSource = Literal["surveyed", "tag", "levels", "given", "assumed"]
"""3D geometry of the source, its height attribute, its number of levels, what its user says of all
whose height the map does not know, or a seeded default."""
Action = Literal["repaired", "merged", "assumed", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One flat face of a building that its source models in 3D (CityJSON).

    Attributes:
        kind: Semantic type of the face.
        rings: Outer ring, then holes, each without its first point repeated; in the frame of the
            feature or building that holds it.
    """

    kind: SurfaceKind
    rings: tuple[Float[np.ndarray, "point 3"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFeature:
    """A building or a part of one, as its source has it.

    Attributes:
        id: What the source calls it, such as "way/123".
        geometry: Footprint in the source's CRS, x east or longitude first.
        tags: Attributes under OpenStreetMap's names (`height`, `building:levels`, ...).
        is_part: Whether it is a `building:part`, which takes the place of what it overlaps.
        surfaces: Its faces, if the source models them.
    """

    id: str
    geometry: Footprint
    tags: Mapping[str, str]
    is_part: bool = False
    surfaces: tuple[Surface, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFinding:
    """Something that an import did to one building and that its user should know.

    Attributes:
        action: What was done.
        reason: Why, in a few words; the report counts equal ones together.
        building: Id of the building.
    """

    action: Action
    reason: str
    building: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMap:
    """All buildings of one map file.

    Attributes:
        features: Buildings and parts.
        crs: Reference system of their coordinates.
        source: What the file is, for the scene's card.
        licence: SPDX identifier, or "unknown".
        attribution: Whom to name.
        findings: Buildings that could not be read, and why.
        picture_m: Width and depth of the picture that they were traced from, whose coordinates have
            no place on earth; nothing for maps [m].
    """

    features: tuple[MapFeature, ...]
    crs: CRS
    source: str
    licence: str
    attribution: str
    findings: tuple[ImportFinding, ...] = field(default=())
    picture_m: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """A building or part in the scene's metric frame, ready to be extruded.

    Attributes:
        id: That of its feature.
        footprint: Outline in the scene's frame [m].
        bottom_m: Where it begins above ground [m]; above 0 for parts that hover, as over a passage.
        top_m: Where it ends above ground [m].
        height_source: Where `top_m` comes from.
        wall_material: ITU-R P.2040 name.
        roof_material: ITU-R P.2040 name.
        is_part: As in its feature.
        surfaces: Its faces in the scene's frame, z above the lowest ground point below it [m].
        ground_m: z of the ground that heights count from [m]; nothing if it stands on none yet.
    """

    id: str
    footprint: Footprint
    bottom_m: float
    top_m: float
    height_source: HeightSource
    wall_material: str
    roof_material: str
    is_part: bool = False
    surfaces: tuple[Surface, ...] = ()
    ground_m: float | None = None
