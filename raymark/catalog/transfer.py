"""Files that are fetched, and hashed while they come: resumed, from several mirrors, or not at all.

What has come of a file lies under a name of its own and is kept when the connection breaks, or the
process ends. Whoever goes on hashes it once, and asks for the rest. A file gets its name when its
size and its hash are those that were stated.
"""

import hashlib
import io
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from raymark.catalog.streams import Stream, UnreachableError, file_below, open_stream
from raymark.errors import DatasetError
from raymark.release.record import ReleasedFile
from raymark.storage import file_sha256, within
from raymark.storage.atomic import synchronise, writable

Progress = Callable[[int], None]
"""Told how many bytes have come; the number falls where they were of no use."""

_BLOCK_BYTES = 1 << 18
_NUM_AT_ONCE = 4
_BOUGHT_BYTES = 1 << 20
"""What a connection must have brought before it broke, to be no failed try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long servers are waited for.

    Attributes:
        num_tries: How often a mirror is asked for a file before the next one is.
        pause_s: Wait before the second try [s]; it doubles with every further one.
        timeout_s: How long a server may be silent [s].
    """

    num_tries: int = 4
    pause_s: float = 0.5
    timeout_s: float = 30.0

    def wait(self, num_failed: int) -> bool:
        """Wait before the next try; return whether there is one."""
        if num_failed >= self.num_tries:
            return False
        time.sleep(self.pause_s * 2 ** max(0, num_failed - 1))
        return True


DEFAULT_PATIENCE = Patience()


class _WrongContentError(DatasetError):
    """What came is not the file that was stated; nothing of it is kept."""


class _StoppedError(DatasetError):
    """Another file failed, or the user has enough."""


