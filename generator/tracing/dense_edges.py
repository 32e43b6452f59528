"""Denser rays from the edges that matter, shot the first time that an edge matters to any UE.

What a discovery misses are mostly chains that few of the rays that leave an edge would meet, and
nearly all of their power leaves edges that other paths to the same UE leave, too, or paths to
places nearby. These edges are few. What is found from an edge is offered to the UEs to which it
matters by their own paths, and to all if it matters to a witness (`witnesses`), so that the
paths of a UE do not hang on its company.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from raymark.dataset.campaign import Discovery
from raymark.generator.tracing.beams import BeamTable
from raymark.generator.tracing.candidates import PathCandidates, join_candidates
from raymark.generator.tracing.diffraction import DiffractionSearch
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.mattering_edges import MatteringEdges
from raymark.generator.tracing.targets import TargetTree


class DenseEdges:
    """What denser rays have found so far."""

    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[np.ndarray, "3"],
        tables: list[BeamTable],
        discovery: Discovery,
        *,
        turn: float,
        witnessed: Bool[np.ndarray, "before wedge"],
    ) -> None:
        """Search the edges that matter to witnesses.

        Args:
            scene: The scene.
            bs_position_m: The BS [m].
            tables: Beams of the BS, by the number of their reflections, from none.
            discovery: Density of points and rays.
            turn: Shift of points and rays, in steps.
            witnessed: Edges that matter to witnesses, by the number of reflections before them.
        """
        self._scene, self._bs_m, self._tables = scene, bs_position_m, tables
        self._discovery, self._turn = discovery, turn
        self._denser = (discovery.dense_cone_rays or 0) / discovery.cone_rays
        self._is_explored = np.zeros_like(witnessed)
        self._found: DiffractionSearch | None = None
        self._witnessed = witnessed
        self._explore(witnessed)

    def candidates(
        self,
        tree: TargetTree,
        ue_position_m: Float[np.ndarray, "ue 3"],
        depth: int,
        edges: MatteringEdges,
        known: list[PathCandidates],
    ) -> list[PathCandidates]:
        """Return what leaves the edges that matter to a UE or a witness, and is not known."""
        self._explore(edges.to_any)
        if self._found is None:
            return []

        def is_offered(ue_index: np.ndarray, before: int, wedge: np.ndarray) -> np.ndarray:
            return self._witnessed[before, wedge] | edges.has(ue_index, before, wedge)

        found = self._found.candidates(tree, ue_position_m, depth, is_offered)
        if not found:
            return []
        candidates = join_candidates(found)
        if known:
            is_known = _rows_of(candidates).isin(_rows_of(join_candidates(known)))
            candidates = candidates.take(np.flatnonzero(~is_known))
        # In which order they are found hangs on what was explored before.
        columns = (*candidates.slot.T[::-1], candidates.flip, candidates.wedge, candidates.ue_index)
        return [candidates.take(np.lexsort(columns))]

    def _explore(self, edges: Bool[np.ndarray, "before wedge"]) -> None:
        unknown = edges & ~self._is_explored
        if not unknown.any():
            return
        effort = np.where(unknown, self._denser, 0.0)
        found = DiffractionSearch(
            self._scene, self._bs_m, self._tables, self._discovery, turn=self._turn, effort=effort
        )
        self._found = found if self._found is None else self._found.joined(found)
        self._is_explored |= unknown


def _rows_of(candidates: PathCandidates) -> pd.MultiIndex:
    columns = [candidates.ue_index, candidates.wedge, candidates.flip, *candidates.slot.T]
    return pd.MultiIndex.from_arrays(columns)
