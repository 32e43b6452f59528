"""A place: a file or folder, here or in object storage, that is asked, read and written alike."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from raymark.errors import DatasetError
from raymark.storage.atomic import file_sha256, is_partial
from raymark.storage.lock import LOCK_NAME


class Place(ABC):
    """A file or folder; `str` gives its path or URL, `/` joins a name to it.

    Places are values: they can be compared, hashed and sent to other processes.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of its name."""

    @property
    @abstractmethod
    def local_path(self) -> Path | None:
        """Where it is on this machine; None in object storage."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the path or the URL."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Place":
        """Return the place of this name below."""

    @abstractmethod
    def below(self, name: str) -> "Place":
        """Return the file below that a name means which stands in a file of somebody else's.

        Raises:
            DatasetError: If it is not within this folder, or there is something that is no file.
        """

    @abstractmethod
    def resolve(self) -> "Place":
        """Return the same place under a name that holds in any working folder."""

    @abstractmethod
    def exists(self) -> bool:
        """Return whether there is a file or a folder."""

    @abstractmethod
    def is_file(self) -> bool:
        """Return whether there is a file."""

    @abstractmethod
    def iterdir(self) -> "Iterator[Place]":
        """Yield what lies directly below, by name; nothing if there is no such folder."""

    @abstractmethod
    def files_below(self) -> Iterator[str]:
        """Yield the names of all that lies below and is no folder, links to folders included."""

    @abstractmethod
    def total_size_bytes(self, names: Sequence[str]) -> int:
        """Return the size [B] of those of some files below that exist."""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """Return the content of a small file.

        Raises:
            FileNotFoundError: If there is none.
        """

    @abstractmethod
    def local_copy(self) -> AbstractContextManager[Path]:
        """Yield a local file with the content: the file itself, or a copy of the cache.

        Raises:
            FileNotFoundError: If the object is missing; a local file is not looked for.
            ConfigError: If the object is larger than the whole cache.
            DatasetError: If the store cannot be reached.
        """

    @abstractmethod
    def forget_copies(self) -> None:
        """Drop what is cached of an object, so that the next reader sees what the store has."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Path]:
        """Yield a local temporary file that becomes this one, at once, when the block ends well.

        A local file is synchronised and renamed; an object is uploaded whole. Processes that write
        the same file at once do not disturb each other: the last one to finish wins.

        Raises:
            DatasetError: If the disk is full, or the folder or store cannot be written.
        """

    @abstractmethod
    def add_note(self, key: str, text: str) -> None:
        """Add a line to the notes of this name, so that it outlives a crash.

        They are lines of one local file. Objects cannot be appended to: there, each note is an
        object of its own, named after its key.
        """

    @abstractmethod
    def notes(self) -> Iterator[str]:
        """Yield the notes of this name, later ones of a key after earlier ones."""

    @abstractmethod
    def remove_notes(self) -> None:
        """Remove all notes of this name."""

    @abstractmethod
    def unlink(self) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def remove_tree(self) -> None:
        """Remove a folder and all below, if it is there.

        Raises:
            DatasetError: If something cannot be removed.
        """

    @abstractmethod
    def remove_leftovers(self) -> None:
        """Remove the temporary files that dead writers have left anywhere below."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Hold a folder for this process.

        Raises:
            DatasetError: If another process holds it, or if it cannot be made.
        """

    @abstractmethod
    def unlock(self) -> str:
        """Remove the lock that a killed process has left.

        Returns:
            Who held it.

        Raises:
            DatasetError: If there is no lock, or if locks here end with their processes.
        """

    def is_free(self) -> bool:
        """Return whether a folder holds nothing but what our own writers left, or hold it by."""
        return all(is_partial(place.name) or place.name == LOCK_NAME for place in self.iterdir())

    def read_text(self) -> str:
        """Return the content of a small file of UTF-8 text.

        Raises:
            FileNotFoundError: If there is none.
        """
        return self.read_bytes().decode()

    def write_text(self, text: str) -> None:
        """Replace a small text file at once: readers see the old or the new one, never a part.

        Raises:
            DatasetError: If the disk is full, or the folder or store cannot be written.
        """
        with self.writing() as partial:
            partial.write_text(text, encoding="utf-8")

    def sha256(self) -> str:
        """Return the SHA-256 (hex) of a file."""
        with self.local_copy() as copy:
            return file_sha256(copy)

    def require_local(self, task: str) -> Path:
        """Return the path on this machine.

        Args:
            task: What cannot be done elsewhere, as the beginning of a sentence.

        Raises:
            DatasetError: If the place lies in object storage.
        """
        if self.local_path is None:
            raise DatasetError(f"{task} needs a local folder, got {self}; copy it here first")
        return self.local_path


PlaceLike = Place | Path | str
"""What `as_place` takes: a place, a path of this machine, or either as text."""
