"""How far an unfinished dataset is: a note for every shard that is done."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raymark.dataset.manifest import ShardRecord, kept_kinds, read_manifest
from raymark.storage import is_remote, total_size_bytes, write_text
from raymark.storage.atomic import writable

JOURNAL_NAME = "journal.jsonl"
JOURNAL_PREFIX = "journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatus:
    """How far a dataset is."""

    id: str
    state: Literal["incomplete", "complete"]
    num_ues: int
    num_ues_done: int
    num_shards_done: int
    size_bytes: int


def dataset_status(folder: Path) -> DatasetStatus:
    """Return how far a dataset is, from its manifest and journal; no file is hashed.

    Raises:
        DatasetError: If the folder holds no dataset.
    """
    manifest = read_manifest(folder)
    done = manifest.shards or tuple(read_journal(folder))
    files = [folder / record.file(kind) for record in done for kind in kept_kinds(manifest)]
    return DatasetStatus(
        id=manifest.id,
        state=manifest.state,
        num_ues=sum(site.num_ues for site in manifest.sites),
        num_ues_done=sum(record.num_ues for record in done),
        num_shards_done=len(done),
        size_bytes=total_size_bytes(folder, files),
    )


def append_journal(folder: Path, record: ShardRecord) -> None:
    """Note a finished shard, so that an interrupted run knows it after a crash.

    Objects cannot be appended to: in object storage, each note is an object of its own.
    """
    if is_remote(folder):
        write_text(folder / JOURNAL_PREFIX / _note_name(record), record.model_dump_json() + "\n")
        return
    path = folder / JOURNAL_NAME
    with writable(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # a crash cut the last note off: it must not spoil this one
                file.write(b"\n")
        file.write(record.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_journal(folder: Path) -> list[ShardRecord]:
    """Return the noted shards, the last note of each; a line cut off by a crash is dropped."""
    records = {}
    for line in _journal_lines(folder):
        try:
            record = ShardRecord.model_validate_json(line)
        except ValueError:
            continue
        records[record.scene, record.site, record.part] = record
    return list(records.values())


def remove_journal(folder: Path) -> None:
    """Remove all notes: the manifest of a finished dataset lists its shards."""
    with writable(folder):
        for path in _journal_files(folder):
            path.unlink(missing_ok=True)


def _journal_files(folder: Path) -> list[Path]:
    if is_remote(folder):
        return list((folder / JOURNAL_PREFIX).iterdir())
    return [folder / JOURNAL_NAME]


def _journal_lines(folder: Path) -> Iterator[str]:
    for path in _journal_files(folder):
        if path.is_file():
            yield from path.read_text(encoding="utf-8").splitlines()


def _note_name(record: ShardRecord) -> str:
    return f"{record.scene}.{record.site}.part-{record.part:04d}.json"
