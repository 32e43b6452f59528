"""Names from files stay within their folder."""

import os
from pathlib import Path

import pytest

from raymark.errors import DatasetError
from raymark.storage import as_place, within


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "inner" / "file").write_text("ours")
    (tmp_path / "victim").write_text("theirs")
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["inner/file", "new", "a/new/file", "inner/with space"])
def test_within_returns_the_file_when_it_is_below(folder: Path, name: str) -> None:
    assert within(folder, name) == folder / name
    assert str(as_place(folder).below(name)) == str(folder / name)


@pytest.mark.parametrize(
    "name",
    ["../victim", "inner/../../victim", "/etc/passwd", "", ".", "inner//file", "a\0b", "./new"],
)
def test_within_refuses_a_name_when_it_is_no_path_below(folder: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="is no name of a file in"):
        within(folder, name)
    with pytest.raises(DatasetError, match="is no name of a file in"):
        as_place("memory://bucket/data").below(name)


def test_within_refuses_a_link_when_it_leads_out(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "victim")
    (folder / "outside").symlink_to(folder.parent)
    (folder / "dangling").symlink_to(folder.parent / "nowhere")

    for name in ("link", "outside/victim", "dangling"):
        with pytest.raises(DatasetError, match="is a link that leads out of"):
            within(folder, name)


def test_within_takes_a_link_when_it_stays(folder: Path) -> None:
    (folder / "link").symlink_to("inner/file")

    assert within(folder, "link").read_text() == "ours"


def test_within_refuses_what_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "circle").symlink_to("circle")

    for name in ("fifo", "inner", "a" * 300):
        with pytest.raises(DatasetError, match=r"is no regular file|File name too long"):
            within(folder, name)
    with pytest.raises(DatasetError, match="circle"):
        within(folder, "circle")


def test_notes_are_not_written_when_their_file_is_a_link(folder: Path) -> None:
    (folder / "journal.jsonl").symlink_to(folder.parent / "victim")

    with pytest.raises(DatasetError, match="leads out of"):
        (as_place(folder) / "journal").add_note("key", "text")
    assert (folder.parent / "victim").read_text() == "theirs"
