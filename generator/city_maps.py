"""Make the maps of a dataset's scenes: wrong as real maps are, and traced on a grid of points.

Such a map is a dataset like any other, of degraded scenes. Localizers that know the city read it
(`raymark.benchmark.city_map`); `raymark bench maps` makes those of a suite.
"""

from pathlib import Path

from raymark.config import read_json, validate
from raymark.dataset import Dataset
from raymark.dataset.campaign import DISCOVERY_PRESETS, Campaign, SceneChoice
from raymark.dataset.map_names import map_name, map_scene
from raymark.dataset.samplings import GridSampling, SectorSampling
from raymark.errors import ConfigError, SceneError
from raymark.generator.generate import GenerationReport, generate_dataset
from raymark.generator.plan import Progress
from raymark.scenes import Scene, get_scene
from raymark.scenes.degrading.degrade_scene import degrade_scene
from raymark.scenes.degrading.grades import Grade
from raymark.scenes.degrading.report import RECORD, DegradeReport

SCENES_FOLDER = "scenes"
DEFAULT_SPACING_M = 2.0
"""Of the grid: within a cell, a path's length follows its first order to a few centimetres."""

NUM_MAP_PATHS = 64
"""Kept of a point: those that are strong at one band are among the strongest at any."""

_MARGIN_M, _MARGIN_DEG = 5.0, 3.0
"""The grid goes beyond the sector, since a map may have the panel elsewhere and turned."""
_WIDEST_DEG = 89.0


def make_map(
    dataset: Dataset,
    folder: Path,
    *,
    grade: Grade,
    seed: int,
    spacing_m: float = DEFAULT_SPACING_M,
    progress: Progress = lambda _stage, _done, _total: None,
) -> GenerationReport:
    """Make one map of all scenes of a dataset, or go on where an interrupted call stopped.

    Args:
        dataset: Whose scenes, sites, bands, front-end and kinds of paths the map has.
        folder: Gets the map, named by `raymark.dataset.map_names`, and its scenes in `scenes`.
        grade: How wrong the map is.
        seed: Root of its errors; another seed is another map.
        spacing_m: Between the points of the grid [m].
        progress: Told how many scenes are loaded and points are traced.

    Raises:
        ConfigError: If the UEs were drawn from no sector, a site is not one of its scene, or a map
            in the folder is of another scene than the dataset.
        SceneError: If a scene has no ground or no building, or another state than the dataset's.
        DatasetError: If the folder holds something else, is in use or cannot be written.
    """
    campaign = _campaign_of(dataset, folder, map_name(grade.name, seed), spacing_m)
    for choice, mapped in zip(dataset.manifest.campaign.scenes, campaign.scenes, strict=True):
        _draw_scene(dataset, choice, Path(mapped.name), grade=grade, seed=seed)
    return generate_dataset(campaign, folder / map_name(grade.name, seed), progress=progress)


def _campaign_of(dataset: Dataset, folder: Path, name: str, spacing_m: float) -> Campaign:
    campaign = dataset.manifest.campaign
    sector = campaign.sampling.sector
    if sector is None:
        raise ConfigError(
            f"the UEs of {dataset.folder} were drawn from no sector, so that nobody knows where "
            "else on a map they could be; use a dataset of a sampling with max_range_m"
        )
    scenes = folder.resolve() / SCENES_FOLDER
    return campaign.model_copy(
        update={
            "name": f"map-{name}",
            "description": f"What a map has at points {spacing_m:g} m apart, for localizers.",
            "version": 1,
            "scenes": tuple(
                _choice_of(choice, scenes / map_scene(Path(choice.name).name, name))
                for choice in campaign.scenes
            ),
            "sampling": _grid(sector, spacing_m),
            "shared_ues": False,
            "tracer": campaign.tracer.model_copy(
                update={
                    "discovery": DISCOVERY_PRESETS["quick"],
                    "kept_power_share": None,
                    "max_num_paths": NUM_MAP_PATHS,
                }
            ),
        }
    )


def _choice_of(choice: SceneChoice, folder: Path) -> SceneChoice:
    for site in choice.sites or ():
        if not isinstance(site, str):
            raise ConfigError(
                f"site '{site.name}' stands in the campaign and not in scene '{choice.name}', so "
                "that no map has it; add it to the scene with `raymark scenes add-site`"
            )
    return choice.model_copy(update={"name": str(folder), "params": {}})


def _grid(sector: SectorSampling, spacing_m: float) -> GridSampling:
    half_deg = min(sector.sector_half_width_deg + _MARGIN_DEG, _WIDEST_DEG)
    return GridSampling(
        spacing_m=spacing_m,
        height_m=sector.height_m,
        wall_margin_m=sector.wall_margin_m,
        min_range_m=max(1.0, sector.min_range_m - _MARGIN_M),
        max_range_m=sector.max_range_m + _MARGIN_M,
        sector_half_width_deg=half_deg,
    )


def _draw_scene(
    dataset: Dataset, choice: SceneChoice, folder: Path, *, grade: Grade, seed: int
) -> None:
    """Make the map of a scene, unless it is there."""
    scene = get_scene(choice.name, choice.params)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        degrade_scene(scene, folder, grade=grade, seed=seed)
    _require_map_of(dataset, scene, folder, grade=grade, seed=seed)


def _require_map_of(
    dataset: Dataset, scene: Scene, folder: Path, *, grade: Grade, seed: int
) -> None:
    """Check that a map is of the scene that the dataset was traced in."""
    record = validate(DegradeReport, read_json(folder / RECORD), where=str(folder / RECORD))
    traced = {site.scene_hash for site in dataset.manifest.sites if site.scene == scene.name}
    if {record.source_sha256} != traced:
        raise SceneError(
            f"{folder} is the map of scene '{scene.name}' in another state than that in which "
            f"{dataset.folder} was traced; remove the folder if the map is older, or make the "
            "dataset anew if the scene was edited"
        )
    if (record.grade, record.seed) != (grade, seed):
        raise ConfigError(
            f"{folder} is a map of grade '{record.grade.name}' and seed {record.seed}, or its "
            f"grade was another; expected grade '{grade.name}' and seed {seed}; remove the folder"
        )
