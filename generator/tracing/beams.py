"""Beams: chains of reflections from the BS, each with a cone that holds the rays that found it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.backtracking import Ball, ImageWalk, source_images
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.sionna_adapter import point, real, unsigned

_WIDEST_RAD = 1.2
"""Cones that are wider hold all directions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamTable:
    """Distinct chains of planes of one length, and where their rays go.

    Attributes:
        plane: Planes in the order of the rays.
        axis: Middle of the directions in which the rays leave the BS; a unit vector.
        half_angle_rad: Angle about it that holds them all, and the gaps between them.
    """

    plane: Int[np.ndarray, "chain length"]
    axis: Float[np.ndarray, "chain 3"]
    half_angle_rad: Float[np.ndarray, "chain"]

    def __len__(self) -> int:
        """Return the number of chains."""
        return len(self.plane)


class Beams:
    """The beams of a table in the scene, ready to be tried on points."""

    def __init__(
        self, scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], table: BeamTable
    ) -> None:
        """Compute the images of the BS, and the cones after all reflections."""
        self._scene = scene
        self._walk = ImageWalk(bs_position_m, table.plane, scene.planes)
        apex_m = self._walk.image_m[:, -1]
        ahead_m = source_images(bs_position_m + table.axis, table.plane, scene.planes)[:, -1]
        self._apex, self._axis = point(apex_m), point(ahead_m - apex_m)
        half_angle = table.half_angle_rad
        self._half_angle = real(np.where(half_angle < _WIDEST_RAD, half_angle, 2 * np.pi))
        self._plane_of_triangle = unsigned(scene.planes.of_triangle)

    def holds(self, chain: mi.UInt, target: Ball) -> mi.Bool:
        """Tell which balls lie in the cones of beams, in part at least."""
        offset = target.centre_m - dr.gather(mi.Point3f, self._apex, chain)
        distance = dr.norm(offset)
        angle = dr.safe_acos(dr.dot(offset, dr.gather(mi.Point3f, self._axis, chain)) / distance)
        size = dr.safe_asin(target.radius_m / distance)
        within = angle < dr.gather(mi.Float, self._half_angle, chain) + size
        return within | (target.radius_m >= distance)

    def crosses(self, chain: mi.UInt, target: Ball) -> mi.Bool:
        """Tell to which balls a beam comes by its planes, if nothing is in its way."""
        return self._walk.back(chain, target)[1]

    def reach(
        self, chain: Int[np.ndarray, "n"], point_m: Float[np.ndarray, "n 3"]
    ) -> Bool[np.ndarray, "n"]:
        """Tell which points a beam reaches, by rays that are shot back at the images of the BS."""
        if len(chain) == 0:
            return np.zeros(0, dtype=bool)
        mi_scene, row = self._scene.sionna.mi_scene, unsigned(chain)
        ray = mi.Ray3f(point(point_m), mi.Vector3f(0, 0, 1))
        free = dr.full(mi.Bool, True, len(chain))
        for plane, image in self._walk.steps(row):
            ray.d = dr.normalize(image - ray.o)
            hit = mi_scene.ray_intersect(
                ray, ray_flags=mi.RayFlags.Minimal, coherent=False, active=free
            )
            triangle = self._scene.triangle_hit(hit)
            free &= hit.is_valid()
            free &= dr.gather(mi.UInt, self._plane_of_triangle, triangle, free) == plane
            normal = dr.select(dr.dot(hit.n, ray.d) > 0, -hit.n, hit.n)
            hit.n = normal
            ray = hit.spawn_ray(ray.d - 2 * dr.dot(ray.d, normal) * normal)
        leg = self._walk.source(row) - ray.o
        distance = dr.norm(leg)
        last = mi.Ray3f(ray.o, mi.Vector3f(leg / distance))
        last.maxt = distance * (1 - 1e-4)
        return np.array(free & ~mi_scene.ray_test(last, active=free))
