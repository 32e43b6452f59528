"""Fields of traced or stored paths by `raymark.fields`: the ray tracer gives their geometry alone.

What a dataset stores of a path, and the scene that it was traced in, decide its field: the facets
of its reflections and both faces of its wedge are looked up by the triangles that it names.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Complex, Float, Int

from raymark.dataset.schema import DIFFRACTION, SPECULAR
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.fields import (
    Antenna,
    Materials,
    PathGeometry,
    Wedges,
    itu_materials,
    path_amplitude,
)
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import SPEED_OF_LIGHT_M_S, Band

Array = np.ndarray


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
        self._bs_m = np.asarray(bs_position_m, dtype="f4").astype("f8")
        yaw, pitch, roll = (float(angle) for angle in bs_orientation_rad)
        self._orientation_rad = (yaw, pitch, roll)

    def complete(
        self, paths: TracedPaths, ue_position_m: Float[Array, "ue 3"], bands: tuple[Band, ...]
    ) -> TracedPaths:
        """Return paths with delays and fields; one without any field at the first band is dropped.

        Args:
            paths: Of solved geometry; their delays and amplitudes are not read.
            ue_position_m: UEs that `paths` counts [m].
            bands: Carriers.
        """
        geometry = self.geometry(paths, ue_position_m)
        length_m = torch.linalg.vector_norm(geometry.legs_m, dim=-1).sum(dim=1).numpy()
        amplitude = self._amplitudes(geometry, bands)
        complete = replace(paths, delay_s=length_m / SPEED_OF_LIGHT_M_S, amplitude=amplitude)
        return complete.take(np.flatnonzero(np.abs(amplitude[0]) > 0))

    def amplitudes(
        self, paths: TracedPaths, ue_position_m: Float[Array, "ue 3"], bands: tuple[Band, ...]
    ) -> Complex[Array, "band path"]:
        """Return the fields of paths whose geometry is known, at any bands."""
        return self._amplitudes(self.geometry(paths, ue_position_m), bands)

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
            normal=torch.from_numpy(scene.triangles.normal[triangle]),
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
        material = torch.from_numpy(self._scene.object_of_triangle[faces].astype("i8"))
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
        known = wedges.of_triangle[triangle]
        begin = wedges.origin_m[known]
        end = begin + wedges.length_m[known][..., None] * wedges.direction[known]
        # A wedge whose faces were swapped is stored from its other end.
        apart_m = np.minimum(
            *(np.linalg.norm(point - origin_m[:, None], axis=-1) for point in (begin, end))
        )
        aligned = np.abs(np.einsum("nki,ni->nk", wedges.direction[known], direction))
        nearest = np.where(known >= 0, apart_m + (1 - aligned), np.inf).argmin(axis=1)
        wedge = known[np.arange(len(known)), nearest]
        like_0 = np.einsum("ni,ni->n", wedges.normal_0[wedge], normal_0)
        like_n = np.einsum("ni,ni->n", wedges.normal_n[wedge], normal_0)
        faces = np.column_stack([wedges.triangle_0[wedge], wedges.triangle_n[wedge]])
        return np.where((like_0 >= like_n)[:, None], faces, faces[:, ::-1])

    def _amplitudes(
        self, geometry: PathGeometry, bands: tuple[Band, ...]
    ) -> Complex[Array, "band path"]:
        found = []
        for band in bands:
            front_end = self._scene.front_end_at(band)
            bs = Antenna(
                pattern=front_end.panel.element_pattern,
                polarization=front_end.panel.polarization,
                orientation_rad=self._orientation_rad,
            )
            ue = Antenna(
                pattern=front_end.ue.element_pattern, polarization=front_end.ue.polarization
            )
            slabs = self._slabs(band.carrier_hz)
            found.append(path_amplitude(geometry, slabs, band.carrier_hz, bs=bs, ue=ue).numpy())
        return np.array(found, dtype="c8")

    def _slabs(self, carrier_hz: float) -> Materials:
        """Return the slab that each object of the scene is made of."""
        return itu_materials(
            self._scene.object_materials,
            carrier_hz,
            thickness_m=self._scene.object_thickness_m,
            scattering=self._scene.object_scattering,
        )
