"""Trace a scene on a grid around one site, for localizers that know the city, and keep it.

Such a map is a dataset like any other (`raymark.generator.city_maps` makes those of a benchmark).
It is kept by all that decides it but what stands in the scene, so that an edit is told.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import raymark
from raymark.config import config_hash
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.campaign import DISCOVERY_PRESETS, Campaign, SceneChoice, TracerSettings
from raymark.dataset.manifest import MANIFEST_NAME, read_manifest
from raymark.dataset.samplings import GridSampling
from raymark.errors import ConfigError, SceneError, WorkError
from raymark.generator.city_maps import DEFAULT_SPACING_M, NUM_MAP_PATHS
from raymark.generator.generate import generate_dataset
from raymark.generator.plan import Progress, check_campaign
from raymark.radio import Receiver, Site
from raymark.scenes import Scene
from raymark.scenes.footprints import scene_buildings
from raymark.storage.cache import cache_folder

DEFAULT_AREA = GridSampling(
    spacing_m=DEFAULT_SPACING_M, min_range_m=2.0, max_range_m=200.0, sector_half_width_deg=80.0
)
"""Nearly all that lies before a panel: who stands elsewhere is found at a wrong place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapKeeping:
    """Where traced maps are kept.

    Attributes:
        folder: Holds one dataset for each map; that of RAYMARK_CACHE if not given.
        renew: Trace a map anew whose scene was edited.
    """

    folder: Path = field(default_factory=lambda: cache_folder() / "traced_maps")
    renew: bool = False


def site_of(scene: Scene, name: str | None) -> Site:
    """Return a site of a scene, the only one if no name is given.

    Raises:
        SceneError: If it has none, has no such site, or has several and none is named.
    """
    if not scene.sites:
        raise SceneError(
            f"scene '{scene.name}' has no site; run `raymark scenes add-site {scene.folder} "
            "--write`, or write the site that received the CSI into its scene.yaml"
        )
    if name is None and len(scene.sites) > 1:
        known = ", ".join(site.name for site in scene.sites)
        raise SceneError(f"scene '{scene.name}' has several sites ({known}); choose one: --site")
    return scene.sites[0] if name is None else scene.site(name)


def map_campaign(scene: Scene, site: Site, receiver: Receiver, area: GridSampling) -> Campaign:
    """Return what `scene_map` traces, checked as far as that costs nothing.

    Raises:
        ConfigError: If a setting cannot be used.
        SceneError: If a material of the scene is undefined at the band.
    """
    if area.max_range_m >= receiver.band.unambiguous_range_m:
        raise ConfigError(
            f"candidates up to {area.max_range_m:g} m are asked for, and band "
            f"'{receiver.band.name}' tells lengths up to {receiver.band.unambiguous_range_m:.0f} m "
            "apart; choose a shorter --range"
        )
    choice = SceneChoice(name=str(scene.folder.resolve()), sites=(site.name,), params=scene.params)
    campaign = Campaign(
        name=f"map-{scene.name}",
        description=f"What {scene.name} has at points {area.spacing_m:g} m apart, for localizers.",
        scenes=(choice,),
        bands=(receiver.band,),
        front_end=receiver.front_end,
        sampling=area,
        tracer=TracerSettings(
            diffraction=True,
            weld_edges=True,
            discovery=DISCOVERY_PRESETS["quick"],
            kept_power_share=None,
            max_num_paths=NUM_MAP_PATHS,
        ),
    )
    check_campaign(campaign)
    return campaign


def scene_map(
    scene: Scene,
    site: Site,
    receiver: Receiver,
    *,
    area: GridSampling = DEFAULT_AREA,
    keeping: MapKeeping | None = None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Dataset:
    """Trace a scene on a grid of outdoor points around a site, unless that is kept already.

    An interrupted call goes on where it stopped.

    Args:
        scene: The city, without any label.
        site: One of its sites.
        receiver: Band and front-end.
        area: Where the points stand.
        keeping: Where maps are kept.
        progress: Told how many scenes are loaded and points are traced.

    Raises:
        ConfigError: If a setting cannot be used.
        SceneError: If the scene has no building, its materials are undefined at the band, the site
            stands outside or in a building, or the scene was edited since its map was traced.
        DatasetError: If the folder cannot be written.
        WorkError: If a part of the map cannot be traced.
    """
    keeping = keeping or MapKeeping()
    campaign = map_campaign(scene, site, receiver, area)
    key = config_hash([campaign.model_dump(mode="json"), raymark.__version__])[:16]
    folder = keeping.folder / f"{scene.name}-{site.name}-{receiver.band.name}-{key}"
    if (folder / MANIFEST_NAME).is_file():
        manifest = read_manifest(folder)
        is_fresh = {record.scene_hash for record in manifest.sites} == {_hash_of(scene)}
        if not (is_fresh or keeping.renew):
            raise SceneError(
                f"scene '{scene.name}' was edited since its map was traced ({folder}); add --renew "
                "to trace it anew"
            )
        if is_fresh and manifest.state == "complete":
            return open_dataset(folder)
    scene_buildings(scene)  # raises where there is none: everywhere would be alike
    report = generate_dataset(campaign, folder, overwrite=keeping.renew, progress=progress)
    for name, error in report.failures:
        raise WorkError(f"map {folder}: {name} cannot be traced: {error}")
    return open_dataset(folder)


def _hash_of(scene: Scene) -> str:
    with tempfile.TemporaryDirectory(prefix="raymark-") as workspace:
        return scene.hash(scene.xml_path(Path(workspace)))
