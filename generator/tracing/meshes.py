"""The meshes of a loaded scene, and what their walls are made of."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from raymark.dataset.campaign import RoughMaterial
from raymark.generator.tracing.backend import dr, mi, rt


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshRecord:
    """One mesh of a scene.

    Attributes:
        name: Name in the scene's file; `merged-<material>` where Sionna has merged several.
        material: ITU name of its material.
        thickness_m: Thickness of its walls [m].
        scattering: Scattering coefficient of its walls.
        directivity: Exponent of their lobe of scattering, 0 for Lambert's.
        cross_polar: Share of what they scatter that is in the other polarization.
        shape_id: The ray tracer's number of it, which changes from load to load.
        corner_m: Corners of its triangles [m].
    """

    name: str
    material: str
    thickness_m: float
    scattering: float
    directivity: int
    cross_polar: float
    shape_id: int
    corner_m: Float[np.ndarray, "tri 3 3"]


def mesh_records(scene: rt.Scene) -> list[MeshRecord]:
    """Return the meshes of a scene in an order that depends on their content alone.

    Sionna sorts them by name, and merged meshes by a counter that grows with every scene loaded
    ("no-name-10" comes before "no-name-9"), so its own order is not reproducible.
    """
    records = []
    for name, item in scene.objects.items():
        params = mi.traverse(item.mi_mesh)
        vertex = np.array(params["vertex_positions"], dtype="f8").reshape(-1, 3)
        wall = item.radio_material
        material = wall.itu_type
        records.append(
            MeshRecord(
                name=f"merged-{material}" if name.startswith("no-name") else name,
                material=material,
                thickness_m=float(wall.thickness[0]),
                scattering=float(wall.scattering_coefficient[0]),
                directivity=_directivity(wall),
                cross_polar=float(wall.xpd_coefficient[0]),
                shape_id=int(dr.reinterpret_array(mi.UInt, mi.ShapePtr(item.mi_mesh))[0]),
                corner_m=vertex[np.array(params["faces"]).reshape(-1, 3)],
            )
        )
    return sorted(records, key=lambda r: (r.name, hashlib.sha256(r.corner_m.tobytes()).digest()))


def set_roughness(scene: rt.Scene, roughness: Mapping[str, RoughMaterial]) -> None:
    """Let materials scatter as they are told to, by their ITU names; others stay as they are."""
    for item in scene.objects.values():
        wall = item.radio_material
        if wall.itu_type in roughness:
            rough = roughness[wall.itu_type]
            wall.scattering_coefficient = rough.scattering_coefficient
            wall.xpd_coefficient = rough.cross_polar_share
            exponent = rough.lobe_exponent
            wall.scattering_pattern = (
                rt.DirectivePattern(exponent) if exponent else rt.LambertianPattern()
            )


def _directivity(wall: rt.RadioMaterial) -> int:
    """Return the exponent of a wall's lobe; Sionna RT takes no lobe but Lambert's from a file."""
    lobe = wall.scattering_pattern
    return int(lobe.alpha_r) if isinstance(lobe, rt.DirectivePattern) else 0
