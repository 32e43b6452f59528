"""Can datasets be made of a scene? What is wrong with it, and what a user should know."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from raymark.dataset.samplings import UniformSampling
from raymark.errors import SceneError, counted
from raymark.generator.coverage import measure_coverage, undefined_materials, usable_band
from raymark.generator.outdoors import check_site
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import BAND_PRESETS, Band, FrontEnd
from raymark.scenes import Scene
from raymark.scenes.importing.meshes import is_closed, weld
from raymark.scenes.scene_meshes import SceneMesh, are_ground, read_meshes

Level = Literal["ok", "note", "FAIL"]

_NUM_POINTS = 300
_LEAST_EXTENT_M, _MOST_EXTENT_M = 20.0, 20_000.0
_MOST_HEIGHT_M = 1000.0
_LEAST_AREA_M2 = 1e-8
_LEAST_UPWARD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFinding:
    """One line of the report: fine, to be known, or in the way of a dataset."""

    level: Level
    subject: str
    text: str


def check_scene(scene: Scene, bands: Sequence[Band] | None = None) -> tuple[SceneFinding, ...]:
    """Look at a scene's geometry, materials and sites.

    Args:
        scene: What to check.
        bands: Carriers that it must serve; a preset that it does not serve is only noted.
    """
    with tempfile.TemporaryDirectory(prefix="raymark-") as workspace:
        try:
            xml_path = scene.xml_path(Path(workspace))
            meshes = read_meshes(xml_path)
            loaded = LoadedScene(xml_path, FrontEnd())
        except SceneError as error:
            return (SceneFinding(level="FAIL", subject="geometry", text=str(error)),)
    return (
        _size(scene, loaded),
        _counts(meshes, loaded),
        *_surfaces(meshes),
        *_triangles(meshes),
        *_materials(scene, loaded, bands),
        *_sites(scene, loaded),
    )


def _size(scene: Scene, loaded: LoadedScene) -> SceneFinding:
    low, high = loaded.box_m
    width, depth, height = (high - low).tolist()
    size = f"{width:.0f} x {depth:.0f} m, {height:.0f} m high"
    x_min, y_min, x_max, y_max = scene.extent_m
    apart = x_min >= high[0] or x_max <= low[0] or y_min >= high[1] or y_max <= low[1]
    if min(width, depth) < _LEAST_EXTENT_M or max(width, depth) > _MOST_EXTENT_M:
        text = f"{size}; 20 m to 20 km was expected: are the units degrees or feet?"
    elif height > _MOST_HEIGHT_M:
        text = f"{size}; under 1000 m was expected: are the units feet?"
    elif apart:
        text = f"extent_m of its scene.yaml, {scene.extent_m} m, lies outside the geometry ({size})"
    else:
        return SceneFinding(level="ok", subject="size", text=size)
    return SceneFinding(level="FAIL", subject="size", text=text)


def _counts(meshes: Sequence[SceneMesh], loaded: LoadedScene) -> SceneFinding:
    text = (
        f"{loaded.triangles.count:,} triangles in {len(meshes):,} meshes, {loaded.planes.count:,} "
        f"planes, {loaded.wedges.count:,} diffracting edges"
    )
    return SceneFinding(level="ok", subject="triangles", text=text)


def _surfaces(meshes: Sequence[SceneMesh]) -> Iterator[SceneFinding]:
    """Tell whether the buildings bound a volume and look outwards, and the ground up."""
    grounds = are_ground(meshes)
    ground = [mesh for mesh, is_it in zip(meshes, grounds, strict=True) if is_it]
    buildings = [mesh for mesh, is_it in zip(meshes, grounds, strict=True) if not is_it]
    if not ground:
        text = "no mesh is its ground, which UEs stand on; name one 'ground'"
        yield SceneFinding(level="FAIL", subject="ground", text=text)
    else:
        normal = np.concatenate([_normals(mesh.triangles)[:, 2] for mesh in ground])
        text = f"{', '.join(mesh.name for mesh in ground[:3])}"
        if (np.abs(normal) < _LEAST_UPWARD).any():
            text += "; it has cliffs steeper than 60 degrees"
        yield SceneFinding(level="ok", subject="ground", text=text)
    if not buildings:
        text = "none: every point will be in line of sight"
        yield SceneFinding(level="note", subject="buildings", text=text)
        return
    whole = weld(np.round(np.concatenate([mesh.triangles for mesh in buildings]), 3))
    if not is_closed(whole):
        text = "their surface is open: floors or other faces are missing, where rays may enter"
        yield SceneFinding(level="note", subject="buildings", text=text)
    elif whole.volume < 0:
        text = "their surface is closed and turned inside out; reverse the order of the corners"
        yield SceneFinding(level="FAIL", subject="buildings", text=text)
    else:
        text = f"closed, normals outwards, {whole.volume:,.0f} m3"
        yield SceneFinding(level="ok", subject="buildings", text=text)
    yield from _roof_edges(buildings)


def _roof_edges(buildings: Sequence[SceneMesh]) -> Iterator[SceneFinding]:
    """Note meshes that are open by themselves: walls here, roofs there."""
    is_open = [not is_closed(weld(np.round(mesh.triangles, 3))) for mesh in buildings]
    if any(is_open):
        text = (
            f"{sum(is_open):,} of {len(buildings):,} meshes are open by themselves; edges between "
            "two meshes diffract with `tracer: {weld_edges: true}` only"
        )
        yield SceneFinding(level="note", subject="edges", text=text)


def _triangles(meshes: Sequence[SceneMesh]) -> Iterator[SceneFinding]:
    """Note triangles without area, and those that stand twice."""
    corners = np.concatenate([mesh.triangles for mesh in meshes])
    area = np.linalg.norm(_cross(corners), axis=1) / 2
    num_degenerate = int((area < _LEAST_AREA_M2).sum())
    if num_degenerate:
        text = f"{counted(num_degenerate, 'triangle')} without area, which reflect nothing"
        yield SceneFinding(level="note", subject="triangles", text=text)
    _, corner = np.unique(np.round(corners.reshape(-1, 3), 3), axis=0, return_inverse=True)
    sets = np.sort(corner.reshape(-1, 3), axis=1)
    num_twice = len(sets) - len(np.unique(sets, axis=0))
    if num_twice:
        text = f"{counted(num_twice, 'triangle')} in the same place as another"
        yield SceneFinding(level="note", subject="triangles", text=text)


def _materials(
    scene: Scene, loaded: LoadedScene, bands: Sequence[Band] | None
) -> Iterator[SceneFinding]:
    present = sorted(set(loaded.object_materials))
    unlisted = sorted(set(present) - set(scene.settings.materials))
    if unlisted:
        text = f"its meshes are of {', '.join(unlisted)}, which scene.yaml does not list"
        yield SceneFinding(level="FAIL", subject="materials", text=text)
    asked = tuple(bands or BAND_PRESETS.values())
    faults = [fault for band in asked for fault in undefined_materials(present, band)]
    level: Level = "FAIL" if bands else "note"
    for fault in faults:
        yield SceneFinding(level=level, subject="materials", text=fault)
    if not unlisted and not faults:
        names = ", ".join(band.name for band in asked)
        text = f"{', '.join(present)}: defined at {names}"
        yield SceneFinding(level="ok", subject="materials", text=text)


def _sites(scene: Scene, loaded: LoadedScene) -> Iterator[SceneFinding]:
    """Check each site, and tell how it covers its sector."""
    if not scene.sites:
        text = f"none; run `raymark scenes add-site {scene.folder} --write`"
        yield SceneFinding(level="note", subject="sites", text=text)
    band = usable_band(set(loaded.object_materials), BAND_PRESETS.values())
    for site in scene.sites:
        subject = f"site {site.name}"
        if band is None:
            text = "not traced, since no band preset has all materials"
            yield SceneFinding(level="note", subject=subject, text=text)
            continue
        try:
            check_site(loaded, site, scene=scene.name)
            sampling = UniformSampling(num_ues=_NUM_POINTS)
            found = measure_coverage(loaded, site, sampling, band, seed=0, scene=scene.name)
        except SceneError as error:
            yield SceneFinding(level="FAIL", subject=subject, text=str(error))
            continue
        text = (
            f"{found.los_share:.0%} LOS, {found.nlos_share:.0%} NLOS, {found.outage_share:.0%} "
            f"outage of {_NUM_POINTS} outdoor points within 200 m"
        )
        yield SceneFinding(level="ok", subject=subject, text=text)


def _cross(corners: Float[np.ndarray, "tri 3 3"]) -> Float[np.ndarray, "tri 3"]:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _normals(corners: Float[np.ndarray, "tri 3 3"]) -> Float[np.ndarray, "tri 3"]:
    cross = _cross(corners)
    return cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-30)
