"""Propose where the base stations of a scene could stand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from raymark.dataset.buildings import HeightMap
from raymark.errors import SceneError
from raymark.generator.buildings import Extent, height_map, surroundings_m
from raymark.generator.coverage import Coverage, measure_coverage, usable_band
from raymark.generator.outdoors import RayCaster, ground_height
from raymark.generator.preview import load_geometry
from raymark.generator.site_candidates import (
    AZIMUTHS_DEG,
    OPEN_LAND_M,
    SectorCounts,
    SiteCandidates,
    SitingSettings,
    count_sectors,
    find_candidates,
    join_candidates,
    street_points,
)
from raymark.generator.site_clusters import building_clusters
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import BAND_PRESETS, Band, Site
from raymark.scenes import Scene
from raymark.seeding import child_generator

Kind = Literal["roof", "mast"]
ReportProgress = Callable[[int], None]

NUM_TRACED = 12
"""Candidates that are traced, and so the most sites that can be asked for."""

_SPREAD_PER_RANGE = 0.25
_LEAST_POINTS = 20
_NOTES = {"roof": "mast on the edge of a roof", "mast": "mast in a street"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteProposal:
    """A site that could be added to a scene.

    Attributes:
        site: Its name is the next free one of the scene: `bs0`, `bs1`, ... by rank.
        kind: On a roof's edge or in a street.
        coverage: How the outdoor points of its sector are reached.
        score: Coverage, less where the sector has few outdoor points (`propose_sites`).
        meets_rule: Whether enough of the covered points are NLOS.
    """

    site: Site
    kind: Kind
    coverage: Coverage
    score: float
    meets_rule: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SitingPlan:
    """What was proposed for a scene.

    Attributes:
        proposals: Best first; those that meet the rule before all others.
        heights: Heights above ground, to draw below.
        settings: What was asked for.
    """

    proposals: tuple[SiteProposal, ...]
    heights: HeightMap
    settings: SitingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """A position and an azimuth, with its place in the order of the first, cheap judgement."""

    kind: Kind
    position_m: Float[np.ndarray, "3"]
    azimuth_deg: float
    fullness: float


def propose_sites(
    scene: Scene,
    settings: SitingSettings,
    *,
    seed: int = 0,
    report: ReportProgress = lambda _: None,
) -> SitingPlan:
    """Propose up to 12 sites for a scene, best first.

    1. Candidates are roof edges and street masts (`find_candidates`), each with boresights 30
       degrees apart; a roof's look away from the building. Groups of buildings that no sector has
       in common are searched one by one, so that a shed far away does not coarsen the search.
    2. Visibility alone judges each sector (a range of `range_m`, 60 degrees to both sides): the
       number of outdoor points in sight, of which no more count than `1 - min_nlos_share` of the
       sector's points. A sector with fewer hidden points than `min_nlos_share` cannot meet the
       rule below and comes last.
    3. The best of each kind, a quarter of the range apart from each other and from the scene's
       own sites, are traced: 300 points drawn as a campaign draws them, diffraction included.
    4. The rule: of the points that any path reaches, at least `min_nlos_share` are NLOS, without
       which a dataset would be solved by the straight line. The score, by which those that meet
       the rule are ranked, then the others: the share of points that any path reaches, times
       `min(1, n / n_median)` with the number n of outdoor points of the sector and its median
       over all candidates, so that a small covered yard does not win over a street.

    The downtilt points at the height of a UE in the middle of the range.

    Args:
        scene: Where.
        settings: Heights, range and rule.
        seed: Root of all draws.
        report: Told 1 after each traced site.

    Raises:
        SceneError: If the scene has no building, no outdoor point or no place for a site, or if
            no band preset has all its materials.
    """
    loaded, band = load_scene(scene)
    extents_m = _clusters(scene, loaded, settings)
    if not extents_m:
        raise SceneError(
            f"scene '{scene.name}' has no building, so that no site can have NLOS points; add "
            f"buildings, or write a site into its scene.yaml by hand"
        )
    maps = [height_map(loaded, extent_m) for extent_m in extents_m]
    choices = _choose(scene, loaded, maps, settings, seed)
    proposals = []
    for choice in choices:
        proposals.append(_trace(scene, loaded, choice, settings, band, seed))
        report(1)
    proposals.sort(key=lambda p: (not p.meets_rule, -round(p.score, 2)))
    heights = maps[0]
    if len(maps) > 1:
        sites_m = [proposal.site.position_m for proposal in proposals]
        around_m = surroundings_m(_extent(scene, loaded), sites_m, settings.range_m)
        heights = height_map(loaded, around_m)
    return SitingPlan(proposals=tuple(_named(proposals, scene)), heights=heights, settings=settings)


def next_names(scene: Scene, count: int) -> list[str]:
    """Return the next free names `bs<n>` of a scene."""
    numbers = [int(s.name[2:]) for s in scene.sites if s.name[:2] == "bs" and s.name[2:].isdigit()]
    first = max(numbers, default=-1) + 1
    return [f"bs{first + i}" for i in range(count)]


def load_scene(scene: Scene) -> tuple[LoadedScene, Band]:
    """Load a scene, and find a band preset at which all of its materials are defined.

    Raises:
        SceneError: If the geometry cannot be loaded, or there is no such preset.
    """
    loaded, _ = load_geometry(scene)
    band = usable_band(set(loaded.object_materials), BAND_PRESETS.values())
    if band is None:
        raise SceneError(
            f"scene '{scene.name}': no band preset has all of its materials "
            f"({', '.join(sorted(set(loaded.object_materials)))}); run `raymark scenes check`"
        )
    return loaded, band


def _extent(scene: Scene, loaded: RayCaster) -> Extent:
    """Return the scene's extent, cut at its geometry."""
    (x_low, y_low, _), (x_high, y_high, _) = (corner.tolist() for corner in loaded.box_m)
    x_min, y_min, x_max, y_max = scene.extent_m
    extent = max(x_min, x_low), max(y_min, y_low), min(x_max, x_high), min(y_max, y_high)
    if extent[0] >= extent[2] or extent[1] >= extent[3]:
        raise SceneError(
            f"scene '{scene.name}': extent_m of its scene.yaml, {scene.extent_m} m, has nothing "
            f"in common with its geometry, which spans {x_low:g} to {x_high:g} m along x and "
            f"{y_low:g} to {y_high:g} m along y"
        )
    return extent


