"""Draw docs/figures/conventions.png: frames, panel and signs, computed by raymark's own code.

Run it from anywhere: `python docs/figures/conventions.py`. What is drawn is saved beside it as
`conventions.npz`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raymark.plots import house_style, save_figure
from raymark.radio import SPEED_OF_LIGHT_M_S, Band, Panel
from raymark.radio.frames import rotation_matrix, unit_vector
from raymark.radio.synthesis import (
    PathBatch,
    element_positions,
    subcarrier_frequencies,
    synthesize_csi,
)

TARGET = Path(__file__).with_name("conventions.png")

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
ZENITH, AZIMUTH = np.radians(45.0), np.radians(70.0)
YAW, DOWNTILT = np.radians(70.0), np.radians(25.0)
BAND = Band(name="example", carrier_hz=6e9, bandwidth_hz=50e6, num_subcarriers=64)
DELAY_S = 100e-9


Space3D = Any
"""Matplotlib's 3-D axes, which carry no type hints."""


@house_style()
def draw() -> Figure:
    """Return the figure with its four panels."""
    figure = Figure(figsize=(11.5, 9.5))
    _draw_direction(figure.add_subplot(2, 2, 1, projection="3d"))
    _draw_rotation(figure.add_subplot(2, 2, 2, projection="3d"))
    _draw_elements(figure.add_subplot(2, 2, 3))
    _draw_tones(figure.add_subplot(2, 2, 4))
    return figure


def _draw_direction(ax: Space3D) -> None:
    direction = unit_vector(np.array(ZENITH), np.array(AZIMUTH))
    shadow = direction * [1, 1, 0]
    _draw_axes(ax, np.eye(3), "xyz", GREY)
    _arrow(ax, np.zeros(3), direction, RED, "u")
    ax.plot(*np.array([np.zeros(3), shadow, direction]).T, color=GREY, linestyle=":")
    swing = np.linspace(0, 1, 40)
    zenith_arc = 0.5 * unit_vector(ZENITH * swing, np.full(40, AZIMUTH))
    azimuth_arc = 0.5 * unit_vector(np.full(40, np.pi / 2), AZIMUTH * swing)
    ax.plot(*zenith_arc.T, color=BLUE)
    ax.plot(*azimuth_arc.T, color=GREEN)
    ax.text(*(1.25 * zenith_arc[20]), "zenith", color=BLUE)
    ax.text(*(1.2 * azimuth_arc[25]), "azimuth", color=GREEN)
    ax.set_title("World frame: x east, y north, z up\nzenith from +z, azimuth from +x towards +y")
    _look(ax)


def _draw_rotation(ax: Space3D) -> None:
    rotation = rotation_matrix(np.array([YAW, DOWNTILT, 0.0]))
    _draw_axes(ax, np.eye(3), "xyz", GREY)
    corners = np.array([[0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1], [0, -1, -1]]) * 0.45
    ax.plot(*(corners @ rotation.T).T, color="black")
    elements = element_positions(Panel(num_rows=4, num_cols=4)) * 0.45
    ax.scatter(*(elements @ rotation.T).T, color="black", s=8)
    _arrow(ax, np.zeros(3), rotation[:, 0], RED, "boresight x'")
    _arrow(ax, np.zeros(3), 0.8 * rotation[:, 1], BLUE, "y'")
    _arrow(ax, np.zeros(3), 0.8 * rotation[:, 2], GREEN, "z'")
    level = np.array([np.cos(YAW), np.sin(YAW), 0.0])
    ax.plot(*np.array([np.zeros(3), level]).T, color=GREY, linestyle=":")
    swing = np.linspace(0, 1, 40)
    yaw_arc = 0.75 * unit_vector(np.full(40, np.pi / 2), YAW * swing)
    tilt_arc = 0.9 * unit_vector(np.pi / 2 + DOWNTILT * swing, np.full(40, YAW))
    ax.plot(*yaw_arc.T, color="black", linewidth=1)
    ax.plot(*tilt_arc.T, color="black", linewidth=1)
    ax.text(*(1.1 * yaw_arc[15]), "yaw")
    ax.text(*(1.08 * tilt_arc[20]), "pitch > 0:\ndowntilt")
    ax.set_title(
        "Panel: local y'-z' plane, boresight +x'\nworld = Rz(yaw) Ry(pitch) Rx(roll) local"
    )
    _look(ax)


