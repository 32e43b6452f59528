"""Specular paths: chains from the BS, filtered against the UEs by the image method."""

import numpy as np
from jaxtyping import Float

from raymark.generator.tracing.backend import mi
from raymark.generator.tracing.backtracking import Ball, ImageWalk
from raymark.generator.tracing.beams import BeamTable
from raymark.generator.tracing.candidates import NO_SLOT, PathCandidates
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.targets import PairSearch, TargetTree


class SpecularSearch:
    """Chains of one length from one BS, ready to be matched with UEs."""

    def __init__(
        self, scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], beams: BeamTable
    ) -> None:
        """Compute the images of the BS in every chain."""
        self._plane = beams.plane
        self._length = self._plane.shape[1]
        self._walk = ImageWalk(bs_position_m, self._plane, scene.planes)
        self._pairs = PairSearch(len(self._plane), self._test)

    def candidates(self, tree: TargetTree, depth: int) -> list[PathCandidates]:
        """Return the (chain, UE) pairs that the image method may accept."""
        found = []
        for chain, ue_index in self._pairs.find(tree):
            slot = np.full((len(chain), depth), NO_SLOT)
            slot[:, : self._length] = self._plane[chain]
            none = np.full(len(chain), -1)
            found.append(PathCandidates(ue_index=ue_index, slot=slot, wedge=none, flip=none >= 0))
        return found

    def _test(self, chain: mi.UInt, target: Ball) -> mi.Bool:
        """Walk back from each ball through the planes of its chain."""
        return self._walk.back(chain, target)[1]
