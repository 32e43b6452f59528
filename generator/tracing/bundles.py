"""Bundles of rays that can be made denser where it pays: from the BS, and from edges.

A bundle knows all its possible rays by coordinates. It starts from a lattice over them, and gives
the neighbours of some rays at a part of its step.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.prefixes import OFF_EDGE_M, Prefixes, outward
from raymark.generator.tracing.sionna_adapter import point, real, unsigned
from raymark.generator.tracing.tables import Wedges

_REACH_M = 30.0
"""Distance at which a step along the edge and one about it are equally long."""

_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rays:
    """Rays of a bundle, by their coordinates.

    Attributes:
        root: Where each starts: the fan, or 0 at the BS.
        place: From a fan: where it leaves the edge, from the edge's origin [m]. From the BS: cosine
            of the zenith angle.
        angle_rad: From a fan: angle about the edge, from the 0-face through the open. From the BS:
            azimuth.
    """

    root: Int[np.ndarray, "ray"]
    place: Float[np.ndarray, "ray"]
    angle_rad: Float[np.ndarray, "ray"]

    def __len__(self) -> int:
        """Return the number of rays."""
        return len(self.root)

    def take(self, rows: Int[np.ndarray, "row"] | slice) -> "Rays":
        """Return some of the rays."""
        return Rays(root=self.root[rows], place=self.place[rows], angle_rad=self.angle_rad[rows])

    def moved(self, step: Float[np.ndarray, "ray"], step_rad: Float[np.ndarray, "ray"]) -> "Rays":
        """Return the four rays beside each, a step away in one coordinate."""
        place, angle = self.place, self.angle_rad
        return Rays(
            root=np.tile(self.root, 4),
            place=np.concatenate([place - step, place + step, place, place]),
            angle_rad=np.concatenate([angle, angle, angle - step_rad, angle + step_rad]),
        )


class Sphere:
    """All directions from the BS."""

    def __init__(self, bs_position_m: Float[np.ndarray, "3"], num_rays: int) -> None:
        """Choose the step of the lattice."""
        self._bs_m, self._num_rays = point(bs_position_m[None]), num_rays
        self.step_rad = np.sqrt(4 * np.pi / num_rays)

    def lattice(self, *, turn: float) -> Rays:
        """Return rays spread evenly over the sphere (Gonzalez, Math. Geosci. 42, 2010)."""
        index = np.arange(self._num_rays) + 0.5
        return Rays(
            root=np.zeros(self._num_rays, dtype="i8"),
            place=1 - 2 * index / self._num_rays,
            angle_rad=2 * np.pi * ((index * _GOLDEN + turn) % 1.0),
        )

    def neighbours(self, rays: Rays, scale: float) -> Rays:
        """Return the rays beside others, at `scale` steps of the lattice."""
        step_rad = scale * self.step_rad
        sine = np.sqrt(np.maximum(1 - rays.place**2, step_rad**2))
        near = rays.moved(step_rad * sine, step_rad / sine)
        return near.take(np.flatnonzero(np.abs(near.place) < 1))

    def directions(self, rays: Rays) -> Float[np.ndarray, "ray 3"]:
        """Return the unit vectors of rays."""
        sine = np.sqrt(1 - rays.place**2)
        return np.stack(
            [sine * np.cos(rays.angle_rad), sine * np.sin(rays.angle_rad), rays.place], axis=-1
        )

    def in_space(self, rays: Rays) -> mi.Ray3f:
        """Return rays with their origins and directions."""
        direction = point(self.directions(rays))
        return mi.Ray3f(self._bs_m, mi.Vector3f(direction))


class Fans:
    """All directions in which the waves of some prefixes leave their edges."""

    def __init__(
        self,
        wedges: Wedges,
        num_parts: Int[np.ndarray, "wedge"],
        prefixes: Prefixes,
        rays_per_m: Float[np.ndarray, "fan"],
        phase: Int[np.ndarray, "fan"],
    ) -> None:
        """Find the visible parts and the open angle of each edge.

        Args:
            wedges: The edges of the scene.
            num_parts: Number of parts of each edge.
            prefixes: What reaches them, a fan each.
            rays_per_m: Rays that leave a metre of what is visible; 0 for none.
            phase: Where the angles of a fan start, in steps of the lattice.
        """
        self._phase = phase
        wedge = prefixes.wedge
        direction, upward = wedges.direction[wedge], wedges.normal_0[wedge]
        self._length_m = wedges.length_m[wedge]
        self._frame = (
            point(wedges.origin_m[wedge] + OFF_EDGE_M * outward(wedges, wedge)),
            point(direction),
            point(np.cross(upward, direction)),
            point(upward),
        )
        offset = wedges.origin_m[wedge] - prefixes.image_m
        along = np.einsum("ij,ij->i", offset, direction)
        self._before_m = real(along)
        self._beside_m = real(np.linalg.norm(offset - along[:, None] * direction, axis=1))
        between = np.einsum("ij,ij->i", upward, wedges.normal_n[wedge])
        self._open_rad = np.pi + np.arccos(np.clip(between, -1, 1))
        # A part of an edge whose point is hidden may be seen at its ends.
        sees = np.pad(prefixes.sees, ((0, 0), (1, 1)))
        self._num_parts = num_parts[wedge]
        exists = np.arange(prefixes.sees.shape[1]) < self._num_parts[:, None]
        self._sees = (sees[:, :-2] | sees[:, 1:-1] | sees[:, 2:]) & exists
        visible_m = self._length_m * self._sees.sum(axis=1) / self._num_parts
        self.num_rays = np.ceil(rays_per_m * visible_m).astype("i8")
        area = visible_m * self._open_rad / np.maximum(self.num_rays, 1)
        self._step_m = np.sqrt(area * _REACH_M)
        self._step_rad = np.sqrt(area / _REACH_M)

    def step(self, fan: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 2"]:
        """Return the step of the lattice along [m] and about the edge [rad] of some fans."""
        return np.column_stack([self._step_m[fan], self._step_rad[fan]])

    def pieces(self, num_rays: int) -> list[Int[np.ndarray, "fan"]]:
        """Divide the fans into pieces of about as many rays."""
        piece = np.cumsum(self.num_rays) // num_rays
        return np.split(np.arange(len(piece)), np.flatnonzero(np.diff(piece)) + 1)

    def lattice(self, fans: Int[np.ndarray, "fan"], *, turn: float) -> Rays:
        """Return rays spread evenly over the visible part and the open angle of some fans."""
        count = self.num_rays[fans]
        fan = np.repeat(fans, count)
        number = np.arange(len(fan)) - np.repeat(np.cumsum(count) - count, count)
        row, part = np.nonzero(self._sees[fans])
        num_seen = np.bincount(row, minlength=len(fans))
        place = (number + (0.5 + turn) % 1.0) / self.num_rays[fan] * np.repeat(num_seen, count)
        first = np.repeat(np.cumsum(num_seen) - num_seen, count)
        within, _ = np.modf(place)  # a quarter of the time of `% 1.0`, and the same bits
        share = part[first + place.astype("i8")] + within
        around, _ = np.modf((number + self._phase[fan] + 0.5 + turn) * _GOLDEN)
        return Rays(
            root=fan,
            place=share / self._num_parts[fan] * self._length_m[fan],
            angle_rad=around * self._open_rad[fan],
        )

    def neighbours(self, rays: Rays, scale: float) -> Rays:
        """Return the visible rays on four sides of others, at `scale` steps of the lattice."""
        near = rays.moved(scale * self._step_m[rays.root], scale * self._step_rad[rays.root])
        return near.take(np.flatnonzero(self._has(near)))

    def _has(self, rays: Rays) -> Bool[np.ndarray, "ray"]:
        num_parts = self._num_parts[rays.root]
        part = np.floor(rays.place / self._length_m[rays.root] * num_parts).astype("i8")
        on_edge = (part >= 0) & (part < num_parts)
        seen = self._sees[rays.root, np.clip(part, 0, num_parts - 1)]
        is_open = (rays.angle_rad > 0) & (rays.angle_rad < self._open_rad[rays.root])
        return on_edge & seen & is_open

    def in_space(self, rays: Rays) -> mi.Ray3f:
        """Return rays with their origins, a step off the edge, and directions."""
        fan, along, angle = unsigned(rays.root), real(rays.place), real(rays.angle_rad)
        origin, direction, face, upward = (dr.gather(mi.Point3f, part, fan) for part in self._frame)
        # Keller: outgoing rays keep the angle to the edge that the incoming ray has.
        before = dr.gather(mi.Float, self._before_m, fan) + along
        beside = dr.gather(mi.Float, self._beside_m, fan)
        length = dr.hypot(before, beside)
        around = dr.cos(angle) * face + dr.sin(angle) * upward
        onward = (before / length) * direction + (beside / length) * around
        return mi.Ray3f(origin + along * direction, mi.Vector3f(onward))


Bundle = Sphere | Fans
