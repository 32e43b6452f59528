"""Pieces of triangles: they cover what they are pieces of, and each has phases of its own."""

import numpy as np
import pytest

from raymark.generator.tracing.tiles import Tiles

AREA_REL = 1e-12


def tiles(*corners_m: list[list[float]]) -> Tiles:
    return Tiles(corner_m=np.array(corners_m, dtype="f8"), triangle=np.arange(len(corners_m)))


def areas_m2(pieces: Tiles) -> np.ndarray:
    a, b, c = (pieces.corner_m[:, i] for i in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


SLENDER = [[0.0, 0.0, 0.0], [40.0, 0.0, 1.0], [0.0, 3.0, 2.0]]
OCTANT = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_halves_are_of_half_the_area_when_a_tile_is_halved_again_and_again() -> None:
    pieces = tiles(SLENDER, OCTANT)
    whole_m2 = areas_m2(pieces)
    for halvings in range(1, 8):
        pieces = pieces.halves()
        expected = np.repeat(whole_m2, 2**halvings) / 2**halvings
        np.testing.assert_allclose(areas_m2(pieces), expected, rtol=AREA_REL)
    assert pieces.triangle.tolist() == [0] * 128 + [1] * 128
    # No piece is more than twice as slender as the whole is.
    slender = tiles(SLENDER).side_m ** 2 / whole_m2[0]
    assert (pieces.side_m[:128] ** 2 / areas_m2(pieces)[:128] < 2.01 * slender).all()


def test_solid_angle_is_that_of_an_octant_when_the_origin_sees_one() -> None:
    seen_sr = tiles(OCTANT).solid_angle_sr(np.zeros(3))

    assert seen_sr == pytest.approx([np.pi / 2])


def test_solid_angles_add_up_when_a_tile_is_halved() -> None:
    origin_m = np.array([3.0, -1.0, 5.0])
    pieces = tiles(SLENDER)
    whole_sr = pieces.solid_angle_sr(origin_m).sum()
    for _ in range(6):
        pieces = pieces.halves()

    assert pieces.solid_angle_sr(origin_m).sum() == pytest.approx(whole_sr, rel=1e-10)


def test_phases_are_spread_evenly_when_there_are_many_tiles() -> None:
    pieces = tiles(SLENDER)
    for _ in range(14):
        pieces = pieces.halves()

    phase_rad = pieces.phase_rad

    assert ((phase_rad >= 0) & (phase_rad < 2 * np.pi)).all()
    assert len(np.unique(phase_rad)) == phase_rad.size
    # The mean of n independent phasors is of the order of 1 / sqrt(n).
    for turns in (1, 2, 5):
        mean = np.exp(1j * turns * np.c_[phase_rad, np.diff(phase_rad)]).mean(axis=0)
        assert (np.abs(mean) < 4 / np.sqrt(len(phase_rad))).all()


def test_phases_are_those_of_the_place_when_tiles_are_numbered_otherwise() -> None:
    pieces = tiles(SLENDER, OCTANT)
    turned = Tiles(corner_m=pieces.corner_m[::-1], triangle=np.array([7, 9]))

    np.testing.assert_array_equal(turned.phase_rad, pieces.phase_rad[::-1])
