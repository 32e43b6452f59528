"""Datasets that were fetched by name: a folder of bounded size that several processes share."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from raymark.catalog.index import DatasetName, Reference
from raymark.catalog.parts import Choice
from raymark.config import Strict, config_hash, nearest, read_json, validate
from raymark.errors import ConfigError, RaymarkError
from raymark.release.record import Version
from raymark.storage.atomic import is_dead, is_partial, partial_of
from raymark.storage.cache import cache_folder, limit_of_environment
from raymark.storage.lock import locked_file

LIMIT_VARIABLE = "RAYMARK_DATASETS_BYTES"
DEFAULT_LIMIT_BYTES = 50_000_000_000
NOTE_NAME, DATA_NAME = "kept.json", "data"
_UNFINISHED, _LOCK = ".unfinished", ".lock"


class Kept(Strict):
    """`kept.json`: what a folder of the cache holds, and where it is from."""

    name: DatasetName
    version: Version
    choice: Choice
    index: str
    record_sha256: str

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.version}"

    @property
    def key(self) -> str:
        """Name of its folder: another record or another choice is another one."""
        which = {"record": self.record_sha256, "choice": self.choice.model_dump(mode="json")}
        return f"{self.label}-{config_hash(which)[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedDataset:
    """One line of what the cache holds.

    Attributes:
        key: Name of its folder.
        folder: Where the dataset lies, or what has come of it.
        choice: Which of the release it is; unknown while it is unfinished.
        size_bytes: What it takes [B].
        used_on: When it was last opened.
        is_finished: Whether all of it has come.
    """

    key: str
    folder: Path
    choice: str
    size_bytes: int
    used_on: datetime
    is_finished: bool

    @property
    def label(self) -> str:
        """Name and version."""
        return self.key.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A dataset that stays in the cache until it is let go, or its process ends.

    Attributes:
        folder: The dataset.
        handle: Of the system's lock.
    """

    folder: Path
    handle: int

    def let_go(self) -> None:
        """Allow that it is removed."""
        os.close(self.handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCache:
    """Folders of datasets; those that were not used for the longest time go first.

    Attributes:
        folder: Where they lie.
        limit_bytes: Most bytes that they may take together, but for those that are in use.
    """

    folder: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES

    @classmethod
    def of_environment(cls) -> "DatasetCache":
        """Return the cache that RAYMARK_CACHE (a folder) and RAYMARK_DATASETS_BYTES name.

        Raises:
            ConfigError: If the limit is no whole number.
        """
        folder = cache_folder() / "datasets"
        return cls(
            folder=folder, limit_bytes=limit_of_environment(LIMIT_VARIABLE, DEFAULT_LIMIT_BYTES)
        )

    def find(self, reference: Reference, choice: Choice, index: str | None) -> str | None:
        """Return the key of a dataset that is here, without asking anybody else.

        Args:
            reference: Name and version.
            choice: Which of the release.
            index: Address of the index that it must be from; of any if None.

        Raises:
            ConfigError: If several indexes have different releases of this name and version.
        """
        found: dict[str, Kept] = {}
        for path in self.folder.glob(f"{reference.name}@{reference.version}-*/{NOTE_NAME}"):
            kept = _read_note(path)
            if kept is None or (kept.name, kept.version) != (reference.name, reference.version):
                continue
            if kept.choice == choice and index in (None, kept.index):
                found[kept.key] = kept
        if len(found) > 1:
            known = ", ".join(sorted(kept.index for kept in found.values()))
            raise ConfigError(f"several indexes have a {reference}; name one of them: {known}")
        return next(iter(found), None)

    def hold(self, key: str) -> Held | None:
        """Keep a dataset from being removed, and note that it is used; None if it is not here."""
        note = self.folder / key / NOTE_NAME
        with self._alone():
            try:
                handle = os.open(note, os.O_RDONLY)
            except FileNotFoundError:
                return None
            fcntl.flock(handle, fcntl.LOCK_SH)
            now_ns = time.time_ns()  # the system's own clock of files is too coarse
            os.utime(note, ns=(now_ns, now_ns))
        return Held(folder=self.folder / key / DATA_NAME, handle=handle)

    @contextlib.contextmanager
    def turn(self, key: str) -> Iterator[Path]:
        """Yield a folder for what comes of a dataset; who wants the same one waits."""
        with locked_file(self.folder / f"{key}{_LOCK}"):
            yield self.folder / f"{key}{_UNFINISHED}"

    def require_room(self, num_bytes: int, kept: Kept) -> None:
        """Remove datasets, the longest unused first, until there is room for one.

        Args:
            num_bytes: Size of all of it, what has come included [B].
            kept: The dataset.

        Raises:
            ConfigError: If one dataset is larger than the whole cache may be.
        """
        if num_bytes > self.limit_bytes:
            raise ConfigError(
                f"{kept.label} has {num_bytes} bytes, and the cache in {self.folder} may hold "
                f"{self.limit_bytes}; choose a part of it, or raise {LIMIT_VARIABLE}"
            )
        self.shrink_to(self.limit_bytes - num_bytes, besides=kept.key)

    def shrink_to(self, num_bytes: int, *, besides: str = "") -> list[CachedDataset]:
        """Remove datasets, the longest unused first, until what is left is small enough.

        Args:
            num_bytes: What may be left [B].
            besides: Key of a dataset that stays and does not count.

        Returns:
            Those that are gone; what is in use or being fetched stays.
        """
        self._remove_leftovers()
        left = [item for item in self.listed() if item.key != besides]
        total, removed = sum(item.size_bytes for item in left), []
        for item in reversed(left):
            if total <= num_bytes:
                break
            if self.remove(item):
                total -= item.size_bytes
                removed.append(item)
        return removed

    def remove_named(self, names: Collection[str]) -> list[CachedDataset]:
        """Remove datasets by their names, with or without a version, or by `all`.

        Returns:
            Those that are gone.

        Raises:
            ConfigError: If a name is that of none, or one is in use.
        """
        here = self.listed()
        known = {item.label for item in here} | {item.label.partition("@")[0] for item in here}
        for name in names:
            if name not in (*known, "all"):
                raise ConfigError(f"the cache has no '{name}'{nearest(name, sorted(known))}")
        wanted = [x for x in here if {"all", x.label, x.label.partition("@")[0]} & set(names)]
        in_use = [item.label for item in wanted if not self.remove(item)]
        if in_use:
            raise ConfigError(f"{', '.join(in_use)}: another process uses it; it stays")
        return wanted

    def listed(self) -> list[CachedDataset]:
        """Return what is here, the last used first."""
        found = []
        for path in self.folder.glob("*/") if self.folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):  # removed in this moment
                item = _describe(path)
                if item is not None:
                    found.append(item)
        return sorted(found, key=lambda item: item.used_on, reverse=True)

    def remove(self, item: CachedDataset) -> bool:
        """Remove a dataset, or what has come of one; return whether nobody was using it."""
        if not item.is_finished:
            try:
                with locked_file(self.folder / f"{item.key}{_LOCK}", waits=False):
                    shutil.rmtree(item.folder, ignore_errors=True)
            except BlockingIOError:
                return False
            return True
        with self._alone():
            return _drop(self.folder / item.key)

    def _remove_leftovers(self) -> None:
        """Remove what processes of this machine have left that ended while they put it together."""
        for path in self.folder.glob("*.partial"):
            if is_dead(path):
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes and threads from removing and taking up datasets."""
        with locked_file(self.folder / _LOCK):
            yield


def _read_note(path: Path) -> Kept | None:
    """Return what a folder of the cache holds; None if it cannot be read: it is fetched anew."""
    try:
        return validate(Kept, read_json(path), where=str(path))
    except RaymarkError:
        return None


def _describe(path: Path) -> CachedDataset | None:
    is_finished = (path / NOTE_NAME).is_file()
    kept = _read_note(path / NOTE_NAME) if is_finished else None
    if is_partial(path.name) or not (is_finished or path.name.endswith(_UNFINISHED)):
        return None  # being put together or taken apart
    return CachedDataset(
        key=path.name.removesuffix(_UNFINISHED),
        folder=path / DATA_NAME if is_finished else path,
        choice="" if kept is None else str(kept.choice),
        size_bytes=sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
        used_on=datetime.fromtimestamp(
            (path / NOTE_NAME if is_finished else path).stat().st_mtime, tz=UTC
        ),
        is_finished=is_finished,
    )


def _drop(folder: Path) -> bool:
    """Remove a dataset unless somebody holds it."""
    try:
        handle = os.open(folder / NOTE_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # From here on nobody finds it, however long the removal takes.
        shutil.rmtree(folder.rename(partial_of(folder)), ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
