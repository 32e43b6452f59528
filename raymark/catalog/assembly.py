"""From files of a release to a dataset that opens: the release itself, or a part of it."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from raymark.catalog.parts import Choice, part_of
from raymark.dataset import open_dataset
from raymark.dataset.buildings import buildings_file
from raymark.dataset.manifest import MANIFEST_NAME, Manifest, kept_kinds, write_manifest
from raymark.dataset.schema import FileKind
from raymark.dataset.subset import Cut, cut_dataset
from raymark.errors import SchemaError
from raymark.release.citation import CITATION_NAME
from raymark.release.record import RELEASE_NAME, SUMS_NAME, Release, ReleasedFile, sums_text
from raymark.storage import new_folder, within, write_text
from raymark.storage.folders import keep_others

_RIGHTS = ("LICENSES.md", CITATION_NAME)
"""Documents that hold for a part of a release, too."""

_ATTRIBUTION = "ATTRIBUTION"
"""Holds where no scene is left out; a cut writes its own."""


def needed_files(release: Release, manifest: Manifest, choice: Choice) -> dict[str, ReleasedFile]:
    """Return those files of a release that a choice needs, beside its manifest.

    Raises:
        SchemaError: If the record lacks a file that the manifest names.
    """
    if choice.is_whole:
        return release.files
    if not choice.is_cut:
        wanted = [name for name in release.files if choice.takes(part_of(name))]
        # A release has documents of its own: what a part is not described by is left where it is.
        return {
            name: release.files[name]
            for name in wanted
            if part_of(name) != "documents" or name in (*_RIGHTS, _ATTRIBUTION)
        }
    names = [*_shards(manifest, choice), *_buildings(manifest, choice)]
    names += [*_fingerprints(release, choice), *(n for n in _RIGHTS if n in release.files)]
    missing = [name for name in names if name not in release.files]
    if missing:
        raise SchemaError(f"{RELEASE_NAME} lacks {missing[0]}, which {MANIFEST_NAME} names")
    return {name: release.files[name] for name in (MANIFEST_NAME, *names)}


def _scenes(manifest: Manifest, choice: Choice) -> tuple[str, ...]:
    return choice.scenes or tuple(dict.fromkeys(site.scene for site in manifest.sites))


def _shards(manifest: Manifest, choice: Choice) -> list[str]:
    kinds = [kind for kind in kept_kinds(manifest) if choice.takes(kind)]
    scenes = _scenes(manifest, choice)
    return [r.file(kind) for r in manifest.shards if r.scene in scenes for kind in kinds]


def _buildings(manifest: Manifest, choice: Choice) -> list[str]:
    if not choice.takes("buildings"):
        return []
    wanted = _scenes(manifest, choice)
    return [buildings_file(scene) for scene in manifest.buildings if scene in wanted]


def _fingerprints(release: Release, choice: Choice) -> list[str]:
    if not choice.takes("fingerprints"):
        return []
    return [
        item.file
        for item in release.materialized
        if (not choice.scenes or item.scene in choice.scenes)
        and (not choice.bands or item.band in choice.bands)
    ]


def assemble(
    files: Path, out: Path, release: Release, choice: Choice, heads: Mapping[str, ReleasedFile]
) -> None:
    """Make the dataset of a choice from its files.

    Args:
        files: Folder of the files, all of them checked.
        out: A folder that is not there yet.
        release: What they are from.
        choice: Which of it they are.
        heads: The files of the release that its record does not name.

    Raises:
        DatasetError: If something cannot be written.
        SchemaError: If the parts of the release contradict each other.
    """
    if choice.is_whole:
        _assemble_whole(files, out, release, heads)
    elif choice.is_cut:
        _assemble_cut(files, out, release, choice)
    else:
        with new_folder(out) as partial:
            keep_others(files, partial, ours={MANIFEST_NAME, *heads})
            write_manifest(partial, _thinned(files, choice))


def _assemble_whole(
    files: Path, out: Path, release: Release, heads: Mapping[str, ReleasedFile]
) -> None:
    with new_folder(out) as partial:
        keep_others(files, partial, ours=())
        if SUMS_NAME not in heads:
            write_text(partial / SUMS_NAME, sums_text(release, heads[RELEASE_NAME].sha256))


def _assemble_cut(files: Path, out: Path, release: Release, choice: Choice) -> None:
    with tempfile.TemporaryDirectory(prefix="thin-", dir=out.parent) as name:
        thin = Path(name)
        keep_others(files, thin, ours={MANIFEST_NAME, RELEASE_NAME})
        write_manifest(thin, _thinned(files, choice))
        cut_dataset(open_dataset(thin), out, Cut(scenes=choice.scenes, bands=choice.bands))
    for name in (*_fingerprints(release, choice), *_RIGHTS):
        source, target = within(files, name), within(out, name)
        if source.is_file():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def _thinned(files: Path, choice: Choice) -> Manifest:
    """Return the manifest of a release without the kinds of files that are not wanted."""
    manifest = open_dataset(files).manifest
    dropped: list[FileKind] = [] if choice.takes("detail") else ["detail"]
    if manifest.buildings and not choice.takes("buildings"):
        dropped.append("buildings")
    update: dict[str, object] = {"left_out": tuple(sorted({*manifest.left_out, *dropped}))}
    if "buildings" in dropped:
        update["buildings"] = {}
    return manifest.model_copy(update=update)
