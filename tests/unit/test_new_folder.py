"""Folders that appear whole: none of two runs hurts the other, and nothing of a user's goes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raymark.errors import DatasetError
from raymark.storage import new_folder
from raymark.storage.atomic import partial_of
from raymark.storage.folders import keep_others, put_in_place


def names(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def leftover(out: Path, pid: int) -> Path:
    """What a process with this number would leave of a folder."""
    name = partial_of(out).name.replace(f"-{os.getpid()}-", f"-{pid}-")
    folder = out.with_name(name)
    folder.mkdir()
    (folder / "half").write_text("half")
    return folder


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"

    with new_folder(out) as partial:
        (partial / "file").write_text("whole")
        assert not out.exists()
        assert partial.parent == out.parent

    assert names(tmp_path) == ["deep/out/file"]
    assert out.stat().st_mode == (tmp_path / "deep").stat().st_mode


@pytest.mark.parametrize("error", [DatasetError("a fault"), KeyboardInterrupt("Ctrl-C")])
def test_nothing_is_left_when_the_block_fails(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "out") as partial:
            (partial / "file").write_text("half")
            raise error

    with pytest.raises(type(error), match=str(error)):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_target_is_refused_and_kept_when_it_is_there(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path / "nowhere")

    with pytest.raises(DatasetError, match="out exists; choose another folder"), new_folder(out):
        raise AssertionError("it was begun")

    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("is_empty", [True, False])
def test_target_is_kept_when_somebody_makes_it_meanwhile(tmp_path: Path, is_empty: bool) -> None:
    out = tmp_path / "out"

    def build() -> None:
        with new_folder(out) as partial:
            (partial / "file").write_text("ours")
            out.mkdir()
            if not is_empty:
                (out / "theirs").write_text("theirs")

    with pytest.raises(DatasetError, match="out was made by somebody else meanwhile, and stays"):
        build()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert names(out) == ([] if is_empty else ["theirs"])


def test_users_folder_stays_when_it_is_named_like_a_temporary_one(tmp_path: Path) -> None:
    for name in ("out.partial", "out.before", "out.x-1-0123.partial", "other.h-1-01234567.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    before = names(tmp_path)

    with new_folder(tmp_path / "out") as partial:
        (partial / "file").write_text("ours")

    assert names(tmp_path) == sorted([*before, "out/file"])


def test_leftovers_go_when_their_process_is_dead(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    out = tmp_path / "out"
    dead, alive = leftover(out, ended.pid), leftover(out, os.getppid())
    of_another = leftover(tmp_path / "another", ended.pid)

    with new_folder(out):
        pass

    assert [path.exists() for path in (dead, alive, of_another)] == [False, True, True]


BUILDER = """
import sys
from pathlib import Path
from raymark.errors import DatasetError
from raymark.storage import new_folder

out, mine = Path(sys.argv[1]), sys.argv[2]
try:
    with new_folder(out) as partial:
        (partial / "by").write_text(mine)
        print("ready", flush=True)
        sys.stdin.readline()
        for i in range(100):
            (partial / f"{mine}-{i}").write_text(mine)
    print("made")
except DatasetError as error:
    print(error)
"""


def test_one_wins_whole_and_the_others_say_so_when_processes_build_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", BUILDER, str(out), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    try:
        for builder in builders:
            assert builder.stdout is not None
            assert builder.stdout.readline() == "ready\n"
        said = [builder.communicate("\n", timeout=60)[0] for builder in builders]
    finally:
        for builder in builders:
            builder.kill()  # nothing to an ended one

    meanwhile = (
        f"{out} was made by somebody else meanwhile, and stays as it is; choose another folder\n"
    )
    assert sorted(said) == sorted([meanwhile, meanwhile, "made\n"])
    winner = said.index("made\n")
    assert names(out) == sorted(["by", *(f"{winner}-{i}" for i in range(100))])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_users_files_stay_when_a_folder_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    for name in ("ours", "old", "mine", "deep/mine", "deep/old"):
        (out / name).write_text(f"former {name}")
    (out / "link").symlink_to(tmp_path / "nowhere")

    with new_folder(out, replaces=["ours", "old", "deep/old"]) as partial:
        (partial / "ours").write_text("new")

    assert names(tmp_path) == ["out/deep/mine", "out/mine", "out/ours"]
    assert (out / "ours").read_text() == "new"
    assert (out / "deep" / "mine").read_text() == "former deep/mine"
    assert (out / "link").is_symlink()


def test_replacement_is_refused_when_a_users_file_is_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "ours").write_text("old")
    (out / "new").write_text("mine")

    with (
        pytest.raises(DatasetError, match=r"out/new is in the way, and raymark did not write it"),
        new_folder(out, replaces=["ours"]) as partial,
    ):
        (partial / "new").write_text("ours")

    assert names(tmp_path) == ["out/new", "out/ours"]
    assert (out / "new").read_text() == "mine"


def test_others_are_kept_once_when_keeping_is_done_again(tmp_path: Path) -> None:
    folder, into = tmp_path / "folder", tmp_path / "into"
    for path in (folder, into):
        path.mkdir()
    (folder / "mine").write_text("mine")
    (folder / "link").symlink_to(tmp_path / "nowhere")

    for _ in range(2):
        keep_others(folder, into, ours=[])

    assert sorted(path.name for path in into.iterdir()) == ["link", "mine"]


def test_folder_is_put_back_when_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    folder, aside = tmp_path / "folder", tmp_path / "folder.before"
    folder.mkdir()
    (folder / "file").write_text("old")

    with pytest.raises(DatasetError, match=r"cannot write .*folder"):
        put_in_place(tmp_path / "missing", folder, aside=aside)
    assert names(tmp_path) == ["folder/file"]

    aside.mkdir()
    with pytest.raises(DatasetError, match=r"folder\.before is in the way; move it elsewhere"):
        put_in_place(tmp_path / "missing", folder, aside=aside)
    assert names(tmp_path) == ["folder/file"]