def _clusters(scene: Scene, loaded: LoadedScene, settings: SitingSettings) -> list[Extent]:
    """Return boxes around the buildings; no site in one of them reaches a point in another."""
    return building_clusters(
        loaded,
        loaded.triangles.corner_m,
        _extent(scene, loaded),
        gap_m=settings.range_m + 2 * OPEN_LAND_M,
        margin_m=OPEN_LAND_M,
    )


def _choose(
    scene: Scene,
    loaded: RayCaster,
    maps: Sequence[HeightMap],
    settings: SitingSettings,
    seed: int,
) -> list[_Choice]:
    """Find candidates, judge them by visibility and keep the best, far enough apart."""

    def rng(name: str) -> np.random.Generator:
        return child_generator(seed, scene.name, "siting", name)

    sampling = settings.sampling
    rng_points, rng_candidates = rng("points"), rng("candidates")
    points = np.concatenate([street_points(loaded, each, sampling, rng_points) for each in maps])
    if len(points) == 0:
        raise SceneError(
            f"scene '{scene.name}' has no outdoor point: nowhere lies ground below, free sky above "
            f"and {sampling.wall_margin_m:g} m to the next wall"
        )
    candidates = join_candidates(
        [find_candidates(loaded, each, settings, rng_candidates) for each in maps]
    )
    counts = count_sectors(loaded, candidates.position_m, points, sampling)
    taken = [site.position_m for site in scene.sites]
    choices = _best_apart(candidates, counts, settings, np.array(taken).reshape(-1, 3))
    if not choices:
        raise SceneError(
            f"scene '{scene.name}': no roof edge and no street has {_LEAST_POINTS} outdoor points "
            f"within {settings.range_m:g} m that are {_SPREAD_PER_RANGE * settings.range_m:g} m "
            "from its sites; try another range"
        )
    return choices


