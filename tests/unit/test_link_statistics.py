import math

import numpy as np
import pytest
import torch

from raymark.dataset import PathTable
from raymark.dataset.link_statistics import (
    azimuth_spread_rad,
    behind_share,
    delay_spread_s,
    late_share,
    link_gain,
    mean_delay_s,
    num_paths,
    to_db,
)
from raymark.radio import BAND_PRESETS
from raymark.radio.levels import FLOOR_DB

FLOAT32 = 1e-6
"""Relative tolerance: delays and amplitudes are stored in float32, seven digits."""


def paths(*links: list[tuple[float, float, float]]) -> PathTable:
    """A table of links, each a list of (amplitude, delay [s], azimuth at the BS [rad])."""
    rows = np.array([path for link in links for path in link]).reshape(-1, 3)
    angle = rows[:, 2].astype("f4")
    return PathTable(
        path_offset=np.cumsum([0, *map(len, links)]),
        delay_s=rows[:, 1].astype("f4"),
        zenith_bs_rad=np.full_like(angle, np.pi / 2),
        azimuth_bs_rad=angle,
        zenith_ue_rad=np.full_like(angle, np.pi / 2),
        azimuth_ue_rad=angle,
        interaction=np.ones((len(rows), 1), dtype="u1"),
        amplitude=rows[:, 0].astype("c8"),
    )


def test_delay_spread_is_half_the_distance_when_two_paths_are_equal() -> None:
    table = paths([(1e-4, 300e-9, 0.0), (1e-4, 400e-9, 0.0)])
    assert delay_spread_s(table)[0] == pytest.approx(50e-9, rel=FLOAT32)
    assert mean_delay_s(table)[0] == pytest.approx(350e-9, rel=FLOAT32)


def test_delay_spread_follows_the_closed_form_when_powers_differ() -> None:
    # Powers 4 : 1 at a distance d: sqrt(0.8 * 0.2) d.
    table = paths([(2e-5, 1e-6, 0.0), (1e-5, 1.2e-6, 0.0)])
    assert delay_spread_s(table)[0] == pytest.approx(0.4 * 200e-9, rel=FLOAT32)


def test_late_share_is_the_power_of_paths_that_wrap_around_the_tones() -> None:
    # Powers 4 : 1, and tones 781.25 kHz apart: 1.28 us are unambiguous.
    table = paths([(2e-5, 1.27e-6, 0.0), (1e-5, 1.29e-6, 0.0)], [(1e-5, 1e-6, 0.0)], [])
    assert late_share(table, BAND_PRESETS["6GHz"]) == pytest.approx([0.2, 0.0, 0.0], rel=FLOAT32)


def test_behind_share_is_the_power_from_behind_the_panel_as_it_stands() -> None:
    # Powers 4 : 1, from due east and due west.
    table = paths([(2e-5, 1e-6, 0.0), (1e-5, 1e-6, math.pi)], [])
    east, west = np.zeros(3), np.array([math.pi, 0.0, 0.0])
    assert behind_share(table, east) == pytest.approx([0.2, 0.0], rel=FLOAT32)
    assert behind_share(table, west) == pytest.approx([0.8, 0.0], rel=FLOAT32)


def test_spreads_are_zero_when_there_is_one_path_none_or_no_power() -> None:
    table = paths([(1e-4, 1e-6, 2.0)], [], [(0.0, 1e-6, 1.0), (0.0, 2e-6, 2.0)])
    assert num_paths(table).tolist() == [1, 0, 2]
    assert delay_spread_s(table).tolist() == [0.0, 0.0, 0.0]
    # The logarithm of a float64 that is 1 but for its last digit.
    assert azimuth_spread_rad(table) == pytest.approx(0.0, abs=1e-7)
    assert link_gain(table)[1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("centre_rad", [0.0, 1.0, math.pi])
@pytest.mark.parametrize("half_width_rad", [0.1, 1.0])
def test_azimuth_spread_follows_the_closed_form_when_two_paths_are_equal(
    centre_rad: float, half_width_rad: float
) -> None:
    # |exp(j(c+w)) + exp(j(c-w))| / 2 = cos w, wherever the centre is.
    low, high = centre_rad - half_width_rad, centre_rad + half_width_rad
    wrapped = [(angle + math.pi) % (2 * math.pi) - math.pi for angle in (low, high)]
    table = paths([(1e-4, 1e-6, wrapped[0]), (1e-4, 1e-6, wrapped[1])])
    expected = math.sqrt(-2 * math.log(math.cos(half_width_rad)))
    assert azimuth_spread_rad(table)[0] == pytest.approx(expected, rel=1e-5)


def test_azimuth_spread_stays_finite_when_paths_are_opposite() -> None:
    spread = azimuth_spread_rad(paths([(1e-4, 1e-6, 0.0), (1e-4, 1e-6, math.pi)]))
    assert math.pi < spread[0] < 8.0


def test_spreads_agree_with_sionna_when_links_are_random() -> None:
    from sionna.phy.channel.tr38901 import metrics

    rng = np.random.default_rng(5)
    links = [
        [(a, t * 1e-6, phi) for a, t, phi in rng.uniform((0, 0.1, -3), (1, 1.2, 3), (n, 3))]
        for n in (2, 7, 25)
    ]
    table = paths(*links)
    for i, link in enumerate(links):
        amplitude, delay_s, azimuth = (
            torch.tensor(c, dtype=torch.float64) for c in zip(*link, strict=True)
        )
        spread = metrics.rms_delay_spread(delay_s, amplitude**2, precision="double", device="cpu")
        circular = metrics.circular_angular_spread(
            azimuth, amplitude**2, precision="double", device="cpu"
        )
        assert delay_spread_s(table)[i] == pytest.approx(float(spread), rel=1e-5)
        assert azimuth_spread_rad(table)[i] == pytest.approx(float(circular), rel=1e-5)


def test_link_gain_adds_powers_when_links_differ_in_length() -> None:
    table = paths([(3e-5, 1e-6, 0.0), (4e-5, 1e-6, 0.0)], [], [(1e-5, 1e-6, 0.0)])
    assert to_db(link_gain(table)) == pytest.approx([10 * math.log10(25e-10), FLOOR_DB, -100.0])
