"""First-order diffraction with reflections before and after it: R^a D R^b, a + 1 + b <= depth.

Prefixes (chain, edge) come from the triangles that the rays of the discovery hit; suffixes from
fans of rays on the Keller cone at visible points of each edge. A UE is matched in closed form: it
is unfolded through the suffix, which gives the diffraction point on the edge, and all reflection
points follow.
"""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.dataset.campaign import TracerSettings
from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.backtracking import (
    Ball,
    DevicePlanes,
    cross_plane,
    device_planes,
)
from raymark.generator.tracing.candidates import EDGE_SLOT, NO_SLOT, PathCandidates
from raymark.generator.tracing.chains import Bounce, ChainTable
from raymark.generator.tracing.exploration import explore
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.prefixes import Prefixes, find_prefixes
from raymark.generator.tracing.sionna_adapter import point, real, unsigned
from raymark.generator.tracing.suffixes import find_suffixes
from raymark.generator.tracing.tables import Wedges
from raymark.generator.tracing.targets import TargetTree, find_pairs

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
        bounces: list[Bounce],
        settings: TracerSettings,
        *,
        turn: float,
    ) -> None:
        """Find the visible edges, and what their diffracted rays meet.

        Args:
            scene: The scene.
            bs_position_m: The BS [m].
            bounces: What the rays from the BS have met.
            settings: Depth and density.
            turn: Shift of the points of the edges and of the fans, in steps.
        """
        self._scene = scene
        depth = settings.max_depth if settings.specular_reflection else 1
        discovery = settings.discovery
        self._groups: list[_Group] = []
        for bounce in bounces[:depth]:
            prefixes = find_prefixes(scene, bs_position_m, bounce, discovery.edge_points, turn=turn)
            num_after = depth - 1 - prefixes.plane.shape[1]
            bare = np.arange(len(prefixes.wedge))
            tables = [ChainTable(root=bare, plane=np.zeros((len(bare), 0), dtype="i8"))]
            if num_after > 0 and len(bare):
                find = explore if discovery.refinements else find_suffixes
                tables += find(scene, prefixes, num_after, discovery, turn=turn)
            self._groups += [_Group(scene, prefixes, table) for table in tables if len(table)]

    def candidates(
        self, tree: TargetTree, ue_position_m: Float[np.ndarray, "ue 3"], depth: int
    ) -> list[PathCandidates]:
        """Return the candidates whose points lie on their facets and whose legs are free."""
        ue = point(ue_position_m)
        return [part for group in self._groups for part in group.candidates(tree, ue, depth)]


