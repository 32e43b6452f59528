"""First-order diffraction with reflections before and after it: R^a D R^b, a + 1 + b <= depth.

Prefixes (chain, edge) are the edges that the BS sees through each of its beams; suffixes come from
rays on the Keller cones of their visible parts. A UE is matched in closed form: it
is unfolded through the suffix, which gives the diffraction point on the edge, and all reflection
points follow.
"""

import copy
import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.backtracking import (
    Ball,
    DevicePlanes,
    ImageWalk,
    cross_plane,
    device_planes,
)
from raymark.generator.tracing.beams import BeamTable
from raymark.generator.tracing.bundles import Fans
from raymark.generator.tracing.candidates import EDGE_SLOT, NO_SLOT, PathCandidates
from raymark.generator.tracing.chains import ChainTable, bare_chains, join_chains
from raymark.generator.tracing.exploration import explore_fans
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.openings import is_open
from raymark.generator.tracing.prefixes import EdgePoints, Prefixes, find_prefixes, join_prefixes
from raymark.generator.tracing.sionna_adapter import point, real, unsigned
from raymark.generator.tracing.tables import Wedges
from raymark.generator.tracing.targets import PairSearch, TargetTree

_MOST_POINTS = 10
"""Times the points of the settings are tried along an edge at most, however dense its rays are."""

IsOffered = Callable[[np.ndarray, int, np.ndarray], np.ndarray]
"""Takes UEs, a number of reflections, and edges; tells which UEs get what leaves which edge after
so many reflections."""

_EDGE_SLACK_M = 0.02
_FACE_SLACK_M = 1e-3
_SHADOW_SLACK_M = 0.05
_LEAST_LEG_M = 0.12


class DiffractionSearch:
    """All prefixes and suffixes of one site, ready to be matched with UEs."""

    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[np.ndarray, "3"],
        tables: list[BeamTable],
        discovery: Discovery,
        *,
        turn: float,
        effort: Float[np.ndarray, "before wedge"] | None = None,
    ) -> None:
        """Find the visible edges, and what their diffracted rays meet.

        Args:
            scene: The scene.
            bs_position_m: The BS [m].
            tables: Beams of the BS, by the number of their reflections, from none.
            discovery: Density of points and rays.
            turn: Shift of the points of the edges and of the fans, in steps.
            effort: How much denser than by the settings the rays are that leave each edge, by
                the number of reflections before it; where it is 0, the edge is left out. 1
                everywhere if not given. What leaves an edge then hangs on no other.
        """
        self._groups: list[_Group] = []
        number = scene.wedges.count
        density = np.ones((len(tables), number)) if effort is None else effort
        more_points = np.minimum(density.max(axis=0), _MOST_POINTS)
        everywhere = EdgePoints(scene, discovery.edge_points * more_points, turn=turn)
        for before, beams in enumerate(tables):
            points = everywhere.of(density[before] > 0)
            if len(points.wedge) == 0:
                continue
            prefixes = find_prefixes(scene, bs_position_m, beams, points)
            num_after = len(tables) - 1 - before
            chains = [bare_chains(len(prefixes.wedge))]
            if num_after > 0 and len(prefixes.wedge):
                rays_per_m = discovery.cone_rays * density[before, prefixes.wedge]
                # Numbers of prefixes hang on the other edges that are asked for; wedges do not.
                phase = np.arange(len(prefixes.wedge)) if effort is None else prefixes.wedge
                fans = Fans(scene.wedges, points.num_parts, prefixes, rays_per_m, phase)
                chains += explore_fans(scene, fans, num_after, discovery.num_refinements, turn=turn)
            self._groups += [
                _Group(scene, bs_position_m, prefixes.undivided(), table)
                for table in chains
                if len(table)
            ]

    def joined(self, other: "DiffractionSearch") -> "DiffractionSearch":
        """Return one search for what leaves the edges of two, none of which is in both."""
        result = copy.copy(self)
        result._groups = list(self._groups)
        for group in other._groups:
            alike = [i for i, own in enumerate(result._groups) if own.lengths == group.lengths]
            if alike:
                result._groups[alike[0]] = result._groups[alike[0]].joined(group)
            else:
                result._groups.append(group)
        return result

    def candidates(
        self,
        tree: TargetTree,
        ue_position_m: Float[np.ndarray, "ue 3"],
        depth: int,
        is_offered: IsOffered | None = None,
    ) -> list[PathCandidates]:
        """Return the candidates whose points lie on their facets and whose legs are free.

        Args:
            tree: The UEs.
            ue_position_m: The UEs [m].
            depth: Number of slots of a candidate.
            is_offered: Tells which UEs get what leaves which edge; all get all if not given.
        """
        ue = point(ue_position_m)
        return [
            part for group in self._groups for part in group.candidates(tree, ue, depth, is_offered)
        ]


