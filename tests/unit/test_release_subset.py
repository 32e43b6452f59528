import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import write_manifest
from raymark.dataset.subset import Cut, cut_dataset
from raymark.dataset.verification import verify_dataset
from raymark.errors import ConfigError, DatasetError
from raymark.generator.extension import plan_extension
from raymark.radio import parse_bands


def cut(dataset: Dataset, folder: Path, **kept: Any) -> Dataset:
    cut_dataset(dataset, folder, Cut(**kept))
    assert verify_dataset(folder) == []
    return open_dataset(folder)


@pytest.mark.slow
def test_cut_dataset_has_the_hash_of_a_smaller_campaign_when_ues_and_bands_are_cut(
    small_dataset: Dataset,
    small_campaign: dict[str, Any],
    make_dataset: Callable[..., Dataset],
    tmp_path: Path,
) -> None:
    fewer = {**small_campaign["sampling"], "num_ues": 25}
    campaign = {**small_campaign, "bands": ["2.6GHz", "6GHz"], "sampling": fewer}
    expected = make_dataset(campaign)

    found = cut(small_dataset, tmp_path / "cut", bands=("2.6GHz", "6GHz"), num_ues=25)

    assert found.manifest.content_hash == expected.manifest.content_hash
    assert found.manifest.subset_of == small_dataset.manifest.content_hash
    assert len(found.index) == 25


def test_cut_dataset_keeps_the_second_band_when_the_first_is_cut(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    found = cut(small_dataset, tmp_path / "cut", bands=("28GHz",))

    assert found.bands == ("28GHz",)
    chosen = {"scene": "street_canyon", "band": "28GHz"}
    ours, whole = (d.select(**chosen).path_table(0, 50) for d in (found, small_dataset))
    np.testing.assert_array_equal(ours.amplitude, whole.amplitude)
    np.testing.assert_array_equal(ours.path_offset, whole.path_offset)


def test_cut_dataset_keeps_one_site_when_it_is_named(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    found = cut(two_site_dataset, tmp_path / "cut", sites=("east",))

    assert [site.site for site in found.manifest.sites] == ["east"]
    assert set(found.index["site"]) == {"east"}
    assert found.manifest.buildings == two_site_dataset.manifest.buildings
    assert (tmp_path / "cut" / "paths" / "two_sites" / "east").is_dir()
    assert not (tmp_path / "cut" / "paths" / "two_sites" / "west").exists()


def test_cut_dataset_keeps_the_buildings_of_the_scenes_that_are_named(
    benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    found = cut(benchmark_dataset, tmp_path / "cut", scenes=("yard",))

    assert list(found.manifest.buildings) == ["yard"]
    described = found.manifest.campaign.description
    assert described == f"A part of {benchmark_dataset.manifest.id}: scenes yard."
    kept, whole = found.buildings("yard"), benchmark_dataset.buildings("yard")
    assert kept is not None
    assert whole is not None
    np.testing.assert_array_equal(kept.heights.height_m, whole.heights.height_m)
    assert [path.name for path in (tmp_path / "cut" / "buildings").iterdir()] == ["yard.h5"]


def test_cut_dataset_works_without_detail_when_it_was_left_out(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    manifest = small_dataset.manifest.model_copy(update={"left_out": ("detail",)})
    shutil.copytree(small_dataset.folder, tmp_path / "public", ignore=lambda *_: ["detail"])
    write_manifest(tmp_path / "public", manifest)
    assert verify_dataset(tmp_path / "public") == []

    found = cut(open_dataset(tmp_path / "public"), tmp_path / "cut", num_ues=12)

    assert not (tmp_path / "cut" / "detail").exists()
    with pytest.raises(DatasetError, match="published without its 'detail' files"):
        found.load_shard(found.manifest.shards[0], "detail")


def test_cut_dataset_refuses_a_band_when_there_is_none_of_that_name(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="no band '29GHz'; did you mean '28GHz'"):
        cut_dataset(small_dataset, tmp_path / "cut", Cut(bands=("29GHz",)))
    assert not (tmp_path / "cut").exists()


def test_cut_dataset_refuses_when_nothing_is_left_out(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"nothing of .* would be left out"):
        cut_dataset(small_dataset, tmp_path / "cut", Cut(num_ues=50))


def test_cut_dataset_refuses_when_the_folder_exists(small_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="exists; choose another folder"):
        cut_dataset(small_dataset, tmp_path, Cut(num_ues=5))


def test_plan_extension_refuses_when_the_dataset_is_a_subset(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    found = cut(small_dataset, tmp_path / "cut", num_ues=5)

    with pytest.raises(DatasetError, match="was cut from another dataset"):
        plan_extension(found, parse_bands("39GHz"))
