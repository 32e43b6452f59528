"""The files that hold a scene's geometry: a Mitsuba XML and one PLY per mesh."""

from collections.abc import Mapping, Set
from pathlib import Path
from xml.etree import ElementTree as ET

import trimesh

Wall = tuple[str, float]
"""Material, and thickness [m]."""


def write_geometry(
    folder: Path,
    meshes: Mapping[str, tuple[trimesh.Trimesh, str]],
    *,
    thickness_m: float | Mapping[str, float],
) -> None:
    """Write `scene.xml` and `meshes/*.ply`, which Sionna's `load_scene` and Mitsuba open.

    Args:
        folder: Where to; made if it is missing.
        meshes: Meshes by name, each with the ITU-R P.2040 name of its material. Sionna wants names
            of meshes to differ from those of materials.
        thickness_m: Thickness of the walls, which counts for refraction, of all or by mesh [m].
    """
    (folder / "meshes").mkdir(parents=True, exist_ok=True)
    root = ET.Element("scene", version="2.1.0")
    walls = {
        name: (material, thickness_m if isinstance(thickness_m, int | float) else thickness_m[name])
        for name, (_, material) in meshes.items()
    }
    ids = _bsdf_ids(set(walls.values()))
    for (material, thick_m), bsdf_id in ids.items():
        bsdf = ET.SubElement(root, "bsdf", type="itu-radio-material", id=bsdf_id)
        ET.SubElement(bsdf, "string", name="type", value=material)
        ET.SubElement(bsdf, "float", name="thickness", value=str(thick_m))
    for name, (mesh, _) in meshes.items():
        mesh.export(folder / "meshes" / f"{name}.ply")
        shape = ET.SubElement(root, "shape", type="ply", id=f"mesh-{name}")
        ET.SubElement(shape, "string", name="filename", value=f"meshes/{name}.ply")
        ET.SubElement(shape, "boolean", name="face_normals", value="true")
        ET.SubElement(shape, "ref", id=ids[walls[name]], name="bsdf")
    ET.indent(root)
    ET.ElementTree(root).write(folder / "scene.xml", encoding="unicode")


def _bsdf_ids(walls: Set[Wall]) -> dict[Wall, str]:
    """Name each material; the second thickness of one, and so on, has its number behind."""
    ids: dict[Wall, str] = {}
    for material in sorted({material for material, _ in walls}):
        thick = sorted(wall for wall in walls if wall[0] == material)
        ids |= {wall: f"mat-{material}" + f"-{i}" * (i > 0) for i, wall in enumerate(thick)}
    return ids