class _Group:
    """Prefixes with suffixes of one length each: what one kernel can test."""

    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[np.ndarray, "3"],
        prefixes: Prefixes,
        suffixes: ChainTable,
    ) -> None:
        self._scene, self._bs_m = scene, bs_position_m
        self._prefixes, self._suffixes = prefixes, suffixes
        self._num_before = prefixes.plane.shape[1]
        self._num_after = suffixes.plane.shape[1]
        self._planes: DevicePlanes = device_planes(scene.planes)
        self._edge = _DeviceEdges(scene.wedges, prefixes)
        self._before = ImageWalk(bs_position_m, prefixes.plane, scene.planes)
        self._after = [unsigned(suffixes.plane[:, k]) for k in range(self._num_after)]
        self._root = unsigned(suffixes.root)
        self._low = [real(suffixes.low[:, k]) for k in range(2)]
        self._high = [real(suffixes.high[:, k]) for k in range(2)]
        self._pairs = PairSearch(len(suffixes), self._leaves, self._crosses)

    @property
    def lengths(self) -> tuple[int, int]:
        """Number of reflections before and after the diffraction."""
        return self._num_before, self._num_after

    def joined(self, other: "_Group") -> "_Group":
        """Return one group with the chains of two of the same lengths."""
        suffixes = join_chains(self._suffixes, other._suffixes, len(self._prefixes.wedge))
        prefixes = join_prefixes(self._prefixes, other._prefixes)
        return _Group(self._scene, self._bs_m, prefixes, suffixes)

    def candidates(
        self, tree: TargetTree, ue: mi.Point3f, depth: int, is_offered: IsOffered | None
    ) -> list[PathCandidates]:
        found = []
        for chain, ue_index in self._pairs.find(tree):
            rows = np.arange(len(chain))
            if is_offered is not None:
                wedge = self._prefixes.wedge[self._suffixes.root[chain]]
                rows = np.flatnonzero(is_offered(ue_index, self._num_before, wedge))
            if len(rows):
                targets = dr.gather(mi.Point3f, ue, unsigned(ue_index[rows]))
                rows = rows[self._legs_are_free(chain[rows], targets)]
                found.append(self._as_candidates(chain[rows], ue_index[rows], depth))
        return found

    def _leaves(self, row: mi.UInt, target: Ball) -> mi.Bool:
        return self._leave(row, target)[1]

    def _crosses(self, row: mi.UInt, target: Ball) -> mi.Bool:
        return self._walk(row, target)[1]

    def _leave(self, row: mi.UInt, target: Ball) -> tuple[Ball, mi.Bool]:
        """Return where the ways to targets leave the edge, and whether they can."""
        unfolded = target.centre_m
        for planes in reversed(self._after):
            unfolded = self._planes.reflect(unfolded, dr.gather(mi.UInt, planes, row))
        return self._edge.diffract(
            dr.gather(mi.UInt, self._root, row),
            Ball(centre_m=unfolded, radius_m=target.radius_m),
            low=[dr.gather(mi.Float, low, row) for low in self._low],
            high=[dr.gather(mi.Float, high, row) for high in self._high],
        )

    def _walk(self, row: mi.UInt, target: Ball) -> tuple[list[mi.Point3f], mi.Bool]:
        """Return the points from the UE back to the BS, and whether they can form a path."""
        prefix = dr.gather(mi.UInt, self._root, row)
        after = [dr.gather(mi.UInt, planes, row) for planes in self._after]
        edge, possible = self._leave(row, target)
        images = [edge.centre_m]
        for plane in after:
            images.append(self._planes.reflect(images[-1], plane))
        points = [target.centre_m]
        here = target
        for plane, image in zip(reversed(after), reversed(images[1:]), strict=True):
            source = Ball(centre_m=image, radius_m=edge.radius_m)
            here, crosses = cross_plane(source, here, plane, self._planes)
            possible &= crosses
            points.append(here.centre_m)
        crossings, crosses = self._before.back(prefix, edge)
        points += [edge.centre_m, *crossings, self._before.source(prefix)]
        return points, possible & crosses

    def _legs_are_free(
        self, chain: Int[np.ndarray, "pair"], ue: mi.Point3f
    ) -> Bool[np.ndarray, "pair"]:
        """Shoot any-hit rays along all legs, with 5 cm spared at both ends, and about the edge."""
        row = unsigned(chain)
        points, _ = self._walk(row, Ball(centre_m=ue, radius_m=mi.Float(0)))
        dr.eval(points)
        free = dr.full(mi.Bool, True, len(chain))
        for start, end in itertools.pairwise(points):
            leg = end - start
            length = dr.norm(leg)
            direction = mi.Vector3f(leg / length)
            ray = mi.Ray3f(start + _SHADOW_SLACK_M * direction, direction)
            ray.maxt = dr.maximum(length - 2 * _SHADOW_SLACK_M, 0)
            active = free & (length > _LEAST_LEG_M)
            free &= ~self._scene.sionna.mi_scene.ray_test(ray, active=active)
        edge = points[self._num_after + 1]
        prefix = dr.gather(mi.UInt, self._root, row)
        return np.array(self._edge.is_open(self._scene, prefix, edge, free))

    def _as_candidates(
        self, chain: Int[np.ndarray, "pair"], ue_index: Int[np.ndarray, "pair"], depth: int
    ) -> PathCandidates:
        prefix = self._suffixes.root[chain]
        slot = np.full((len(chain), depth), NO_SLOT)
        slot[:, : self._num_before] = self._prefixes.plane[prefix]
        slot[:, self._num_before] = EDGE_SLOT
        first = self._num_before + 1
        slot[:, first : first + self._num_after] = self._suffixes.plane[chain]
        return PathCandidates(
            ue_index=ue_index,
            slot=slot,
            wedge=self._prefixes.wedge[prefix],
            flip=self._prefixes.flip[prefix],
        )


