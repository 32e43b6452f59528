"""Specular paths: chains from the BS, filtered against the UEs by the image method."""

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.generator.tracing.backend import dr, mi
from raymark.generator.tracing.backtracking import (
    Ball,
    cross_plane,
    device_planes,
    source_images,
)
from raymark.generator.tracing.candidates import NO_SLOT, PathCandidates
from raymark.generator.tracing.chains import Bounce
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.sionna_adapter import point, real, unsigned
from raymark.generator.tracing.targets import TargetTree, find_pairs


class SpecularSearch:
    """Chains of one length from one BS, ready to be matched with UEs."""

    def __init__(
        self, scene: LoadedScene, bs_position_m: Float[np.ndarray, "3"], bounce: Bounce
    ) -> None:
        """Compute the images of the BS in every chain."""
        self._plane = bounce.chains.plane
        self._length = self._plane.shape[1]
        self._planes = device_planes(scene.planes)
        images = source_images(bs_position_m, self._plane, scene.planes)
        self._images = [point(images[:, k + 1]) for k in range(self._length)]
        self._slots = [unsigned(self._plane[:, k]) for k in range(self._length)]

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
        row = unsigned(chain)
        target = Ball(centre_m=point(centre_m), radius_m=real(radius_m))
        possible = mi.Bool(True)
        for k in reversed(range(self._length)):
            image = dr.gather(mi.Point3f, self._images[k], row)
            plane = dr.gather(mi.UInt, self._slots[k], row)
            source = Ball(centre_m=image, radius_m=mi.Float(0))
            target, crosses = cross_plane(source, target, plane, self._planes)
            possible &= crosses
        return np.array(possible)
