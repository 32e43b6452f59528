"""From footprints to one closed surface: exact volumes and areas, no torn edges."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon, box

from raymark.scenes.importing.buildings import Building, ImportFinding, Surface
from raymark.scenes.importing.meshes import is_closed
from raymark.scenes.importing.solids import SINK_M, Solids, build_solids

ROUNDING = 1e-9
"""Volumes and areas of whole centimetres are exact but for float64 sums."""


def building(footprint: Any, top_m: float, bottom_m: float = 0.0, **changes: Any) -> Building:
    values = {
        "id": "b",
        "height_source": "tag",
        "wall_material": "concrete",
        "roof_material": "concrete",
    }
    return Building(footprint=footprint, top_m=top_m, bottom_m=bottom_m, **{**values, **changes})


def solids(buildings: Sequence[Building], ground_m: Any = 0.0) -> Solids:
    return build_solids(buildings, np.broadcast_to(np.asarray(ground_m, "f8"), len(buildings)))


def surface(made: Solids) -> trimesh.Trimesh:
    return trimesh.util.concatenate([mesh for mesh, _ in made.meshes.values()])


def checked(buildings: Sequence[Building], ground_m: Any = 0.0) -> trimesh.Trimesh:
    """Build, and check what holds for every input."""
    mesh = surface(solids(buildings, ground_m))
    assert is_closed(mesh)
    rounded = trimesh.Trimesh(mesh.vertices.astype("f4"), mesh.faces, process=False)
    assert is_closed(rounded)
    assert mesh.area_faces.min() > 0
    return mesh


def test_closedness_fails_when_a_triangle_is_missing_or_turned() -> None:
    """The check that all other tests rely on can fail."""
    cube = trimesh.creation.box()
    turned = cube.faces.copy()
    turned[3] = turned[3, ::-1]

    assert is_closed(cube)
    assert not is_closed(trimesh.Trimesh(cube.vertices, cube.faces[1:], process=False))
    assert not is_closed(trimesh.Trimesh(cube.vertices, turned, process=False))


def test_box_has_its_volume_and_a_sunken_floor_when_alone() -> None:
    mesh = checked([building(box(0, 0, 10, 20), 30.0)])

    assert mesh.volume == pytest.approx(10 * 20 * (30 + SINK_M))
    assert mesh.area == pytest.approx(2 * 200 + 60 * (30 + SINK_M))
    np.testing.assert_allclose(mesh.bounds, [[0, 0, -SINK_M], [10, 20, 30]])
    assert len(mesh.faces) == 12


def test_box_counts_from_its_ground_when_that_is_high() -> None:
    mesh = checked([building(box(0, 0, 10, 20), 30.0)], 100.0)

    np.testing.assert_allclose(mesh.bounds[:, 2], [100 - SINK_M, 130])


def test_prisms_have_the_volume_of_their_union_when_three_overlap() -> None:
    """Inclusion and exclusion of intersections, each as high as the lowest prism."""
    shapes = [
        (shapely.affinity.rotate(box(0, 0, 30, 20), 15), 10.0),
        (shapely.affinity.rotate(box(10, 5, 45, 25), -20), 25.0),
        (Polygon([(5, -10), (40, 30), (0, 28)]), 17.0),
    ]
    shapes = [(shapely.set_precision(shape, 0.01), top) for shape, top in shapes]

    def common(*chosen: tuple[Polygon, float]) -> float:
        area = shapely.intersection_all([shape for shape, _ in chosen]).area
        return area * (min(top for _, top in chosen) + SINK_M)

    a, b, c = shapes
    union = common(a) + common(b) + common(c)
    union += common(a, b, c) - common(a, b) - common(a, c) - common(b, c)

    made = solids([building(shape, top, id=str(top)) for shape, top in shapes])
    mesh = checked([building(shape, top) for shape, top in shapes])

    # Crossings of outlines move to the grid: half a centimetre along outlines of 300 m.
    assert mesh.volume == pytest.approx(union, abs=0.005 * 300)
    assert {(f.action, f.building) for f in made.findings} == {
        ("merged", "10.0"),
        ("merged", "25.0"),
        ("merged", "17.0"),
    }


def test_wall_between_houses_vanishes_when_they_touch() -> None:
    made = solids([building(box(0, 0, 10, 10), 8.0), building(box(10, 0, 20, 10), 8.0)])
    mesh = surface(made)

    assert mesh.area == pytest.approx(2 * 200 + 60 * (8 + SINK_M))
    assert made.findings == ()


def test_passage_stays_open_when_a_part_hovers() -> None:
    towers = [building(box(x, 0, x + 10, 10), 20.0) for x in (0, 20)]
    bridge = building(box(10, 0, 20, 10), 20.0, 5.0)
    mesh = checked([*towers, bridge])

    assert mesh.volume == pytest.approx(2 * 100 * (20 + SINK_M) + 100 * 15)
    # Outline 80 m round, less the two ends of the passage below, and its two flanks.
    walls = 80 * (20 + SINK_M) - 2 * 10 * (5 + SINK_M) + 2 * 10 * (5 + SINK_M)
    assert mesh.area == pytest.approx(2 * 300 + walls)


def test_bridge_counts_from_the_ground_of_its_towers_when_they_stand_lower() -> None:
    towers = [building(box(x, 0, x + 10, 10), 20.0) for x in (0, 20)]
    bridge = building(box(10, 0, 20, 10), 20.0, 5.0)

    made = solids([*towers, bridge], [1.0, 2.0, 3.0])

    np.testing.assert_allclose(made.base_m, 1.0)


def test_houses_keep_their_own_ground_when_in_a_row_on_a_slope() -> None:
    row = [building(box(x, 0, x + 10, 10), 8.0) for x in (0, 10, 20)]
    mesh = checked(row, [0.0, 1.0, 2.0])

    assert mesh.volume == pytest.approx(3 * 100 * (8 + SINK_M))
    assert mesh.bounds[1, 2] == pytest.approx(10.0)


def test_courtyard_stays_open_when_a_footprint_has_a_hole() -> None:
    ring = box(0, 0, 30, 30).difference(box(10, 10, 20, 20))
    hut = building(box(13, 13, 16, 16), 3.0)
    mesh = checked([building(ring, 12.0), hut])

    assert mesh.volume == pytest.approx(800 * (12 + SINK_M) + 9 * (3 + SINK_M))


def test_surface_is_closed_when_houses_touch_in_a_corner() -> None:
    corner = [building(box(0, 0, 10, 10), 8.0), building(box(10, 10, 20, 20), 12.0)]
    mesh = checked(corner)

    assert mesh.volume == pytest.approx(100 * (20 + 2 * SINK_M))
    assert not mesh.is_watertight  # four faces meet in the common edge, which is legal


def test_surface_is_closed_when_many_houses_lean_on_one() -> None:
    rng = np.random.default_rng(0)
    long_house = building(shapely.affinity.rotate(box(0, 0, 300, 20), 7, origin=(0, 0)), 15.0)
    row = [
        building(
            shapely.affinity.rotate(box(i * 3, 20, i * 3 + 3, 30), 7, origin=(0, 0)),
            float(rng.integers(5, 25)),
        )
        for i in range(100)
    ]
    mesh = checked([long_house, *row])

    # Corners move to the grid: half a centimetre along walls of 1,700 m, 25 m high.
    expected = sum(b.footprint.area * (b.top_m + SINK_M) for b in [long_house, *row])
    assert mesh.volume == pytest.approx(expected, abs=0.005 * 1700 * 25)


def test_gap_closes_when_it_is_a_sliver() -> None:
    """Two outlines drawn by hand leave 4 cm between two houses, closed at both ends."""
    frame = box(0, 0, 20, 10).difference(box(9.98, 1, 10.02, 9))
    mesh = checked([building(frame, 8.0)])

    assert mesh.volume == pytest.approx(200 * (8 + SINK_M))


def test_building_is_reported_when_it_is_too_thin() -> None:
    made = solids([building(box(0, 0, 9, 9), 5.0), building(box(20, 0, 20.06, 9), 5.0, id="thin")])

    reason = "thinner than 10 cm or lower than 1 cm"
    assert made.findings == (ImportFinding(action="dropped", reason=reason, building="thin"),)
    assert surface(made).volume == pytest.approx(81 * (5 + SINK_M))


def test_multipolygon_is_extruded_when_it_has_two_parts() -> None:
    both = MultiPolygon([box(0, 0, 5, 5), box(10, 0, 15, 5)])

    assert checked([building(both, 4.0)]).volume == pytest.approx(50 * (4 + SINK_M))


def test_faces_go_to_the_tallest_when_materials_differ() -> None:
    low = building(box(0, 0, 10, 10), 5.0, wall_material="brick", roof_material="metal")
    tall = building(box(5, 0, 15, 10), 20.0, wall_material="glass", roof_material="wood")
    made = solids([low, tall])

    assert sorted(made.meshes) == ["brick_walls", "glass_walls", "metal_roofs", "wood_roofs"]
    assert is_closed(surface(made))
    assert not is_closed(made.meshes["brick_walls"][0])
    area = {name: mesh.area for name, (mesh, _) in made.meshes.items()}
    assert area["metal_roofs"] == pytest.approx(2 * 50)
    assert area["wood_roofs"] == pytest.approx(2 * 100)
    assert area["brick_walls"] == pytest.approx(20 * (5 + SINK_M))
    assert area["glass_walls"] == pytest.approx(40 * (20 + SINK_M) - 10 * (5 + SINK_M))
    assert {material for _, material in made.meshes.values()} == {"brick", "glass", "metal", "wood"}


def test_walls_and_roofs_share_a_mesh_when_they_are_of_one_material() -> None:
    """Only edges within a mesh diffract by default."""
    hall = building(box(0, 0, 10, 10), 5.0, roof_material="metal")
    house = building(box(20, 0, 30, 10), 7.0)
    made = solids([hall, house])

    assert sorted(made.meshes) == ["concrete_buildings", "metal_roofs"]
    assert is_closed(surface(made))


def test_surface_is_one_mesh_when_all_is_of_one_material() -> None:
    made = solids([building(box(0, 0, 10, 10), 5.0), building(box(20, 0, 30, 10), 7.0)])

    assert [(name, material) for name, (_, material) in made.meshes.items()] == [
        ("concrete_buildings", "concrete")
    ]


def test_solids_are_the_same_when_built_twice() -> None:
    shapes = [
        building(shapely.affinity.rotate(box(i, i, i + 9, i + 5), i), 4.0 + i) for i in (0, 3)
    ]

    first, second = (surface(solids(shapes)) for _ in range(2))

    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.faces, second.faces)


boxes = st.lists(
    st.tuples(*[st.integers(0, 5)] * 3, *[st.integers(1, 3)] * 3), min_size=1, max_size=7
)


@given(boxes)
@settings(max_examples=60)
def test_solids_have_volume_and_area_of_their_voxels_when_boxes_are_any(
    corners: list[tuple[int, ...]],
) -> None:
    """Count unit cubes and their free faces; the first layer is the sunken one."""
    filled = np.zeros((10, 10, 11), dtype=bool)
    buildings = []
    for x, y, z, width, depth, height in corners:
        first = z + 1 if z else 0
        filled[x + 1 : x + 1 + width, y + 1 : y + 1 + depth, first : z + 1 + height] = True
        buildings.append(building(box(x, y, x + width, y + depth), float(z + height), float(z)))
    thickness = np.array([SINK_M] + [1.0] * 10)
    padded = np.pad(filled, 1)
    area = sum(
        (np.diff(padded.astype(int), axis=axis) != 0)[..., 1:-1].sum((0, 1)) @ thickness
        for axis in (0, 1)
    )
    area += (np.diff(padded.astype(int), axis=2) != 0).sum()

    mesh = checked(buildings)

    assert mesh.volume == pytest.approx((filled * thickness).sum(), rel=ROUNDING)
    assert mesh.area == pytest.approx(area, rel=ROUNDING)


angled = st.lists(
    st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(2, 20), st.floats(0, 90)),
    min_size=1,
    max_size=12,
)


@given(angled)
@settings(max_examples=40)
def test_surface_is_closed_when_houses_lie_at_any_angle(
    houses: list[tuple[float, float, float, float]],
) -> None:
    buildings = [
        building(shapely.affinity.rotate(box(x, y, x + side, y + 7), angle), 3 + side, side / 3)
        for x, y, side, angle in houses
    ]
    mesh = checked(buildings)

    footprint = shapely.union_all([b.footprint for b in buildings])
    assert 0 < mesh.volume < footprint.buffer(0.1).area * 23


def gabled(*, reverse: bool = False, leave_out: int = 0) -> tuple[Surface, ...]:
    """A house of 10 x 8 m, eaves at 5 m, ridge at 8 m: 10 * 8 * (5 + 1.5) m3."""
    a, b, c, d = ([x, y] for x, y in ((0, 0), (10, 0), (10, 8), (0, 8)))
    west, east = [0, 4, 8], [10, 4, 8]
    faces = [
        ("ground", [[*d, 0], [*c, 0], [*b, 0], [*a, 0]]),
        ("wall", [[*a, 0], [*b, 0], [*b, 5], [*a, 5]]),
        ("wall", [[*c, 0], [*d, 0], [*d, 5], [*c, 5]]),
        ("wall", [[*b, 0], [*c, 0], [*c, 5], east, [*b, 5]]),
        ("wall", [[*d, 0], [*a, 0], [*a, 5], west, [*d, 5]]),
        ("roof", [[*a, 5], [*b, 5], east, west]),
        ("roof", [[*c, 5], [*d, 5], west, east]),
    ]
    step = -1 if reverse else 1
    return tuple(
        Surface(kind=kind, rings=(np.array(ring, dtype="f8")[::step],))
        for kind, ring in faces[leave_out:]
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_gabled_roof_is_kept_when_its_faces_are_closed(reverse: bool) -> None:
    house = building(box(0, 0, 10, 8), 8.0, surfaces=gabled(reverse=reverse))
    mesh = checked([house, building(box(50, 0, 60, 10), 4.0)], 2.0)

    expected = 10 * 8 * (6.5 + SINK_M) + 100 * (4 + SINK_M)
    assert mesh.volume == pytest.approx(expected)
    assert solids([house]).findings == ()
    assert mesh.bounds[0, 2] == pytest.approx(2.0 - SINK_M)


def test_house_is_extruded_when_its_faces_are_open() -> None:
    house = building(box(0, 0, 10, 8), 8.0, id="open", surfaces=gabled(leave_out=1))
    made = solids([house])

    assert surface(made).volume == pytest.approx(80 * (8 + SINK_M))
    reason = "extruded instead of its 3D faces: the faces are not closed"
    assert made.findings == (ImportFinding(action="repaired", reason=reason, building="open"),)


def test_house_is_extruded_when_it_touches_another() -> None:
    house = building(box(0, 0, 10, 8), 8.0, surfaces=gabled())
    made = solids([house, building(box(10, 0, 20, 8), 8.0)])

    assert surface(made).volume == pytest.approx(160 * (8 + SINK_M))
    assert [f.reason for f in made.findings] == [
        "extruded instead of its 3D faces: the building touches another"
    ]
