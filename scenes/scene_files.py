"""The files that hold a scene's geometry: a Mitsuba XML and one PLY per mesh."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import trimesh


def write_geometry(
    folder: Path, meshes: Mapping[str, tuple[trimesh.Trimesh, str]], *, thickness_m: float
) -> None:
    """Write `scene.xml` and `meshes/*.ply`, which Sionna's `load_scene` and Mitsuba open.

    Args:
        folder: Where to; made if it is missing.
        meshes: Meshes by name, each with the ITU-R P.2040 name of its material. Sionna wants names
            of meshes to differ from those of materials.
        thickness_m: Thickness of the walls, which counts for refraction [m].
    """
    (folder / "meshes").mkdir(parents=True, exist_ok=True)
    root = ET.Element("scene", version="2.1.0")
    for material in sorted({material for _, material in meshes.values()}):
        bsdf = ET.SubElement(root, "bsdf", type="itu-radio-material", id=f"mat-{material}")
        ET.SubElement(bsdf, "string", name="type", value=material)
        ET.SubElement(bsdf, "float", name="thickness", value=str(thickness_m))
    for name, (mesh, material) in meshes.items():
        mesh.export(folder / "meshes" / f"{name}.ply")
        shape = ET.SubElement(root, "shape", type="ply", id=f"mesh-{name}")
        ET.SubElement(shape, "string", name="filename", value=f"meshes/{name}.ply")
        ET.SubElement(shape, "boolean", name="face_normals", value="true")
        ET.SubElement(shape, "ref", id=f"mat-{material}", name="bsdf")
    ET.indent(root)
    ET.ElementTree(root).write(folder / "scene.xml", encoding="unicode")
