"""Buildings of CityJSON 1.0 to 2.0 (https://www.cityjson.org/specs/2.0.1), and CityJSONSeq.

A building's outline is that of its ground; its faces are kept where it is modelled with its roof
(LoD 2). Heights are above the lowest point of the building, with its parts. A part that begins
less than a storey above that point stands on the ground, which is not level below a building.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float
from pyproj import CRS

from raymark.errors import SceneError
from raymark.scenes.importing.buildings import (
    Footprint,
    ImportFinding,
    MapFeature,
    SourceMap,
    Surface,
)
from raymark.scenes.importing.cityjson_faces import (
    FaceModel,
    Geometry,
    UnusableError,
    best_model,
)
from raymark.scenes.importing.geojson import tags_of
from raymark.scenes.importing.local_frame import crs_of_file, height_unit_m, horizontal_crs

_METRES_PER_DEGREE = 111_320.0
_NO_FIT = "semantics that do not fit its faces, which are told by their shape"
_STOREY_M = 2.5
_OSM_NAMES = {
    "measuredHeight": "height",
    "storeysAboveGround": "building:levels",
    "storeysBelowGround": "building:levels:underground",
}


def is_cityjson(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is CityJSON, or the first line of CityJSONSeq."""
    return document.get("type") == "CityJSON"


def read_cityjson(path: Path, documents: list[dict[str, Any]], crs: CRS | None) -> SourceMap:
    """Read the buildings of a CityJSON document, or of one with its features line by line.

    Raises:
        SceneError: If it has no reference system, or lacks what every CityJSON file has.
    """
    head = documents[0]
    stated = crs or _stated_crs(head, path)
    features: list[MapFeature] = []
    findings: list[ImportFinding] = _without_transform(head, documents, path)
    for document in documents:
        objects = document.get("CityObjects")
        if not isinstance(objects, dict) or not all(isinstance(o, dict) for o in objects.values()):
            raise SceneError(
                f"{path} is no valid CityJSON: its 'CityObjects' must be an object of objects"
            )
        geometry = _geometry(document, head, stated, path)
        for group in _groups(objects):
            found, lost = _read_group(group, objects, geometry)
            features += found
            findings += lost
        findings += _others(objects)
    return SourceMap(
        features=tuple(features),
        crs=horizontal_crs(stated),
        source=f"{path.name} (CityJSON {head.get('version', 'of unknown version')})",
        licence="unknown",
        attribution=_attribution(head),
        findings=tuple(findings),
    )


def _without_transform(
    head: Mapping[str, Any], documents: list[dict[str, Any]], path: Path
) -> list[ImportFinding]:
    """Refuse whole numbers that nothing scales; other numbers can only be the coordinates.

    A `transform` may be missing in CityJSON 1.0 alone; 1.1 and later require it.

    Raises:
        SceneError: If all vertices are whole numbers.
    """
    version = str(head.get("version", ""))
    if head.get("transform") or version.startswith("1.0"):
        return []
    vertices = [v for document in documents for v in _list(document.get("vertices"))]
    if all(isinstance(x, int) for v in vertices for x in _list(v)):
        raise SceneError(
            f"{path}: its 'transform' is missing, which CityJSON {version} requires: without it, "
            "its vertices, whole numbers, have neither unit nor place; export it again"
        )
    reason = f"no 'transform', which CityJSON {version} requires: vertices taken as coordinates"
    return [ImportFinding(action="assumed", reason=reason, building="map")]


def _stated_crs(head: Mapping[str, Any], path: Path) -> CRS:
    """Return the reference system with its heights, whose unit matters."""
    name = _metadata(head).get("referenceSystem")
    crs_of_file(name, where=str(path))
    return CRS.from_user_input(name)


