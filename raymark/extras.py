"""Optional packages: imported when they are needed, and missed in one sentence."""

import importlib
from typing import Any

from raymark.errors import ConfigError


def import_extra(module: str, *, name: str, extra: str) -> Any:
    """Import a package that an extra of raymark installs.

    Args:
        module: What to import.
        name: What people call it.
        extra: The extra that installs it.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f'{name} is not installed; `pip install "raymark[{extra}]"` adds it'
        ) from error
