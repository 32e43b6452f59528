"""Look at a scene before generating from it: building heights, sectors, labelled UEs."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from raymark import plots
from raymark.dataset import Dataset
from raymark.dataset.campaign import DISCOVERY_PRESETS, Campaign, SceneChoice, TracerSettings
from raymark.dataset.samplings import SectorSampling, UniformSampling
from raymark.errors import RaymarkError
from raymark.generator.coverage import label_points
from raymark.generator.outdoors import RayCaster, ground_height
from raymark.generator.plan import Plan, SitePlan, make_plan
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.plots import HeightMap, SiteMark
from raymark.plots.inspection import site_mark
from raymark.radio import BAND_PRESETS, Band, FrontEnd, Site
from raymark.scenes import Scene, get_scene
from raymark.storage.atomic import writable

Extent = tuple[float, float, float, float]

BAND = BAND_PRESETS["6GHz"]
_MAX_CELLS = 500
_RANGE_MARGIN = 1.15


def height_map(
    loaded: RayCaster, extent_m: Extent, *, resolution_m: float | None = None
) -> HeightMap:
    """Return the height of the topmost surface above ground over an area.

    One ray goes down at the centre of each cell; the ground below is what a ray from underneath
    meets first, so that heights are above terrain. At most 500 x 500 cells are made.

    Args:
        loaded: The scene.
        extent_m: x_min, y_min, x_max, y_max [m].
        resolution_m: Side of a cell [m], made larger where the limit asks for it; 1 m if not given.
    """
    x_min, y_min, x_max, y_max = extent_m
    longest = max(x_max - x_min, y_max - y_min)
    step = max(resolution_m or 1.0, longest / _MAX_CELLS)
    num_x, num_y = (max(1, math.ceil(s / step)) for s in (x_max - x_min, y_max - y_min))
    x_edges, y_edges = np.linspace(x_min, x_max, num_x + 1), np.linspace(y_min, y_max, num_y + 1)
    centres = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
    x, y = np.meshgrid(*centres)
    heights = _height_above_ground(loaded, np.column_stack([x.ravel(), y.ravel()]))
    return HeightMap(x_m=x_edges, y_m=y_edges, height_m=heights.reshape(num_y, num_x))


def dataset_height_maps(dataset: Dataset) -> dict[str, HeightMap]:
    """Return the heights around the sites of a dataset's scenes, to draw below its maps.

    A dataset does not hold its buildings: they come from the scenes it was made from, and a scene
    that cannot be found here, or is another by now, is left out.
    """
    maps = {}
    for choice in dataset.manifest.campaign.scenes:
        sites = [s for s in dataset.manifest.sites if s.scene == Path(choice.name).name]
        found = _find_scene(choice, sites[0].scene_hash) if sites else None
        if found is not None:
            scene, loaded = found
            marks = [site_mark(dataset, site) for site in sites]
            maps[scene.name] = height_map(loaded, _surroundings(scene, marks))
    return maps


def preview_scene(scene: Scene, out: Path, *, num_ues: int = 500, seed: int = 0) -> None:
    """Draw the plan of a scene around its sites, with sampled UEs as LOS, NLOS or outage.

    Beside the figure stand its data: UEs and labels as `.csv`, heights as `.npz`.

    Args:
        scene: What to draw; without sites its whole extent is drawn.
        out: Figure; its ending (.png, .pdf, .svg) decides the format.
        num_ues: UEs per site, uniform over its sector.
        seed: Root of their positions.

    Raises:
        SceneError: If a site lies in a building, or a sector has no outdoor point.
        ConfigError: If the ending of `out` is another.
        DatasetError: If a file cannot be written.
    """
    if not scene.sites:
        _save(out, scene, height_map(load_geometry(scene)[0], scene.extent_m), [], None)
        return
    sampling = UniformSampling(num_ues=num_ues)
    plan = make_plan(preview_campaign(scene, sampling, seed))
    marks = [sector_mark(site, sampling) for site in scene.sites]
    heights = height_map(plan.sites[0].loaded, _surroundings(scene, marks))
    links = pd.concat([_labelled_ues(plan, site) for site in plan.sites], ignore_index=True)
    _save(out, scene, heights, marks, links)


def preview_campaign(
    scene: Scene,
    sampling: UniformSampling,
    seed: int,
    *,
    band: Band = BAND,
    sites: tuple[str, ...] | None = None,
) -> Campaign:
    """Return a campaign of one scene that is traced with few rays, to look at and not to keep.

    Args:
        scene: The scene.
        sampling: How its UEs are drawn.
        seed: Root of their positions.
        band: The one band.
        sites: Names of the sites; all of the scene if not given.
    """
    return Campaign(
        name="preview",
        seed=seed,
        scenes=(SceneChoice(name=str(scene.folder), sites=sites, params=scene.params),),
        bands=(band,),
        sampling=sampling,
        tracer=TracerSettings(diffraction=True, discovery=DISCOVERY_PRESETS["quick"]),
    )


def load_geometry(scene: Scene) -> tuple[LoadedScene, str]:
    """Return the geometry of a scene and its hash.

    Raises:
        SceneError: If the geometry cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="raymark-") as workspace:
        xml_path = scene.xml_path(Path(workspace))
        return LoadedScene(xml_path, FrontEnd()), scene.hash(xml_path)


