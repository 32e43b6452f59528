import dataclasses
import gc
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from raymark import plots
from raymark.dataset.buildings import HeightMap
from raymark.dataset.schema import NLOS
from raymark.errors import ConfigError, DatasetError
from raymark.radio import Band, Panel
from raymark.radio.synthesis import element_positions, subcarrier_frequencies

BAND = Band(name="6GHz", carrier_hz=6e9)
PANEL = Panel(num_rows=4, num_cols=8)
SITE = plots.SiteMark(
    name="west", position_m=(3.0, 4.0), azimuth_rad=math.pi / 2, half_width_rad=1.0, range_m=200.0
)


def links() -> pd.DataFrame:
    """Three LOS, two NLOS, one in outage, at two bands."""
    one = pd.DataFrame(
        {
            "x_m": [0.0, 10.0, 20.0, 30.0, 40.0, 50.0],
            "y_m": [50.0, 60.0, 70.0, 80.0, 90.0, 100.0],
            "los": [1, 1, 1, 0, 0, -1],
            "distance_m": [50.0, 60.0, 70.0, 80.0, 90.0, 100.0],
            "gain_db": [-80.0, -81.0, -82.0, -110.0, -115.0, -200.0],
            "delay_spread_ns": [10.0, 20.0, 30.0, 100.0, 300.0, 0.0],
            "azimuth_spread_deg": [1.0, 2.0, 3.0, 10.0, 30.0, 0.0],
        }
    )
    return pd.concat([one.assign(band=band) for band in ("6GHz", "28GHz")], ignore_index=True)


def at_6_ghz() -> pd.DataFrame:
    return links().iloc[:6]


def scatters(ax: Axes) -> dict[str, PathCollection]:
    found = [c for c in ax.collections if isinstance(c, PathCollection)]
    return {str(c.get_label()).split(" ")[0]: c for c in found}


def offsets(scatter: PathCollection) -> list[list[float]]:
    values: list[list[float]] = np.asarray(scatter.get_offsets(), dtype=float).tolist()
    return values


def height_map() -> HeightMap:
    height_m = np.zeros((3, 4))
    height_m[1, 2] = 25.0
    return HeightMap(height_m=height_m, x_m=np.linspace(0, 80, 5), y_m=np.linspace(0, 60, 4))


def csi_of(azimuth_deg: float, length_bins: float) -> np.ndarray:
    """A plane wave of unit gain, horizontal, delayed by bins of the unpadded transform."""
    azimuth = math.radians(azimuth_deg)
    steering = np.exp(2j * np.pi * math.sin(azimuth) * element_positions(PANEL)[:, 1])
    turns = length_bins * subcarrier_frequencies(BAND) / BAND.bandwidth_hz
    return np.outer(steering, np.exp(-2j * np.pi * turns)).astype("c8")


def test_coverage_map_shows_the_gain_of_each_covered_ue_when_some_are_in_outage() -> None:
    ax = plots.plot_coverage_map(at_6_ghz(), [SITE])
    drawn = next(c for c in scatters(ax).values() if c.get_array() is not None)
    assert np.asarray(drawn.get_array()).tolist() == [-80.0, -81.0, -82.0, -110.0, -115.0]
    assert offsets(scatters(ax)["outage"]) == [[50.0, 100.0]]
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "Channel gain [dB]"


def test_los_map_counts_every_label_when_all_occur() -> None:
    ax = plots.plot_los_map(at_6_ghz(), [SITE])
    assert {name: len(offsets(c)) for name, c in scatters(ax).items()} == {
        "outage": 1,
        "NLOS": 2,
        "LOS": 3,
    }
    legend = ax.get_legend()
    assert legend is not None
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["sector", "BS", "outage (1)", "NLOS (2)", "LOS (3)"]
    assert ax.get_aspect() == 1.0


def test_map_draws_the_sector_around_the_boresight_when_the_site_looks_north() -> None:
    ax = plots.plot_los_map(at_6_ghz(), [SITE])
    (wedge,) = (patch for patch in ax.patches if isinstance(patch, Wedge))
    assert wedge.center == (3.0, 4.0)
    assert wedge.r == 200.0
    assert (wedge.theta1, wedge.theta2) == pytest.approx(
        (90 - math.degrees(1.0), 90 + math.degrees(1.0))
    )


