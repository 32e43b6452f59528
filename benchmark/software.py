"""The versions of everything that has a part in a model's predictions."""

import functools
import subprocess
from importlib import metadata
from pathlib import Path

_SOFTWARE = ("raymark", "numpy", "scipy", "torch", "scikit-learn")


@functools.cache
def software_versions() -> dict[str, str]:
    """Return them by name, and the commit where there is one."""
    versions = {name: metadata.version(name) for name in _SOFTWARE}
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return versions | ({"commit": commit.stdout.strip()} if commit.returncode == 0 else {})
