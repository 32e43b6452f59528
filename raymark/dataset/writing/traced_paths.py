"""Paths as a tracer hands them on: unranked, in plain numpy."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Int, UInt8


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedPaths:
    """All valid paths between one BS and some UEs, in the order the search found them.

    Attributes:
        ue_index: UE of each path.
        delay_s: Absolute delay [s].
        direction_bs: Unit vector from the BS along the first segment.
        direction_ue: Unit vector from the UE along the last segment, outwards.
        interaction: Sionna's code of each interaction; 0 beyond the last.
        vertex_m: Interaction points [m].
        object_index: Index in `LoadedScene.object_names`; -1 beyond the last.
        primitive: Triangle of the object; -1 beyond the last.
        wedge: Origin, unit vector, length and both face normals of the diffracting edge, or zeros.
        amplitude: Response at each band, without the carrier phase.
        num_references: Rows at the end of `amplitude` that are of no band: they rank the paths.
    """

    ue_index: Int[np.ndarray, "path"]
    delay_s: Float[np.ndarray, "path"]
    direction_bs: Float[np.ndarray, "path 3"]
    direction_ue: Float[np.ndarray, "path 3"]
    interaction: UInt8[np.ndarray, "path depth"]
    vertex_m: Float[np.ndarray, "path depth 3"]
    object_index: Int[np.ndarray, "path depth"]
    primitive: Int[np.ndarray, "path depth"]
    wedge: Float[np.ndarray, "path 13"]
    amplitude: Complex[np.ndarray, "band path"]
    num_references: int = 0

    @property
    def num_bands(self) -> int:
        """Number of bands."""
        return len(self.amplitude) - self.num_references

    def take(self, rows: Int[np.ndarray, "row"]) -> "TracedPaths":
        """Return some of the paths."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return replace(self, amplitude=self.amplitude[:, rows], **columns)


_COLUMNS = tuple(
    name for name in TracedPaths.__slots__ if name not in ("amplitude", "num_references")
)


def join_paths(parts: list[TracedPaths], first_ues: list[int]) -> TracedPaths:
    """Concatenate the paths of consecutive groups of UEs; UE indices count on."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS
    }
    shifted = [p.ue_index + first for p, first in zip(parts, first_ues, strict=True)]
    columns["ue_index"] = np.concatenate(shifted)
    amplitude = np.concatenate([p.amplitude for p in parts], axis=1)
    return replace(parts[0], amplitude=amplitude, **columns)


def no_paths(depth: int, num_bands: int) -> TracedPaths:
    """Return an empty set of paths."""
    return TracedPaths(
        ue_index=np.zeros(0, dtype="i8"),
        delay_s=np.zeros(0, dtype="f4"),
        direction_bs=np.zeros((0, 3), dtype="f4"),
        direction_ue=np.zeros((0, 3), dtype="f4"),
        interaction=np.zeros((0, depth), dtype="u1"),
        vertex_m=np.zeros((0, depth, 3), dtype="f4"),
        object_index=np.zeros((0, depth), dtype="i2"),
        primitive=np.zeros((0, depth), dtype="i4"),
        wedge=np.zeros((0, 13), dtype="f4"),
        amplitude=np.zeros((num_bands, 0), dtype="c8"),
    )
