"""Rasters of heights: what is read, where it comes to lie, and what is wrong with it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import CRS, Transformer
from shapely import Polygon, box

from raymark.errors import ConfigError, SceneError
from raymark.scenes.importing.buildings import ImportFinding
from raymark.scenes.importing.ground import Ground, flat_ground
from raymark.scenes.importing.local_frame import LocalFrame
from raymark.scenes.importing.terrain import lay_terrain, read_terrain

UTM = "EPSG:25832"
EAST_M, NORTH_M = 500_000.0, 5_500_000.0
"""On the central meridian of its zone, where the two projections are parallel."""
SCALE_M = 0.2
"""UTM shrinks lengths by 4e-4: 8 cm in 200 m; slopes below are at most 1."""
EXACT = 1e-9

Header = dict[str, float | str]


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 100.0 + 0.2 * (x - EAST_M) - 0.1 * (y - NORTH_M)


def raster(size: int = 60, cell_m: float = 10.0) -> tuple[np.ndarray, float, float]:
    """Heights at pixel centres, north first, and the lower left corner."""
    x0, y0 = EAST_M - size * cell_m / 2, NORTH_M - size * cell_m / 2
    x = x0 + (np.arange(size) + 0.5) * cell_m
    y = y0 + (np.arange(size)[::-1] + 0.5) * cell_m
    return slope(*np.meshgrid(x, y)), x0, y0


def write_grid(path: Path, heights: np.ndarray, header: Header, *, prj: bool = True) -> Path:
    head = "".join(f"{key} {value}\n" for key, value in header.items())
    rows = "\n".join(" ".join(f"{h:.6f}" for h in row) for row in heights)
    path.write_text(head + rows + "\n", encoding="ascii")
    if prj:
        path.with_suffix(".prj").write_text(CRS(UTM).to_wkt("WKT1_ESRI"), encoding="utf-8")
    return path


def grid(path: Path, heights: np.ndarray | None = None, **changes: float | str) -> Path:
    values, x0, y0 = raster()
    header: Header = {"ncols": 60, "nrows": 60, "xllcorner": x0, "yllcorner": y0, "cellsize": 10}
    return write_grid(path, values if heights is None else heights, {**header, **changes})


@pytest.fixture
def frame() -> LocalFrame:
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(EAST_M, NORTH_M)
    return LocalFrame(origin_lon_deg=lon, origin_lat_deg=lat)


def lay(
    path: Path, frame: LocalFrame, half_m: float = 200.0, *, crs: str | None = None
) -> tuple[Ground, tuple[ImportFinding, ...]]:
    extent = (-half_m, -half_m, half_m, half_m)
    return lay_terrain(read_terrain(path, crs=crs), frame, extent, spacing_m=15.0)


def check_slope(ground: Ground) -> None:
    x, y = np.meshgrid(ground.x_m, ground.y_m)
    expected = slope(EAST_M + x, NORTH_M + y)
    np.testing.assert_allclose(ground.height_m + ground.offset_m, expected, atol=SCALE_M * 0.3)
    assert ground.height_m.min() == 0
    assert ground.extent_m == (-200, -200, 200, 200)
    assert np.diff(ground.x_m).max() <= 15


@pytest.mark.parametrize("corner", ["corner", "center"])
def test_ascii_grid_is_laid_where_it_belongs_when_corner_is_either(
    tmp_path: Path, frame: LocalFrame, corner: str
) -> None:
    heights, x0, y0 = raster()
    shift = 5.0 if corner == "center" else 0.0
    header: Header = {
        "NCOLS": 60,
        "NROWS": 60,
        f"XLL{corner}": x0 + shift,
        f"yll{corner}": y0 + shift,
        "cellsize": 10,
    }
    ground, findings = lay(write_grid(tmp_path / "t.asc", heights, header), frame)

    check_slope(ground)
    assert findings == ()


def write_tiff(
    path: Path, heights: np.ndarray, crs: str | None = UTM, *, unit: str | None = None
) -> Path:
    _, x0, y0 = raster()
    transform = rasterio.Affine(10, 0, x0, 0, -10, y0 + 600)
    profile = {"driver": "GTiff", "width": 60, "height": 60, "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=-1, **profile) as file:
        file.write(heights.astype("f4"), 1)
        if unit is not None:
            file.units = [unit]
    return path


def test_geotiff_is_laid_where_it_belongs_when_read(tmp_path: Path, frame: LocalFrame) -> None:
    ground, _ = lay(write_tiff(tmp_path / "t.tif", raster()[0]), frame)

    check_slope(ground)


FOOT_M = 0.3048
SURVEY_FOOT_M = 1200 / 3937


def write_prj(path: Path, crs: str, version: str = "WKT1_ESRI") -> None:
    path.with_suffix(".prj").write_text(CRS(crs).to_wkt(version), encoding="utf-8")


@pytest.mark.parametrize("version", ["WKT1_ESRI", "WKT1_GDAL", "WKT2_2019"])
def test_ascii_grid_is_in_feet_when_its_system_says_so(
    tmp_path: Path, frame: LocalFrame, version: str
) -> None:
    path = grid(tmp_path / "feet.asc", raster()[0] / SURVEY_FOOT_M)
    write_prj(path, f"{UTM}+6360", version)
    ground, findings = lay(path, frame)
    check_slope(ground)
    assert findings == ()


def test_heights_are_turned_round_when_their_system_counts_depths(
    tmp_path: Path, frame: LocalFrame
) -> None:
    path = grid(tmp_path / "depth.asc", -raster()[0])
    write_prj(path, f"{UTM}+5715")
    check_slope(lay(path, frame)[0])


@pytest.mark.parametrize("crs", ["EPSG:25832+6360", "EPSG:25832+8228"])
def test_terrain_is_in_feet_when_the_given_system_says_so(
    tmp_path: Path, frame: LocalFrame, crs: str
) -> None:
    unit_m = CRS(crs).axis_info[2].unit_conversion_factor
    path = grid(tmp_path / "feet.asc", raster()[0] / unit_m)
    check_slope(lay(path, frame, crs=crs)[0])


def test_terrain_keeps_the_unit_of_its_file_when_the_given_system_says_none(
    tmp_path: Path, frame: LocalFrame
) -> None:
    path = grid(tmp_path / "feet.asc", raster()[0] / SURVEY_FOOT_M)
    write_prj(path, f"{UTM}+6360")
    check_slope(lay(path, frame, crs=UTM)[0])


@pytest.mark.parametrize(
    ("crs", "unit", "unit_m"),
    [
        (f"{UTM}+6360", None, SURVEY_FOOT_M),
        (UTM, "ft", FOOT_M),
        (UTM, "US survey foot", SURVEY_FOOT_M),
        (UTM, "dm", 0.1),
        (UTM, "metre", 1.0),
    ],
)
def test_geotiff_is_in_feet_when_its_system_or_band_says_so(
    tmp_path: Path, frame: LocalFrame, crs: str, unit: str | None, unit_m: float
) -> None:
    path = write_tiff(tmp_path / "a.tif", raster()[0] / unit_m, crs, unit=unit)
    ground, findings = lay(path, frame)
    check_slope(ground)
    assert findings == ()


def test_geotiff_is_refused_when_its_band_holds_no_lengths(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", raster()[0], unit="degree")
    with pytest.raises(SceneError, match="expected heights in a unit of length, got 'degree'"):
        read_terrain(path)


def test_metres_are_assumed_and_noted_when_feet_are_said_of_x_and_y_alone(tmp_path: Path) -> None:
    x0, y0 = 980_000.0, 190_000.0
    header: Header = {"ncols": 60, "nrows": 60, "xllcorner": x0, "yllcorner": y0, "cellsize": 100}
    path = write_grid(tmp_path / "city.asc", raster()[0], header)
    write_prj(path, "EPSG:2263")
    lon, lat = Transformer.from_crs("EPSG:2263", "EPSG:4326", always_xy=True).transform(
        x0 + 3000, y0 + 3000
    )
    ground, findings = lay(path, LocalFrame(origin_lon_deg=lon, origin_lat_deg=lat))
    assert ground.offset_m > 40  # metres: 40 feet are 12 m
    assert [(finding.action, finding.reason) for finding in findings] == [
        (
            "assumed",
            "heights of the terrain taken as metres; 'US survey foot' is stated for x and y alone",
        )
    ]


@pytest.mark.parametrize("form", ["asc", "tif"])
def test_holes_are_filled_and_reported_when_pixels_have_no_data(
    tmp_path: Path, frame: LocalFrame, form: str
) -> None:
    heights = np.full((60, 60), 7.0)
    heights[30:, :] = 9.0
    heights[28:31, 20:24] = -1
    path = tmp_path / f"t.{form}"
    if form == "asc":
        grid(path, heights, NODATA_value=-1)
    else:
        write_tiff(path, heights)

    ground, findings = lay(path, frame)

    assert set(np.round(ground.height_m[[0, -1]].ravel(), 6)) == {0.0, 2.0}
    assert ground.height_m.max() == pytest.approx(2.0)
    x, y = np.meshgrid(ground.x_m, ground.y_m)
    column, row = np.rint(29.5 + x / 10), np.rint(29.5 - y / 10)
    count = ((row >= 28) & (row < 31) & (column >= 20) & (column < 24)).sum()
    reason = f"{count} of {ground.height_m.size} ground points have no height; filled from the"
    assert [(f.action, f.building) for f in findings] == [("repaired", "terrain")]
    assert findings[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.asc", None, r"terrain .*t\.asc does not exist"),
        ("t.xyz", "1 2 3", r"rasters of type '\.xyz' are not read; give an ESRI ASCII grid"),
        ("t.asc", "", r"is no ESRI ASCII grid: 'nrows' is missing"),
        ("t.asc", "ncols 2\nnrows 2\n1 2 3\n", r"is no ESRI ASCII grid: cannot reshape"),
        ("t.asc", "ncols 1\nnrows 1\nfoo\n", r"is no ESRI ASCII grid: could not convert"),
        ("t.asc", "ncols 1\nnrows 1\ncellsize 1\nyllcorner 0\n5", r"'xllcorner' is missing"),
        ("t.asc", "ncols -1\nnrows 1\n5\n", r"its ncols is -1, expected a whole number above 0"),
        ("t.asc", "ncols 1\nnrows 0\n5\n", r"its nrows is 0, expected a whole number above 0"),
        ("t.asc", "ncols 1\nnrows 1.5\n5\n", r"its nrows is 1\.5, expected a whole number"),
        ("t.asc", "ncols 1\nnrows nan\n5\n", r"its nrows is nan, expected a whole number"),
        ("t.asc", "ncols inf\nnrows 1\n5\n", r"its ncols is inf, expected a whole number"),
        ("t.asc", "ncols 1e300\nnrows 1\n5\n", r"is no ESRI ASCII grid: "),
        *(
            (
                "t.asc",
                f"ncols 1\nnrows 1\ncellsize {size}\nxllcorner 0\nyllcorner 0\n5",
                r"its cell size is not positive and finite",
            )
            for size in ("0", "-1", "nan", "inf")
        ),
        *(
            (
                "t.asc",
                f"ncols 1\nnrows 1\ncellsize 1\nxllcorner {x}\nyllcorner 0\n5",
                r"its corner is not finite",
            )
            for x in ("nan", "-inf")
        ),
        (
            "t.asc",
            "ncols 1\nnrows 1\ncellsize 1\nxllcorner 0\nyllcorner 0\n-9999",
            r"t\.asc holds no height at all",
        ),
        (
            "t.asc",
            "ncols 1\nnrows 1\ncellsize 1\nxllcorner 0\nyllcorner 0\n5",
            r"does not say its reference system; give --terrain-crs",
        ),
        ("t.tif", "nonsense", r"t\.tif is no georeferenced GeoTIFF"),
    ],
)
def test_terrain_raises_one_sentence_when_the_file_is_wrong(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="ascii")

    with pytest.raises(SceneError, match=message):
        read_terrain(tmp_path / name)


def test_terrain_takes_the_given_crs_when_its_file_has_none(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "t.tif", raster()[0], crs=None)

    assert read_terrain(path, crs="EPSG:25833").crs == CRS("EPSG:25833")
    with pytest.raises(SceneError, match="does not say its reference system"):
        read_terrain(path)
    with pytest.raises(ConfigError, match="EPSG:nonsense"):
        read_terrain(path, crs="EPSG:nonsense")


def test_geotiff_names_the_extra_when_rasterio_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiff(tmp_path / "t.tif", raster()[0])
    monkeypatch.setitem(sys.modules, "rasterio", None)

    with pytest.raises(ConfigError, match=r'pip install "raymark\[maps\]"'):
        read_terrain(path)


def test_terrain_raises_when_it_covers_a_part_of_the_scene(
    tmp_path: Path, frame: LocalFrame
) -> None:
    with pytest.raises(SceneError, match=r"does not cover the scene: 2\d% of its 680 x 680 m lie"):
        lay(grid(tmp_path / "t.asc"), frame, half_m=340.0)


def test_terrain_raises_when_no_data_is_not_declared(tmp_path: Path, frame: LocalFrame) -> None:
    heights, _, _ = raster()
    heights[30, 30] = -32768

    with pytest.raises(SceneError, match=r"expected heights from -500 to 9000 m, got -\d+ to"):
        lay(grid(tmp_path / "t.asc", heights), frame)


def bumpy() -> Ground:
    rng = np.random.default_rng(4)
    axis = np.linspace(0.0, 90.0, 10)
    return Ground(x_m=axis, y_m=axis[:8], height_m=rng.uniform(0, 8, (8, 10)))


def test_ground_mesh_has_the_heights_of_its_function_when_sampled() -> None:
    ground = bumpy()
    mesh = ground.mesh()
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.ones(3), len(mesh.faces))
    points = np.einsum("fk,fkx->fx", weights, mesh.triangles)

    np.testing.assert_allclose(ground.height_at(points[:, :2]), points[:, 2], atol=EXACT)
    assert (mesh.face_normals[:, 2] > 0).all()
    assert mesh.area_faces @ mesh.face_normals[:, 2] == pytest.approx(90 * 70)


def test_ends_of_the_ground_are_those_of_all_triangles_below_when_footprints_are_any() -> None:
    """Cut every triangle by the footprint; corners of the pieces are the lowest and highest."""
    ground = bumpy()
    faces = ground.mesh().triangles
    rng = np.random.default_rng(6)
    shapes = [
        shapely.affinity.rotate(box(x, y, x + w, y + d), angle)
        for x, y, w, d, angle in rng.uniform(3, 30, (30, 5)) * [1, 1, 0.8, 0.8, 9]
    ]
    shapes = [shape for shape in shapes if box(*ground.extent_m).contains(shape)]
    shapes.append(box(12, 12, 40, 40).difference(box(15, 15, 35, 35)))
    shapes.append(shapely.MultiPolygon([box(1, 1, 4, 4), box(50, 50, 53, 52)]))

    def naive(shape: Polygon) -> tuple[float, float]:
        heights = []
        for face in faces:
            piece = shape.intersection(Polygon(face[:, :2]))
            if piece.area > 0:
                corners = shapely.get_coordinates(piece)
                plane = np.linalg.solve(np.column_stack([face[:, :2], np.ones(3)]), face[:, 2])
                heights += (corners @ plane[:2] + plane[2]).tolist()
        return min(heights), max(heights)

    lowest, highest = zip(*(naive(shape) for shape in shapes), strict=True)
    np.testing.assert_allclose(ground.lowest_below(shapes), lowest, atol=1e-6)
    np.testing.assert_allclose(ground.highest_below(shapes), highest, atol=1e-6)


def test_flat_ground_is_two_triangles_when_made() -> None:
    ground = flat_ground((-10.0, -20.0, 30.0, 40.0))

    assert len(ground.mesh().faces) == 2
    assert ground.mesh().area == pytest.approx(40 * 60)
    np.testing.assert_array_equal(ground.lowest_below([box(0, 0, 5, 5), box(2, 2, 9, 9)]), 0)
