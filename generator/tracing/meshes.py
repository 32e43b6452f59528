"""The meshes of a loaded scene, and what their walls are made of."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from raymark.errors import SceneError
from raymark.generator.tracing.backend import dr, mi, rt

# isort: split
from sionna.rt.radio_materials.scattering_pattern import (
    BackscatteringPattern,
    DirectivePattern,
    LambertianPattern,
    ScatteringPattern,
)

_ID_PREFIX = "mat-"
"""What Sionna RT takes off the ids of materials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshRecord:
    """One mesh of a scene.

    Attributes:
        name: Name in the scene's file; `merged-<material>` where Sionna has merged several.
        material: ITU name of its material.
        thickness_m: Thickness of its walls [m].
        scattering: Scattering coefficient of its walls.
        directivity: Exponent of their lobe of scattering, 0 for Lambert's; None if it is another.
        cross_polar: Share of what they scatter that is in the other polarization.
        shape_id: The ray tracer's number of it, which changes from load to load.
        corner_m: Corners of its triangles [m].
    """

    name: str
    material: str
    thickness_m: float
    scattering: float
    directivity: int | None
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
                directivity=_directivity(wall.scattering_pattern),
                cross_polar=float(wall.xpd_coefficient[0]),
                shape_id=int(dr.reinterpret_array(mi.UInt, mi.ShapePtr(item.mi_mesh))[0]),
                corner_m=vertex[np.array(params["faces"]).reshape(-1, 3)],
            )
        )
    return sorted(records, key=lambda r: (r.name, hashlib.sha256(r.corner_m.tobytes()).digest()))


def set_lobes(scene: rt.Scene, exponents: Mapping[str, int]) -> None:
    """Let materials scatter into directive lobes.

    Args:
        scene: A loaded scene.
        exponents: Exponents alpha_R of the lobes, by the ids of the materials in the scene's file.

    Raises:
        SceneError: If no mesh is of such a material.
    """
    used = {item.radio_material.name: item.radio_material for item in scene.objects.values()}
    for material_id, exponent in exponents.items():
        name = material_id.removeprefix(_ID_PREFIX)
        if name not in used:
            raise SceneError(
                f"material '{material_id}' says where it scatters to, but no mesh refers to it by "
                f"that id; there are {', '.join(sorted(used))}"
            )
        used[name].scattering_pattern = DirectivePattern(exponent)


def _directivity(pattern: ScatteringPattern) -> int | None:
    """Return the exponent of a lobe, 0 for Lambert's; None if it is of another kind."""
    if isinstance(pattern, LambertianPattern):
        return 0
    if isinstance(pattern, BackscatteringPattern) and float(pattern.lambda_[0]) == 1:
        return int(pattern.alpha_r)
    return None