class _Group:
    """Prefixes with suffixes of one length each: what one kernel can test."""

    def __init__(self, scene: LoadedScene, prefixes: Prefixes, suffixes: ChainTable) -> None:
        self._scene = scene
        self._prefixes, self._suffixes = prefixes, suffixes
        self._num_before = prefixes.plane.shape[1]
        self._num_after = suffixes.plane.shape[1]
        self._planes: DevicePlanes = device_planes(scene.planes)
        self._edge = _DeviceEdges(scene.wedges, prefixes)
        self._images = [point(prefixes.image_m[:, k]) for k in range(self._num_before + 1)]
        self._before = [unsigned(prefixes.plane[:, k]) for k in range(self._num_before)]
        self._after = [unsigned(suffixes.plane[:, k]) for k in range(self._num_after)]
        self._root = unsigned(suffixes.root)

    def candidates(self, tree: TargetTree, ue: mi.Point3f, depth: int) -> list[PathCandidates]:
        found = []
        for chain, ue_index in find_pairs(tree, len(self._suffixes), self._test):
            free = self._legs_are_free(chain, dr.gather(mi.Point3f, ue, unsigned(ue_index)))
            found.append(self._as_candidates(chain[free], ue_index[free], depth))
        return found

    def _test(
        self,
        chain: Int[np.ndarray, "pair"],
        centre_m: Float[np.ndarray, "pair 3"],
        radius_m: Float[np.ndarray, "pair"],
    ) -> Bool[np.ndarray, "pair"]:
        target = Ball(centre_m=point(centre_m), radius_m=real(radius_m))
        _, possible = self._walk(unsigned(chain), target)
        return np.array(possible)

    def _walk(self, row: mi.UInt, target: Ball) -> tuple[list[mi.Point3f], mi.Bool]:
        """Return the points from the UE back to the BS, and whether they can form a path."""
        prefix = dr.gather(mi.UInt, self._root, row)
        after = [dr.gather(mi.UInt, planes, row) for planes in self._after]
        unfolded = target.centre_m
        for plane in reversed(after):
            unfolded = self._planes.reflect(unfolded, plane)
        edge, possible = self._edge.diffract(
            prefix, Ball(centre_m=unfolded, radius_m=target.radius_m)
        )
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
        here = edge
        points.append(edge.centre_m)
        for k in reversed(range(self._num_before)):
            image = dr.gather(mi.Point3f, self._images[k + 1], prefix)
            plane = dr.gather(mi.UInt, self._before[k], prefix)
            source = Ball(centre_m=image, radius_m=mi.Float(0))
            here, crosses = cross_plane(source, here, plane, self._planes)
            possible &= crosses
            points.append(here.centre_m)
        points.append(dr.gather(mi.Point3f, self._images[0], prefix))
        return points, possible

    def _legs_are_free(
        self, chain: Int[np.ndarray, "pair"], ue: mi.Point3f
    ) -> Bool[np.ndarray, "pair"]:
        """Shoot any-hit rays along all legs, with 5 cm spared at both ends: never too strict."""
        points, _ = self._walk(unsigned(chain), Ball(centre_m=ue, radius_m=mi.Float(0)))
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
        return np.array(free)

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
        offset = prefixes.image_m[:, -1] - origin
        along = np.einsum("ij,ij->i", offset, direction)
        across = np.linalg.norm(offset - along[:, None] * direction, axis=1)
        self._origin, self._direction = point(origin), point(direction)
        self._length_m = real(wedges.length_m[wedge])
        self._normal_0 = point(wedges.normal_0[wedge])
        self._normal_n = point(wedges.normal_n[wedge])
        self._source_along_m = real(along)
        self._source_across_m = real(across)

    def diffract(self, prefix: mi.UInt, target: Ball) -> tuple[Ball, mi.Bool]:
        """Return the diffraction points towards a (ball of) targets, and whether they can exist.

        In the coordinates of the edge, the point divides the way along it from source to target
        by their distances from the edge: x = (z_s r_t + z_t r_s) / (r_s + r_t). It is monotonic
        in z_t and in r_t, so that the ends of their ranges bound it.
        """
        origin = dr.gather(mi.Point3f, self._origin, prefix)
        direction = dr.gather(mi.Point3f, self._direction, prefix)
        length = dr.gather(mi.Float, self._length_m, prefix)
        z_source = dr.gather(mi.Float, self._source_along_m, prefix)
        r_source = dr.gather(mi.Float, self._source_across_m, prefix)
        offset = target.centre_m - origin
        z = dr.dot(offset, direction)
        r = dr.norm(offset - z * direction)
        source, rho = (z_source, r_source), target.radius_m
        near, far = dr.maximum(r - rho, 0), r + rho
        low = dr.minimum(_between(source, (z - rho, near)), _between(source, (z - rho, far)))
        high = dr.maximum(_between(source, (z + rho, near)), _between(source, (z + rho, far)))
        outside_0 = dr.dot(offset, dr.gather(mi.Point3f, self._normal_0, prefix)) + rho
        outside_n = dr.dot(offset, dr.gather(mi.Point3f, self._normal_n, prefix)) + rho
        possible = (high > -_EDGE_SLACK_M) & (low < length + _EDGE_SLACK_M)
        possible &= (outside_0 > -_FACE_SLACK_M) | (outside_n > -_FACE_SLACK_M)
        # For a point the mean of both ends is x itself; for a ball only what is on the edge counts.
        low, high = dr.clip(low, 0, length), dr.clip(high, 0, length)
        x = dr.select(rho > 0, (low + high) / 2, _between(source, (z, r)))
        radius = dr.select(rho > 0, (high - low) / 2 + _EDGE_SLACK_M, 0)
        return Ball(centre_m=origin + x * direction, radius_m=radius), possible


def _between(source: tuple[mi.Float, mi.Float], target: tuple[mi.Float, mi.Float]) -> mi.Float:
    """Divide the way along an edge by the distances from it; each end is (along, across) [m]."""
    (z_source, r_source), (z_target, r_target) = source, target
    return (z_source * r_target + z_target * r_source) / (r_source + r_target)
