"""Fields of paths whose geometry is known, in torch, without a ray tracer.

Line of sight, specular reflection, one diffraction among reflections (R^a D R^b), and one diffuse
reflection; transmission is not covered. docs/physics.md has the formulas.
"""

from raymark.fields.antennas import Antenna
from raymark.fields.materials import Materials, itu_materials
from raymark.fields.paths import PathGeometry, Wedges
from raymark.fields.scattering import (
    Roughness,
    ScatteredPaths,
    scattered_amplitude,
    scattered_amplitudes,
    scattering_pattern,
)
from raymark.fields.transfer import AtCarrier, path_amplitude, path_amplitudes, transfer_matrix

__all__ = [
    "Antenna",
    "AtCarrier",
    "Materials",
    "PathGeometry",
    "Roughness",
    "ScatteredPaths",
    "Wedges",
    "itu_materials",
    "path_amplitude",
    "path_amplitudes",
    "scattered_amplitude",
    "scattered_amplitudes",
    "scattering_pattern",
    "transfer_matrix",
]
