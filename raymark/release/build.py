"""Turn a dataset folder into a release: files, documents, hashes; a failing check stops it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from raymark.config import sealed_json, validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import data_files, write_manifest
from raymark.dataset.materialization import materialize
from raymark.dataset.schema import FileKind
from raymark.dataset.verification import verify_dataset
from raymark.errors import ConfigError, DatasetError
from raymark.extras import import_extra
from raymark.plots import save_figure
from raymark.plots.inspection import los_map
from raymark.release import statements
from raymark.release.croissant import check_records, validate_croissant
from raymark.release.documents import documents, map_file
from raymark.release.hashing import hash_files
from raymark.release.part import BenchmarkPart
from raymark.release.record import (
    RELEASE_NAME,
    SUMS_NAME,
    TIERS_BYTES,
    About,
    Author,
    Materialized,
    Release,
    sums_text,
)
from raymark.storage import PlaceLike, file_sha256, new_folder, within, write_text
from raymark.storage.atomic import writable

Progress = Callable[[str], None]
"""Told the name of every step."""

DATA_LICENCE = "CC-BY-4.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """What goes into a release beside the paths.

    Attributes:
        version: Semantic version of the data.
        tier: Name under which raymark publishes the dataset as its own; none for anybody else's.
        about: Title, authors and history; those of raymark's own tiers if not given.
        date: Day of publication, ISO 8601; the day on which the dataset was finished if not given.
        materialized: (scene, band) whose fingerprints are added as arrays.
        left_out: Kinds of files that are not published.
        benchmark: Splits, predictions and board that are added, if any.
    """

    version: str
    tier: str | None = None
    about: About | None = None
    date: str | None = None
    materialized: tuple[tuple[str, str], ...] = ()
    left_out: tuple[FileKind, ...] = ()
    benchmark: BenchmarkPart | None = None


def build_release(
    source: PlaceLike,
    out: Path,
    settings: BuildSettings,
    *,
    progress: Progress = lambda _step: None,
) -> Release:
    """Build a release of a dataset; it appears whole, checked, or not at all.

    The same dataset and settings give the same bytes.

    Args:
        source: A finished dataset.
        out: Folder of the release; it must not exist.
        settings: What goes into it.
        progress: Told of each step.

    Raises:
        DatasetError: If a check of the dataset fails, the release is too large for its tier, or the
            folder exists or cannot be written.
        ConfigError: If something that only the publisher knows is missing, or mlcroissant is not
            installed.
        SplitError: If a split of the suite leaks or differs from the published one.
        ScoringError: If predictions of the run were changed.
    """
    import_extra("mlcroissant")  # not after minutes of work
    dataset = open_dataset(source)
    release = _begin(dataset, settings)
    if settings.benchmark is not None:
        settings.benchmark.require(dataset)
    with new_folder(out) as partial:
        progress("check the dataset")
        _require_sound(dataset)
        progress("copy the files")
        copy = _copy_dataset(dataset, partial, settings.left_out)
        contents = {
            "left_out": copy.manifest.left_out,
            "materialized": _materialize(copy, settings.materialized, progress),
            "benchmark": settings.benchmark and settings.benchmark.add(copy, progress=progress),
        }
        progress("write the documents")
        release = _finish(copy, partial, release.model_copy(update=contents))
        progress("check the release")
        _require_valid(partial, release)
    return release


def _begin(dataset: Dataset, settings: BuildSettings) -> Release:
    """Return the record of a release without contents, so that wrong settings show at once."""
    about = _about(dataset, settings)
    known = {
        "version": settings.version,
        "date": _date(dataset, settings),
        "about": about.model_dump(),
        "tier": settings.tier,
        "licence": _licence(dataset, about),
        "dataset_id": dataset.manifest.id,
        "content_hash": dataset.manifest.content_hash,
        "left_out": (),
        "materialized": (),
        "benchmark": None,
        "code_version": metadata.version("raymark"),
    }
    return validate(Release, known, where="release")


def _about(dataset: Dataset, settings: BuildSettings) -> About:
    if settings.about is not None:
        return settings.about
    if settings.tier is None:
        raise ConfigError(
            f"{dataset.folder} is none of raymark's own datasets ({', '.join(TIERS_BYTES)}): say "
            "who publishes it under which title, in a YAML file with `title` and `authors: "
            "[{name: ...}]`, given by --about FILE"
        )
    return About(title=f"raymark {settings.tier}", authors=(Author(name="The raymark authors"),))


def _licence(dataset: Dataset, about: About) -> str:
    if about.licence is None and not statements.is_traced(dataset.manifest):
        raise ConfigError(
            f"the paths of {dataset.folder} were made by another program: say under which licence "
            "they may be published, by the key `licence` in the file of --about"
        )
    return about.licence or DATA_LICENCE


def _date(dataset: Dataset, settings: BuildSettings) -> str:
    finished_on = dataset.manifest.generation.get("finished_on")
    if settings.date is None and finished_on is None:
        raise ConfigError(
            f"{dataset.folder} does not say when it was made; give the day of publication by "
            "--date YYYY-MM-DD"
        )
    return settings.date or str(finished_on)


def _first(faults: list[str]) -> str:
    return faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def _require_sound(dataset: Dataset) -> None:
    faults = verify_dataset(dataset.folder)
    if faults:
        raise DatasetError(f"the dataset is not sound, nothing was built: {_first(faults)}")


def _copy_dataset(dataset: Dataset, folder: Path, left_out: tuple[FileKind, ...]) -> Dataset:
    manifest = dataset.manifest
    # A release has documents of its own, whose hashes are in its record.
    update: dict[str, object] = {
        "left_out": tuple(sorted({*manifest.left_out, *left_out})),
        "documents": {},
    }
    if "buildings" in left_out:
        update["buildings"] = {}
    kept = manifest.model_copy(update=update)
    with writable(folder):
        for name in data_files(kept):
            target = within(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with dataset.folder.below(name).local_copy() as file:
                shutil.copyfile(file, target)
    write_manifest(folder, kept)
    return open_dataset(folder)


def _materialize(
    dataset: Dataset, chosen: tuple[tuple[str, str], ...], progress: Progress
) -> tuple[Materialized, ...]:
    made = []
    for scene, band in chosen:
        progress(f"fingerprints of {scene} at {band}")
        item = Materialized(
            scene=scene,
            band=band,
            kind="measured",
            seed=dataset.manifest.campaign.seed,
            num_links=len(dataset.select(scene=scene, band=band)),
        )
        materialize(dataset, dataset.folder.below(item.file), scene=scene, band=band)
        made.append(item)
    return tuple(made)


def _finish(dataset: Dataset, folder: Path, release: Release) -> Release:
    """Write documents and maps of a dataset's folder, then the record and the sums of all."""
    data_files = hash_files(folder, _files_in(folder))
    for scene in dataset.scenes:
        save_figure(los_map(dataset, scene), folder / map_file(scene))
    for name, text in documents(release, dataset, data_files).items():
        write_text(folder / name, text)
    finished = release.model_copy(update={"files": hash_files(folder, _files_in(folder))})
    write_text(folder / RELEASE_NAME, sealed_json(finished))
    write_text(folder / SUMS_NAME, sums_text(finished, file_sha256(folder / RELEASE_NAME)))
    return finished


def _files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _require_valid(folder: Path, release: Release) -> None:
    faults = [*validate_croissant(folder), *check_records(folder)]
    if faults:
        raise DatasetError(f"the release would not be valid, nothing was built: {_first(faults)}")
    num_bytes = sum(file.size_bytes for file in release.files.values())
    limit = TIERS_BYTES.get(release.tier or "", num_bytes)
    if num_bytes > limit:
        raise DatasetError(
            f"the release holds {num_bytes / 1e6:.1f} MB, tier '{release.tier}' allows "
            f"{limit / 1e6:g} MB; materialise less, leave detail out, or leave the run out"
        )
