import dataclasses
import filecmp
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.release_part import SuiteFiles
from raymark.benchmark.store import RunFolder
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.verification import verify_dataset
from raymark.errors import ConfigError, DatasetError, SplitError
from raymark.release import BuildSettings, build_release, read_about, read_release
from raymark.release.record import TIERS_BYTES


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_build_release_gives_the_same_bytes_when_built_twice(
    benchmark_release: Path,
    benchmark_dataset: Dataset,
    release_settings: BuildSettings,
    tmp_path: Path,
) -> None:
    build_release(benchmark_dataset.folder, tmp_path / "again", release_settings)

    names = files_in(benchmark_release)
    assert names == files_in(tmp_path / "again")
    _, differing, unread = filecmp.cmpfiles(
        benchmark_release, tmp_path / "again", names, shallow=False
    )
    assert (differing, unread) == ([], [])


def test_release_is_a_dataset_when_opened(
    benchmark_release: Path, benchmark_dataset: Dataset
) -> None:
    assert verify_dataset(benchmark_release) == []
    found = open_dataset(benchmark_release)
    # A release has documents of its own, and so another seal.
    update = {"documents": {}, "seal": found.manifest.seal}
    assert found.manifest == benchmark_dataset.manifest.model_copy(update=update)
    pd.testing.assert_frame_equal(found.index, benchmark_dataset.index)


def test_release_names_all_that_it_holds_when_built(benchmark_release: Path) -> None:
    names = files_in(benchmark_release)
    assert {
        "README.md",
        "croissant.json",
        "CITATION.cff",
        ".zenodo.json",
        "DATASHEET.md",
        "LICENSES.md",
        "ATTRIBUTION",
        "dataset.json",
        "index.parquet",
        "buildings/street_canyon.h5",
        "buildings/yard.h5",
        "maps/yard.png",
        "fingerprints/yard_6GHz.h5",
        "splits/suite.json",
        "splits/interpolation__yard.parquet",
        "splits/unseen-nlos__fold-2__yard.parquet",
        "audit/audit.csv",
        "run/run.json",
        "board/board.md",
        "release.json",
        "SHA256SUMS",
    } <= names
    assert set(read_release(benchmark_release).files) == names - {"release.json", "SHA256SUMS"}


def test_release_splits_are_those_of_the_suite_when_read(
    benchmark_release: Path, benchmark_dataset: Dataset, yard_suite: Suite
) -> None:
    task = next(task for task in yard_suite.tasks() if task.fold == 1)
    expected = Splits(benchmark_dataset, yard_suite.window_size).get(task, "yard").table

    found = pd.read_parquet(benchmark_release / "splits" / "unseen-nlos__fold-1__yard.parquet")

    numbers = {"unused": 0, "train": 1, "validation": 2, "test": 3}
    np.testing.assert_array_equal(found["part"].map(numbers), expected["part"])
    np.testing.assert_array_equal(found["ue_index"], expected["ue_index"])


def test_release_run_can_be_scored_when_read(
    benchmark_release: Path, benchmark_run: RunFolder
) -> None:
    published = {(c.task.id, c.result.model, c.result.seed): c for c in benchmark_run.cells()}
    found = list(RunFolder(benchmark_release / "run").cells())
    assert len(found) == len(published)
    for cell in found:
        expected = published[cell.task.id, cell.result.model, cell.result.seed]
        pd.testing.assert_frame_equal(cell.predictions, expected.predictions)


def test_release_fingerprints_have_one_length_when_read_by_any_host(
    benchmark_release: Path,
) -> None:
    lengths = set()
    with h5py.File(benchmark_release / "fingerprints" / "yard_6GHz.h5") as file:
        file.visititems(
            lambda _name, item: (
                lengths.add(item.shape[0]) if isinstance(item, h5py.Dataset) else None
            )
        )
    assert lengths == {160}


