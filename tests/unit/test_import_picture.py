"""Pictures of buildings, drawn here from polygons, as scenes."""

import gzip
import io
import json
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from raymark.errors import ConfigError, RaymarkError, SceneError
from raymark.scenes import get_scene
from raymark.scenes.importing import ImportOptions, import_scene
from raymark.scenes.importing.picture import PictureOptions
from raymark.scenes.importing.readers import read_map
from raymark.scenes.scene_meshes import read_meshes
from tests.command_line import raymark

GROUND, HOUSE = 255, 128
SHAPE = (60, 80)  # rows, columns


def draw(*outlines: shapely.Polygon, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Colour the pixels whose centre is in a polygon; x right, y up, a metre a pixel."""
    row, column = np.indices(shape)
    x, y = column + 0.5, shape[0] - row - 0.5
    inside = shapely.contains_xy(shapely.union_all(outlines), x, y)
    return np.where(inside, HOUSE, GROUND).astype("u1")


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def read(path: Path, **options: Any) -> tuple[list[Any], Counter[str]]:
    """Return the outlines and how often what was done."""
    source = read_map(path, picture=PictureOptions(metres_per_pixel=1.0, **options))
    return [f.geometry for f in source.features], Counter(f.reason for f in source.findings)


RARER = "the dark colour taken for buildings, as it is the rarer one"
BLOCK = shapely.Polygon(
    [(10, 10), (40, 10), (40, 25), (30, 25), (30, 40), (10, 40)],
    [[(15, 15), (15, 20), (25, 20), (25, 15)]],
)


def test_outlines_are_those_of_the_walls_when_these_lie_along_pixels(tmp_path: Path) -> None:
    tower = shapely.box(18, 16, 21, 19)  # in the courtyard
    path = save(tmp_path / "plan.png", draw(BLOCK, tower, shapely.box(50, 30, 70, 45)))

    outlines, done = read(path)

    expected = [BLOCK, tower, shapely.box(50, 30, 70, 45)]
    assert len(outlines) == 3
    for polygon in expected:
        assert any(outline.normalize() == polygon.normalize() for outline in outlines)
    assert done == {RARER: 1}


@pytest.mark.parametrize("angle_deg", [5, 17, 30, 45, 71])
def test_walls_are_straight_when_they_lie_across_pixels(tmp_path: Path, angle_deg: float) -> None:
    house = shapely.affinity.rotate(shapely.box(25.3, 20.1, 58.9, 40.7), angle_deg)

    (outline,), _ = read(save(tmp_path / "plan.png", draw(house)))

    assert len(outline.exterior.coords) - 1 <= 8
    assert outline.area == pytest.approx(house.area, rel=0.05)
    assert shapely.hausdorff_distance(outline.boundary, house.boundary) < 1.5


def test_thin_building_keeps_its_area_when_it_is_as_narrow_as_a_step(tmp_path: Path) -> None:
    wall = shapely.box(10, 10, 40, 11)
    (outline,), _ = read(save(tmp_path / "plan.png", draw(wall)))
    assert outline.normalize() == wall.normalize()


def test_areas_are_two_buildings_when_they_meet_at_a_corner_alone(tmp_path: Path) -> None:
    one, other = shapely.box(10, 10, 20, 20), shapely.box(20, 20, 30, 30)
    outlines, _ = read(save(tmp_path / "plan.png", draw(one, other)))
    assert sorted(outline.normalize().wkt for outline in outlines) == sorted(
        polygon.normalize().wkt for polygon in (one, other)
    )


def test_rarer_colour_is_buildings_when_its_user_does_not_say(tmp_path: Path) -> None:
    house = shapely.box(20, 20, 40, 40)
    plan = draw(house)
    night = np.where(plan == HOUSE, 255, 0).astype("u1")  # as RadioMapSeer's
    for name, pixels, colour in (("day", plan, "dark"), ("night", night, "light")):
        outlines, done = read(save(tmp_path / f"{name}.png", pixels))
        assert [outline.normalize() for outline in outlines] == [house.normalize()]
        assert done == {f"the {colour} colour taken for buildings, as it is the rarer one": 1}
    outlines, done = read(tmp_path / "day.png", buildings="light")
    frame = shapely.box(0, 0, SHAPE[1], SHAPE[0]) - house
    assert [outline.normalize() for outline in outlines] == [frame.normalize()]
    assert done == {"may go on beyond the edge of the picture": 1}


def test_colour_must_be_given_when_half_of_the_picture_has_it(tmp_path: Path) -> None:
    path = save(tmp_path / "plan.png", draw(shapely.box(0, 0, 39, 60)))
    message = r"dark colour \(grey 128\) is on 49% of it and its light one \(grey 255\) .* say with"
    with pytest.raises(SceneError, match=message):
        read(path)
    (outline,), _ = read(path, buildings="dark")
    assert outline.normalize() == shapely.box(0, 0, 39, 60).normalize()


def test_outlines_are_ground_when_buildings_are_drawn_with_them(tmp_path: Path) -> None:
    """As WAIR-D's: a dark line, and a blur about it that has the fill's own grey here."""
    one, other = shapely.box(10, 10, 30, 30), shapely.box(32, 10, 50, 30)
    around = [
        np.array(draw(each.buffer(width, join_style="mitre")))
        for width in (2, 1, 0)
        for each in (one, other)
    ]
    pixels = np.full(SHAPE, GROUND, dtype="u1")
    for mask, level in zip(around, (HOUSE, HOUSE, 40, 40, HOUSE, HOUSE), strict=True):
        pixels[mask == HOUSE] = level

    outlines, done = read(save(tmp_path / "plan.png", pixels))

    assert sorted(outline.normalize().wkt for outline in outlines) == sorted(
        polygon.normalize().wkt for polygon in (one, other)
    )
    num_pixels = int(sum((mask == HOUSE).astype(int) for mask in around[:2]).clip(0, 1).sum())
    assert done == {RARER: 1, f"outlines, {num_pixels - 400 - 360} pixels, taken for ground": 1}


def test_blurred_edges_go_half_to_each_side_when_a_picture_is_smoothed(tmp_path: Path) -> None:
    house = shapely.box(20.5, 20.5, 40.5, 40.5)
    fine = draw(shapely.affinity.scale(house, 4, 4, origin=(0, 0)), shape=(240, 320))
    smooth = fine.reshape(60, 4, 80, 4).mean(axis=(1, 3)).astype("u1")

    (outline,), _ = read(save(tmp_path / "plan.png", smooth))

    assert shapely.hausdorff_distance(outline.boundary, house.boundary) < 0.75


def test_spots_and_cut_off_buildings_are_counted_when_a_picture_has_them(tmp_path: Path) -> None:
    pixels = draw(shapely.box(0, 20, 10, 30), shapely.box(70, 50, 80, 60), BLOCK)
    pixels[5, 5] = pixels[5, 40] = HOUSE

    outlines, done = read(save(tmp_path / "plan.png", pixels))

    assert len(outlines) == 2  # the first one lies against the block
    assert done["spot of less than 4 pixels"] == 2
    assert done["may go on beyond the edge of the picture"] == 2


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_building_is_the_same_when_the_picture_is_of_another_kind(
    tmp_path: Path, mode: str
) -> None:
    image = Image.fromarray(np.where(draw(BLOCK) == HOUSE, 0, 255).astype("u1"))
    if mode in ("RGBA", "LA"):  # transparent instead of white
        image.putalpha(Image.fromarray(np.where(draw(BLOCK) == HOUSE, 255, 0).astype("u1")))
    path = tmp_path / ("plan.tif" if mode == "CMYK" else "plan.PNG")
    image.convert(mode).save(path)
    packed = tmp_path / "packed.png.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))

    for each in (path, packed):
        if each is packed and mode == "CMYK":
            continue  # the name of the packed one says PNG, but pictures are told by their bytes
        (outline,), _ = read(each)
        assert outline.normalize() == BLOCK.normalize()


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    """Return the beginning of a picture that is as large as it says, with nothing in it."""
    chunks = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
        (b"IEND", b""),
    ):
        chunks += struct.pack(">I", len(body)) + kind + body
        chunks += struct.pack(">I", zlib.crc32(kind + body))
    return chunks


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


PLAN = draw(BLOCK)
STRIPES = np.repeat(np.array([0, 120, 255], dtype="u1"), 20)[:, None] * np.ones(80, dtype="u1")
NOISE = (np.random.default_rng(0).random((800, 800)) < 0.3).astype("u1") * 255


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(np.full(SHAPE, 255, dtype="u1")), r"got 1 colour \(grey 255 on 100.0%\)"),
        (encoded(np.zeros(SHAPE, dtype="u1")), "got 1 colour"),
        (encoded(STRIPES), r"got 3 colours \(grey 0 on 33.3%, grey 120 on 33.3%, grey 255"),
        (encoded(np.arange(240, dtype="u1")[:, None] * np.ones(9, dtype="u1")), "got 10 colours"),
        (encoded(NOISE), "sides of pixels, as noise has"),
        (b"no picture at all", "is no picture that can be read"),
        (encoded(PLAN)[:-40], "is no picture that can be read, or is cut off"),
        (encoded(PLAN)[:20], "is no picture that can be read, or is cut off"),
        (png_header(200_000, 200_000), "has more than 25,000,000 pixels"),
        (png_header(9_000, 9_000), "has more than 25,000,000 pixels"),
        (encoded(PLAN.astype("u2") * 257), "pixels of the type 'I;16', not of 8 bits"),
        (encoded(PLAN.astype("f4"), "TIFF"), "pixels of the type 'F', not of 8 bits"),
        (
            encoded(PLAN, "GIF", save_all=True, append_images=[Image.fromarray(PLAN.T.copy())]),
            "has 2 pictures in it",
        ),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture that can be read"),
    ],
)
def test_picture_is_refused_in_a_sentence_when_it_is_no_plan(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "plan.png"
    path.write_bytes(content)
    with pytest.raises(SceneError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has no scale: give --metres-per-pixel"),
        ({"metres_per_pixel": 1, "bbox": "1,1,2,2"}, "--bbox is for maps that lie somewhere on"),
        ({"metres_per_pixel": 1, "crs": "EPSG:25832"}, "--crs is for maps that lie"),
        ({"metres_per_pixel": 1, "terrain": "a.asc"}, "--terrain is for maps that lie"),
        ({"metres_per_pixel": 500}, "spans 40 x 30 km at 500 m a pixel, but a scene can span 20"),
    ],
)
def test_import_of_a_picture_is_refused_when_an_option_does_not_fit(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = save(tmp_path / "plan.png", PLAN)
    with pytest.raises(RaymarkError, match=message):
        import_scene(path, name="plan", out=tmp_path, options=ImportOptions(**options))
    assert not (tmp_path / "plan").exists()


def test_options_of_pictures_are_refused_when_the_map_is_none(tmp_path: Path) -> None:
    path = tmp_path / "map.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"--metres-per-pixel and --buildings are for pictures"):
        read_map(path, picture=PictureOptions(buildings="dark"))


def test_scene_lies_as_the_picture_does_when_it_is_imported(tmp_path: Path) -> None:
    path = save(tmp_path / "environment.png", PLAN)
    wrong = raymark("scenes", "import", path, "--name", "plan", "--out", tmp_path)
    assert wrong.returncode == 2
    assert "--metres-per-pixel" in wrong.stderr
    options = ("--metres-per-pixel", "0.5", "--height-m", "20", "--name", "plan")
    done = raymark("scenes", "import", path, *options, "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "height given" in done.stdout
    scene = get_scene(str(tmp_path / "plan"))
    # The whole picture, with the margin of every import.
    assert scene.extent_m == (-60.0, -60.0, 100.0, 90.0)
    points = np.concatenate(
        [
            m.triangles.reshape(-1, 3)
            for m in read_meshes(tmp_path / "plan" / "scene.xml")
            if "ground" not in m.name
        ]
    )
    np.testing.assert_allclose(points[:, :2].min(axis=0), [5, 5], atol=0.01)
    np.testing.assert_allclose(points[:, :2].max(axis=0), [20, 20], atol=0.01)
    assert points[:, 2].max() == pytest.approx(20, abs=0.01)
    record = json.loads((tmp_path / "plan" / "import.json").read_text(encoding="utf-8"))
    assert record["height_sources"] == {"given": 1}
    assert record["frame"] is None
    card = (tmp_path / "plan" / "card.md").read_text(encoding="utf-8")
    assert "the origin is its lower left corner" in card
    assert "1 as high as --height-m says" in card


def test_heights_are_drawn_when_none_is_given(tmp_path: Path) -> None:
    path = save(tmp_path / "plan.png", PLAN)
    options = ImportOptions(metres_per_pixel=0.5)
    report = import_scene(path, name="plan", out=tmp_path, options=options)
    assert report.height_sources == {"assumed": 1}
