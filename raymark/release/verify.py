"""Prove that a release is what it was when it was built, as deeply as there is time for."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import INDEX_NAME
from raymark.dataset.materialization import fingerprint_batches
from raymark.dataset.verification import verify_dataset
from raymark.errors import RaymarkError
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
from raymark.storage import file_sha256

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
    if level != "names" and not faults:
        faults = list(_hash_faults(folder, release, progress))
    if level == "full" and not faults:
        faults = list(_deep_faults(folder, release, benchmark, progress))
    return faults


def _name_faults(folder: Path, release: Release) -> Iterator[str]:
    expected = {*release.files, RELEASE_NAME, SUMS_NAME}
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    for name in sorted(expected - set(found)):
        yield f"{folder / name}: the file is missing"
    for name in sorted(set(found) - expected):
        yield f"{folder / name}: the file does not belong to the release"
    for name, file in release.files.items():
        if name in found and found[name].stat().st_size != file.size_bytes:
            size = found[name].stat().st_size
            yield f"{folder / name}: the file has {size} bytes, the release {file.size_bytes}"


def _hash_faults(folder: Path, release: Release, progress: Progress) -> Iterator[str]:
    found = hash_files(folder, list(release.files), progress=progress)
    for name, file in release.files.items():
        if found[name].sha256 != file.sha256:
            yield f"{folder / name}: the file differs from the release (SHA-256)"
    sums = sums_text(release, file_sha256(folder / RELEASE_NAME))
    if (folder / SUMS_NAME).read_bytes() != sums.encode():
        yield f"{folder / SUMS_NAME}: the file differs from what {RELEASE_NAME} says"


def _deep_faults(
    folder: Path, release: Release, benchmark: BenchmarkFaults | None, progress: Progress
) -> Iterator[str]:
    checks: dict[str, Callable[[], Iterable[str]]] = {
        "schema and physics": lambda: verify_dataset(folder),
        "index": lambda: _index_faults(open_dataset(folder)),
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


def _index_faults(dataset: Dataset) -> Iterator[str]:
    """Compare the rows of the index with the shards that they name."""
    path, index = dataset.folder / INDEX_NAME, dataset.index
    if len(index) != sum(site.num_ues for site in dataset.manifest.sites):
        yield f"{path}: {len(index)} rows, the manifest has other numbers of UEs"
    for record in dataset.manifest.shards:
        arrays, rows = dataset.load_shard(record), index[index["shard"] == record.file("paths")]
        expected = {
            "ue_index": arrays["ue/ue_index"],
            "los": arrays["link/los"],
            "num_paths": np.diff(arrays["link/path_offset"]),
            **dict(zip(("x_m", "y_m", "z_m"), arrays["ue/position_m"].T, strict=True)),
        }
        for column, values in expected.items():
            if not np.array_equal(rows[column], values):
                yield f"{path}: column {column} differs from {record.file('paths')}"


def _fingerprint_faults(dataset: Dataset, files: tuple[Materialized, ...]) -> Iterator[str]:
    """Make the first batch of every file anew, and compare."""
    for item in files:
        path = dataset.folder / item.file
        selection = dataset.select(scene=item.scene, band=item.band)
        rows, arrays = next(fingerprint_batches(selection, item.kind, "bartlett", item.seed))
        with path.local_copy() as copy, h5py.File(copy) as file:
            if len(file["csi"]) != item.num_links:
                yield f"{path}: {len(file['csi'])} links, the release says {item.num_links}"
            for name, values in arrays.items():
                if not _agree(file[name][rows], values):
                    yield f"{path}: {name} of the first links differs from what the paths give"


def _agree(stored: np.ndarray, made: np.ndarray) -> bool:
    if stored.shape != made.shape:
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
