"""Paths in object storage (`s3://bucket/name`), reached through fsspec (the extra `storage`)."""

import contextlib
import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path, PosixPath
from typing import Any, NoReturn

from raymark.errors import ConfigError, DatasetError, RaymarkError
from raymark.extras import import_extra

_REASONS = {
    "NoSuchBucket": "the bucket does not exist; make it first, or correct its name",
    "NoCredentialsError": (
        "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    ),
    "PartialCredentialsError": "a part of the credentials is missing",
    "PermissionError": "access is denied; check the credentials and what they allow",
    "ConnectionError": "no connection to the store; check the network and the endpoint",
    "HTTPClientError": "no connection to the store; check the network and the endpoint",
    "TimeoutError": "the store does not answer; check the network and the endpoint",
}
"""What a reader can do about an error, by the names of its classes: stores have their own."""


class ObjectPath(PosixPath):
    """A path in object storage with the part of `pathlib.Path` that datasets need.

    It is a `Path`, so that code which only joins names and asks for files takes both. There are no
    folders: `mkdir` does nothing, and a folder exists where an object lies below it. What is not
    offered here, such as `open` or `rename`, raises TypeError as there is no local file.
    """

    def __str__(self) -> str:
        """Return the URL."""
        scheme, *names = self.parts
        return f"{scheme}//{'/'.join(names)}"

    def __fspath__(self) -> str:
        """Refuse to be taken for a local file.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{self} is no file of this machine; raymark.storage.local_copy fetches it")

    def metadata(self) -> dict[str, Any]:
        """Return what the store says of an object or folder, `size` and `type` at least.

        Raises:
            FileNotFoundError: If there is none.
            DatasetError: If the store cannot be reached, or has no such bucket.
        """
        with _explained(self):
            return dict(self._store.info(str(self)))

    def exists(self, **_: Any) -> bool:
        """Return whether there is an object, or one below."""
        return self._type() is not None

    def is_file(self, **_: Any) -> bool:
        """Return whether there is an object of this name."""
        return self._type() == "file"

    def is_dir(self, **_: Any) -> bool:
        """Return whether there is an object below this name."""
        return self._type() == "directory"

    def stat(self, **_: Any) -> os.stat_result:
        """Return the size [B] as `st_size`; all else is zero."""
        return os.stat_result((stat.S_IFREG, 0, 0, 0, 0, 0, int(self.metadata()["size"]), 0, 0, 0))

    def iterdir(self) -> Generator["ObjectPath", None, None]:
        """Yield what lies directly below; nothing if there is no such folder."""
        with _explained(self):
            try:
                names = self._store.ls(str(self), detail=False)
            except FileNotFoundError:
                return
        for name in sorted(names):
            yield self / name.rstrip("/").rsplit("/", maxsplit=1)[-1]

    def glob(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: some versions of Python would find nothing, without a word.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{self} is in object storage, where names are not matched to patterns")

    rglob = glob

    def sizes_bytes(self) -> dict[Path, int]:
        """Return the size [B] of every object below, asked for at once."""
        with _explained(self):
            found = self._store.find(str(self), detail=True)
        root = self._store._strip_protocol(str(self))
        return {
            self / name.removeprefix(root).lstrip("/"): int(info["size"])
            for name, info in found.items()
        }

    def read_bytes(self) -> bytes:
        """Return the content of a small object."""
        with _explained(self):
            return bytes(self._store.cat_file(str(self)))

    def read_text(self, encoding: str | None = None, errors: str | None = None, **_: Any) -> str:
        """Return the content of a small object as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def create(self, data: bytes) -> None:
        """Write a small object that must not exist; of several writers at once, one succeeds.

        Raises:
            FileExistsError: If there is one.
        """
        with _explained(self):
            self._store.pipe_file(str(self), data, mode="create")

    def upload(self, file: Path) -> None:
        """Make a local file the object of this name, at once."""
        with _explained(self):
            self._store.put_file(str(file), str(self))

    def download(self, file: Path) -> None:
        """Write the object to a local file."""
        with _explained(self):
            self._store.get_file(str(self), str(file))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        try:
            self.metadata()
            with _explained(self):
                self._store.rm_file(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Do nothing: object stores have no folders."""

    def absolute(self) -> "ObjectPath":
        """Return the path itself."""
        return self

    def resolve(self, strict: bool = False) -> "ObjectPath":  # noqa: ARG002 - as in pathlib
        """Return the path itself."""
        return self

    def _type(self) -> str | None:
        try:
            return str(self.metadata()["type"])
        except FileNotFoundError:
            return None

    @property
    def _store(self) -> Any:
        scheme = self.parts[0].removesuffix(":")
        fsspec = import_extra("fsspec", name=f"what {scheme}:// needs")
        try:
            # Other processes write here, too: listings must not be remembered.
            return fsspec.filesystem(scheme, use_listings_cache=False)
        except ImportError as error:
            raise ConfigError(
                f'{self} needs a package that is not installed ({error}); `pip install "raymark'
                '[storage]"` adds what s3:// needs'
            ) from error
        except ValueError as error:
            raise ConfigError(f"{self}: '{scheme}://' is no storage that fsspec knows") from error


@contextlib.contextmanager
def _explained(path: ObjectPath) -> Iterator[None]:
    """Turn a store's errors into one sentence; that an object is (not) there passes through."""
    try:
        yield
    except RaymarkError:
        raise
    except Exception as error:
        chain = [*type(error).__mro__, *type(error.__cause__).__mro__]
        reason = next((_REASONS[c.__name__] for c in chain if c.__name__ in _REASONS), None)
        text = " ".join(str(error).split())
        if reason is None and isinstance(error, FileNotFoundError | FileExistsError):
            raise
        raise DatasetError(f"{path}: {reason} ({text})" if reason else f"{path}: {text}") from error
