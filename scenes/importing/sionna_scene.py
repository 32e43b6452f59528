"""A scene that its user made for Sionna RT, as Blender exports it, in place of a map.

Meshes are kept where they stand, with the material and the thickness of each. What a folder of ours
needs beside them is made: names of ITU-R P.2040, the extent of the ground.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from raymark.errors import ConfigError, SceneError
from raymark.radio.p2040 import ITU_MATERIALS
from raymark.scenes.importing.buildings import ImportFinding
from raymark.scenes.importing.map_file import is_packed
from raymark.scenes.importing.material_rules import MaterialRules
from raymark.scenes.importing.meshes import weld
from raymark.scenes.importing.report import ImportOptions
from raymark.scenes.importing.solids import Meshes
from raymark.scenes.scene_meshes import (
    SceneMesh,
    are_ground,
    material_of,
    name_of,
    shapes_of,
    thickness_of,
)
from raymark.scenes.scene_shapes import read_shape
from raymark.scenes.scene_xml import read_scene_xml

RULE_TAG = "material"
"""Tag of the rules that say what a material of the scene is made of."""

_SHOWN = 5
_COPY_NUMBER = re.compile(r"[\s._-]*\d+$")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_READ = frozenset({"type", "thickness"})
_COLOURS = frozenset({"color", "reflectance", "base_color"})
_OF_MAPS = (
    *("bbox", "crs", "terrain", "terrain_crs"),
    *("metres_per_pixel", "buildings", "height_m"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SionnaScene:
    """What a scene of Sionna RT holds, ready to be written.

    Attributes:
        meshes: By name, each with its material.
        thickness_m: Of the walls of each mesh [m].
        extent_m: x_min, y_min, x_max, y_max of the ground, or of all if there is none [m].
        num_grounds: Meshes that are ground.
        files: All that the XML names.
        findings: What was left out.
    """

    meshes: Meshes
    thickness_m: Mapping[str, float]
    extent_m: tuple[float, float, float, float]
    num_grounds: int
    files: tuple[Path, ...]
    findings: tuple[ImportFinding, ...]


def read_sionna_scene(path: Path, rules: MaterialRules, options: ImportOptions) -> SionnaScene:
    """Read the meshes of a Mitsuba XML, and find the ITU-R P.2040 name of each material.

    Args:
        path: The XML; what it names lies in its folder.
        rules: Those of the tag `material` say what other materials are.
        options: Of which those of maps must not be given.

    Raises:
        ConfigError: If an option was given that only a map can have.
        SceneError: If the scene cannot be read (`read_scene_xml`), has no mesh, or materials that
            neither are of ITU-R P.2040 nor have a rule.
    """
    given = [name for name in _OF_MAPS if getattr(options, name) is not None]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise ConfigError(f"{option} is for maps, but {path} is a scene of meshes in metres")
    if is_packed(path):
        raise SceneError(f"{path} is packed; unpack it beside the meshes that it names")
    xml = read_scene_xml(path)
    shapes = [*shapes_of(xml.root)]
    if not shapes:
        raise SceneError(f"{path} holds no mesh")
    names = free_names([name_of(shape) for shape, _ in shapes])
    found = _materials(shapes, rules, path)
    meshes = [
        SceneMesh(
            name=name,
            material=material,
            triangles=np.asarray(read_shape(shape, where=str(path)).triangles, dtype=float),
        )
        for name, material, (shape, _) in zip(names, found, shapes, strict=True)
    ]
    grounds = are_ground(meshes)
    return SionnaScene(
        meshes={mesh.name: (weld(mesh.triangles), mesh.material) for mesh in meshes},
        thickness_m={
            name: thickness_of(bsdf, where=str(path))
            for name, (_, bsdf) in zip(names, shapes, strict=True)
        },
        extent_m=_extent([m for m, is_it in zip(meshes, grounds, strict=True) if is_it] or meshes),
        num_grounds=sum(grounds),
        files=xml.files,
        findings=tuple(_left_out(shapes)),
    )


def itu_name(text: str) -> str | None:
    """Return the ITU-R P.2040 material that a name in a scene stands for; None if there is none.

    Example:
        >>> [itu_name(text) for text in ("itu_concrete.002", "Very dry ground", "facade")]
        ['concrete', 'very_dry_ground', None]
    """
    name = _plain(text).removeprefix("itu_")
    return name if name in ITU_MATERIALS else None


def free_names(names: Sequence[str]) -> list[str]:
    """Return names that files can have, no two the same in upper or lower case."""
    taken: set[str] = set()
    free = []
    for index, name in enumerate(names):
        plain = _NOT_IN_NAMES.sub("_", name)[:80] or "mesh"
        while plain.lower() in taken:
            plain = f"{plain}_{index}"
        free.append(plain)
        taken.add(plain.lower())
    return free


def _plain(text: str) -> str:
    """Return a name without the number that Blender puts behind copies, as rules write values."""
    name = _COPY_NUMBER.sub("", text.strip().lower().removeprefix("mat-"))
    return re.sub(r"[\s_-]+", "_", name)


def _materials(
    shapes: Sequence[tuple[ET.Element, ET.Element | None]], rules: MaterialRules, path: Path
) -> list[str]:
    found: list[str] = []
    unknown: dict[str, list[str]] = {}
    bare: list[str] = []
    for shape, bsdf in shapes:
        if bsdf is None:
            bare.append(name_of(shape))
            continue
        name = material_of(bsdf)
        material = rules.walls_of({RULE_TAG: _plain(name)}) or itu_name(name)
        if material is None:
            unknown.setdefault(name, []).append(name_of(shape))
        else:
            found.append(material)
    if bare:
        raise SceneError(
            f"{path}: {_some(bare)}: no material; give each shape a <bsdf>, or a <ref> to the id "
            "of one that exists"
        )
    if unknown:
        shown = [f"'{name}' (of {_some(meshes)})" for name, meshes in unknown.items()]
        value = _plain(next(iter(unknown)))
        raise SceneError(
            f"{path}: {_some(shown)}: no ITU-R P.2040 material is called so; call them itu_brick, "
            f"itu_concrete, ... there, or give --materials with `- {{tag: {RULE_TAG}, values: "
            f"[{value}], walls: brick}}` among its rules for each (there are: "
            f"{', '.join(ITU_MATERIALS)})"
        )
    return found


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _left_out(shapes: Sequence[tuple[ET.Element, ET.Element | None]]) -> Iterator[ImportFinding]:
    """Tell what radio waves would see of materials beside their name, such as scattering."""
    for shape, bsdf in shapes:
        if bsdf is None or bsdf.get("type") != "itu-radio-material":
            continue
        for item in bsdf:
            if item.get("name") not in _READ | _COLOURS:
                reason = f"'{item.get('name')}' of its material is not kept"
                yield ImportFinding(action="dropped", reason=reason, building=name_of(shape))


def _extent(meshes: Sequence[SceneMesh]) -> tuple[float, float, float, float]:
    corners = np.concatenate([mesh.triangles.reshape(-1, 3)[:, :2] for mesh in meshes])
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return round(x0, 3), round(y0, 3), round(x1, 3), round(y1, 3)
