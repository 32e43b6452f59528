"""How far an unfinished dataset is: a note for every shard that is done."""

from dataclasses import dataclass
from typing import Literal

from raymark.dataset.manifest import ShardRecord, kept_kinds, read_manifest
from raymark.storage import PlaceLike, as_place

JOURNAL_NAME = "journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatus:
    """How far a dataset is."""

    id: str
    state: Literal["incomplete", "complete"]
    num_ues: int
    num_ues_done: int
    num_shards_done: int
    size_bytes: int


def dataset_status(folder: PlaceLike) -> DatasetStatus:
    """Return how far a dataset is, from its manifest and journal; no file is hashed.

    Raises:
        DatasetError: If the folder holds no dataset.
    """
    manifest = read_manifest(folder)
    done = manifest.shards or tuple(read_journal(folder))
    files = [record.file(kind) for record in done for kind in kept_kinds(manifest)]
    return DatasetStatus(
        id=manifest.id,
        state=manifest.state,
        num_ues=sum(site.num_ues for site in manifest.sites),
        num_ues_done=sum(record.num_ues for record in done),
        num_shards_done=len(done),
        size_bytes=as_place(folder).total_size_bytes(files),
    )


def append_journal(folder: PlaceLike, record: ShardRecord) -> None:
    """Note a finished shard, so that an interrupted run knows it after a crash."""
    key = f"{record.scene}.{record.site}.part-{record.part:04d}"
    (as_place(folder) / JOURNAL_NAME).add_note(key, record.model_dump_json())


def read_journal(folder: PlaceLike) -> list[ShardRecord]:
    """Return the noted shards, the last note of each; a line cut off by a crash is dropped."""
    records = {}
    for line in (as_place(folder) / JOURNAL_NAME).notes():
        try:
            record = ShardRecord.model_validate_json(line)
        except ValueError:
            continue
        records[record.scene, record.site, record.part] = record
    return list(records.values())


def remove_journal(folder: PlaceLike) -> None:
    """Remove all notes: the manifest of a finished dataset lists its shards."""
    (as_place(folder) / JOURNAL_NAME).remove_notes()
