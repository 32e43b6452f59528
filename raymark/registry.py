"""Things that are folders: a registry finds them, loads them once and names the nearest."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from raymark.config import nearest
from raymark.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """The folders below `root` that hold `marker`, each loaded by `load` when first asked for."""

    def __init__(self, noun: str, root: Path, marker: str, load: Callable[[Path], T]) -> None:
        """Remember where to look; nothing is read yet."""
        self._noun, self._root, self._marker, self._load = noun, root, marker, load
        self._loaded: dict[str, T] = {}

    def names(self) -> list[str]:
        """Return the names of all folders, sorted."""
        return sorted(path.parent.name for path in self._root.glob(f"*/{self._marker}"))

    def get(self, name: str) -> T:
        """Return the thing called `name`.

        Raises:
            ConfigError: If there is none (the nearest is offered), or if it cannot be loaded.
        """
        if name not in self._loaded:
            known = self.names()
            if name not in known:
                raise ConfigError(
                    f"unknown {self._noun} '{name}'{nearest(name, known)} "
                    f"(there are: {', '.join(known)})"
                )
            self._loaded[name] = self._load(self._root / name)
        return self._loaded[name]
