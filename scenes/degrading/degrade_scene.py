"""From a scene to one whose map is wrong: a folder like any other, with a record of how wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import ArrayLike

from raymark.errors import ConfigError, SceneError
from raymark.scenes.degrading.card import card_text
from raymark.scenes.degrading.city import City, Shape, read_city
from raymark.scenes.degrading.deviations import Deviation, Draws, draw_deviations
from raymark.scenes.degrading.grades import Grade
from raymark.scenes.degrading.map_buildings import MapBuilding
from raymark.scenes.degrading.poses import WrongSite, misplace
from raymark.scenes.degrading.rebuilding import Rebuilt, rebuild
from raymark.scenes.degrading.report import RECORD, DegradeReport
from raymark.scenes.degrading.reshaping import reshape_meshes
from raymark.scenes.footprints import recorded_frame
from raymark.scenes.importing.meshes import weld
from raymark.scenes.importing.scene_folder import require_free_name
from raymark.scenes.importing.sionna_scene import free_names
from raymark.scenes.importing.solids import Meshes
from raymark.scenes.scene import Scene, SceneSettings
from raymark.scenes.scene_files import write_geometry
from raymark.scenes.scene_meshes import SceneMesh
from raymark.storage import new_folder
from raymark.storage.atomic import writable

_SEEDS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What a map became, ready to be written.

    Attributes:
        shapes: All meshes.
        sites: All sites.
        deviations: What is wrong with each building of the scene.
        rebuilt: Buildings that were made anew.
        num_rebuilt: How many these are.
    """

    shapes: tuple[Shape, ...]
    sites: tuple[WrongSite, ...]
    deviations: Mapping[str, Deviation]
    rebuilt: Rebuilt
    num_rebuilt: int


def degrade_scene(scene: Scene, out: Path, *, grade: Grade, seed: int = 0) -> DegradeReport:
    """Make the scene folder `out` of a scene, with a map that is wrong as real maps are.

    Ground and terrain stay. Buildings whose outlines stay keep their meshes, which are moved and
    stretched; others become prisms on the terrain. The same scene, grade and seed give the same
    bytes.

    Args:
        scene: Any scene, degraded ones included.
        out: The folder to make; its name is that of the scene.
        grade: How wrong the map is: one of `GRADES`, or another.
        seed: Root of all draws; another seed is another map.

    Returns:
        What was done, as `degraded.json` in the folder says it.

    Raises:
        SceneError: If the scene cannot be read, or has no ground or no building, or if none is
            left, or a wall of another material than ITU-R P.2040 has.
        ConfigError: If the seed or the name of the folder cannot be used.
        DatasetError: If the folder is there, or cannot be written.
    """
    name = out.resolve().name
    require_free_name(name, what=f"the scene is called as its folder, and '{name}'")
    if not 0 <= seed < _SEEDS:
        raise ConfigError(f"--seed must be from 0 to {_SEEDS - 1}, got {seed}")
    with new_folder(out) as partial:
        city = read_city(scene)
        model = _degrade(city, scene, grade, Draws(seed, scene.name))
        report = _report(name, scene, city, model, grade=grade, seed=seed)
        with writable(out):
            _write(partial, scene, model, report)
    return report


def _degrade(city: City, scene: Scene, grade: Grade, draws: Draws) -> _Model:
    deviations = draw_deviations(city.buildings, grade, draws=draws)
    there = [building for building in city.buildings if not deviations[building.name].is_missing]
    changed = _with_other_outlines(there, deviations, grade)
    rebuilt = rebuild(city.meshes, changed, deviations, grade=grade, ground=city.surface)
    names = {building.name for building in changed}
    kept = [building for building in there if building.name not in names]
    moved = iter(reshape_meshes(city.meshes, kept, deviations))
    shapes = [
        shape if shape.is_ground else _made_of(replace(shape, mesh=next(moved)), grade.material)
        for shape in city.shapes
    ]
    shapes = [shape for shape in shapes if len(shape.mesh.triangles)]
    shapes += _shapes_of(rebuilt.meshes, city, taken=[shape.name for shape in shapes])
    if all(shape.is_ground for shape in shapes):
        raise SceneError(
            f"scene '{scene.name}': a map of grade '{grade.name}' has none of its "
            f"{len(city.buildings)} buildings; choose another grade or seed"
        )
    right, wrong = (np.concatenate([s.mesh.triangles for s in x]) for x in (city.shapes, shapes))
    return _Model(
        shapes=tuple(shapes),
        sites=tuple(
            misplace(site, grade, right=right, wrong=wrong, draws=draws) for site in scene.sites
        ),
        deviations=deviations,
        rebuilt=rebuilt,
        num_rebuilt=len(changed),
    )


