"""Lines of the board are told apart by colour, also by eyes without red or green cones."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from raymark.benchmark import board

CSS = (Path(board.__file__).parent / "board.css").read_text(encoding="utf-8")
LEAST_DIFFERENCE = 12.0
"""CIE 1976 distance in Lab; 2.3 is just noticeable (Mahy et al. 1994), lines are thin."""

# Machado, Oliveira and Fernandes 2009, table 1, severity 1.
EYES = {
    "whole": np.eye(3),
    "without red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "without green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def linear(color: str) -> np.ndarray:
    value = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab of linear sRGB under D65 (IEC 61966-2-1)."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = to_xyz @ rgb / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def smallest_difference(colors: list[str], eye: str) -> float:
    seen = [lab(np.clip(EYES[eye] @ linear(color), 0, 1)) for color in colors]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_lines_stand_apart_by_colour(theme: int, eye: str) -> None:
    colors = [re.findall(rf"--c{i}: (#[0-9a-f]{{6}});", CSS)[theme] for i in range(6)]

    assert smallest_difference(colors, eye) > LEAST_DIFFERENCE


def test_difference_is_small_when_two_colours_are_alike_without_green() -> None:
    assert smallest_difference(["#d55e00", "#b87f00"], "without green") < 3
