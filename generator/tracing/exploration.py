"""Discovery by exploration: rays are shot more densely where they find what is new.

A ray that is the first to find a chain lies where chains are small. Its neighbours at half the
step are shot next, and so on: what is large costs few rays, and what is small is not stepped over.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.bundles import Bundle, Fans, Rays, Sphere
from raymark.generator.tracing.chain_book import ChainBook
from raymark.generator.tracing.chains import Bounce, ChainTable, follow
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.prefixes import Prefixes

_RAYS_PER_LAUNCH = 4_000_000

_Entry = Callable[[int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Takes a bounce, the number of each ray's chain before it (the root at the first) and the triangle
hit; returns the number of the chain with it, and which rays have found something first."""


def explore_sphere(
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
        discovery: Number of rays and of refinements.
        turn: Turn of the rays about z [turns].
    """
    chains = ChainBook(num_bounces, scene.planes.count)
    hits = ChainBook(num_bounces, scene.triangles.count)

    def enter(
        bounce: int, before: np.ndarray, triangle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        # Every triangle is news, since its edges may diffract.
        _, is_first = hits.enter(bounce, before, triangle)
        chain, _ = chains.enter(bounce, before, scene.planes.of_triangle[triangle])
        return chain, is_first

    sphere = Sphere(bs_position_m, discovery.discovery_rays)
    rays = sphere.lattice(turn=turn)
    _refine(scene, sphere, rays, enter, num_bounces=num_bounces, discovery=discovery)
    tables = [np.zeros((1, 1), dtype="i8"), *chains.sequences()]
    bounces = []
    for k in range(num_bounces):
        before, triangle = hits.entries(k)
        bounces.append(
            Bounce(
                chains=_table(tables[k + 1]),
                before=ChainTable(root=tables[k][before, 0], plane=tables[k][before, 1:]),
                triangle=triangle,
            )
        )
    return bounces


def explore_fans(
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
    chains = ChainBook(num_bounces, scene.planes.count)

    def enter(
        bounce: int, before: np.ndarray, triangle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return chains.enter(bounce, before, scene.planes.of_triangle[triangle])

    fans = Fans(scene.wedges, prefixes, discovery.cone_rays)
    for piece in fans.pieces(_RAYS_PER_LAUNCH):
        rays = fans.lattice(piece, turn=turn)
        _refine(scene, fans, rays, enter, num_bounces=num_bounces, discovery=discovery)
    return [_table(rows) for rows in chains.sequences()]


def _refine(
    scene: LoadedScene,
    bundle: Bundle,
    rays: Rays,
    enter: _Entry,
    *,
    num_bounces: int,
    discovery: Discovery,
) -> None:
    """Shoot rays, then the neighbours of those that find something, at ever smaller steps."""
    scale = 1.0
    for _ in range(discovery.refinements + 1):
        starts = range(0, len(rays), _RAYS_PER_LAUNCH)
        parts = [rays.take(slice(start, start + _RAYS_PER_LAUNCH)) for start in starts]
        found = [_shoot(scene, bundle, part, enter, num_bounces) for part in parts]
        scale /= 2
        rays = bundle.neighbours(rays.take(np.flatnonzero(np.concatenate(found))), scale)
        if len(rays) == 0:
            return


def _shoot(
    scene: LoadedScene, bundle: Bundle, rays: Rays, enter: _Entry, num_bounces: int
) -> Bool[np.ndarray, "ray"]:
    """Enter what rays meet, and tell which have found something first."""
    found = np.zeros(len(rays), dtype=bool)
    ray, chain = np.arange(len(rays)), rays.root
    for bounce, (alive, triangle) in enumerate(follow(scene, bundle.in_space(rays), num_bounces)):
        ray = ray[alive]
        chain, is_first = enter(bounce, chain[alive], triangle)
        found[ray[is_first]] = True
    return found


def _table(rows: Int[np.ndarray, "chain column"]) -> ChainTable:
    """Return roots and planes as a table in lexicographic order."""
    ordered = rows[np.lexsort(rows.T[::-1])]
    return ChainTable(root=ordered[:, 0], plane=ordered[:, 1:])
