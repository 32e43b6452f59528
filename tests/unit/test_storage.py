"""Where datasets lie: unique temporary names, paths behind URLs, the cache of their copies."""

import errno
import hashlib
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from raymark.dataset.journal import append_journal, read_journal, remove_journal
from raymark.dataset.manifest import ShardRecord
from raymark.dataset.shard import read_shard, write_shard
from raymark.errors import ConfigError, DatasetError
from raymark.storage import Place, as_place, file_sha256, write_text
from raymark.storage.atomic import partial_of, remove_partials
from raymark.storage.cache import DEFAULT_LIMIT_BYTES, ObjectCache
from raymark.storage.stored_object import StoredObject

MakeArrays = Callable[[], dict[str, np.ndarray]]


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An empty folder in fsspec's store in memory, and a cache of this test's own."""
    monkeypatch.setenv("RAYMARK_CACHE", str(tmp_path / "cache"))
    yield as_place("memory://tests/data")
    store = fsspec.filesystem("memory")
    if store.exists("/tests"):
        store.rm("/tests", recursive=True)


def dead_pid() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def leftover(path: Path, pid: int, host: str = platform.node()) -> Path:
    """What a process with this number would leave of a file."""
    own = partial_of(path).name
    host_and_pid, _, token = own.removeprefix(f"{path.name}.").rpartition("-")
    this_host = host_and_pid.rpartition("-")[0]
    name = f"{path.name}.{this_host if host == platform.node() else host}-{pid}-{token}"
    path.with_name(name).write_bytes(b"half")
    return path.with_name(name)


@pytest.fixture(params=["here", "in a store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, memory: Place) -> Place:
    """An empty folder of each kind."""
    return as_place(tmp_path / "data") if request.param == "here" else memory


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/name", "s3://bucket/name"),
        ("s3://bucket/deep//name/", "s3://bucket/deep/name"),
        ("s3://bucket", "s3://bucket"),
        ("memory://name", "memory://name"),
        ("file:///data/name", "/data/name"),
        ("data/name", "data/name"),
        ("/data/name", "/data/name"),
    ],
)
def test_as_place_keeps_the_text_when_it_is_a_url_or_a_path(text: str, expected: str) -> None:
    place = as_place(text)

    assert str(place) == expected
    assert (place.local_path is None) == ("s3:" in text or "memory:" in text)
    assert as_place(place) is place
    assert as_place(Path("data/name")) == as_place("data/name")


def files_below(place: Place) -> list[Place]:
    """All files; the store in memory, unlike others, keeps empty folders."""
    return [
        file
        for below in place.iterdir()
        for file in ([below] if below.is_file() else files_below(below))
    ]


class TestPlace:
    """What holds for every kind of place."""

    def test_name_is_joined_when_it_is_deep(self, place: Place) -> None:
        deep = place / "paths/a" / "part.h5"

        assert str(deep) == f"{place}/paths/a/part.h5"
        assert deep.name == "part.h5"
        assert deep == place / "paths" / "a" / "part.h5" != place
        assert len({deep, as_place(str(deep))}) == 1
        assert pickle.loads(pickle.dumps(deep)) == deep  # noqa: S301 - our own bytes
        assert deep.resolve() == deep

    def test_file_is_read_when_it_was_written(self, place: Place) -> None:
        note = place / "a" / "note"
        note.write_text("old")
        note.write_text("text: \N{GREEK SMALL LETTER ALPHA}")

        assert note.read_text() == "text: \N{GREEK SMALL LETTER ALPHA}"
        assert note.read_bytes() == note.read_text().encode()
        assert note.sha256() == hashlib.sha256(note.read_bytes()).hexdigest()
        with note.local_copy() as copy:
            assert copy.read_bytes() == note.read_bytes()
        assert (note.exists(), note.is_file()) == (True, True)
        assert ((place / "a").exists(), (place / "a").is_file()) == (True, False)

    def test_nothing_is_there_when_nothing_was_written(self, place: Place) -> None:
        none = place / "none"

        assert (none.exists(), none.is_file()) == (False, False)
        assert list(none.iterdir()) == []
        assert place.total_size_bytes(["none"]) == 0
        none.unlink()
        none.remove_tree()
        with pytest.raises(FileNotFoundError, match="none"):
            none.read_text()

    def test_old_content_stays_when_the_writer_fails(self, place: Place, tmp_path: Path) -> None:
        note = place / "note"
        note.write_text("old")

        def fail() -> None:
            with note.writing() as partial:
                partial.write_text("new", encoding="utf-8")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert note.read_text() == "old"
        assert not list(tmp_path.rglob("*.partial"))

    def test_what_is_below_is_listed_by_name_when_asked(self, place: Place) -> None:
        for name in ("b", "a/deep", "c"):
            (place / name).write_text(name)

        assert list(place.iterdir()) == [place / "a", place / "b", place / "c"]
        assert place.total_size_bytes(["b", "a/deep", "none"]) == 7

    def test_only_what_is_named_goes_when_removed(self, place: Place) -> None:
        for name in ("a/x", "a/deep/y", "b", "c"):
            (place / name).write_text(name)

        (place / "a").remove_tree()
        (place / "b").unlink()

        assert files_below(place) == [place / "c"]

    def test_folder_is_free_when_only_our_own_leftovers_are_there(self, place: Place) -> None:
        assert place.is_free()
        (place / partial_of(Path("note")).name).write_text("half")
        with place.locked():
            assert place.is_free()
        (place / "note.partial").write_text("a user's own")
        assert not place.is_free()

    def test_folder_is_refused_when_it_is_held_already(self, place: Place) -> None:
        with (
            place.locked(),
            pytest.raises(DatasetError, match=rf"generating into {place}|{place} is being gen"),
            place.locked(),
        ):
            pass
        with place.locked():
            assert place.is_free()

    def test_unlock_refuses_when_no_process_was_killed(self, place: Place) -> None:
        with pytest.raises(DatasetError, match=rf"{place} is (a local folder|not locked)"):
            place.unlock()

    def test_journal_keeps_the_last_note_of_each_shard_when_read(self, place: Place) -> None:
        record = ShardRecord(
            scene="a",
            site="b",
            part=0,
            first_ue=0,
            num_ues=5,
            num_paths=9,
            paths_sha256="1",
            detail_sha256="2",
        )
        later = record.model_copy(update={"paths_sha256": "3"})
        other = record.model_copy(update={"part": 1})
        (place / "dataset.json").write_text("{}")

        for note in (record, other, later):
            append_journal(place, note)

        assert sorted(read_journal(place), key=lambda r: r.part) == [later, other]
        remove_journal(place)
        assert read_journal(place) == []
        assert files_below(place) == [place / "dataset.json"]

    def test_notes_end_when_they_are_removed_while_they_are_read(self, place: Place) -> None:
        (place / "dataset.json").write_text("{}")
        journal = place / "journal"
        for key in "abc":
            journal.add_note(key, key)

        notes = journal.notes()
        read = [next(notes)]
        journal.remove_notes()
        read += notes

        assert set(read) <= set("abc")
        assert list(journal.notes()) == []

    def test_shard_is_the_same_when_written_anywhere(
        self, place: Place, tmp_path: Path, valid_arrays: MakeArrays
    ) -> None:
        local = write_shard(tmp_path / "x.h5", "paths", valid_arrays(), {"scene": "a"})

        sha256 = write_shard(place / "x.h5", "paths", valid_arrays(), {"scene": "a"})

        assert sha256 == local == (place / "x.h5").sha256()
        assert (place / "x.h5").read_bytes() == (tmp_path / "x.h5").read_bytes()
        assert set(read_shard(place / "x.h5", "paths")) == set(valid_arrays())


def test_object_refuses_when_taken_for_a_local_file() -> None:
    with pytest.raises(TypeError, match=r"not '?ObjectPlace"):
        Path(as_place("s3://bucket/x"))  # type: ignore[arg-type] - what mypy says, too
    with pytest.raises(DatasetError, match=r"this needs a local folder, got s3://b/x; copy it"):
        as_place("s3://b/x").require_local("this")


def test_local_place_opens_when_taken_for_a_path(tmp_path: Path) -> None:
    (as_place(tmp_path) / "note").write_text("text")

    with open(as_place(tmp_path) / "note") as file:  # type: ignore[call-overload]  # noqa: PTH123
        assert file.read() == "text"
    assert as_place(tmp_path).require_local("this") == tmp_path


def test_url_is_refused_when_it_became_a_local_path() -> None:
    with pytest.raises(DatasetError, match=r"s3://bucket/note is no local folder, and this is"):
        write_text(Path("s3://bucket/note"), "text")


def test_store_is_refused_when_fsspec_does_not_know_it() -> None:
    with pytest.raises(ConfigError, match=r"foo://b/x: 'foo://' is no storage that fsspec knows"):
        as_place("foo://b/x").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("fsspec", 'what s3:// needs is not installed; `pip install "raymark[storage]"` adds it'),
        ("s3fs", r"s3://bucket/x/dataset.json needs a package that is not installed (Install s3fs"),
    ],
)
def test_extra_is_named_when_a_package_is_not_installed(package: str, message: str) -> None:
    """In a fresh process that cannot import it: local work goes on, URLs are refused."""
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from raymark.dataset import open_dataset\n"
        "from raymark.errors import RaymarkError\n"
        "for place in ('/nowhere', 's3://bucket/x'):\n"
        "    try:\n"
        "        open_dataset(place)\n"
        "    except RaymarkError as error:\n"
        "        print(error)\n"
    )

    said = subprocess.run(
        [sys.executable, "-c", code, package],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout

    of_folder, of_url = said.splitlines()
    assert of_folder == "/nowhere holds no dataset (dataset.json is missing)"
    assert of_url.startswith(message)
    assert '`pip install "raymark[storage]"` adds' in of_url


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError("Forbidden"), "access is denied; check the credentials"),
        (ConnectionRefusedError("refused"), "no connection to the store; check the network"),
        (TimeoutError("late"), "the store does not answer"),
        (OSError(errno.EIO, "strange"), "strange"),
    ],
)
def test_store_errors_are_one_sentence_when_the_store_refuses(
    memory: Place, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    """What a test cannot make a server do: the store in memory raises what others would."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", refuse)
    with pytest.raises(DatasetError, match=rf"memory://tests/data/note: .*{reason}"):
        (memory / "note").read_text()


