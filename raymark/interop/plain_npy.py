"""Files of NumPy (`.npy`) from strangers: arrays of numbers, and pickles that hold nothing else.

A pickle is a program: it may call what it names, and ask for more memory than there is. So its
opcodes are looked at before one is obeyed, and what the pickles of arrays name is replaced by
stand-ins that keep their arguments alone. An array is made of its bytes when it is asked for.
"""

import io
import math
import pickle
import pickletools
import tokenize
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy

from raymark.errors import SchemaError

MOST_BYTES = 2**30
"""Larger files are refused: all links of 10,000 UEs with 40 paths are 30 MB."""

_NUMBERS = "biufc"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_VALUES = (
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING "
    "BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 "
    "TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS MARK POP POP_MARK DUP PROTO FRAME STOP"
)
_MEMO = "GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE"
_CALLS = "GLOBAL STACK_GLOBAL REDUCE BUILD"
"""What makes arrays; `_Reader` decides what these can name."""
_OPCODES = frozenset(f"{_VALUES} {_MEMO} {_CALLS}".split())
_UNREADABLE = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
)


class StoredArray:
    """An array as a pickle states it; nothing is made of it until it is asked for."""

    __slots__ = ("_state",)

    def __setstate__(self, state: object) -> None:
        """Keep what `numpy.ndarray` would be set to: version, shape, type, order and content."""
        self._state = state

    def read(self) -> Shaped[np.ndarray, "..."] | list[Any]:
        """Return the numbers, or the objects of an array of these as a list.

        Raises:
            ValueError: If it is no array of numbers, or its parts do not fit together.
        """
        state: Any = getattr(self, "_state", None)
        _require(isinstance(state, tuple) and len(state) == 5, "an array without content")
        _, shape, dtype, is_fortran, content = state
        is_shape = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        _require(is_shape, "an array whose shape is no list of lengths")
        _require(isinstance(dtype, _StoredType), "an array without a type")
        if dtype.name in ("O", "O4", "O8"):
            is_whole = isinstance(content, list) and len(content) == math.prod(shape)
            _require(is_whole, "an array of objects that are not there")
            return content
        array = _numbers(dtype.of_numbers(), shape, content)
        return array.reshape(shape, order="F" if is_fortran else "C")


class _StoredType:
    """What `numpy.dtype` is called with in a pickle."""

    __slots__ = ("_order", "name")

    def __init__(self, name: object, *_flags: object) -> None:
        self.name = name
        self._order: Literal["<", ">"] = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self._order = ">"

    def of_numbers(self) -> np.dtype[Any]:
        name = self.name
        is_number = isinstance(name, str) and 0 < len(name) < 5 and name[0] in _NUMBERS
        _require(is_number, f"an array of the type {str(name)[:40]!r}, which are no numbers")
        try:
            return np.dtype(str(name)).newbyteorder(self._order)
        except TypeError as error:
            raise ValueError(str(error)) from error


def _reconstructed(*_arguments: object) -> StoredArray:
    """Stand in for what makes an empty array, whose size an argument decides."""
    return StoredArray()


def _scalar(dtype: Any, content: Any = b"") -> Any:
    """Stand in for what makes a number of NumPy's own types."""
    _require(isinstance(dtype, _StoredType), "a number without a type")
    return _numbers(dtype.of_numbers(), (), content)[0].item()


class _Function:
    """A stand-in that is called; a pickle cannot set anything of it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes a function")


_STAND_INS: Mapping[str, Any] = {
    "numpy.ndarray": StoredArray,
    "numpy.dtype": _StoredType,
    **{
        f"numpy.{core}.multiarray.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in (
            ("_reconstruct", _Function(_reconstructed)),
            ("scalar", _Function(_scalar)),
        )
    },
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows the parts of arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a part of an array.

        Raises:
            UnpicklingError: If anything else is named.
        """
        try:
            return _STAND_INS[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for '{module}.{name}', and only arrays and plain containers are read"
            ) from None


