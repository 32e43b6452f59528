"""A scene of Sionna RT becomes a folder of ours: meshes where they stand, materials by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from raymark.errors import ConfigError, SceneError
from raymark.generator.scene_check import check_scene
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import FrontEnd
from raymark.scenes import get_scene
from raymark.scenes.footprints import scene_frame
from raymark.scenes.importing import ImportOptions, import_scene
from raymark.scenes.importing.sionna_scene import itu_name
from raymark.scenes.scene_meshes import read_meshes

PICTURE = (
    '<default name="spp" value="4096"/><integrator type="path"/><emitter type="constant"/>'
    '<sensor type="perspective"><integer name="sample_count" value="$spp"/></sensor>'
)
CONCRETE = (
    '<bsdf type="twosided" id="mat-itu_concrete.002">'
    '<bsdf type="diffuse"><rgb name="reflectance" value="0.5 0.5 0.5"/></bsdf></bsdf>'
)
METAL = (
    '<bsdf type="itu-radio-material" id="sheet"><string name="type" value="metal"/>'
    '<float name="thickness" value="0.02"/>'
    '<float name="scattering_coefficient" value="0.2"/></bsdf>'
)
BRICK = '<bsdf type="diffuse" id="Brick"/>'
PLANE = (
    '<shape type="rectangle" id="mesh-Plane"><transform name="to_world"><scale value="150"/>'
    '</transform><ref id="mat-itu_concrete.002"/></shape>'
)
HOUSE = (
    '<shape type="ply" id="mesh-House 1"><string name="filename" value="meshes/house.ply"/>'
    '<ref id="Brick" name="bsdf"/></shape>'
)
TOWER = (
    '<shape type="obj" id="mesh-House/1"><string name="filename" value="meshes/unit.obj"/>'
    '<transform name="to_world"><matrix value="5 0 0 -40 0 5 0 30 0 0 20 20 0 0 0 1"/></transform>'
    '<ref id="sheet" name="bsdf"/></shape>'
)
CUBE = (
    '<shape type="cube" id="elm__4"><transform name="to_world"><scale x="4" y="6" z="9"/>'
    '<translate x="-60" y="-50" z="9"/></transform><ref id="Brick" name="bsdf"/></shape>'
)
ALL = (PICTURE, CONCRETE, METAL, BRICK, PLANE, HOUSE, TOWER, CUBE)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    meshes = tmp_path / "export" / "meshes"
    meshes.mkdir(parents=True)
    trimesh.creation.box(bounds=[[10, -20, 0], [40, 20, 30]]).export(meshes / "house.ply")
    trimesh.creation.box(bounds=[[-1, -1, -1], [1, 1, 1]]).export(meshes / "unit.obj")

    def write(*elements: str) -> Path:
        path = tmp_path / "export" / "scene.xml"
        text = f'<scene version="2.1.0">{"".join(elements)}</scene>'
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_scene_is_traced_as_it_stood_when_imported(write: Write, tmp_path: Path) -> None:
    source = write(*ALL)

    report = import_scene(source, name="town", out=tmp_path, options=ImportOptions())

    folder = tmp_path / "town"
    scene = get_scene(str(folder))
    assert scene.extent_m == (-150, -150, 150, 150)
    assert scene.settings.materials == ("brick", "concrete", "metal")
    assert scene.card.startswith("# town\n")
    assert (report.num_features, report.num_buildings, report.num_triangles) == (4, 3, 38)
    assert set(report.input_sha256) == {"scene.xml", "meshes/house.ply", "meshes/unit.obj"}
    (finding,) = report.findings
    assert finding.reason == "'scattering_coefficient' of its material is not kept"
    before, after = read_meshes(source), read_meshes(folder / "scene.xml")
    assert [mesh.name for mesh in after] == ["Plane", "House_1", "House_1_2", "elm__4"]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new.triangles, old.triangles, atol=1e-4)
    loaded = LoadedScene(folder / "scene.xml", FrontEnd())
    thickness_m = {
        float(item.radio_material.thickness[0]) for item in loaded.sionna.objects.values()
    }
    assert sorted(thickness_m) == pytest.approx([0.02, 0.1])
    assert {finding.level for finding in check_scene(scene)} == {"ok", "note"}
    frame = scene_frame(scene)
    assert (frame.origin_lon_deg, frame.origin_lat_deg) == (0.0, 0.0)


def test_scene_is_replaced_when_imported_again(write: Write, tmp_path: Path) -> None:
    source = write(*ALL)
    import_scene(source, name="town", out=tmp_path, options=ImportOptions())
    (tmp_path / "town" / "notes.txt").write_text("mine", encoding="utf-8")
    source = write(CONCRETE, PLANE)

    import_scene(source, name="town", out=tmp_path, options=ImportOptions(), overwrite=True)

    meshes = {path.name for path in (tmp_path / "town" / "meshes").iterdir()}
    assert meshes == {"Plane.ply"}
    assert (tmp_path / "town" / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("text", "material"),
    [
        ("itu_concrete.002", "concrete"),
        ("mat-itu_brick", "brick"),
        ("itu-glass", "glass"),
        ("ITU_Metal.013", "metal"),
        ("Very dry ground", "very_dry_ground"),
        ("wood_2", "wood"),
        ("concrete_wall", None),
        ("", None),
    ],
)
def test_material_is_found_by_its_name_when_blender_wrote_it(
    text: str, material: str | None
) -> None:
    assert itu_name(text) == material


def test_unknown_materials_are_named_unless_a_rule_knows_them(write: Write, tmp_path: Path) -> None:
    facade = BRICK.replace("Brick", "Old Facade.001")
    house = HOUSE.replace("Brick", "Old Facade.001")
    source = write(CONCRETE, METAL, facade, PLANE, house, TOWER)

    message = r"'Old Facade\.001' \(of House 1\): no ITU-R P\.2040 material"
    with pytest.raises(SceneError, match=message):
        import_scene(source, name="town", out=tmp_path, options=ImportOptions())

    assert not (tmp_path / "town").exists()
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "default: {walls: concrete, roofs: concrete}\nground: concrete\nrules:\n"
        "  - {tag: material, values: [old_facade], walls: marble}\n",
        encoding="utf-8",
    )
    source = write(CONCRETE, facade, PLANE, house)
    report = import_scene(source, name="town", out=tmp_path, options=ImportOptions(rules=rules))
    assert report.materials == ("concrete", "marble")


@pytest.mark.parametrize(
    ("elements", "options", "error", "message"),
    [
        ((), {}, SceneError, r"scene\.xml holds no mesh"),
        (
            ('<shape type="sphere" id="Ball"/>',),
            {},
            SceneError,
            r"<shape> 'Ball' is of type 'sphere', expected .*; convert it to a mesh",
        ),
        (ALL, {"bands": "60GHz"}, SceneError, r"scene\.xml: material 'brick' is defined for 1-40"),
        (ALL, {"crs": "EPSG:25832"}, ConfigError, r"--crs is for maps"),
        (ALL, {"terrain": Path("a.asc")}, ConfigError, r"--terrain is for maps"),
        (
            (METAL.replace("0.02", "thin"), PLANE.replace("mat-itu_concrete.002", "sheet")),
            {},
            SceneError,
            r"a material has a thickness of 'thin'",
        ),
        (
            (CONCRETE, PLANE, HOUSE),
            {},
            SceneError,
            r"scene\.xml: House 1: no material; give each shape a <bsdf>, or a <ref>",
        ),
        (
            (CONCRETE, PLANE.replace('value="150"', 'x="150" y="0"')),
            {},
            SceneError,
            r"scene\.xml: shape 'mesh-Plane' has no area; its transform flattens it",
        ),
    ],
    ids=["empty", "sphere", "band", "crs", "terrain", "thickness", "bare", "flat"],
)
def test_scene_is_refused_when_it_cannot_be_imported(
    elements: tuple[str, ...],
    options: dict[str, object],
    error: type[Exception],
    message: str,
    write: Write,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        import_scene(
            write(*elements),
            name="town",
            out=tmp_path,
            options=ImportOptions.model_validate(options),
        )
    assert not (tmp_path / "town").exists()
