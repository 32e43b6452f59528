"""Places in object storage, behind a URL such as `s3://bucket/name`."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raymark.storage.atomic import writable
from raymark.storage.cache import ObjectCache
from raymark.storage.lock import hold_by_object, remove_lock
from raymark.storage.place import Place
from raymark.storage.stored_object import StoredObject
from raymark.storage.within import require_below


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPlace(Place):
    """An object, or all below a name: there are no folders, one exists where an object is below.

    Attributes:
        stored: The object of this name, there or not.
    """

    stored: StoredObject

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.stored.name

    @property
    def local_path(self) -> None:
        """None: it is not on this machine."""
        return None

    def __str__(self) -> str:
        """Return the URL."""
        return self.stored.url

    def __truediv__(self, name: str) -> "ObjectPlace":
        """Return the place of this name below."""
        return ObjectPlace(stored=self.stored.below(name))

    def below(self, name: str) -> "ObjectPlace":
        """Return the object below; there are no links in object storage."""
        require_below(name, self)
        return self / name

    def resolve(self) -> "ObjectPlace":
        """Return the place itself."""
        return self

    def exists(self) -> bool:
        """Return whether there is an object, or one below."""
        return self.stored.type() is not None

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        return self.stored.type() == "file"

    def iterdir(self) -> "Iterator[ObjectPlace]":
        """Yield what lies directly below, by name."""
        for name in self.stored.names_below():
            yield self / name

    def files_below(self) -> Iterator[str]:
        """Yield the names of all objects below."""
        yield from self.stored.sizes_below()

    def total_size_bytes(self, names: Sequence[str]) -> int:
        """Return the size [B] of those of some objects below that exist, asked for at once."""
        sizes = self.stored.sizes_below()
        return sum(sizes.get(name, 0) for name in names)

    def read_bytes(self) -> bytes:
        """Return the content of the object."""
        return self.stored.read()

    @contextlib.contextmanager
    def local_copy(self) -> Iterator[Path]:
        """Yield a copy of the cache."""
        with ObjectCache.of_environment().copy_of(self.stored) as copy:
            yield copy

    def forget_copies(self) -> None:
        """Drop what is cached, so that the next reader sees what the store has."""
        ObjectCache.of_environment().forget(self.stored)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield a temporary file of the cache, which is uploaded in the end."""
        cache = ObjectCache.of_environment()
        partial = cache.partial_of(self.stored)
        try:
            with writable(partial):
                yield partial
            self.stored.upload(partial)
            cache.adopt(partial, self.stored)
        finally:
            partial.unlink(missing_ok=True)

    def add_note(self, key: str, text: str) -> None:
        """Write the object of a note."""
        (self / f"{key}.json").write_text(text + "\n")

    def notes(self) -> Iterator[str]:
        """Yield the notes, one of each key."""
        for place in self.iterdir():
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                yield from place.read_text().splitlines()

    def remove_notes(self) -> None:
        """Remove all notes."""
        self.remove_tree()

    def unlink(self) -> None:
        """Remove the object, if it is there."""
        self.stored.remove()

    def remove_tree(self) -> None:
        """Remove all objects below."""
        for name in self.stored.sizes_below():
            self.stored.below(name).remove()

    def remove_leftovers(self) -> None:
        """Do nothing: temporary files are those of the cache, which looks after them."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder by an object; that of a killed process stays until `unlock`."""
        with hold_by_object(self.stored):
            yield

    def unlock(self) -> str:
        """Remove the object that a killed process has left, and return who held the folder."""
        return remove_lock(self.stored)
