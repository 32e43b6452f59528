"""Look at a scene before generating from it: building heights, sectors, labelled UEs."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from raymark import plots
from raymark.dataset.buildings import HeightMap
from raymark.dataset.campaign import DISCOVERY_PRESETS, Campaign, SceneChoice, TracerSettings
from raymark.dataset.samplings import SectorSampling, UniformSampling
from raymark.generator.buildings import height_map, surroundings_m
from raymark.generator.coverage import label_points
from raymark.generator.plan import Plan, SitePlan, make_plan
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.plots import SiteMark
from raymark.radio import BAND_PRESETS, Band, FrontEnd, Site
from raymark.scenes import Scene
from raymark.storage.atomic import writable

BAND = BAND_PRESETS["6GHz"]


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
    plots.require_figure_name(out)
    if not scene.sites:
        _save(out, scene, height_map(load_geometry(scene)[0], scene.extent_m), [], None)
        return
    sampling = UniformSampling(num_ues=num_ues)
    plan = make_plan(preview_campaign(scene, sampling, seed))
    marks = [sector_mark(site, sampling) for site in scene.sites]
    positions_m = [site.position_m for site in scene.sites]
    extent_m = surroundings_m(scene.extent_m, positions_m, sampling.max_range_m)
    heights = height_map(plan.sites[0].loaded, extent_m)
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
