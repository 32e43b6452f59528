"""What export to and import from DeepMIMO v4 share: file names, codes, phases, our own notes.

A scenario is a folder with `params.json` and one file per matrix, transmitter and set of
receivers. The layout is that of the deepmimo package 4.0.5, learnt from its loader.
"""

from typing import Literal

import numpy as np
from jaxtyping import Complex, Float, UInt8
from pydantic import Field

from raymark.config import Strict
from raymark.dataset.schema import DIFFRACTION, DIFFUSE, NO_INTERACTION, REFRACTION, SPECULAR
from raymark.radio import ElementPattern

PARAMS_NAME = "params.json"
POINTS_NAME = "inter_pos"
PATH_MATRICES = (
    "power",
    "phase",
    "delay",
    "aoa_az",
    "aoa_el",
    "aod_az",
    "aod_el",
    "inter",
)
"""Matrices of one value a path: dBW for 1 W sent, degrees, seconds, degrees, interaction code."""

NOTES_KEY = "raymark"
"""Under `rt_params.raw_params`, which DeepMIMO keeps for the ray tracer's own settings."""

_DIGITS = {SPECULAR: 1, DIFFRACTION: 2, DIFFUSE: 3, REFRACTION: 4}
_LARGEST_DIGIT = max(_DIGITS.values())
_TO_DIGIT = np.zeros(max(_DIGITS) + 1, dtype="i8")
_TO_DIGIT[list(_DIGITS)] = list(_DIGITS.values())
_FROM_DIGIT = np.zeros(10, dtype="u1")
_FROM_DIGIT[list(_DIGITS.values())] = list(_DIGITS)


class ExportedSite(Strict):
    """Where a transmitter of an exported scenario looks."""

    name: str
    azimuth_deg: float = Field(description="Boresight from +x towards +y [deg]")
    downtilt_deg: float = Field(description="Positive looks down [deg]")


class ExportNotes(Strict):
    """What DeepMIMO has no place for; our importer reads it back."""

    format: Literal[1] = 1
    dataset_id: str
    content_hash: str
    scene: str
    band: str
    sites: tuple[ExportedSite, ...]
    phase: Literal["includes the carrier phase exp(-j 2 pi f tau)"] = (
        "includes the carrier phase exp(-j 2 pi f tau)"
    )
    element_patterns: Literal["removed", "included"] = Field(
        description="Whether `power` is that of isotropic elements, or of the dataset's own"
    )
    bs_pattern: ElementPattern
    ue_pattern: ElementPattern
    licence: str
    attribution: str


def matrix_stem(matrix: str, tx_set: int, tx: int, rx_set: int) -> str:
    """Return the name of a matrix file without its suffix."""
    return f"{matrix}_t{tx_set:03d}_tx{tx:03d}_r{rx_set:03d}"


def encode_interactions(interaction: UInt8[np.ndarray, "path depth"]) -> Float[np.ndarray, "path"]:
    """Return DeepMIMO's code of each path: a digit per interaction from the BS, or 0 for none."""
    code = np.zeros(len(interaction))
    for column in interaction.T:
        code = np.where(column == NO_INTERACTION, code, 10 * code + _TO_DIGIT[column])
    return code


def decode_interactions(code: Float[np.ndarray, "path"]) -> UInt8[np.ndarray, "path depth"]:
    """Return the interactions of each path in order from the BS, none beyond the last.

    Raises:
        ValueError: If a code has a digit that is no interaction; the message names it.
    """
    whole = code.astype("i8")
    depth = max(1, len(str(whole.max(initial=0))))
    digits = whole[:, None] // 10 ** np.arange(depth)[::-1] % 10
    # Leading zeros are no interactions; a zero or 5-9 after the first digit means nothing.
    has_begun = np.cumsum(digits, axis=1) > 0
    wrong = (digits > _LARGEST_DIGIT) | ((digits == 0) & has_begun)
    if wrong.any() or (whole != code).any() or (whole < 0).any():
        row = np.flatnonzero(wrong.any(axis=1) | (whole != code) | (whole < 0))[0]
        raise ValueError(f"{code[row]:g}")
    first = depth - has_begun.sum(axis=1)
    shifted = np.minimum(first[:, None] + np.arange(depth), depth)
    padded = np.concatenate([digits, np.zeros((len(digits), 1), dtype="i8")], axis=1)
    return _FROM_DIGIT[np.take_along_axis(padded, shifted, axis=1)]


def carrier_phasor(
    delay_s: Float[np.ndarray, "path"], carrier_hz: float
) -> Complex[np.ndarray, "path"]:
    """Return exp(-j 2 pi f tau); in float64, as f tau reaches 4e4 turns."""
    return np.exp(-2j * np.pi * (carrier_hz * delay_s.astype("f8") % 1.0))
