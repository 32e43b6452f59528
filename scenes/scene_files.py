"""The files that hold a scene's geometry: a Mitsuba XML and one PLY per mesh."""

from collections.abc import Mapping, Set
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree as ET

import trimesh

Wall = tuple[str, float, float]
"""Material, thickness [m], and scattering coefficient."""

_SMOOTH: Mapping[str, float] = MappingProxyType({})


def write_geometry(
    folder: Path,
    meshes: Mapping[str, tuple[trimesh.Trimesh, str]],
    *,
    thickness_m: float | Mapping[str, float],
    scattering: Mapping[str, float] = _SMOOTH,
) -> None:
    """Write `scene.xml` and `meshes/*.ply`, which Sionna's `load_scene` and Mitsuba open.

    Args:
        folder: Where to; made if it is missing.
        meshes: Meshes by name, each with the ITU-R P.2040 name of its material. Sionna wants names
            of meshes to differ from those of materials.
        thickness_m: Thickness of the walls, which counts for refraction, of all or by mesh [m].
        scattering: Scattering coefficient of the walls by mesh; 0 for those that are not named.
    """
    (folder / "meshes").mkdir(parents=True, exist_ok=True)
    root = ET.Element("scene", version="2.1.0")
    if isinstance(thickness_m, int | float):
        thickness_m = dict.fromkeys(meshes, thickness_m)
    walls = {
        name: (material, thickness_m[name], scattering.get(name, 0.0))
        for name, (_, material) in meshes.items()
    }
    ids = _bsdf_ids(set(walls.values()))
    for (material, thick_m, scattered), bsdf_id in ids.items():
        bsdf = ET.SubElement(root, "bsdf", type="itu-radio-material", id=bsdf_id)
        ET.SubElement(bsdf, "string", name="type", value=material)
        ET.SubElement(bsdf, "float", name="thickness", value=str(thick_m))
        if scattered:
            ET.SubElement(bsdf, "float", name="scattering_coefficient", value=str(scattered))
    for name, (mesh, _) in meshes.items():
        mesh.export(folder / "meshes" / f"{name}.ply")
        shape = ET.SubElement(root, "shape", type="ply", id=f"mesh-{name}")
        ET.SubElement(shape, "string", name="filename", value=f"meshes/{name}.ply")
        ET.SubElement(shape, "boolean", name="face_normals", value="true")
        ET.SubElement(shape, "ref", id=ids[walls[name]], name="bsdf")
    ET.indent(root)
    ET.ElementTree(root).write(folder / "scene.xml", encoding="unicode")


def _bsdf_ids(walls: Set[Wall]) -> dict[Wall, str]:
    """Name each material; the second kind of wall of one, and so on, has its number behind."""
    ids: dict[Wall, str] = {}
    for material in sorted({material for material, _, _ in walls}):
        thick = sorted(wall for wall in walls if wall[0] == material)
        ids |= {wall: f"mat-{material}" + f"-{i}" * (i > 0) for i, wall in enumerate(thick)}
    return ids
