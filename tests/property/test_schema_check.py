from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymark.dataset.schema import FIELDS, FieldSpec, check_arrays, check_path_physics, fields_of
from raymark.errors import PhysicsError, SchemaError

KINDS = ("paths", "detail", "fingerprints", "buildings")
SIZES = {
    "space": 3,
    "wedge": 13,
    "link": 4,
    "path": 6,
    "band": 2,
    "depth": 3,
    "ant": 5,
    "subcarrier": 7,
    "azimuth": 8,
    "row": 4,
    "column": 5,
    "part": 3,
    "ring": 4,
    "point": 9,
    "xy": 2,
}


def example(kind: str) -> dict[str, np.ndarray]:
    """All arrays of one kind of file, of the right types and shapes, without meaning."""
    return {field.name: filled(field) for field in fields_of(kind)}


def filled(field: FieldSpec) -> np.ndarray:
    shape = tuple(SIZES[axis.removesuffix("+1")] + axis.endswith("+1") for axis in field.axes)
    return np.ones(shape, dtype=field.dtype)


def pick(data: st.DataObject, kind: str) -> str:
    return data.draw(st.sampled_from([field.name for field in fields_of(kind)]))


@pytest.mark.parametrize("kind", KINDS)
def test_check_arrays_returns_sizes_when_all_is_right(kind: str) -> None:
    sizes = check_arrays(kind, example(kind), where="file")

    used = {axis.removesuffix("+1") for field in fields_of(kind) for axis in field.axes}
    assert {axis: sizes[axis] for axis in used} == {axis: SIZES[axis] for axis in used}


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_check_arrays_raises_when_an_array_is_missing(kind: str, data: st.DataObject) -> None:
    arrays, name = example(kind), pick(data, kind)
    del arrays[name]

    with pytest.raises(SchemaError, match=rf"file: missing arrays \['{name}'\]"):
        check_arrays(kind, arrays, where="file")


@pytest.mark.parametrize("kind", KINDS)
def test_check_arrays_raises_when_an_array_is_unknown(kind: str) -> None:
    arrays = {**example(kind), "path/colour": np.zeros(3)}

    with pytest.raises(SchemaError, match=r"unknown arrays \['path/colour'\]"):
        check_arrays(kind, arrays, where="file")


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_check_arrays_raises_when_a_type_is_another(kind: str, data: st.DataObject) -> None:
    arrays, name = example(kind), pick(data, kind)
    dtypes = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "?", "c8", "c16", ">f4"]
    wrong = data.draw(st.sampled_from([d for d in dtypes if np.dtype(d) != arrays[name].dtype]))
    arrays[name] = np.ones(arrays[name].shape, dtype=wrong)

    with pytest.raises(SchemaError, match=f"{name} must be of type"):
        check_arrays(kind, arrays, where="file")


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_check_arrays_raises_when_an_axis_is_missing(kind: str, data: st.DataObject) -> None:
    arrays, name = example(kind), pick(data, kind)
    arrays[name] = np.asarray(arrays[name][0])

    with pytest.raises(SchemaError, match=f"{name} must have axes"):
        check_arrays(kind, arrays, where="file")


SHARED = {
    (field.file, field.name, i)
    for field in FIELDS
    for i, axis in enumerate(field.axes)
    if axis in ("space", "wedge", "xy")
    or sum(
        axis.removesuffix("+1") == other.removesuffix("+1")
        for peer in fields_of(field.file)
        for other in peer.axes
    )
    > 1
}
"""Axes whose length another array, or the schema itself, decides."""


@given(st.sampled_from(sorted(SHARED)), st.sampled_from([-1, 1]))
def test_check_arrays_raises_when_a_length_disagrees(
    place: tuple[str, str, int], change: int
) -> None:
    kind, name, axis = place
    arrays = example(kind)
    shape = list(arrays[name].shape)
    shape[axis] += change
    arrays[name] = np.ones(shape, dtype=arrays[name].dtype)

    with pytest.raises(SchemaError, match=r"has \d+ along '.*', expected"):
        check_arrays(kind, arrays, where="file")


