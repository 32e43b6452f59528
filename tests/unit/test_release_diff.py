import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.store import write_table
from raymark.config import sealed_json
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.subset import Cut, cut_dataset
from raymark.errors import DatasetError
from raymark.release import BuildSettings, build_release, diff_releases
from raymark.release.hashing import hash_files
from raymark.release.record import read_release


def rewrite(folder: Path) -> None:
    release = read_release(folder)
    changed = release.model_copy(update={"files": hash_files(folder, list(release.files))})
    (folder / "release.json").write_text(sealed_json(changed), encoding="utf-8")


def test_diff_releases_is_empty_when_they_are_the_same(benchmark_release: Path) -> None:
    assert diff_releases(benchmark_release, benchmark_release) == []


@pytest.mark.slow
def test_diff_releases_names_versions_bands_and_arrays_when_a_band_was_cut(
    benchmark_release: Path,
    benchmark_dataset: Dataset,
    release_settings: BuildSettings,
    tmp_path: Path,
) -> None:
    cut_dataset(benchmark_dataset, tmp_path / "cut", Cut(bands=("2.6GHz", "6GHz")))
    settings = dataclasses.replace(
        release_settings, version="2.0.0", materialized=(), benchmark=None
    )
    build_release(tmp_path / "cut", tmp_path / "new", settings)

    found = {(d.kind, d.place): d.text for d in diff_releases(benchmark_release, tmp_path / "new")}

    assert found["release", "version"] == "1.0.0 -> 2.0.0"
    assert found["campaign", "bands"] == "[2.6GHz, 6GHz, 28GHz] -> [2.6GHz, 6GHz]"
    # Geometry stays: only what has a band axis differs.
    expected = "2 of 23 arrays changed: paths/link/truncated_power_db, paths/path/amplitude"
    assert found["array", "yard/west"] == expected
    assert found["split", "splits/interpolation__yard.parquet"] == "removed"
    assert found["score", "board"] == "removed"
    assert found["file", "fingerprints/yard_6GHz.h5"] == "removed"


def test_diff_releases_counts_links_and_shows_scores_when_tables_changed(
    benchmark_release: Path, tmp_path: Path
) -> None:
    new = Path(shutil.copytree(benchmark_release, tmp_path / "new"))
    split_path, board_path = new / "splits/interpolation__yard.parquet", new / "board/summary.csv"
    split = pd.read_parquet(split_path)
    split.loc[np.flatnonzero(split["part"] == "train")[:3], "part"] = "unused"
    write_table(split_path, split.iloc[:-1])
    board = pd.read_csv(board_path)
    row = board[board["model"] == "wknn"].index[0]
    board.loc[row, "median_m"] = 123.0
    board.to_csv(board_path, index=False)
    rewrite(new)

    found = diff_releases(benchmark_release, new)

    splits = [d.text for d in found if d.kind == "split"]
    assert splits == ["3 links in another part, 1 in one release only"]
    (score,) = (d for d in found if d.kind == "score")
    assert score.place.endswith("/wknn")
    assert "median_m" in score.text
    assert "-> 123" in score.text


def test_diff_releases_refuses_when_a_folder_is_no_release(
    benchmark_release: Path, benchmark_dataset: Dataset
) -> None:
    assert open_dataset(benchmark_dataset.folder)
    with pytest.raises(DatasetError, match="holds no release"):
        diff_releases(benchmark_release, Path(benchmark_dataset.folder))
