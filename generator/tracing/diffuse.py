"""Diffuse reflection: one bounce from tiles of the surfaces that a BS lights.

The paths of a UE hang on the scene, the BS and its own position alone. So do their phases: a tile
keeps its own, for every UE and every carrier.
"""

import numpy as np
import torch
from jaxtyping import Complex, Float

from raymark.dataset.schema import DIFFUSE
from raymark.dataset.writing.kept import needed_paths
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths, no_paths
from raymark.fields import ScatteredPaths
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.scatterers import Scatterers, TileSearch
from raymark.generator.tracing.true_fields import UNRANKED_SHARE, TrueFields
from raymark.radio import SPEED_OF_LIGHT_M_S, Band

Array = np.ndarray

_UES_AT_ONCE = 256
_PAIRS_AT_ONCE = 1_000_000
"""UEs, and pairs of UEs and triangles, that are matched in one go."""


class DiffuseSearch:
    """What scatters from one BS, ready to be matched with UEs."""

    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[Array, "3"],
        fields: TrueFields,
        depth: int,
        *,
        fineness: float = 1.0,
    ) -> None:
        """Light the tiles of all surfaces that scatter.

        Args:
            scene: The scene.
            bs_position_m: The BS, as float32 as the ray tracer has it [m].
            fields: What computes the fields of its paths.
            depth: Interactions that its paths have room for.
            fineness: By how much tiles are smaller than they are by themselves.
        """
        self._scene, self._bs_m, self._fields, self._depth = scene, bs_position_m, fields, depth
        scatters = np.array(scene.object_scattering) > 0
        triangle = np.flatnonzero(scatters[scene.object_of_triangle])
        self._tiles = TileSearch(scene, bs_position_m, triangle, fineness=fineness)

    def trace(
        self,
        ue_position_m: Float[Array, "ue 3"],
        bands: tuple[Band, ...],
        references: tuple[Band, ...] = (),
    ) -> TracedPaths:
        """Return the scattered paths to some UEs; see `SiteSearch` for which are left out."""
        ue_m = np.asarray(ue_position_m, dtype="f4").astype("f8")
        size = max(1, min(_UES_AT_ONCE, _PAIRS_AT_ONCE // max(1, self._tiles.num_whole)))
        parts, starts = [no_paths(self._depth, len(bands) + len(references))], [0]
        for start in range(0, len(ue_m), size):
            parts.append(self._paths(ue_m[start : start + size], bands, references))
            starts.append(start)
        return join_paths(parts, starts)

    def _paths(
        self, ue_m: Float[Array, "ue 3"], bands: tuple[Band, ...], references: tuple[Band, ...]
    ) -> TracedPaths:
        found = self._tiles.seen(ue_m)
        amplitude = self._fields.scattered(self._geometry(found, ue_m), (*bands, *references))
        power = np.abs(amplitude.astype("c16")) ** 2
        kept = power[0] > 0
        if references:
            ends, share = power[[len(bands), -1]], 1 - UNRANKED_SHARE
            kept = needed_paths(ends, found.ue_index, len(ue_m), share=share)
        rows = np.flatnonzero(kept)
        return self._traced(found.take(rows), ue_m, amplitude[:, rows])

    def _geometry(self, found: Scatterers, ue_m: Float[Array, "ue 3"]) -> ScatteredPaths:
        scene, triangle = self._scene, found.triangle
        bs_m = np.broadcast_to(self._bs_m, found.point_m.shape).copy()
        return ScatteredPaths(
            bs_m=torch.from_numpy(bs_m),
            ue_m=torch.from_numpy(ue_m[found.ue_index]),
            point_m=torch.from_numpy(found.point_m),
            normal=torch.from_numpy(scene.triangles.normal[triangle]),
            solid_angle_sr=torch.from_numpy(found.solid_angle_sr),
            phase_rad=torch.from_numpy(found.phase_rad),
            material=torch.from_numpy(scene.object_of_triangle[triangle].astype("i8")),
        )

    def _traced(
        self,
        found: Scatterers,
        ue_m: Float[Array, "ue 3"],
        amplitude: Complex[Array, "band path"],
    ) -> TracedPaths:
        """Write scatterers as paths, each at its first interaction."""
        scene, shape = self._scene, (len(found.ue_index), self._depth)
        from_bs_m, from_ue_m = found.point_m - self._bs_m, found.point_m - ue_m[found.ue_index]
        before_m, behind_m = (np.linalg.norm(leg_m, axis=1) for leg_m in (from_bs_m, from_ue_m))
        interaction, vertex_m = np.zeros(shape, dtype="u1"), np.zeros((*shape, 3), dtype="f4")
        object_index, primitive = np.full(shape, -1, dtype="i2"), np.full(shape, -1, dtype="i4")
        interaction[:, 0], vertex_m[:, 0] = DIFFUSE, found.point_m
        object_index[:, 0] = scene.object_of_triangle[found.triangle]
        primitive[:, 0] = scene.triangles.primitive[found.triangle]
        return TracedPaths(
            ue_index=found.ue_index,
            delay_s=(before_m + behind_m) / SPEED_OF_LIGHT_M_S,
            direction_bs=(from_bs_m / before_m[:, None]).astype("f4"),
            direction_ue=(from_ue_m / behind_m[:, None]).astype("f4"),
            interaction=interaction,
            vertex_m=vertex_m,
            object_index=object_index,
            primitive=primitive,
            wedge=np.zeros((len(before_m), 13), dtype="f4"),
            amplitude=amplitude,
        )