def _metadata(head: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(head.get("metadata"))


def _attribution(head: Mapping[str, Any]) -> str:
    names = _mapping(_metadata(head).get("pointOfContact"))
    return str(names.get("organization") or names.get("contactName") or "unknown")


def _geometry(
    document: Mapping[str, Any], head: Mapping[str, Any], crs: CRS, path: Path
) -> Geometry:
    transform = head.get("transform") or {"scale": [1, 1, 1], "translate": [0, 0, 0]}
    try:
        vertices = _places(document["vertices"], transform)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SceneError(
            f"{path} is no valid CityJSON: its 'vertices' or 'transform' are missing or broken"
        ) from error
    if crs.is_geographic:
        latitude_rad = np.deg2rad(vertices[:, 1].mean()) if len(vertices) else 0.0
        units_m = _METRES_PER_DEGREE * np.array([np.cos(latitude_rad), 1.0])
    else:
        units_m = np.array([axis.unit_conversion_factor for axis in crs.axis_info[:2]])
    vertices[:, 2] *= _metres_per_z_unit(crs)
    return Geometry(vertices=vertices, units_m=np.append(units_m, 1.0))


def _places(vertices: Any, transform: Mapping[str, Any]) -> Float[np.ndarray, "vertex 3"]:
    """Return the coordinates of vertices, all finite."""
    scale, offset = (
        np.reshape(np.array(transform[key], dtype=float), 3) for key in ("scale", "translate")
    )
    with np.errstate(over="ignore", invalid="ignore"):
        places = np.array(vertices, dtype=float).reshape(-1, 3) * scale + offset
    if not (np.isfinite([scale, offset]).all() and np.isfinite(places).all() and scale.all()):
        raise ValueError("a number is not finite, or a scale is 0")
    return places


def _metres_per_z_unit(crs: CRS) -> float:
    """Return the unit of height [m]; a projected CRS without heights lends its own."""
    stated = height_unit_m(crs)
    if stated is not None or crs.is_geographic:
        return stated or 1.0
    return float(crs.axis_info[-1].unit_conversion_factor)


def _groups(objects: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the ids of every building with its parts, and of parts without a building."""
    claimed: set[str] = set()
    for item in objects.values():
        if item.get("type") == "Building":
            claimed.update(_children(item, objects))
    for name, item in objects.items():
        if item.get("type") == "Building":
            yield [name, *_children(item, objects)]
        elif item.get("type") == "BuildingPart" and name not in claimed:
            yield [name]


def _children(item: Mapping[str, Any], objects: Mapping[str, Any]) -> list[str]:
    """Return the ids of a building's parts."""
    return [
        child
        for child in _list(item.get("children"))
        if isinstance(child, str) and objects.get(child, {}).get("type") == "BuildingPart"
    ]


def _list(value: Any) -> list[Any]:
    """Return a list, empty in place of anything else."""
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return an object of JSON, empty in place of anything else."""
    return value if isinstance(value, dict) else {}


def _others(objects: Mapping[str, Any]) -> Iterator[ImportFinding]:
    """Yield a finding for all that is no building."""
    for name, item in objects.items():
        if item.get("type") not in ("Building", "BuildingPart"):
            reason = f"is a {item.get('type', 'thing without a type')}, no building"
            yield ImportFinding(action="dropped", reason=reason, building=name)


def _read_group(
    names: list[str], objects: Mapping[str, Any], geometry: Geometry
) -> tuple[list[MapFeature], list[ImportFinding]]:
    """Read a building and its parts; its own geometry is left out if that of its parts is finer."""
    models: dict[str, FaceModel] = {}
    findings = []
    for name in names:
        try:
            models[name] = best_model(objects[name], geometry)
        except UnusableError as error:
            # A building of parts need not have a geometry of its own.
            if len(names) == 1 or name != names[0] or objects[name].get("geometry"):
                findings.append(ImportFinding(action="dropped", reason=str(error), building=name))
    findings += [
        ImportFinding(action="repaired", reason=_NO_FIT, building=name)
        for name, model in models.items()
        if not model.has_semantics_that_fit
    ]
    finest = max((model.lod for model in models.values()), default=0)
    if names[0] in models and models[names[0]].lod < finest:
        del models[names[0]]
    low_m = min((model.low_m for model in models.values()), default=0.0)
    attributes = _mapping(objects[names[0]].get("attributes"))
    features = []
    for name, model in models.items():
        own = {**attributes, **_mapping(objects[name].get("attributes"))}
        try:
            is_part = objects[name]["type"] == "BuildingPart"
            features.append(_feature(name, model, own, low_m, is_part=is_part))
        except UnusableError as error:
            findings.append(ImportFinding(action="dropped", reason=str(error), building=name))
    return features, findings


def _feature(
    name: str, model: FaceModel, attributes: Mapping[str, Any], low_m: float, *, is_part: bool
) -> MapFeature:
    rise_m = model.low_m - low_m
    base_m = low_m if rise_m >= _STOREY_M else model.low_m
    tags = tags_of({_OSM_NAMES.get(key, key): value for key, value in attributes.items()})
    if model.lod > 0 and model.high_m > base_m:  # flat faces do not say how high it is
        tags["height"] = f"{model.high_m - base_m:.3f}"
    if model.lod > 0 and base_m == low_m and rise_m > 0:
        tags["min_height"] = f"{rise_m:.3f}"
    faces = tuple(
        replace(face, rings=tuple(ring - [0.0, 0.0, base_m] for ring in face.rings))
        for face in model.faces
    )
    return MapFeature(
        id=name,
        geometry=_footprint(faces),
        tags=tags,
        is_part=is_part,
        surfaces=faces if model.lod == 2 else (),
    )


def _footprint(faces: tuple[Surface, ...]) -> Footprint:
    """Return the union of the ground's faces seen from above, or of all if there is no ground."""
    for chosen in ([face for face in faces if face.kind == "ground"], faces):
        flat = [
            shapely.Polygon(face.rings[0][:, :2], [hole[:, :2] for hole in face.rings[1:]])
            for face in chosen
        ]
        union = shapely.union_all(shapely.make_valid(np.array(flat, dtype=object)))
        parts = shapely.get_parts(shapely.get_parts(union))
        parts = parts[shapely.area(parts) > 0]
        if len(parts):
            return parts[0] if len(parts) == 1 else shapely.MultiPolygon(list(parts))
    raise UnusableError("its faces enclose no area")