def _with_other_outlines(
    buildings: Sequence[MapBuilding], deviations: Mapping[str, Deviation], grade: Grade
) -> list[MapBuilding]:
    """Return the buildings that are made anew: all, or those that are merged."""
    if grade.outline_m:
        return list(buildings)
    into = Counter(deviations[building.name].merged_into for building in buildings)
    return [b for b in buildings if into[deviations[b.name].merged_into] > 1]


def _made_of(shape: Shape, material: str | None) -> Shape:
    if material is None:
        return shape
    return replace(shape, mesh=replace(shape.mesh, material=material))


def _shapes_of(meshes: Meshes, city: City, *, taken: Sequence[str]) -> list[Shape]:
    """Return new meshes as shapes, with walls as most of the scene's buildings have them."""
    walls = Counter((s.thickness_m, s.scattering) for s in city.shapes if not s.is_ground)
    (thickness_m, scattering), _ = walls.most_common(1)[0]
    names = free_names([*taken, *meshes])[len(taken) :]
    return [
        Shape(
            name=name,
            mesh=SceneMesh(
                name=name, material=material, triangles=np.asarray(mesh.triangles, dtype=float)
            ),
            is_ground=False,
            thickness_m=thickness_m,
            scattering=scattering,
        )
        for name, (mesh, material) in zip(names, meshes.values(), strict=True)
    ]


def _report(
    name: str, scene: Scene, city: City, model: _Model, *, grade: Grade, seed: int
) -> DegradeReport:
    wrong = list(model.deviations.values())
    there = [d for key, d in model.deviations.items() if not d.is_missing and d.merged_into == key]
    shifts_m = np.array([deviation.shift_m for deviation in there]).reshape(-1, 2)
    return DegradeReport(
        name=name,
        source=scene.name,
        source_sha256=city.sha256,
        grade=grade,
        seed=seed,
        frame=recorded_frame(scene),
        num_source_buildings=len(city.buildings),
        num_missing=sum(deviation.is_missing for deviation in wrong),
        num_merged=sum(d.merged_into != key for key, d in model.deviations.items()),
        num_moved=int(shifts_m.any(axis=1).sum()),
        num_new_heights=sum(deviation.height_m != 0 for deviation in there),
        num_unknown_heights=sum(deviation.is_height_unknown for deviation in there),
        num_limited_heights=sum(deviation.is_height_limited for deviation in there),
        num_rebuilt=model.num_rebuilt,
        num_without_roof=model.rebuilt.num_without_roof,
        num_vanished=model.rebuilt.num_vanished,
        rms_shift_m=_rms(np.linalg.norm(shifts_m, axis=1)),
        rms_height_m=_rms([d.height_m for d in there if not d.is_height_unknown]),
        rms_unknown_height_m=_rms([d.height_m for d in there if d.is_height_unknown]),
        rms_position_m=_rms([site.error_m for site in model.sites]),
        rms_angle_deg=_rms([site.error_deg for site in model.sites]),
        num_sites=len(model.sites),
        num_freed_sites=sum(site.is_freed for site in model.sites),
        num_triangles=sum(len(shape.mesh.triangles) for shape in model.shapes),
        materials=tuple(sorted({shape.mesh.material for shape in model.shapes})),
    )


def _rms(values: ArrayLike) -> float:
    """Return the root mean square of values, to the millimetre; 0 of none."""
    squares = np.square(np.asarray(values, dtype=float))
    return round(float(np.sqrt(squares.mean())), 3) if squares.size else 0.0


def _write(folder: Path, scene: Scene, model: _Model, report: DegradeReport) -> None:
    write_geometry(
        folder,
        {s.name: (weld(s.mesh.triangles), s.mesh.material) for s in model.shapes},
        thickness_m={shape.name: shape.thickness_m for shape in model.shapes},
        scattering={shape.name: shape.scattering for shape in model.shapes},
    )
    texts = {
        "scene.yaml": _scene_yaml(scene, model.sites, report),
        "card.md": card_text(scene, report),
        RECORD: report.model_dump_json(indent=2) + "\n",
    }
    for file_name, text in texts.items():
        (folder / file_name).write_text(text, encoding="utf-8")


def _scene_yaml(scene: Scene, sites: Sequence[WrongSite], report: DegradeReport) -> str:
    right = scene.settings
    settings = SceneSettings(
        title=f"{right.title} (map of grade {report.grade.name}, seed {report.seed})",
        geometry="files",
        source=f"scene '{scene.name}' ({report.source_sha256}) with a map of grade "
        f"'{report.grade.name}' and seed {report.seed}; {right.source}",
        licence=right.licence,
        attribution=right.attribution,
        materials=report.materials,
        extent_m=scene.extent_m,
        sites=tuple(site.site for site in sites),
    )
    # How much of a sector is in line of sight was not measured on this map.
    data = settings.model_dump(mode="json", exclude={"los_share"})
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
