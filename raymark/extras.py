"""Optional packages: which extra installs each, and the sentence for one that is missing."""

import importlib
from typing import Any

from raymark.errors import ConfigError

_EXTRAS = {
    "cluster": ("bokeh", "dask", "distributed"),
    "generate": ("drjit", "mitsuba", "osmium", "pyproj", "shapely", "sionna", "trimesh"),
    "huggingface": ("datasets", "huggingface_hub"),
    "jobqueue": ("dask_jobqueue",),
    "kubernetes": ("dask_kubernetes",),
    "maps": ("osmnx", "rasterio"),
    "release": ("cryptography", "mlcroissant"),
    "storage": ("fsspec", "s3fs"),
    "tensorflow": ("tensorflow",),
}
EXTRA_OF = {package: extra for extra, packages in _EXTRAS.items() for package in packages}
"""The extra of raymark that installs a package, by the name that the package is imported by."""


def install_command(extra: str) -> str:
    """Return what a user types to get an extra."""
    return f'pip install "raymark[{extra}]"'


def import_extra(module: str, *, name: str = "", extra: str = "") -> Any:
    """Import a package that an extra of raymark installs.

    Args:
        module: What to import; its top-level package is listed in `EXTRA_OF`.
        name: What people call it; the package's own name if not given.
        extra: Which extra is said to install it; the one in `EXTRA_OF` if not given.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        sentence = _sentence(name or package, extra or EXTRA_OF[package])
        raise ConfigError(sentence) from error


def explain_missing(error: ModuleNotFoundError) -> str | None:
    """Return the sentence for a package that an extra installs; None for any other module."""
    package = (error.name or "").partition(".")[0]
    return _sentence(package, EXTRA_OF[package]) if package in EXTRA_OF else None


def _sentence(name: str, extra: str) -> str:
    return f"{name} is not installed; `{install_command(extra)}` adds it"
