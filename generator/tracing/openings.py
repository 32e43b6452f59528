"""Whether an edge is open: nothing else fills the air between its two faces.

Where houses abut, the mesh of each has edges of which one face lies in the neighbour. There is no
wedge of air about such a place, and nothing diffracts. A way around the edge, from one face to the
other and close to it, then meets a surface.
"""

from collections.abc import Iterator

from raymark.generator.tracing.backend import dr, mi

_RADIUS_M = 0.05
"""How near to an edge nothing else may be (our decision): half a wavelength at 3 GHz."""

_OFF_FACE_RAD = 0.05
_NUM_CHORDS = 4


def is_open(
    scene: mi.Scene,
    edge: mi.Point3f,
    normals: tuple[mi.Point3f, mi.Point3f],
    along_face: mi.Point3f,
    active: mi.Bool | bool = True,
) -> mi.Bool:
    """Return whether the air about points on edges is free, within 5 cm.

    Args:
        scene: The scene.
        edge: Points on edges [m].
        normals: Outward normals of the 0-faces and the n-faces.
        along_face: Unit vectors from the edges into the 0-faces.
        active: Points that are asked for.
    """
    normal_0, normal_n = normals
    between = dr.atan2(dr.norm(dr.cross(normal_0, normal_n)), dr.dot(normal_0, normal_n))
    free = mi.Bool(active)
    points = _arc(edge, normal_0, along_face, dr.pi + between)
    start = next(points)
    for end in points:
        chord = end - start
        ray = mi.Ray3f(start, mi.Vector3f(dr.normalize(chord)))
        ray.maxt = dr.norm(chord)
        free &= ~scene.ray_test(ray, active=free)
        start = end
    return free


def _arc(
    edge: mi.Point3f, normal: mi.Point3f, along_face: mi.Point3f, exterior_rad: mi.Float
) -> Iterator[mi.Point3f]:
    """Return points around an edge, from just off the 0-face to just off the n-face."""
    for step in range(_NUM_CHORDS + 1):
        share = step / _NUM_CHORDS
        sin, cos = dr.sincos(_OFF_FACE_RAD + share * (exterior_rad - 2 * _OFF_FACE_RAD))
        yield edge + _RADIUS_M * (cos * along_face + sin * normal)
