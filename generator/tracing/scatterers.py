"""Which tiles scatter from a BS to UEs: those that both see, cut as finely as each UE needs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.tiles import LEAST_SIDE_M, is_lit, lit_tiles

Array = np.ndarray
Pairs = tuple[Array, Array]
"""Numbers of UEs, and as many rows of tiles that may scatter to them."""

_SIDE_SHARE = 0.7
_LARGEST_SIDE_M = 15.0
"""Longest side of a tile: 0.7 of its distance from the nearer end of the path, so that it is at
most 40 degrees wide there, at most 15 m, at least 0.25 m. What this costs is in docs/physics.md."""

_VIEW_HALVINGS = 4
"""What a UE sees of a tile is told by its pieces after so many halvings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatterers:
    """Tiles that scatter to UEs, one row for each pair.

    Attributes:
        ue_index: UE of each.
        triangle: Row of the triangle that the tile is a piece of.
        point_m: Where it scatters, as float32 as it is stored [m].
        solid_angle_sr: What the BS sees of what the UE sees of it [sr].
        phase_rad: Its phases [rad].
    """

    ue_index: Int[Array, "pair"]
    triangle: Int[Array, "pair"]
    point_m: Float[Array, "pair 3"]
    solid_angle_sr: Float[Array, "pair"]
    phase_rad: Float[Array, "pair 2"]

    def take(self, rows: Int[Array, "row"]) -> "Scatterers":
        """Return some of the pairs."""
        return Scatterers(**{name: getattr(self, name)[rows] for name in self.__slots__})


