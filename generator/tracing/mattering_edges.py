"""Which edges matter to which UEs: those that carry a share of a UE's power."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from raymark.dataset.schema import DIFFRACTION
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.generator.tracing.loaded_scene import LoadedScene

_LEAST_SHARE = 1e-3
"""An edge matters to a UE if a path that leaves it has this share of the UE's power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatteringEdges:
    """Edges that matter, each to a UE and after a number of reflections.

    Attributes:
        max_depth: There are fewer reflections before an edge.
        num_wedges: Number of edges of the scene.
        key: One number for each, ascending.
    """

    max_depth: int
    num_wedges: int
    key: Int[np.ndarray, "n"]

    def has(
        self,
        ue_index: Int[np.ndarray, "pair"],
        before: int,
        wedge: Int[np.ndarray, "pair"],
    ) -> Bool[np.ndarray, "pair"]:
        """Tell whether edges matter to UEs after a number of reflections."""
        return np.isin(_key(ue_index, before, wedge, self.max_depth, self.num_wedges), self.key)

    @property
    def to_any(self) -> Bool[np.ndarray, "before wedge"]:
        """Whether an edge matters to any UE, by the number of reflections before it."""
        matters = np.zeros((self.max_depth, self.num_wedges), dtype=bool)
        matters.ravel()[self.key % matters.size] = True
        return matters


def edges_that_matter(
    scene: LoadedScene, paths: TracedPaths, num_ues: int, bands: slice = slice(1)
) -> MatteringEdges:
    """Return the edges that matter to some UEs.

    Args:
        scene: The scene.
        paths: Those that tell.
        num_ues: Of that many UEs.
        bands: At which of the carriers of the paths; a share at one of them is enough.
    """
    max_depth, num_wedges = paths.interaction.shape[1], scene.wedges.count
    at_edge = paths.interaction == DIFFRACTION
    weighs = np.zeros(len(at_edge), dtype=bool)
    for amplitude in paths.amplitude[bands]:
        power = np.abs(amplitude.astype("c16")) ** 2
        total = np.bincount(paths.ue_index, power, num_ues)
        weighs |= power > _LEAST_SHARE * total[paths.ue_index]
    rows = np.flatnonzero(at_edge.any(axis=1) & weighs)
    key = np.zeros(0, dtype="i8")
    if len(rows):
        before = at_edge[rows].argmax(axis=1)
        face = scene.rows_of(paths.object_index[rows, before], paths.primitive[rows, before])
        edge = paths.wedge[rows].astype("f8")
        wedge = scene.wedges.at(face, edge[:, :3], edge[:, 3:6])
        key = np.unique(_key(paths.ue_index[rows], before, wedge, max_depth, num_wedges))
    return MatteringEdges(max_depth=max_depth, num_wedges=num_wedges, key=key)


def _key(
    ue_index: Int[np.ndarray, "pair"],
    before: Int[np.ndarray, "pair"] | int,
    wedge: Int[np.ndarray, "pair"],
    max_depth: int,
    num_wedges: int,
) -> Int[np.ndarray, "pair"]:
    return (ue_index * max_depth + before) * num_wedges + wedge
