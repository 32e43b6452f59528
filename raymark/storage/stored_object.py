"""Objects in a store (`s3://bucket/name`), reached through fsspec (the extra `storage`)."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

_BLOCK_BYTES = 8 << 20
"""What is fetched by one question of `reading`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What an object store offers for one name, whether an object has it or not.

    Attributes:
        url: Such as `s3://bucket/name`.
    """

    url: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rsplit("/", maxsplit=1)[-1]

    def below(self, name: str) -> "StoredObject":
        """Return the object of a name that begins with this one."""
        return StoredObject(url="/".join([self.url, *(part for part in name.split("/") if part)]))

    def metadata(self) -> dict[str, Any]:
        """Return what the store says of an object or folder, `size` and `type` at least.

        Raises:
            FileNotFoundError: If there is none.
            DatasetError: If the store cannot be reached, or has no such bucket.
        """
        with _explained(self.url):
            return dict(self._store.info(self.url))

    def type(self) -> str | None:
        """Return `file`, `directory` if objects lie below, or None if nothing is there."""
        try:
            return str(self.metadata()["type"])
        except FileNotFoundError:
            return None

    def names_below(self) -> list[str]:
        """Return the names directly below; none if there is no such folder."""
        with _explained(self.url):
            try:
                found = self._store.ls(self.url, detail=False)
            except FileNotFoundError:
                return []
        return sorted(name.rstrip("/").rsplit("/", maxsplit=1)[-1] for name in found)

    def sizes_below(self) -> dict[str, int]:
        """Return the size [B] of every object below by its name from here, asked for at once."""
        with _explained(self.url):
            found = self._store.find(self.url, detail=True)
        root = self._store._strip_protocol(self.url)
        return {
            name.removeprefix(root).lstrip("/"): int(info["size"]) for name, info in found.items()
        }

    def read(self) -> bytes:
        """Return the content of a small object.

        Raises:
            FileNotFoundError: If there is none.
        """
        with _explained(self.url):
            return bytes(self._store.cat_file(self.url))

    def create(self, data: bytes) -> bool:
        """Write a small object; return False if there is one: of several writers, one succeeds."""
        with _explained(self.url):
            try:
                self._store.pipe_file(self.url, data, mode="create")
            except FileExistsError:
                return False
        return True

    def upload(self, file: Path) -> None:
        """Make a local file the object of this name, at once."""
        with _explained(self.url):
            self._store.put_file(str(file), self.url)

    def download(self, file: Path) -> None:
        """Write the object to a local file."""
        with _explained(self.url):
            self._store.get_file(self.url, str(file))

    @contextlib.contextmanager
    def reading(self, start: int) -> Iterator[Any]:
        """Yield a file of which only the bytes from `start` on are fetched, block by block.

        Raises:
            FileNotFoundError: If there is none.
            DatasetError: If the store cannot be reached.
        """
        with (
            _explained(self.url),
            self._store.open(self.url, block_size=_BLOCK_BYTES, cache_type="readahead") as file,
        ):
            file.seek(start)
            yield file

    def remove(self) -> None:
        """Remove the object, if it is there."""
        if self.type() is None:
            return
        with _explained(self.url), contextlib.suppress(FileNotFoundError):
            self._store.rm_file(self.url)

    @property
    def _store(self) -> Any:
        scheme = self.url.partition(":")[0]
        fsspec = import_extra("fsspec", name=f"what {scheme}:// needs")
        try:
            # Other processes write here, too: listings must not be remembered.
            return fsspec.filesystem(scheme, use_listings_cache=False)
        except ImportError as error:
            raise ConfigError(
                f'{self.url} needs a package that is not installed ({error}); `pip install "raymark'
                '[storage]"` adds what s3:// needs'
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"{self.url}: '{scheme}://' is no storage that fsspec knows"
            ) from error


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
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
        raise DatasetError(f"{url}: {reason} ({text})" if reason else f"{url}: {text}") from error
