import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest

from raymark.benchmark.release_part import benchmark_faults
from raymark.benchmark.store import write_table
from raymark.config import sealed_json
from raymark.errors import ConfigError, DatasetError, SchemaError
from raymark.release import read_release, unproven_parts, verify_release
from raymark.release.hashing import hash_files
from raymark.release.record import sums_text
from raymark.storage import file_sha256

KINDS = (
    "README.md",
    "croissant.json",
    "CITATION.cff",
    ".zenodo.json",
    "DATASHEET.md",
    "LICENSES.md",
    "ATTRIBUTION",
    "dataset.json",
    "index.parquet",
    "paths/yard/west/part-0001.h5",
    "detail/yard/west/part-0001.h5",
    "fingerprints/yard_6GHz.h5",
    "splits/suite.json",
    "splits/interpolation__yard.parquet",
    "audit/audit.csv",
    "audit/variogram.png",
    "run/run.json",
    "run/models/wknn.json",
    "board/board.csv",
    "board/index.html",
    "SHA256SUMS",
)
"""One file of every kind."""


@pytest.fixture
def release(benchmark_release: Path, tmp_path: Path) -> Path:
    """A release that a test may damage."""
    return Path(shutil.copytree(benchmark_release, tmp_path / "release"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def seal_again(folder: Path) -> None:
    """Hash every file as it is now, as a forger would."""
    release = read_release(folder)
    changed = release.model_copy(update={"files": hash_files(folder, list(release.files))})
    (folder / "release.json").write_text(sealed_json(changed), encoding="utf-8")
    sums = sums_text(changed, file_sha256(folder / "release.json"))
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")


@pytest.mark.parametrize("level", ["names", "hashes", "full"])
def test_verify_release_finds_nothing_when_all_is_well(benchmark_release: Path, level: str) -> None:
    assert verify_release(benchmark_release, level, benchmark=benchmark_faults) == []


@pytest.mark.parametrize("name", KINDS)
def test_verify_release_names_the_file_when_one_byte_differs(release: Path, name: str) -> None:
    flip_a_byte(release / name)

    faults = verify_release(release)

    assert len(faults) == 1
    assert faults[0].startswith(f"{release / name}: ")
    assert "differs" in faults[0]


@pytest.mark.parametrize("name", KINDS)
def test_verify_release_names_the_file_when_it_is_missing(release: Path, name: str) -> None:
    (release / name).unlink()
    assert verify_release(release, "names") == [f"{release / name}: the file is missing"]


def test_verify_release_names_the_record_when_it_was_edited(release: Path) -> None:
    path = release / "release.json"
    path.write_text(path.read_text(encoding="utf-8").replace("Doe, Jane", "Doe, John"), "utf-8")
    with pytest.raises(SchemaError, match=r"release\.json: the file was edited .* seal"):
        verify_release(release)


def test_verify_release_refuses_when_the_record_is_cut_off(release: Path) -> None:
    path = release / "release.json"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(ConfigError, match=r"release\.json is no valid JSON"):
        verify_release(release)


def test_verify_release_refuses_when_the_folder_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no release"):
        verify_release(tmp_path)


def test_verify_release_names_both_when_two_shards_are_swapped(release: Path) -> None:
    first, second = (release / f"paths/yard/west/part-000{i}.h5" for i in (0, 1))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    faults = verify_release(release)
    assert {fault.split(": ")[0] for fault in faults} == {str(first), str(second)}


def test_verify_release_names_the_file_when_it_is_cut_off(release: Path) -> None:
    path = release / "index.parquet"
    path.write_bytes(path.read_bytes()[:-7])
    faults = verify_release(release, "names")
    assert len(faults) == 1
    assert faults[0].startswith(f"{path}: the file has ")


def test_verify_release_names_a_file_when_it_does_not_belong(release: Path) -> None:
    (release / "paths" / "notes.txt").write_text("mine", encoding="utf-8")
    expected = f"{release / 'paths/notes.txt'}: the file does not belong to the release"
    assert verify_release(release, "names") == [expected]


@pytest.mark.slow
def test_verify_release_finds_an_edited_split_when_the_hashes_were_made_again(
    release: Path,
) -> None:
    path = release / "splits" / "interpolation__yard.parquet"
    split = pd.read_parquet(path)
    split.loc[split["part"] == "test", "part"] = "train"
    write_table(path, split)
    seal_again(release)

    assert verify_release(release) == []
    faults = verify_release(release, "full", benchmark=benchmark_faults)

    assert f"{path}: the split differs from the one that its suite makes" in faults
    # The description has the hash of the file that was published.
    assert any("croissant.json: the records 'split_interpolation__yard'" in f for f in faults)


def test_verify_release_finds_edited_numbers_when_the_hashes_were_made_again(
    release: Path,
) -> None:
    for name, column in {
        "board/board.csv": "median_m",
        "board/summary.csv": "p90_m_high",
        "audit/audit.csv": "distance_q50_m",
    }.items():
        table = pd.read_csv(release / name)
        table[column] *= 0.99
        (release / name).write_text(table.to_csv(index=False), encoding="utf-8")
    card = release / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("| yard |", "| garden |"), "utf-8")
    seal_again(release)

    assert verify_release(release, "full", benchmark=benchmark_faults) == [
        f"{release}/audit/audit.csv: column distance_q50_m differs from the audit of the splits "
        "made anew",
        f"{release}/board/board.csv: column median_m differs from the scores of the stored "
        "predictions",
        f"{release}/board/summary.csv: column p90_m_high differs from the scores of the stored "
        "predictions",
        f"{release}/README.md: its text is not what raymark writes of this data",
    ]


def test_what_a_full_check_believes_is_told_when_another_version_wrote_the_release(
    benchmark_release: Path,
) -> None:
    release = read_release(benchmark_release)
    other = release.model_copy(update={"code_version": "0.0.7"})

    assert not any("0.0.7" in said for said in unproven_parts(benchmark_release, release))
    assert any("raymark 0.0.7 wrote" in said for said in unproven_parts(benchmark_release, other))


@pytest.mark.slow
def test_verify_release_finds_edited_csi_when_the_hashes_were_made_again(release: Path) -> None:
    path = release / "fingerprints" / "yard_6GHz.h5"
    with h5py.File(path, "r+") as file:
        file["csi"][3] = file["csi"][4]
    seal_again(release)

    faults = verify_release(release, "full", benchmark=benchmark_faults)

    assert f"{path}: csi differs from what the paths give" in faults


def test_verify_release_finds_an_edited_path_when_the_hashes_were_made_again(
    release: Path,
) -> None:
    path = release / "paths" / "yard" / "west" / "part-0000.h5"
    with h5py.File(path, "r+") as file:
        file["path/delay_s"][0] = 0.0
    seal_again(release)

    faults = verify_release(release, "full", benchmark=benchmark_faults)

    assert any(str(path) in fault for fault in faults)
