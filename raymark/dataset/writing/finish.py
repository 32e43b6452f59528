"""The end of a run: index, card, attribution, hashes over all shards, final manifest."""

import hashlib
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from raymark.dataset.journal import remove_journal
from raymark.dataset.manifest import (
    INDEX_NAME,
    Manifest,
    ShardRecord,
    content_hash,
    site_hashes,
    write_manifest,
)
from raymark.dataset.shard import read_shard
from raymark.dataset.tables import index_rows
from raymark.dataset.writing.card import CARD_NAME, card_text
from raymark.storage import Place, PlaceLike, as_place, file_sha256
from raymark.work.peak_memory import peak_memory_bytes


def finish_dataset(
    folder: PlaceLike,
    manifest: Manifest,
    records: list[ShardRecord],
    seconds: float,
    *,
    num_workers: int = 1,
) -> Manifest:
    """Write index, card, attribution and the final manifest; then the journal may go.

    Args:
        folder: The dataset.
        manifest: What was planned.
        records: All shards, site by site in order.
        seconds: Time of the run [s].
        num_workers: Processes that traced.
    """
    folder = as_place(folder)
    arrays = site_hashes(folder, manifest, records)
    index_sha256 = write_index(folder, manifest, records, folder / INDEX_NAME)
    finished = manifest.model_copy(
        update={
            "state": "complete",
            "shards": tuple(records),
            "arrays": arrays,
            "content_hash": content_hash(arrays),
            "index_sha256": index_sha256,
            "generation": {
                "finished_on": datetime.now(UTC).date().isoformat(),
                "seconds_of_last_run": round(seconds, 1),
                "machine": platform.machine(),
                "num_cpus": os.cpu_count() or 1,
                "num_workers": num_workers,
                "peak_memory_bytes": peak_memory_bytes(),
            },
        }
    )
    texts = texts_of(finished)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    for name, text in texts.items():
        folder.below(name).write_text(text)
    finished = finished.model_copy(update={"documents": hashes})
    write_manifest(folder, finished)
    remove_journal(folder)
    folder.remove_leftovers()
    return finished


def texts_of(manifest: Manifest) -> dict[str, str]:
    """Return what the files say that are for people, by their names."""
    return {CARD_NAME: card_text(manifest), "ATTRIBUTION": _attribution(manifest)}


def write_index(
    folder: Place, manifest: Manifest, records: Sequence[ShardRecord], target: Place
) -> str:
    """Write the index of a dataset.

    Args:
        folder: The dataset.
        manifest: Whose bands it has.
        records: All shards.
        target: The file.

    Returns:
        Its SHA-256.
    """
    names = [band.name for band in manifest.campaign.bands]
    table = pd.concat(
        [index_rows(read_shard(folder.below(r.file("paths")), "paths"), r, names) for r in records]
    )
    with target.writing() as partial:
        table.to_parquet(partial, index=False)
        return file_sha256(partial)


def _attribution(manifest: Manifest) -> str:
    scenes = {site.scene: site for site in manifest.sites}
    lines = [f"{name}: {s.attribution} (licence: {s.licence})" for name, s in scenes.items()]
    return "\n".join(lines) + "\n"