def _best_apart(
    candidates: SiteCandidates,
    counts: SectorCounts,
    settings: SitingSettings,
    taken_m: Float[np.ndarray, "site 3"],
) -> list[_Choice]:
    """Go through the candidates from the best; first half the number from each kind."""
    position, azimuth = _ranked(candidates, counts, settings)
    num_points = counts.num_points[position, azimuth]
    usual = float(np.median(num_points)) if num_points.size else 1.0
    chosen: list[_Choice] = []
    kept_m = [tuple(xy) for xy in taken_m[:, :2]]
    for limit in (NUM_TRACED // 2, NUM_TRACED):
        for pos, az, num in zip(position, azimuth, num_points, strict=True):
            kind: Kind = "roof" if candidates.is_roof[pos] else "mast"
            is_full = sum(choice.kind == kind for choice in chosen) >= limit
            if len(chosen) == NUM_TRACED or is_full:
                continue
            place = candidates.position_m[pos]
            gap_m = [math.dist(place[:2], xy) for xy in kept_m]
            if min(gap_m, default=math.inf) < _SPREAD_PER_RANGE * settings.range_m:
                continue
            kept_m.append(tuple(place[:2]))
            chosen.append(
                _Choice(
                    kind=kind,
                    position_m=place,
                    azimuth_deg=float(AZIMUTHS_DEG[az]),
                    fullness=min(1.0, float(num) / usual),
                )
            )
    return chosen


def _ranked(
    candidates: SiteCandidates, counts: SectorCounts, settings: SitingSettings
) -> tuple[Int[np.ndarray, "ranked"], Int[np.ndarray, "ranked"]]:
    """Return position and azimuth of the candidates that have points, the best first."""
    most_los = 1 - settings.min_nlos_share
    position, azimuth = np.nonzero(candidates.may_look & (counts.num_points >= _LEAST_POINTS))
    los_share = counts.los_share[position, azimuth]
    value = counts.num_points[position, azimuth] * np.minimum(los_share, most_los)
    order = np.lexsort((-value, los_share > most_los))
    return position[order], azimuth[order]


def _trace(
    scene: Scene,
    loaded: LoadedScene,
    choice: _Choice,
    settings: SitingSettings,
    band: Band,
    seed: int,
) -> SiteProposal:
    x, y, z = (round(float(value), 1) for value in choice.position_m)
    site = Site(
        name=f"{choice.kind}_{x:g}_{y:g}".replace(".", "_"),  # its points do not hang on its rank
        position_m=(x, y, z),
        azimuth_deg=choice.azimuth_deg,
        downtilt_deg=_downtilt_deg(loaded, choice, settings),
        note=_NOTES[choice.kind],
    )
    coverage = measure_coverage(loaded, site, settings.sampling, band, seed=seed, scene=scene.name)
    return SiteProposal(
        site=site,
        kind=choice.kind,
        coverage=coverage,
        score=coverage.share * choice.fullness,
        meets_rule=coverage.nlos_of_covered >= settings.min_nlos_share,
    )


def _downtilt_deg(caster: RayCaster, choice: _Choice, settings: SitingSettings) -> float:
    """Return the angle down to a UE at half the range [deg], rounded to a degree."""
    half_m, azimuth = settings.range_m / 2, math.radians(choice.azimuth_deg)
    foot = choice.position_m[:2]
    aim = foot + half_m * np.array([math.cos(azimuth), math.sin(azimuth)])
    ground = ground_height(caster, np.array([aim, foot]))
    # Beyond the edge of the ground that under the site has to do.
    level = float(ground[0] if np.isfinite(ground[0]) else ground[1])
    drop = float(choice.position_m[2]) - level - settings.sampling.height_m
    return float(round(math.degrees(math.atan2(drop, half_m))))


def _named(proposals: list[SiteProposal], scene: Scene) -> list[SiteProposal]:
    names = next_names(scene, len(proposals))
    return [
        SiteProposal(
            site=p.site.model_copy(update={"name": name}),
            kind=p.kind,
            coverage=p.coverage,
            score=p.score,
            meets_rule=p.meets_rule,
        )
        for p, name in zip(proposals, names, strict=True)
    ]