def test_scene_plan_puts_a_building_in_its_place_when_one_cell_is_high() -> None:
    ax = plots.plot_scene_plan(height_map(), [SITE])
    (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
    drawn: np.ma.MaskedArray[Any, Any] = np.ma.asarray(mesh.get_array())
    assert drawn.count() == 1
    assert drawn[1, 2] == 25.0
    corners = np.asarray(mesh.get_coordinates())
    assert corners[1, 2].tolist() == [40.0, 20.0]


def test_gain_line_is_free_space_when_the_carrier_is_given() -> None:
    ax = plots.plot_gain_vs_distance(at_6_ghz(), 6e9, element_gain_db=8.0)
    isotropic, element = ax.lines
    distance_m, gain_db = np.asarray(isotropic.get_data(), dtype=float)
    # ITU-R P.525: 32.44 + 20 log10(f/MHz) + 20 log10(d/km), rounded to 0.01 dB there.
    expected = -(32.44 + 20 * np.log10(6000) + 20 * np.log10(distance_m / 1e3))
    assert gain_db == pytest.approx(expected, abs=0.02)
    assert np.asarray(element.get_ydata()) - gain_db == pytest.approx(8.0)
    assert (ax.get_xlabel(), ax.get_xscale()) == ("Distance [m]", "log")
    assert len(offsets(scatters(ax)["NLOS"])) == 2


@pytest.mark.parametrize(
    ("plot", "label", "largest"),
    [
        (plots.plot_delay_spread_cdf, "RMS delay spread [ns]", 300.0),
        (plots.plot_azimuth_spread_cdf, "Azimuth spread at the BS [deg]", 30.0),
    ],
)
def test_cdf_has_a_line_per_band_and_label_when_one_link_is_in_outage(
    plot: Callable[[pd.DataFrame], Axes], label: str, largest: float
) -> None:
    ax = plot(links())
    assert ax.get_xlabel() == label
    assert [line.get_label() for line in ax.lines] == [
        "6GHz NLOS (2)",
        "6GHz LOS (3)",
        "28GHz NLOS (2)",
        "28GHz LOS (3)",
    ]
    # The value 0 of the link in outage is in no line: NLOS starts at its own smallest.
    x, y = np.asarray(ax.lines[0].get_data(), dtype=float)
    assert (x.min(), x.max(), y.max()) == (largest / 3, largest, 1.0)


@pytest.mark.parametrize("azimuth_deg", [-40.0, 0.0, 25.0])
def test_angle_delay_profile_peaks_at_the_gain_when_there_is_one_path(azimuth_deg: float) -> None:
    profile = plots.angle_delay_profile(csi_of(azimuth_deg, 20.0), PANEL, BAND)
    azimuth, delay = np.unravel_index(profile.power_db.argmax(), profile.power_db.shape)
    # Bins are 180/64 deg wide; the zenith grid misses the horizon by 3.75 deg.
    assert math.degrees(profile.azimuth_rad[azimuth]) == pytest.approx(azimuth_deg, abs=1.5)
    assert profile.length_m[delay] == pytest.approx(20 * BAND.unambiguous_range_m / 64)
    assert profile.power_db.max() == pytest.approx(0.0, abs=0.5)


def test_angle_delay_profile_marks_strong_paths_when_others_are_weak() -> None:
    profile = plots.angle_delay_profile(csi_of(0.0, 20.0), PANEL, BAND)
    paths = pd.DataFrame(
        {"azimuth_deg": [0.0, 10.0, 20.0], "length_m": [120.0] * 3, "power_db": [0, -10, -70]}
    )
    ax = plots.plot_angle_delay_profile(profile, paths=paths)
    assert offsets(scatters(ax)["true"]) == [[0, 120], [10, 120]]
    assert ax.get_xlabel() == "Azimuth from boresight [deg]"


def test_csi_image_holds_the_level_of_each_entry_when_drawn() -> None:
    csi = csi_of(0.0, 3.0) * 1e-3
    csi[2, 5] = 1e-2
    ax = plots.plot_csi_magnitude(csi, BAND)
    (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
    level_db = np.asarray(mesh.get_array())
    assert level_db[2, 5] == pytest.approx(-40.0, abs=1e-4)
    assert level_db[0, 0] == pytest.approx(-60.0, abs=1e-4)
    assert ax.get_xlabel() == "Tone relative to the carrier [MHz]"


def test_style_leaves_no_trace_when_a_figure_was_drawn() -> None:
    before = dict(mpl.rcParams)
    plots.plot_los_map(at_6_ghz(), [SITE])
    assert dict(mpl.rcParams) == before


def test_figure_is_freed_when_nobody_holds_it() -> None:
    ax = plots.plot_los_map(at_6_ghz(), [SITE])
    figure = weakref.ref(ax.figure)
    del ax
    gc.collect()
    assert figure() is None


def test_save_figure_says_why_when_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    figure, _ = plots.new_figure()
    with pytest.raises(DatasetError, match=r"cannot write .*map\.png"):
        plots.save_figure(figure, tmp_path / "file" / "map.png")


def test_save_figure_names_the_formats_when_the_ending_is_another(tmp_path: Path) -> None:
    figure, _ = plots.new_figure()
    with pytest.raises(ConfigError, match=r"must end in \.png, \.pdf, \.svg"):
        plots.save_figure(figure, tmp_path / "map.xyz")


def test_learning_curves_start_at_epoch_1_and_stand_apart_by_unit_when_drawn() -> None:
    history = {"train_loss": [2.0, 1.0, 0.5], "loss_2": [0.0, 1.0], "validation_error_m": [9.0]}

    losses, errors = plots.draw_learning_curves(history).axes

    assert [line.get_label() for line in losses.get_lines()] == ["train loss", "loss 2"]
    assert losses.get_lines()[0].get_xydata().tolist() == [[1, 2.0], [2, 1.0], [3, 0.5]]
    assert (losses.get_ylabel(), errors.get_ylabel()) == ("Loss", "Error [m]")
    # A zero has no place on a logarithmic axis.
    assert (losses.get_yscale(), errors.get_yscale()) == ("linear", "log")
    assert errors.get_lines()[0].get_label() == "validation error"


def test_color_bar_is_as_tall_as_its_axes_when_a_map_is_flat() -> None:
    wide = HeightMap(
        height_m=np.full((2, 40), 9.0), x_m=np.linspace(0, 800, 41), y_m=np.linspace(0, 40, 3)
    )
    ax = plots.plot_scene_plan(wide, [])
    root = ax.figure
    assert isinstance(root, Figure)
    root.draw_without_rendering()
    (bar,) = ax.child_axes
    # The pointed end of a scale, which this one has not, stands outside.
    assert bar.get_window_extent().height == pytest.approx(ax.get_window_extent().height, rel=0.01)


def test_scene_plan_shows_the_whole_sector_when_it_reaches_beyond_the_map() -> None:
    ax = plots.plot_scene_plan(height_map(), [SITE])
    (wedge,) = (patch for patch in ax.patches if isinstance(patch, Wedge))
    corners = np.asarray(wedge.get_patch_transform().transform(wedge.get_path().vertices))
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    assert x0 <= corners[:, 0].min() <= corners[:, 0].max() <= x1
    assert y0 <= corners[:, 1].min() <= corners[:, 1].max() <= y1
    assert x0 <= 0
    assert y1 >= 60


def test_scene_plan_tells_the_tallest_when_a_tower_is_beyond_the_scale() -> None:
    height_m = np.full((20, 20), 20.0)
    plain = HeightMap(height_m=height_m, x_m=np.arange(21.0), y_m=np.arange(21.0))
    tower = dataclasses.replace(plain, height_m=height_m.copy())
    tower.height_m[3, 3] = 150.0

    labels = [plots.plot_scene_plan(x, []).child_axes[0].get_ylabel() for x in (plain, tower)]

    assert labels == ["Height above ground [m]", "Height above ground [m]; the tallest: 150"]


def test_gain_plot_is_not_squeezed_when_a_link_carries_no_power() -> None:
    table = at_6_ghz()
    table.loc[table["los"] == NLOS, "gain_db"] = [-110.0, -200.0]
    ax = plots.plot_gain_vs_distance(table, 6e9)
    assert ax.get_ylim()[0] > -130
    legend = ax.get_legend()
    assert legend is not None
    assert "without power (1)" in [text.get_text() for text in legend.get_texts()]


def test_map_names_building_and_sector_once_when_there_are_two_sites() -> None:
    other = dataclasses.replace(SITE, name="bs1", position_m=(50.0, 4.0))
    ax = plots.plot_los_map(at_6_ghz(), [SITE, other], height_map=height_map())
    legend = ax.get_legend()
    assert legend is not None
    named = [text.get_text() for text in legend.get_texts()]
    assert sorted(named[:3]) == ["BS", "building", "sector"]
    assert len(named) == len(set(named)) == 6


def test_panels_have_one_range_when_they_are_compared() -> None:
    _, axes = plots.new_figure(1, 2)
    axes[0].set(xlim=(0, 5), ylim=(-80, -60))
    axes[1].set(xlim=(1, 9), ylim=(-150, -90))
    plots.share_ranges(axes)
    assert {(ax.get_xlim(), ax.get_ylim()) for ax in axes} == {((0.0, 9.0), (-150.0, -60.0))}


def test_error_map_has_sites_buildings_and_errors_when_drawn() -> None:
    table = at_6_ghz().assign(error_m=[0.5, 2.0, 3.0, 4.0, 50.0, 250.0])
    ax = plots.plot_error_map(table, [SITE], height_map=height_map())
    drawn = next(c for c in scatters(ax).values() if c.get_array() is not None)
    assert np.asarray(drawn.get_array()).tolist() == table["error_m"].tolist()
    assert any(isinstance(patch, Wedge) for patch in ax.patches)
    assert any(isinstance(c, QuadMesh) for c in ax.collections)
    assert ax.child_axes[0].get_ylabel() == "Position error [m]"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.plot_csi_magnitude(csi_of(0.0, 3.0), BAND),
        lambda: plots.plot_delay_spread_cdf(links()),
    ],
)
def test_axes_name_no_unit_when_there_is_none(draw: Callable[[], Axes]) -> None:
    ax = draw()
    assert "[1]" not in ax.get_xlabel() + ax.get_ylabel()