def stored(folder: Place, name: str) -> StoredObject:
    return StoredObject(url=str(folder / name))


def test_cache_drops_the_longest_unused_when_it_is_full(memory: Place, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=250)
    for name in "abc":
        (memory / name).write_text(name * 100)

    def read(name: str) -> bool:
        """Read a file and return whether its copy was there."""
        before = set(cache.folder.glob("*"))
        with cache.copy_of(stored(memory, name)) as copy:
            assert copy.read_text(encoding="utf-8") == name * 100
            return copy in before

    assert [read(name) for name in "aba"] == [False, False, True]
    assert read("c") is False  # drops b, which was not used for the longest time
    assert cache.size_bytes() == 200
    assert [read(name) for name in "acb"] == [True, True, False]
    assert cache.size_bytes() == 200


def test_cache_leaves_folders_alone_when_it_is_full(memory: Place, tmp_path: Path) -> None:
    """Datasets that were fetched by name lie in the same folder."""
    for name in ("a", "b"):
        (memory / name).write_text("x" * 60)
    (tmp_path / "copies" / "datasets").mkdir(parents=True)
    (tmp_path / "copies" / "datasets" / "mine").write_text("y" * 200)
    cache = ObjectCache(folder=tmp_path / "copies", limit_bytes=100)

    for name in ("a", "b"):
        with cache.copy_of(stored(memory, name)) as copy:
            assert copy.read_text() == "x" * 60

    assert cache.size_bytes() == 60
    assert (tmp_path / "copies" / "datasets" / "mine").is_file()


