"""Tests that need a package that an extra installs, and are skipped where it is missing."""

import importlib.util
from types import ModuleType

import pytest

from raymark.extras import EXTRA_OF


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skip the test, or with `pytestmark` the module, unless the packages are installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=" ".join(map(reason, missing)))


def require(package: str) -> ModuleType:
    """Import a package, or skip the test that is running or the module that is collected."""
    module: ModuleType = pytest.importorskip(package, reason=reason(package))
    return module


def reason(package: str) -> str:
    """Return what a skipped test shows: the package, and the line that installs it."""
    extra = EXTRA_OF.get(package.partition(".")[0], "dev")
    return f'{package} is missing: pip install ".[{extra}]"'
