import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raymark.dataset import shard as shard_module
from raymark.dataset.schema import fields_of
from raymark.dataset.shard import open_shard, read_shard, write_shard
from raymark.errors import DatasetError, SchemaError
from raymark.storage import file_sha256, write_text
from raymark.storage.atomic import partial_of

MakeArrays = Callable[[], dict[str, np.ndarray]]
NOTE = {"scene": "somewhere", "carrier_hz": [2.6e9, 28e9]}


@pytest.fixture
def written(tmp_path: Path, valid_arrays: MakeArrays) -> Path:
    path = tmp_path / "paths" / "part-0000.h5"
    write_shard(path, "paths", valid_arrays(), NOTE)
    return path


def test_read_shard_returns_the_arrays_when_written(
    written: Path, valid_arrays: MakeArrays
) -> None:
    found = read_shard(written, "paths")

    for name, array in valid_arrays().items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_read_shard_returns_the_arrays_when_there_are_no_paths(
    tmp_path: Path, valid_arrays: MakeArrays
) -> None:
    arrays = valid_arrays()
    for name in list(arrays):
        if name.startswith("path/"):
            axis = 1 if name == "path/amplitude" else 0
            arrays[name] = np.delete(arrays[name], slice(None), axis=axis)
    arrays["link/path_offset"][:] = 0
    write_shard(tmp_path / "empty.h5", "paths", arrays, NOTE)

    found = read_shard(tmp_path / "empty.h5", "paths")

    assert found["path/interaction"].shape == (0, 2)
    assert found["path/amplitude"].shape == (2, 0)


def test_write_shard_gives_the_same_bytes_when_repeated(
    tmp_path: Path, written: Path, valid_arrays: MakeArrays
) -> None:
    digest = write_shard(tmp_path / "again.h5", "paths", valid_arrays(), NOTE)

    assert digest == file_sha256(written) == file_sha256(tmp_path / "again.h5")


