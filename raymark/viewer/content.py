"""What a page shows, as values: who gathers them knows nothing of the page, and vice versa."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneTriangles:
    """The triangles of a scene.

    Attributes:
        corner_m: Corners [m].
        is_ground: Whether a triangle is ground or terrain; the others are buildings.
    """

    corner_m: Float[np.ndarray, "tri 3 3"]
    is_ground: Bool[np.ndarray, "tri"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinkPaths:
    """Links of one site and their paths at one band.

    Rows `path_offset[i]:path_offset[i + 1]` are the paths of link i, strongest first.

    Attributes:
        ue_index: Number of each UE at its site.
        position_m: UE positions [m].
        los: 1 LOS, 0 NLOS, -1 outage.
        path_offset: Where the paths of each link begin, and the end of the last.
        delay_s: Absolute delay [s].
        gain_db: Power gain, element patterns included [dB].
        interaction: Codes as in `path/interaction` of the schema, in order from the BS.
        vertex_m: Interaction points [m].
        material: Index in `SceneView.materials` at each interaction; -1 beyond the last.
    """

    ue_index: Int[np.ndarray, "link"]
    position_m: Float[np.ndarray, "link 3"]
    los: Int[np.ndarray, "link"]
    path_offset: Int[np.ndarray, "link1"]
    delay_s: Float[np.ndarray, "path"]
    gain_db: Float[np.ndarray, "path"]
    interaction: UInt8[np.ndarray, "path depth"]
    vertex_m: Float[np.ndarray, "path depth 3"]
    material: Int[np.ndarray, "path depth"]

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.los)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinkPosteriors:
    """Where located links may be: points with their share, link by link.

    Rows `offset[i]:offset[i + 1]` are of link i.

    Attributes:
        offset: Where the points of each link begin, and the end of the last.
        position_m: The points [m].
        share: Share of each in the posterior of its link.
    """

    offset: Int[np.ndarray, "link1"]
    position_m: Float[np.ndarray, "point 3"]
    share: Float[np.ndarray, "point"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewSite:
    """A base station, the sector that it serves, and its links.

    Attributes:
        name: Name of the site.
        position_m: Centre of the panel [m].
        azimuth_rad: Boresight, from +x towards +y [rad].
        downtilt_rad: Positive looks down [rad].
        half_width_rad: Half the opening of the sector [rad].
        range_m: Its radius [m].
        ground_m: Height of the ground below the site [m].
        links: Its links.
        posteriors: Where they may be, if they were located.
    """

    name: str
    position_m: tuple[float, float, float]
    azimuth_rad: float
    downtilt_rad: float
    half_width_rad: float
    range_m: float
    ground_m: float
    links: LinkPaths
    posteriors: LinkPosteriors | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocatedLinks:
    """Links of one site that were located on a map.

    Attributes:
        site: Name of the site.
        band: Name of the band.
        links: Each where it was found, with the paths that explain what was measured.
        posteriors: Where each may be.
        materials: Names that `links` counts.
    """

    site: str
    band: str
    links: LinkPaths
    posteriors: LinkPosteriors
    materials: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneView:
    """Everything that a page shows.

    Attributes:
        name: Name of the scene.
        title: Its title.
        licence: Its licence.
        attribution: Whom to name.
        origin: Where the links come from, for the reader.
        band: Band of the gains; empty if there is no link.
        extent_m: x_min, y_min, x_max, y_max of the ground [m].
        triangles: Ground, terrain and buildings.
        materials: Names that `LinkPaths.material` counts.
        sites: Base stations with their links.
    """

    name: str
    title: str
    licence: str
    attribution: str
    origin: str
    band: str
    extent_m: tuple[float, float, float, float]
    triangles: SceneTriangles
    materials: tuple[str, ...]
    sites: tuple[ViewSite, ...]


def join_links(parts: Sequence[LinkPaths]) -> LinkPaths:
    """Put the links of several shards of one site one after another."""
    first = np.cumsum([0, *(part.path_offset[-1] for part in parts)])
    shifted = [p.path_offset[1:] + start for p, start in zip(parts, first[:-1], strict=True)]
    names = [name for name in LinkPaths.__slots__ if name != "path_offset"]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return LinkPaths(path_offset=np.concatenate([np.zeros(1, dtype="i8"), *shifted]), **columns)


def take_links(links: LinkPaths, rows: Int[np.ndarray, "row"]) -> LinkPaths:
    """Return some links with their paths, in the order of `rows`, also several times."""
    count = np.diff(links.path_offset)[rows]
    first = np.cumsum(count) - count
    path = np.repeat(links.path_offset[rows] - first, count) + np.arange(int(count.sum()))
    of_links = {name: getattr(links, name)[rows] for name in ("ue_index", "position_m", "los")}
    return LinkPaths(
        **of_links,
        path_offset=np.concatenate([[0], np.cumsum(count)]).astype("i8"),
        **{name: getattr(links, name)[path] for name in _OF_PATHS},
    )


def keep_paths(links: LinkPaths, is_kept: Bool[np.ndarray, "path"]) -> LinkPaths:
    """Return all links with some of their paths."""
    before = np.concatenate([[0], np.cumsum(is_kept)])
    of_paths = {name: getattr(links, name)[is_kept] for name in _OF_PATHS}
    return replace(links, path_offset=before[links.path_offset].astype("i8"), **of_paths)


_OF_PATHS = ("delay_s", "gain_db", "interaction", "vertex_m", "material")
