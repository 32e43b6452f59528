"""A scene's XML: all that it names is hashed, and nothing but a scene comes near the tracer."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.errors import SceneError
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import FrontEnd
from raymark.scenes import get_scene
from raymark.scenes.scene_meshes import read_meshes
from raymark.scenes.scene_xml import read_scene_xml

BOX_ERROR_M = 1e-4
"""Mitsuba keeps corners as float32, of coordinates of up to 100 m."""

BSDF = '<bsdf type="itu-radio-material" id="m"><string name="type" value="concrete"/></bsdf>'
REF = '<ref id="m" name="bsdf"/>'


def shape(file: str, kind: str = "ply", *, more: str = "") -> str:
    name = f'<string name="filename" value="{file}"/>' if file else ""
    return f'<shape type="{kind}" id="mesh-{Path(file).stem}">{name}{more}{REF}</shape>'


def box(height_m: float = 3.0) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=[[10, -20, 0], [40, 20, height_m]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    (folder / "meshes" / "lod1").mkdir(parents=True)
    for name in ("meshes/box.ply", "meshes/box.obj", "meshes/lod1/box.ply", "box.ply"):
        box().export(folder / name)
    (folder / "wall.png").write_bytes(b"a picture")
    part = f'<scene version="2.1.0">{shape("meshes/box.ply")}</scene>'
    (folder / "part.xml").write_text(part, encoding="utf-8")
    settings = (
        "title: x\ngeometry: files\nsource: x\nlicence: x\nattribution: x\n"
        "materials: [concrete]\nextent_m: [0, 0, 1, 1]\n"
    )
    (folder / "scene.yaml").write_text(settings, encoding="utf-8")
    return folder


@pytest.fixture
def write(folder: Path) -> Callable[..., Path]:
    def write(*elements: str, head: str = "") -> Path:
        path = folder / "scene.xml"
        text = f'{head}<scene version="2.1.0">{BSDF}{"".join(elements)}</scene>'
        path.write_text(text, encoding="utf-8")
        return path

    return write


TEXTURE = (
    '<bsdf type="diffuse" id="paint"><texture type="bitmap" name="reflectance">'
    '<string name="filename" value="wall.png"/></texture></bsdf>'
)


@pytest.mark.parametrize(
    ("element", "files"),
    [
        (shape("meshes/box.ply"), ["meshes/box.ply"]),
        (shape("meshes/box.obj", "obj"), ["meshes/box.obj"]),
        (shape("meshes/lod1/box.ply"), ["meshes/lod1/box.ply"]),
        (shape("./meshes/../box.ply"), ["box.ply"]),
        (TEXTURE, ["wall.png"]),
        ('<include filename="part.xml"/>', ["part.xml", "meshes/box.ply"]),
    ],
    ids=["ply", "obj", "deeper", "beside", "texture", "included"],
)
def test_hash_changes_when_a_named_file_does(
    element: str, files: list[str], write: Callable[..., Path], folder: Path
) -> None:
    path, scene = write(element), get_scene(str(folder))
    before = scene.hash(path)
    (folder / "meshes" / "notes.txt").write_text("not named", encoding="utf-8")

    assert scene.hash(path) == before
    for name in files:
        old = (folder / name).read_bytes()
        (folder / name).write_bytes(old + b"\n")
        assert scene.hash(path) != before, name
        (folder / name).write_bytes(old)
    assert scene.hash(path) == before


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (shape("gone.ply"), r"scene\.xml: gone\.ply is missing"),
        (shape("meshes"), r"meshes is missing"),
        (shape("../outside.ply"), r"\.\./outside\.ply lies outside of the scene's folder"),
        (shape("/etc/passwd"), r"/etc/passwd lies outside of the scene's folder"),
        (shape("linked.ply"), r"linked\.ply lies outside of the scene's folder"),
        (shape("linked/outside.ply"), r"linked/outside\.ply lies outside of the scene's folder"),
        (shape("loop.ply"), r"cannot read loop\.ply|loop\.ply is missing"),
        (shape("n" * 300), r"cannot read nnn"),
        ('<include filename="../outside.xml"/>', r"outside\.xml lies outside"),
        ('<include filename="twice.xml"/>', r"twice\.xml is included twice"),
        (shape("box.ply", "evil"), r"<shape> 'mesh-box' is of type 'evil', expected one of ply"),
        (shape("", "sphere"), r"is of type 'sphere', expected one of ply, obj, cube, rectangle"),
        ('<bsdf type="../../evil" id="x"/>', r"<bsdf> 'x' is of type '../../evil'"),
        (f'<shape type="ply">{shape("", "evil")}</shape>', r"is of type 'evil'"),
        ('<volume type="grid" name="v"/>', r"<volume> 'v' is no part of a scene"),
        ('<spectrum type="evil" name="s"/>', r"<spectrum> 's' is no part of a scene"),
        ('<spectrum name="s" filename="/etc/passwd"/>', r"<spectrum> 's' names a file, /etc/pass"),
        ('<path value="/tmp"/>', r"<path> '' is no part of a scene"),
        ('<default name="f" value="evil"/>' + shape("$f"), r"has a value with a \$"),
        ("<bsdf type='twosided'>" * 40 + "</bsdf>" * 40, r"nested more than 30 deep"),
        ("<", r"cannot load the geometry of .*scene\.xml: "),
    ],
)
def test_scene_is_refused_when_its_xml_holds_something_else(
    element: str, message: str, write: Callable[..., Path], folder: Path
) -> None:
    box().export(folder.parent / "outside.ply")
    (folder / "linked.ply").symlink_to(folder.parent / "outside.ply")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "loop.ply").symlink_to(folder / "loop.ply")
    twice = '<scene version="2.1.0"><include filename="twice.xml"/></scene>'
    (folder / "twice.xml").write_text(twice, encoding="utf-8")
    path = write(element)

    with pytest.raises(SceneError, match=message):
        read_scene_xml(path)
    with pytest.raises(SceneError, match=message):
        LoadedScene(path, FrontEnd())


def test_scene_is_refused_when_its_folder_has_plugins(
    write: Callable[..., Path], folder: Path
) -> None:
    (folder / "plugins").mkdir()

    with pytest.raises(SceneError, match="its folder holds 'plugins', where code is loaded from"):
        LoadedScene(write(shape("box.ply")), FrontEnd())


def test_scene_is_refused_when_its_xml_is_another_document(
    write: Callable[..., Path], folder: Path
) -> None:
    path = folder / "scene.xml"
    path.write_text("<osm version='0.6'/>", encoding="utf-8")

    with pytest.raises(SceneError, match="is no Mitsuba scene: it begins with <osm>"):
        read_scene_xml(path)
    path.unlink()
    path.symlink_to(folder.parent / "outside.xml")
    with pytest.raises(SceneError, match=r"scene\.xml lies outside of the scene's folder"):
        read_scene_xml(path)


def test_scene_is_traced_without_what_only_pictures_need(write: Callable[..., Path]) -> None:
    path = write(
        '<default name="spp" value="4096"/><integrator type="path"/>',
        '<sensor type="perspective"><integer name="n" value="$spp"/></sensor>',
        '<emitter type="constant"/>',
        shape("box.ply", more='<emitter type="area"/>'),
    )

    assert {item.tag for item in read_scene_xml(path).root.iter()} == {
        *("scene", "bsdf", "shape", "string", "ref")
    }
    assert LoadedScene(path, FrontEnd()).triangles.count == 12


MOVES = {
    "translate": '<translate x="5" y="-2"/>',
    "translate by value": '<translate value="1, 2, 3"/>',
    "scale": '<scale value="2"/>',
    "scale an axis": '<scale z="3"/>',
    "rotate": '<rotate z="1" angle="30"/>',
    "matrix": '<matrix value="0 -1 0 4  1 0 0 5  0 0 2 6  0 0 0 1"/>',
    "small matrix": '<matrix value="0 -1 0  1 0 0  0 0 2"/>',
    "several": '<scale value="2"/><rotate y="1" angle="20"/><translate x="7"/>',
    "mirror": '<scale x="-1"/>',
}


@pytest.mark.parametrize(
    ("kind", "file", "move"),
    [
        *(("ply", "box.ply", move) for move in MOVES.values()),
        ("obj", "meshes/box.obj", MOVES["several"]),
        ("cube", "", MOVES["several"]),
    ],
    ids=[*MOVES, "obj", "cube"],
)
def test_meshes_stand_where_mitsuba_puts_them_when_moved(
    kind: str, file: str, move: str, write: Callable[..., Path]
) -> None:
    path = write(shape(file, kind, more=f'<transform name="to_world">{move}</transform>'))

    (mesh,) = read_meshes(path)

    low, high = LoadedScene(path, FrontEnd()).box_m
    corners = mesh.triangles.reshape(-1, 3)
    np.testing.assert_allclose(corners.min(axis=0), low, atol=BOX_ERROR_M)
    np.testing.assert_allclose(corners.max(axis=0), high, atol=BOX_ERROR_M)
    assert trimesh.Trimesh(**trimesh.triangles.to_kwargs(mesh.triangles)).volume > 0
    assert mesh.material == "concrete"


def test_rectangle_is_a_mesh_that_looks_up_but_is_not_traced(write: Callable[..., Path]) -> None:
    path = write(shape("", "rectangle", more='<boolean name="flip_normals" value="false"/>'))

    (mesh,) = read_meshes(path)

    assert trimesh.triangles.area(mesh.triangles).sum() == pytest.approx(4.0)
    assert (trimesh.triangles.normals(mesh.triangles)[0][:, 2] == 1).all()
    with pytest.raises(SceneError, match=r"but only meshes are traced .* scenes import"):
        LoadedScene(path, FrontEnd())


@pytest.mark.parametrize(
    ("move", "message"),
    [
        ('<lookat origin="0 0 0" target="1 0 0" up="0 0 1"/>', "cannot read the transform <lookat"),
        ('<translate value="1 2"/>', "cannot read the transform <translate"),
        ('<scale value="big"/>', "cannot read the transform <scale"),
        ('<translate x="nan"/>', "a transform has a value that is no number"),
    ],
)
def test_meshes_are_refused_when_a_transform_cannot_be_read(
    move: str, message: str, write: Callable[..., Path]
) -> None:
    path = write(shape("box.ply", more=f'<transform name="to_world">{move}</transform>'))

    with pytest.raises(SceneError, match=message):
        read_meshes(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("box.ply", b"nonsense", r"cannot read box\.ply"),
        ("box.ply", b"ply\nformat ascii 1.0\n", r"cannot read box\.ply"),
        ("meshes/box.obj", b"v 0 0 0\n", r"box\.obj holds no triangle"),
        (
            "meshes/box.obj",
            b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
            r"box\.obj has a corner that does not exist or is no number",
        ),
    ],
)
def test_meshes_are_refused_when_a_file_holds_none(
    name: str, content: bytes, message: str, write: Callable[..., Path], folder: Path
) -> None:
    (folder / name).write_bytes(content)

    with pytest.raises(SceneError, match=message):
        read_meshes(write(shape(name, Path(name).suffix[1:])))


def test_scene_is_the_same_when_its_folder_is_a_link(
    write: Callable[..., Path], folder: Path, tmp_path: Path
) -> None:
    write(shape("box.ply"))
    (tmp_path / "other name").symlink_to(folder)
    shutil.copytree(folder, tmp_path / "with spaces" / "own")

    for other in (tmp_path / "other name", tmp_path / "with spaces" / "own"):
        assert LoadedScene(other / "scene.xml", FrontEnd()).triangles.count == 12
