"""Libraries that passed the check on this machine before, so that not every process checks again.

Only what passed is kept, as one small file for each library in the user's cache folder, with
everything that the verdict depends on: the file by path, size and time of change, the versions of
Dr.Jit, Mitsuba and Python, and the check itself. Where anything differs the verdict does not count.
"""

import contextlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path

from raymark.config import config_hash
from raymark.errors import DatasetError
from raymark.storage.atomic import write_text


def kept_version(library: Path, check: str) -> str | None:
    """Return the version that a library had when it passed the check; None if it has to pass anew.

    Args:
        library: The LLVM library.
        check: The code of the check.
    """
    try:
        facts = _facts(library, check)
        kept = json.loads(_file(library).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = kept.get("llvm") if isinstance(kept, dict) else None
    return version if isinstance(version, str) and kept == facts | {"llvm": version} else None


def keep_version(library: Path, check: str, version: str) -> None:
    """Remember that a library has passed; where the folder cannot be written, nothing is kept."""
    with contextlib.suppress(OSError, DatasetError):
        facts = _facts(library, check) | {"llvm": version}
        write_text(_file(library), json.dumps(facts, indent=2) + "\n")


def _facts(library: Path, check: str) -> dict[str, str | int]:
    file = library.stat()
    return {
        "library": str(library),
        "size_bytes": file.st_size,
        "changed_ns": file.st_mtime_ns,
        "drjit": metadata.version("drjit"),
        "mitsuba": metadata.version("mitsuba"),
        "python": platform.python_version(),
        "machine": f"{platform.node()} {platform.machine()} {platform.release()}",
        "check": config_hash(check),
    }


def _file(library: Path) -> Path:
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return user / "raymark" / "tracing" / f"{config_hash(str(library))[:16]}.json"
