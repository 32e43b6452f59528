"""HDF5 files of strangers, and full disks."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raymark.dataset import Dataset
from raymark.dataset.hdf5 import array_names, new_hdf5, open_hdf5, read_array, read_names
from raymark.dataset.materialization import materialize
from raymark.dataset.subset import Cut, cut_dataset
from raymark.errors import DatasetError, SchemaError


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("a/x", layout)


def external(file: h5py.File) -> None:
    file.create_dataset("a/x", (4,), "i4", external=[("/etc/passwd", 0, 16)])


def circle(file: h5py.File) -> None:
    file["a/x"] = np.arange(3)
    file["a/soft"] = h5py.SoftLink("/a/soft")


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda f: f.update({"a/x": h5py.ExternalLink("other.h5", "x")}), "a/x is a link"),
        (lambda f: f.update({"y": np.arange(2), "a/x": h5py.SoftLink("/y")}), "a/x is a link"),
        (circle, "a/soft is a link"),
        (external, "a/x is a link or lies in another file"),
        (virtual, "a/x is a link or lies in another file"),
        (lambda f: f.create_group("a/x"), "a/x is no array of numbers"),
        (lambda f: f.create_dataset("a/x", data=["text"]), "a/x is no array of numbers"),
        (lambda f: f.create_dataset("a/x", data=h5py.Empty("f4")), "is damaged"),
        (lambda f: f.create_dataset("a/x", (10**9, 1000), "f8", chunks=(9, 9)), "claims the"),
        (
            lambda f: f.create_dataset("a/x", (2**62, 2**60), "f8", chunks=(9, 9)),
            "claims the shape",
        ),
        (lambda f: f.create_dataset("a/x", (10**13,), "f8"), "claims the shape"),
        (lambda f: f.create_group("a"), "is damaged"),
    ],
)
def test_array_is_refused_when_it_is_none_of_the_files_own(
    tmp_path: Path, fill: Callable[[h5py.File], Any], message: str
) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(3)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        fill(file)

    with (
        pytest.raises(SchemaError, match=message),
        open_hdf5(tmp_path / "x.h5") as file,
    ):
        read_array(file, "a/x", tmp_path / "x.h5")


def test_file_is_read_when_its_groups_form_a_circle(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/x"] = np.arange(3)
        file["a/up"] = file["/"]
        file.attrs["names"] = ["b", "c"]

    with open_hdf5(tmp_path / "x.h5") as file:
        assert array_names(file) == {"a/x"}
        np.testing.assert_array_equal(read_array(file, "a/x", "x.h5"), np.arange(3))
        assert read_names(file, "names", "x.h5") == ("b", "c")
        with pytest.raises(SchemaError, match="attribute 'colours' is missing"):
            read_names(file, "colours", "x.h5")


def test_array_comes_back_when_it_is_of_zeros_only(tmp_path: Path) -> None:
    """It packs by a factor of nearly a thousand, which is no fraud."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=np.zeros(10**6), compression="gzip", chunks=(10**5,))

    with open_hdf5(tmp_path / "x.h5") as file:
        assert not read_array(file, "x", "x.h5").any()


def test_new_hdf5_holds_what_h5py_reads_when_there_is_room(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(1000)
    with new_hdf5(tmp_path / "x.h5") as (file, disk):
        file["a/x"] = values
        disk.require_written()

    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["a/x"][()], values)


_FILL_THE_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from raymark.dataset.hdf5 import new_hdf5
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with new_hdf5(Path(sys.argv[1])) as (file, _):
        for i in range(20):
            file.create_dataset(f"a/{i}", data=np.random.random(10_000), chunks=(1000,),
                                compression="gzip", fletcher32=True)
except OSError as error:
    print(error.strerror)
"""


def test_process_ends_well_when_the_disk_was_full(tmp_path: Path) -> None:
    """HDF5 tries again to write what it still has, while the process ends, and crashes there."""
    done = subprocess.run(
        [sys.executable, "-c", _FILL_THE_DISK, str(tmp_path / "x.h5")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "File too large\n", "")


@pytest.mark.parametrize("limit", [0, 20_000])
def test_fingerprints_and_subset_say_so_when_the_disk_is_full(
    small_dataset: Dataset, tmp_path: Path, limit: int
) -> None:
    target = tmp_path / "out.h5"
    with (
        pytest.raises(DatasetError, match=r"cannot write .*: the file is larger than may be"),
        largest_file(limit),
    ):
        materialize(small_dataset, target, scene="street_canyon", band="6GHz")
    with (
        pytest.raises(DatasetError, match=r"cannot write .*: the file is larger than may be"),
        largest_file(min(limit, 20_000)),
    ):
        cut_dataset(small_dataset, tmp_path / "cut", Cut(num_ues=45))

    assert list(tmp_path.iterdir()) == []
