"""Look at a scene before generating from it: building heights, sectors, labelled UEs."""

import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from raymark import plots
from raymark.campaign import (
    Campaign,
    SceneChoice,
    SectorSampling,
    TracerSettings,
    UniformSampling,
)
from raymark.generator.generate import trace_block
from raymark.generator.plan import Plan, SitePlan, make_plan
from raymark.generator.sampling import RayCaster, SampledUEs, ground_height
from raymark.generator.tracing.sionna_adapter import LoadedScene
from raymark.plots import HeightMap, SiteMark
from raymark.radio import BAND_PRESETS, FrontEnd
from raymark.scenes import Scene, Site
from raymark.schema import LOS, NLOS, OUTAGE
from raymark.shard import writable

Extent = tuple[float, float, float, float]

BAND = BAND_PRESETS["6GHz"]
NUM_RAYS = 30_000
"""Rays per site: few, so that a preview takes seconds; some NLOS UEs pass for outage."""

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
        DatasetError: If a file cannot be written.
    """
    if not scene.sites:
        _save(out, scene, height_map(_load(scene), scene.extent_m), [], None)
        return
    sampling = UniformSampling(num_ues=num_ues)
    plan = make_plan(_campaign(scene, sampling, seed))
    marks = [_mark(site, sampling) for site in scene.sites]
    heights = height_map(plan.sites[0].loaded, _surroundings(scene, marks))
    links = pd.concat([_labelled_ues(plan, site) for site in plan.sites], ignore_index=True)
    _save(out, scene, heights, marks, links)


def _campaign(scene: Scene, sampling: UniformSampling, seed: int) -> Campaign:
    return Campaign(
        name="preview",
        seed=seed,
        scenes=(SceneChoice(name=str(scene.folder), params=scene.params),),
        bands=(BAND,),
        sampling=sampling,
        tracer=TracerSettings(num_rays=NUM_RAYS, diffraction=True),
    )


def _load(scene: Scene) -> LoadedScene:
    with tempfile.TemporaryDirectory(prefix="raymark-") as workspace:
        return LoadedScene(scene.xml_path(Path(workspace)), FrontEnd())


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


def _mark(site: Site, sampling: SectorSampling) -> SiteMark:
    x, y, _ = site.position_m
    return SiteMark(
        name=site.name,
        position_m=(x, y),
        azimuth_rad=math.radians(site.azimuth_deg),
        half_width_rad=math.radians(sampling.sector_half_width_deg),
        range_m=sampling.max_range_m,
    )


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
    position = site.ues.position_m
    bs = np.tile(np.asarray(site.site.position_m), (len(position), 1))
    los = np.where(site.loaded.is_visible(bs, position.astype("f8")), LOS, OUTAGE)
    hidden = np.flatnonzero(los != LOS)
    los[hidden] = np.where(_has_path(plan, site, hidden), NLOS, OUTAGE)
    x, y, z = position.T
    columns = {"site": site.site.name, "x_m": x, "y_m": y, "z_m": z, "los": los}
    return pd.DataFrame(columns)


def _has_path(plan: Plan, site: SitePlan, rows: Int[np.ndarray, "ue"]) -> Bool[np.ndarray, "ue"]:
    """Trace the given UEs of a site and tell which of them are reached at all."""
    ues = SampledUEs(
        position_m=site.ues.position_m[rows],
        track_id=site.ues.track_id[rows],
        track_step=site.ues.track_step[rows],
    )
    chosen = dataclasses.replace(site, ues=ues)
    reached = np.zeros(len(rows), dtype=bool)
    block = plan.campaign.tracer.block_size
    for first in range(0, len(rows), block):
        paths = trace_block(plan, chosen, first, min(block, len(rows) - first))
        reached[first + np.unique(paths.ue_index)] = True
    return reached


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
