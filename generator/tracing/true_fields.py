"""Fields of traced or stored paths by `raymark.fields`: the ray tracer gives their geometry alone.

What a dataset stores of a path, and the scene that it was traced in, decide its field: the facets
of its reflections and both faces of its wedge are looked up by the triangles that it names.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Complex, Float, Int

from raymark.dataset.schema import DIFFRACTION, SPECULAR
from raymark.dataset.writing.kept import needed_paths
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.fields import (
    Antenna,
    AtCarrier,
    Materials,
    PathGeometry,
    Roughness,
    ScatteredPaths,
    Wedges,
    itu_materials,
    path_amplitudes,
    scattered_amplitudes,
)
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import SPEED_OF_LIGHT_M_S, Band

Array = np.ndarray

UNRANKED_SHARE = 1e-5
"""Of the power of a link at both ends of the range of carriers: the weakest paths that hold less
are not looked at between. A hundredth of what a campaign cuts off by itself."""

_PATHS_AT_ONCE = 4_096
"""So that what is computed of them stays in the cache of a core."""


class TrueFields:
    """Computes the fields of the paths between one BS and any UEs."""

    def __init__(
        self,
        scene: LoadedScene,
        bs_position_m: Float[Array, "3"],
        bs_orientation_rad: Float[Array, "3"],
    ) -> None:
        """Remember where the BS stands, as float32 as the ray tracer has it."""
        self._scene = scene
        self._normal, self._object = scene.triangles.normal, scene.object_of_triangle
        self._bs_m = np.asarray(bs_position_m, dtype="f4").astype("f8")
        yaw, pitch, roll = (float(angle) for angle in bs_orientation_rad)
        self._orientation_rad = (yaw, pitch, roll)

    def complete(
        self,
        paths: TracedPaths,
        ue_position_m: Float[Array, "ue 3"],
        bands: tuple[Band, ...],
        references: tuple[Band, ...] = (),
    ) -> TracedPaths:
        """Return paths with delays and fields; see `SiteSearch` for which are left out.

        Args:
            paths: Of solved geometry; their delays and amplitudes are not read.
            ue_position_m: UEs that `paths` counts [m].
            bands: Carriers.
            references: Further carriers, from the lowest to the highest.
        """
        ranking, others = (references, bands) if references else (bands, ())
        ends, between = ranking[:1] + ranking[1:][-1:], ranking[1:-1]
        delay_s, at_ends = self._solved(paths, ue_position_m, ends)
        power = np.abs(at_ends.astype("c16")) ** 2
        kept = power[0] > 0
        if references:
            share = 1 - UNRANKED_SHARE
            kept = needed_paths(power, paths.ue_index, len(ue_position_m), share=share)
        rows = np.flatnonzero(kept)
        some = replace(paths.take(rows), delay_s=delay_s[rows])
        first, last = np.split(at_ends[:, rows], [1])
        _, rest = self._solved(some, ue_position_m, (*others, *between))
        before, middle = np.split(rest, [len(others)])
        return replace(some, amplitude=np.concatenate([before, first, middle, last]))

    def amplitudes(
        self, paths: TracedPaths, ue_position_m: Float[Array, "ue 3"], bands: tuple[Band, ...]
    ) -> Complex[Array, "band path"]:
        """Return the fields of paths whose geometry is known, at any bands."""
        return self._solved(paths, ue_position_m, bands)[1]

    def scattered(
        self, paths: ScatteredPaths, bands: tuple[Band, ...]
    ) -> Complex[Array, "band path"]:
        """Return the fields of scattered paths, whose materials are the objects of the scene."""
        roughness = Roughness(
            directivity=torch.tensor(self._scene.object_directivity),
            cross_polar=torch.tensor(self._scene.object_cross_polar, dtype=torch.float64),
        )
        carriers, carrier_of_band = self._carriers(bands)
        amplitude = scattered_amplitudes(paths, roughness, carriers).numpy().astype("c8")
        return amplitude[carrier_of_band]

    def _solved(
        self, paths: TracedPaths, ue_position_m: Float[Array, "ue 3"], bands: tuple[Band, ...]
    ) -> tuple[Float[Array, "path"], Complex[Array, "band path"]]:
        """Return delays and fields, in parts that bound the memory."""
        carriers, carrier_of_band = self._carriers(bands)
        delay_s = np.zeros(len(paths.ue_index))
        amplitude = np.zeros((len(carriers), len(delay_s)), dtype="c8")
        for start in range(0, len(delay_s), _PATHS_AT_ONCE):
            rows = np.arange(start, min(start + _PATHS_AT_ONCE, len(delay_s)))
            geometry = self.geometry(paths.take(rows), ue_position_m)
            length_m = torch.linalg.vector_norm(geometry.legs_m, dim=-1).sum(dim=1).numpy()
            delay_s[rows] = length_m / SPEED_OF_LIGHT_M_S
            if carriers:
                amplitude[:, rows] = path_amplitudes(geometry, carriers).numpy()
        return delay_s, amplitude[carrier_of_band]

    def geometry(self, paths: TracedPaths, ue_position_m: Float[Array, "ue 3"]) -> PathGeometry:
        """Return what the fields of paths hang on, looked up in the scene; materials by object."""
        scene = self._scene
        ue_m = np.asarray(ue_position_m, dtype="f4").astype("f8")[paths.ue_index]
        present = paths.interaction > 0
        triangle = scene.rows_of(
            np.where(present, paths.object_index, 0), np.where(present, paths.primitive, 0)
        )
        return PathGeometry(
            bs_m=torch.from_numpy(np.broadcast_to(self._bs_m, ue_m.shape).copy()),
            ue_m=torch.from_numpy(ue_m),
            vertex_m=torch.from_numpy(paths.vertex_m.astype("f8")),
            reflects=torch.from_numpy(paths.interaction == SPECULAR),
            diffracts=torch.from_numpy(paths.interaction == DIFFRACTION),
            normal=torch.from_numpy(self._normal[triangle]),
            material=torch.from_numpy(np.where(present, paths.object_index, 0).astype("i8")),
            wedge=self._wedges(paths, triangle),
        )

    def _wedges(self, paths: TracedPaths, triangle: Int[Array, "path depth"]) -> Wedges:
        origin, direction, _, normal_0, normal_n = np.split(
            paths.wedge.astype("f8"), [3, 6, 7, 10], axis=1
        )
        at_edge = (paths.interaction == DIFFRACTION).any(axis=1)
        slot = (paths.interaction == DIFFRACTION).argmax(axis=1)
        faces = np.zeros((len(slot), 2), dtype="i8")
        rows = np.flatnonzero(at_edge)
        faces[rows] = self._faces(
            triangle[rows, slot[rows]], origin[rows], direction[rows], normal_0[rows]
        )
        material = torch.from_numpy(self._object[faces].astype("i8"))
        return Wedges(
            direction=torch.from_numpy(direction),
            normal_0=torch.from_numpy(normal_0),
            normal_n=torch.from_numpy(normal_n),
            material_0=material[:, 0],
            material_n=material[:, 1],
        )

    def _faces(
        self,
        triangle: Int[Array, "n"],
        origin_m: Float[Array, "n 3"],
        direction: Float[Array, "n 3"],
        normal_0: Float[Array, "n 3"],
    ) -> Int[Array, "n 2"]:
        """Return the triangles of the 0-face and the n-face of edges, one of which is given."""
        if len(triangle) == 0:
            return np.zeros((0, 2), dtype="i8")
        wedges = self._scene.wedges
        wedge = wedges.at(triangle, origin_m, direction)
        like_0 = np.einsum("ni,ni->n", wedges.normal_0[wedge], normal_0)
        like_n = np.einsum("ni,ni->n", wedges.normal_n[wedge], normal_0)
        faces = np.column_stack([wedges.triangle_0[wedge], wedges.triangle_n[wedge]])
        return np.where((like_0 >= like_n)[:, None], faces, faces[:, ::-1])

    def _carriers(self, bands: tuple[Band, ...]) -> tuple[list[AtCarrier], list[int]]:
        """Return what distinguishes the fields of bands, and which of these is each band's."""
        keys = [(band.carrier_hz, *self._antennas(band)) for band in bands]
        distinct = list(dict.fromkeys(keys))
        carriers = [
            AtCarrier(carrier_hz=carrier_hz, materials=self._slabs(carrier_hz), bs=bs, ue=ue)
            for carrier_hz, bs, ue in distinct
        ]
        return carriers, [distinct.index(key) for key in keys]

    def _antennas(self, band: Band) -> tuple[Antenna, Antenna]:
        """Return the elements of the BS and of the UEs at a band."""
        front_end = self._scene.front_end_at(band)
        bs = Antenna(
            pattern=front_end.panel.element_pattern,
            polarization=front_end.panel.polarization,
            orientation_rad=self._orientation_rad,
        )
        ue = Antenna(pattern=front_end.ue.element_pattern, polarization=front_end.ue.polarization)
        return bs, ue

    def _slabs(self, carrier_hz: float) -> Materials:
        """Return the slab that each object of the scene is made of."""
        return itu_materials(
            self._scene.object_materials,
            carrier_hz,
            thickness_m=self._scene.object_thickness_m,
            scattering=self._scene.object_scattering,
        )