def sector_mark(site: Site, sampling: SectorSampling) -> SiteMark:
    """Return how a site and the sector that its UEs are drawn from are drawn."""
    x, y, _ = site.position_m
    return SiteMark(
        name=site.name,
        position_m=(x, y),
        azimuth_rad=math.radians(site.azimuth_deg),
        half_width_rad=math.radians(sampling.sector_half_width_deg),
        range_m=sampling.max_range_m,
    )


def _find_scene(choice: SceneChoice, scene_hash: str) -> tuple[Scene, LoadedScene] | None:
    """Return a scene of a campaign if it is here and still the same."""
    try:
        scene = get_scene(choice.name, choice.params)
        loaded, found_hash = load_geometry(scene)
    except RaymarkError:
        return None
    return (scene, loaded) if found_hash == scene_hash else None


def _height_above_ground(
    loaded: RayCaster, xy_m: Float[np.ndarray, "cell 2"]
) -> Float[np.ndarray, "cell"]:
    _, high = loaded.box_m
    above = high[2] + 1.0
    origin = np.column_stack([xy_m, np.full(len(xy_m), above)])
    distance, _ = loaded.hit_distance(origin, np.tile((0.0, 0.0, -1.0), (len(xy_m), 1)))
    ground = ground_height(loaded, xy_m)
    has_ground = np.isfinite(distance) & np.isfinite(ground)
    top = above - np.where(has_ground, distance, 0.0)
    # Up and down rays meet a slope at slightly different heights: no cell lies below ground.
    return np.where(has_ground, np.maximum(top - np.where(has_ground, ground, 0.0), 0.0), 0.0)


def _surroundings(scene: Scene, marks: list[SiteMark]) -> Extent:
    """Return the box around the sites' ranges, cut at the scene's own extent."""
    reach = _RANGE_MARGIN * max(mark.range_m for mark in marks)
    x, y = np.array([mark.position_m for mark in marks]).T
    x_min, y_min, x_max, y_max = scene.extent_m
    return (
        max(x_min, float(x.min()) - reach),
        max(y_min, float(y.min()) - reach),
        min(x_max, float(x.max()) + reach),
        min(y_max, float(y.max()) + reach),
    )


def _labelled_ues(plan: Plan, site: SitePlan) -> pd.DataFrame:
    position, campaign = site.ues.position_m, plan.campaign
    los = label_points(
        site.loaded,
        site.site,
        position.astype("f8"),
        campaign.bands[0],
        max_path_length_m=campaign.tracer.max_path_length_m,
    )
    x, y, z = position.T
    columns = {"site": site.site.name, "x_m": x, "y_m": y, "z_m": z, "los": los}
    return pd.DataFrame(columns)


@plots.house_style()
def _save(
    out: Path, scene: Scene, heights: HeightMap, marks: list[SiteMark], links: pd.DataFrame | None
) -> None:
    figure, axes = plots.new_figure(panel_inches=(7.0, 6.0))
    plots.plot_scene_plan(heights, marks, links=links, ax=axes[0])
    axes[0].set_title(scene.settings.title)
    plots.save_figure(figure, out)
    with writable(out):
        if links is not None:
            links.to_csv(out.with_suffix(".csv"), index=False, float_format="%.6g")
        np.savez_compressed(
            out.with_suffix(".npz"), x_m=heights.x_m, y_m=heights.y_m, height_m=heights.height_m
        )
