import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raymark.config import seal_of
from raymark.dataset import Dataset
from raymark.dataset.journal import append_journal, read_journal
from raymark.dataset.manifest import (
    MANIFEST_NAME,
    ShardRecord,
    hash_arrays,
    read_manifest,
    write_manifest,
)
from raymark.dataset.shard import write_shard
from raymark.errors import ConfigError, DatasetError, SchemaError

MakeArrays = Callable[[], dict[str, np.ndarray]]


def record(part: int, num_paths: int = 7) -> ShardRecord:
    return ShardRecord(
        scene="munich",
        site="bs0",
        part=part,
        first_ue=10 * part,
        num_ues=10,
        num_paths=num_paths,
        paths_sha256="a" * 64,
        detail_sha256="b" * 64,
    )


def test_read_journal_returns_the_records_when_appended(tmp_path: Path) -> None:
    for part in (2, 0, 1):
        append_journal(tmp_path, record(part))

    assert read_journal(tmp_path) == [record(2), record(0), record(1)]


def test_read_journal_is_empty_when_there_is_none(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == []


def test_read_journal_returns_the_last_note_when_a_shard_was_made_twice(tmp_path: Path) -> None:
    append_journal(tmp_path, record(0, num_paths=1))
    append_journal(tmp_path, record(1))
    append_journal(tmp_path, record(0, num_paths=2))

    assert {r.part: r.num_paths for r in read_journal(tmp_path)} == {0: 2, 1: 7}


def test_read_journal_drops_the_last_line_when_it_was_cut_off_anywhere(tmp_path: Path) -> None:
    append_journal(tmp_path, record(0))
    append_journal(tmp_path, record(1))
    whole = (tmp_path / "journal.jsonl").read_bytes()
    first_line = whole.index(b"\n") + 1

    for size in range(first_line, len(whole) - 1):
        (tmp_path / "journal.jsonl").write_bytes(whole[:size])
        assert read_journal(tmp_path) == [record(0)], size


def test_append_journal_keeps_the_new_record_when_the_last_line_was_cut_off(
    tmp_path: Path,
) -> None:
    append_journal(tmp_path, record(0))
    append_journal(tmp_path, record(1))
    whole = (tmp_path / "journal.jsonl").read_bytes()
    (tmp_path / "journal.jsonl").write_bytes(whole[:-20])

    append_journal(tmp_path, record(2))

    assert record(2) in read_journal(tmp_path)
    assert record(0) in read_journal(tmp_path)


def test_append_journal_raises_when_the_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot write .*journal\.jsonl"):
        append_journal(tmp_path / "nowhere", record(0))


def test_manifest_is_the_same_when_written_and_read_back(
    tmp_path: Path, small_dataset: Dataset
) -> None:
    write_manifest(tmp_path, small_dataset.manifest)

    assert read_manifest(tmp_path) == small_dataset.manifest


def test_manifest_is_read_when_a_later_version_knows_more_keys(
    tmp_path: Path, small_dataset: Dataset
) -> None:
    """The seal is that of the file: keys that were not there then have their defaults now."""
    data = json.loads((small_dataset.folder / MANIFEST_NAME).read_text())
    del data["notes"]
    data["seal"] = seal_of(data)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(data), encoding="utf-8")

    assert read_manifest(tmp_path).notes == ()


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data["campaign"].update(seed=99),
        lambda data: data.update(content_hash="0" * 64),
        lambda data: data["generation"].update(machine="another"),
        lambda data: data.update(seal=None),
        lambda data: data.pop("seal"),
        lambda data: data.update(seal="0" * 64),
    ],
    ids=["seed", "content hash", "note", "no seal", "seal forgotten", "other seal"],
)
def test_read_manifest_refuses_when_anything_was_edited(
    tmp_path: Path, small_dataset: Dataset, edit: Callable[[dict[str, Any]], object]
) -> None:
    data = json.loads((small_dataset.folder / MANIFEST_NAME).read_text())
    edit(data)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(data), encoding="utf-8")

    with pytest.raises(SchemaError, match=r"dataset\.json: the file was edited .* seal does not"):
        read_manifest(tmp_path)


