"""Read a scenario folder of DeepMIMO v4 as it is: parameters, sets of points, checked matrices."""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.io.matlab import MatReadError

from raymark.config import validate
from raymark.errors import ConfigError, DatasetError, SchemaError
from raymark.interop.deepmimo_format import (
    NOTES_KEY,
    PARAMS_NAME,
    PATH_MATRICES,
    POINTS_NAME,
    ExportNotes,
    matrix_stem,
)

_SUFFIXES = (".npz", ".mat", ".npy")
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,  # MATLAB's own format 7.3
    zipfile.BadZipFile,
    zlib.error,
    MatReadError,
)
_Key = tuple[int, int, int]
_V3_FILES = ("*.params.mat", "*.CIR.mat", "*.DoA.mat", "BS*_UE*.mat")


class PointSet(BaseModel):
    """A set of transmitters or receivers, as far as it matters here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    name: str = ""
    is_tx: bool
    is_rx: bool
    num_points: int


class _RtParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    frequency: float
    raytracer_name: str = "unknown ray tracer"
    raytracer_version: str | float = ""
    raw_params: dict[str, Any] = {}


class _SceneParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    num_scenes: int = 1


class _Params(BaseModel):
    """The parts of `params.json` that are read; all others are DeepMIMO's own affair."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str = "4"
    rt_params: _RtParams
    txrx_sets: dict[str, PointSet]
    scene: _SceneParams = _SceneParams()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmitter:
    """One transmitter: its set, and its number there."""

    point_set: PointSet
    index: int

    def key(self, receivers: PointSet) -> _Key:
        """Return the numbers in the names of the files that hold its links to some receivers."""
        return self.point_set.id, self.index, receivers.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one transmitter and the chosen receivers stand, and who is heard.

    Attributes:
        tx_position_m: The transmitter.
        rx_position_m: The receivers, set after set.
        is_heard: Whether a receiver has a path.
    """

    tx_position_m: Float[np.ndarray, "3"]
    rx_position_m: Float[np.ndarray, "rx 3"]
    is_heard: Bool[np.ndarray, "rx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMatrices:
    """What a scenario holds of one transmitter and the chosen receivers.

    Attributes:
        values: The matrices of one value a path by DeepMIMO's names; NaN where there is no path.
        points_m: Interaction points, if the scenario has them.
    """

    values: dict[str, np.ndarray]
    points_m: Float[np.ndarray, "rx path depth 3"] | None

    def los_phases(self) -> tuple[Float[np.ndarray, "los"], Float[np.ndarray, "los"]]:
        """Return phase [rad] and delay [s] of all lines of sight."""
        is_los = np.isfinite(self.values["power"]) & (self.values["inter"] == 0)
        phase_rad = np.radians(self.values["phase"][is_los].astype("f8"))
        return phase_rad, self.values["delay"][is_los].astype("f8")

    def take(self, rows: Int[np.ndarray, "row"]) -> "LinkMatrices":
        """Return the matrices of some receivers."""
        return LinkMatrices(
            values={name: array[rows] for name, array in self.values.items()},
            points_m=None if self.points_m is None else self.points_m[rows],
        )


class Scenario:
    """A static scenario folder of DeepMIMO v4.

    Attributes:
        folder: Where it lies.
        carrier_hz: Carrier frequency [Hz].
        source: Program and version that made it, for people.
        notes: What raymark wrote there if it made the scenario itself.
    """

    def __init__(self, folder: Path) -> None:
        """Read the parameters.

        Raises:
            DatasetError: If there is no scenario, one of DeepMIMO v3, or a dynamic one.
            SchemaError: If its parameters lack something.
        """
        self.folder = folder
        self._params = _read_params(folder)
        if self._params.scene.num_scenes > 1:
            raise DatasetError(
                f"{folder} is a dynamic scenario of {self._params.scene.num_scenes} scenes; only "
                "static ones can be imported"
            )
        tracer = self._params.rt_params
        self.carrier_hz = tracer.frequency
        self.source = (
            f"DeepMIMO scenario '{folder.resolve().name}' (DeepMIMO {self._params.version}, "
            f"{tracer.raytracer_name} {tracer.raytracer_version})"
        )
        self.notes = _read_notes(folder, tracer.raw_params)

    def transmitters(self, set_ids: tuple[int, ...] = ()) -> tuple[Transmitter, ...]:
        """Return the transmitters of some sets, of all if none is named.

        Raises:
            ConfigError: If there is no such set.
            DatasetError: If there is none at all.
        """
        chosen = self._sets("tx", set_ids, [each for each in self._all_sets() if each.is_tx])
        return tuple(
            Transmitter(point_set=each, index=i) for each in chosen for i in range(each.num_points)
        )

    def receiver_sets(self, set_ids: tuple[int, ...] = ()) -> tuple[PointSet, ...]:
        """Return some sets of receivers; if none is named, those that do not transmit as well.

        Raises:
            ConfigError: If there is no such set.
            DatasetError: If there is none at all.
        """
        known = [each for each in self._all_sets() if each.is_rx and (set_ids or not each.is_tx)]
        return self._sets("rx", set_ids, known)

    def placement(self, transmitter: Transmitter, receivers: tuple[PointSet, ...]) -> Placement:
        """Read where a transmitter and receivers stand, and which of these have a path.

        Raises:
            SchemaError: If a file is missing or unreadable, or arrays do not fit together.
        """
        keys = [transmitter.key(each) for each in receivers]
        position_m = [self._read("rx_pos", key).astype("f4") for key in keys]
        power = [self._read("power", key) for key in keys]
        for key, points, values in zip(keys, position_m, power, strict=True):
            if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
                self._refuse("rx_pos", key, points, "[receiver, 3] of finite numbers")
            if values.ndim != 2 or len(values) != len(points):
                self._refuse("power", key, values, f"[{len(points)}, path]")
        tx_position_m = self._read("tx_pos", keys[0]).astype("f4")
        if tx_position_m.size != 3 or not np.isfinite(tx_position_m).all():
            self._refuse("tx_pos", keys[0], tx_position_m, "[1, 3] of finite numbers")
        return Placement(
            tx_position_m=tx_position_m.reshape(3),
            rx_position_m=np.concatenate(position_m),
            is_heard=np.concatenate([np.isfinite(values).any(axis=1) for values in power]),
        )

    def load(self, transmitter: Transmitter, receivers: tuple[PointSet, ...]) -> LinkMatrices:
        """Read the matrices of one transmitter, receivers set after set.

        Raises:
            SchemaError: If a file is missing or unreadable, or arrays do not fit together.
        """
        parts = [self._load_part(transmitter.key(each)) for each in receivers]
        points = [part.points_m for part in parts if part.points_m is not None]
        return LinkMatrices(
            values={name: _stack([part.values[name] for part in parts]) for name in PATH_MATRICES},
            points_m=_stack(points) if len(points) == len(parts) else None,
        )

    def _all_sets(self) -> list[PointSet]:
        return sorted(self._params.txrx_sets.values(), key=lambda each: each.id)

    def _sets(
        self, role: str, set_ids: tuple[int, ...], known: list[PointSet]
    ) -> tuple[PointSet, ...]:
        by_id = {each.id: each for each in known}
        listed = ", ".join(f"{each.id} '{each.name}'" for each in known) or "none"
        for set_id in set_ids:
            if set_id not in by_id:
                raise ConfigError(f"{self.folder} has no {role} set {set_id} (it has: {listed})")
        if not known:
            only = " that does not transmit as well; name one" if role == "rx" else ""
            raise DatasetError(f"{self.folder} has no {role} set{only}")
        return tuple(by_id[set_id] for set_id in set_ids) if set_ids else tuple(known)

    def _load_part(self, key: _Key) -> LinkMatrices:
        values = {name: self._read(name, key) for name in PATH_MATRICES}
        shape, has_path = values["power"].shape, np.isfinite(values["power"])
        for name, array in values.items():
            if array.shape != shape:
                self._refuse(name, key, array, f"{list(shape)}, that of 'power'")
            if not np.isfinite(array[has_path]).all():
                raise SchemaError(
                    f"{self._path(name, key)} is not finite at a path that has a power; "
                    "download the scenario again"
                )
        points_m = None
        if self._path(POINTS_NAME, key) is not None:
            points_m = self._read(POINTS_NAME, key)
            if points_m.shape[:2] != shape or points_m.ndim != 4 or points_m.shape[3] != 3:
                self._refuse(POINTS_NAME, key, points_m, f"[{shape[0]}, {shape[1]}, depth, 3]")
        return LinkMatrices(values=values, points_m=points_m)

    def _path(self, matrix: str, key: _Key) -> Path | None:
        stem = matrix_stem(matrix, *key)
        paths = [self.folder / f"{stem}{suffix}" for suffix in _SUFFIXES]
        return next((path for path in paths if path.is_file()), None)

    def _read(self, matrix: str, key: _Key) -> np.ndarray:
        path = self._path(matrix, key)
        if path is None:
            raise SchemaError(
                f"{self.folder}: the file {matrix_stem(matrix, *key)}.npz (or .mat) is missing; "
                "download the scenario again"
            )
        try:
            return _read_matrix(path, matrix)
        except _UNREADABLE as error:
            raise SchemaError(
                f"{path} cannot be read as the matrix '{matrix}': {' '.join(str(error).split())}"
            ) from error

    def _refuse(self, matrix: str, key: _Key, array: np.ndarray, expected: str) -> None:
        raise SchemaError(
            f"{self._path(matrix, key)}: expected the shape {expected}, got {list(array.shape)}"
        )


def _read_params(folder: Path) -> _Params:
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist or is no folder; unpack the scenario there")
    path = folder / PARAMS_NAME
    if not path.is_file():
        if any(next(folder.glob(pattern), None) for pattern in _V3_FILES):
            raise DatasetError(
                f"{folder} looks like a scenario of DeepMIMO v3 or older; only v4 folders (with "
                f"{PARAMS_NAME}) can be imported; look for the scenario in the v4 format"
            )
        raise DatasetError(f"{folder} holds no DeepMIMO v4 scenario ({PARAMS_NAME} is missing)")
    try:
        return _Params.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SchemaError(f"{path} is no valid JSON: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SchemaError(f"{path}: {first['msg'].lower()} at {place}") from error


def _read_notes(folder: Path, raw_params: dict[str, Any]) -> ExportNotes | None:
    notes = raw_params.get(NOTES_KEY)
    if not isinstance(notes, dict):
        return None
    return validate(ExportNotes, notes, where=f"{folder / PARAMS_NAME}: rt_params.{NOTES_KEY}")


def _read_matrix(path: Path, matrix: str) -> np.ndarray:
    """Read one array of numbers; pickled objects are refused."""
    with path.open("rb") as file:
        if path.suffix == ".mat":
            array = scipy.io.loadmat(file)[matrix]
        else:
            loaded = np.load(file, allow_pickle=False)
            array = loaded if isinstance(loaded, np.ndarray) else loaded[matrix]
    if array.dtype.kind not in "iuf":
        raise ValueError(f"it holds values of type {array.dtype}")
    return array.astype("f8") if array.dtype.kind in "iu" else array


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    """Concatenate padded arrays along the receivers; narrower ones are filled up with NaN."""
    shape = np.max([part.shape[1:] for part in parts], axis=0)
    pads = [[(0, 0), *((0, n) for n in shape - part.shape[1:])] for part in parts]
    return np.concatenate(
        [np.pad(part, pad, constant_values=np.nan) for part, pad in zip(parts, pads, strict=True)]
    )