@pytest.mark.slow
def test_build_release_leaves_detail_out_when_asked_to(
    benchmark_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(
        release_settings, left_out=("detail",), materialized=(), benchmark=None
    )

    build_release(benchmark_dataset.folder, tmp_path / "small", settings)

    assert not (tmp_path / "small" / "detail").exists()
    assert verify_dataset(tmp_path / "small") == []
    found = open_dataset(tmp_path / "small").manifest
    assert found.content_hash == benchmark_dataset.manifest.content_hash
    assert found.left_out == ("detail",)


@pytest.mark.slow
def test_build_release_leaves_buildings_out_when_asked_to(
    benchmark_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(release_settings, left_out=("buildings",), materialized=())

    build_release(benchmark_dataset.folder, tmp_path / "bare", settings)

    assert not (tmp_path / "bare" / "buildings").exists()
    assert verify_dataset(tmp_path / "bare") == []
    found = open_dataset(tmp_path / "bare")
    assert found.buildings("yard") is None
    assert found.manifest.content_hash == benchmark_dataset.manifest.content_hash
    licences = (tmp_path / "bare" / "LICENSES.md").read_text(encoding="utf-8")
    assert "No geometry of a scene is part of this release" in licences


def test_build_release_refuses_when_the_dataset_is_damaged(
    benchmark_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(benchmark_dataset.folder, damaged)
    shard = damaged / benchmark_dataset.manifest.shards[1].file("detail")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(DatasetError, match=rf"nothing was built: .*{shard.name}: the file differs"):
        build_release(damaged, tmp_path / "release", release_settings)
    assert not (tmp_path / "release").exists()


def test_build_release_refuses_when_the_folder_exists(
    benchmark_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="exists; choose another folder"):
        build_release(benchmark_dataset.folder, tmp_path, release_settings)


def test_build_release_refuses_when_the_version_is_not_semantic(
    benchmark_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(release_settings, version="1.0")
    with pytest.raises(ConfigError, match=r"such as 1\.0\.0 .* got '1\.0' at release: version"):
        build_release(benchmark_dataset.folder, tmp_path / "release", settings)
    assert not (tmp_path / "release.partial").exists()


def test_build_release_asks_who_publishes_when_the_dataset_is_a_users_own(
    benchmark_dataset: Dataset, release_settings: BuildSettings, tmp_path: Path
) -> None:
    settings = dataclasses.replace(release_settings, about=None)
    with pytest.raises(ConfigError, match="say who publishes it"):
        build_release(benchmark_dataset.folder, tmp_path / "release", settings)


def test_build_release_refuses_when_the_run_is_of_another_suite(
    benchmark_dataset: Dataset,
    release_settings: BuildSettings,
    benchmark_suite: Suite,
    benchmark_run: RunFolder,
    tmp_path: Path,
) -> None:
    benchmark = SuiteFiles(suite=benchmark_suite, runs=benchmark_run.root)
    settings = dataclasses.replace(release_settings, benchmark=benchmark, materialized=())
    with pytest.raises(ConfigError, match="is a run of 'tests@1'"):
        build_release(benchmark_dataset.folder, tmp_path / "release", settings)


def test_build_release_refuses_when_a_split_differs_from_the_published_one(
    benchmark_dataset: Dataset,
    release_settings: BuildSettings,
    yard_suite: Suite,
    tmp_path: Path,
) -> None:
    edited = yard_suite.model_copy(update={"split_hashes": {"interpolation/yard": "0" * 64}})
    benchmark = SuiteFiles(suite=edited)
    settings = dataclasses.replace(release_settings, benchmark=benchmark, materialized=())
    with pytest.raises(SplitError, match="the split of yard in task"):
        build_release(benchmark_dataset.folder, tmp_path / "release", settings)


def test_build_release_refuses_before_it_copies_when_the_suite_is_of_other_data(
    benchmark_dataset: Dataset,
    release_settings: BuildSettings,
    yard_suite: Suite,
    tmp_path: Path,
) -> None:
    told: list[str] = []
    benchmark = SuiteFiles(suite=yard_suite.rebound("ff"))
    settings = dataclasses.replace(release_settings, benchmark=benchmark)

    sentence = f"suite 'tests' is for the dataset .*, {benchmark_dataset.folder} has "
    with pytest.raises(ConfigError, match=sentence):
        build_release(benchmark_dataset.folder, tmp_path / "new", settings, progress=told.append)
    assert told == []


@pytest.mark.slow
def test_build_release_refuses_when_it_is_too_large_for_its_tier(
    benchmark_dataset: Dataset,
    release_settings: BuildSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TIERS_BYTES, "benchmark", 1_000)
    settings = dataclasses.replace(
        release_settings, tier="benchmark", materialized=(), benchmark=None
    )
    with pytest.raises(DatasetError, match=r"tier 'benchmark' allows 0\.001 MB"):
        build_release(benchmark_dataset.folder, tmp_path / "release", settings)


def test_read_about_names_the_place_when_a_key_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "about.yaml"
    path.write_text("title: T\nauthors: [{nam: X}]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"about.yaml: authors\[0\]\.nam"):
        read_about(path)
