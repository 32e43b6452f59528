"""Lost and damaged files of a finished dataset, made again."""

import shutil
from pathlib import Path

import pytest
from command_line import raymark

from raymark.dataset import Dataset
from raymark.dataset.manifest import MANIFEST_NAME, read_manifest, write_manifest
from raymark.dataset.subset import Cut, cut_dataset
from raymark.dataset.verification import verify_dataset
from raymark.errors import DatasetError, SchemaError
from raymark.generator.repair import repair_dataset

PATHS = "paths/street_canyon/bs0/part-0001.h5"
DETAIL = "detail/street_canyon/bs0/part-0003.h5"
BUILDINGS = "buildings/street_canyon.h5"


@pytest.fixture
def copy(small_dataset: Dataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_dataset.folder, tmp_path / "copy"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_files_are_made_again_to_the_byte_when_lost_cut_off_or_changed(copy: Path) -> None:
    before = content(copy)
    (copy / PATHS).unlink()
    (copy / BUILDINGS).write_bytes(before[BUILDINGS][:-7])
    (copy / DETAIL).write_bytes(before[DETAIL][:900] + b"x" + before[DETAIL][901:])
    for name in ("index.parquet", "CARD.md"):
        (copy / name).unlink()
    told: list[tuple[str, int, int]] = []

    made = repair_dataset(copy, progress=lambda *call: told.append(call))

    assert set(made) == {PATHS, DETAIL, BUILDINGS, "index.parquet", "CARD.md"}
    assert content(copy) == before
    assert verify_dataset(copy) == []
    assert [call for call in told if call[0] == "repair"] == [("repair", i, 5) for i in range(1, 6)]


def test_nothing_is_touched_when_every_file_is_whole(copy: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*.*")}

    assert repair_dataset(copy) == []

    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_damaged_file_is_left_when_it_comes_out_otherwise(copy: Path) -> None:
    """As on another processor: the hash in the manifest is of other bytes."""
    manifest = read_manifest(copy)
    shards = [
        r.model_copy(update={"paths_sha256": "0" * 64}) if r.file("paths") == PATHS else r
        for r in manifest.shards
    ]
    write_manifest(copy, manifest.model_copy(update={"shards": tuple(shards)}))
    before = content(copy)

    with pytest.raises(DatasetError, match=rf"{PATHS} comes out otherwise on this machine \("):
        repair_dataset(copy)

    assert content(copy) == before


def test_reader_names_the_command_when_a_file_is_lost(copy: Path) -> None:
    (copy / PATHS).unlink()
    dataset = Dataset(copy)

    with pytest.raises(SchemaError, match=r"file is missing; .*`raymark generate --repair DIR`"):
        dataset.load_shard(next(r for r in dataset.manifest.shards if r.file("paths") == PATHS))


def test_repair_is_refused_when_the_dataset_was_cut(small_dataset: Dataset, tmp_path: Path) -> None:
    cut_dataset(small_dataset, tmp_path / "cut", Cut(num_ues=10))
    (tmp_path / "cut" / "paths/street_canyon/bs0/part-0000.h5").unlink()

    with pytest.raises(DatasetError, match="cut was cut from another dataset; cut it again"):
        repair_dataset(tmp_path / "cut")


def test_repair_is_refused_when_the_scene_is_another_now(copy: Path) -> None:
    manifest = read_manifest(copy)
    write_manifest(copy, manifest.model_copy(update={"config_hash": "0" * 64}))
    (copy / PATHS).unlink()

    with pytest.raises(DatasetError, match="was made of other versions of its scenes"):
        repair_dataset(copy)


def test_repair_is_refused_when_the_manifest_was_edited(copy: Path) -> None:
    text = (copy / MANIFEST_NAME).read_text(encoding="utf-8")
    (copy / MANIFEST_NAME).write_text(text.replace('"seed": 7', '"seed": 8', 1), encoding="utf-8")

    with pytest.raises(SchemaError, match="the file was edited"):
        repair_dataset(copy)


def test_command_names_what_it_made_again_and_verify_names_the_command(copy: Path) -> None:
    (copy / PATHS).unlink()

    found = raymark("verify", copy)
    made = raymark("generate", "--repair", copy)
    again = raymark("generate", "--repair", copy)

    assert found.returncode == 2
    assert f"`raymark generate --repair {copy}` makes lost" in " ".join(found.stderr.split())
    assert made.returncode == again.returncode == 0, made.stderr
    assert made.stdout == f"made again: {PATHS}\n"
    assert again.stdout == f"{copy}: every file is there, as the manifest says\n"


@pytest.mark.parametrize(
    "more", [["mini"], ["--out", "x"], ["--extend", "x"], ["--bands", "39GHz"], ["--dry-run"]]
)
def test_repair_is_refused_beside_another_choice(copy: Path, more: list[str]) -> None:
    refused = raymark("generate", "--repair", copy, *more)

    assert refused.returncode == 2
    assert "--repair DIR stands alone: the dataset knows its campaign" in refused.stderr
