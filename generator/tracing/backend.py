"""Dr.Jit, Mitsuba and Sionna RT, imported once their library was chosen and checked."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from raymark.generator.tracing.runtime import activate_runtime

activate_runtime()

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402

# Left alone, Mitsuba looks for its plugins, which are native code, in the working folder first.
mi.file_resolver().prepend(str(Path(mi.__file__).parent))

from sionna import rt  # noqa: E402

__all__ = ["dr", "ieee754", "mi", "rt", "use_one_thread"]

P = ParamSpec("P")
T = TypeVar("T")


def ieee754(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function take roots and divide as IEEE 754 says, in whichever thread it runs.

    Dr.Jit's own reciprocal root is an estimate that hangs on the processor and on how many numbers
    its registers hold. Without it, a scene and its sites make the same dataset, bit by bit, on all.
    """

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with dr.scoped_set_flag(dr.JitFlag.FastMath, False):
            return function(*args, **kwargs)

    return inner


def use_one_thread() -> None:
    """Let Dr.Jit compute in one thread, where there is a process for every core."""
    dr.set_thread_count(1)