class _DeviceEdges:
    """The edges of some prefixes as Dr.Jit arrays."""

    def __init__(self, wedges: Wedges, prefixes: Prefixes) -> None:
        wedge = prefixes.wedge
        origin, direction = wedges.origin_m[wedge], wedges.direction[wedge]
        offset = prefixes.image_m - origin
        along = np.einsum("ij,ij->i", offset, direction)
        across = np.linalg.norm(offset - along[:, None] * direction, axis=1)
        self._origin, self._direction = point(origin), point(direction)
        self._length_m = real(wedges.length_m[wedge])
        self._normal_0 = point(wedges.normal_0[wedge])
        self._normal_n = point(wedges.normal_n[wedge])
        self._along_face = point(wedges.along_face[wedge])
        self._source_along_m = real(along)
        self._source_across_m = real(across)

    def is_open(
        self, scene: LoadedScene, prefix: mi.UInt, edge: mi.Point3f, active: mi.Bool
    ) -> mi.Bool:
        """Return whether nothing else fills the air about points on the edges."""
        normal_0, normal_n, along_face = (
            dr.gather(mi.Point3f, column, prefix)
            for column in (self._normal_0, self._normal_n, self._along_face)
        )
        return is_open(scene.sionna.mi_scene, edge, (normal_0, normal_n), along_face, active)

    def diffract(
        self, prefix: mi.UInt, target: Ball, low: list[mi.Float], high: list[mi.Float]
    ) -> tuple[Ball, mi.Bool]:
        """Return the diffraction points towards a (ball of) targets, and whether they can exist.

        In the coordinates of the edge, the point divides the way along it from source to target
        by their distances from the edge: x = (z_s r_t + z_t r_s) / (r_s + r_t). It is monotonic
        in z_t and in r_t, so that the ends of their ranges bound it.

        Args:
            prefix: Whose edge it is.
            target: The targets, unfolded.
            low: Least place on the edge [m] and angle about it [rad].
            high: Greatest place and angle.
        """
        origin = dr.gather(mi.Point3f, self._origin, prefix)
        direction = dr.gather(mi.Point3f, self._direction, prefix)
        normal_0 = dr.gather(mi.Point3f, self._normal_0, prefix)
        z_source = dr.gather(mi.Float, self._source_along_m, prefix)
        r_source = dr.gather(mi.Float, self._source_across_m, prefix)
        offset = target.centre_m - origin
        z = dr.dot(offset, direction)
        r = dr.norm(offset - z * direction)
        source, rho = (z_source, r_source), target.radius_m
        outside_0 = dr.dot(offset, normal_0)
        outside_n = dr.dot(offset, dr.gather(mi.Point3f, self._normal_n, prefix))
        possible = dr.maximum(outside_0, outside_n) + rho > -_FACE_SLACK_M
        angle = dr.atan2(outside_0, dr.dot(offset, dr.gather(mi.Point3f, self._along_face, prefix)))
        turned = (angle - (low[1] + high[1]) / 2) / (2 * dr.pi)
        turned = 2 * dr.pi * dr.abs(turned - dr.round(turned))
        possible &= (rho >= r) | (turned < (high[1] - low[1]) / 2 + dr.safe_asin(rho / r))

        near, far = dr.maximum(r - rho, 0), r + rho
        first = dr.minimum(_between(source, (z - rho, near)), _between(source, (z - rho, far)))
        last = dr.maximum(_between(source, (z + rho, near)), _between(source, (z + rho, far)))
        start = dr.maximum(low[0], 0)
        end = dr.minimum(high[0], dr.gather(mi.Float, self._length_m, prefix))
        possible &= (last > start - _EDGE_SLACK_M) & (first < end + _EDGE_SLACK_M)
        # For a point the mean of both ends is x itself; for a ball only what is on the edge counts.
        first, last = dr.clip(first, start, end), dr.clip(last, start, end)
        x = dr.select(rho > 0, (first + last) / 2, _between(source, (z, r)))
        radius = dr.select(rho > 0, (last - first) / 2 + _EDGE_SLACK_M, 0)
        return Ball(centre_m=origin + x * direction, radius_m=radius), possible


def _between(source: tuple[mi.Float, mi.Float], target: tuple[mi.Float, mi.Float]) -> mi.Float:
    """Divide the way along an edge by the distances from it; each end is (along, across) [m]."""
    (z_source, r_source), (z_target, r_target) = source, target
    return (z_source * r_target + z_target * r_source) / (r_source + r_target)
