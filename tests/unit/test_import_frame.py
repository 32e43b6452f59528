import math

import numpy as np
import pyproj
import pytest
import shapely
from pyproj import CRS

from raymark.errors import ConfigError, SceneError
from raymark.scenes.importing.buildings import MapFeature, SourceMap, Surface
from raymark.scenes.importing.local_frame import (
    WGS84,
    LocalFrame,
    horizontal_crs,
    make_frame,
    parse_bbox,
    parse_crs,
    select_in_box,
)

WGS84_GEOD = pyproj.Geod(ellps="WGS84")
MUNICH = LocalFrame(origin_lon_deg=11.57, origin_lat_deg=48.14)
UTM_32N = CRS.from_epsg(25832)

# The plane's scale is off by x^2 / (2 R^2): 1.2e-6 at 10 km, the farthest that a scene reaches.
SCALE_ERROR = 1.3e-6
# Proj4 text and EPSG give the same projection; what is left is rounding.
ROUNDING_M = 1e-6


def square(x: float, y: float, side: float) -> shapely.Polygon:
    return shapely.box(x, y, x + side, y + side)


def map_of(*geometries: shapely.Geometry, crs: CRS = WGS84) -> SourceMap:
    features = (
        MapFeature(id=f"way/{i}", geometry=geometry, tags={})
        for i, geometry in enumerate(geometries)
    )
    return SourceMap(
        features=tuple(features), crs=crs, source="test", licence="CC0-1.0", attribution="none"
    )


@pytest.mark.parametrize("distance_m", [100.0, 3000.0, 10_000.0])
@pytest.mark.parametrize("bearing_deg", [0.0, 90.0, 200.0])
def test_frame_keeps_geodesic_lengths_when_points_are_within_10_km(
    distance_m: float, bearing_deg: float
) -> None:
    lon, lat, _ = WGS84_GEOD.fwd(11.57, 48.14, bearing_deg, distance_m)
    point_m = MUNICH.project_points(np.array([[lon, lat]]), WGS84)[0]
    assert math.hypot(*point_m) == pytest.approx(distance_m, rel=SCALE_ERROR)
    # x is east and y is north.
    angle_deg = math.degrees(math.atan2(point_m[0], point_m[1])) % 360
    assert angle_deg == pytest.approx(bearing_deg, abs=1e-3)


def test_frame_agrees_with_utm_when_utm_is_freed_of_scale_and_convergence() -> None:
    easting_m, northing_m = pyproj.Transformer.from_crs(4326, UTM_32N, always_xy=True).transform(
        11.57, 48.14
    )
    factors = pyproj.Proj(UTM_32N).get_factors(11.57, 48.14)
    corners = np.array([[0.0, 0.0], [50.0, 0.0], [50.0, 80.0]])
    got = MUNICH.project_points(corners + np.array([easting_m, northing_m]), UTM_32N)
    turn = math.radians(factors.meridian_convergence)
    # East of its middle meridian, the grid's north is east of true north.
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    # UTM's scale changes by 3e-7 over 100 m here.
    expected = corners @ rotation / factors.meridional_scale
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_frame_takes_longitude_first_when_a_crs_names_latitude_first() -> None:
    lonlat = np.array([[11.5, 48.1], [11.6, 48.2]])
    in_4326 = MUNICH.project_points(lonlat, CRS.from_epsg(4326))
    np.testing.assert_allclose(in_4326, MUNICH.project_points(lonlat, WGS84), atol=ROUNDING_M)


def test_frame_returns_degrees_when_points_go_there_and_back() -> None:
    lonlat = np.array([[11.5, 48.1], [11.6, 48.2]])
    back = MUNICH.to_lonlat(MUNICH.project_points(lonlat, WGS84))
    np.testing.assert_allclose(back, lonlat, atol=1e-10)


def test_frame_projects_holes_and_arrays_alike_when_geometries_are_given() -> None:
    ring = shapely.Polygon(
        square(11.57, 48.14, 0.001).exterior, [square(11.5703, 48.1403, 0.0003).exterior]
    )
    one = MUNICH.project(ring, WGS84)
    assert isinstance(one, shapely.Polygon)
    assert len(one.interiors) == 1
    # pyproj gives an area the sign of its ring's orientation.
    outline, hole = (
        abs(WGS84_GEOD.geometry_area_perimeter(shapely.Polygon(part))[0])
        for part in (ring.exterior, ring.interiors[0])
    )
    assert one.area == pytest.approx(outline - hole, rel=2 * SCALE_ERROR)
    several = MUNICH.project(np.array([ring, ring]), WGS84)
    assert [shapely.equals(one, other) for other in several] == [True, True]


