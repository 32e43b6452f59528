"""What `sionna_adapter.py` takes from Sionna RT beyond its public interface, item by item.

After an upgrade of sionna-rt, the sentences of the failing tests say what to look at.
"""

import ast
import dataclasses
import inspect
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from sionna import rt
from sionna.rt.path_solvers.field_calculator import FieldCalculator
from sionna.rt.path_solvers.image_method import ImageMethod
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from sionna.rt.path_solvers.sb_deterministic import SBDeterministicCandidateGenerator
from sionna.rt.radio_materials.itu import ITU_MATERIALS_PROPERTIES
from sionna.rt.utils import WedgeGeometry
from sionna.rt.utils.wedges import wedge_geometry

from raymark.dataset import schema
from raymark.errors import RuntimeUnavailableError
from raymark.generator.tracing import sionna_adapter as adapter
from raymark.radio import Panel
from raymark.radio.p2040 import ITU_MATERIALS
from raymark.radio.synthesis import element_positions

CALLS: dict[Any, tuple[str, ...]] = {
    SBDeterministicCandidateGenerator: (
        "mi_scene",
        "src_positions",
        "tgt_positions",
        "samples_per_src",
        "max_num_paths_per_src",
        "max_depth",
        "los",
        "specular_reflection",
        "diffuse_reflection",
        "refraction",
        "diffraction",
        "edge_diffraction",
        "seed",
    ),
    ImageMethod: (
        "scene",
        "paths",
        "src_positions",
        "tgt_positions",
        "diffraction",
        "diffraction_lit_region",
    ),
    FieldCalculator: (
        "wavelength",
        "paths",
        "samples_per_src",
        "diffraction",
        "src_positions",
        "tgt_positions",
        "src_orientations",
        "tgt_orientations",
        "src_antenna_patterns",
        "tgt_antenna_patterns",
    ),
}

BUFFER_ITEMS = (
    "_diffracting_wedges",
    "_interaction_types",
    "_primitives",
    "_probs",
    "_shapes",
    "_tensor_width",
    "_tensor_width_lit",
    "_tgt_indices",
    "_valid",
    "_vertices_x",
    "_vertices_y",
    "_vertices_z",
    "a",
    "buffer_size",
    "depth_dim_size",
    "detach_geometry",
    "diffracting_wedges",
    "discard_invalid",
    "gather",
    "interaction_types",
    "k_rx",
    "k_tx",
    "primitives",
    "schedule",
    "shapes",
    "shrink",
    "target_indices",
    "tau",
    "tile",
    "valid",
)

WEDGE_FIELDS = ("shape", "prim0", "primn", "local_edge", "o", "e_hat", "length", "n0", "nn")


def test_sionna_rt_is_the_supported_version_when_installed() -> None:
    installed = metadata.version("sionna-rt")

    assert installed == adapter.SUPPORTED_SIONNA_RT, (
        f"sionna-rt {installed} is installed, raymark was written for "
        f"{adapter.SUPPORTED_SIONNA_RT}: check every item of this file, then raise the constant"
    )
    adapter.require_supported_version()


def test_adapter_raises_when_another_version_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _name: "3.0.0")

    message = (
        r"uses internals of sionna-rt 2\.2\.0, but 3\.0\.0 is installed; "
        r"run pip install sionna-rt==2\.2\.0"
    )
    with pytest.raises(RuntimeUnavailableError, match=message):
        adapter.require_supported_version()


@pytest.mark.parametrize("kind", CALLS, ids=lambda kind: kind.__name__)
def test_sionna_call_takes_our_arguments_when_upgraded(kind: Any) -> None:
    parameters = inspect.signature(kind.__call__).parameters
    missing = [name for name in CALLS[kind] if name not in parameters]
    required = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and name != "self"
    ]
    new = [name for name in required if name not in CALLS[kind]]

    assert not missing, f"{kind.__name__}.__call__ has lost {missing}, which the adapter passes"
    assert not new, f"{kind.__name__}.__call__ wants {new}, which the adapter does not pass"
    kind()  # it is made without arguments


@pytest.mark.parametrize("diffraction", [False, True])
def test_paths_buffer_has_our_items_when_upgraded(diffraction: bool) -> None:
    buffer = PathsBuffer(6, 2, diffraction)

    for name in BUFFER_ITEMS:
        assert hasattr(buffer, name), f"PathsBuffer has lost '{name}', which the adapter uses"
    assert (buffer.buffer_size, buffer.depth_dim_size) == (6, 2), (
        "PathsBuffer(size, depth, diffraction) takes its arguments in another order"
    )
    assert (buffer.diffracting_wedges is not None) == diffraction, (
        "the third argument of PathsBuffer no longer decides whether there are wedges"
    )
    for name in ("_interaction_types", "_shapes", "_vertices_x", "_probs"):
        assert tuple(getattr(buffer, name).shape) == (6, 2), f"PathsBuffer.{name} has another shape"
    assert buffer._tensor_width_lit == 12, "PathsBuffer._tensor_width_lit is no longer size x depth"