class _Partial:
    """What has come of a file: its bytes on the disk, and the state of their hash."""

    def __init__(self, path: Path, file: io.BufferedRandom, wanted: ReleasedFile) -> None:
        self._path, self._file, self._wanted = path, file, wanted
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def take_up(self) -> None:
        """Hash what is there already, once."""
        while block := self._file.read(_BLOCK_BYTES):
            self._sha256.update(block)
            self.size_bytes += len(block)

    def start_anew(self) -> None:
        """Forget what has come."""
        self._file.seek(0)
        self._file.truncate()
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def add(self, block: bytes) -> None:
        """Write and hash the next bytes."""
        with writable(self._path):
            self._file.write(block)
        self._sha256.update(block)
        self.size_bytes += len(block)

    @property
    def is_right(self) -> bool:
        """Whether the file is whole, and the one that was stated."""
        return (self.size_bytes, self._sha256.hexdigest()) == (
            self._wanted.size_bytes,
            self._wanted.sha256,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Where the files of a folder come from, and where they go.

    Attributes:
        mirrors: Where the folder lies; those that fail move to the end.
        folder: Gets the files.
        partials: Folder for what has come of files that are not whole.
        patience: How long servers are waited for.
    """

    mirrors: list[str]
    folder: Path
    partials: Path
    patience: Patience

    def fetch(
        self, files: Mapping[str, ReleasedFile], *, progress: Progress = lambda _num_bytes: None
    ) -> None:
        """Fetch files, several at once; those that are there and right are not fetched again.

        Args:
            files: Size and hash of each by its name.
            progress: Told how many bytes have come, in any thread.

        Raises:
            DatasetError: If no mirror has a file as it was stated (each is named with its reason),
                a name leads out of the folder, or the disk is full.
        """
        for name in files:
            within(self.folder, name)  # of all, before anything is written
        with writable(self.folder):
            for folder in (self.folder, self.partials):
                folder.mkdir(parents=True, exist_ok=True)
        _Fetching(self, progress).fetch(files)


class _Fetching:
    """One call of `Transfer.fetch`: what its threads share."""

    def __init__(self, transfer: Transfer, progress: Progress) -> None:
        self._mirrors, self._patience = transfer.mirrors, transfer.patience
        self._folder, self._partials = transfer.folder, transfer.partials
        self._tell, self._num_bytes = progress, 0
        self._stop, self._lock = threading.Event(), threading.Lock()

    def fetch(self, files: Mapping[str, ReleasedFile]) -> None:
        """Fetch all files, or raise the first error."""
        with ThreadPoolExecutor(max_workers=_NUM_AT_ONCE) as pool:
            jobs = [pool.submit(self._fetch_one, name, file) for name, file in files.items()]
            try:
                wait(jobs, return_when=FIRST_EXCEPTION)
            finally:
                # All are done, or one failed, or it is Ctrl-C, which need not wait for whole files.
                self._stop.set()
                for job in jobs:
                    job.cancel()
        errors = [job.exception() for job in jobs if not job.cancelled()]
        for error in errors:
            if error is not None and not isinstance(error, _StoppedError):
                raise error

    def _advance(self, num_bytes: int) -> None:
        with self._lock:
            self._num_bytes += num_bytes
            self._tell(self._num_bytes)

    def _fetch_one(self, name: str, wanted: ReleasedFile) -> None:
        self._require_going()
        target = within(self._folder, name)
        partial = self._partials / hashlib.sha256(name.encode()).hexdigest()
        with writable(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_file() and file_sha256(target) == wanted.sha256:
                self._advance(wanted.size_bytes)
                return
            with partial.open("a+b") as file:
                file.seek(0)
                self._fill(_Partial(partial, file, wanted), name, wanted)
            synchronise(partial)
            partial.replace(target)

    def _fill(self, partial: _Partial, name: str, wanted: ReleasedFile) -> None:
        partial.take_up()
        self._advance(partial.size_bytes)
        if partial.is_right:
            return
        if partial.size_bytes >= wanted.size_bytes:
            self._give_up(partial)
        failures = []
        for mirror in tuple(self._mirrors):
            try:
                self._fill_from(file_below(mirror, name), partial, wanted)
            except _StoppedError:
                raise
            except DatasetError as error:
                failures.append(str(error))
                self._demote(mirror)
            else:
                return
        raise DatasetError(
            f"{name} cannot be fetched: {'; '.join(failures)}; what has come is kept, and the same "
            "command goes on"
        )

    def _fill_from(self, location: str, partial: _Partial, wanted: ReleasedFile) -> None:
        """Try one mirror, as often as patience allows.

        Raises:
            DatasetError: If it does not have the file, or not as it was stated.
        """
        num_failed = 0
        while True:
            before = partial.size_bytes
            try:
                self._receive(location, partial, wanted)
            except _WrongContentError:
                self._give_up(partial)
                if not before:  # else the beginning may be to blame, which another one has sent
                    raise
            except UnreachableError:
                num_failed = 0 if partial.size_bytes - before > _BOUGHT_BYTES else num_failed + 1
                if not self._patience.wait(num_failed):
                    raise
            else:
                return

    def _receive(self, location: str, partial: _Partial, wanted: ReleasedFile) -> None:
        """Take what one answer brings.

        Raises:
            UnreachableError: If it breaks off.
            _WrongContentError: If the file is another than was stated.
        """
        with open_stream(
            location, partial.size_bytes, timeout_s=self._patience.timeout_s
        ) as stream:
            if stream.size_bytes not in (None, wanted.size_bytes):
                raise DatasetError(
                    f"{location}: the file has {stream.size_bytes} bytes there, and the release "
                    f"says {wanted.size_bytes}"
                )
            if stream.start != partial.size_bytes:
                self._give_up(partial)
            self._copy(stream, location, partial, wanted)
        if partial.size_bytes < wanted.size_bytes:
            raise UnreachableError(
                f"{location}: the connection broke off after {partial.size_bytes} of "
                f"{wanted.size_bytes} bytes"
            )
        if not partial.is_right:
            raise _WrongContentError(f"{location}: the file differs from the release (SHA-256)")

    def _copy(self, stream: Stream, location: str, partial: _Partial, wanted: ReleasedFile) -> None:
        """Write all that comes, and never more than was stated."""
        while block := stream.read(_BLOCK_BYTES):
            if partial.size_bytes + len(block) > wanted.size_bytes:
                raise _WrongContentError(
                    f"{location}: more comes than the {wanted.size_bytes} bytes that the release "
                    "says; it was cut off"
                )
            self._require_going()
            partial.add(block)
            self._advance(len(block))

    def _require_going(self) -> None:
        if self._stop.is_set():
            raise _StoppedError("stopped")

    def _give_up(self, partial: _Partial) -> None:
        self._advance(-partial.size_bytes)
        partial.start_anew()

    def _demote(self, mirror: str) -> None:
        """Ask others first from now on, so that each file need not wait for a dead server."""
        with self._lock:
            if mirror in self._mirrors:
                self._mirrors.remove(mirror)
                self._mirrors.append(mirror)


def fetch_small(location: str, limit_bytes: int, patience: Patience) -> bytes:
    """Return the content of a small file of unknown hash, such as an index.

    Raises:
        DatasetError: If it cannot be reached or is larger than allowed.
    """
    num_failed = 0
    while True:
        try:
            with open_stream(location, 0, timeout_s=patience.timeout_s) as stream:
                return _read_all(stream, location, limit_bytes)
        except UnreachableError:
            num_failed += 1
            if not patience.wait(num_failed):
                raise


def _read_all(stream: Stream, location: str, limit_bytes: int) -> bytes:
    found = bytearray()
    while block := stream.read(_BLOCK_BYTES):
        found += block
        if len(found) > limit_bytes:
            raise DatasetError(
                f"{location} has more than {limit_bytes} bytes, too many for its kind"
            )
    if stream.size_bytes not in (None, len(found)):
        raise UnreachableError(f"{location}: the connection broke off")
    return bytes(found)
