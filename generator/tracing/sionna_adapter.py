"""The one module that reaches into Sionna RT beyond its public interface.

Used here: `PathsBuffer` with its private fields, the calls of the deterministic candidate
generator, `ImageMethod` and `FieldCalculator`, `WedgeGeometry`, and the numbers by which Dr.Jit
registers meshes. `tests/contract/test_sionna_internals.py` fails with a sentence when an upgrade
changes them.
"""

from dataclasses import dataclass
from importlib import metadata

import numpy as np
from jaxtyping import Bool, Complex, Float, Int, Integer

from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.errors import RuntimeUnavailableError
from raymark.generator.tracing.backend import dr, mi, rt
from raymark.generator.tracing.candidates import EDGE_SLOT, PathCandidates
from raymark.generator.tracing.meshes import MeshRecord
from raymark.generator.tracing.tables import HalfEdges, Planes, Triangles, Wedges

# isort: split
from sionna.rt.path_solvers.field_calculator import FieldCalculator
from sionna.rt.path_solvers.image_method import ImageMethod
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from sionna.rt.path_solvers.sb_deterministic import SBDeterministicCandidateGenerator
from sionna.rt.utils import WedgeGeometry
from sionna.rt.utils.wedges import wedge_geometry

__all__ = [
    "Endpoints",
    "PathsBuffer",
    "SolverSettings",
    "aligned",
    "candidate_buffer",
    "compute_fields",
    "make_endpoints",
    "point",
    "read_half_edges",
    "read_triangles",
    "real",
    "require_supported_version",
    "solver_candidates",
    "stored_buffer",
    "unsigned",
    "validate_candidates",
    "wedge_rows",
]

SUPPORTED_SIONNA_RT = "2.2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """One BS and its UEs, as Dr.Jit arrays."""

    source: mi.Point3f
    targets: mi.Point3f
    source_orientation: mi.Point3f


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverSettings:
    """What Sionna's own candidate search is asked for."""

    max_depth: int
    num_rays: int
    specular_reflection: bool
    diffuse_reflection: bool
    refraction: bool
    diffraction: bool
    seed: int


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


