"""An import from end to end: read, place, repair, build, write, report."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float

from raymark.errors import ConfigError, SceneError, counted
from raymark.radio import parse_bands
from raymark.scenes.importing.buildings import Building, HeightSource, ImportFinding, SourceMap
from raymark.scenes.importing.card import card_text
from raymark.scenes.importing.fetch import fetch_map
from raymark.scenes.importing.ground import Extent, Ground, flat_ground
from raymark.scenes.importing.heights import to_buildings
from raymark.scenes.importing.local_frame import WGS84, BBox, LocalFrame, make_frame
from raymark.scenes.importing.map_file import plain_name
from raymark.scenes.importing.material_rules import MaterialRules, read_rules
from raymark.scenes.importing.picture import is_picture
from raymark.scenes.importing.readers import read_map, root_tag
from raymark.scenes.importing.repair import repair
from raymark.scenes.importing.report import (
    FrameRecord,
    ImportOptions,
    ImportReport,
    buildings_geojson,
    findings_csv,
    group_findings,
)
from raymark.scenes.importing.scene_folder import (
    RECORD,
    files_of_import,
    sites_of,
    target_folder,
)
from raymark.scenes.importing.sionna_scene import read_sionna_scene
from raymark.scenes.importing.solids import Meshes, Solids, build_solids
from raymark.scenes.importing.terrain import lay_terrain, read_terrain
from raymark.scenes.materials import check_material
from raymark.scenes.scene import SceneSettings
from raymark.scenes.scene_files import write_geometry
from raymark.storage import file_sha256, new_folder
from raymark.storage.atomic import writable

MARGIN_M = 60.0
"""Ground around the buildings, or around the box that was asked for."""
WALL_THICKNESS_M = 0.3
_HEIGHT_SOURCES: tuple[HeightSource, ...] = (
    *("surveyed", "tag", "levels"),
    *("given", "assumed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What a map became, ready to be written."""

    buildings: tuple[Building, ...]
    ground: Ground
    meshes: Meshes
    findings: tuple[ImportFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What a folder is to hold, whatever it was made from; texts by the names of their files."""

    report: ImportReport
    meshes: Meshes
    thickness_m: float | Mapping[str, float]
    findings: tuple[ImportFinding, ...]
    texts: Mapping[str, str]


def find_map(file: Path | None, options: ImportOptions, *, fetch: bool, cache: Path) -> Path:
    """Return the map that a user asked for: a file, or a box of OpenStreetMap.

    Args:
        file: A map file; None to download.
        options: Its `bbox` is downloaded.
        fetch: Whether to download.
        cache: Folder that downloads are kept in.

    Raises:
        ConfigError: If neither or both are asked for, or a box is missing.
        SceneError: If the download fails.
    """
    if fetch:
        if file is not None or options.bbox is None:
            raise ConfigError("--fetch takes --bbox west,south,east,north and no FILE")
        return fetch_map(options.bbox, cache)
    if file is None:
        raise ConfigError("give a map FILE, or --fetch with --bbox west,south,east,north")
    return file


def import_scene(
    source: Path, *, name: str, out: Path, options: ImportOptions, overwrite: bool = False
) -> ImportReport:
    """Make the scene folder `out/name` of a map of buildings, or of a scene of Sionna RT.

    Args:
        source: Map file, see `read_map`, or Mitsuba XML, see `read_sionna_scene`.
        name: Name of the scene.
        out: Folder that the scene's folder goes into.
        options: What decides the content beside the map.
        overwrite: Replace what an earlier import wrote there.

    Raises:
        SceneError: If an input cannot be used, or the folder is occupied; nothing is left there.
        DatasetError: If the folder cannot be written, or a user's file is in the way.
        ConfigError: If an option holds a wrong value.
    """
    folder = target_folder(out, name, overwrite=overwrite)
    if options.terrain is None and options.terrain_crs is not None:
        raise ConfigError("--terrain-crs is the CRS of a raster of heights; give --terrain, too")
    rules = read_rules(options.rules)
    make = _scene_content if root_tag(source) == "scene" else _map_content
    content = make(source, name, rules, options)
    lost = tuple(
        ImportFinding(action="dropped", reason="site of the scene that was replaced", building=site)
        for site in sites_of(folder)
    )
    former = files_of_import(folder) if folder.exists() else None
    with new_folder(folder, replaces=former) as partial, writable(folder):
        return _write(partial, replace(content, findings=content.findings + lost))


def _carriers_hz(options: ImportOptions) -> list[float]:
    if options.bands is None:
        return []
    return [band.carrier_hz for band in parse_bands(options.bands, option="--bands")]


def _map_content(source: Path, name: str, rules: MaterialRules, options: ImportOptions) -> _Content:
    carriers_hz = _carriers_hz(options)
    if is_picture(plain_name(source)):
        _require_no_place(source, options)
    map_ = read_map(source, crs=options.crs, picture=options.picture)
    frame = make_frame(map_, options.bbox)
    model = _build(map_, frame, rules, options)
    materials = _materials(model.meshes)
    rules.check_at_bands(carriers_hz, used=materials)
    report = ImportReport(
        name=name,
        source=map_.source,
        licence=map_.licence,
        attribution=map_.attribution,
        input_sha256=_hashes([source, options.rules, options.terrain]),
        options=options.without_folders(),
        frame=None if map_.picture_m else _record(frame),
        extent_m=model.ground.extent_m,
        ground_offset_m=model.ground.offset_m,
        num_features=len(map_.features),
        height_sources=_count_sources(model.buildings),
        materials=materials,
        num_triangles=_num_triangles(model.meshes),
    )
    return _Content(
        report=report,
        meshes=model.meshes,
        thickness_m=WALL_THICKNESS_M,
        findings=model.findings,
        texts={"buildings.geojson": buildings_geojson(model.buildings, frame)},
    )


def _scene_content(
    source: Path, name: str, rules: MaterialRules, options: ImportOptions
) -> _Content:
    carriers_hz = _carriers_hz(options)
    scene = read_sionna_scene(source, rules, options)
    materials = _materials(scene.meshes)
    for material, carrier_hz in itertools.product(materials, carriers_hz):
        check_material(material, carrier_hz, where=str(source))
    folder = source.parent.resolve()
    report = ImportReport(
        name=name,
        source=f"{source.name} (scene of Sionna RT)",
        licence="unknown",
        attribution="unknown",
        input_sha256={
            **_hashes([source, options.rules]),
            **{file.relative_to(folder).as_posix(): file_sha256(file) for file in scene.files},
        },
        options=options.without_folders(),
        frame=None,
        extent_m=scene.extent_m,
        ground_offset_m=0.0,
        num_features=len(scene.meshes),
        height_sources={"surveyed": len(scene.meshes) - scene.num_grounds},
        materials=materials,
        num_triangles=_num_triangles(scene.meshes),
    )
    return _Content(
        report=report,
        meshes=scene.meshes,
        thickness_m=scene.thickness_m,
        findings=scene.findings,
        texts={},
    )


def _require_no_place(source: Path, options: ImportOptions) -> None:
    for name in ("bbox", "terrain", "terrain_crs"):
        if getattr(options, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for maps that lie somewhere on earth, but {source} "
                "is a picture"
            )


def _hashes(inputs: Sequence[Path | None]) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in inputs if path is not None}


def _materials(meshes: Meshes) -> tuple[str, ...]:
    return tuple(sorted({material for _, material in meshes.values()}))


def _num_triangles(meshes: Meshes) -> int:
    return sum(len(mesh.faces) for mesh, _ in meshes.values())


def _build(
    map_: SourceMap, frame: LocalFrame, rules: MaterialRules, options: ImportOptions
) -> _Model:
    found, assumed = to_buildings(
        map_,
        frame,
        rules=rules,
        bbox=options.bbox,
        seed=options.seed,
        height_m=options.height_m,
    )
    buildings, repaired = repair(found)
    if not buildings:
        raise SceneError(_nothing_left(map_, [*map_.findings, *assumed, *repaired]))
    ground, holes = _lay_ground(buildings, map_, frame, options)
    footprints = [building.footprint for building in buildings]
    solids = build_solids(buildings, ground.lowest_below(footprints))
    buried = tuple(_buried(buildings, solids, ground.highest_below(footprints)))
    findings = (*map_.findings, *assumed, *repaired, *holes, *solids.findings, *buried)
    kept = tuple(b for b, is_kept in zip(buildings, solids.is_kept, strict=True) if is_kept)
    if not kept:
        raise SceneError(_nothing_left(map_, findings))
    meshes = {**solids.meshes, "ground": (ground.mesh(), rules.ground)}
    return _Model(buildings=kept, ground=ground, meshes=meshes, findings=findings)


def _buried(
    buildings: Sequence[Building], solids: Solids, ground_m: Float[np.ndarray, "building"]
) -> Iterator[ImportFinding]:
    """Yield a finding for each building that the highest ground [m] below it rises above."""
    reason = "its roof lies below the ground at one end, as heights count from the lowest ground"
    for i, building in enumerate(buildings):
        if solids.is_kept[i] and solids.base_m[i] + building.top_m < ground_m[i]:
            yield ImportFinding(action="assumed", reason=reason, building=building.id)


def _nothing_left(map_: SourceMap, findings: Sequence[ImportFinding]) -> str:
    dropped = [f for f in group_findings(findings) if f.action == "dropped"]
    reasons = "; ".join(f"{f.count} x {f.reason}" for f in dropped)
    return f"{map_.source}: no building is left of {len(map_.features)} ({reasons})"


def _lay_ground(
    buildings: Sequence[Building], map_: SourceMap, frame: LocalFrame, options: ImportOptions
) -> tuple[Ground, tuple[ImportFinding, ...]]:
    extent_m = _extent(buildings, map_, frame, options.bbox)
    if options.terrain is None:
        return flat_ground(extent_m), ()
    terrain = read_terrain(options.terrain, crs=options.terrain_crs)
    return lay_terrain(terrain, frame, extent_m, spacing_m=options.terrain_spacing_m)


def _extent(
    buildings: Sequence[Building], map_: SourceMap, frame: LocalFrame, bbox: BBox | None
) -> Extent:
    """Return the box of all buildings, and of the one asked for, with a margin, in whole metres.

    The box of a picture is all of it.
    """
    bounds = np.array([building.footprint.bounds for building in buildings])
    corners = [bounds[:, :2], bounds[:, 2:]]
    if map_.picture_m is not None:
        corners.append(np.array([(0.0, 0.0), map_.picture_m]))
    if bbox is not None:
        west, south, east, north = bbox
        lonlat = np.array([[x, y] for x in (west, east) for y in (south, north)])
        corners.append(frame.project_points(lonlat, WGS84))
    points = np.concatenate(corners)
    low, high = np.floor(points.min(axis=0) - MARGIN_M), np.ceil(points.max(axis=0) + MARGIN_M)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _record(frame: LocalFrame) -> FrameRecord:
    return FrameRecord(
        crs=frame.crs.srs,
        origin_lon_deg=frame.origin_lon_deg,
        origin_lat_deg=frame.origin_lat_deg,
    )


def _count_sources(buildings: Sequence[Building]) -> dict[HeightSource, int]:
    found = [building.height_source for building in buildings]
    return {source: found.count(source) for source in _HEIGHT_SOURCES if source in found}


def _write(folder: Path, content: _Content) -> ImportReport:
    """Write the whole folder; return the report with its findings and the names of its files."""
    write_geometry(folder, content.meshes, thickness_m=content.thickness_m)
    counts = group_findings(content.findings)
    report = content.report.model_copy(update={"findings": counts})
    texts: Mapping[str, str] = {
        "scene.yaml": _scene_yaml(report),
        "card.md": card_text(report),
        "findings.csv": findings_csv(content.findings),
        **content.texts,
    }
    for file_name, text in texts.items():
        (folder / file_name).write_text(text, encoding="utf-8")
    written = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    report = report.model_copy(update={"files": tuple(sorted([*written, RECORD]))})
    (folder / RECORD).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return report


def _scene_yaml(report: ImportReport) -> str:
    settings = SceneSettings(
        title=f"{counted(report.num_buildings, 'building')} imported from {report.source}",
        geometry="files",
        source=report.source,
        licence=report.licence,
        attribution=report.attribution,
        materials=report.materials,
        extent_m=report.extent_m,
    )
    data = settings.model_dump(mode="json", exclude={"los_share", "sites"})
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
