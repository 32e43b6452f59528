"""Discovery: which chains of planes a bundle of rays meets, independently of any receiver."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.sionna_adapter import point, unsigned

_RAYS_PER_LAUNCH = 4_000_000
_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTable:
    """Distinct chains of planes of one length, each from a root (the BS, or a point of an edge).

    Attributes:
        root: Where the chain starts.
        plane: Planes in the order of the rays.
    """

    root: Int[np.ndarray, "chain"]
    plane: Int[np.ndarray, "chain length"]

    def __len__(self) -> int:
        """Return the number of chains."""
        return len(self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """What all rays have met at one bounce.

    Attributes:
        chains: Distinct chains up to and with this bounce.
        before: Chain before the bounce, for each distinct pair of it and the triangle hit.
        triangle: Triangle of each of these pairs.
    """

    chains: ChainTable
    before: ChainTable
    triangle: Int[np.ndarray, "pair"]


@lru_cache(maxsize=2)
def sphere_directions(num_rays: int, *, turn: float = 0.0) -> Float[np.ndarray, "ray 3"]:
    """Return a Fibonacci lattice over the sphere (Gonzalez, Math. Geosci. 42, 2010)."""
    index = np.arange(num_rays) + 0.5
    azimuth = 2 * np.pi * ((index * _GOLDEN + turn) % 1.0)
    cosine = 1 - 2 * index / num_rays
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=-1)


def shoot_sphere(
    scene: LoadedScene,
    bs_position_m: Float[np.ndarray, "3"],
    num_bounces: int,
    discovery: Discovery,
    *,
    turn: float,
) -> list[Bounce]:
    """Return what rays from the BS meet: chains, and the triangles beyond each.

    Args:
        scene: The scene.
        bs_position_m: The BS [m].
        num_bounces: How often rays are reflected.
        discovery: Number of rays.
        turn: Turn of the rays about z [turns].
    """
    rays = sphere_directions(discovery.discovery_rays, turn=turn)
    root = np.zeros(len(rays), dtype="i8")
    return discover(scene, np.broadcast_to(bs_position_m, rays.shape), rays, root, num_bounces)


def discover(
    scene: LoadedScene,
    origin_m: Float[np.ndarray, "ray 3"],
    direction: Float[np.ndarray, "ray 3"],
    root: Int[np.ndarray, "ray"],
    num_bounces: int,
) -> list[Bounce]:
    """Follow rays through specular reflections and collect the distinct chains of planes.

    Exact: chains are numbered by their keys, not by hashes that may collide; none is ever lost.
    """
    starts = range(0, max(1, len(root)), _RAYS_PER_LAUNCH)
    parts = [slice(start, start + _RAYS_PER_LAUNCH) for start in starts]
    launches = [_launch(scene, origin_m[s], direction[s], root[s], num_bounces) for s in parts]
    return [_merge([launch[k] for launch in launches]) for k in range(num_bounces)]


def _launch(
    scene: LoadedScene,
    origin_m: Float[np.ndarray, "ray 3"],
    direction: Float[np.ndarray, "ray 3"],
    root: Int[np.ndarray, "ray"],
    num_bounces: int,
) -> list[Bounce]:
    """Follow one bundle of rays."""
    roots, state = _number(root)
    table = ChainTable(root=roots, plane=np.zeros((len(roots), 0), dtype="i8"))
    bounces: list[Bounce] = []
    ray = mi.Ray3f(point(origin_m), mi.Vector3f(point(direction)))
    for alive, triangle in follow(scene, ray, num_bounces):
        bounce, state = _extend(table, state[alive], triangle, scene)
        table = bounce.chains
        bounces.append(bounce)
    return bounces + [_nothing(k) for k in range(len(bounces), num_bounces)]


def follow(
    scene: LoadedScene, ray: mi.Ray3f, num_bounces: int
) -> Iterator[tuple[Int[np.ndarray, "alive"], Int[np.ndarray, "alive"]]]:
    """Reflect rays at what they meet, and yield at each bounce those that met something.

    Yields:
        Which of the rays of the bounce before are left, and the triangle that each has hit.
    """
    first_of_shape = unsigned(scene.triangles.first_of_shape)
    for _ in range(num_bounces):
        if dr.width(ray.o) == 0:
            return
        hit = scene.sionna.mi_scene.ray_intersect(
            ray, ray_flags=mi.RayFlags.Minimal, coherent=False
        )
        hit.n = dr.select(dr.dot(hit.n, ray.d) > 0, -hit.n, hit.n)
        onward = hit.spawn_ray(ray.d - 2 * dr.dot(ray.d, hit.n) * hit.n)
        shape = dr.reinterpret_array(mi.UInt, hit.shape)
        triangle = dr.gather(mi.UInt, first_of_shape, shape, hit.is_valid()) + hit.prim_index
        dr.eval(triangle, onward)
        alive = dr.compress(hit.is_valid())
        yield np.array(alive), np.array(dr.gather(mi.UInt, triangle, alive)).astype("i8")
        ray = mi.Ray3f(
            dr.gather(mi.Point3f, onward.o, alive), dr.gather(mi.Vector3f, onward.d, alive)
        )


def _extend(
    table: ChainTable,
    state: Int[np.ndarray, "ray"],
    triangle: Int[np.ndarray, "ray"],
    scene: LoadedScene,
) -> tuple[Bounce, Int[np.ndarray, "ray"]]:
    """Append to each ray's chain the plane that it hit; return it and the chain of each ray."""
    num_triangles, num_planes = scene.triangles.count, scene.planes.count
    key, pair = _number(state * num_triangles + triangle)
    parent, hit = np.divmod(key, num_triangles)
    plane = scene.planes.of_triangle[hit]
    chain_key, chain = _number(parent * num_planes + plane)
    before, last_plane = np.divmod(chain_key, num_planes)
    bounce = Bounce(
        chains=ChainTable(
            root=table.root[before], plane=np.column_stack([table.plane[before], last_plane])
        ),
        before=ChainTable(root=table.root[parent], plane=table.plane[parent]),
        triangle=hit,
    )
    return bounce, chain[pair]


def _number(
    values: Int[np.ndarray, "n"],
) -> tuple[Int[np.ndarray, "distinct"], Int[np.ndarray, "n"]]:
    """Return the distinct values in order, and the number of each value among them.

    As `numpy.unique`, but faster for few distinct values among many.
    """
    number, distinct = pd.factorize(values, sort=True)
    return distinct, number


def _nothing(length_before: int) -> Bounce:
    none = np.zeros(0, dtype="i8")
    return Bounce(
        chains=ChainTable(root=none, plane=np.zeros((0, length_before + 1), dtype="i8")),
        before=ChainTable(root=none, plane=np.zeros((0, length_before), dtype="i8")),
        triangle=none,
    )


def _merge(bounces: list[Bounce]) -> Bounce:
    """Unite the same bounce of several launches, each row once, in lexicographic order."""
    chains = [np.column_stack([b.chains.root, b.chains.plane]) for b in bounces]
    pairs = [np.column_stack([b.before.root, b.before.plane, b.triangle]) for b in bounces]
    chain = np.unique(np.concatenate(chains), axis=0)
    pair = np.unique(np.concatenate(pairs), axis=0)
    return Bounce(
        chains=ChainTable(root=chain[:, 0], plane=chain[:, 1:]),
        before=ChainTable(root=pair[:, 0], plane=pair[:, 1:-1]),
        triangle=pair[:, -1],
    )
