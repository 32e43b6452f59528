"""Datasets: what they are made of, how they are read, checked and cut, and how they are written.

The reader, which needs torch and pandas, is imported when one of its names is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raymark.dataset.path_tables import DetailTable, PathTable
    from raymark.dataset.reader import DEFAULT_BATCH_SIZE, Dataset, Selection, open_dataset

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "Dataset",
    "DetailTable",
    "PathTable",
    "Selection",
    "open_dataset",
]


def __dir__() -> list[str]:
    """List what is imported on first use, too, as completion on Tab asks for it."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import the reader on first use, so that campaigns and schema are read without torch."""
    if name in __all__:
        return getattr(importlib.import_module("raymark.dataset.reader"), name)
    raise AttributeError(f"module 'raymark.dataset' has no attribute '{name}'")
