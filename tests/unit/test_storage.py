"""Where datasets lie: unique temporary names, paths behind URLs, the cache of their copies."""

import errno
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
from raymark.storage import (
    as_folder,
    file_sha256,
    is_remote,
    local_copy,
    require_local,
    write_text,
    writing,
)
from raymark.storage.atomic import partial_of, remove_partials
from raymark.storage.cache import DEFAULT_LIMIT_BYTES, ObjectCache
from raymark.storage.objects import ObjectPath

MakeArrays = Callable[[], dict[str, np.ndarray]]


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in fsspec's store in memory, and a cache of this test's own."""
    monkeypatch.setenv("RAYMARK_CACHE", str(tmp_path / "cache"))
    yield as_folder("memory://tests/data")
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/name", "s3://bucket/name"),
        ("s3://bucket/deep/name/", "s3://bucket/deep/name"),
        ("s3://bucket", "s3://bucket"),
        ("memory://name", "memory://name"),
        ("file:///data/name", "/data/name"),
        ("data/name", "data/name"),
        ("/data/name", "/data/name"),
    ],
)
def test_as_folder_keeps_the_text_when_it_is_a_url_or_a_path(text: str, expected: str) -> None:
    folder = as_folder(text)

    assert str(folder) == expected
    assert is_remote(folder) == ("s3:" in text or "memory:" in text)
    assert as_folder(folder) is folder


def test_object_path_joins_like_a_path_when_names_are_added() -> None:
    path = as_folder("s3://bucket/data") / "paths/a" / "part.h5"

    assert str(path) == "s3://bucket/data/paths/a/part.h5"
    assert str(path.with_name("x")) == "s3://bucket/data/paths/a/x"
    assert str(path.parent.parent) == "s3://bucket/data/paths"
    assert (path.name, path.suffix) == ("part.h5", ".h5")
    assert path == as_folder("s3://bucket/data/paths/a/part.h5")
    assert len({path, as_folder(str(path))}) == 1
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301 - our own bytes
    assert isinstance(pickle.loads(pickle.dumps(path)), ObjectPath)  # noqa: S301 - the same


def test_object_path_refuses_when_taken_for_a_local_file() -> None:
    with pytest.raises(TypeError, match=r"s3://bucket/x is no file of this machine"):
        as_folder("s3://bucket/x").open()
    with pytest.raises(TypeError, match=r"s3://bucket/x is in object storage, where names are not"):
        list(as_folder("s3://bucket/x").rglob("*.h5"))


def test_object_is_written_and_read_when_the_store_is_in_memory(memory: Path) -> None:
    write_text(memory / "a" / "note", "text")

    assert (memory / "a" / "note").read_text(encoding="utf-8") == "text"
    assert (memory / "a" / "note").stat().st_size == 4
    assert (memory / "a").is_dir()
    assert not (memory / "a").is_file()
    assert list(memory.iterdir()) == [memory / "a"]
    assert list((memory / "none").iterdir()) == []
    (memory / "a" / "note").unlink()
    (memory / "a" / "note").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="note"):
        (memory / "a" / "note").unlink()


def test_shard_is_the_local_one_when_written_to_a_store(
    memory: Path, tmp_path: Path, valid_arrays: MakeArrays
) -> None:
    local = write_shard(tmp_path / "x.h5", "paths", valid_arrays(), {"scene": "a"})

    remote = write_shard(memory / "x.h5", "paths", valid_arrays(), {"scene": "a"})

    assert remote == local == file_sha256(memory / "x.h5")
    assert (memory / "x.h5").read_bytes() == (tmp_path / "x.h5").read_bytes()
    assert set(read_shard(memory / "x.h5", "paths")) == set(valid_arrays())


def test_store_keeps_the_old_object_when_the_writer_fails(memory: Path, tmp_path: Path) -> None:
    write_text(memory / "note", "old")

    def fail() -> None:
        with writing(memory / "note") as partial:
            partial.write_text("new", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (memory / "note").read_text(encoding="utf-8") == "old"
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_journal_keeps_the_last_note_of_each_shard_when_remote(memory: Path) -> None:
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

    for note in (record, other, later):
        append_journal(memory, note)

    assert sorted(read_journal(memory), key=lambda r: r.part) == [later, other]
    remove_journal(memory)
    assert read_journal(memory) == []


def test_url_is_refused_when_it_became_a_local_path() -> None:
    with pytest.raises(DatasetError, match=r"s3://bucket/note is no local folder, and this is"):
        write_text(Path("s3://bucket/note"), "text")


def test_require_local_refuses_when_the_path_is_a_url() -> None:
    require_local(Path("data"), "this")

    with pytest.raises(DatasetError, match=r"this needs a local folder, got s3://b/x; copy it"):
        require_local(as_folder("s3://b/x"), "this")


def test_store_is_refused_when_fsspec_does_not_know_it() -> None:
    with pytest.raises(ConfigError, match=r"foo://b/x: 'foo://' is no storage that fsspec knows"):
        as_folder("foo://b/x").exists()


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
    memory: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    """What a test cannot make a server do: the store in memory raises what others would."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", refuse)
    with pytest.raises(DatasetError, match=rf"memory://tests/data/note: .*{reason}"):
        (memory / "note").read_text()


def test_cache_drops_the_longest_unused_when_it_is_full(memory: Path, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=250)
    for name in "abc":
        write_text(memory / name, name * 100)

    def read(name: str) -> bool:
        """Read a file and return whether its copy was there."""
        before = set(cache.folder.glob("*"))
        with local_copy(memory / name, cache) as copy:
            assert copy.read_text(encoding="utf-8") == name * 100
            return copy in before

    assert [read(name) for name in "aba"] == [False, False, True]
    assert read("c") is False  # drops b, which was not used for the longest time
    assert cache.size_bytes() == 200
    assert [read(name) for name in "acb"] == [True, True, False]
    assert cache.size_bytes() == 200


def test_cache_keeps_a_copy_when_it_is_in_use(memory: Path, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=100)
    for name in "ab":
        write_text(memory / name, name * 100)

    with local_copy(memory / "a", cache) as first:
        with local_copy(memory / "b", cache) as second:
            assert first.is_file()
            assert second.is_file()
        cache.forget(memory / "a")
        assert first.read_text(encoding="utf-8") == "a" * 100
    with local_copy(memory / "b", cache):
        assert cache.size_bytes() == 100


def test_cache_fetches_anew_when_the_object_has_changed(memory: Path, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=1000)
    for text in ("one", "two"):  # of one size
        write_text(memory / "note", text)
        with local_copy(memory / "note", cache) as copy:
            assert copy.read_text(encoding="utf-8") == text


def test_cache_refuses_when_an_object_is_larger_than_it(memory: Path, tmp_path: Path) -> None:
    cache = ObjectCache(folder=tmp_path / "small", limit_bytes=3)
    write_text(memory / "note", "four")

    with (
        pytest.raises(ConfigError, match=r"note has 4 bytes, and the cache in .*small may hold 3"),
        local_copy(memory / "note", cache),
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
