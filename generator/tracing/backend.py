"""Dr.Jit, Mitsuba and Sionna RT, imported once their library was chosen and checked."""

from pathlib import Path

from raymark.generator.tracing.runtime import activate_runtime

activate_runtime()

import drjit as dr  # noqa: E402
import mitsuba as mi  # noqa: E402

# Left alone, Mitsuba looks for its plugins, which are native code, in the working folder first.
mi.file_resolver().prepend(str(Path(mi.__file__).parent))

from sionna import rt  # noqa: E402

__all__ = ["dr", "mi", "rt", "use_one_thread"]


def use_one_thread() -> None:
    """Let Dr.Jit compute in one thread, where there is a process for every core."""
    dr.set_thread_count(1)