def test_read_manifest_raises_when_the_folder_holds_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no dataset \(dataset\.json is missing\)"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.update(extra=1), r"unknown key at .*dataset\.json: extra"),
        (lambda data: data.pop("campaign"), r"missing key at .*dataset\.json: campaign"),
        (lambda data: data.update(state="done"), r"dataset\.json: state"),
        (
            lambda data: data["campaign"]["tracer"].update(max_depth=99),
            r"got 99 at .*dataset\.json: campaign\.tracer\.max_depth",
        ),
    ],
)
def test_read_manifest_names_the_place_when_edited_into_nonsense(
    tmp_path: Path,
    small_dataset: Dataset,
    edit: Callable[[dict[str, object]], object],
    message: str,
) -> None:
    data = json.loads((small_dataset.folder / MANIFEST_NAME).read_text())
    edit(data)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(data), encoding="utf-8")

    with pytest.raises(ConfigError, match=message):
        read_manifest(tmp_path)


def test_read_manifest_raises_when_the_file_was_cut_off(
    tmp_path: Path, small_dataset: Dataset
) -> None:
    text = (small_dataset.folder / MANIFEST_NAME).read_text()
    (tmp_path / MANIFEST_NAME).write_text(text[: len(text) // 2], encoding="utf-8")

    with pytest.raises(ConfigError, match=r"dataset\.json"):
        read_manifest(tmp_path)


def pieces(arrays: dict[str, np.ndarray], cuts: list[int]) -> list[dict[str, np.ndarray]]:
    """Divide the three links of the example into shards."""
    result = []
    offset = arrays["link/path_offset"]
    for low, high in zip([0, *cuts], [*cuts, 3], strict=True):
        part = dict(arrays)
        paths = slice(offset[low], offset[high])
        for name, array in arrays.items():
            if name == "link/path_offset":
                part[name] = array[low : high + 1] - array[low]
            elif name in ("path/amplitude", "link/truncated_power_db"):
                part[name] = array[:, paths if name.startswith("path") else slice(low, high)]
            elif name.startswith("path/"):
                part[name] = array[paths]
            elif not name.startswith("bs/"):
                part[name] = array[low:high]
        result.append(part)
    return result


@pytest.mark.parametrize("cuts", [[1], [2], [1, 2]])
def test_hash_arrays_is_the_same_when_links_are_divided_otherwise(
    tmp_path: Path, valid_arrays: MakeArrays, cuts: list[int]
) -> None:
    def files(name: str, parts: list[dict[str, np.ndarray]]) -> list[Path]:
        paths = [tmp_path / f"{name}-{i}.h5" for i in range(len(parts))]
        for path, arrays in zip(paths, parts, strict=True):
            write_shard(path, "paths", arrays, {})
        return paths

    whole = files("whole", [valid_arrays()])
    divided = files("part", pieces(valid_arrays(), cuts))

    assert hash_arrays(divided, "paths") == hash_arrays(whole, "paths")


def test_hash_arrays_names_the_array_when_one_value_changes(
    tmp_path: Path, valid_arrays: MakeArrays
) -> None:
    original = valid_arrays()
    write_shard(tmp_path / "original.h5", "paths", original, {})
    before = hash_arrays([tmp_path / "original.h5"], "paths")

    for name in original:
        arrays = valid_arrays()
        flat = arrays[name].reshape(-1).view("u1")
        flat[0] ^= 1
        write_shard(tmp_path / "changed.h5", "paths", arrays, {})
        after = hash_arrays([tmp_path / "changed.h5"], "paths")
        assert [key for key in before if before[key] != after[key]] == [f"paths/{name}"]