def test_paths_buffer_is_listed_whole_when_the_adapter_grows() -> None:
    """Every private name that the adapter touches stands in this file."""
    tree = ast.parse(Path(adapter.__file__).read_text(encoding="utf-8"))
    touched = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }

    assert touched <= set(BUFFER_ITEMS), f"not checked above: {sorted(touched - set(BUFFER_ITEMS))}"
    assert touched, "the adapter touches nothing private any more: this file can go"


def test_wedge_geometry_has_our_fields_in_order_when_upgraded() -> None:
    fields = tuple(field.name for field in dataclasses.fields(WedgeGeometry))

    assert fields == WEDGE_FIELDS, f"WedgeGeometry now has {fields}; the adapter fills it in order"
    parameters = list(inspect.signature(wedge_geometry).parameters)
    assert parameters[:4] == ["mesh", "prim0", "local_edge0", "active"], (
        f"wedge_geometry now takes {parameters}"
    )


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (schema.NO_INTERACTION, "NONE"),
        (schema.SPECULAR, "SPECULAR"),
        (schema.DIFFUSE, "DIFFUSE"),
        (schema.REFRACTION, "REFRACTION"),
        (schema.DIFFRACTION, "DIFFRACTION"),
    ],
)
def test_interaction_code_equals_sionnas_when_upgraded(ours: int, name: str) -> None:
    assert ours == getattr(rt.InteractionType, name), f"rt.InteractionType.{name} has changed"


def test_loaded_object_has_our_items_when_upgraded(ground_and_wall: Path) -> None:
    scene = rt.load_scene(str(ground_and_wall / "scene.xml"), merge_shapes=True)

    assert set(scene.objects) == {"ground", "wall"}, "load_scene names objects in another way"
    item = scene.objects["ground"]
    assert item.radio_material.itu_type == "concrete", "the material's itu_type has gone"
    params = adapter.mi.traverse(item.mi_mesh)
    assert {"vertex_positions", "faces"} <= set(params.keys()), "the mesh has other parameters"
    assert np.array(params["faces"]).size == 6, "two triangles are no longer six numbers"


def test_merged_object_has_no_name_when_upgraded(write_scene: Callable[..., Path]) -> None:
    low, high = (trimesh.creation.box(bounds=[[x, 0, 0], [x + 1, 1, 1]]) for x in (0, 5))
    tall = trimesh.creation.box(bounds=[[9, 0, 0], [10, 1, 5]])
    meshes = {"a": (low, "brick"), "b": (high, "brick"), "c": (tall, "metal")}
    folder = write_scene("merged", meshes, [])

    names = rt.load_scene(str(folder / "scene.xml"), merge_shapes=True).objects

    assert len(names) == 2
    assert sum(name.startswith("no-name") for name in names) == 1, (
        f"merged meshes are now called {list(names)}; mesh_records knows them by 'no-name'"
    )


@pytest.mark.parametrize(("num_rows", "num_cols"), [(8, 8), (1, 4), (4, 1), (2, 3), (1, 1)])
@pytest.mark.parametrize("spacing", [0.5, 0.35])
def test_element_positions_equal_sionnas_order_when_panel_is_any(
    num_rows: int, num_cols: int, spacing: float
) -> None:
    panel = Panel(num_rows=num_rows, num_cols=num_cols, spacing_wavelengths=spacing)
    array = rt.PlanarArray(
        num_rows=num_rows,
        num_cols=num_cols,
        vertical_spacing=spacing,
        horizontal_spacing=spacing,
        pattern="tr38901",
        polarization="V",
    )

    theirs = np.array(array.positions(wavelength=1.0)).T

    np.testing.assert_allclose(element_positions(panel), theirs, atol=1e-6)  # theirs are float32


def test_itu_materials_equal_sionnas_table_when_upgraded() -> None:
    theirs = {
        name: [(low * 1e9, high * 1e9, *law) for (low, high), law in laws.items()]
        for name, laws in ITU_MATERIALS_PROPERTIES.items()
    }

    ours = {
        name: [dataclasses.astuple(law) for law in laws] for name, laws in ITU_MATERIALS.items()
    }
    assert ours == theirs, "raymark.radio.p2040 differs from Sionna's table of ITU-R P.2040"
