"""Specular paths: chains from the BS, filtered against the UEs by the image method."""

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.generator.tracing.backtracking import Ball, ImageWalk
from raymark.generator.tracing.beams import BeamTable
from raymark.generator.tracing.candidates import NO_SLOT, PathCandidates
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.sionna_adapter import point, real, unsigned
from raymark.generator.tracing.targets import TargetTree, find_pairs


class SpecularSearch:
    """Chains of one length from one BS, ready to be matched with UEs."""

    def __init__(
        self, scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], beams: BeamTable
    ) -> None:
        """Compute the images of the BS in every chain."""
        self._plane = beams.plane
        self._length = self._plane.shape[1]
        self._walk = ImageWalk(bs_position_m, self._plane, scene.planes)

    def candidates(self, tree: TargetTree, depth: int) -> list[PathCandidates]:
        """Return the (chain, UE) pairs that the image method may accept."""
        found = []
        for chain, ue_index in find_pairs(tree, len(self._plane), self._test):
            slot = np.full((len(chain), depth), NO_SLOT)
            slot[:, : self._length] = self._plane[chain]
            none = np.full(len(chain), -1)
            found.append(PathCandidates(ue_index=ue_index, slot=slot, wedge=none, flip=none >= 0))
        return found

    def _test(
        self,
        chain: Int[np.ndarray, "pair"],
        centre_m: Float[np.ndarray, "pair 3"],
        radius_m: Float[np.ndarray, "pair"],
    ) -> Bool[np.ndarray, "pair"]:
        """Walk back from each ball through the planes of its chain."""
        target = Ball(centre_m=point(centre_m), radius_m=real(radius_m))
        _, possible = self._walk.back(unsigned(chain), target)
        return np.array(possible)
