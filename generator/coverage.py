"""Which points a site reaches: by sight, by a path of several bounces, or not at all."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from raymark.dataset.campaign import DISCOVERY_PRESETS, TracerSettings
from raymark.dataset.samplings import UniformSampling
from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.errors import SceneError
from raymark.generator.sampling import sample_ues
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.search import make_search
from raymark.radio import SPEED_OF_LIGHT_M_S, Band, Site
from raymark.scenes import check_material

_PATH_PER_RANGE = 1.9
"""Longest path that counts, in ranges: 380 m for 200 m, what a band tells apart; our decision."""

_SEARCH_SEED = 0
"""The chain search, which is the one used here, draws nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How the outdoor points of a site's sector are reached.

    Attributes:
        position_m: The points [m].
        los: LOS, NLOS or OUTAGE of each (`raymark.dataset.schema`).
    """

    position_m: Float[np.ndarray, "ue 3"]
    los: Int[np.ndarray, "ue"]

    @property
    def los_share(self) -> float:
        """Share of all points in line of sight."""
        return float((self.los == LOS).mean())

    @property
    def nlos_share(self) -> float:
        """Share of all points that only paths with interactions reach."""
        return float((self.los == NLOS).mean())

    @property
    def outage_share(self) -> float:
        """Share of all points that no path reaches."""
        return float((self.los == OUTAGE).mean())

    @property
    def share(self) -> float:
        """Share of all points that any path reaches."""
        return float((self.los != OUTAGE).mean())

    @property
    def nlos_of_covered(self) -> float:
        """Share of NLOS among the points that a path reaches; 0 if there is none."""
        covered = self.los != OUTAGE
        return float((self.los[covered] == NLOS).mean()) if covered.any() else 0.0


def measure_coverage(
    loaded: LoadedScene, site: Site, sampling: UniformSampling, band: Band, *, seed: int, scene: str
) -> Coverage:
    """Draw points of a site's sector as a campaign does, and trace them quickly.

    Args:
        loaded: The scene.
        site: Where the panel stands.
        sampling: Number of points, range and width of the sector.
        band: A carrier at which all materials of the scene are defined (`usable_band`).
        seed: Root of the points.
        scene: Name of the scene.

    Raises:
        SceneError: If the sector has no outdoor point.
    """
    ues = sample_ues(sampling, loaded, site, seed=seed, scene=scene)
    reach_m = _PATH_PER_RANGE * sampling.max_range_m
    los = label_points(loaded, site, ues.position_m.astype("f8"), band, max_path_length_m=reach_m)
    return Coverage(position_m=ues.position_m, los=los)


def label_points(
    loaded: LoadedScene,
    site: Site,
    position_m: Float[np.ndarray, "ue 3"],
    band: Band,
    *,
    max_path_length_m: float | None,
) -> Int[np.ndarray, "ue"]:
    """Tell of each point whether it is LOS, NLOS or OUTAGE; only hidden points are traced."""
    bs = np.asarray(site.position_m)
    is_visible = loaded.is_visible(np.tile(bs, (len(position_m), 1)), position_m)
    hidden = np.flatnonzero(~is_visible)
    settings = TracerSettings(
        diffraction=True,
        discovery=DISCOVERY_PRESETS["quick"],
        fields="sionna",  # which are there at once, and only whether there is a path counts
    )
    orientation = np.asarray(site.orientation_rad)
    search = make_search(loaded, bs, orientation, settings, seed=_SEARCH_SEED)
    paths = search.trace(position_m[hidden], (band,))
    longest_m = np.inf if max_path_length_m is None else max_path_length_m
    kept = paths.ue_index[paths.delay_s <= longest_m / SPEED_OF_LIGHT_M_S]
    has_path = np.bincount(kept, minlength=len(hidden)) > 0
    los = np.where(is_visible, LOS, OUTAGE)
    los[hidden] = np.where(has_path, NLOS, OUTAGE)
    return los


def usable_band(materials: Iterable[str], bands: Iterable[Band]) -> Band | None:
    """Return the first band at which all materials are defined; None if there is none."""
    names = tuple(materials)
    return next((band for band in bands if not undefined_materials(names, band)), None)


def undefined_materials(materials: Iterable[str], band: Band) -> list[str]:
    """Return what is wrong with each material that is undefined at a band."""
    faults = []
    for material in materials:
        try:
            check_material(material, band.carrier_hz, where=f"band '{band.name}'")
        except SceneError as error:
            faults.append(str(error))
    return faults