def aligned(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return a contiguous copy that starts at a multiple of 64 bytes.

    Dr.Jit uses numpy's memory where it lies and compiles a kernel anew when its alignment changes.
    """
    size = values.size * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, dtype="u1")
    start = -memory.ctypes.data % 64
    copy = memory[start : start + size].view(dtype).reshape(values.shape)
    copy[...] = values
    return copy


def point(points: Float[np.ndarray, "n 3"]) -> mi.Point3f:
    """Return points as a Dr.Jit array."""
    return mi.Point3f(*(real(points[:, i]) for i in range(3)))


def real(values: Float[np.ndarray, "n"]) -> mi.Float:
    """Return real numbers as a Dr.Jit array."""
    return mi.Float(aligned(values, "f4"))


def unsigned(values: Integer[np.ndarray, "n"]) -> mi.UInt:
    """Return non-negative numbers as a Dr.Jit array."""
    return mi.UInt(aligned(values, "u4"))


def make_endpoints(
    bs_position_m: Float[np.ndarray, "3"],
    bs_orientation_rad: Float[np.ndarray, "3"],
    ue_position_m: Float[np.ndarray, "ue 3"],
) -> Endpoints:
    """Hand a BS and its UEs to the ray tracer."""
    source, targets = point(bs_position_m[None]), point(ue_position_m)
    orientation = point(bs_orientation_rad[None])
    dr.make_opaque(source, targets, orientation)
    return Endpoints(source=source, targets=targets, source_orientation=orientation)


def read_triangles(meshes: list[MeshRecord]) -> Triangles:
    """Collect the triangles of all meshes."""
    counts = [len(mesh.corner_m) for mesh in meshes]
    ids = np.array([mesh.shape_id for mesh in meshes])
    first = np.zeros(ids.max() + 1, dtype="i8")
    first[ids] = np.cumsum([0, *counts[:-1]])
    return Triangles(
        corner_m=np.concatenate([mesh.corner_m for mesh in meshes]),
        shape_id=np.repeat(ids, counts),
        primitive=np.concatenate([np.arange(count) for count in counts]),
        first_of_shape=first,
    )


def read_half_edges(triangles: Triangles) -> HalfEdges:
    """Ask Sionna for the wedge at every edge of every triangle."""
    tri = np.repeat(np.arange(triangles.count), 3)
    mesh = dr.reinterpret_array(mi.MeshPtr, unsigned(triangles.shape_id[tri]))
    local = unsigned(np.tile(np.arange(3), triangles.count))
    wedge = wedge_geometry(mesh, unsigned(triangles.primitive[tri]), local, mi.Bool(True))
    dr.eval(wedge)
    first = triangles.first_of_shape[triangles.shape_id[tri]]
    return HalfEdges(
        origin_m=np.array(wedge.o).T.astype("f8"),
        direction=np.array(wedge.e_hat).T.astype("f8"),
        length_m=np.array(wedge.length).astype("f8"),
        normal_0=np.array(wedge.n0).T.astype("f8"),
        normal_n=np.array(wedge.nn).T.astype("f8"),
        triangle_0=first + np.array(wedge.prim0),
        triangle_n=first + np.array(wedge.primn),
    )


def solver_candidates(
    scene: rt.Scene, endpoints: Endpoints, settings: SolverSettings
) -> PathsBuffer:
    """Find candidates by the deterministic search of Sionna's own PathSolver."""
    buffer = SBDeterministicCandidateGenerator()(
        mi_scene=scene.mi_scene,
        src_positions=endpoints.source,
        tgt_positions=endpoints.targets,
        samples_per_src=settings.num_rays,
        max_num_paths_per_src=max(1_000_000, settings.num_rays * max(1, settings.max_depth)),
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
    return buffer


def candidate_buffer(
    candidates: PathCandidates, triangles: Triangles, planes: Planes, wedges: Wedges | None
) -> PathsBuffer:
    """Write candidates into Sionna's buffer, as its own search would have left them.

    A reflection is given by its plane's largest triangle and a point of it, a diffraction by its
    wedge with the 0-face turned to the BS. Without `wedges` no candidate may diffract.
    """
    slot = candidates.slot
    size, depth = slot.shape
    reflects, diffracts = slot >= 0, slot == EDGE_SLOT
    plane = np.where(reflects, slot, 0)
    triangle = planes.triangle[plane]
    vertex = planes.point_m[plane]
    if wedges is not None:
        wedge = np.maximum(candidates.wedge, 0)
        facing = np.where(candidates.flip, wedges.triangle_n[wedge], wedges.triangle_0[wedge])
        triangle = np.where(diffracts, facing[:, None], triangle)
        vertex = np.where(diffracts[..., None], wedges.origin_m[wedge][:, None], vertex)
    buffer = PathsBuffer(size, depth, wedges is not None)
    code = reflects * int(rt.InteractionType.SPECULAR)
    code = code + diffracts * int(rt.InteractionType.DIFFRACTION)
    present = reflects | diffracts
    _write_interactions(
        buffer,
        code=code,
        shape=np.where(present, triangles.shape_id[triangle], 0),
        primitive=np.where(present, triangles.primitive[triangle], 0),
        vertex_m=vertex,
        ue_index=candidates.ue_index,
    )
    if wedges is not None:
        buffer._diffracting_wedges = _wedge_geometry(candidates, triangles, wedges)
    return buffer


def stored_buffer(paths: TracedPaths, shape_ids: Int[np.ndarray, "object"]) -> PathsBuffer:
    """Write paths whose geometry is known into Sionna's buffer, ready for their fields.

    Args:
        paths: None of them diffracted: Sionna's diffracted fields also hang on vertices beyond the
            last interaction, which only a search leaves in the buffer.
        shape_ids: The ray tracer's number of each object.
    """
    size, depth = paths.interaction.shape
    present = paths.interaction > 0
    buffer = PathsBuffer(size, depth, False)
    _write_interactions(
        buffer,
        code=paths.interaction,
        shape=np.where(present, shape_ids[paths.object_index], 0),
        primitive=np.where(present, paths.primitive, 0),
        vertex_m=paths.vertex_m,
        ue_index=paths.ue_index,
    )
    buffer._valid = dr.full(mi.Bool, True, size)
    return buffer


def _write_interactions(
    buffer: PathsBuffer,
    *,
    code: np.ndarray,
    shape: np.ndarray,
    primitive: np.ndarray,
    vertex_m: np.ndarray,
    ue_index: np.ndarray,
) -> None:
    """Fill a buffer; arrays are `[path, depth]`, vertices `[path, depth, 3]`."""
    buffer._interaction_types = mi.TensorXu(aligned(code, "u4"))
    buffer._shapes = mi.TensorXu(aligned(shape, "u4"))
    buffer._primitives = mi.TensorXu(aligned(primitive, "u4"))
    for axis, name in enumerate(("_vertices_x", "_vertices_y", "_vertices_z")):
        setattr(buffer, name, mi.TensorXf(aligned(vertex_m[..., axis], "f4")))
    buffer._tgt_indices = unsigned(ue_index)
    buffer._probs = mi.TensorXf(aligned(np.ones(code.shape), "f4"))
    buffer._tensor_width_lit = code.size
    buffer._tensor_width = dr.opaque(mi.UInt32, code.size)


def validate_candidates(
    scene: rt.Scene, buffer: PathsBuffer, endpoints: Endpoints
) -> Bool[np.ndarray, "candidate"]:
    """Solve the geometry of candidates by Sionna's image method and tell which are paths."""
    if buffer.buffer_size == 0:
        return np.zeros(0, dtype=bool)
    ImageMethod()(
        scene=scene.mi_scene,
        paths=buffer,
        src_positions=endpoints.source,
        tgt_positions=endpoints.targets,
        diffraction=buffer.diffracting_wedges is not None,
        diffraction_lit_region=True,
    )
    buffer.schedule()
    dr.eval()
    return np.array(buffer.valid)


def compute_fields(
    scene: rt.Scene, buffer: PathsBuffer, endpoints: Endpoints, *, num_rays: int
) -> tuple[Complex[np.ndarray, "path"], Float[np.ndarray, "path"]]:
    """Return amplitudes and delays [s] of valid paths at the scene's present carrier.

    The buffer is copied first, since the field calculator writes into it.
    """
    copy = buffer.tile(1)
    upright = dr.zeros(mi.Point3f, dr.width(endpoints.targets))
    dr.make_opaque(upright)
    copy = FieldCalculator()(
        wavelength=scene.wavelength,
        paths=copy,
        samples_per_src=num_rays,
        diffraction=copy.diffracting_wedges is not None,
        src_positions=endpoints.source,
        tgt_positions=endpoints.targets,
        src_orientations=endpoints.source_orientation,
        tgt_orientations=upright,
        src_antenna_patterns=scene.tx_array.antenna_pattern.patterns,
        tgt_antenna_patterns=scene.rx_array.antenna_pattern.patterns,
    )
    amplitude = copy.a[0][0]
    dr.eval(amplitude, copy.tau)
    return np.array(amplitude.real) + 1j * np.array(amplitude.imag), np.array(copy.tau)


def wedge_rows(buffer: PathsBuffer) -> Float[np.ndarray, "path 13"]:
    """Return origin, direction, length and both normals of each path's wedge; zeros if none."""
    diffracts = np.array(buffer.interaction_types).reshape(-1, buffer.depth_dim_size)
    has_wedge = (diffracts == rt.InteractionType.DIFFRACTION).any(axis=1)
    wedge = buffer.diffracting_wedges
    if wedge is None or not has_wedge.any():
        return np.zeros((len(has_wedge), 13), dtype="f4")
    parts = [wedge.o, wedge.e_hat, wedge.length, wedge.n0, wedge.nn]
    table = np.vstack([np.atleast_2d(np.array(part)) for part in parts]).T
    return np.where(has_wedge[:, None], table, 0).astype("f4")


def _wedge_geometry(
    candidates: PathCandidates, triangles: Triangles, wedges: Wedges
) -> WedgeGeometry:
    """Return Sionna's record of each candidate's wedge, its 0-face turned to the BS."""
    index = np.maximum(candidates.wedge, 0)
    flip = candidates.flip
    turn = flip[:, None]
    end = wedges.origin_m[index] + wedges.length_m[index, None] * wedges.direction[index]
    triangle_0 = np.where(flip, wedges.triangle_n[index], wedges.triangle_0[index])
    triangle_n = np.where(flip, wedges.triangle_0[index], wedges.triangle_n[index])
    primitive_0, primitive_n = triangles.primitive[triangle_0], triangles.primitive[triangle_n]
    # Equal numbers mean "free edge" to Sionna; across two meshes they may be equal by chance.
    primitive_n = np.where(primitive_n == primitive_0, primitive_0 + 1, primitive_n)
    normal_0 = np.where(turn, wedges.normal_n[index], wedges.normal_0[index])
    normal_n = np.where(turn, wedges.normal_0[index], wedges.normal_n[index])
    direction = np.where(turn, -wedges.direction[index], wedges.direction[index])
    return WedgeGeometry(
        dr.reinterpret_array(mi.MeshPtr, unsigned(triangles.shape_id[triangle_0])),
        unsigned(primitive_0),
        unsigned(primitive_n),
        unsigned(wedges.local_edge[index]),
        point(np.where(turn, end, wedges.origin_m[index])),
        mi.Vector3f(point(direction)),
        real(wedges.length_m[index]),
        mi.Normal3f(point(normal_0)),
        mi.Normal3f(point(normal_n)),
    )
