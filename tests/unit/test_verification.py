import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.journal import dataset_status
from raymark.dataset.manifest import MANIFEST_NAME, data_files, read_manifest, write_manifest
from raymark.dataset.verification import unknown_files, verify_dataset
from raymark.errors import ConfigError, DatasetError, SchemaError
from raymark.storage import file_sha256

PATHS = "paths/street_canyon/bs0/part-0001.h5"
DETAIL = "detail/street_canyon/bs0/part-0003.h5"
BUILDINGS = "buildings/street_canyon.h5"


@pytest.fixture
def copy(small_dataset: Dataset, tmp_path: Path) -> Path:
    """A copy of the dataset that may be spoilt."""
    return Path(shutil.copytree(small_dataset.folder, tmp_path / "copy"))


def flip_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def admit(folder: Path, name: str) -> None:
    """Write the present hash of a `paths` file into the manifest, as a forger would."""
    manifest = read_manifest(folder)
    sha256 = file_sha256(folder / name)
    shards = tuple(
        r.model_copy(update={"paths_sha256": sha256}) if r.file("paths") == name else r
        for r in manifest.shards
    )
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))


def edit_manifest(folder: Path, edit: Callable[[dict], None]) -> None:
    data = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    edit(data)
    (folder / MANIFEST_NAME).write_text(json.dumps(data), encoding="utf-8")


def test_verify_finds_no_fault_when_dataset_is_whole(small_dataset: Dataset) -> None:
    files: list[str] = []

    faults = verify_dataset(small_dataset.folder, progress=files.append)

    assert faults == []
    assert files == [*data_files(small_dataset.manifest), "CARD.md", "ATTRIBUTION"]
    assert len(files) == 2 * 5 + 2 + 2
    assert {PATHS, DETAIL, BUILDINGS, "index.parquet"} <= set(files)
    assert unknown_files(small_dataset.folder) == []


@pytest.mark.parametrize("name", [PATHS, DETAIL, BUILDINGS, "index.parquet"])
@pytest.mark.parametrize("place", [0, 1500, -1])
def test_verify_names_the_file_when_one_byte_is_flipped(copy: Path, name: str, place: int) -> None:
    flip_byte(copy / name, place)

    faults = verify_dataset(copy)

    assert len(faults) == 1
    assert f"{copy / name}: the file differs from the manifest (SHA-256)" in faults[0]


@pytest.mark.parametrize("name", [PATHS, DETAIL, BUILDINGS, "index.parquet"])
def test_verify_names_the_file_when_it_is_missing(copy: Path, name: str) -> None:
    (copy / name).unlink()

    assert verify_dataset(copy) == [f"{copy / name}: the file is missing"]


def test_verify_names_every_file_when_several_are_damaged(copy: Path) -> None:
    for name in (PATHS, DETAIL, "index.parquet"):
        flip_byte(copy / name, 700)

    faults = verify_dataset(copy)

    assert [name in fault for name, fault in zip((PATHS, DETAIL, "index"), faults, strict=True)]
    assert len(faults) == 3


def test_verify_finds_the_physics_when_a_forger_shortens_a_delay(copy: Path) -> None:
    with h5py.File(copy / PATHS, "r+") as file:
        file["path/delay_s"][3] *= 0.5
    admit(copy, PATHS)

    (fault,) = verify_dataset(copy)
    assert PATHS in fault
    assert "shorter than the straight line" in fault


def test_verify_finds_the_buildings_when_a_forger_cuts_a_ring_short(copy: Path) -> None:
    with h5py.File(copy / BUILDINGS, "r+") as file:
        file["ring/point_offset"][-1] -= 1
    found = {"street_canyon": file_sha256(copy / BUILDINGS)}
    write_manifest(copy, read_manifest(copy).model_copy(update={"buildings": found}))

    assert verify_dataset(copy) == [
        f"{copy / BUILDINGS}: ring/point_offset does not divide the rows of point/*"
    ]


def test_verify_finds_the_label_when_a_forger_turns_it(copy: Path) -> None:
    with h5py.File(copy / PATHS, "r+") as file:
        file["link/los"][0] = -1
    admit(copy, PATHS)

    (fault,) = verify_dataset(copy)
    assert PATHS in fault
    assert "is labelled -1, but its paths say" in fault


def test_verify_finds_the_array_when_a_forger_strengthens_a_path(copy: Path) -> None:
    """Coherent, and the file's hash is right: the hash of the array tells."""
    with h5py.File(copy / PATHS, "r+") as file:
        file["path/amplitude"][:, 0] *= 1.01
    admit(copy, PATHS)

    assert verify_dataset(copy) == [
        f"{copy / 'index.parquet'}: column gain_db_{band} differs from the shards"
        for band in ("2.6GHz", "6GHz", "28GHz")
    ] + [f"{copy}: array paths/path/amplitude of street_canyon/bs0 differs from the manifest"]


def test_verify_finds_the_numbers_when_shards_are_swapped(copy: Path) -> None:
    first, second = (copy / f"paths/street_canyon/bs0/part-000{i}.h5" for i in (0, 1))
    spare = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(spare)
    for path in (first, second):
        admit(copy, path.relative_to(copy).as_posix())

    faults = verify_dataset(copy)

    assert faults
    assert all("part-000" in fault or "array paths/" in fault for fault in faults)


@pytest.mark.parametrize("value", ["0" * 64, None])
def test_verify_finds_the_content_hash_when_it_is_edited(copy: Path, value: str | None) -> None:
    manifest = read_manifest(copy)
    write_manifest(copy, manifest.model_copy(update={"content_hash": value}))

    assert verify_dataset(copy) == [
        f"{copy}: the content hash in the manifest is not that of its arrays"
    ]


def test_verify_finds_the_shard_when_the_manifest_forgets_one(copy: Path) -> None:
    manifest = read_manifest(copy)
    write_manifest(copy, manifest.model_copy(update={"shards": manifest.shards[:-1]}))

    with pytest.raises(ConfigError, match=r"shards of street_canyon/bs0 hold 40 UEs, .* has 50"):
        verify_dataset(copy)


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data["sites"][0].update(orientation_rad=[1.0, 0.0, 0.0]),
        lambda data: data["sites"][0].update(position_m=[1.0, 2.0, 3.0]),
        lambda data: data["campaign"]["front_end"]["ue"].update(tx_power_dbm=10.0),
        lambda data: data["campaign"]["bands"][1].update(bandwidth_hz=20e6),
        lambda data: data["campaign"].update(seed=99),
    ],
    ids=["orientation", "position", "power", "bandwidth", "seed"],
)
def test_manifest_is_refused_when_what_decides_fingerprints_is_edited(
    copy: Path, edit: Callable[[dict], None]
) -> None:
    edit_manifest(copy, edit)

    for read in (verify_dataset, open_dataset, dataset_status):
        with pytest.raises(SchemaError, match=r"dataset\.json: the file was edited .* seal"):
            read(copy)


def test_verify_raises_when_the_dataset_is_not_finished(copy: Path) -> None:
    write_manifest(copy, read_manifest(copy).model_copy(update={"state": "incomplete"}))

    with pytest.raises(DatasetError, match="is not finished; run `raymark generate` again"):
        verify_dataset(copy)


def test_verify_raises_when_the_folder_holds_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no dataset"):
        verify_dataset(tmp_path)
