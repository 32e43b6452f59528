"""The one module that touches Sionna RT, Mitsuba and Dr.Jit; above it everything is numpy.

Parts of Sionna used beyond its public interface: `PathsBuffer` and its private fields, the call
signatures of the candidate generators, `ImageMethod` and `FieldCalculator`, `WedgeGeometry`.
`tests/contract/test_sionna_internals.py` fails with a sentence when an upgrade changes them.
"""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from raymark.errors import RuntimeUnavailableError
from raymark.generator.tracing.runtime import activate_runtime
from raymark.radio import Band, FrontEnd

activate_runtime()

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402
from sionna import rt  # noqa: E402
from sionna.rt.path_solvers.field_calculator import FieldCalculator  # noqa: E402
from sionna.rt.path_solvers.image_method import ImageMethod  # noqa: E402
from sionna.rt.path_solvers.paths_buffer import PathsBuffer  # noqa: E402
from sionna.rt.path_solvers.sb_deterministic import (  # noqa: E402
    SBDeterministicCandidateGenerator,
)

SUPPORTED_SIONNA_RT = "2.2.0"

Points = Float[np.ndarray, "n 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedPaths:
    """All valid paths between one BS and a block of UEs, in the order the search found them.

    Attributes:
        ue_index: UE of each path within the block.
        delay_s: Absolute delay [s].
        direction_bs: Unit vector from the BS along the first segment.
        direction_ue: Unit vector from the UE along the last segment, outwards.
        interaction: Sionna's code of each interaction; 0 beyond the last.
        vertex_m: Interaction points [m].
        object_index: Index in `LoadedScene.object_names`; -1 beyond the last.
        primitive: Triangle of the object; -1 beyond the last.
        wedge: Origin, unit vector, length and both face normals of the diffracting edge, or zeros.
        amplitude: Response at each band, without the carrier phase.
    """

    ue_index: Int[np.ndarray, "path"]
    delay_s: Float[np.ndarray, "path"]
    direction_bs: Float[np.ndarray, "path 3"]
    direction_ue: Float[np.ndarray, "path 3"]
    interaction: Int[np.ndarray, "path depth"]
    vertex_m: Float[np.ndarray, "path depth 3"]
    object_index: Int[np.ndarray, "path depth"]
    primitive: Int[np.ndarray, "path depth"]
    wedge: Float[np.ndarray, "path 13"]
    amplitude: Complex[np.ndarray, "band path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """What Sionna's candidate search is asked for (see `TracerSettings`)."""

    max_depth: int
    num_rays: int
    specular_reflection: bool
    diffuse_reflection: bool
    refraction: bool
    diffraction: bool
    seed: int


class LoadedScene:
    """A scene in the ray tracer: geometry queries and path tracing from one BS.

    Attributes:
        object_names: Names of the meshes.
        object_materials: ITU name of each mesh's material.
    """

    def __init__(self, xml_path: Path, front_end: FrontEnd) -> None:
        """Load the geometry and set the antennas.

        Raises:
            RuntimeUnavailableError: If another version of sionna-rt is installed.
        """
        require_supported_version()
        self._scene = rt.load_scene(str(xml_path), merge_shapes=True)
        panel, ue = front_end.panel, front_end.ue
        self._scene.tx_array = _single_antenna(panel.element_pattern, panel.polarization)
        self._scene.rx_array = _single_antenna(ue.element_pattern, ue.polarization)
        objects = self._scene.objects
        self.object_names: tuple[str, ...] = tuple(objects)
        self.object_materials: tuple[str, ...] = tuple(
            objects[name].radio_material.itu_type for name in objects
        )
        ids = [
            int(dr.reinterpret_array(mi.UInt, mi.ShapePtr(o.mi_mesh))[0]) for o in objects.values()
        ]
        self._object_of_shape = np.full(max(ids) + 1, -1, dtype="i4")
        self._object_of_shape[ids] = np.arange(len(ids))

    @property
    def box_m(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner of the scene [m]."""
        box = self._scene.mi_scene.bbox()
        return np.array(box.min, dtype="f8").ravel(), np.array(box.max, dtype="f8").ravel()

    def hit_distance(
        self, origin_m: Points, direction: Points
    ) -> tuple[Float[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Return the distance to the first surface [m] (inf if none) and its object (-1)."""
        if len(origin_m) == 0:
            return np.zeros(0), np.zeros(0, dtype="i4")
        ray = mi.Ray3f(_point(origin_m), mi.Vector3f(_point(direction)))
        hit = self._scene.mi_scene.ray_intersect(ray, ray_flags=mi.RayFlags.Minimal, coherent=False)
        valid = np.array(hit.is_valid())
        shape = np.array(dr.select(hit.is_valid(), dr.reinterpret_array(mi.UInt, hit.shape), 0))
        distance = np.where(valid, np.array(hit.t, dtype="f8"), np.inf)
        return distance, np.where(valid, self._object_of_shape[shape], -1)

    def is_visible(self, start_m: Points, end_m: Points) -> Bool[np.ndarray, "n"]:
        """Tell whether the straight lines between points are free of surfaces."""
        if len(start_m) == 0:
            return np.zeros(0, dtype=bool)
        start, end = _point(start_m), _point(end_m)
        offset = end - start
        length = dr.norm(offset)
        ray = mi.Ray3f(start, mi.Vector3f(offset / length))
        ray.maxt = length * (1 - 1e-4)
        return ~np.array(self._scene.mi_scene.ray_test(ray))

    def trace(
        self,
        bs_position_m: Float[np.ndarray, "3"],
        bs_orientation_rad: Float[np.ndarray, "3"],
        ue_position_m: Points,
        bands: tuple[Band, ...],
        settings: SearchSettings,
    ) -> TracedPaths:
        """Trace the paths from one BS to a block of UEs once, and their fields at every band.

        The candidates come from Sionna's deterministic search, so that a call can be repeated
        bit by bit; but they depend on which UEs stand together in it.
        """
        source, targets = _point(bs_position_m[None, :]), _point(ue_position_m)
        dr.make_opaque(source, targets)
        self._scene.frequency = bands[0].carrier_hz
        buffer = SBDeterministicCandidateGenerator()(
            mi_scene=self._scene.mi_scene,
            src_positions=source,
            tgt_positions=targets,
            samples_per_src=settings.num_rays,
            max_num_paths_per_src=max(1_000_000, settings.num_rays * settings.max_depth),
            max_depth=settings.max_depth,
            los=True,
            specular_reflection=settings.specular_reflection,
            diffuse_reflection=settings.diffuse_reflection,
            refraction=settings.refraction,
            diffraction=settings.diffraction,
            edge_diffraction=False,
            seed=settings.seed,
        )
        buffer.schedule()
        dr.eval()
        buffer.shrink()
        buffer.detach_geometry()
        buffer = ImageMethod()(
            scene=self._scene.mi_scene,
            paths=buffer,
            src_positions=source,
            tgt_positions=targets,
            diffraction=settings.diffraction,
            diffraction_lit_region=True,
        )
        buffer.discard_invalid()
        buffer.schedule()
        dr.eval()
        fields = _FieldInputs(
            source=source,
            targets=targets,
            orientation=_point(bs_orientation_rad[None, :]),
            num_rays=settings.num_rays,
            diffraction=settings.diffraction,
        )
        return self._with_fields(buffer, fields, bands)

    def _with_fields(
        self, buffer: PathsBuffer, inputs: "_FieldInputs", bands: tuple[Band, ...]
    ) -> TracedPaths:
        """Compute the fields of one geometry at every band and hand everything over as numpy."""
        if buffer.buffer_size == 0:
            return _no_paths(buffer.depth_dim_size, len(bands))
        amplitudes, delay_s = [], np.zeros(0)
        for band in bands:
            self._scene.frequency = band.carrier_hz
            copy = _compute_fields(buffer.tile(1), inputs, self._scene)
            amplitudes.append(np.array(copy.a[0][0].real) + 1j * np.array(copy.a[0][0].imag))
            delay_s = np.array(copy.tau)
        paths = self._to_numpy(buffer, delay_s, np.array(amplitudes, dtype="c8"))
        # The ranking band decides what counts as a path; a zero elsewhere is a value like others.
        return _take(paths, np.flatnonzero(np.abs(paths.amplitude[0]) > 0))

    def _to_numpy(
        self,
        buffer: PathsBuffer,
        delay_s: Float[np.ndarray, "path"],
        amplitude: Complex[np.ndarray, "band path"],
    ) -> TracedPaths:
        depth = buffer.depth_dim_size
        interaction = np.array(buffer.interaction_types).reshape(-1, depth).astype("u1")
        shape = np.array(buffer.shapes).reshape(-1, depth)
        primitive = np.array(buffer.primitives).reshape(-1, depth)
        present = interaction > 0
        columns = (buffer.vertices_x, buffer.vertices_y, buffer.vertices_z)
        vertex = np.stack([np.array(v).reshape(-1, depth) for v in columns], axis=-1)
        return TracedPaths(
            ue_index=np.array(buffer.target_indices).astype("i8"),
            delay_s=delay_s,
            direction_bs=np.array(buffer.k_tx).T,
            direction_ue=np.array(buffer.k_rx).T,
            interaction=interaction,
            vertex_m=np.where(present[..., None], vertex, 0).astype("f4"),
            object_index=np.where(
                present, self._object_of_shape[np.where(present, shape, 0)], -1
            ).astype("i2"),
            primitive=np.where(present, primitive.astype("i8"), -1).astype("i4"),
            wedge=_wedges(buffer, interaction),
            amplitude=amplitude,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FieldInputs:
    source: mi.Point3f
    targets: mi.Point3f
    orientation: mi.Point3f
    num_rays: int
    diffraction: bool


def require_supported_version() -> None:
    """Check that the installed sionna-rt is the one that this adapter was written for.

    Raises:
        RuntimeUnavailableError: If it is another.
    """
    installed = metadata.version("sionna-rt")
    if installed != SUPPORTED_SIONNA_RT:
        raise RuntimeUnavailableError(
            f"raymark uses internals of sionna-rt {SUPPORTED_SIONNA_RT}, but {installed} is "
            f"installed; run pip install sionna-rt=={SUPPORTED_SIONNA_RT}"
        )


def _single_antenna(pattern: str, polarization: str) -> rt.PlanarArray:
    return rt.PlanarArray(num_rows=1, num_cols=1, pattern=pattern, polarization=polarization)


def _point(points: Points) -> mi.Point3f:
    columns = [mi.Float(np.ascontiguousarray(points[:, i], dtype="f4")) for i in range(3)]
    return mi.Point3f(*columns)


def _compute_fields(buffer: PathsBuffer, inputs: _FieldInputs, scene: rt.Scene) -> PathsBuffer:
    """Run Sionna's field calculator at the scene's present carrier."""
    upright = dr.zeros(mi.Point3f, dr.width(inputs.targets))
    dr.make_opaque(inputs.orientation, upright)
    result = FieldCalculator()(
        wavelength=scene.wavelength,
        paths=buffer,
        samples_per_src=inputs.num_rays,
        diffraction=inputs.diffraction,
        src_positions=inputs.source,
        tgt_positions=inputs.targets,
        src_orientations=inputs.orientation,
        tgt_orientations=upright,
        src_antenna_patterns=scene.tx_array.antenna_pattern.patterns,
        tgt_antenna_patterns=scene.rx_array.antenna_pattern.patterns,
    )
    dr.eval(result.a, result.tau)
    return result


def _wedges(
    buffer: PathsBuffer, interaction: Int[np.ndarray, "path depth"]
) -> Float[np.ndarray, "path 13"]:
    is_diffracted = (interaction == rt.InteractionType.DIFFRACTION).any(axis=1)
    wedge = buffer.diffracting_wedges
    if wedge is None or not is_diffracted.any():
        return np.zeros((len(interaction), 13), dtype="f4")
    parts = [wedge.o, wedge.e_hat, wedge.length, wedge.n0, wedge.nn]
    table = np.vstack([np.atleast_2d(np.array(part)) for part in parts]).T
    return np.where(is_diffracted[:, None], table, 0).astype("f4")


def _no_paths(depth: int, num_bands: int) -> TracedPaths:
    return TracedPaths(
        ue_index=np.zeros(0, dtype="i8"),
        delay_s=np.zeros(0, dtype="f4"),
        direction_bs=np.zeros((0, 3), dtype="f4"),
        direction_ue=np.zeros((0, 3), dtype="f4"),
        interaction=np.zeros((0, depth), dtype="u1"),
        vertex_m=np.zeros((0, depth, 3), dtype="f4"),
        object_index=np.zeros((0, depth), dtype="i2"),
        primitive=np.zeros((0, depth), dtype="i4"),
        wedge=np.zeros((0, 13), dtype="f4"),
        amplitude=np.zeros((num_bands, 0), dtype="c8"),
    )


def _take(paths: TracedPaths, rows: Int[np.ndarray, "row"]) -> TracedPaths:
    columns = {n: getattr(paths, n)[rows] for n in TracedPaths.__slots__ if n != "amplitude"}
    return TracedPaths(amplitude=paths.amplitude[:, rows], **columns)