def test_cache_keeps_a_copy_when_it_is_in_use(memory: Place, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=100)
    for name in "ab":
        (memory / name).write_text(name * 100)

    with cache.copy_of(stored(memory, "a")) as first:
        with cache.copy_of(stored(memory, "b")) as second:
            assert first.is_file()
            assert second.is_file()
        cache.forget(stored(memory, "a"))
        assert first.read_text(encoding="utf-8") == "a" * 100
    with cache.copy_of(stored(memory, "b")):
        assert cache.size_bytes() == 100


def test_cache_fetches_anew_when_the_object_has_changed(memory: Place, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=1000)
    for text in ("one", "two"):  # of one size
        (memory / "note").write_text(text)
        with cache.copy_of(stored(memory, "note")) as copy:
            assert copy.read_text(encoding="utf-8") == text


def test_cache_refuses_when_an_object_is_larger_than_it(memory: Place, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=3)
    (memory / "note").write_text("four")

    with (
        pytest.raises(ConfigError, match=r"note has 4 bytes, and the cache in .*small may hold 3"),
        cache.copy_of(stored(memory, "note")),
    ):
        pass


def test_cache_follows_the_environment_when_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RAYMARK_CACHE", raising=False)
    default = ObjectCache.of_environment()
    monkeypatch.setenv("RAYMARK_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("RAYMARK_CACHE_BYTES", "12")

    assert default.folder == tmp_path / "raymark" / "objects"
    assert default.limit_bytes == DEFAULT_LIMIT_BYTES
    assert ObjectCache.of_environment() == ObjectCache(folder=tmp_path / "mine", limit_bytes=12)
    monkeypatch.setenv("RAYMARK_CACHE_BYTES", "4 GB")
    with pytest.raises(ConfigError, match="RAYMARK_CACHE_BYTES must be a number of bytes, got '4"):
        ObjectCache.of_environment()


def test_leftovers_of_dead_processes_go_when_the_file_is_written(tmp_path: Path) -> None:
    dead = leftover(tmp_path / "note", dead_pid())
    alive = leftover(tmp_path / "note", os.getpid())
    foreign = leftover(tmp_path / "note", 1, host="elsewhere")
    old = leftover(tmp_path / "note", 2, host="elsewhere")
    os.utime(old, (0, 0))

    write_text(tmp_path / "note", "text")

    assert [path.exists() for path in (dead, alive, foreign, old)] == [False, True, True, False]


def test_remove_partials_spares_living_writers_when_a_dataset_is_finished(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    dead = leftover(tmp_path / "deep" / "part.h5", dead_pid())
    alive = leftover(tmp_path / "deep" / "part.h5", os.getpid())
    foreign = leftover(tmp_path / "deep" / "part.h5", 1, host="elsewhere")
    (tmp_path / "mine.partial").write_bytes(b"of somebody else")

    remove_partials(tmp_path)

    assert [path.exists() for path in (dead, alive, foreign)] == [False, True, False]
    assert (tmp_path / "mine.partial").exists()


WRITER = """
import sys
import numpy as np
from pathlib import Path
from raymark.dataset.shard import write_shard

arrays = dict(np.load(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    write_shard(Path(sys.argv[2]), "paths", arrays, {"scene": sys.argv[3]})
"""
"""Writes one shard many times; its name for the scene tells the files of the writers apart."""


def start_together(writers: list[subprocess.Popen[str]]) -> None:
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()


@pytest.mark.slow
def test_shard_stays_whole_when_two_processes_write_it_at_once(
    tmp_path: Path, valid_arrays: MakeArrays
) -> None:
    arrays, path = valid_arrays(), tmp_path / "data" / "part-0000.h5"
    np.savez(tmp_path / "arrays.npz", **arrays)
    expected = {
        write_shard(tmp_path / f"{scene}.h5", "paths", arrays, {"scene": scene})
        for scene in ("left", "right")
    }
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "arrays.npz"), str(path), scene],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for scene in ("left", "right")
    ]
    seen = set()
    try:
        start_together(writers)
        while any(writer.poll() is None for writer in writers):
            if path.exists():
                np.testing.assert_array_equal(
                    read_shard(path, "paths")["path/delay_s"], arrays["path/delay_s"]
                )
                seen.add(file_sha256(path))
    finally:
        for writer in writers:
            writer.kill()  # nothing to an ended one
    errors = [writer.communicate(timeout=60)[1] for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0], errors
    assert len(expected) == 2
    assert seen == expected  # both were read, and nothing else
    assert [file.name for file in path.parent.iterdir()] == ["part-0000.h5"]
