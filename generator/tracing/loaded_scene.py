"""A scene in the ray tracer: geometry queries, tables, and fields of found paths."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from raymark.dataset.campaign import RoughMaterial
from raymark.dataset.writing.traced_paths import TracedPaths, no_paths
from raymark.errors import SceneError
from raymark.generator.tracing import openings
from raymark.generator.tracing import sionna_adapter as adapter
from raymark.generator.tracing.backend import dr, ieee754, mi, rt
from raymark.generator.tracing.meshes import mesh_records, set_roughness
from raymark.generator.tracing.sionna_adapter import Endpoints, PathsBuffer
from raymark.generator.tracing.tables import (
    Planes,
    Triangles,
    Wedges,
    build_planes,
    build_wedges,
)
from raymark.radio import Band, FrontEnd
from raymark.radio.bands import REFERENCE_BANDS
from raymark.radio.p2040 import is_defined
from raymark.scenes.scene_xml import read_scene_xml

Points = Float[np.ndarray, "n 3"]

_ROUNDING = 1e-6
_AS_IN_THE_FILE: Mapping[str, RoughMaterial] = MappingProxyType({})


class LoadedScene:
    """A scene in the ray tracer.

    Attributes:
        object_names: Names of the meshes.
        object_materials: ITU name of each mesh's material.
        object_thickness_m: Thickness of each mesh's walls [m].
        object_scattering: Scattering coefficient of each mesh's walls.
        object_directivity: Exponent of their lobe of scattering, 0 for Lambert's.
        object_cross_polar: Share of what they scatter that is in the other polarization.
        triangles: All triangles.
    """

    @ieee754
    def __init__(
        self,
        xml_path: Path,
        front_end: FrontEnd,
        *,
        weld_edges: bool = False,
        roughness: Mapping[str, RoughMaterial] = _AS_IN_THE_FILE,
    ) -> None:
        """Load the geometry.

        Args:
            xml_path: Mitsuba scene.
            front_end: Patterns of panel elements and UEs, at bands that have none of their own.
            weld_edges: Let edges that separate meshes have in common diffract.
            roughness: How materials scatter, by name, whatever the file says of them.

        Raises:
            RuntimeUnavailableError: If another version of sionna-rt is installed.
            SceneError: If the geometry cannot be read.
        """
        adapter.require_supported_version()
        self.sionna = _load(xml_path)
        set_roughness(self.sionna, roughness)
        self._front_end = front_end
        self._weld_edges = weld_edges
        meshes = mesh_records(self.sionna)
        self.triangles: Triangles = adapter.read_triangles(meshes)
        self.object_names = tuple(mesh.name for mesh in meshes)
        self.object_materials = tuple(mesh.material for mesh in meshes)
        self.object_thickness_m = tuple(mesh.thickness_m for mesh in meshes)
        self.object_scattering = tuple(mesh.scattering for mesh in meshes)
        self.object_directivity = tuple(mesh.directivity for mesh in meshes)
        self.object_cross_polar = tuple(mesh.cross_polar for mesh in meshes)
        ids = np.array([mesh.shape_id for mesh in meshes])
        self._shape_ids = ids
        self._object_of_shape = np.full(ids.max() + 1, -1, dtype="i4")
        self._object_of_shape[ids] = np.arange(len(ids))

    @property
    def box_m(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner of the scene [m]."""
        box = self.sionna.mi_scene.bbox()
        return np.array(box.min, dtype="f8").ravel(), np.array(box.max, dtype="f8").ravel()

    @property
    def reference_bands(self) -> tuple[Band, ...]:
        """Carriers that rank paths: those at which all materials of the scene are defined."""
        materials = set(self.object_materials)
        return tuple(
            band
            for band in REFERENCE_BANDS
            if all(is_defined(material, band.carrier_hz) for material in materials)
        )

    @property
    def object_of_triangle(self) -> Int[np.ndarray, "tri"]:
        """Object of each triangle."""
        return self._object_of_shape[self.triangles.shape_id]

    def rows_of(
        self, object_index: Int[np.ndarray, "*n"], primitive: Int[np.ndarray, "*n"]
    ) -> Int[np.ndarray, "*n"]:
        """Return the rows of triangles that are named by object and number within it."""
        return self.triangles.first_of_shape[self._shape_ids[object_index]] + primitive

    @cached_property
    def planes(self) -> Planes:
        """Clusters of coplanar triangles."""
        return build_planes(self.triangles)

    @cached_property
    @ieee754
    def wedges(self) -> Wedges:
        """Diffracting edges."""
        edges = adapter.read_half_edges(self.triangles)
        return build_wedges(self.triangles, edges, weld=self._weld_edges)

    @ieee754
    def hit_distance(
        self, origin_m: Points, direction: Points
    ) -> tuple[Float[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Return the distance to the first surface [m] (inf if none) and its object (-1)."""
        if len(origin_m) == 0:
            return np.zeros(0), np.zeros(0, dtype="i4")
        ray = mi.Ray3f(adapter.point(origin_m), mi.Vector3f(adapter.point(direction)))
        hit = self.sionna.mi_scene.ray_intersect(ray, ray_flags=mi.RayFlags.Minimal, coherent=False)
        valid = np.array(hit.is_valid())
        shape = np.array(dr.select(hit.is_valid(), dr.reinterpret_array(mi.UInt, hit.shape), 0))
        distance = np.where(valid, np.array(hit.t, dtype="f8"), np.inf)
        return distance, np.where(valid, self._object_of_shape[shape], -1)

    @ieee754
    def first_triangle(
        self, origin_m: Float[np.ndarray, "3"], target_m: Points
    ) -> Int[np.ndarray, "n"]:
        """Return the row of the triangle that is first met on the way to each target; -1 if none.

        The ways go on beyond the targets.
        """
        if len(target_m) == 0:
            return np.zeros(0, dtype="i8")
        direction = mi.Vector3f(adapter.point(_unit(target_m - origin_m)))
        ray = mi.Ray3f(adapter.point(origin_m[None]), direction)
        hit = self.sionna.mi_scene.ray_intersect(ray, ray_flags=mi.RayFlags.Minimal, coherent=False)
        row = np.array(self.triangle_hit(hit), dtype="i8")
        return np.where(np.array(hit.is_valid()), row, -1)

    def triangle_hit(self, hit: mi.SurfaceInteraction3f) -> mi.UInt:
        """Return the row of the triangle that each ray has hit; 0 if none."""
        first = adapter.unsigned(self.triangles.first_of_shape)
        shape = dr.reinterpret_array(mi.UInt, hit.shape)
        triangle = dr.gather(mi.UInt, first, shape, hit.is_valid()) + hit.prim_index
        return dr.select(hit.is_valid(), triangle, 0)

    @ieee754
    def is_visible(self, start_m: Points, end_m: Points) -> Bool[np.ndarray, "n"]:
        """Tell whether the straight lines between points are free of surfaces."""
        if len(start_m) == 0:
            return np.zeros(0, dtype=bool)
        start = adapter.point(start_m)
        offset = adapter.point(end_m) - start
        length = dr.norm(offset)
        ray = mi.Ray3f(start, mi.Vector3f(offset / length))
        ray.maxt = length * (1 - 1e-4)
        return ~np.array(self.sionna.mi_scene.ray_test(ray))

    @ieee754
    def is_open(self, edge_m: Points, wedge: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Tell whether nothing else fills the air about points on diffracting edges."""
        if len(wedge) == 0:
            return np.zeros(0, dtype=bool)
        wedges = self.wedges
        normals = adapter.point(wedges.normal_0[wedge]), adapter.point(wedges.normal_n[wedge])
        along_face = adapter.point(wedges.along_face[wedge])
        return np.array(
            openings.is_open(self.sionna.mi_scene, adapter.point(edge_m), normals, along_face)
        )

    @ieee754
    def with_fields(
        self,
        buffer: PathsBuffer,
        endpoints: Endpoints,
        bands: tuple[Band, ...],
        *,
        num_rays: int = 1,
    ) -> TracedPaths:
        """Compute the fields of valid paths at every band; the geometry is not traced again.

        A path without any field at the first band is dropped; at others, a zero is a value.

        Args:
            buffer: Valid paths, of solved geometry.
            endpoints: Their BS and UEs.
            bands: Carriers.
            num_rays: Rays of the search, which weigh diffuse reflections.
        """
        if buffer.buffer_size == 0:
            return no_paths(buffer.depth_dim_size, len(bands))
        amplitude, delay_s = [], np.zeros(0)
        for band in bands:
            self._tune(band)
            values, delay_s = adapter.compute_fields(
                self.sionna, buffer, endpoints, num_rays=num_rays
            )
            amplitude.append(values)
        paths = self._to_numpy(buffer, endpoints, delay_s, np.array(amplitude, dtype="c8"))
        return paths.take(np.flatnonzero(np.abs(paths.amplitude[0]) > 0))

    @ieee754
    def fields_of(
        self, paths: TracedPaths, endpoints: Endpoints, bands: tuple[Band, ...]
    ) -> Complex[np.ndarray, "band path"]:
        """Compute the fields of reflected paths whose geometry is known, at other bands.

        Args:
            paths: Found by the chain search of this scene; their amplitudes are not read.
            endpoints: Their BS and UEs.
            bands: Carriers.
        """
        amplitude = np.zeros((len(bands), len(paths.ue_index)), dtype="c8")
        if amplitude.size:
            buffer = adapter.stored_buffer(paths, self._shape_ids)
            for i, band in enumerate(bands):
                self._tune(band)
                amplitude[i], _ = adapter.compute_fields(self.sionna, buffer, endpoints, num_rays=1)
        return amplitude

    def solved_paths(self, buffer: PathsBuffer, endpoints: Endpoints) -> TracedPaths:
        """Return valid paths of solved geometry, of no band yet and without delays."""
        count = buffer.buffer_size
        if count == 0:
            return no_paths(buffer.depth_dim_size, 0)
        return self._to_numpy(buffer, endpoints, np.zeros(count), np.zeros((0, count), dtype="c8"))

    def front_end_at(self, band: Band) -> FrontEnd:
        """Return the front-end of a band: its own, else the scene's."""
        return band.front_end or self._front_end

    def _tune(self, band: Band) -> None:
        """Set carrier and element patterns."""
        try:
            self.sionna.frequency = band.carrier_hz
        except ValueError:  # rounded to float32, the end of a material's range lies beyond it
            self.sionna.frequency = band.carrier_hz * (1 - _ROUNDING)
        front_end = self.front_end_at(band)
        panel, ue = front_end.panel, front_end.ue
        self.sionna.tx_array = _single_antenna(panel.element_pattern, panel.polarization)
        self.sionna.rx_array = _single_antenna(ue.element_pattern, ue.polarization)

    def _to_numpy(
        self,
        buffer: PathsBuffer,
        endpoints: Endpoints,
        delay_s: Float[np.ndarray, "path"],
        amplitude: Complex[np.ndarray, "band path"],
    ) -> TracedPaths:
        depth = buffer.depth_dim_size
        interaction = np.array(buffer.interaction_types).reshape(-1, depth).astype("u1")
        present = interaction > 0
        columns = (buffer.vertices_x, buffer.vertices_y, buffer.vertices_z)
        vertex = np.stack([np.array(v).reshape(-1, depth) for v in columns], axis=-1)
        vertex = np.where(present[..., None], vertex, 0).astype("f4")
        shape = np.where(present, np.array(buffer.shapes).reshape(-1, depth), 0)
        primitive = np.array(buffer.primitives).reshape(-1, depth).astype("i8")
        ue_index = np.array(buffer.target_indices).astype("i8")
        bs, ue = np.array(endpoints.source).T, np.array(endpoints.targets).T[ue_index]
        return TracedPaths(
            ue_index=ue_index,
            delay_s=delay_s,
            direction_bs=_unit(np.where(present[:, :1], vertex[:, 0], ue) - bs),
            direction_ue=_unit(_last(vertex, present, np.broadcast_to(bs, ue.shape)) - ue),
            interaction=interaction,
            vertex_m=vertex,
            object_index=np.where(present, self._object_of_shape[shape], -1).astype("i2"),
            primitive=np.where(present, primitive, -1).astype("i4"),
            wedge=adapter.wedge_rows(buffer),
            amplitude=amplitude,
        )


def _single_antenna(pattern: str, polarization: str) -> rt.PlanarArray:
    return rt.PlanarArray(num_rows=1, num_cols=1, pattern=pattern, polarization=polarization)


def _unit(vector: Points) -> Points:
    return (vector / np.linalg.norm(vector, axis=1, keepdims=True)).astype("f4")


def _last(
    vertex: Float[np.ndarray, "path depth 3"], present: Bool[np.ndarray, "path depth"], bs: Points
) -> Points:
    """Return the last interaction point of each path, or the BS where there is none."""
    count = present.sum(axis=1)
    last = vertex[np.arange(len(vertex)), np.maximum(count - 1, 0)]
    return np.where(count[:, None] > 0, last, bs)


def _load(xml_path: Path) -> rt.Scene:
    xml = read_scene_xml(xml_path).for_tracing()
    try:
        scene = rt.load_scene_from_string(xml, merge_shapes=True)
    except (RuntimeError, ValueError, TypeError, SyntaxError) as error:  # of a mesh or a material
        reason = " ".join(str(error).split())
        raise SceneError(f"cannot load the geometry of {xml_path}: {reason}") from error
    if not scene.objects:
        raise SceneError(f"{xml_path} holds no mesh")
    for name, item in scene.objects.items():
        if not hasattr(item.radio_material, "itu_type"):
            raise SceneError(
                f"{xml_path}: mesh '{name}' is of no ITU-R P.2040 material; give its bsdf the "
                "type 'itu-radio-material'"
            )
    return scene
