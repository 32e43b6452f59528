"""Places on this machine."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raymark.errors import DatasetError
from raymark.storage.atomic import append_line, remove_partials, writable, writing
from raymark.storage.lock import hold_folder
from raymark.storage.place import Place
from raymark.storage.within import within


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlace(Place):
    """A file or folder of this machine; what opens files takes it as it takes a path.

    Attributes:
        local_path: Where it is.
    """

    local_path: Path

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.local_path.name

    def __str__(self) -> str:
        """Return the path."""
        return str(self.local_path)

    def __fspath__(self) -> str:
        """Return the path, for `open` and its like."""
        return str(self.local_path)

    def __truediv__(self, name: str) -> "LocalPlace":
        """Return the place of this name below."""
        return LocalPlace(local_path=self.local_path / name)

    def below(self, name: str) -> "LocalPlace":
        """Return the file below; links must not lead out."""
        return LocalPlace(local_path=within(self.local_path, name))

    def resolve(self) -> "LocalPlace":
        """Return the place under its whole path."""
        return LocalPlace(local_path=self.local_path.resolve())

    def exists(self) -> bool:
        """Return whether there is a file or a folder."""
        return self.local_path.exists()

    def is_file(self) -> bool:
        """Return whether there is a file."""
        return self.local_path.is_file()

    def iterdir(self) -> "Iterator[LocalPlace]":
        """Yield what lies directly below, by name; nothing if there is no such folder."""
        if self.local_path.is_dir():
            for path in sorted(self.local_path.iterdir()):
                yield LocalPlace(local_path=path)

    def files_below(self) -> Iterator[str]:
        """Yield the names of all files below; links are not followed."""
        for folder, folders, files in os.walk(self.local_path):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in (*links, *files):
                yield Path(folder, name).relative_to(self.local_path).as_posix()

    def total_size_bytes(self, names: Sequence[str]) -> int:
        """Return the size [B] of those of some files below that exist."""
        files = [self.local_path / name for name in names]
        return sum(file.stat().st_size for file in files if file.is_file())

    def read_bytes(self) -> bytes:
        """Return the content of the file."""
        return self.local_path.read_bytes()

    @contextlib.contextmanager
    def local_copy(self) -> Iterator[Path]:
        """Yield the file itself."""
        yield self.local_path

    def forget_copies(self) -> None:
        """Do nothing: there are no copies of local files."""

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield a temporary file beside this one, which takes its name in the end."""
        with writing(self.local_path) as partial:
            yield partial

    def add_note(self, key: str, text: str) -> None:  # noqa: ARG002 - names objects
        """Add a line to the file of the notes."""
        append_line(self._notes, text)

    def notes(self) -> Iterator[str]:
        """Yield the lines of the file of the notes; the last may be cut off by a crash."""
        with contextlib.suppress(FileNotFoundError):  # whoever writes may be done, and remove it
            yield from self._notes.read_text(encoding="utf-8").splitlines()

    def remove_notes(self) -> None:
        """Remove the file of the notes."""
        with writable(self._notes):
            self._notes.unlink(missing_ok=True)

    def unlink(self) -> None:
        """Remove the file, if it is there."""
        with writable(self.local_path):
            self.local_path.unlink(missing_ok=True)

    def remove_tree(self) -> None:
        """Remove the folder and all below, if it is there."""
        if self.local_path.exists():
            with writable(self.local_path):
                shutil.rmtree(self.local_path)

    def remove_leftovers(self) -> None:
        """Remove the temporary files that dead writers have left anywhere below."""
        remove_partials(self.local_path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, which is made if need be, by a lock of the system."""
        with hold_folder(self.local_path):
            yield

    def unlock(self) -> str:
        """Refuse: a lock of the system is never left behind."""
        raise DatasetError(f"{self} is a local folder, whose locks end with their processes")

    @property
    def _notes(self) -> Path:
        return within(self.local_path.parent, f"{self.name}.jsonl")