FLOATS = [(f.file, f.name) for f in FIELDS if np.dtype(f.dtype).kind in "fc"]


@given(st.sampled_from(FLOATS), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_check_arrays_raises_when_one_value_is_not_finite(
    place: tuple[str, str], value: float, data: st.DataObject
) -> None:
    kind, name = place
    arrays = example(kind)
    arrays[name].flat[data.draw(st.integers(0, arrays[name].size - 1))] = value

    with pytest.raises(SchemaError, match=f"{name} holds values that are not finite"):
        check_arrays(kind, arrays, where="file")


CARRIERS_HZ = [2.6e9, 28e9]


def test_check_path_physics_accepts_when_paths_are_possible(
    valid_arrays: Callable[[], dict[str, np.ndarray]],
) -> None:
    check_path_physics(valid_arrays(), carriers_hz=CARRIERS_HZ, where="file")


@given(st.integers(0, 2), st.floats(0, 0.9999))
def test_check_path_physics_raises_when_a_delay_is_below_the_straight_line(
    valid_arrays: Callable[[], dict[str, np.ndarray]], path: int, factor: float
) -> None:
    arrays = valid_arrays()
    straight_s = [100.0, 100.0, 50.0][path] / 299_792_458.0
    arrays["path/delay_s"][path] = factor * straight_s

    with pytest.raises(PhysicsError, match=f"path {path} of link .* shorter than the straight"):
        check_path_physics(arrays, carriers_hz=CARRIERS_HZ, where="file")


@given(st.integers(0, 2), st.integers(1, 2))
def test_check_path_physics_raises_when_a_label_disagrees(
    valid_arrays: Callable[[], dict[str, np.ndarray]], link: int, turn: int
) -> None:
    arrays = valid_arrays()
    arrays["link/los"][link] = (arrays["link/los"][link] + 1 + turn) % 3 - 1

    with pytest.raises(PhysicsError, match=f"link {link} is labelled"):
        check_path_physics(arrays, carriers_hz=CARRIERS_HZ, where="file")


@given(st.integers(0, 1), st.integers(0, 2), st.floats(4.0, 1e3))
def test_check_path_physics_raises_when_a_path_is_above_free_space(
    valid_arrays: Callable[[], dict[str, np.ndarray]], band: int, path: int, factor: float
) -> None:
    arrays = valid_arrays()
    length_m = arrays["path/delay_s"][path] * 299_792_458.0
    free_space = 299_792_458.0 / CARRIERS_HZ[band] / (4 * np.pi * length_m)
    gain = 10 ** (16 / 20) * factor  # two 8 dBi elements, TR 38.901's largest
    arrays["path/amplitude"][band, path] = gain * free_space

    with pytest.raises(PhysicsError, match=f"path {path} of link .* above free space"):
        check_path_physics(arrays, carriers_hz=CARRIERS_HZ, where="file")


@pytest.mark.parametrize("offset", [[1, 2, 3, 3], [0, 2, 1, 3], [0, 2, 3, 4]])
def test_check_path_physics_raises_when_offsets_do_not_divide_the_rows(
    valid_arrays: Callable[[], dict[str, np.ndarray]], offset: list[int]
) -> None:
    arrays = valid_arrays()
    arrays["link/path_offset"] = np.array(offset, dtype="i8")

    with pytest.raises(SchemaError, match="path_offset does not divide"):
        check_path_physics(arrays, carriers_hz=CARRIERS_HZ, where="file")


def test_check_path_physics_raises_when_a_band_is_missing(
    valid_arrays: Callable[[], dict[str, np.ndarray]],
) -> None:
    with pytest.raises(PhysicsError, match="2 bands stored, 1 expected"):
        check_path_physics(valid_arrays(), carriers_hz=CARRIERS_HZ[:1], where="file")
