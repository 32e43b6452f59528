"""Suffixes of diffracted paths, explored: rays are shot more densely where they find new chains.

What leaves an edge has two coordinates, the place on the edge and the angle about it. Rays start
from a lattice over both, as dense on a long edge as on a short one. A ray that is the first to find
a chain lies where chains are small; its neighbours at half the step are shot next, and so on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.chains import ChainTable, follow
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.prefixes import OFF_EDGE_M, Prefixes, outward
from raymark.generator.tracing.tables import Wedges

_RAYS_PER_PIECE = 4_000_000
_REACH_M = 30.0
"""Distance at which a step along the edge and one about it are equally long."""

_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FanRays:
    """Rays on Keller cones.

    Attributes:
        fan: Fan of each ray.
        along_m: Where it leaves the edge, from the edge's origin [m].
        angle_rad: Its angle about the edge, from the 0-face through the open.
    """

    fan: Int[np.ndarray, "ray"]
    along_m: Float[np.ndarray, "ray"]
    angle_rad: Float[np.ndarray, "ray"]

    def take(self, rows: np.ndarray) -> "FanRays":
        """Return some of the rays."""
        return FanRays(
            fan=self.fan[rows], along_m=self.along_m[rows], angle_rad=self.angle_rad[rows]
        )


class Fans:
    """All directions in which the waves of some prefixes leave their edges."""

    def __init__(self, wedges: Wedges, prefixes: Prefixes, rays_per_m: int) -> None:
        """Find the visible part and the open angle of each edge."""
        wedge = prefixes.wedge
        self._origin_m, self._direction = wedges.origin_m[wedge], wedges.direction[wedge]
        self._length_m = wedges.length_m[wedge]
        self._upward = wedges.normal_0[wedge]
        self._along_face = np.cross(self._upward, self._direction)
        self._outward = outward(wedges, wedge)
        self._image_m = prefixes.image_m[:, -1]
        between = np.einsum("ij,ij->i", self._upward, wedges.normal_n[wedge])
        self._open_rad = np.pi + np.arccos(np.clip(between, -1, 1))
        # A part of an edge whose middle is hidden may be seen at its ends.
        sees = np.pad(prefixes.sees, ((0, 0), (1, 1)))
        self._sees = sees[:, :-2] | sees[:, 1:-1] | sees[:, 2:]
        self._num_parts = self._sees.shape[1]
        visible_m = self._length_m * self._sees.mean(axis=1)
        self._num_rays = np.ceil(rays_per_m * visible_m).astype("i8")
        area = visible_m * self._open_rad / self._num_rays
        self._step_m = np.sqrt(area * _REACH_M)
        self._step_rad = np.sqrt(area / _REACH_M)

    def pieces(self) -> Iterator[Int[np.ndarray, "fan"]]:
        """Yield fans that have about as many rays together as one launch may have."""
        piece = np.cumsum(self._num_rays) // _RAYS_PER_PIECE
        yield from np.split(np.arange(len(piece)), np.flatnonzero(np.diff(piece)) + 1)

    def lattice(self, fans: Int[np.ndarray, "fan"], *, turn: float) -> FanRays:
        """Return rays spread evenly over the visible part and the open angle of some fans."""
        count = self._num_rays[fans]
        fan = np.repeat(fans, count)
        number = np.arange(len(fan)) - np.repeat(np.cumsum(count) - count, count)
        row, part = np.nonzero(self._sees[fans])
        num_seen = np.bincount(row, minlength=len(fans))
        place = (number + (0.5 + turn) % 1.0) / self._num_rays[fan] * np.repeat(num_seen, count)
        first = np.repeat(np.cumsum(num_seen) - num_seen, count)
        share = part[first + place.astype("i8")] + place % 1.0
        return FanRays(
            fan=fan,
            along_m=share / self._num_parts * self._length_m[fan],
            angle_rad=((number + fan + 0.5 + turn) * _GOLDEN % 1.0) * self._open_rad[fan],
        )

    def neighbours(self, rays: FanRays, scale: float) -> FanRays:
        """Return the rays a step before, after, left and right of others.

        Args:
            rays: The others.
            scale: Length of the step, in steps of the lattice.
        """
        step_m, step_rad = scale * self._step_m[rays.fan], scale * self._step_rad[rays.fan]
        near = FanRays(
            fan=np.tile(rays.fan, 4),
            along_m=np.concatenate(
                [rays.along_m - step_m, rays.along_m + step_m, rays.along_m, rays.along_m]
            ),
            angle_rad=np.concatenate(
                [
                    rays.angle_rad,
                    rays.angle_rad,
                    rays.angle_rad - step_rad,
                    rays.angle_rad + step_rad,
                ]
            ),
        )
        return near.take(np.flatnonzero(self._has(near)))

    def _has(self, rays: FanRays) -> Bool[np.ndarray, "ray"]:
        part = np.floor(rays.along_m / self._length_m[rays.fan] * self._num_parts).astype("i8")
        on_edge = (part >= 0) & (part < self._num_parts)
        seen = self._sees[rays.fan, np.clip(part, 0, self._num_parts - 1)]
        is_open = (rays.angle_rad > 0) & (rays.angle_rad < self._open_rad[rays.fan])
        return on_edge & seen & is_open

    def in_space(
        self, rays: FanRays
    ) -> tuple[Float[np.ndarray, "ray 3"], Float[np.ndarray, "ray 3"]]:
        """Return origins, a step off the edge, and unit vectors of rays."""
        fan = rays.fan
        on_edge = self._origin_m[fan] + rays.along_m[:, None] * self._direction[fan]
        incoming = on_edge - self._image_m[fan]
        incoming /= np.linalg.norm(incoming, axis=1)[:, None]
        cosine = np.einsum("ij,ij->i", incoming, self._direction[fan])
        sine = np.sqrt(np.maximum(1 - cosine**2, 0))
        around = np.cos(rays.angle_rad)[:, None] * self._along_face[fan]
        around += np.sin(rays.angle_rad)[:, None] * self._upward[fan]
        direction = cosine[:, None] * self._direction[fan] + sine[:, None] * around
        return on_edge + OFF_EDGE_M * self._outward[fan], direction


class ChainBook:
    """Distinct chains, entered as rays find them."""

    def __init__(self, num_bounces: int, num_planes: int) -> None:
        """Start with no chain."""
        none = np.zeros(0, dtype="i8")
        self._num_planes = num_planes
        self._keys, self._numbers = [none] * num_bounces, [none] * num_bounces

    def enter(
        self,
        bounce: int,
        before: Int[np.ndarray, "ray"],
        plane: Int[np.ndarray, "ray"],
    ) -> tuple[Int[np.ndarray, "ray"], Bool[np.ndarray, "ray"]]:
        """Return the number of the chain of each ray, and which rays have found it first.

        Args:
            bounce: Bounce that is entered, from 0.
            before: Number of the chain up to it; the root at the first bounce.
            plane: Plane that is hit.
        """
        keys, numbers = self._keys[bounce], self._numbers[bounce]
        row, distinct = pd.factorize(before * self._num_planes + plane)
        order = np.argsort(distinct)
        at = np.searchsorted(keys, distinct[order])
        is_new = np.ones(len(distinct), dtype=bool)
        within = at < len(keys)
        is_new[within] = keys[at[within]] != distinct[order][within]
        number = np.empty(len(distinct), dtype="i8")
        number[order[~is_new]] = numbers[at[~is_new]]
        number[order[is_new]] = len(keys) + np.arange(is_new.sum())
        fresh = order[is_new]
        self._keys[bounce] = np.insert(keys, at[is_new], distinct[fresh])
        self._numbers[bounce] = np.insert(numbers, at[is_new], number[fresh])
        is_fresh = np.zeros(len(distinct), dtype=bool)
        is_fresh[fresh] = True
        is_first = np.zeros(len(row), dtype=bool)
        # Distinct values are numbered as they appear.
        is_first[np.flatnonzero(np.diff(np.maximum.accumulate(row), prepend=-1) > 0)] = True
        return number[row], is_first & is_fresh[row]

    def tables(self) -> list[ChainTable]:
        """Return the chains by length, in lexicographic order."""
        tables: list[ChainTable] = []
        chain = np.zeros((0, 0), dtype="i8")
        for keys, numbers in zip(self._keys, self._numbers, strict=True):
            before, plane = np.divmod(keys, self._num_planes)
            head = chain[before] if tables else before[:, None]
            chain = np.empty((len(keys), head.shape[1] + 1), dtype="i8")
            chain[numbers] = np.column_stack([head, plane])
            rows = chain[np.lexsort(chain.T[::-1])]
            tables.append(ChainTable(root=rows[:, 0], plane=rows[:, 1:]))
        return tables


def explore(
    scene: LoadedScene,
    prefixes: Prefixes,
    num_bounces: int,
    discovery: Discovery,
    *,
    turn: float,
) -> list[ChainTable]:
    """Return the chains that rays on the Keller cones meet, by length.

    Args:
        scene: The scene.
        prefixes: Edges that the BS sees through chains.
        num_bounces: Greatest length.
        discovery: Density and number of refinements.
        turn: Shift of the lattice, in steps.
    """
    fans = Fans(scene.wedges, prefixes, discovery.cone_rays)
    parts = []
    for piece in fans.pieces():
        book = ChainBook(num_bounces, scene.planes.count)
        rays, scale = fans.lattice(piece, turn=turn), 1.0
        for _ in range(discovery.refinements):
            found = _shoot(scene, fans, rays, book, num_bounces)
            scale /= 2
            rays = fans.neighbours(rays.take(found), scale)
        _shoot(scene, fans, rays, book, num_bounces)
        parts.append(book.tables())
    # Fans ascend from piece to piece, so that the whole is in order as well.
    return [
        ChainTable(
            root=np.concatenate([part[k].root for part in parts]),
            plane=np.concatenate([part[k].plane for part in parts]),
        )
        for k in range(num_bounces)
    ]


def _shoot(
    scene: LoadedScene, fans: Fans, rays: FanRays, book: ChainBook, num_bounces: int
) -> Int[np.ndarray, "found"]:
    """Enter what rays meet, and return those that have found a chain first."""
    origin_m, direction = fans.in_space(rays)
    found = np.zeros(len(rays.fan), dtype=bool)
    ray, chain = np.arange(len(rays.fan)), rays.fan
    for bounce, (alive, triangle) in enumerate(follow(scene, origin_m, direction, num_bounces)):
        ray = ray[alive]
        plane = scene.planes.of_triangle[triangle]
        chain, is_first = book.enter(bounce, chain[alive], plane)
        found[ray[is_first]] = True
    return np.flatnonzero(found)
