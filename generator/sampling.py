"""How UEs are drawn: one sampler for each class of `raymark.dataset.samplings`."""

from collections.abc import Callable
from functools import singledispatch
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from raymark.dataset.samplings import (
    BaseSampling,
    GridSampling,
    PositionsSampling,
    SectorSampling,
    TrackSampling,
    UniformSampling,
)
from raymark.dataset.writing.ues import SampledUEs
from raymark.errors import ConfigError, SceneError
from raymark.generator.outdoors import (
    XY,
    Points,
    RayCaster,
    ground_height,
    place_outdoors,
    sees_sky,
)
from raymark.radio import Site
from raymark.radio.frames import wrap_deg
from raymark.seeding import child_generator

_DRAWS_PER_BATCH = 2048
_TRACKS_PER_BATCH = 64
_MAX_BATCHES = 400
_HEADING_TRIES = 12


@singledispatch
def sample_ues(
    sampling: BaseSampling,
    caster: RayCaster,  # noqa: ARG001 - for those that draw
    site: Site,
    *,
    seed: int,
    scene: str,
) -> SampledUEs:
    """Draw the UEs of one site; the same arguments always give the same points.

    Each kind of sampling has its sampler below, found by its class.

    Raises:
        SceneError: If the sector has no outdoor point, or a given position lies in a building.
        ConfigError: If a file of positions cannot be used, or the UEs were imported.
    """
    raise ConfigError(
        f"scene '{scene}', site '{site.name}': {sampling.describe(seed)} and come with their "
        "paths; none can be drawn"
    )


def in_sector(sampling: SectorSampling, site: Site, xy_m: XY) -> Bool[np.ndarray, "n"]:
    """Tell which points lie within the range and the angle of a site's sector."""
    offset = xy_m - np.asarray(site.position_m[:2])
    distance = np.hypot(offset[:, 0], offset[:, 1])
    azimuth = np.degrees(np.arctan2(offset[:, 1], offset[:, 0])) - site.azimuth_deg
    off_boresight = np.abs(wrap_deg(azimuth))
    within = (distance >= sampling.min_range_m) & (distance <= sampling.max_range_m)
    return within & (off_boresight <= sampling.sector_half_width_deg)


def _draw_in_sector(
    sampling: SectorSampling, site: Site, rng: np.random.Generator, count: int
) -> XY:
    """Draw points uniform over the area of the sector."""
    low, high = sampling.min_range_m**2, sampling.max_range_m**2
    radius = np.sqrt(rng.uniform(low, high, count))
    half = sampling.sector_half_width_deg
    azimuth = np.radians(site.azimuth_deg + rng.uniform(-half, half, count))
    offset = np.column_stack([radius * np.cos(azimuth), radius * np.sin(azimuth)])
    return np.asarray(site.position_m[:2]) + offset


def _place(sampling: SectorSampling, caster: RayCaster, xy_m: XY) -> tuple[Points, np.ndarray]:
    return place_outdoors(
        caster, xy_m, height_m=sampling.height_m, wall_margin_m=sampling.wall_margin_m
    )


def _collect(count: int, draw: Callable[[int], Points], *, what: str) -> Points:
    """Call `draw(batch)` until `count` rows have come.

    Raises:
        SceneError: If the first tenth of the allowed batches brings nothing, or all too few.
    """
    rows: list[Points] = []
    total = 0
    for batch in range(_MAX_BATCHES):
        rows.append(draw(batch))
        total += len(rows[-1])
        if total >= count:
            return np.concatenate(rows)[:count]
        if total == 0 and batch >= _MAX_BATCHES // 10:
            break
    raise SceneError(f"{what}: found {total} outdoor points of {count} after {batch + 1} draws")


@sample_ues.register
def _uniform_points(
    sampling: UniformSampling, caster: RayCaster, site: Site, *, seed: int, scene: str
) -> SampledUEs:
    def draw(batch: int) -> Points:
        rng = child_generator(seed, scene, site.name, "ue", batch)
        xy = _draw_in_sector(sampling, site, rng, _DRAWS_PER_BATCH)
        position, outdoors = _place(sampling, caster, xy)
        return position[outdoors]

    what = _area(sampling, site, scene)
    return _without_tracks(_collect(sampling.num_ues, draw, what=what))


@sample_ues.register
def _jittered_grid(
    sampling: GridSampling, caster: RayCaster, site: Site, *, seed: int, scene: str
) -> SampledUEs:
    steps = int(sampling.max_range_m / sampling.spacing_m) + 1
    axis = np.arange(-steps, steps + 1) * sampling.spacing_m
    y, x = np.meshgrid(axis, axis, indexing="ij")
    offset = np.column_stack([x.ravel(), y.ravel()])
    rng = child_generator(seed, scene, site.name, "ue")
    jitter = rng.uniform(-1, 1, offset.shape) * sampling.jitter_m
    xy = np.asarray(site.position_m[:2]) + offset + jitter
    xy = xy[in_sector(sampling, site, xy)]
    position, outdoors = _place(sampling, caster, xy)
    if not outdoors.any():
        raise SceneError(f"{_area(sampling, site, scene)}: no grid point is outdoors")
    return _without_tracks(position[outdoors])


