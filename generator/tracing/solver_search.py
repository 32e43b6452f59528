"""Sionna's own search, for what chains cannot do: refraction and diffuse reflection.

Its paths of a UE depend on which UEs stand in the same call, so that the composition of the calls
is fixed: blocks of consecutive UEs.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths, no_paths
from raymark.generator.tracing import sionna_adapter as adapter
from raymark.generator.tracing.backend import ieee754
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import Band


class SolverSearch:
    """Sionna's deterministic PathSolver search from one BS."""

    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[np.ndarray, "3"],
        bs_orientation_rad: Float[np.ndarray, "3"],
        settings: TracerSettings,
        *,
        seed: int = 0,
    ) -> None:
        """Remember what is to be searched; nothing can be found before the UEs are known."""
        self._scene, self._settings, self._seed = scene, settings, seed
        self._bs_m, self._orientation_rad = bs_position_m, bs_orientation_rad

    @ieee754
    def trace(
        self,
        ue_position_m: Float[np.ndarray, "ue 3"],
        bands: tuple[Band, ...],
        references: tuple[Band, ...] = (),
    ) -> TracedPaths:
        """Return all paths to some UEs; the first of them must be the first of a block."""
        bands = (*bands, *references)
        if len(ue_position_m) == 0:
            return no_paths(max(1, self._settings.max_depth), len(bands))
        size = self._settings.solver_block_size
        starts = list(range(0, len(ue_position_m), size))
        blocks = [self._trace_block(ue_position_m[i : i + size], bands) for i in starts]
        return replace(join_paths(blocks, starts), num_references=len(references))

    def _trace_block(
        self, ue_position_m: Float[np.ndarray, "ue 3"], bands: tuple[Band, ...]
    ) -> TracedPaths:
        settings, sionna = self._settings, self._scene.sionna
        endpoints = adapter.make_endpoints(self._bs_m, self._orientation_rad, ue_position_m)
        # Materials weigh the choice between reflection and refraction, hence a carrier is needed.
        sionna.frequency = bands[0].carrier_hz
        buffer = adapter.solver_candidates(
            sionna,
            endpoints,
            adapter.SolverSettings(
                max_depth=settings.max_depth,
                num_rays=settings.solver_rays,
                specular_reflection=settings.specular_reflection,
                diffuse_reflection=settings.diffuse_reflection,
                refraction=settings.refraction,
                diffraction=settings.diffraction,
                seed=self._seed,
            ),
        )
        adapter.validate_candidates(sionna, buffer, endpoints)
        buffer.discard_invalid()
        return self._scene.with_fields(buffer, endpoints, bands, num_rays=settings.solver_rays)
