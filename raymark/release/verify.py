"""Prove that a release is what it was when it was built, as deeply as there is time for."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from raymark.config import seal_of
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.hdf5 import array_names
from raymark.dataset.materialization import fingerprint_batches
from raymark.dataset.schema import fields_of
from raymark.dataset.shard import open_shard
from raymark.dataset.verification import verify_dataset
from raymark.errors import DatasetError, RaymarkError
from raymark.release.croissant import check_records, validate_croissant
from raymark.release.hashing import hash_files
from raymark.release.part import BenchmarkFaults
from raymark.release.record import (
    RELEASE_NAME,
    SUMS_NAME,
    Materialized,
    Release,
    read_release,
    sums_text,
)
from raymark.release.signature import SIGNATURE_NAME, PublicKey, signature_faults
from raymark.storage import as_place, file_sha256, within

Level = Literal["names", "hashes", "full"]
Progress = Callable[[str], None]

_ROUNDING = 1e-4
"""Largest difference of fingerprints made anew, over the largest entry: other processors may
round sums otherwise; noise is drawn alike."""


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
            `full` adds schema and physics of the dataset, its index, splits, fingerprints and
            scores made anew, and the Croissant description.
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
    """
    release = read_release(folder)
    if release.seal != seal_of(release):
        return [f"{folder / RELEASE_NAME}: the file was edited, its seal does not fit"]
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
        "fingerprints": lambda: _fingerprint_faults(open_dataset(folder), release.materialized),
        "splits and scores": lambda: _benchmark_faults(folder, release, benchmark),
        "croissant": lambda: [*validate_croissant(folder), *check_records(folder)],
    }
    for name, check in checks.items():
        progress(name)
        try:
            yield from check()
        except RaymarkError as error:
            yield f"{name}: {error}"


def _fingerprint_faults(dataset: Dataset, files: tuple[Materialized, ...]) -> Iterator[str]:
    """Make every file anew, batch by batch, and compare."""
    names = {field.name for field in fields_of("fingerprints")}
    for item in files:
        path = dataset.folder.below(item.file)
        selection = dataset.select(scene=item.scene, band=item.band)
        with open_shard(path, "fingerprints") as file:
            lengths = {name: file[name].shape[:1] for name in array_names(file)}
            if lengths != dict.fromkeys(names, (item.num_links,)):
                yield f"{path}: it has not the arrays of {item.num_links} links"
                continue
            differing = set()
            for rows, arrays in fingerprint_batches(selection, item.kind, "bartlett", item.seed):
                differing |= {n for n in arrays if not _agree(file[n][rows], arrays[n])}
        for name in sorted(differing):
            yield f"{path}: {name} differs from what the paths give"


def _agree(stored: np.ndarray, made: np.ndarray) -> bool:
    if (stored.shape, stored.dtype) != (made.shape, made.dtype):
        return False
    if made.dtype.kind not in "fc":
        return np.array_equal(stored, made)
    return bool(np.abs(stored - made).max() <= _ROUNDING * np.abs(made).max())


def _benchmark_faults(
    folder: Path, release: Release, benchmark: BenchmarkFaults | None
) -> Iterable[str]:
    if release.benchmark is None:
        return ()
    if benchmark is None:
        return (f"{folder}: splits and scores were not checked, nothing was given to check them",)
    return benchmark(folder)