def test_frame_keeps_heights_when_surfaces_are_projected() -> None:
    wall = np.array([[11.57, 48.14, 0.0], [11.571, 48.14, 0.0], [11.571, 48.14, 9.0]])
    hole = wall[[0, 2, 1]]
    roof = wall + np.array([0.0, 0.001, 9.0])
    surfaces = (Surface(kind="wall", rings=(wall, hole)), Surface(kind="roof", rings=(roof,)))
    projected = MUNICH.project_surfaces(surfaces, WGS84)
    assert [surface.kind for surface in projected] == ["wall", "roof"]
    for before, after in zip((wall, hole), projected[0].rings, strict=True):
        np.testing.assert_array_equal(after[:, 2], before[:, 2])
        np.testing.assert_allclose(
            after[:, :2], MUNICH.project_points(before[:, :2], WGS84), atol=ROUNDING_M
        )
    np.testing.assert_array_equal(projected[1].rings[0][:, 2], roof[:, 2])
    assert MUNICH.project_surfaces((), WGS84) == ()


def test_frame_refuses_a_point_when_it_has_no_place_there() -> None:
    with pytest.raises(SceneError, match="cannot be projected to the scene's frame"):
        MUNICH.project_points(np.array([[1e9, 1e9]]), UTM_32N)


def test_frame_is_at_the_centre_when_made_from_a_map_or_a_box() -> None:
    source = map_of(square(11.5, 48.1, 0.001), square(11.509, 48.109, 0.001))
    frame = make_frame(source)
    assert (frame.origin_lon_deg, frame.origin_lat_deg) == pytest.approx((11.505, 48.105), abs=1e-9)
    boxed = make_frame(source, (11.5, 48.1, 11.502, 48.104))
    assert (boxed.origin_lon_deg, boxed.origin_lat_deg) == pytest.approx((11.501, 48.102), abs=1e-9)


def test_frame_is_at_the_centre_when_the_map_is_metric() -> None:
    frame = make_frame(map_of(square(691_000.0, 5_334_000.0, 200.0), crs=UTM_32N))
    centre_m = frame.project_points(np.array([[691_100.0, 5_334_100.0]]), UTM_32N)
    # The centre of a turned box in degrees differs from that in metres by its convergence.
    np.testing.assert_allclose(centre_m, 0.0, atol=0.01)


def test_frame_joins_both_sides_when_a_map_crosses_the_180_degree_meridian() -> None:
    source = map_of(square(179.998, -17.0, 0.001), square(-179.999, -17.0, 0.001))
    frame = make_frame(source)
    assert abs(frame.origin_lon_deg) == pytest.approx(180.0, abs=0.001)
    west, east = (frame.project(f.geometry, WGS84).centroid.x for f in source.features)
    _, _, distance_m = WGS84_GEOD.inv(179.9985, -16.9995, -179.9985, -16.9995)
    assert east - west == pytest.approx(distance_m, rel=1e-4)
    boxed = make_frame(source, (179.99, -17.01, -179.99, -16.99))
    assert abs(boxed.origin_lon_deg) == pytest.approx(180.0, abs=1e-9)


def test_frame_is_refused_when_the_map_spans_more_than_20_km() -> None:
    source = map_of(square(11.5, 48.1, 0.001), square(11.5, 48.4, 0.001))
    # 0.301 degrees of a meridian at 48 N are 33.5 km.
    with pytest.raises(SceneError, match=r"the map spans 0\.07\d+ x 33\.5\d km.*with --bbox"):
        make_frame(source)
    make_frame(source, (11.5, 48.1, 11.51, 48.11))
    with pytest.raises(SceneError, match=r"the box spans .* km.*choose a smaller one"):
        make_frame(source, (11.0, 48.1, 12.0, 48.2))


