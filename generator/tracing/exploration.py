"""Discovery by exploration: rays are shot more densely where they find what is new.

A ray that is the first to find a chain lies where chains are small. Its neighbours at half the
step are shot next, and so on: what is large costs few rays, and what is small is not stepped over.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.beams import BeamTable
from raymark.generator.tracing.bundles import Bundle, Fans, Rays, Sphere
from raymark.generator.tracing.chain_book import ChainBook
from raymark.generator.tracing.chains import ChainTable, follow
from raymark.generator.tracing.loaded_scene import LoadedScene

_RAYS_PER_LAUNCH = 4_000_000
_MARGIN_STEPS = 2.0
"""Chains reach beyond the rays that were shot through them: by this many steps of the lattice."""

_Watch = Callable[[int, Int[np.ndarray, "ray"], Rays], None]
"""Takes a bounce, the numbers of the chains with it, and the rays that made it."""


class _Extents:
    """Least and greatest coordinates of the rays of each chain."""

    def __init__(self, num_coordinates: int) -> None:
        self._low = [np.zeros(0) for _ in range(num_coordinates)]
        self._high = [np.zeros(0) for _ in range(num_coordinates)]

    def widen(self, chain: Int[np.ndarray, "ray"], coordinates: list[np.ndarray]) -> None:
        more = max(0, int(chain.max(initial=-1)) + 1 - len(self._low[0]))
        none = np.full(more, np.inf)
        # One coordinate at a time: `at` takes eight times as long with two axes.
        for k, values in enumerate(coordinates):
            self._low[k] = np.concatenate([self._low[k], none])
            self._high[k] = np.concatenate([self._high[k], -none])
            np.minimum.at(self._low[k], chain, values)
            np.maximum.at(self._high[k], chain, values)

    def take(self, rows: Int[np.ndarray, "row"]) -> tuple[np.ndarray, np.ndarray]:
        low, high = (np.column_stack([x[rows] for x in ends]) for ends in (self._low, self._high))
        return low, high


def _cones(
    low: Float[np.ndarray, "chain 3"], high: Float[np.ndarray, "chain 3"], margin_rad: float
) -> tuple[Float[np.ndarray, "chain 3"], Float[np.ndarray, "chain"]]:
    """Return axes, and the angles about them that hold boxes about unit vectors and a margin."""
    middle = (low + high) / 2
    length = np.linalg.norm(middle, axis=1)
    # A chord of the sphere subtends at most twice the arc sine of its half.
    half = np.linalg.norm(high - low, axis=1) / 2
    angle = 2 * np.arcsin(np.minimum(half, 1)) + margin_rad
    return middle / np.maximum(length, 1e-9)[:, None], angle


def explore_sphere(
    scene: LoadedScene,
    bs_position_m: Float[np.ndarray, "3"],
    num_bounces: int,
    discovery: Discovery,
    *,
    turn: float,
) -> list[BeamTable]:
    """Return the beams that rays from the BS make, by the number of reflections, from none.

    Args:
        scene: The scene.
        bs_position_m: The BS [m].
        num_bounces: How often rays are reflected.
        discovery: Number of rays and of refinements.
        turn: Turn of the rays about z [turns].
    """
    book = ChainBook(num_bounces, scene.planes.count)
    extents = [_Extents(3) for _ in range(num_bounces)]
    sphere = Sphere(bs_position_m, discovery.discovery_rays)

    def watch(bounce: int, chain: Int[np.ndarray, "ray"], rays: Rays) -> None:
        extents[bounce].widen(chain, [*sphere.directions(rays).T])

    rays = sphere.lattice(turn=turn)
    _refine(scene, sphere, rays, book, refinements=discovery.num_refinements, watch=watch)
    everywhere = BeamTable(
        plane=np.zeros((1, 0), dtype="i8"),
        axis=np.array([[0.0, 0.0, 1.0]]),
        half_angle_rad=np.array([np.pi]),
    )
    tables = [everywhere]
    for rows, extent in zip(book.sequences(), extents, strict=True):
        order = np.lexsort(rows.T[::-1])
        axis, half_angle = _cones(*extent.take(order), sphere.step_rad)
        tables.append(BeamTable(plane=rows[order, 1:], axis=axis, half_angle_rad=half_angle))
    return tables


def explore_fans(
    scene: LoadedScene, fans: Fans, num_bounces: int, refinements: int, *, turn: float
) -> list[ChainTable]:
    """Return the chains that rays on the Keller cones meet, by length.

    Args:
        scene: The scene.
        fans: All of these rays.
        num_bounces: Greatest length.
        refinements: How often the step is halved.
        turn: Shift of the lattice, in steps.
    """
    book = ChainBook(num_bounces, scene.planes.count)
    extents = [_Extents(2) for _ in range(num_bounces)]

    def watch(bounce: int, chain: Int[np.ndarray, "ray"], rays: Rays) -> None:
        extents[bounce].widen(chain, [rays.place, rays.angle_rad])

    for piece in fans.pieces(_RAYS_PER_LAUNCH):
        rays = fans.lattice(piece, turn=turn)
        _refine(scene, fans, rays, book, refinements=refinements, watch=watch)
    tables = []
    for rows, extent in zip(book.sequences(), extents, strict=True):
        order = np.lexsort(rows.T[::-1])
        root, (low, high) = rows[order, 0], extent.take(order)
        margin = _MARGIN_STEPS * fans.step(root)
        tables.append(
            ChainTable(root=root, plane=rows[order, 1:], low=low - margin, high=high + margin)
        )
    return tables


def _refine(
    scene: LoadedScene,
    bundle: Bundle,
    rays: Rays,
    book: ChainBook,
    *,
    refinements: int,
    watch: _Watch,
) -> None:
    """Shoot rays, then the neighbours of those that find something, at ever smaller steps."""
    scale = 1.0
    for _ in range(refinements + 1):
        starts = range(0, len(rays), _RAYS_PER_LAUNCH)
        parts = [rays.take(slice(start, start + _RAYS_PER_LAUNCH)) for start in starts]
        found = [_shoot(scene, bundle, part, book, watch) for part in parts]
        if not found:
            return
        scale /= 2
        rays = bundle.neighbours(rays.take(np.flatnonzero(np.concatenate(found))), scale)


def _shoot(
    scene: LoadedScene,
    bundle: Bundle,
    rays: Rays,
    book: ChainBook,
    watch: _Watch,
) -> Bool[np.ndarray, "ray"]:
    """Enter what rays meet, and tell which have found something first."""
    found = np.zeros(len(rays), dtype=bool)
    ray, chain = np.arange(len(rays)), rays.root
    for bounce, (alive, triangle) in enumerate(
        follow(scene, bundle.in_space(rays), book.num_bounces)
    ):
        ray = ray[alive]
        plane = scene.planes.of_triangle[triangle]
        chain, is_first = book.enter(bounce, chain[alive], plane)
        found[ray[is_first]] = True
        watch(bounce, chain, rays.take(ray))
    return found
