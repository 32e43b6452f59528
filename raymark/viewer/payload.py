"""The data inside the page: names as JSON, and all arrays as one compressed block."""

import base64
import gzip
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt

from raymark.dataset.schema import DIFFRACTION, DIFFUSE, NO_INTERACTION, REFRACTION, SPECULAR
from raymark.plots import LABEL_STYLES
from raymark.viewer.content import SceneTriangles, SceneView, ViewSite

CENTIMETRES_PER_M = 100

PATH_KINDS = {
    NO_INTERACTION: ("line of sight", "#0072B2"),
    SPECULAR: ("reflection", "#E69F00"),
    DIFFRACTION: ("diffraction", "#009E73"),
    REFRACTION: ("transmission", "#D55E00"),
    DIFFUSE: ("scattering", "#56B4E9"),
}
"""Name and colour (Okabe and Ito) by code; a path is of the last of the kinds that occur on it."""

_LINK_TYPES = {
    "ue_index": "<i4",
    "position_m": "<f4",
    "los": "<i1",
    "path_offset": "<i4",
    "delay_s": "<f4",
    "gain_db": "<f4",
    "interaction": "<u1",
    "vertex_m": "<f4",
    "material": "<i2",
}
_POSTERIOR_TYPES = {"offset": "<i4", "position_m": "<f4", "share": "<f4"}
_ALIGNMENT_BYTES = 8
_LARGEST_CM = 2**31 - 1


def page_data(view: SceneView) -> tuple[dict[str, Any], str]:
    """Return what the page's script reads: plain values, and base64 of the gzipped arrays.

    The plain values tell of each array its type, shape and first byte in the block.
    """
    arrays = _triangle_arrays(view.triangles)
    for i, site in enumerate(view.sites):
        for name, dtype in _LINK_TYPES.items():
            arrays[f"site{i}/{name}"] = getattr(site.links, name).astype(dtype)
        if site.posteriors is not None:
            for name, dtype in _POSTERIOR_TYPES.items():
                values = getattr(site.posteriors, name).astype(dtype)
                arrays[f"site{i}/posterior_{name}"] = values
    places, block = _pack(arrays)
    styles = [{"code": c, "name": s.name, "color": s.color} for c, s in LABEL_STYLES.items()]
    kinds = [{"code": c, "name": name, "color": color} for c, (name, color) in PATH_KINDS.items()]
    plain = {
        "arrays": places,
        "band": view.band,
        "extent_m": list(view.extent_m),
        "labels": styles[::-1],
        "kinds": kinds,
        "materials": list(view.materials),
        "sites": [_site(site) for site in view.sites],
    }
    return plain, block


def index_corners(
    corner_m: Float[np.ndarray, "tri 3 3"],
) -> tuple[Int[np.ndarray, "vertex 3"], UInt[np.ndarray, "kept 3"], Bool[np.ndarray, "tri"]]:
    """Round corners to centimetres and number the distinct ones.

    Returns:
        Vertices [cm], three of them for each triangle, and which triangles have an area left.
    """
    corner_cm = np.rint(corner_m.reshape(-1, 3) * CENTIMETRES_PER_M)
    corner_cm = np.clip(corner_cm, -_LARGEST_CM, _LARGEST_CM).astype("<i4")
    vertex_cm, index = np.unique(corner_cm, axis=0, return_inverse=True)
    face = index.reshape(-1, 3).astype("<u4")
    has_area = (face != np.roll(face, 1, axis=1)).all(axis=1)
    return vertex_cm, face[has_area], has_area


def _triangle_arrays(triangles: SceneTriangles) -> dict[str, np.ndarray]:
    vertex_cm, face, has_area = index_corners(triangles.corner_m)
    is_ground = triangles.is_ground[has_area].astype("<u1")
    return {"mesh/vertex_cm": vertex_cm, "mesh/face": face, "mesh/is_ground": is_ground}


def _site(site: ViewSite) -> dict[str, Any]:
    return {
        "name": site.name,
        "position_m": list(site.position_m),
        "azimuth_rad": site.azimuth_rad,
        "downtilt_rad": site.downtilt_rad,
        "half_width_rad": site.half_width_rad,
        "range_m": site.range_m,
        "ground_m": site.ground_m,
        "is_located": site.posteriors is not None,
    }


def _pack(arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], str]:
    places: dict[str, Any] = {}
    block = bytearray()
    for name, array in arrays.items():
        block.extend(bytes(-len(block) % _ALIGNMENT_BYTES))  # a typed array must begin aligned
        places[name] = {
            "type": array.dtype.str.strip("<|"),
            "shape": list(array.shape),
            "start": len(block),
        }
        block.extend(np.ascontiguousarray(array).tobytes())
    packed = gzip.compress(bytes(block), compresslevel=9, mtime=0)
    return places, base64.b64encode(packed).decode()
