"""What a localizer may know of a city: a map, and the paths that it has at candidate points.

A map is a dataset of its own: its scene is the map, which is wrong as real maps are, and its UEs
are a grid over the sector. So whoever reads a map needs neither scenes nor a ray tracer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.dataset import Dataset, Selection, open_dataset
from raymark.dataset.buildings import BuildingPart
from raymark.dataset.link_statistics import directions_at_panel
from raymark.dataset.manifest import SiteRecord
from raymark.dataset.map_names import map_name, map_scene
from raymark.dataset.path_tables import PathTable
from raymark.dataset.samplings import GridSampling
from raymark.dataset.schema import NO_INTERACTION
from raymark.errors import ConfigError
from raymark.radio import SPEED_OF_LIGHT_M_S
from raymark.radio.frames import wrap_rad
from raymark.radio.synthesis import arrives
from raymark.storage import Place

MAX_NUM_PATHS = 16
"""Paths of a candidate that are handed on: twice as many as are estimated of a link."""

_FARTHEST_M = 20.0
"""An antenna that the map has farther off [m] is another one: ten times what `open` is wrong by."""

_LEAST_POWER = 1e-40


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPaths:
    """The strongest paths that a map has between a site and its candidate points, at one band.

    Attributes:
        range_m: Length of each path, strongest first; 0 where padded [m].
        range_gradient: Its derivative by the point's x and y: minus the horizontal part of the
            direction from which the path is seen at the point (Fermat's principle).
        azimuth_rad: Direction from the BS in the site's frame [rad].
        zenith_rad: The same, from the zenith [rad].
        power_db: Power as a channel gain [dB].
        num_interactions: Reflections and diffractions on the path; 0 for the line of sight.
        mask: True where there is a path.
    """

    range_m: Float[np.ndarray, "point path"]
    range_gradient: Float[np.ndarray, "point path 2"]
    azimuth_rad: Float[np.ndarray, "point path"]
    zenith_rad: Float[np.ndarray, "point path"]
    power_db: Float[np.ndarray, "point path"]
    num_interactions: Int[np.ndarray, "point path"]
    mask: Bool[np.ndarray, "point path"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CityMap:
    """A map around one site, in the frame in which the map has the site.

    Where the map's antenna is not where the true one is, the city is off in the site's frame.

    Attributes:
        grade: How wrong the map is, by the name of its grade.
        buildings: What stands there, in the site's frame; empty if outlines were not found.
        point_m: x and y of the candidate points [m].
        spacing_m: Of their grid [m].
        paths: What leads to them, by the name of the band.
    """

    grade: str
    buildings: tuple[BuildingPart, ...]
    point_m: Float[np.ndarray, "point 2"]
    spacing_m: float
    paths: Mapping[str, MapPaths]


def open_map(folder: Path, grade: str, seed: int) -> Dataset:
    """Open the map of a grade and seed.

    Raises:
        ConfigError: If the folder of maps has none.
    """
    name = map_name(grade, seed)
    if not (folder / name).is_dir():
        raise ConfigError(
            f"{folder} has no map '{name}'; `raymark bench maps` makes it (--grades {grade} "
            f"--seeds {seed} --out {folder})"
        )
    return open_dataset(folder / name)


@lru_cache(maxsize=4)
def read_city_map(folder: Path, dataset: Place, site: SiteRecord, grade: str, seed: int) -> CityMap:
    """Read what a map of one grade and seed has around a site; the last ones are kept.

    Args:
        folder: Holds the maps, each a dataset named by `map_name`.
        dataset: The dataset whose links are to be located.
        site: One of its sites.
        grade: How wrong the map is.
        seed: Which of such maps.

    Raises:
        ConfigError: If there is no such map, or it is of another place, of other bands or of
            another panel, or is no grid.
    """
    city, measured = open_map(folder, grade, seed), open_dataset(dataset)
    require_grid(city)
    mapped = _site_of(city, site, map_scene(site.scene, map_name(grade, seed)))
    for band in measured.bands:
        _require_same(city, measured, band)
    return city_around(city, mapped, bands=measured.bands, grade=grade)


def city_around(
    city: Dataset, mapped: SiteRecord, *, bands: Sequence[str], grade: str = ""
) -> CityMap:
    """Return what a map has around one of its own sites.

    Args:
        city: The map: a dataset whose points are a grid.
        mapped: One of its sites.
        bands: Names of some of its bands.
        grade: How wrong the map is, where that is known.

    Raises:
        ConfigError: If its points are no grid.
    """
    grid = require_grid(city)
    selections = {
        band: city.select(scene=mapped.scene, band=band, site=mapped.site) for band in bands
    }
    first = next(iter(selections.values()))
    stood = city.buildings(mapped.scene)
    return CityMap(
        grade=grade,
        buildings=() if stood is None else tuple(_moved(part, mapped) for part in stood.parts),
        point_m=_in_frame(first.position_m[:, :2].astype("f8"), mapped),
        spacing_m=grid.spacing_m,
        paths={band: _paths_of(selection) for band, selection in selections.items()},
    )


def require_grid(city: Dataset) -> GridSampling:
    """Return the grid of a map.

    Raises:
        ConfigError: If its points are none.
    """
    grid = city.manifest.campaign.sampling
    if not isinstance(grid, GridSampling):
        raise ConfigError(
            f"map {city.folder} must be sampled on a grid, got '{grid.kind}'; make it with "
            "`raymark bench maps`"
        )
    return grid


def _site_of(city: Dataset, site: SiteRecord, scene: str) -> SiteRecord:
    for mapped in city.manifest.sites:
        if (mapped.scene, mapped.site) == (scene, site.site):
            off_m = float(np.linalg.norm(np.subtract(mapped.position_m, site.position_m)))
            if off_m > _FARTHEST_M:
                raise ConfigError(
                    f"map {city.folder} has site {site.key} {off_m:.0f} m from where it stands, "
                    f"over {_FARTHEST_M:g} m: it is a map of another place"
                )
            return mapped
    known = ", ".join(mapped.key for mapped in city.manifest.sites)
    raise ConfigError(f"map {city.folder} has no site {scene}/{site.site} (it has: {known})")


def _require_same(city: Dataset, measured: Dataset, name: str) -> None:
    band = measured.band(name)
    if name not in city.bands or city.band(name) != band:
        raise ConfigError(
            f"map {city.folder} was not traced at band '{name}' of {measured.folder}; make it anew "
            "with `raymark bench maps`"
        )
    if _front_end(city, name) != _front_end(measured, name):
        raise ConfigError(
            f"map {city.folder} was traced for another front-end than that of {measured.folder} at "
            f"band '{name}'; make it anew with `raymark bench maps`"
        )


def _front_end(dataset: Dataset, band: str) -> object:
    return dataset.manifest.campaign.front_end_at(dataset.band(band)).panel


def _in_frame(xy_m: Float[np.ndarray, "n 2"], site: SiteRecord) -> Float[np.ndarray, "n 2"]:
    """Turn world into site coordinates, see `raymark.benchmark.site_frames`."""
    return _turned(xy_m - np.asarray(site.position_m[:2]), site)


def _turned(vector: Float[np.ndarray, "*n 2"], site: SiteRecord) -> Float[np.ndarray, "*n 2"]:
    yaw = site.orientation_rad[0]
    rotation = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    return vector @ rotation


def _moved(part: BuildingPart, site: SiteRecord) -> BuildingPart:
    return replace(part, rings_m=tuple(_in_frame(ring, site) for ring in part.rings_m))


def _paths_of(selection: Selection) -> MapPaths:
    table, site = selection.path_table(0, len(selection)), selection.sites[0]
    direction = directions_at_panel(table, np.asarray(site.orientation_rad))
    rows, mask = strongest_paths(table, arrives(selection.front_end.panel, direction))
    yaw = site.orientation_rad[0]
    zenith, azimuth = table.zenith_ue_rad[rows], table.azimuth_ue_rad[rows]
    seen = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1) * np.sin(zenith)[..., None]
    columns = {
        "range_m": table.delay_s[rows] * SPEED_OF_LIGHT_M_S,
        "azimuth_rad": wrap_rad(table.azimuth_bs_rad[rows] - yaw),
        "zenith_rad": table.zenith_bs_rad[rows],
        "power_db": _power_db(table.amplitude[rows]),
    }
    count = (table.interaction[rows] != NO_INTERACTION).sum(axis=-1)
    return MapPaths(
        **{name: np.where(mask, column, 0.0).astype("f4") for name, column in columns.items()},
        range_gradient=np.where(mask[..., None], -_turned(seen, site), 0.0).astype("f4"),
        num_interactions=np.where(mask, count, 0),
        mask=mask,
    )


def strongest_paths(
    table: PathTable, is_received: Bool[np.ndarray, "row"]
) -> tuple[Int[np.ndarray, "point path"], Bool[np.ndarray, "point path"]]:
    """Return the rows of the `MAX_NUM_PATHS` strongest paths of each point, and which there are.

    Args:
        table: Paths of the points.
        is_received: Which rows of the table the panel receives; others are none.
    """
    point = np.repeat(np.arange(len(table)), np.diff(table.path_offset))
    order = np.lexsort((-np.abs(table.amplitude), ~is_received, point))
    count = np.bincount(point[is_received], minlength=len(table))
    place = table.path_offset[:-1, None] + np.arange(MAX_NUM_PATHS)
    mask = np.arange(MAX_NUM_PATHS) < count[:, None]
    return order[np.where(mask, place, 0)], mask


def _power_db(amplitude: np.ndarray) -> Float[np.ndarray, "point path"]:
    return 10 * np.log10(np.maximum(np.abs(amplitude) ** 2, _LEAST_POWER))
