"""Prove that a release is what it was when it was built, as deeply as there is time for."""

from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

from raymark.dataset import open_dataset
from raymark.dataset.verification import unproven_parts as unproven_of_dataset
from raymark.dataset.verification import verify_dataset
from raymark.errors import DatasetError, RaymarkError
from raymark.release.croissant import check_records, validate_croissant
from raymark.release.documents import DOCUMENT_NAMES, documents
from raymark.release.hashing import hash_files
from raymark.release.part import BenchmarkFaults
from raymark.release.record import (
    RELEASE_NAME,
    SUMS_NAME,
    Release,
    read_release,
    sums_text,
)
from raymark.release.remade_fingerprints import fingerprint_faults
from raymark.release.signature import SIGNATURE_NAME, PublicKey, signature_faults
from raymark.storage import as_place, file_sha256, within

Level = Literal["names", "hashes", "full"]
Progress = Callable[[str], None]


def verify_release(
    folder: Path,
    level: Level = "hashes",
    *,
    benchmark: BenchmarkFaults | None = None,
    public_key: PublicKey | None = None,
    progress: Progress = lambda _name: None,
) -> list[str]:
    """Check a release.

    Args:
        folder: The release.
        level: `names` looks for every file and its size; `hashes` adds the SHA-256 of every file;
            `full` adds schema and physics of the dataset, its index, splits, audit, fingerprints,
            scores and documents made anew, and the Croissant description.
        benchmark: Makes splits and scores anew (`raymark.benchmark.release_part.benchmark_faults`);
            without it, a release that holds a benchmark has a fault at level `full`.
        public_key: Who must have signed it; not asked if not given.
        progress: Told of every file that is hashed, then of every further check.

    Returns:
        One sentence for every fault; empty if all is well. Deeper checks wait until the simpler
        ones pass.

    Raises:
        DatasetError: If the folder holds no release.
        ConfigError: If `release.json` cannot be read.
        SchemaError: If it was edited, so that nothing can be checked against it.
    """
    release = read_release(folder)
    faults = list(_name_faults(folder, release))
    if public_key is not None:
        faults += signature_faults(folder, public_key)
    if level != "names" and not faults:
        faults = list(_hash_faults(folder, release, progress))
    if level == "full" and not faults:
        faults = list(_deep_faults(folder, release, benchmark, progress))
    return faults


def _name_faults(folder: Path, release: Release) -> Iterator[str]:
    expected = {*release.files, RELEASE_NAME, SUMS_NAME}
    found = set(as_place(folder).files_below())
    for name in sorted(expected - found):
        yield f"{folder / name}: the file is missing"
    for name in sorted(found - expected - {SIGNATURE_NAME}):
        yield f"{folder / name}: the file does not belong to the release"
    for name in sorted(found & expected):
        try:
            size = within(folder, name).stat().st_size
        except DatasetError as error:
            yield str(error)
            continue
        if name in release.files and size != release.files[name].size_bytes:
            expected_size = release.files[name].size_bytes
            yield f"{folder / name}: the file has {size} bytes, the release {expected_size}"


def _hash_faults(folder: Path, release: Release, progress: Progress) -> Iterator[str]:
    found = hash_files(folder, list(release.files), progress=progress)
    for name, file in release.files.items():
        if found[name].sha256 != file.sha256:
            yield f"{folder / name}: the file differs from the release (SHA-256)"
    sums = sums_text(release, file_sha256(folder / RELEASE_NAME))
    if within(folder, SUMS_NAME).read_bytes() != sums.encode():
        yield f"{folder / SUMS_NAME}: the file differs from what {RELEASE_NAME} says"


def _deep_faults(
    folder: Path, release: Release, benchmark: BenchmarkFaults | None, progress: Progress
) -> Iterator[str]:
    checks: dict[str, Callable[[], Iterable[str]]] = {
        "schema, physics and index": lambda: verify_dataset(folder),
        "fingerprints": lambda: fingerprint_faults(open_dataset(folder), release.materialized),
        "splits and scores": lambda: _benchmark_faults(folder, release, benchmark),
        "documents": lambda: _document_faults(folder, release),
        "croissant": lambda: [*validate_croissant(folder), *check_records(folder)],
    }
    for name, check in checks.items():
        progress(name)
        try:
            yield from check()
        except RaymarkError as error:
            yield f"{name}: {error}"


def unproven_parts(folder: Path, release: Release) -> list[str]:
    """Return what `verify_release` has to believe at level `full`, a sentence each."""
    said = unproven_of_dataset(open_dataset(folder).manifest)
    if not _is_of_this_version(release):
        said.append(
            f"Documents: raymark {release.code_version} wrote them, and only that version compares "
            "them with the data."
        )
    said.append("Figures, and page and Markdown of the board: only the tables are compared.")
    return said


def _is_of_this_version(release: Release) -> bool:
    return release.code_version == metadata.version("raymark")


def _document_faults(folder: Path, release: Release) -> Iterator[str]:
    if not _is_of_this_version(release):
        return
    described = {k: v for k, v in release.files.items() if k not in DOCUMENT_NAMES}
    for name, text in documents(release, open_dataset(folder), described).items():
        if within(folder, name).read_bytes() != text.encode():
            yield f"{folder / name}: its text is not what raymark writes of this data"


def _benchmark_faults(
    folder: Path, release: Release, benchmark: BenchmarkFaults | None
) -> Iterable[str]:
    if release.benchmark is None:
        return ()
    if benchmark is None:
        return (f"{folder}: splits and scores were not checked, nothing was given to check them",)
    return benchmark(folder)
