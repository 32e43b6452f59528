"""Tiles of the surfaces that a BS lights, in a tree: what scatters, found once and without any UE.

Every triangle is halved across its longest side until its pieces are small, and a ray tells of
each piece whether the BS sees its centre. Larger tiles add up what the BS sees of their pieces, so
that a UE far away can take a whole wall for one tile and loses nothing of its power.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from raymark.generator.tracing.loaded_scene import LoadedScene

LEAST_SIDE_M = 0.25
_SIDE_SHARE = 0.1
_LARGEST_SIDE_M = 4.0
_FAR_SIDE_SHARE = 0.02
_SHADOW_SIDE_M = 0.5
"""Longest side of the pieces that are tested for light: a tenth of their distance from the BS, at
least 0.25 m, at most 4 m or, beyond 200 m, a fiftieth of it; 0.5 m where a shadow ends."""
_TOWARDS_CORNER = 0.9
"""Where a piece is tested besides its centre: so far on the way to each corner."""

_NEXT = np.array([1, 2, 0])
_STEP, _FIRST, _SECOND = (
    np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Pieces of triangles.

    Attributes:
        corner_m: Corners [m].
        triangle: Row of the triangle that each is a piece of.
    """

    corner_m: Float[np.ndarray, "tile 3 3"]
    triangle: Int[np.ndarray, "tile"]

    @property
    def centre_m(self) -> Float[np.ndarray, "tile 3"]:
        """Centres of gravity [m]."""
        return self.corner_m.mean(axis=1)

    @property
    def side_m(self) -> Float[np.ndarray, "tile"]:
        """Longest sides [m]."""
        return self._sides_m().max(axis=1)

    def take(self, rows: Int[np.ndarray, "row"]) -> "Tiles":
        """Return some of the tiles."""
        return Tiles(corner_m=self.corner_m[rows], triangle=self.triangle[rows])

    def halves(self) -> "Tiles":
        """Return both halves of every tile, those of tile i in rows 2 i and 2 i + 1."""
        row, start = np.arange(len(self.triangle)), self._sides_m().argmax(axis=1)
        end = _NEXT[start]
        first, second = self.corner_m[row, start], self.corner_m[row, end]
        apex, middle = self.corner_m[row, _NEXT[end]], (first + second) / 2
        corners = np.stack([apex, first, middle, apex, middle, second], axis=1)
        return Tiles(corner_m=corners.reshape(-1, 3, 3), triangle=np.repeat(self.triangle, 2))

    @property
    def phase_rad(self) -> Float[np.ndarray, "tile 2"]:
        """Two phases of each tile, as random as a hash of its corners is (Steele et al., 2014)."""
        words = (self.corner_m + 0.0).view("u8").reshape(-1, 9)
        state = np.zeros(len(words), dtype="u8")
        for word in words.T:
            state = _mixed(state ^ word)
        return np.stack([state >> _HALF, state & _LOW], axis=1) * (2 * np.pi / 2**32)

    def solid_angle_sr(self, origin_m: Float[np.ndarray, "3"]) -> Float[np.ndarray, "tile"]:
        """Return the solid angles that a point sees (Van Oosterom and Strackee, 1983) [sr]."""
        ray = self.corner_m - origin_m
        a, b, c = (ray[:, i] for i in range(3))
        length_a, length_b, length_c = np.linalg.norm(ray, axis=2).T
        volume = np.abs(_dot(a, np.cross(b, c)))
        below = length_a * length_b * length_c
        below += _dot(a, b) * length_c + _dot(a, c) * length_b + _dot(b, c) * length_a
        return 2 * np.arctan2(volume, below)

    def _sides_m(self) -> Float[np.ndarray, "tile 3"]:
        return np.linalg.norm(self.corner_m[:, _NEXT] - self.corner_m, axis=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LitTiles:
    """All tiles of which a BS sees something, larger ones first.

    Attributes:
        tiles: The tiles; the first `num_whole` are whole triangles.
        num_whole: How many are.
        side_m: Their longest sides [m].
        half: Rows of both halves of each tile; -1 for one that the BS does not see, and both for
            a tile that was not halved.
        solid_angle_sr: What the BS sees of each [sr].
        point_m: Where each scatters: its centre, of one that is partly in the shadow that of a
            piece that the BS sees, drawn by what it sees of each [m].
    """

    tiles: Tiles
    num_whole: int
    side_m: Float[np.ndarray, "tile"]
    half: Int[np.ndarray, "tile 2"]
    solid_angle_sr: Float[np.ndarray, "tile"]
    point_m: Float[np.ndarray, "tile 3"]


@dataclass(slots=True, kw_only=True)
class _Level:
    """Tiles of one size; those that are halved have their halves, in order, in the next level."""

    tiles: Tiles
    side_m: Float[np.ndarray, "tile"]
    is_halved: Bool[np.ndarray, "tile"]
    solid_angle_sr: Float[np.ndarray, "tile"]
    is_whole: Bool[np.ndarray, "tile"]
    point_m: Float[np.ndarray, "tile 3"]


def lit_tiles(
    scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], triangle: Int[np.ndarray, "tri"]
) -> LitTiles:
    """Return the tiles that a BS lights.

    Args:
        scene: The scene.
        bs_position_m: The BS [m].
        triangle: Rows of the triangles that scatter.
    """
    tiles = Tiles(corner_m=scene.triangles.corner_m[triangle], triangle=triangle)
    levels = [_level(scene, bs_position_m, tiles)]
    while levels[-1].is_halved.any():
        above = levels[-1]
        halved = above.tiles.take(np.flatnonzero(above.is_halved))
        levels.append(_level(scene, bs_position_m, halved.halves()))
    for above, below in zip(levels[-2::-1], levels[:0:-1], strict=True):
        _add_up(above, below)
    return _lit(levels)


