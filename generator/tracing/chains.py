"""Chains of planes: what rays meet one after another, independently of any receiver."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.loaded_scene import LoadedScene


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTable:
    """Distinct chains of planes of one length, each from a root.

    Attributes:
        root: Where the chain starts: the number of a prefix.
        plane: Planes in the order of the rays.
        low: Least place on the edge [m] and angle about it [rad] that its rays leave at.
        high: Greatest place and angle.
    """

    root: Int[np.ndarray, "chain"]
    plane: Int[np.ndarray, "chain length"]
    low: Float[np.ndarray, "chain 2"]
    high: Float[np.ndarray, "chain 2"]

    def __len__(self) -> int:
        """Return the number of chains."""
        return len(self.root)


def bare_chains(num_roots: int) -> ChainTable:
    """Return the chains of no plane, whose rays leave anywhere."""
    return ChainTable(
        root=np.arange(num_roots),
        plane=np.zeros((num_roots, 0), dtype="i8"),
        low=np.zeros((num_roots, 2)),
        high=np.full((num_roots, 2), [np.inf, 2 * np.pi]),
    )


def join_chains(first: ChainTable, second: ChainTable, num_roots: int) -> ChainTable:
    """Return the chains of two tables of one length; the roots of the second count on."""
    return ChainTable(
        root=np.concatenate([first.root, second.root + num_roots]),
        plane=np.concatenate([first.plane, second.plane]),
        low=np.concatenate([first.low, second.low]),
        high=np.concatenate([first.high, second.high]),
    )


def follow(
    scene: LoadedScene, ray: mi.Ray3f, num_bounces: int
) -> Iterator[tuple[Int[np.ndarray, "alive"], Int[np.ndarray, "alive"]]]:
    """Reflect rays at what they meet, and yield at each bounce those that met something.

    Yields:
        Which of the rays of the bounce before are left, and the triangle that each has hit.
    """
    for _ in range(num_bounces):
        if dr.width(ray.o) == 0:
            return
        hit = scene.sionna.mi_scene.ray_intersect(
            ray, ray_flags=mi.RayFlags.Minimal, coherent=False
        )
        hit.n = dr.select(dr.dot(hit.n, ray.d) > 0, -hit.n, hit.n)
        onward = hit.spawn_ray(ray.d - 2 * dr.dot(ray.d, hit.n) * hit.n)
        triangle = scene.triangle_hit(hit)
        dr.eval(triangle, onward)
        alive = dr.compress(hit.is_valid())
        yield np.array(alive), np.array(dr.gather(mi.UInt, triangle, alive)).astype("i8")
        ray = mi.Ray3f(
            dr.gather(mi.Point3f, onward.o, alive), dr.gather(mi.Vector3f, onward.d, alive)
        )
