"""Publish a release: its files first, then its entry in an index, so that it appears whole."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raymark.catalog.hub import Copied, require_hub_repo, upload_to_hub
from raymark.catalog.index import HEAD_NAMES, Entry, Index, parse_index
from raymark.catalog.parts import part_bytes
from raymark.catalog.streams import is_local, local_path, scheme_of
from raymark.config import sealed_json, validate
from raymark.dataset import open_dataset
from raymark.errors import ConfigError, DatasetError
from raymark.release.citing import dataset_works
from raymark.release.hashing import hash_files
from raymark.release.licences import attribution_text
from raymark.release.record import RELEASE_NAME, read_release
from raymark.release.statements import description
from raymark.release.verify import verify_release
from raymark.storage import Place, as_place, new_folder, within
from raymark.storage.atomic import writable
from raymark.storage.lock import locked_file
from raymark.storage.objects import ObjectPlace

Progress = Callable[[str], None]
"""Told the name of every file that is done."""

_WEB = ("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What was published.

    Attributes:
        entry: The release as the index has it now, with all its mirrors.
        was_there: Whether all files were at the target already.
    """

    entry: Entry
    was_there: bool


def publish_release(
    folder: Path,
    target: str,
    index: str,
    *,
    name: str | None = None,
    progress: Progress = lambda _name: None,
) -> Publication:
    """Copy a release to where others get it, and write its entry of an index last.

    Args:
        folder: The release; every hash in it is checked before.
        target: A folder or a URL of object storage, for this release alone.
        index: File of the index, which is made if need be; its other entries stay.
        name: What others call the dataset; made of the title if not given.
        progress: Told of every file that is done.

    Returns:
        The entry, and whether the files were there before.

    Raises:
        DatasetError: If the folder holds no release, or a damaged one, something else is at the
            target, or it cannot be written.
        ConfigError: If the name is none, or the index has another release of this version.
        SchemaError: If the index was edited.
    """
    _require_writable(target, index)
    entry = make_entry(folder, name=name, mirror=_mirror_in(index, target))
    with _alone(index):
        read_for_update(as_place(index)).with_entry(entry)  # refuses before anything is copied
    faults = verify_release(folder, "hashes")
    if faults:
        raise DatasetError(f"the release is not sound, nothing was published: {faults[0]}")
    copied = _copy(folder, target, progress)
    entry = entry.model_copy(update={"mirrors": (_mirror_in(index, copied.location),)})
    with _alone(index):
        updated = read_for_update(as_place(index)).with_entry(entry)
        as_place(index).write_text(sealed_json(updated))
    return Publication(entry=updated.entries[-1], was_there=copied.was_there)


def make_entry(folder: Path, *, name: str | None, mirror: str) -> Entry:
    """Return what an index says of a release.

    Args:
        folder: The release.
        name: What others call it; made of the title if not given.
        mirror: Where others find it.

    Raises:
        DatasetError: If the folder holds no release.
        ConfigError: If the name is none.
    """
    release, dataset = read_release(folder), open_dataset(folder)
    heads = sorted(x for x in HEAD_NAMES if within(folder, x).is_file())
    known = {
        "name": name or _name_of(release.about.title),
        "version": release.version,
        "date": release.date,
        "title": release.about.title,
        "description": description(release.about, dataset.manifest),
        "licence": release.licence,
        "attribution": attribution_text(dataset),
        "citation": "\n\n".join(dataset_works(dataset, release)) + "\n",
        "scenes": dataset.scenes,
        "bands": dataset.bands,
        "num_links": sum(site.num_ues for site in dataset.manifest.sites),
        "part_bytes": part_bytes(release.files),
        "content_hash": release.content_hash,
        "superseded_by": release.about.superseded_by,
        "heads": hash_files(folder, heads),
        "mirrors": (mirror,),
    }
    return validate(Entry, known, where=f"entry of {folder}")


def read_for_update(index: Place) -> Index:
    """Read an index that is to be written anew; one that is not there yet is empty.

    Raises:
        ConfigError: If there is something else.
        SchemaError: If it was edited.
    """
    return parse_index(index.read_text(), where=str(index)) if index.is_file() else Index()


def _require_writable(target: str, index: str) -> None:
    if scheme_of(target) in _WEB:
        raise ConfigError(
            f"{target} can be read and not written; publish to a folder, s3:// or hf://, and serve "
            "that"
        )
    if scheme_of(target) == "hf":
        require_hub_repo(target)
    if scheme_of(index) in {*_WEB, "hf"}:
        raise ConfigError(f"{index}: an index is written to a file here or to s3://, and served so")
    if is_local(target) and not is_local(index):
        raise ConfigError(
            f"{index} is read by others, who do not find {target} on their machines; publish to a "
            "URL"
        )


def _name_of(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:64].strip("-")


def _mirror_in(index: str, target: str) -> str:
    """Return what an index calls a target: its name from beside it, if it lies there.

    So index and release may move together, and a folder of both may be served by any server.
    """
    if is_local(index) and is_local(target):
        root, folder = (local_path(x).resolve() for x in (index, target))
        if folder.is_relative_to(root.parent):
            return folder.relative_to(root.parent).as_posix()
        return str(folder)
    beside = index.rpartition("/")[0] + "/"
    return target.rstrip("/").removeprefix(beside)


@contextlib.contextmanager
def _alone(index: str) -> Iterator[None]:
    """Hold a local index, so that two who publish at once do not lose an entry."""
    if not is_local(index):
        yield
        return
    path = local_path(index)
    with locked_file(path.with_name(f".{path.name}.lock")):
        yield


def _copy(folder: Path, target: str, progress: Progress) -> Copied:
    """Bring all files to a target, so that no reader finds a part of them."""
    release = read_release(folder)
    heads = sorted(x for x in HEAD_NAMES - {RELEASE_NAME} if (folder / x).is_file())
    files = {x: within(folder, x) for x in (*release.files, *heads, RELEASE_NAME)}
    return _COPIERS.get(scheme_of(target), _copy_to_store)(files, target, progress)


def _copy_to_folder(files: Mapping[str, Path], target: str, progress: Progress) -> Copied:
    place = as_place(target)
    if _is_there(place, files):
        return Copied(location=target, was_there=True)
    with new_folder(local_path(target)) as partial, writable(partial):
        for name, file in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial / name)
            progress(name)
    return Copied(location=target)


def _copy_to_store(files: Mapping[str, Path], target: str, progress: Progress) -> Copied:
    """Upload the record last: what an upload that was cut off has left is written anew."""
    place = as_place(target)
    if not isinstance(place, ObjectPlace):
        raise ConfigError(f"{target} is no place to publish to")
    if _is_there(place, files):
        return Copied(location=target, was_there=True)
    others = sorted(set(place.files_below()) - set(files))
    if others:
        raise DatasetError(f"{target} holds {others[0]}, which is no part of the release")
    for name, file in files.items():
        place.below(name).stored.upload(file)
        progress(name)
    return Copied(location=target)


_COPIERS: dict[str, Callable[[Mapping[str, Path], str, Progress], Copied]] = {
    "file": _copy_to_folder,
    "hf": upload_to_hub,
}


def _is_there(place: Place, files: Mapping[str, Path]) -> bool:
    """Return whether a release is at a place.

    Raises:
        DatasetError: If it is another one.
    """
    record = place.below(RELEASE_NAME)
    if not record.is_file():
        return False
    if record.read_bytes() != files[RELEASE_NAME].read_bytes():
        raise DatasetError(f"{place} holds another release; choose another place")
    return True
