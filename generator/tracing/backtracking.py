"""Where the legs of a path cross its planes, for exact points and for balls around them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.sionna_adapter import point, real, unsigned
from raymark.generator.tracing.tables import Planes

_SLACK_M = 1e-3
_TINY_M = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """All points within `radius_m` of `centre_m`; a point where the radius is 0."""

    centre_m: mi.Point3f
    radius_m: mi.Float


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlanes:
    """The planes of a scene as Dr.Jit arrays."""

    normal: mi.Point3f
    offset_m: mi.Float
    low_m: mi.Point3f
    high_m: mi.Point3f

    def reflect(self, position: mi.Point3f, plane: mi.UInt) -> mi.Point3f:
        """Return the mirror images of points."""
        normal = dr.gather(mi.Point3f, self.normal, plane)
        height = dr.dot(normal, position) - dr.gather(mi.Float, self.offset_m, plane)
        return position - 2 * height * normal


def device_planes(planes: Planes) -> DevicePlanes:
    """Hand the planes to the ray tracer."""
    return DevicePlanes(
        normal=point(planes.normal),
        offset_m=real(planes.offset_m),
        low_m=point(planes.low_m),
        high_m=point(planes.high_m),
    )


def source_images(
    source_m: Float[np.ndarray, "*chain 3"],
    plane: Int[np.ndarray, "chain length"],
    planes: Planes,
) -> Float[np.ndarray, "chain length1 3"]:
    """Return sources and their images after each reflection, in float64 [m]."""
    image = np.broadcast_to(source_m, (len(plane), 3)).astype("f8")
    images = [image]
    for k in range(plane.shape[1]):
        image = planes.reflect(image, plane[:, k])
        images.append(image)
    return np.stack(images, axis=1)


class ImageWalk:
    """Chains of reflections of one source, walked back from where they lead.

    Attributes:
        image_m: The source and its images after each reflection [m].
    """

    def __init__(
        self,
        source_m: Float[np.ndarray, "3"],
        plane: Int[np.ndarray, "chain length"],
        planes: Planes,
    ) -> None:
        """Compute the images."""
        self.image_m = source_images(source_m, plane, planes)
        self._planes = device_planes(planes)
        self._images = [point(self.image_m[:, k]) for k in range(plane.shape[1] + 1)]
        self._slots = [unsigned(plane[:, k]) for k in range(plane.shape[1])]

    def steps(self, row: mi.UInt) -> Iterator[tuple[mi.UInt, mi.Point3f]]:
        """Yield each plane, last first, and the image of the source that is seen in it."""
        for k in reversed(range(len(self._slots))):
            plane = dr.gather(mi.UInt, self._slots[k], row)
            yield plane, dr.gather(mi.Point3f, self._images[k + 1], row)

    def source(self, row: mi.UInt) -> mi.Point3f:
        """Return the source for each row."""
        return dr.gather(mi.Point3f, self._images[0], row)

    def back(self, row: mi.UInt, target: Ball) -> tuple[list[mi.Point3f], mi.Bool]:
        """Return where the legs from targets cross the planes, and whether all of them can."""
        points, possible = [], mi.Bool(True)
        for plane, image in self.steps(row):
            source = Ball(centre_m=image, radius_m=mi.Float(0))
            target, crosses = cross_plane(source, target, plane, self._planes)
            possible &= crosses
            points.append(target.centre_m)
        return points, possible


def cross_plane(
    source: Ball, target: Ball, plane: mi.UInt, planes: DevicePlanes
) -> tuple[Ball, mi.Bool]:
    """Cross from an image towards a target and meet a plane within the box of its triangles.

    Returns:
        A ball that holds every crossing of lines from a point of `source` to one of `target`, and
        whether it can lie in the box with the target beyond the plane. For points, both are exact.
    """
    normal = dr.gather(mi.Point3f, planes.normal, plane)
    offset = dr.gather(mi.Float, planes.offset_m, plane)
    height = dr.dot(normal, source.centre_m) - offset
    beyond = -dr.sign(height) * (dr.dot(normal, target.centre_m) - offset)
    height = dr.abs(height)
    low_t = _ratio(dr.maximum(height - source.radius_m, 0), beyond + target.radius_m)
    high_t = _ratio(height + source.radius_m, beyond - target.radius_m)
    t = _ratio(height, beyond)
    leg = target.centre_m - source.centre_m
    centre = source.centre_m + t * leg
    # A crossing moves by (1-t) of the source's shift, t of the target's, and along the leg.
    reach = (
        (1 - low_t) * source.radius_m
        + high_t * target.radius_m
        + dr.maximum(high_t - t, t - low_t) * dr.norm(leg)
    )
    inside = dr.all(
        (centre >= dr.gather(mi.Point3f, planes.low_m, plane) - reach)
        & (centre <= dr.gather(mi.Point3f, planes.high_m, plane) + reach)
    )
    is_beyond = beyond + target.radius_m > -_SLACK_M
    # A source ball that straddles the plane may lie on either side of it.
    straddles = height <= source.radius_m
    possible = (inside & is_beyond) | straddles
    radius = dr.select(straddles, source.radius_m + target.radius_m + dr.norm(leg), reach)
    return Ball(centre_m=centre, radius_m=radius), possible


def _ratio(height: mi.Float, beyond: mi.Float) -> mi.Float:
    """Return how far along the leg the plane lies, in [0, 1]."""
    return height / dr.maximum(height + dr.maximum(beyond, 0), _TINY_M)
