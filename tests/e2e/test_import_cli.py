"""`raymark scenes import` as its user runs it: a folder that works, or one clear sentence."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import shapely
import trimesh
import yaml
from typer.testing import CliRunner

from raymark.cli import app
from raymark.errors import ConfigError, DatasetError, RaymarkError, SceneError
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import FrontEnd
from raymark.scenes import get_scene
from raymark.scenes.importing import ImportOptions, ImportReport, import_scene
from raymark.storage import file_sha256

runner = CliRunner()

METRE_DEG = 1 / 111_195
"""One metre of latitude; the blocks lie on the equator."""


def feature(x: float, y: float, width: float, depth: float, **tags: str) -> dict[str, Any]:
    corners = shapely.box(x, y, x + width, y + depth).exterior.coords
    ring = [[11 + a * METRE_DEG, b * METRE_DEG] for a, b in corners]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"building": "yes", **tags}, "geometry": geometry}


def write_map(path: Path, features: list[dict[str, Any]]) -> Path:
    for i, item in enumerate(features):
        item["id"] = f"b{i}"
    collection = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(collection), encoding="utf-8")
    return path


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """Five houses: by height, levels or neither; two overlap; and a sliver."""
    return write_map(
        tmp_path / "block.geojson",
        [
            feature(0, 0, 20, 12, height="15"),
            feature(20, 0, 15, 12, height="9", **{"building:material": "brick"}),
            feature(0, 30, 12, 12, **{"building:levels": "4"}),
            feature(50, 0, 12, 12),
            feature(55, 5, 12, 12, height="21"),
            feature(80, 0, 30, 0.02, height="5"),
        ],
    )


def run(*args: Any) -> Any:
    return runner.invoke(app, ["scenes", "import", *(str(arg) for arg in args)])


def load(folder: Path) -> LoadedScene:
    return LoadedScene(get_scene(str(folder)).xml_path(folder), FrontEnd())


def test_import_writes_a_scene_that_loads_when_map_is_good(block: Path, tmp_path: Path) -> None:
    done = run(block, "--name", "town", "--out", tmp_path, "--bands", "2.6GHz,28GHz")

    assert done.exit_code == 0, done.output
    assert "in the scene" in done.stdout
    assert "add-site" in done.stdout
    folder = tmp_path / "town"
    scene = get_scene(str(folder))
    assert scene.card.startswith("# town\n")
    assert scene.sites == ()
    loaded = load(folder)
    low, high = loaded.box_m
    assert scene.extent_m == (*low[:2], *high[:2])
    assert high[2] == pytest.approx(21.0)
    assert set(loaded.object_materials) == set(scene.settings.materials)
    width, depth = high[:2] - low[:2]
    # Houses of 67 x 42 m, a margin of 60 m on each side, and whole metres.
    assert (width, depth) == (pytest.approx(187, abs=2), pytest.approx(162, abs=2))


def test_import_tells_what_it_did_when_asked_of_each_building(block: Path, tmp_path: Path) -> None:
    report = import_scene(block, name="town", out=tmp_path, options=ImportOptions(seed=3))
    folder = tmp_path / "town"

    assert report.num_features == 6
    assert report.num_buildings == 5
    assert report.height_sources == {"tag": 3, "levels": 1, "assumed": 1}
    assert report.input_sha256 == {"block.geojson": file_sha256(block)}
    assert ImportReport.model_validate_json((folder / "import.json").read_bytes()) == report
    findings = pd.read_csv(folder / "findings.csv")
    assert set(findings["building"][findings["action"] == "merged"]) == {"b3", "b4"}
    assert set(findings["building"][findings["action"] == "dropped"]) == {"b5"}
    assert len(findings) == sum(count.count for count in report.findings)
    buildings = json.loads((folder / "buildings.geojson").read_text(encoding="utf-8"))
    properties = {f["properties"]["id"]: f["properties"] for f in buildings["features"]}
    assert properties["b0"]["top_m"] == 15
    assert properties["b1"]["wall_material"] == "brick"
    assert properties["b3"]["height_source"] == "assumed"
    outline = shapely.geometry.shape(buildings["features"][0]["geometry"]).bounds
    # The grid of 1 cm moves corners by up to 7 mm.
    expected = (11, 0, 11 + 20 * METRE_DEG, 12 * METRE_DEG)
    assert outline == pytest.approx(expected, abs=0.01 * METRE_DEG)
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert written == set(report.files)


def test_import_writes_the_same_bytes_when_run_twice(block: Path, tmp_path: Path) -> None:
    contents = []
    for out in (tmp_path / "a", tmp_path / "deep" / "b"):
        report = import_scene(block, name="town", out=out, options=ImportOptions())
        contents.append({name: (out / "town" / name).read_bytes() for name in report.files})

    assert contents[0] == contents[1]
    other = import_scene(block, name="town", out=tmp_path / "c", options=ImportOptions(seed=1))
    path = tmp_path / "c" / "town" / "buildings.geojson"
    assert "buildings.geojson" in other.files
    assert path.read_bytes() != contents[0]["buildings.geojson"]


def test_import_keeps_to_the_box_when_one_is_given(block: Path, tmp_path: Path) -> None:
    box = ",".join(str(value) for value in (11 + 45 * METRE_DEG, -1e-5, 11 + 70 * METRE_DEG, 2e-4))
    done = run(block, "--name", "town", "--out", tmp_path, "--bbox", box)

    assert done.exit_code == 0, done.output
    text = (tmp_path / "town" / "buildings.geojson").read_text(encoding="utf-8")
    assert {f["properties"]["id"] for f in json.loads(text)["features"]} == {"b3", "b4"}


def test_import_sets_houses_on_terrain_when_it_is_given(block: Path, tmp_path: Path) -> None:
    """A step of 10 m east of the first two houses; all ground is 300 m above the sea."""
    rows = "\n".join(
        " ".join("300" if x < 45 else "310" for x in range(-100, 180)) for _ in range(240)
    )
    head = f"ncols 280\nnrows 240\nxllcorner {11 - 100 * METRE_DEG}\nyllcorner {-100 * METRE_DEG}\n"
    grid = tmp_path / "hill.asc"
    grid.write_text(f"{head}cellsize {METRE_DEG}\n{rows}\n", encoding="ascii")
    args = ("--terrain", grid, "--terrain-crs", "EPSG:4326", "--terrain-spacing", "2")

    done = run(block, "--name", "town", "--out", tmp_path, *args)

    assert done.exit_code == 0, done.output
    _, high = load(tmp_path / "town").box_m
    assert high[2] == pytest.approx(10 + 21.0, abs=0.01)
    record = json.loads((tmp_path / "town" / "import.json").read_text(encoding="utf-8"))
    assert record["ground_offset_m"] == pytest.approx(300)
    assert record["options"]["terrain"] == "hill.asc"
    assert "terrain from `hill.asc`" in (tmp_path / "town" / "card.md").read_text(encoding="utf-8")


def test_import_says_so_when_a_roof_lies_below_the_ground_at_one_end(tmp_path: Path) -> None:
    """A slope of 1 in 5; over 60 m it rises by 12 m, over 20 m by 4 m."""
    rows = "\n".join(" ".join(f"{x / 5:g}" for x in range(-100, 180)) for _ in range(240))
    head = f"ncols 280\nnrows 240\nxllcorner {11 - 100 * METRE_DEG}\nyllcorner {-100 * METRE_DEG}\n"
    grid = tmp_path / "slope.asc"
    grid.write_text(f"{head}cellsize {METRE_DEG}\n{rows}\n", encoding="ascii")
    houses = [
        feature(0, 0, 60, 10, height="6"),
        feature(0, 30, 60, 10, height="13"),
        feature(0, 60, 20, 10, height="6"),
    ]
    town = write_map(tmp_path / "town.geojson", houses)
    args = ("--terrain", grid, "--terrain-crs", "EPSG:4326")

    done = run(town, "--name", "town", "--out", tmp_path, *args)

    assert done.exit_code == 0, done.output
    findings = pd.read_csv(tmp_path / "town" / "findings.csv")
    assert findings["building"].tolist() == ["b0"]
    assert findings["reason"][0].startswith("its roof lies below the ground at one end")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--name", "munich"], "'munich' is that of a built-in scene"),
        (["--name", "../town"], "must begin with a letter"),
        (["--name", "x", "--bbox", "1,2,3"], "got 3 numbers, not 4"),
        (["--name", "x", "--bbox", "0,0,0.001,0.001"], "holds no building"),
        (["--name", "x", "--bands", "60GHz"], "material 'brick' is defined for 1-40 GHz"),
        (["--name", "x", "--bands", "6G"], "unknown band '6G'.* in --bands '6G'"),
        (["--name", "x", "--bands", "28"], "has no unit: .* in --bands '28'"),
        (["--name", "x", "--bands", ""], "unknown band ''.* in --bands ''"),
        (["--name", "x", "--terrain-crs", "EPSG:4326"], "^--terrain-crs is .*; give --terrain"),
        (["--name", "x", "--terrain", "none.asc"], "terrain none.asc does not exist"),
        (["--name", "x", "--terrain-spacing", "0"], "^--terrain-spacing: .*, got 0"),
        (["--name", "x", "--terrain-spacing", "nan"], "^--terrain-spacing: .*, got nan"),
        (["--name", "x", "--materials", "none.yaml"], "^--materials: cannot read none.yaml"),
        (["--name", "x", "--materials", "."], r"^--materials: cannot read \.: it is no regular"),
        (["--name", "x", "--seed", "-1"], "^--seed: .* greater than or equal to 0, got -1$"),
        (["--name", "x", "--seed", str(2**40)], "^--seed: .* less than 4294967296"),
        (["--name", "x", "--fetch", "--bbox", "11,0,12,1"], "--fetch takes --bbox .* and no FILE"),
    ],
)
def test_import_leaves_nothing_when_an_option_is_wrong(
    block: Path, tmp_path: Path, args: list[str], message: str
) -> None:
    done = run(block, "--out", tmp_path / "out", *args)

    assert isinstance(done.exception, RaymarkError)
    assert re.search(message, str(done.exception))
    assert [path.name for path in tmp_path.iterdir()] == ["block.geojson"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"map .*map\.geojson does not exist"),
        ("", r"map\.geojson is empty"),
        ("nonsense", r"map\.geojson"),
        ('{"type": "FeatureCollection", "features": []}', "no building"),
    ],
)
def test_import_leaves_nothing_when_the_map_is_wrong(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "map.geojson"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(RaymarkError, match=message):
        import_scene(path, name="x", out=tmp_path / "out", options=ImportOptions())

    assert not (tmp_path / "out").exists()


def test_import_says_what_was_dropped_when_nothing_is_left(tmp_path: Path) -> None:
    path = write_map(tmp_path / "thin.geojson", [feature(0, 0, 30, 0.02, height="5")])

    with pytest.raises(SceneError, match=r"no building is left of 1 \(1 x footprint encloses"):
        import_scene(path, name="x", out=tmp_path, options=ImportOptions())


@pytest.mark.parametrize("args", [[], ["--fetch"]])
def test_import_asks_for_a_map_when_there_is_none(args: list[str]) -> None:
    done = run("--name", "x", *args)

    assert isinstance(done.exception, ConfigError)
    assert "--bbox west,south,east,north" in str(done.exception)


def test_import_exits_with_one_sentence_when_it_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from raymark.cli import main; main()", "scenes", "import"]
    done = subprocess.run(
        [*command, tmp_path / "none.geojson", "--name", "x"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 2
    *waited, said = done.stderr.splitlines()
    assert said.startswith("error: map ")
    assert len(waited) <= 1  # what it does for a while


@pytest.fixture
def town(block: Path, tmp_path: Path) -> Path:
    import_scene(block, name="town", out=tmp_path, options=ImportOptions())
    return tmp_path / "town"


def test_import_refuses_when_the_folder_exists(block: Path, town: Path) -> None:
    before = (town / "import.json").read_bytes()

    with pytest.raises(SceneError, match=r"town exists; .+ or give --overwrite"):
        import_scene(block, name="town", out=town.parent, options=ImportOptions(seed=5))

    assert (town / "import.json").read_bytes() == before


def test_import_refuses_to_overwrite_when_no_import_wrote_the_folder(
    block: Path, tmp_path: Path
) -> None:
    (tmp_path / "town").mkdir()
    (tmp_path / "town" / "thesis.txt").write_text("years of work", encoding="utf-8")

    with pytest.raises(SceneError, match="no import wrote it"):
        import_scene(block, name="town", out=tmp_path, options=ImportOptions(), overwrite=True)

    assert (tmp_path / "town" / "thesis.txt").is_file()


def test_import_replaces_what_it_wrote_and_no_more_when_told_to_overwrite(
    block: Path, town: Path
) -> None:
    (town / "notes.txt").write_text("mine", encoding="utf-8")
    site = {"name": "bs0", "position_m": [0.0, 0.0, 30.0], "azimuth_deg": 0.0}
    settings = yaml.safe_load((town / "scene.yaml").read_text(encoding="utf-8"))
    (town / "scene.yaml").write_text(yaml.safe_dump({**settings, "sites": [site]}))
    only_brick = town.parent / "rules.yaml"
    only_brick.write_text("default: {walls: brick, roofs: brick}\nground: concrete\n")
    assert (town / "meshes" / "brick_walls.ply").is_file()

    options = ImportOptions(rules=only_brick)
    report = import_scene(block, name="town", out=town.parent, options=options, overwrite=True)

    assert (town / "notes.txt").read_text(encoding="utf-8") == "mine"
    meshes = {path.name for path in (town / "meshes").iterdir()}
    assert meshes == {"brick_buildings.ply", "ground.ply"}
    assert get_scene(str(town)).sites == ()
    lost = [f for f in report.findings if f.reason == "site of the scene that was replaced"]
    assert [f.count for f in lost] == [1]
    assert sorted(p.name for p in town.parent.iterdir()) == ["block.geojson", "rules.yaml", "town"]


def test_import_leaves_the_former_scene_when_writing_fails(
    block: Path, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in town.rglob("*") if path.is_file()}
    monkeypatch.setattr(trimesh.Trimesh, "export", fail)

    with pytest.raises(DatasetError, match=r"cannot write .*town: the disk is full; free some"):
        import_scene(block, name="town", out=town.parent, options=ImportOptions(), overwrite=True)

    assert {path: path.read_bytes() for path in town.rglob("*") if path.is_file()} == before
    assert sorted(p.name for p in town.parent.iterdir()) == ["block.geojson", "town"]