def test_selection_keeps_whole_features_when_a_box_touches_them() -> None:
    source = map_of(square(11.5, 48.1, 0.001), square(11.6, 48.1, 0.001))
    kept = select_in_box(source, (11.6005, 48.1, 11.7, 48.2))
    assert [feature.id for feature in kept.features] == ["way/1"]
    assert shapely.equals(kept.features[0].geometry, source.features[1].geometry)
    with pytest.raises(SceneError, match=r"0,0,1,1 holds no building.*lie in 11\.50000,48\.1"):
        select_in_box(source, (0.0, 0.0, 1.0, 1.0))


def test_selection_looks_on_both_sides_when_a_box_crosses_the_meridian() -> None:
    across = shapely.MultiPolygon(
        [shapely.box(179.9995, 0, 180, 1e-3), shapely.box(-180, 0, -179.9995, 1e-3)]
    )
    source = map_of(
        square(179.99, 0.0, 0.001), square(-179.99, 0.0, 0.001), across, square(0.0, 0.0, 0.001)
    )
    kept = select_in_box(source, (179.98, -0.1, -179.98, 0.1))
    assert [feature.id for feature in kept.features] == ["way/0", "way/1", "way/2"]
    kept = select_in_box(source, (-179.995, -0.1, -179.98, 0.1))
    assert [feature.id for feature in kept.features] == ["way/1"]


def test_selection_finds_thin_buildings_when_the_grid_is_turned_against_north() -> None:
    # Far west of the grid's middle meridian, the upper right corner of a thin building lies
    # east or west of its lower left one.
    grid = CRS.from_epsg(25833)
    to_grid = pyproj.Transformer.from_crs(4326, grid, always_xy=True)
    x, y = to_grid.transform(8.5, 48.0)
    source = map_of(shapely.box(x, y, x + 1.0, y + 90.0), crs=grid)
    lower_lon, upper_lon = sorted(
        to_grid.transform([x, x + 1.0], [y, y + 90.0], direction="INVERSE")[0]
    )
    fifth = (upper_lon - lower_lon) / 5
    inside = (lower_lon + 2 * fifth, 47.99, lower_lon + 3 * fifth, 48.01)
    assert len(select_in_box(source, inside).features) == 1
    with pytest.raises(SceneError, match="holds no building"):
        select_in_box(source, (9.0, 47.99, 9.1, 48.01))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("11.5,48.1,11.6,48.2", (11.5, 48.1, 11.6, 48.2)),
        (" -74.02, 40.7 , -74.0,40.71", (-74.02, 40.7, -74.0, 40.71)),
        ("179.9,-17,-179.9,-16.9", (179.9, -17.0, -179.9, -16.9)),
    ],
)
def test_bbox_is_read_when_it_is_a_box(text: str, expected: tuple[float, ...]) -> None:
    assert parse_bbox(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("11.5,48.1,11.6", r"west,south,east,north in degrees, got 3 numbers, not 4"),
        ("11.5", r"got 1 number, not 4"),
        ("11.5;48.1;11.6;48.2", r"got something that is no number"),
        ("11.5,48.1,11.6,", r"got something that is no number"),
        ("nan,48.1,11.6,48.2", r"longitudes within \+-180"),
        ("691000,5334000,692000,5335000", r"latitudes within \+-90 \(metres are not read\)"),
        ("11.6,48.1,11.5,48.2", r"west 11\.6 is not left of east 11\.5"),
        ("11.5,48.1,11.5,48.2", r"west 11\.5 is not left of east 11\.5"),
        ("11.5,48.2,11.6,48.1", r"south 48\.2 is not below north 48\.1"),
    ],
)
def test_bbox_is_refused_when_it_is_no_box(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_bbox(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [("EPSG:25832", "ETRS89 / UTM zone 32N"), ("epsg:7415", "Amersfoort / RD New")],
)
def test_crs_gives_its_map_coordinates_when_it_is_known(text: str, name: str) -> None:
    crs = horizontal_crs(parse_crs(text))
    assert crs.name == name
    assert len(crs.axis_info) == 2


@pytest.mark.parametrize("text", ["EPSG:123456", "utm somewhere", "EPSG:5783", ""])
def test_crs_is_refused_when_it_is_unknown_or_has_no_map_coordinates(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--crs '{text}' is not a known reference system"):
        parse_crs(text)
