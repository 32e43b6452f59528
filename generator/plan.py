"""What a campaign will do: scenes loaded, sites checked, UEs drawn, shards laid out."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymark.config import nearest
from raymark.dataset.campaign import Campaign, SceneChoice, TracerSettings, read_campaign
from raymark.dataset.identity import campaign_hash
from raymark.dataset.manifest import SiteRecord, site_key
from raymark.dataset.writing.ues import SampledUEs, join_ues
from raymark.errors import ConfigError, SceneError
from raymark.generator.outdoors import check_site
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.search import SiteSearch, make_search
from raymark.radio import Band, Site, panels_of
from raymark.scenes import Scene, check_material, get_scene
from raymark.seeding import child_generator

DEFAULT_SHARD_SIZE = 1000

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is."""

_PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """A range of UEs of one site that goes into one pair of files."""

    part: int
    first_ue: int
    num_ues: int

    def ues(self, site: "SitePlan") -> SampledUEs:
        """Return its UEs."""
        return site.ues.take(slice(self.first_ue, self.first_ue + self.num_ues))


def shards_of(num_ues: int, shard_size: int) -> Iterator[ShardPlan]:
    """Yield the shards of a site in order."""
    for part, first in enumerate(range(0, num_ues, shard_size)):
        yield ShardPlan(part=part, first_ue=first, num_ues=min(shard_size, num_ues - first))


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """One site of one scene, ready to be traced."""

    scene: Scene
    scene_hash: str
    loaded: LoadedScene
    site: Site
    ues: SampledUEs

    @property
    def key(self) -> str:
        """Name of the site within the dataset."""
        return site_key(self.scene.name, self.site.name)

    @property
    def materials(self) -> list[str]:
        """ITU names of the scene's materials; `path/material` counts them."""
        return sorted(set(self.loaded.object_materials))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A campaign made ready: nothing is traced yet, but everything was checked."""

    campaign: Campaign
    sites: tuple[SitePlan, ...]
    config_hash: str

    @property
    def num_links(self) -> int:
        """Number of (UE, site) pairs; each is stored at every band."""
        return sum(len(site.ues) for site in self.sites)

    def site(self, key: str) -> SitePlan:
        """Return a site by its name within the dataset."""
        return next(site for site in self.sites if site.key == key)

    def references(self, site: "SitePlan") -> tuple[Band, ...]:
        """Return the carriers that rank the paths of a site; none if the first band does."""
        return () if self.campaign.tracer.kept_power_share is None else site.loaded.reference_bands

    def search(self, site: "SitePlan") -> SiteSearch:
        """Return the search for the paths of one site."""
        rng = child_generator(self.campaign.seed, site.key, "rays")
        return make_search(
            site.loaded,
            np.asarray(site.site.position_m),
            np.asarray(site.site.orientation_rad),
            self.campaign.tracer,
            seed=int(rng.integers(2**31)),
        )


def search_notes(campaign: Campaign) -> tuple[str, ...]:
    """Return what a reader must know of how the paths of a campaign are found."""
    tracer, first = campaign.tracer, campaign.bands[0].name
    notes = [_ranking_note(tracer.kept_power_share, first)]
    if tracer.fields == "raymark":
        notes.append("fields computed by raymark from the geometry of the paths (docs/physics.md)")
    elif tracer.diffraction:
        notes.append(
            "diffracted fields are those of Sionna RT, whose terms for reflection differ from "
            "the uniform theory (docs/tracing.md)"
        )
    if not tracer.needs_solver:
        if tracer.diffuse_reflection:
            notes.append(
                "diffuse reflection: one bounce from tiles that the site lights, no ray is drawn"
            )
        rays = tracer.discovery.discovery_rays
        return (f"paths found by the chain search, {rays} discovery rays per site", *notes)
    return (
        f"refraction or diffuse reflection: paths found by Sionna's own search, "
        f"{tracer.solver_rays} rays, in blocks of {tracer.solver_block_size} UEs; the paths "
        "of a UE depend on its block",
        f"interactions were sampled with the materials at {first} for all bands",
        *notes,
    )


def _ranking_note(share: float | None, first: str) -> str:
    if share is None:
        return f"paths are ranked and cut off by their power at {first}"
    return (
        f"paths are kept that hold {100 * share:g} % of a link's power at each of 1, 3.5, 10, 28 "
        "and 60 GHz at which the scene's materials are defined; CSI leaves out those that are "
        "longer than the band is unambiguous, if not told otherwise"
    )


def preset_names() -> list[str]:
    """Return the names of the campaigns that ship with the package."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def load_campaign(name_or_path: str) -> Campaign:
    """Read a preset by its name, or a campaign from a YAML file.

    Raises:
        ConfigError: If there is neither (the nearest preset is offered), or if it is not valid.
    """
    if name_or_path in preset_names():
        return read_campaign(_PRESETS / f"{name_or_path}.yaml")
    path = Path(name_or_path)
    if path.is_file():
        return read_campaign(path)
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"campaign file {path} does not exist")
    raise ConfigError(
        f"unknown preset '{name_or_path}'{nearest(name_or_path, preset_names())} "
        f"(presets: {', '.join(preset_names())}; or give a YAML file)"
    )


def preset_text(name: str) -> str:
    """Return the YAML of a preset, to be saved and edited.

    Raises:
        ConfigError: If there is no such preset (the nearest is offered).
    """
    known = preset_names()
    if name not in known:
        raise ConfigError(
            f"unknown preset '{name}'{nearest(name, known)} (presets: {', '.join(known)})"
        )
    return (_PRESETS / f"{name}.yaml").read_text(encoding="utf-8")


