"""Get a published dataset: from the cache, or from where its index says that it lies."""

import contextlib
import shutil
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raymark.catalog.address import (
    OFFLINE_VARIABLE,
    index_address,
    is_offline,
    read_index,
    require_address,
)
from raymark.catalog.assembly import assemble, needed_files
from raymark.catalog.cache import DATA_NAME, NOTE_NAME, DatasetCache, Held, Kept
from raymark.catalog.index import Entry, Index, Reference, fitted, is_reference, parse_reference
from raymark.catalog.parts import Choice
from raymark.catalog.streams import is_local, resolved
from raymark.catalog.transfer import DEFAULT_PATIENCE, Patience, Transfer
from raymark.dataset import Dataset
from raymark.dataset.manifest import MANIFEST_NAME, read_manifest
from raymark.errors import DatasetError, SchemaError
from raymark.release.record import RELEASE_NAME, Release, read_release
from raymark.storage import new_folder, write_text

Told = Callable[[int, int], None]
"""Told how many bytes have come, and how many are to come in all."""


def _no_progress(_done: int, _total: int) -> None:
    return


def _no_notice(_entry: Entry) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """An index, the cache, and how to get from one to the other.

    Attributes:
        cache: Where datasets are kept.
        address: Path or URL of the index; that of RAYMARK_INDEX if None.
        offline: Ask nobody: what is not here cannot be had.
        patience: How long servers are waited for.
    """

    cache: DatasetCache
    address: str | None = None
    offline: bool = False
    patience: Patience = DEFAULT_PATIENCE

    @classmethod
    def of_environment(cls, address: str | None = None, *, offline: bool = False) -> "Catalog":
        """Return the catalogue that the environment names.

        Args:
            address: Of the index, in place of RAYMARK_INDEX.
            offline: Ask nobody, whatever RAYMARK_OFFLINE says.

        Raises:
            ConfigError: If a variable holds what it cannot.
        """
        return cls(
            cache=DatasetCache.of_environment(),
            address=index_address(address),
            offline=offline or is_offline(),
        )

    def entries(self, text: str = "") -> list[Entry]:
        """Return the releases of the index in which all words of a text stand, latest first.

        Raises:
            ConfigError: If no index is set, or it is none.
            DatasetError: If it cannot be reached.
            SchemaError: If it was edited after it was written.
        """
        return self._index().listed(text)

    def entry(self, reference: Reference) -> Entry:
        """Return a release of the index; the latest if no version is named.

        Raises:
            ConfigError: If no index is set, or it has no such release (the nearest is offered).
            DatasetError: If it cannot be reached.
            SchemaError: If it was edited after it was written.
        """
        return self._index().find(reference)

    def get(
        self,
        reference: Reference,
        choice: Choice | None = None,
        *,
        before: Callable[[Entry], None] = _no_notice,
        progress: Told = _no_progress,
    ) -> Held:
        """Return a dataset, which is fetched if it is not here; it stays until it is let go.

        A version that is here is not asked for: what was published never changes.

        Args:
            reference: Name, and version if not the latest.
            choice: Which of the release.
            before: Told the release before any of it is fetched.
            progress: Told how many bytes have come, and of how many.

        Raises:
            ConfigError: If there is no such release, scene, band or part, no index is set, or the
                cache is too small.
            DatasetError: If no mirror has the files as they were stated, or the disk is full.
            SchemaError: If index or record were edited, or contradict each other.
        """
        choice = choice or Choice()
        if reference.version is not None:
            key = self.cache.find(reference, choice, self.address)
            held = None if key is None else self.cache.hold(key)
            if held is not None:
                return held
        entry = self.entry(reference)
        kept = Kept(
            name=entry.name,
            version=entry.version,
            choice=fitted(choice, entry),
            index=require_address(self.address),
            record_sha256=entry.heads[RELEASE_NAME].sha256,
        )
        held = self.cache.hold(kept.key)
        return held if held is not None else self._fetch(entry, kept, before, progress)

    def _index(self) -> Index:
        return read_index(
            require_address(self.address), self.cache, offline=self.offline, patience=self.patience
        )

    def _fetch(
        self, entry: Entry, kept: Kept, before: Callable[[Entry], None], progress: Told
    ) -> Held:
        with self.cache.turn(kept.key) as staging:
            held = self.cache.hold(kept.key)  # whoever was here before may have fetched it
            if held is not None:
                return held
            fetched = Fetched(entry=entry, kept=kept, folder=staging)
            with contextlib.ExitStack() as held_whole:
                mirrors = self._mirrors(entry, kept, held_whole)
                before(entry)
                fetched.fetch(mirrors, self.patience, self.cache, progress)
            with new_folder(self.cache.folder / kept.key) as partial:
                fetched.assemble(partial / DATA_NAME)
                write_text(partial / NOTE_NAME, kept.model_dump_json(indent=1) + "\n")
            shutil.rmtree(staging, ignore_errors=True)
            held = self.cache.hold(kept.key)
        if held is None:
            raise DatasetError(f"{entry.label} was removed from {self.cache.folder} in this moment")
        return held

    def _mirrors(self, entry: Entry, kept: Kept, held_whole: contextlib.ExitStack) -> list[str]:
        """Return where a release may be had, first of all from the cache if all of it is there."""
        mirrors = [resolved(mirror, require_address(self.address)) for mirror in entry.mirrors]
        allowed = [m for m in mirrors if is_local(m) or not self.offline]
        whole = self.cache.hold(kept.model_copy(update={"choice": Choice()}).key)
        if whole is not None:
            held_whole.callback(whole.let_go)
            allowed.insert(0, str(whole.folder))
        if not allowed:
            raise DatasetError(
                f"{entry.label} is not in the cache ({self.cache.folder}), and nobody may be "
                f"asked: this is offline (--offline or {OFFLINE_VARIABLE})"
            )
        return allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What has come of a choice of a release.

    Attributes:
        entry: The release.
        kept: Which of it.
        folder: Keeps what has come, until it is put together.
    """

    entry: Entry
    kept: Kept
    folder: Path

    @property
    def files(self) -> Path:
        """Folder of the files that are whole."""
        return self.folder / "files"

    def fetch(
        self, mirrors: list[str], patience: Patience, cache: DatasetCache, progress: Told
    ) -> None:
        """Fetch record and manifest, and then what they say is needed."""
        transfer = Transfer(
            mirrors=mirrors,
            folder=self.files,
            partials=self.folder / "partials",
            patience=patience,
        )
        transfer.fetch({RELEASE_NAME: self.entry.heads[RELEASE_NAME]})
        release = self._release()
        transfer.fetch({MANIFEST_NAME: release.files[MANIFEST_NAME]})
        needed = needed_files(release, read_manifest(self.files), self.kept.choice)
        if self.kept.choice.is_whole:
            needed = {**needed, **self.entry.heads}
        num_bytes = sum(file.size_bytes for file in needed.values())
        cache.require_room(num_bytes, self.kept)
        transfer.fetch(needed, progress=lambda done: progress(done, num_bytes))

    def assemble(self, out: Path) -> None:
        """Make a dataset of what has come."""
        assemble(self.files, out, self._release(), self.kept.choice, self.entry.heads)

    def _release(self) -> Release:
        entry, release = self.entry, read_release(self.files)
        if (release.version, release.content_hash) != (entry.version, entry.content_hash):
            raise SchemaError(
                f"the index says of {entry.label} what its {RELEASE_NAME} does not (version "
                f"{release.version}, content hash {release.content_hash[:12]}); tell its maker"
            )
        if MANIFEST_NAME not in release.files:
            raise SchemaError(f"{RELEASE_NAME} of {entry.label} lacks {MANIFEST_NAME}")
        return release


def open_if_named(text: str) -> Dataset | None:
    """Open a published dataset by `NAME@VERSION`; it stays in the cache as long as it is open.

    Args:
        text: What may be such a name.

    Returns:
        The dataset; None if the text is a path, or looks like one or like a URL.

    Raises:
        ConfigError: If there is none of that name and version, or no index is set.
        DatasetError: If it cannot be fetched.
        SchemaError: If something was edited on its way.
    """
    if not is_reference(text) or Path(text).exists():
        return None
    held = Catalog.of_environment().get(parse_reference(text))
    try:
        dataset = Dataset(held.folder)
    except BaseException:
        held.let_go()
        raise
    weakref.finalize(dataset, held.let_go)
    return dataset
