"""Gather what the 3D page of a scene shows: triangles, sites, and traced or stored paths."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from raymark.dataset import Dataset
from raymark.dataset.manifest import SiteRecord
from raymark.dataset.samplings import SectorSampling, UniformSampling
from raymark.errors import DatasetError
from raymark.generator.outdoors import RayCaster, ground_height
from raymark.generator.plan import Plan, SitePlan, make_plan
from raymark.generator.preview import BAND, load_geometry, preview_campaign, sector_mark
from raymark.generator.site_tracing import assemble
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.plots import SiteMark
from raymark.plots.selections import site_mark
from raymark.radio import parse_bands
from raymark.scenes import Scene
from raymark.seeding import child_generator
from raymark.viewer import LinkPaths, LocatedLinks, SceneTriangles, SceneView, ViewSite
from raymark.viewer.page import require_free, write_view
from raymark.viewer.stored import links_of_shard, stored_links

_GROUND_TOLERANCE_M = 0.5
_STEEPEST_GROUND = 0.3
"""Least vertical part of a ground triangle's normal: terrain of up to 72 deg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChoice:
    """Which links a page shows.

    Attributes:
        site: Name of the one site; all sites if not given.
        band: Band of the gains; the dataset's first, or 6GHz where paths are traced, if not given.
        num_links: Links per site at most.
        seed: Root of their choice.
    """

    site: str | None = None
    band: str | None = None
    num_links: int = 200
    seed: int = 0


def view_scene(
    scene: Scene,
    out: Path,
    choice: ViewChoice | None = None,
    *,
    dataset: Dataset | None = None,
    overwrite: bool = False,
) -> SceneView:
    """Write an interactive 3D page of a scene, its sites, UEs and the paths of each link.

    Args:
        scene: What to show; one without sites shows its geometry alone.
        out: HTML file.
        choice: Which links.
        dataset: Where the links come from; if not given, UEs are drawn and traced as in a preview.
        overwrite: Replace a file of that name.

    Returns:
        What the page shows.

    Raises:
        ConfigError: If the ending of `out` is not `.html`, or the band is unknown.
        SceneError: If the site is unknown, or a site's sector has no outdoor point.
        DatasetError: If the file is there or cannot be written, or the dataset lacks the scene,
            site, band or its detail files, or was made from another scene.
    """
    require_free(out, overwrite=overwrite)
    choice = choice or ViewChoice()
    if dataset is not None:
        view = _stored_view(scene, choice, dataset)
    elif scene.sites or choice.site is not None:
        view = _traced_view(scene, choice)
    else:
        view = _make_view(scene, load_geometry(scene)[0], ())
    write_view(view, out, overwrite=overwrite)
    return view


def view_located(
    scene: Scene, out: Path, located: LocatedLinks, *, area: SectorSampling, overwrite: bool = False
) -> SceneView:
    """Write an interactive 3D page of located links: their posteriors, and the paths that speak.

    Args:
        scene: The map that they were located on.
        out: HTML file.
        located: The links.
        area: Where candidates stood.
        overwrite: Replace a file of that name.

    Returns:
        What the page shows.

    Raises:
        ConfigError: If the ending of `out` is not `.html`.
        DatasetError: If the file is there or cannot be written.
    """
    require_free(out, overwrite=overwrite)
    site, loaded = scene.site(located.site), load_geometry(scene)[0]
    mark, tilt_rad = sector_mark(site, area), site.orientation_rad[1]
    placed = _place(loaded, mark, site.position_m, tilt_rad, located.links)
    view = _make_view(
        scene,
        loaded,
        (replace(placed, posteriors=located.posteriors),),
        materials=located.materials,
        band=located.band,
        origin="links without labels, located on this map; paths are those that speak for a place",
    )
    write_view(view, out, overwrite=overwrite)
    return view


def scene_triangles(loaded: RayCaster, corner_m: Float[np.ndarray, "tri 3 3"]) -> SceneTriangles:
    """Tell ground from buildings: it is what a ray from underneath meets first.

    The floor of a building may count as ground; it is hidden inside.

    Args:
        loaded: The scene.
        corner_m: Its triangles [m].
    """
    area = np.cross(corner_m[:, 1] - corner_m[:, 0], corner_m[:, 2] - corner_m[:, 0])
    level = np.abs(area[:, 2]) > _STEEPEST_GROUND * np.linalg.norm(area, axis=1)
    is_ground = np.zeros(len(corner_m), dtype=bool)
    is_ground[level] = _lies_lowest(loaded, corner_m[level])
    return SceneTriangles(corner_m=corner_m, is_ground=is_ground)


def _lies_lowest(
    loaded: RayCaster, corner_m: Float[np.ndarray, "tri 3 3"]
) -> Bool[np.ndarray, "tri"]:
    """Tell which triangles lie on the lowest surface in their middle, or near a corner."""
    lowest = np.zeros(len(corner_m), dtype=bool)
    for weights in ((1, 1, 1), (8, 1, 1), (1, 8, 1), (1, 1, 8)):
        point = np.einsum("tcx,c->tx", corner_m, np.array(weights) / sum(weights))
        above_m = point[:, 2] - ground_height(loaded, point[:, :2])
        lowest |= np.abs(above_m) <= _GROUND_TOLERANCE_M
    return lowest