class TileSearch:
    """The tiles that one BS lights, ready to be matched with UEs."""

    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[Array, "3"],
        triangle: Int[Array, "tri"],
        *,
        fineness: float,
    ) -> None:
        """Light the tiles of some triangles.

        Args:
            scene: The scene.
            bs_position_m: The BS [m].
            triangle: Rows of the triangles that scatter.
            fineness: By how much tiles are smaller than they are by themselves.
        """
        self._scene, self._bs_m = scene, bs_position_m
        self._share, self._largest_m = _SIDE_SHARE / fineness, _LARGEST_SIDE_M / fineness
        self._lit = lit_tiles(scene, bs_position_m, triangle)
        self._phase_rad = self._lit.tiles.phase_rad
        whole = self._lit.tiles.triangle[: self.num_whole]
        normal, centre_m = scene.triangles.normal[whole], scene.triangles.centre_m[whole]
        height_m = ((bs_position_m - centre_m) * normal).sum(axis=1, keepdims=True)
        self._lit_side = np.sign(height_m) * normal

    @property
    def num_whole(self) -> int:
        """Number of triangles of which the BS sees something."""
        return self._lit.num_whole

    @property
    def solid_angle_sr(self) -> float:
        """What the BS sees of all of them [sr]."""
        return float(self._lit.solid_angle_sr[: self.num_whole].sum())

    def seen(self, ue_m: Float[Array, "ue 3"]) -> Scatterers:
        """Return the tiles that UEs see; those of each hang on its own position alone."""
        fitting, near = self._cut(ue_m)
        parts = [self._seen_large(ue_m, *fitting), *self._seen_small(ue_m, *near)]
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Scatterers.__slots__
        }
        return Scatterers(**columns)

    def _cut(self, ue_m: Float[Array, "ue 3"]) -> tuple[Pairs, Pairs]:
        """Return the largest tiles that are small enough, and the smallest that are too large."""
        lit = self._lit
        ue, tile = self._before(ue_m)
        fitting, near = [(ue[:0], tile[:0])], [(ue[:0], tile[:0])]
        while len(ue):
            fits = self._is_small(lit.side_m[tile], lit.point_m[tile], ue_m[ue])
            fitting.append((ue[fits], tile[fits]))
            ue, tile = ue[~fits], tile[~fits]
            half = lit.half[tile]
            is_piece = (half < 0).all(axis=1)
            near.append((ue[is_piece], tile[is_piece]))
            ue, tile = np.repeat(ue, 2)[half.ravel() >= 0], half[half >= 0]
        return _joined(fitting), _joined(near)

    def _before(self, ue_m: Float[Array, "ue 3"]) -> Pairs:
        """Return the whole triangles that have UEs on their lit side."""
        point_m = self._lit.point_m[: self.num_whole]
        height_m = ue_m @ self._lit_side.T - (point_m * self._lit_side).sum(axis=1)
        ue, tile = np.nonzero(height_m > 0)
        return ue, tile

    def _is_small(
        self,
        side_m: Float[Array, "pair"],
        point_m: Float[Array, "pair 3"],
        ue_m: Float[Array, "pair 3"],
    ) -> Bool[Array, "pair"]:
        """Tell whether tiles are small against their distances from both ends."""
        near_m = np.minimum(
            np.linalg.norm(point_m - ue_m, axis=1), np.linalg.norm(point_m - self._bs_m, axis=1)
        )
        return side_m <= np.clip(self._share * near_m, LEAST_SIDE_M, self._largest_m)

    def _seen_large(
        self, ue_m: Float[Array, "ue 3"], ue: Int[Array, "pair"], tile: Int[Array, "pair"]
    ) -> Scatterers:
        """Return what UEs see of tiles, told by the pieces of these.

        A tile scatters where it does by itself if all of it is seen, else at a piece that is seen,
        drawn by what the BS sees of each.
        """
        lit = self._lit
        owner, piece = self._pieces(tile)
        num_pieces = np.bincount(owner, minlength=len(tile))
        point_m = _stored(lit.point_m[piece])
        seen = self._scene.is_visible(ue_m[ue[owner]], point_m)
        owner, piece, point_m = owner[seen], piece[seen], point_m[seen]
        piece_sr, seen_sr = lit.solid_angle_sr[piece], np.zeros(len(tile))
        np.add.at(seen_sr, owner, piece_sr)
        # The least of exponential variates falls to each in proportion to its rate.
        variate = -np.log1p(-self._phase_rad[piece, 1] / (2 * np.pi)) / piece_sr
        order = np.lexsort((variate, owner))
        drawn = order[np.diff(owner[order], prepend=-1) > 0]
        pair = owner[drawn]
        is_whole = np.bincount(owner, minlength=len(tile))[pair] == num_pieces[pair]
        own_m = _stored(lit.point_m[tile[pair]])
        return Scatterers(
            ue_index=ue[pair],
            triangle=lit.tiles.triangle[tile[pair]],
            point_m=np.where(is_whole[:, None], own_m, point_m[drawn]),
            solid_angle_sr=seen_sr[pair],
            phase_rad=self._phase_rad[tile[pair]],
        )

    def _pieces(self, tile: Int[Array, "pair"]) -> tuple[Int[Array, "n"], Int[Array, "n"]]:
        """Return the lit pieces of tiles, and which tile each is of."""
        owner, piece = np.arange(len(tile)), tile
        for _ in range(_VIEW_HALVINGS):
            half = self._lit.half[piece]
            is_piece = (half < 0).all(axis=1)
            half[is_piece, 0] = piece[is_piece]
            owner, piece = np.repeat(owner, 2)[half.ravel() >= 0], half[half >= 0]
        return owner, piece

    def _seen_small(
        self, ue_m: Float[Array, "ue 3"], ue: Int[Array, "pair"], tile: Int[Array, "pair"]
    ) -> Iterator[Scatterers]:
        """Yield the lit pieces of tiles that are too large for UEs near them."""
        tiles = self._lit.tiles.take(tile)
        while len(ue):
            ue, tiles = np.repeat(ue, 2), tiles.halves()
            point_m = _stored(tiles.centre_m)
            fits = self._is_small(tiles.side_m, point_m, ue_m[ue])
            rows = np.flatnonzero(fits)
            rows = rows[is_lit(self._scene, self._bs_m, tiles.take(rows))]
            rows = rows[self._scene.is_visible(ue_m[ue[rows]], point_m[rows])]
            seen = tiles.take(rows)
            yield Scatterers(
                ue_index=ue[rows],
                triangle=seen.triangle,
                point_m=point_m[rows],
                solid_angle_sr=seen.solid_angle_sr(self._bs_m),
                phase_rad=seen.phase_rad,
            )
            ue, tiles = ue[~fits], tiles.take(np.flatnonzero(~fits))


def _joined(parts: list[Pairs]) -> Pairs:
    ue, tile = zip(*parts, strict=True)
    return np.concatenate(ue), np.concatenate(tile)


def _stored(point_m: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    return point_m.astype("f4").astype("f8")