def test_write_shard_gives_the_same_bytes_when_others_hold_its_arrays(
    written: Path, tmp_path: Path, valid_arrays: MakeArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profiler that looks at a frame keeps what stands in it for a while."""
    held: list[h5py.Dataset] = []
    create = h5py.Group.create_dataset

    def create_and_hold(*args: Any, **options: Any) -> h5py.Dataset:
        held.append(create(*args, **options))
        return held[-1]

    monkeypatch.setattr(h5py.Group, "create_dataset", create_and_hold)
    write_shard(tmp_path / "again.h5", "paths", valid_arrays(), NOTE)

    assert held
    assert (tmp_path / "again.h5").read_bytes() == written.read_bytes()


def test_write_shard_describes_every_array_when_opened_with_plain_hdf5(written: Path) -> None:
    with h5py.File(written) as file:
        assert file.attrs["schema_version"] == 1
        assert file.attrs["scene"] == "somewhere"
        for field in fields_of("paths"):
            stored = file[field.name]
            assert stored.attrs["unit"] == field.unit
            assert tuple(stored.attrs["axes"]) == field.axes
            assert stored.attrs["description"]
            assert stored.compression == "gzip"
            assert stored.fletcher32
            assert stored.shuffle
        # Compound (r, i): every HDF5 reader has it; the native complex type is new in 2.0.
        assert file["path/amplitude"].id.get_type().get_class() == h5py.h5t.COMPOUND


def test_write_shard_leaves_no_partial_file_when_done(written: Path) -> None:
    assert [path.name for path in written.parent.iterdir()] == ["part-0000.h5"]


def test_write_shard_leaves_a_users_file_when_it_is_named_like_a_temporary_one(
    written: Path, valid_arrays: MakeArrays
) -> None:
    theirs = written.with_name(written.name + ".partial")
    theirs.write_bytes(b"a user's own")

    digest = write_shard(written, "paths", valid_arrays(), NOTE)

    assert digest == file_sha256(written)
    assert theirs.read_bytes() == b"a user's own"


def test_read_shard_ignores_a_leftover_when_a_crash_left_a_partial_file(written: Path) -> None:
    written.with_name(written.name + ".partial").write_bytes(b"half a shard")

    assert len(read_shard(written, "paths")["link/los"]) == 3


def test_write_shard_refuses_when_arrays_break_the_schema(
    tmp_path: Path, valid_arrays: MakeArrays
) -> None:
    arrays = valid_arrays()
    arrays["path/delay_s"][1] = np.nan

    with pytest.raises(SchemaError, match=r"x\.h5: path/delay_s holds values that are not finite"):
        write_shard(tmp_path / "x.h5", "paths", arrays, NOTE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_read_shard_refuses_when_file_is_truncated(written: Path, share: float) -> None:
    os.truncate(written, int(share * written.stat().st_size))

    with pytest.raises(SchemaError, match=r"part-0000\.h5: the file is damaged"):
        read_shard(written, "paths")


def test_read_shard_refuses_when_a_byte_of_the_data_is_flipped(
    tmp_path: Path, valid_arrays: MakeArrays
) -> None:
    path = tmp_path / "x.h5"
    write_shard(path, "paths", valid_arrays(), NOTE)
    with h5py.File(path) as file:
        chunk = file["path/delay_s"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0x10
    path.write_bytes(content)

    with pytest.raises(SchemaError, match=r"x\.h5: the file is damaged"):
        read_shard(path, "paths")


def test_read_shard_refuses_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"nowhere\.h5: the file is missing"):
        read_shard(tmp_path / "nowhere.h5", "paths")


def test_read_shard_refuses_when_kind_is_another(written: Path) -> None:
    message = r"part-0000\.h5: expected a 'detail' file of schema 1, got \('paths', .*1"
    with pytest.raises(SchemaError, match=message):
        read_shard(written, "detail")


@pytest.mark.parametrize("version", [0, 2])
def test_read_shard_refuses_when_schema_version_is_another(written: Path, version: int) -> None:
    with h5py.File(written, "r+") as file:
        file.attrs["schema_version"] = version

    with pytest.raises(SchemaError, match=rf"expected a 'paths' file of schema 1, got .*{version}"):
        read_shard(written, "paths")


def test_read_shard_refuses_when_an_array_was_deleted(written: Path) -> None:
    with h5py.File(written, "r+") as file:
        del file["path/delay_s"]

    with pytest.raises(SchemaError, match=r"missing arrays \['path/delay_s'\]"):
        read_shard(written, "paths")


def test_open_shard_passes_errors_on_when_they_are_not_the_files(written: Path) -> None:
    with pytest.raises(KeyError, match="colour"), open_shard(written, "paths") as file:
        file["colour"]


def test_write_shard_refuses_when_data_do_not_come_back_as_written(
    tmp_path: Path, valid_arrays: MakeArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that lies: what is read back differs in one bit."""
    real = shard_module.read_shard

    def corrupt(*args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        arrays = real(*args, **kwargs)
        arrays["link/los"][0] ^= 1
        return arrays

    monkeypatch.setattr(shard_module, "read_shard", corrupt)
    with pytest.raises(SchemaError, match="link/los did not come back from disk as it was written"):
        write_shard(tmp_path / "x.h5", "paths", valid_arrays(), NOTE)
    assert not (tmp_path / "x.h5").exists()


def test_write_shard_refuses_when_the_path_goes_through_a_file(
    tmp_path: Path, valid_arrays: MakeArrays
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(DatasetError, match=r"cannot write .*x\.h5: a part of the path is a file"):
        write_shard(tmp_path / "file" / "x.h5", "paths", valid_arrays(), NOTE)


needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def lead_to_dev_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the next temporary file of `path`, whose name is random, a device that is full."""
    monkeypatch.setattr(secrets, "token_hex", lambda _num_bytes: "01234567")
    partial_of(path).symlink_to("/dev/full")


@needs_dev_full
def test_write_shard_keeps_the_old_file_when_the_disk_is_full(
    written: Path, valid_arrays: MakeArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5's own writes fail with ENOSPC: the partial file leads to /dev/full."""
    before = file_sha256(written)
    lead_to_dev_full(written, monkeypatch)

    with pytest.raises(DatasetError, match=r"cannot write .*part-0000\.h5: the disk is full"):
        write_shard(written, "paths", valid_arrays(), {**NOTE, "scene": "elsewhere"})
    assert file_sha256(written) == before


@needs_dev_full
def test_write_text_keeps_the_old_file_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "note", "old")
    lead_to_dev_full(tmp_path / "note", monkeypatch)

    with pytest.raises(DatasetError, match=r"cannot write .*note: the disk is full"):
        write_text(tmp_path / "note", "new")
    assert (tmp_path / "note").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full; free some space and run the same command again"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only; choose another folder"),
        (errno.EACCES, "permission denied; choose a folder that you may write to"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_write_shard_says_why_when_the_system_refuses(
    tmp_path: Path,
    valid_arrays: MakeArrays,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    message: str,
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DatasetError, match=rf"cannot write .*x\.h5: .*{message}"):
        write_shard(tmp_path / "x.h5", "paths", valid_arrays(), NOTE)
    assert not (tmp_path / "x.h5").exists()


def test_write_shard_leaves_nothing_under_the_name_when_interrupted(
    tmp_path: Path, valid_arrays: MakeArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "x.h5", "paths", valid_arrays(), NOTE)
    assert not (tmp_path / "x.h5").exists()


def test_write_text_replaces_the_whole_file_when_new_text_is_shorter(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "note", "a long text")

    write_text(tmp_path / "deep" / "note", "short")

    assert (tmp_path / "deep" / "note").read_text(encoding="utf-8") == "short"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["note"]