def is_lit(
    scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], tiles: Tiles
) -> Bool[np.ndarray, "tile"]:
    """Tell whether a BS sees the centres of tiles: their triangle is the first in the way."""
    return scene.first_triangle(bs_position_m, tiles.centre_m) == tiles.triangle


def _level(scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], tiles: Tiles) -> _Level:
    """Return tiles of one size, with what the BS sees of those that are not to be halved."""
    side_m, centre_m = tiles.side_m, tiles.centre_m
    away_m = np.linalg.norm(centre_m - bs_position_m, axis=1)
    largest_m = np.maximum(_LARGEST_SIDE_M, _FAR_SIDE_SHARE * away_m)
    is_halved = side_m > np.clip(_SIDE_SHARE * away_m, LEAST_SIDE_M, largest_m)
    is_whole = np.zeros(len(side_m), dtype=bool)
    piece = np.flatnonzero(~is_halved)
    is_whole[piece], is_halved[piece] = _light(scene, bs_position_m, tiles.take(piece))
    return _Level(
        tiles=tiles,
        side_m=side_m,
        is_halved=is_halved,
        solid_angle_sr=is_whole * tiles.solid_angle_sr(bs_position_m),
        is_whole=is_whole,
        point_m=centre_m,
    )


def _light(
    scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], tiles: Tiles
) -> tuple[Bool[np.ndarray, "tile"], Bool[np.ndarray, "tile"]]:
    """Tell which pieces are lit, and in which a shadow ends that is to be found more closely."""
    is_lit_at = [is_lit(scene, bs_position_m, tiles)]
    for corner in range(3):
        towards_m = tiles.corner_m[:, corner] - tiles.centre_m
        tested_m = tiles.centre_m + _TOWARDS_CORNER * towards_m
        is_lit_at.append(scene.first_triangle(bs_position_m, tested_m) == tiles.triangle)
    is_mixed = np.any(is_lit_at, axis=0) & ~np.all(is_lit_at, axis=0)
    is_mixed &= tiles.side_m > _SHADOW_SIDE_M
    return is_lit_at[0] & ~is_mixed, is_mixed


def _add_up(above: _Level, below: _Level) -> None:
    """Fill in what the BS sees of the tiles that were halved."""
    rows = np.flatnonzero(above.is_halved)
    parts_sr = below.solid_angle_sr.reshape(-1, 2)
    above.solid_angle_sr[rows] = parts_sr.sum(axis=1)
    above.is_whole[rows] = below.is_whole.reshape(-1, 2).all(axis=1)
    shaded = ~above.is_whole[rows]
    draw = above.tiles.take(rows).phase_rad[:, 0] / (2 * np.pi)
    second = draw * parts_sr.sum(axis=1) >= parts_sr[:, 0]
    drawn = 2 * np.arange(len(rows)) + second
    above.point_m[rows[shaded]] = below.point_m[drawn[shaded]]


def _lit(levels: list[_Level]) -> LitTiles:
    """Put the tiles that have light into one table."""
    row, num_rows = [], 0
    for level in levels:
        has_light = level.solid_angle_sr > 0
        row.append(np.where(has_light, num_rows + np.cumsum(has_light) - 1, -1))
        num_rows += int(has_light.sum())
    halves = [np.full((len(level.side_m), 2), -1) for level in levels]
    for level, half, below in zip(levels[:-1], halves[:-1], row[1:], strict=True):
        half[level.is_halved] = below.reshape(-1, 2)
    kept = [numbers >= 0 for numbers in row]

    def joined(parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([part[some] for part, some in zip(parts, kept, strict=True)])

    return LitTiles(
        tiles=Tiles(
            corner_m=joined([level.tiles.corner_m for level in levels]),
            triangle=joined([level.tiles.triangle for level in levels]),
        ),
        num_whole=int(kept[0].sum()),
        side_m=joined([level.side_m for level in levels]),
        half=joined(halves),
        solid_angle_sr=joined([level.solid_angle_sr for level in levels]),
        point_m=joined([level.point_m for level in levels]),
    )


def _dot(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    return np.einsum("ni,ni->n", a, b)


def _mixed(state: UInt64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """Return the output of SplitMix64 from some states (Steele, Lea and Flood, 2014)."""
    state = state + _STEP
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
