"""Names of models: what each may be, so that it is taken for nothing else."""

import importlib.util
import keyword
import sys
from collections.abc import Collection
from pathlib import Path

from raymark.benchmark.references import REFERENCES
from raymark.errors import ConfigError

_ALL = "all"
"""What `--models` takes for all of them."""


def require_own_name(name: str, built_in: Collection[str], *, where: str) -> None:
    """Check that a name, by which results are told apart, is no other one's.

    Args:
        name: Of a model or a submission.
        built_in: Names of the models that ship with raymark.
        where: What is so called, for the message.

    Raises:
        ConfigError: If the name belongs to a model that ships or to a row of the board.
    """
    _require_none(
        where,
        name,
        {
            "a model that ships with raymark": name in built_in,
            "a row that every board has": name in REFERENCES,
            "what --models takes for all models": name == _ALL,
        },
    )


def require_free_name(folder: Path, built_in: Collection[str]) -> None:
    """Check that the folder of a user's model is named as nothing else is.

    Python imports it by its name, too.

    Args:
        folder: Of the model; it need not be there yet.
        built_in: Names of the models that ship with raymark.

    Raises:
        ConfigError: If the name belongs to a model that ships, a row of the board, Python, or an
            installed package.
    """
    name = folder.name
    require_own_name(name, built_in, where=str(folder))
    _require_none(
        str(folder),
        name,
        {
            "a word of Python's": keyword.iskeyword(name),
            "a module of Python's or an installed package": _is_importable(name, folder),
        },
    )


def _require_none(where: str, name: str, owners: dict[str, bool]) -> None:
    for owner, is_taken in owners.items():
        if is_taken:
            raise ConfigError(f"{where}: '{name}' is {owner}; choose another name")


def _is_importable(name: str, folder: Path) -> bool:
    """Return whether Python finds another module under this name."""
    if name in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # of a module that was not found by its name, such as `__main__`
        return True
    if spec is None or spec.origin is None:  # of a plain folder, such as that of another model
        return False
    return Path(spec.origin).resolve().parent != folder.resolve()
