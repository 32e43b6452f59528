"""raymark: ray-traced radio datasets for localization, and a benchmark on them.

The folders `scenes`, `generator`, `benchmark` and `models` beside this one are its subpackages.
"""

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raymark.dataset import Dataset, Selection, open_dataset

__all__ = ["Dataset", "Selection", "__version__", "open_dataset"]

__version__ = metadata.version("raymark")

# In a checkout the subpackages lie beside this folder, not inside it. With the checkout on the
# search path, Python run at its root finds them too.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))


def __dir__() -> list[str]:
    """List what is imported on first use, too, as completion on Tab asks for it."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import the reader on first use, so that the command line starts without torch."""
    if name in ("Dataset", "Selection", "open_dataset"):
        from raymark.dataset import reader  # noqa: PLC0415

        return getattr(reader, name)
    raise AttributeError(f"module 'raymark' has no attribute '{name}'")
