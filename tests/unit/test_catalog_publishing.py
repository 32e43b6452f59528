import json
import shutil
import threading
from pathlib import Path

import pytest
from command_line import raymark
from published import SCENES, other_release

from raymark.catalog import Catalog, Reference, publish_release
from raymark.catalog.cache import DatasetCache
from raymark.catalog.index import parse_index
from raymark.errors import ConfigError, DatasetError, SchemaError
from raymark.release import read_release, verify_release
from raymark.storage import file_sha256

LABEL = "two-walls@1.0.0"


def entries_of(index: Path) -> list[str]:
    text = index.read_text(encoding="utf-8")
    return [entry.label for entry in parse_index(text, where=str(index)).entries]


def test_release_is_copied_and_listed_when_published(small_release: Path, tmp_path: Path) -> None:
    index, target = tmp_path / "site" / "index.json", tmp_path / "site" / "walls" / "1.0.0"

    made = publish_release(small_release, str(target), str(index))

    entry, release = made.entry, read_release(small_release)
    assert verify_release(target, "hashes") == []
    assert entries_of(index) == [LABEL]
    assert entry.mirrors == ("walls/1.0.0",)  # so that the folder of both may move
    assert entry.scenes == SCENES
    assert entry.content_hash == release.content_hash
    assert entry.heads["release.json"].sha256 == file_sha256(small_release / "release.json")
    assert entry.size_bytes == sum(file.size_bytes for file in release.files.values())
    assert "@misc{two-walls," in entry.citation
    assert "those who built the yard" in entry.attribution


def test_dataset_is_found_when_index_and_release_have_moved(
    small_release: Path, tmp_path: Path
) -> None:
    publish_release(small_release, str(tmp_path / "a" / "walls"), str(tmp_path / "a" / "i.json"))
    shutil.move(tmp_path / "a", tmp_path / "b")
    catalog = Catalog(
        cache=DatasetCache(folder=tmp_path / "cache"), address=str(tmp_path / "b" / "i.json")
    )

    held = catalog.get(Reference(name="two-walls"))
    held.let_go()

    assert verify_release(held.folder, "hashes") == []


def test_nothing_is_copied_when_the_release_is_there_already(
    small_release: Path, tmp_path: Path
) -> None:
    index, target = tmp_path / "index.json", tmp_path / "walls"
    publish_release(small_release, str(target), str(index))
    before = index.read_bytes()
    again = publish_release(small_release, str(target), str(index))
    assert index.read_bytes() == before
    assert again.was_there

    second = publish_release(small_release, str(tmp_path / "copy"), str(index))
    assert entries_of(index) == [LABEL]
    assert second.entry.mirrors == ("walls", "copy")


def test_other_entries_stay_when_a_version_is_added(small_release: Path, tmp_path: Path) -> None:
    other_release(small_release, tmp_path / "next", version="1.1.0")
    index = tmp_path / "index.json"
    publish_release(small_release, str(tmp_path / "one"), str(index))
    publish_release(tmp_path / "next", str(tmp_path / "two"), str(index))
    publish_release(small_release, str(tmp_path / "three"), str(index), name="walls")

    assert entries_of(index) == [LABEL, "two-walls@1.1.0", "walls@1.0.0"]


def test_no_entry_is_lost_when_two_publish_at_once(small_release: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    threads = [
        threading.Thread(
            target=publish_release,
            args=(small_release, str(tmp_path / f"to-{i}"), str(index)),
            kwargs={"name": f"walls-{i}"},
        )
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(entries_of(index)) == [f"walls-{i}@1.0.0" for i in range(4)]


def test_nothing_is_published_when_the_release_is_damaged(
    small_release: Path, tmp_path: Path
) -> None:
    damaged, index = tmp_path / "damaged", tmp_path / "index.json"
    shutil.copytree(small_release, damaged)
    (damaged / "README.md").write_text("mine", encoding="utf-8")

    with pytest.raises(DatasetError, match=r"nothing was published: .*README\.md"):
        publish_release(damaged, str(tmp_path / "to"), str(index))
    assert not index.exists()
    assert not (tmp_path / "to").exists()


def test_no_entry_is_written_when_the_target_is_in_use(small_release: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    index = tmp_path / "index.json"

    with pytest.raises(DatasetError, match="mine exists; choose another folder"):
        publish_release(small_release, str(tmp_path / "mine"), str(index))
    assert not index.exists()


def test_published_release_stays_when_another_one_has_its_version(
    small_release: Path, tmp_path: Path
) -> None:
    other, index = tmp_path / "other", tmp_path / "index.json"
    other_release(small_release, other, date="2020-01-01")
    publish_release(small_release, str(tmp_path / "to"), str(index))
    before = index.read_bytes()

    with pytest.raises(ConfigError, match="what was published never changes"):
        publish_release(other, str(tmp_path / "to-2"), str(index))
    with pytest.raises(DatasetError, match="to holds another release; choose another place"):
        publish_release(other, str(tmp_path / "to"), str(tmp_path / "new.json"))

    assert index.read_bytes() == before
    assert not (tmp_path / "to-2").exists()
    assert not (tmp_path / "new.json").exists()


def test_nothing_is_copied_when_the_index_was_edited(small_release: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    publish_release(small_release, str(tmp_path / "to"), str(index))
    index.write_text(index.read_text(encoding="utf-8").replace("Two walls", "No walls"))

    with pytest.raises(SchemaError, match="was edited"):
        publish_release(small_release, str(tmp_path / "copy"), str(index), name="walls")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("to", "index", "message"),
    [
        ("http://host/x", "{tmp}/i.json", "can be read and not written; publish to a folder"),
        ("{tmp}/x", "https://host/i.json", "an index is written to a file here or to s3://"),
        ("{tmp}/x", "s3://bucket/i.json", "is read by others, who do not find"),
        ("hf://datasets/x", "{tmp}/i.json", "is no dataset of the hub: hf://datasets/OWNER/NAME"),
    ],
)
def test_place_is_refused_when_nothing_can_be_published_there(
    small_release: Path, tmp_path: Path, to: str, index: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        publish_release(
            small_release, to.format(tmp=tmp_path), index.format(tmp=tmp_path), name="walls"
        )


def test_command_publishes_when_it_is_given_a_folder_and_an_index(
    small_release: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index.json"
    arguments = ["release", "publish", small_release, "--index", index, "--to"]

    done = raymark(*arguments, tmp_path / "to")
    wrong = raymark(*arguments, tmp_path / "to-2", "--name", "Two Walls")

    assert done.returncode == 0, done.stderr
    assert f"{LABEL} is in {index}" in done.stdout
    assert json.loads(index.read_text(encoding="utf-8"))["entries"][0]["mirrors"] == ["to"]
    assert wrong.returncode == 2
    assert "the name of a dataset has at most 64" in wrong.stderr
    assert not (tmp_path / "to-2").exists()
