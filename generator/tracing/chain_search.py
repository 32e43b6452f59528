"""The search for paths from one BS: what it can reach is found once, then matched with UEs.

The paths of a UE are a function of the scene, the BS, the settings and the UE's position alone (and
of the first band, where no carriers of reference tell which edges are searched twice): the same
bits in any company, order or batch, whatever was traced before.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths, no_paths
from raymark.generator.tracing import sionna_adapter as adapter
from raymark.generator.tracing.backend import ieee754
from raymark.generator.tracing.candidates import NO_SLOT, PathCandidates, join_candidates
from raymark.generator.tracing.dense_edges import DenseEdges
from raymark.generator.tracing.diffraction import DiffractionSearch
from raymark.generator.tracing.exploration import explore_sphere
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.generator.tracing.mattering_edges import edges_that_matter
from raymark.generator.tracing.specular import SpecularSearch
from raymark.generator.tracing.targets import build_tree
from raymark.generator.tracing.witnesses import witness_points
from raymark.radio import Band

_CANDIDATES_PER_CALL = 400_000


class ChainSearch:
    """All that is known of one site before any UE is looked at."""

    @ieee754
    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[np.ndarray, "3"],
        bs_orientation_rad: Float[np.ndarray, "3"],
        settings: TracerSettings,
        *,
        turn: float = 0.0,
        effort: Float[np.ndarray, "before wedge"] | None = None,
    ) -> None:
        """Discover the chains and edges that the BS can reach.

        Args:
            scene: The scene.
            bs_position_m: Centre of the panel [m].
            bs_orientation_rad: Yaw, pitch, roll [rad].
            settings: Depth, kinds of interaction and density of the discovery.
            turn: Turn of the bundle of rays about z [turns], and shift of all else that is on a
                grid, in steps: for an independent discovery.
            effort: How much denser than by the settings the rays are that leave each edge, by
                the number of reflections before it; see `DiffractionSearch`. If it is given, no
                edge is searched again.
        """
        self._scene, self._settings = scene, settings
        self._bs_m = np.asarray(bs_position_m, dtype="f4").astype("f8")
        self._orientation_rad = bs_orientation_rad
        self._true_fields, self._diffuse = None, None
        if settings.fields == "raymark":
            # Load torch, which takes seconds that no other search should wait for.
            from raymark.generator.tracing.true_fields import TrueFields  # noqa: PLC0415

            self._true_fields = TrueFields(scene, self._bs_m, bs_orientation_rad)
        tables = explore_sphere(
            scene, self._bs_m, settings.max_depth, settings.discovery, turn=turn
        )
        self._specular = (
            [SpecularSearch(scene, self._bs_m, table) for table in tables[1:]]
            if settings.specular_reflection
            else []
        )
        self._diffraction, self._dense = None, None
        if settings.diffraction and settings.max_depth > 0:
            before = tables[:-1] if settings.specular_reflection else tables[:1]
            discovery = settings.discovery
            self._diffraction = DiffractionSearch(
                scene, self._bs_m, before, discovery, turn=turn, effort=effort
            )
            if discovery.dense_cone_rays is not None and effort is None and len(before) > 1:
                self._dense = DenseEdges(
                    scene,
                    self._bs_m,
                    before,
                    discovery,
                    turn=turn,
                    witnessed=self._witnessed(discovery.num_witnesses),
                )
        if self._true_fields is not None and settings.diffuse_reflection and settings.max_depth > 0:
            from raymark.generator.tracing.diffuse import DiffuseSearch  # noqa: PLC0415

            self._diffuse = DiffuseSearch(scene, self._bs_m, self._true_fields, settings.max_depth)

    def _witnessed(self, num_witnesses: int) -> Bool[np.ndarray, "before wedge"]:
        """Return which edges matter to points in front of the BS, as far as is known."""
        reference = self._scene.reference_bands[:1]
        if not reference:
            num_witnesses = 0
        azimuth_rad = float(self._orientation_rad[0])
        point_m = witness_points(self._scene, self._bs_m, azimuth_rad, num_witnesses)
        paths = self.trace(point_m, reference)
        return edges_that_matter(self._scene, paths, len(point_m)).to_any

    @ieee754
    def trace(
        self,
        ue_position_m: Float[np.ndarray, "ue 3"],
        bands: tuple[Band, ...],
        references: tuple[Band, ...] = (),
    ) -> TracedPaths:
        """Return the paths to some UEs, with their fields at every band; see `SiteSearch`."""
        depth, carriers = max(1, self._settings.max_depth), (*bands, *references)
        if len(ue_position_m) == 0:
            return no_paths(depth, len(carriers))
        tree = build_tree(ue_position_m)
        endpoints = adapter.make_endpoints(self._bs_m, self._orientation_rad, ue_position_m)
        specular = [_direct(len(ue_position_m), depth)]
        for search in self._specular:
            specular += search.candidates(tree, depth)
        diffracted: list[PathCandidates] = []
        if self._diffraction is not None:
            diffracted = self._diffraction.candidates(tree, ue_position_m, depth)

        def solved(*kinds: list[PathCandidates]) -> TracedPaths:
            # Each kind runs through kernels of its own, so that a path never depends on another.
            found = [part for kind in kinds for part in self._solve(kind, endpoints, carriers)]
            if not found:
                return no_paths(depth, len(carriers))
            paths = join_paths(found, [0] * len(found))
            if self._true_fields is not None:
                paths = self._true_fields.complete(paths, ue_position_m, bands, references)
            return paths

        paths = solved(specular, diffracted)
        if self._dense is not None:
            ranking = slice(len(bands), None) if references else slice(1)
            edges = edges_that_matter(self._scene, paths, len(ue_position_m), ranking)
            more = self._dense.candidates(tree, ue_position_m, depth, edges, diffracted)
            paths = join_paths([paths, solved(more)], [0, 0])
        if self._diffuse is not None:
            paths = join_paths(
                [paths, self._diffuse.trace(ue_position_m, bands, references)], [0, 0]
            )
        return replace(paths, num_references=len(references))

    def _solve(
        self,
        parts: list[PathCandidates],
        endpoints: adapter.Endpoints,
        carriers: tuple[Band, ...],
    ) -> Iterator[TracedPaths]:
        """Let Sionna decide which candidates are paths; the fields are its own, or are to come."""
        if not parts:
            return
        candidates = join_candidates(parts)
        has_wedges = bool((candidates.wedge >= 0).any())
        wedges = self._scene.wedges if has_wedges else None
        for start in range(0, len(candidates), _CANDIDATES_PER_CALL):
            part = candidates.take(slice(start, start + _CANDIDATES_PER_CALL))
            buffer = adapter.candidate_buffer(
                part, self._scene.triangles, self._scene.planes, wedges
            )
            adapter.validate_candidates(self._scene.sionna, buffer, endpoints)
            buffer.discard_invalid()
            if self._true_fields is None:
                yield self._scene.with_fields(buffer, endpoints, carriers)
            else:
                yield self._scene.solved_paths(buffer, endpoints)


def _direct(num_ues: int, depth: int) -> PathCandidates:
    """Return the lines of sight."""
    none = np.full(num_ues, -1)
    return PathCandidates(
        ue_index=np.arange(num_ues),
        slot=np.full((num_ues, depth), NO_SLOT),
        wedge=none,
        flip=none >= 0,
    )
