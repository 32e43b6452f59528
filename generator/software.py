"""The versions of everything that has a part in the numbers of a traced dataset."""

import platform
from importlib import metadata

from raymark.generator.tracing.runtime import find_runtime

_SOFTWARE = ("raymark", "sionna-rt", "mitsuba", "drjit", "numpy", "h5py")


def tracing_software() -> dict[str, str]:
    """Return them by name, with the back-end that traces on this machine."""
    runtime = find_runtime()
    return {
        **{name: metadata.version(name) for name in _SOFTWARE},
        "python": platform.python_version(),
        "variant": runtime.variant,
        "llvm": runtime.llvm_version or "none",
    }
