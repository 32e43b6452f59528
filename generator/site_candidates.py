"""Where base stations could stand: roof edges and street masts, found and judged by rays alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field
from scipy import ndimage
from scipy.spatial import KDTree

from raymark.config import Strict
from raymark.dataset.buildings import HeightMap
from raymark.dataset.samplings import UniformSampling
from raymark.generator.outdoors import RayCaster, place_outdoors
from raymark.plots.maps import BUILDING_HEIGHT_M
from raymark.radio.frames import wrap_deg

AZIMUTHS_DEG = np.arange(-180.0, 180.0, 30.0)
"""Boresights that are tried at every position [deg]."""
OPEN_LAND_M = 30.0
"""Points farther than this from the nearest building do not count for a site."""

_MAX_POSITIONS = 600
_MAX_POINTS = 60_000
_POINTS_PER_RANGE = 25
_RAYS_PER_BATCH = 1 << 20

_LEAST_ROOF_M = 5.0
_MOST_ROOF_PER_RANGE = 0.25
_EDGE_SMOOTHING_CELLS = 2.0
_EDGE_STEP_M = 0.5
_LOOK_AWAY_DEG = 45.0
_OFF_WALL_M = 2.0
_STREET_WIDTH_M = 40.0
_WIDTH_DIRECTIONS = 16


class SitingSettings(Strict):
    """What is asked of proposed sites."""

    mast_height_m: float = Field(default=3.0, gt=0, le=30, description="Panel above a roof [m]")
    height_m: float = Field(
        default=10.0, ge=2, le=100, description="Panel of a free-standing mast above ground [m]"
    )
    range_m: float = Field(default=200.0, ge=20, le=5000, description="Radius of the sector [m]")
    min_nlos_share: float = Field(
        default=0.25, ge=0, lt=1, description="Least share of NLOS among the covered points"
    )
    num_ues: int = Field(default=300, ge=20, le=10_000, description="Points traced per site")

    @property
    def sampling(self) -> UniformSampling:
        """The points of a sector that are traced."""
        return UniformSampling(num_ues=self.num_ues, max_range_m=self.range_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCandidates:
    """Positions for a panel, and where it may look from each.

    Attributes:
        position_m: Centres of the panel [m].
        is_roof: Whether it is a mast on a roof, else one in a street.
        may_look: Which of `AZIMUTHS_DEG` are open: all from a mast, those away from the building
            from a roof's edge.
    """

    position_m: Float[np.ndarray, "pos 3"]
    is_roof: Bool[np.ndarray, "pos"]
    may_look: Bool[np.ndarray, "pos azimuth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorCounts:
    """Outdoor points in the sector of every position and azimuth.

    Attributes:
        num_points: How many there are.
        num_los: How many of them are in sight.
    """

    num_points: Int[np.ndarray, "pos azimuth"]
    num_los: Int[np.ndarray, "pos azimuth"]

    @property
    def los_share(self) -> Float[np.ndarray, "pos azimuth"]:
        """Share of the points in sight; 0 where there is none."""
        return self.num_los / np.maximum(self.num_points, 1)


def find_candidates(
    caster: RayCaster, heights: HeightMap, settings: SitingSettings, rng: np.random.Generator
) -> SiteCandidates:
    """Find positions on roof edges and in streets, at most 600 of each kind.

    A roof of at least 5 m and at most a quarter of the range (the panel would look down too
    steeply) carries a mast half a metre inside its edge. A street mast stands between two walls
    that face each other at most 40 m apart, and at least 2 m off. Where there are more, a random
    choice is made, no two in the same cell of a tenth of the range.
    """
    roofs, away_rad = _roof_edges(caster, heights, settings, rng)
    masts = _street_masts(caster, heights, settings, rng)
    off_axis = np.degrees(away_rad)[:, None] - AZIMUTHS_DEG
    looks_away = np.abs(wrap_deg(off_axis)) <= _LOOK_AWAY_DEG
    looks_round = np.ones((len(masts), len(AZIMUTHS_DEG)), dtype=bool)
    return SiteCandidates(
        position_m=np.concatenate([roofs, masts]),
        is_roof=np.arange(len(roofs) + len(masts)) < len(roofs),
        may_look=np.concatenate([looks_away, looks_round]),
    )


def join_candidates(parts: Sequence[SiteCandidates]) -> SiteCandidates:
    """Return the candidates of several parts of a scene together."""
    return SiteCandidates(
        position_m=np.concatenate([part.position_m for part in parts]),
        is_roof=np.concatenate([part.is_roof for part in parts]),
        may_look=np.concatenate([part.may_look for part in parts]),
    )


def street_points(
    caster: RayCaster, heights: HeightMap, sampling: UniformSampling, rng: np.random.Generator
) -> Float[np.ndarray, "ue 3"]:
    """Return outdoor points all over a scene, at most 30 m from the nearest building.

    Open land around a town would else attract every site. The points are a jittered grid, 25 to a
    range, and 60,000 at most.
    """
    (x_min, x_max), (y_min, y_max) = heights.x_m[[0, -1]], heights.y_m[[0, -1]]
    area = (x_max - x_min) * (y_max - y_min)
    step = max(sampling.max_range_m / _POINTS_PER_RANGE, math.sqrt(area / _MAX_POINTS))
    x, y = np.meshgrid(np.arange(x_min, x_max, step), np.arange(y_min, y_max, step))
    corner = np.column_stack([x.ravel(), y.ravel()])
    position, outdoors = place_outdoors(
        caster,
        corner + rng.uniform(0, step, corner.shape),
        height_m=sampling.height_m,
        wall_margin_m=sampling.wall_margin_m,
    )
    position = position[outdoors]
    columns = np.searchsorted(heights.x_m, position[:, 0], side="right") - 1
    rows = np.searchsorted(heights.y_m, position[:, 1], side="right") - 1
    num_rows, num_columns = heights.height_m.shape
    inside = (rows < num_rows) & (columns < num_columns)
    near = _building_distance(heights)[rows[inside], columns[inside]] <= OPEN_LAND_M
    return position[inside][near]


def count_sectors(
    caster: RayCaster,
    position_m: Float[np.ndarray, "pos 3"],
    point_m: Float[np.ndarray, "ue 3"],
    sampling: UniformSampling,
) -> SectorCounts:
    """Count the points in each sector, and those in sight; one ray per position and point."""
    shape = (len(position_m), len(AZIMUTHS_DEG))
    num_points, num_los = np.zeros(shape, dtype="i8"), np.zeros(shape, dtype="i8")
    pos, ue = _pairs_within(position_m, point_m, sampling.max_range_m)
    offset = point_m[ue, :2] - position_m[pos, :2]
    far = np.hypot(*offset.T) >= sampling.min_range_m
    pos, ue, offset = pos[far], ue[far], offset[far]
    starts = range(0, len(pos), _RAYS_PER_BATCH)
    rows = [slice(start, start + _RAYS_PER_BATCH) for start in starts]
    seen = [caster.is_visible(position_m[pos[row]], point_m[ue[row]]) for row in rows]
    is_los = np.concatenate([np.zeros(0, dtype=bool), *seen])
    bearing = np.degrees(np.arctan2(offset[:, 1], offset[:, 0]))
    for i, azimuth in enumerate(AZIMUTHS_DEG):
        off_axis = np.abs(wrap_deg(bearing - azimuth))
        within = off_axis <= sampling.sector_half_width_deg
        num_points[:, i] = np.bincount(pos[within], minlength=shape[0])
        num_los[:, i] = np.bincount(pos[within & is_los], minlength=shape[0])
    return SectorCounts(num_points=num_points, num_los=num_los)


def _pairs_within(
    position_m: Float[np.ndarray, "pos 3"], point_m: Float[np.ndarray, "ue 3"], range_m: float
) -> tuple[Int[np.ndarray, "pair"], Int[np.ndarray, "pair"]]:
    near = KDTree(point_m[:, :2]).query_ball_point(
        position_m[:, :2], range_m, return_sorted=True, workers=1
    )
    counts = np.array([len(rows) for rows in near], dtype="i8")
    ue = np.concatenate([np.zeros(0), *near]).astype("i8")
    return np.repeat(np.arange(len(position_m)), counts), ue


def _roof_edges(
    caster: RayCaster, heights: HeightMap, settings: SitingSettings, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "pos 3"], Float[np.ndarray, "pos"]]:
    """Return positions of panels on roof edges, and the azimuth away from the building [rad]."""
    height = heights.height_m
    is_built = height >= BUILDING_HEIGHT_M
    usable = (height >= _LEAST_ROOF_M) & (height <= _MOST_ROOF_PER_RANGE * settings.range_m)
    edge = usable & ndimage.binary_dilation(~is_built)
    xy = _centres(heights)[edge.ravel()]
    smooth = ndimage.gaussian_filter(is_built.astype("f8"), _EDGE_SMOOTHING_CELLS)
    slope_y, slope_x = _gradient(smooth)
    away_rad = np.arctan2(-slope_y[edge], -slope_x[edge])
    chosen = _thin(xy, settings.range_m / 10, rng)
    position, is_edge = _to_edge(caster, xy[chosen], away_rad[chosen], _cell_m(heights))
    position[:, 2] += settings.mast_height_m
    return position[is_edge], away_rad[chosen][is_edge]


def _to_edge(
    caster: RayCaster,
    xy_m: Float[np.ndarray, "pos 2"],
    away_rad: Float[np.ndarray, "pos"],
    cell_m: float,
) -> tuple[Float[np.ndarray, "pos 3"], Bool[np.ndarray, "pos"]]:
    """Walk outwards over a roof until it ends, and one step back; tells which roofs end."""
    num_steps = math.ceil(2 * cell_m / _EDGE_STEP_M) + 1
    walked_m = np.arange(num_steps + 1) * _EDGE_STEP_M
    direction = np.column_stack([np.cos(away_rad), np.sin(away_rad)])
    path = xy_m[:, None] + walked_m[:, None] * direction[:, None]
    top = _top_height(caster, path.reshape(-1, 2)).reshape(len(xy_m), len(walked_m))
    is_off = top < top[:, :1] - BUILDING_HEIGHT_M
    stop = np.maximum(is_off.argmax(axis=1) - 2, 0)
    rows = np.arange(len(xy_m))
    position = np.column_stack([path[rows, stop], top[rows, stop]])
    return position, is_off.any(axis=1) & np.isfinite(position[:, 2])


def _street_masts(
    caster: RayCaster, heights: HeightMap, settings: SitingSettings, rng: np.random.Generator
) -> Float[np.ndarray, "pos 3"]:
    """Return positions of panels on masts in streets."""
    wall_m = _building_distance(heights)
    near = (wall_m >= _OFF_WALL_M) & (wall_m <= _STREET_WIDTH_M / 2)
    xy = _centres(heights)[near.ravel()]
    sampling = settings.sampling
    foot, outdoors = place_outdoors(
        caster, xy, height_m=sampling.height_m, wall_margin_m=sampling.wall_margin_m
    )
    foot = foot[outdoors]
    foot = foot[_street_width(caster, foot) <= _STREET_WIDTH_M]
    foot = foot[_thin(foot[:, :2], settings.range_m / 10, rng)]
    position, is_free = place_outdoors(
        caster, foot[:, :2], height_m=settings.height_m, wall_margin_m=sampling.wall_margin_m
    )
    return position[is_free]


def _street_width(
    caster: RayCaster, position_m: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
    """Return the least distance between walls on opposite sides of each point [m]."""
    angle = np.arange(_WIDTH_DIRECTIONS) * 2 * np.pi / _WIDTH_DIRECTIONS
    rays = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(len(angle))])
    distance = [
        caster.hit_distance(position_m, np.tile(ray, (len(position_m), 1)))[0] for ray in rays
    ]
    one, other = np.split(np.array(distance), 2)
    return (one + other).min(axis=0)


def _top_height(caster: RayCaster, xy_m: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n"]:
    """Return the height of the topmost surface [m]; -inf where there is none."""
    _, high = caster.box_m
    above = high[2] + 1.0
    origin = np.column_stack([xy_m, np.full(len(xy_m), above)])
    distance, _ = caster.hit_distance(origin, np.tile((0.0, 0.0, -1.0), (len(xy_m), 1)))
    return above - distance


def _thin(
    xy_m: Float[np.ndarray, "n 2"], cell_m: float, rng: np.random.Generator
) -> Int[np.ndarray, "chosen"]:
    """Return the rows of at most 600 points, drawn at random, one to a cell."""
    order = rng.permutation(len(xy_m))
    cells = np.floor(xy_m[order] / cell_m)
    _, first = np.unique(cells, axis=0, return_index=True)
    return order[np.sort(first)[:_MAX_POSITIONS]]


def _building_distance(heights: HeightMap) -> Float[np.ndarray, "y x"]:
    """Return the distance from each cell to the nearest building [m]; 0 in a building."""
    is_open = heights.height_m < BUILDING_HEIGHT_M
    return ndimage.distance_transform_edt(is_open) * _cell_m(heights)


def _gradient(values: Float[np.ndarray, "y x"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the slopes along y and x; a map of one cell has none."""
    padded = np.pad(values, 1, mode="edge")
    slope_y, slope_x = np.gradient(padded)
    return slope_y[1:-1, 1:-1], slope_x[1:-1, 1:-1]


def _centres(heights: HeightMap) -> Float[np.ndarray, "cell 2"]:
    axes = [(edges[1:] + edges[:-1]) / 2 for edges in (heights.x_m, heights.y_m)]
    x, y = np.meshgrid(*axes)
    return np.column_stack([x.ravel(), y.ravel()])


def _cell_m(heights: HeightMap) -> float:
    return float(max(np.diff(heights.x_m[:2])[0], np.diff(heights.y_m[:2])[0]))
