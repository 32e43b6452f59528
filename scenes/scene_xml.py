"""A scene's Mitsuba XML as it is let near the ray tracer: what may stand in it, what it names.

Mitsuba loads a plugin, which is native code, for the type of an element, and opens any file that
one names. So an XML is read here first: elements and types are those of a list, and files lie in
the scene's folder. What was read is what is hashed, checked and traced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from raymark.errors import SceneError

MESH_TYPES = ("ply", "obj", "cube")
"""Types of shapes that are meshes, which is what can be traced."""

_PLUGINS = "plugins"
"""Folder that Mitsuba loads native code from."""
_MOST_DEPTH = 30
_LEFT_OUT = frozenset({"default", "emitter", "integrator", "sensor"})
"""What a program for pictures adds; nothing of it is seen by radio waves."""
_VALUES = frozenset(
    {
        *("boolean", "float", "integer", "point", "ref", "rgb", "spectrum", "string", "vector"),
        *("lookat", "matrix", "rotate", "scale", "transform", "translate"),
    }
)
_TYPES: dict[str, tuple[str, ...]] = {
    "shape": (*MESH_TYPES, "rectangle"),
    "texture": ("bitmap", "checkerboard", "mesh_attribute"),
    "bsdf": (
        *("itu-radio-material", "radio-material"),
        *("blendbsdf", "bumpmap", "mask", "normalmap", "null", "twosided"),
        *("conductor", "dielectric", "diffuse", "plastic", "principled", "principledthin"),
        *("roughconductor", "roughdielectric", "roughplastic", "thindielectric"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneXml:
    """A scene's XML, read and checked.

    Attributes:
        path: Its file.
        root: What radio waves see, with included files in their places and files by whole paths.
        files: All files that it names: meshes, textures, included XML.
    """

    path: Path
    root: ET.Element
    files: tuple[Path, ...]

    def for_tracing(self) -> str:
        """Return the XML to be traced.

        Raises:
            SceneError: If a shape is no mesh, or Mitsuba would not find the files.
        """
        for shape in self.root.iter("shape"):
            if shape.get("type") not in MESH_TYPES:
                raise SceneError(
                    f"{self.path}: shape '{shape.get('id', '')}' is of type '{shape.get('type')}', "
                    f"but only meshes are traced ({', '.join(MESH_TYPES)}); `raymark scenes import "
                    f"{self.path} --name NAME` makes a mesh of it"
                )
        if any("$" in str(path) for path in self.files):
            raise SceneError(f"{self.path}: Mitsuba reads no path with a $; rename its folder")
        return ET.tostring(self.root, encoding="unicode")


def read_scene_xml(path: Path) -> SceneXml:
    """Read and check the XML of a scene; nothing that it names is opened but included XML.

    Raises:
        SceneError: If it cannot be read, holds something else than meshes and their materials,
            names a file that is missing or outside of its folder, or has a folder of plugins.
    """
    reader = _Reader(path)
    root = reader.read(path)
    return SceneXml(path=path, root=root, files=tuple(sorted(reader.files)))


class _Reader:
    """Reads one scene and the files that it includes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent.resolve()
        self._parents: dict[Path, Path] = {}
        self.files: set[Path] = set()
        if (self._folder / _PLUGINS).exists():
            raise self._fault(
                f"its folder holds '{_PLUGINS}', where code is loaded from; remove it"
            )

    def read(self, path: Path) -> ET.Element:
        """Read one file that has a scene."""
        root = self._parse(self._named(path.name))
        made = ET.Element(root.tag, root.attrib)
        made.extend([*self._children(root, depth=0)])
        return made

    def _parse(self, path: Path) -> ET.Element:
        try:
            root = ET.fromstring(path.read_bytes())  # noqa: S314 - checked right here
        except (OSError, ET.ParseError, ValueError, LookupError) as error:
            raise SceneError(f"cannot load the geometry of {path}: {error}") from error
        if root.tag != "scene":
            raise SceneError(f"{path} is no Mitsuba scene: it begins with <{root.tag}>")
        return root

    def _children(self, element: ET.Element, depth: int) -> Iterator[ET.Element]:
        if depth > _MOST_DEPTH:
            raise self._fault(f"its elements are nested more than {_MOST_DEPTH} deep")
        for child in element:
            if child.tag == "include":
                included = self._named(child.get("filename", ""))
                if included in self.files:
                    raise self._fault(f"{child.get('filename')} is included twice")
                self.files.add(included)
                yield from self._children(self._parse(included), depth + 1)
            elif child.tag not in _LEFT_OUT:
                yield self._checked(child, depth + 1)

    def _checked(self, element: ET.Element, depth: int) -> ET.Element:
        self._require_known(element)
        made = ET.Element(element.tag, element.attrib)
        if element.tag == "string" and element.get("name") == "filename":
            file = self._named(element.get("value", ""))
            self.files.add(file)
            made.set("value", str(file))
        made.extend([*self._children(element, depth)])
        return made

    def _require_known(self, element: ET.Element) -> None:
        kind = element.get("type")
        what = f"<{element.tag}> '{element.get('id') or element.get('name') or ''}'"
        if element.tag in _TYPES:
            if kind not in _TYPES[element.tag]:
                raise self._fault(
                    f"{what} is of type '{kind}', expected one of {', '.join(_TYPES[element.tag])}"
                    + ("; convert it to a mesh" if element.tag == "shape" else "")
                )
        elif element.tag not in _VALUES or kind is not None:
            raise self._fault(f"{what} is no part of a scene of meshes and materials; remove it")
        if "filename" in element.attrib:
            raise self._fault(f"{what} names a file, {element.get('filename')}; give its values")
        if any("$" in value for value in element.attrib.values()):
            raise self._fault(f"{what} has a value with a $; write the value itself")

    def _named(self, name: str) -> Path:
        """Return the file of a name, which counts from the folder of the scene."""
        try:
            path = self._resolved(self._folder / name)
            is_file = path.is_file()
        except (OSError, RuntimeError) as error:  # a name that is too long, or a loop of links
            raise self._fault(f"cannot read {name[:80]}: {error}") from error
        if not path.is_relative_to(self._folder):
            raise self._fault(
                f"{name} lies outside of the scene's folder, {self._folder}; copy it there"
            )
        if not is_file:
            raise SceneError(f"cannot load the geometry of {self._path}: {name} is missing")
        return path

    def _resolved(self, path: Path) -> Path:
        """Resolve a path; a scene has thousands in one folder, which is looked up once."""
        parent = path.parent
        if parent not in self._parents:
            self._parents[parent] = parent.resolve()
        whole = self._parents[parent] / path.name
        return whole.resolve() if whole.is_symlink() else whole

    def _fault(self, text: str) -> SceneError:
        return SceneError(f"{self._path}: {text}")
