"""Meshes from triangles, and whether they bound a volume."""

import numpy as np
import trimesh
from jaxtyping import Float


def weld(triangles_m: Float[np.ndarray, "triangle 3 3"]) -> trimesh.Trimesh:
    """Make a mesh in which corners with the same coordinates are one vertex.

    Args:
        triangles_m: Corners of the triangles, counter-clockwise seen from outside [m].
    """
    vertices, index = np.unique(triangles_m.reshape(-1, 3), axis=0, return_inverse=True)
    return trimesh.Trimesh(vertices=vertices, faces=index.reshape(-1, 3), process=False)


def is_closed(mesh: trimesh.Trimesh) -> bool:
    """Tell whether a surface bounds a volume: each edge is run equally often in both directions.

    Corners with the same coordinates count as one. Unlike `mesh.is_watertight` this holds for
    solids that touch in an edge, where four faces meet.
    """
    _, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    face = index.ravel()[mesh.faces]
    start, end = face.ravel(), np.roll(face, -1, axis=1).ravel()
    key = np.minimum(start, end) * (int(face.max(initial=0)) + 1) + np.maximum(start, end)
    _, edge = np.unique(key, return_inverse=True)
    return not np.bincount(edge.ravel(), weights=np.sign(end - start)).any()