def check_campaign(campaign: Campaign) -> list[tuple[Scene, tuple[Site, ...]]]:
    """Check scenes, sites and materials of a campaign without loading any geometry.

    Raises:
        ConfigError: If a scene is unknown, a file of positions is missing, or the paths were
            imported.
        SceneError: If a site is unknown or a material is undefined at a band.
    """
    source = campaign.sampling.imported_from
    if source is not None:
        raise ConfigError(
            f"the paths of '{campaign.name}' were imported ({source}); raymark cannot trace them"
        )
    chosen = resolve_scenes(campaign)
    for i, (scene, _) in enumerate(chosen):
        for j, band in enumerate(campaign.bands):
            for material in scene.settings.materials:
                where = f"scenes[{i}] '{scene.name}', bands[{j}] '{band.name}'"
                check_material(material, band.carrier_hz, where=where)
    campaign.sampling.require_scenes([scene.name for scene, _ in chosen])
    return chosen


def resolve_scenes(campaign: Campaign) -> list[tuple[Scene, tuple[Site, ...]]]:
    """Return the scenes of a campaign with the chosen sites.

    Raises:
        ConfigError: If a scene is unknown.
        SceneError: If a site is unknown.
    """
    scenes = [get_scene(choice.name, choice.params) for choice in campaign.scenes]
    pairs = zip(scenes, campaign.scenes, strict=True)
    return [(scene, _sites_of(scene, choice)) for scene, choice in pairs]


def make_plan(
    campaign: Campaign, *, progress: Progress = lambda _stage, _done, _total: None
) -> Plan:
    """Check a campaign, load its scenes and draw its UEs.

    Args:
        campaign: What is planned.
        progress: Told how many scenes are loaded.

    Raises:
        ConfigError: If a setting cannot be used.
        SceneError: If a site lies in a building or a sector has no outdoor point.
    """
    chosen = check_campaign(campaign)
    sites: list[SitePlan] = []
    for i, (scene, chosen_sites) in enumerate(chosen):
        progress("loading", i, len(chosen))
        sites += plan_scene(campaign, scene, chosen_sites)
    progress("loading", len(chosen), len(chosen))
    hashes = {site.scene.name: site.scene_hash for site in sites}
    return Plan(campaign=campaign, sites=tuple(sites), config_hash=campaign_hash(campaign, hashes))


def _sites_of(scene: Scene, choice: SceneChoice) -> tuple[Site, ...]:
    if choice.sites is None and not scene.sites:
        raise SceneError(
            f"scene '{scene.name}' has no site; run `raymark scenes add-site {choice.name} --write`"
        )
    chosen = scene.sites if choice.sites is None else choice.sites
    sites = [scene.site(x) if isinstance(x, str) else x for x in chosen]
    return tuple(panel for site in sites for panel in panels_of(site, choice.num_panels))


def _require_rough(loaded: LoadedScene, tracer: TracerSettings, *, scene: str) -> None:
    asked = tracer.diffuse_reflection and not tracer.needs_solver
    if asked and not any(loaded.object_scattering):
        materials = ", ".join(sorted(set(loaded.object_materials)))
        raise SceneError(
            f"scene '{scene}': nothing scatters, but tracer.diffuse_reflection asks for it; give "
            f"scattering coefficients of its materials ({materials}) in tracer.roughness"
        )


def plan_scene(campaign: Campaign, scene: Scene, sites: tuple[Site, ...]) -> tuple[SitePlan, ...]:
    """Load one scene of a campaign and draw the UEs of its sites; other scenes play no part.

    Raises:
        SceneError: If a site lies in a building or a sector has no outdoor point, or if diffuse
            reflection is asked for and nothing scatters.
    """
    with tempfile.TemporaryDirectory(prefix="raymark-") as workspace:
        xml_path = scene.xml_path(Path(workspace))
        scene_hash = scene.hash(xml_path)
        tracer = campaign.tracer
        loaded = LoadedScene(
            xml_path,
            campaign.front_end,
            weld_edges=tracer.weld_edges,
            roughness=tracer.roughness,
        )
    _require_rough(loaded, tracer, scene=scene.name)
    unlisted = sorted(set(loaded.object_materials) - set(scene.settings.materials))
    if unlisted:
        raise SceneError(
            f"scene '{scene.name}': its meshes are of {', '.join(unlisted)}, which scene.yaml does "
            "not list; add them to its materials"
        )
    for site in sites:
        check_site(loaded, site, scene=scene.name)
    ues = [
        sample_ues(campaign.sampling, loaded, site, seed=campaign.seed, scene=scene.name)
        for site in sites
    ]
    if campaign.shared_ues and not campaign.sampling.is_same_at_all_sites:
        ues = [join_ues(ues)] * len(sites)
    return tuple(
        SitePlan(scene=scene, scene_hash=scene_hash, loaded=loaded, site=site, ues=own)
        for site, own in zip(sites, ues, strict=True)
    )


def site_record(site: SitePlan) -> SiteRecord:
    """Return what the manifest says of a planned site."""
    return SiteRecord(
        scene=site.scene.name,
        site=site.site.name,
        position_m=site.site.position_m,
        orientation_rad=site.site.orientation_rad,
        num_ues=len(site.ues),
        scene_hash=site.scene_hash,
        licence=site.scene.settings.licence,
        attribution=site.scene.settings.attribution,
    )