def read_numbers(path: Path) -> Shaped[np.ndarray, "..."]:
    """Read a file of one array of numbers.

    Raises:
        SchemaError: If it cannot be read, is cut off, too large or something else.
    """
    content, dtype, shape, is_fortran = _read(path)
    try:
        array = _numbers(dtype, shape, content)
    except _UNREADABLE as error:
        raise _damage(path, error) from error
    return array.reshape(shape, order="F" if is_fortran else "C")


def read_dictionary(path: Path) -> dict[Any, Any]:
    """Read a file of one dictionary, as `numpy.save` pickles it; its arrays are `StoredArray`.

    Raises:
        SchemaError: If it cannot be read, is cut off, too large, holds something else than a
            dictionary, or names what is no part of an array.
    """
    content, dtype, shape, _ = _read(path)
    if dtype.kind != "O" or shape != ():
        raise SchemaError(
            f"{path}: expected one pickled dictionary, got an array of type {dtype} and shape "
            f"{list(shape)}"
        )
    try:
        _require_harmless(content)
        # Files of Python 2 have their text as bytes.
        whole = _Reader(io.BytesIO(content), encoding="latin1").load()
        held = whole.read() if isinstance(whole, StoredArray) else None
    except _UNREADABLE as error:
        raise _damage(path, error) from error
    if not (isinstance(held, list) and len(held) == 1 and isinstance(held[0], dict)):
        raise SchemaError(f"{path}: expected one pickled dictionary, got something else")
    return held[0]


def array_of(value: object) -> Shaped[np.ndarray, "..."]:
    """Return an array of numbers out of a dictionary.

    Raises:
        ValueError: If it is none, or damaged.
    """
    array = value.read() if isinstance(value, StoredArray) else None
    if not isinstance(array, np.ndarray):
        raise ValueError("expected an array of numbers")  # noqa: TRY004 - as of other damages
    return array


def _require(is_so: bool, fault: str) -> None:
    if not is_so:
        raise ValueError(fault)


def _numbers(
    dtype: np.dtype[Any], shape: tuple[int, ...], content: Any
) -> Shaped[np.ndarray, " item"]:
    """Return bytes as numbers; there must be as many as the shape needs."""
    content = content.encode("latin1") if isinstance(content, str) else content
    is_number = dtype.kind in _NUMBERS and isinstance(content, bytes)
    _require(is_number, f"an array of the type {dtype}, which are no numbers")
    _require(
        len(content) == math.prod(shape) * dtype.itemsize,
        f"it is cut off: {len(content):,} bytes for shape {list(shape)} of type {dtype}",
    )
    return np.frombuffer(content, dtype=dtype)


def _read(path: Path) -> tuple[bytes, np.dtype[Any], tuple[int, ...], bool]:
    """Return what follows the header of a file, and what the header says."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SchemaError(f"{path} is larger than {MOST_BYTES:,} bytes, which is not read")
        stream = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise SchemaError(f"cannot read {path}: {error.strerror}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that Python 2 wrote it
            shape, is_fortran, dtype = _HEADERS[npy.read_magic(stream)](stream)
    except (*_UNREADABLE, SyntaxError, tokenize.TokenError) as error:
        raise SchemaError(f"{path} is no file of NumPy (.npy), or its beginning is cut") from error
    return stream.read(), dtype, shape, is_fortran


def _require_harmless(content: bytes) -> None:
    """Look at the opcodes of a pickle: none unknown, none that asks for memory by a number."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(
                f"it holds {opcode.name}, and only arrays and plain containers are read"
            )
        # The memo is a table as long as its largest number.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > count:
            raise pickle.UnpicklingError("it counts beyond what it holds")


def _damage(path: Path, error: BaseException) -> SchemaError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return SchemaError(f"{path} cannot be read, or is cut off: {reason}")