@sample_ues.register
def _walk_tracks(
    sampling: TrackSampling, caster: RayCaster, site: Site, *, seed: int, scene: str
) -> SampledUEs:
    num_steps = sampling.steps_per_track
    num_tracks = -(-sampling.num_ues // num_steps)

    def draw(batch: int) -> Points:
        rng = child_generator(seed, scene, site.name, "ue", batch)
        return _walk_batch(sampling, caster, site, rng).reshape(-1, 3)

    position = _collect(num_tracks * num_steps, draw, what=_area(sampling, site, scene))
    index = np.arange(sampling.num_ues)
    return SampledUEs(
        position_m=position[: sampling.num_ues].astype("f4"),
        track_id=(index // num_steps).astype("i4"),
        track_step=(index % num_steps).astype("i4"),
    )


def _walk_batch(
    sampling: TrackSampling, caster: RayCaster, site: Site, rng: np.random.Generator
) -> Float[np.ndarray, "track step 3"]:
    """Walk a batch of tracks side by side and return those that never got stuck."""
    start, outdoors = _place(
        sampling, caster, _draw_in_sector(sampling, site, rng, _TRACKS_PER_BATCH)
    )
    walked = start[outdoors][:, None]
    heading = rng.uniform(0, 2 * np.pi, len(walked))
    for _ in range(sampling.steps_per_track - 1):
        position, heading, moved = _step(sampling, caster, site, rng, walked[:, -1], heading)
        walked = np.concatenate([walked[moved], position[moved, None]], axis=1)
        heading = heading[moved]
    return walked


def _step(
    sampling: TrackSampling,
    caster: RayCaster,
    site: Site,
    rng: np.random.Generator,
    here: Points,
    heading: Float[np.ndarray, "track"],
) -> tuple[Points, Float[np.ndarray, "track"], Bool[np.ndarray, "track"]]:
    """Take one step; where the way is blocked, turn further at every further try."""
    length = rng.uniform(sampling.min_step_m, sampling.max_step_m, len(here))
    there, new_heading = here.copy(), heading.copy()
    moved = np.zeros(len(here), dtype=bool)
    for attempt in range(_HEADING_TRIES):
        rows = np.flatnonzero(~moved)
        spread = np.radians(sampling.turn_std_deg) * (1 + attempt)
        trial = heading[rows] + spread * rng.standard_normal(len(rows))
        offset = length[rows, None] * np.column_stack([np.cos(trial), np.sin(trial)])
        position, free = _place(sampling, caster, here[rows, :2] + offset)
        free &= in_sector(sampling, site, position[:, :2])
        free &= caster.is_visible(here[rows], position)
        there[rows[free]], new_heading[rows[free]] = position[free], trial[free]
        moved[rows[free]] = True
    return there, new_heading, moved


@sample_ues.register
def _given_positions(
    sampling: PositionsSampling,
    caster: RayCaster,
    _site: Site,
    *,
    seed: int,  # noqa: ARG001 - nothing is drawn
    scene: str,
) -> SampledUEs:
    if scene not in sampling.files:
        raise ConfigError(f"sampling.files names no file for scene '{scene}'")
    path = Path(sampling.files[scene])
    given = read_positions(path)
    position, outdoors = place_outdoors(
        caster, given[:, :2], height_m=sampling.height_m, wall_margin_m=0.0
    )
    if given.shape[1] == 3:  # the point itself decides, which may well be above a roof
        position = given
        ground = ground_height(caster, given[:, :2])
        outdoors = np.isfinite(ground) & (given[:, 2] > ground) & sees_sky(caster, given)
    inside = np.flatnonzero(~outdoors)
    if inside.size:
        x, y = given[inside[0], :2]
        raise SceneError(
            f"{path}: {inside.size} of {len(given)} positions are not outdoors in '{scene}', "
            f"the first is row {inside[0]} at ({x:g}, {y:g}) m"
        )
    return _without_tracks(position)


def read_positions(path: Path) -> Float[np.ndarray, "n dim"]:
    """Read positions from CSV (columns x_m, y_m and optionally z_m) or NPY ([n, 2 or 3]).

    Raises:
        ConfigError: If the file is missing, of another form, empty or not finite.
    """
    try:
        if path.suffix == ".npy":
            table = np.load(path, allow_pickle=False)
        elif path.suffix == ".csv":
            from pandas import read_csv  # noqa: PLC0415 - half a second that few campaigns need

            frame = read_csv(path)
            if not {"x_m", "y_m"} <= set(frame):
                raise ConfigError(
                    f"{path}: expected columns x_m, y_m and optionally z_m, got {list(frame)}"
                )
            names = ["x_m", "y_m", *(["z_m"] if "z_m" in frame else [])]
            table = frame[names].to_numpy(dtype="f8")
        else:
            raise ConfigError(f"{path}: positions must be a .csv or .npy file")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read positions from {path}: {error}") from error
    if table.ndim != 2 or table.shape[1] not in (2, 3) or len(table) == 0:
        raise ConfigError(f"{path}: expected shape [n, 2] or [n, 3], got {list(table.shape)}")
    if table.dtype.kind not in "fiu" or not np.isfinite(table).all():
        raise ConfigError(f"{path}: positions must be finite numbers")
    return table.astype("f8")


def _without_tracks(position_m: Points) -> SampledUEs:
    none = np.full(len(position_m), -1, dtype="i4")
    return SampledUEs(position_m=position_m.astype("f4"), track_id=none, track_step=none)


def _area(sampling: SectorSampling, site: Site, scene: str) -> str:
    return (
        f"scene '{scene}', site '{site.name}': the sector of +-"
        f"{sampling.sector_half_width_deg:g} deg around azimuth {site.azimuth_deg:g} deg, "
        f"{sampling.min_range_m:g}-{sampling.max_range_m:g} m"
    )