def _draw_elements(ax: Axes) -> None:
    panel = Panel(num_rows=4, num_cols=4)
    y, z = element_positions(panel)[:, 1:].T
    ax.plot(y, z, "-", color="#cccccc", zorder=1)
    ax.scatter(y, z, s=330, facecolor="white", edgecolor=BLUE, zorder=2)
    for antenna in range(panel.num_antennas):
        ax.text(y[antenna], z[antenna], str(antenna), ha="center", va="center", zorder=3)
    ax.set(
        xlabel="Local y' [wavelengths]",
        ylabel="Local z' [wavelengths]",
        aspect="equal",
        xlim=(-1.1, 1.1),
        ylim=(-1.1, 1.1),
        title="4 x 4 antennas, seen from before the panel:\ncolumn by column, from the top left",
    )


def _draw_tones(ax: Axes) -> None:
    phase = np.unwrap(np.angle(one_path_csi()))
    offset_mhz = subcarrier_frequencies(BAND) / 1e6
    centre = BAND.num_subcarriers // 2
    ax.plot(offset_mhz, phase - phase[centre], ".", color=BLUE, label="synthesised CSI")
    line = -2 * np.pi * offset_mhz * 1e6 * DELAY_S
    ax.plot(offset_mhz, line, color=RED, linewidth=1, label=r"$-2\pi f_k \tau$")
    ax.axvline(0, color=GREY, linewidth=1)
    ax.annotate(f"carrier: tone {centre}", (0, 0), (8, 30), textcoords="offset points")
    ax.annotate("tone 0", (offset_mhz[0], line[0]), (10, 0), textcoords="offset points")
    ax.annotate("tone 63", (offset_mhz[-1], line[-1]), (-52, -12), textcoords="offset points")
    ax.set(
        xlabel="Tone relative to the carrier, $f_k = (k - 32) B / 64$ [MHz]",
        ylabel="Phase relative to the carrier tone [rad]",
        title="One path of 100 ns (30 m), B = 50 MHz:\n"
        r"$H_k = a\,e^{-j2\pi(f_c + f_k)\tau}$, a later path turns faster",
    )
    ax.legend()


def one_path_csi() -> Float[np.ndarray, "subcarrier"]:
    """Return the CSI of one path, as raymark makes it, at the first antenna."""
    one = torch.ones(1, 1)
    paths = PathBatch(
        amplitude=one.to(torch.complex64),
        delay_s=one * DELAY_S,
        zenith_bs_rad=one * np.pi / 2,
        azimuth_bs_rad=one * 0.0,
        num_interactions=torch.zeros(1, 1, dtype=torch.int64),
        mask=torch.ones(1, 1, dtype=torch.bool),
        band=BAND,
        orientation_rad=np.zeros(3),
    )
    return synthesize_csi(paths, Panel(num_rows=1, num_cols=1))[0, 0].numpy()


def _draw_axes(ax: Space3D, frame: np.ndarray, names: str, color: str) -> None:
    for axis, name in zip(frame.T, names, strict=True):
        _arrow(ax, np.zeros(3), 0.95 * axis, color, name)


def _arrow(ax: Space3D, start: np.ndarray, end: np.ndarray, color: str, name: str) -> None:
    ax.quiver(*start, *(end - start), color=color, arrow_length_ratio=0.1, clip_on=False)
    ax.text(*(end * 1.08), name, color=color)


def _look(ax: Space3D) -> None:
    ax.set(xlim=(-0.4, 0.9), ylim=(-0.4, 0.9), zlim=(-0.4, 0.9))
    ax.set_box_aspect((1, 1, 1), zoom=1.2)
    ax.view_init(elev=22, azim=22)
    ax.set_axis_off()


if __name__ == "__main__":
    save_figure(draw(), TARGET)
    np.savez_compressed(
        TARGET.with_suffix(".npz"),
        direction=unit_vector(np.array(ZENITH), np.array(AZIMUTH)),
        rotation=rotation_matrix(np.array([YAW, DOWNTILT, 0.0])),
        element_wavelengths=element_positions(Panel(num_rows=4, num_cols=4)),
        tone_hz=subcarrier_frequencies(BAND),
        csi=one_path_csi(),
        path_length_m=DELAY_S * SPEED_OF_LIGHT_M_S,
    )
    print(f"wrote {TARGET}")