def _traced_view(scene: Scene, choice: ViewChoice) -> SceneView:
    (band, *_) = parse_bands(choice.band) if choice.band is not None else (BAND,)
    sampling = UniformSampling(num_ues=choice.num_links)
    sites = None if choice.site is None else (scene.site(choice.site).name,)
    plan = make_plan(preview_campaign(scene, sampling, choice.seed, band=band, sites=sites))
    loaded = plan.sites[0].loaded
    placed = []
    for site in plan.sites:
        links = _traced_links(plan, site)
        mark, tilt_rad = sector_mark(site.site, sampling), site.site.orientation_rad[1]
        placed.append(_place(loaded, mark, site.site.position_m, tilt_rad, links))
    return _make_view(
        scene,
        loaded,
        tuple(placed),
        materials=tuple(plan.sites[0].materials),
        band=band.name,
        origin=f"traced for this page with few rays, seed {choice.seed}",
    )


def _traced_links(plan: Plan, site: SitePlan) -> LinkPaths:
    paths = plan.search(site).trace(site.ues.position_m, plan.campaign.bands)
    main, detail = assemble(plan, site, paths, site.ues, first_ue=0)
    return links_of_shard(main, detail, 0, np.arange(len(site.ues)))


def _stored_view(scene: Scene, choice: ViewChoice, dataset: Dataset) -> SceneView:
    band = choice.band if choice.band is not None else dataset.bands[0]
    selection = dataset.select(scene=scene.name, band=band, site=choice.site)
    scene, loaded = _scene_of(dataset, scene, selection.sites[0].scene_hash)
    placed: list[ViewSite] = []
    materials: tuple[str, ...] = ()
    for record in selection.sites:
        links, materials = _stored_links(dataset, record, selection.band_index, choice)
        mark, tilt_rad = site_mark(dataset, record), record.orientation_rad[1]
        placed.append(_place(loaded, mark, record.position_m, tilt_rad, links))
    return _make_view(
        scene,
        loaded,
        tuple(placed),
        materials=materials,
        band=selection.band.name,
        origin=f"dataset {dataset.manifest.id}",
    )


def _scene_of(dataset: Dataset, scene: Scene, scene_hash: str) -> tuple[Scene, LoadedScene]:
    """Return the scene with the parameters of the dataset, and its geometry.

    Raises:
        DatasetError: If it is not the scene that the dataset was made from.
    """
    choices = dataset.manifest.campaign.scenes
    params = next(c.params for c in choices if Path(c.name).name == scene.name)
    scene = scene.with_params(params)
    loaded, found_hash = load_geometry(scene)
    if found_hash != scene_hash:
        raise DatasetError(
            f"{dataset.folder} was made from another scene '{scene.name}' (hash "
            f"{scene_hash[:12]}, that of {scene.folder} is {found_hash[:12]}); give the folder of "
            "the scene that it was made from, or generate the dataset again"
        )
    return scene, loaded


def _stored_links(
    dataset: Dataset, site: SiteRecord, band_index: int, choice: ViewChoice
) -> tuple[LinkPaths, tuple[str, ...]]:
    """Return links of a site, chosen at random where it has more, and the names of materials."""
    wanted = np.arange(site.num_ues)
    if site.num_ues > choice.num_links:
        rng = child_generator(choice.seed, site.key, "view")
        wanted = np.sort(rng.choice(site.num_ues, choice.num_links, replace=False))
    return stored_links(dataset, site, band_index, wanted)


def _place(
    loaded: RayCaster,
    mark: SiteMark,
    position_m: tuple[float, float, float],
    downtilt_rad: float,
    links: LinkPaths,
) -> ViewSite:
    ground_m = float(ground_height(loaded, np.array([mark.position_m]))[0])
    return ViewSite(
        name=mark.name,
        position_m=position_m,
        azimuth_rad=mark.azimuth_rad,
        downtilt_rad=downtilt_rad,
        half_width_rad=mark.half_width_rad,
        range_m=mark.range_m,
        # A dataset may have been made where there is no ground at all.
        ground_m=ground_m if np.isfinite(ground_m) else float(loaded.box_m[0][2]),
        links=links,
    )


def _make_view(
    scene: Scene,
    loaded: LoadedScene,
    sites: tuple[ViewSite, ...],
    *,
    materials: tuple[str, ...] = (),
    band: str = "",
    origin: str = "",
) -> SceneView:
    settings = scene.settings
    return SceneView(
        name=scene.name,
        title=settings.title,
        licence=settings.licence,
        attribution=settings.attribution,
        origin=origin,
        band=band,
        extent_m=scene.extent_m,
        triangles=scene_triangles(loaded, loaded.triangles.corner_m),
        materials=materials,
        sites=sites,
    )
