"""Seeded damage: to bytes, to values of YAML and JSON, to arrays and to tables."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

Rng = np.random.Generator

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, -(2**63), 10**400, 0.5, -1e300, float("nan"), float("inf")),
    *("", " ", "x", "..", "../../victim", "/etc/passwd", "a" * 300, "a\x1b[2J", "a\0b", "ä", "1e3"),
    *([], {}, [[]], {"kind": "x"}, {"../victim": 1}, [1, "x"], ["../../victim"] * 3),
)
_TOKENS = (b"\xff\xfe", b"\0", b"\x1b[2J", b"../../victim", b"9" * 400, b"[" * 2000, b"&a [*a]")


def damage_bytes(rng: Rng, path: Path) -> None:
    """Flip, cut, repeat or insert bytes of a file."""
    content = bytearray(path.read_bytes())
    start, stop = sorted(int(x) for x in rng.integers(0, len(content) + 1, 2))
    kind = rng.integers(5)
    if kind == 0:
        for place in rng.integers(0, len(content), int(rng.integers(1, 9))):
            content[place] ^= int(rng.integers(1, 256))
    elif kind == 1:
        del content[start:]
    elif kind == 2:
        del content[start:stop]
    elif kind == 3:
        content[stop:stop] = content[start : min(stop, start + 4000)]
    else:
        content[start:start] = _TOKENS[rng.integers(len(_TOKENS))]
    path.write_bytes(content)


def damaged_value(rng: Rng, value: Any) -> Any:
    """Return a value of YAML or JSON of which one part is another, missing or more."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    holder, key = places[rng.integers(len(places))]
    kind = rng.integers(6)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif kind == 2 and isinstance(holder, dict):
        holder[f"{key}x"] = holder[key]
    elif kind == 3 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * float(rng.normal()) if rng.random() < 0.5 else holder[key] + 1
    elif kind == 4:
        other, name = places[rng.integers(len(places))]
        holder[key] = copy.deepcopy(other[name])
    else:
        holder[key] = copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))])
    return value


def _places(value: Any) -> Any:
    """Yield every (holder, key) in nested dictionaries and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def damage_hdf5(rng: Rng, path: Path) -> str:
    """Change one array of an HDF5 file.

    Returns:
        Its name.
    """
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, x: names.append(name) if isinstance(x, h5py.Dataset) else None)
        name = names[rng.integers(len(names))]
        values = file[name][()]
        del file[name]
        _ARRAY_DAMAGE[rng.integers(len(_ARRAY_DAMAGE))](rng, file, name, values)
    return name


def _other_values(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    changed = values.copy()
    flat = changed.reshape(-1)
    if flat.size:
        place = rng.integers(flat.size)
        flat[place] = not flat[place] if values.dtype == bool else flat[place] * 3 + 1
    file[name] = changed


def _scaled(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    factor = rng.choice([-1, 0, 1.2, 1e30])
    with np.errstate(all="ignore"):
        file[name] = (values * factor).astype(values.dtype)


def _shuffled(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = rng.permutation(values)


def _cut(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = values[: int(rng.integers(len(values) + 1))]


def _of_type(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = values.real.astype(rng.choice(["f8", "i4", "S5", "?"]))


def _not_finite(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = np.full(values.shape, rng.choice([np.nan, np.inf]), dtype="f4")


def _absurd(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    shape = (int(rng.choice([2**20, 2**40, 2**62])), *values.shape[1:])
    file.create_dataset(name, shape, values.real.dtype, chunks=tuple(1 for _ in shape))


def _group(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    file.create_group(name)[f"{rng.integers(9)}"] = values


def _link(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    file["elsewhere"] = values
    links = (h5py.SoftLink("/elsewhere"), h5py.SoftLink(f"/{name}"))
    file[name] = (*links, h5py.ExternalLink("../../victim", "x"))[rng.integers(3)]


def _extra(rng: Rng, file: h5py.File, name: str, values: np.ndarray) -> None:
    file[name] = values
    file[f"extra{rng.integers(9)}"] = values


_ARRAY_DAMAGE: tuple[Callable[[Rng, h5py.File, str, np.ndarray], None], ...] = (
    *(_other_values, _scaled, _shuffled, _cut, _of_type, _not_finite, _absurd, _group, _link),
    _extra,
)


def damage_table(rng: Rng, path: Path) -> None:
    """Change one column or row of a Parquet file."""
    table = pd.read_parquet(path)
    column = table.columns[rng.integers(len(table.columns))]
    kind = rng.integers(6)
    if kind == 0:
        table = table.drop(columns=column)
    elif kind == 1:
        table = table.iloc[: int(rng.integers(len(table)))]
    elif kind == 2:
        table = pd.concat([table, table.iloc[:1]])
    elif kind == 3:
        table[column] = HOSTILE[rng.integers(5)]
    elif kind == 4:
        table[column] = "../../victim"
    elif pd.api.types.is_numeric_dtype(table[column]):
        table[column] = table[column] * rng.choice([np.nan, np.inf, -2.0])
    table.to_parquet(path, index=False)
