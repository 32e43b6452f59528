"""A band added later leaves the same bits as one that was there from the start."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import write_manifest
from raymark.dataset.schema import DIFFUSE
from raymark.dataset.verification import verify_dataset
from raymark.errors import ConfigError, DatasetError, SceneError
from raymark.generator import extension
from raymark.generator.extension import extend_dataset, open_for_extension, plan_extension
from raymark.generator.tracing.chain_search import ChainSearch
from raymark.radio import parse_bands

pytestmark = pytest.mark.slow

NEW = ["39GHz", "n78"]
KINDS: dict[str, dict[str, Any]] = {
    "kept by power": {"max_depth": 3, "diffraction": True},
    "more needed than kept": {"max_depth": 3, "diffraction": True, "max_num_paths": 4},
    "some cut off": {"max_depth": 3, "max_num_paths": 4, "kept_power_share": None},
    "fields of Sionna": {"max_depth": 3, "diffraction": True, "fields": "sionna"},
    "refracted": {"max_depth": 2, "refraction": True, "solver_rays": 2000, "solver_block_size": 5},
}


def campaign_of(small: dict[str, Any], tracer: dict[str, Any], bands: list[str]) -> dict[str, Any]:
    data = copy.deepcopy(small)
    data["sampling"]["num_ues"] = 25
    discovery = data["tracer"]["discovery"]
    return {
        **data,
        "name": "extended",
        "bands": bands,
        "tracer": {"discovery": discovery, **tracer},
    }


def copied(dataset: Dataset, folder: Path) -> Dataset:
    shutil.copytree(dataset.folder, folder)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def two_bands(small_campaign: dict[str, Any], make_dataset: Callable[..., Dataset]) -> Dataset:
    data = campaign_of(small_campaign, KINDS["some cut off"], ["2.6GHz", "6GHz"])
    return make_dataset(data, shard_size=10)


@pytest.mark.parametrize("kind", KINDS)
def test_extension_has_the_hashes_of_a_whole_run_when_bands_are_added(
    kind: str, small_campaign: dict[str, Any], make_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    first = ["2.6GHz", "6GHz"]
    before = make_dataset(campaign_of(small_campaign, KINDS[kind], first), shard_size=10)
    whole = make_dataset(campaign_of(small_campaign, KINDS[kind], first + NEW), shard_size=25)

    plan = plan_extension(before, parse_bands(",".join(NEW)))
    made = extend_dataset(before, plan, tmp_path / "out")

    assert made.arrays == whole.manifest.arrays
    assert made.content_hash == whole.manifest.content_hash
    assert made.config_hash == whole.manifest.config_hash
    assert made.completeness == whole.manifest.completeness
    assert made.buildings == whole.manifest.buildings == before.manifest.buildings
    assert verify_dataset(tmp_path / "out") == []
    assert open_dataset(before.folder).bands == tuple(first)


def test_extension_has_the_hashes_of_a_whole_run_when_surfaces_scatter(
    small_campaign: dict[str, Any],
    write_scene: Callable[..., Path],
    make_dataset: Callable[..., Dataset],
    tmp_path: Path,
) -> None:
    """A scattered path is stored without the size of its tile: it is searched again."""
    site = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 0.0}
    slab = trimesh.creation.box(bounds=[[-40, -40, -1], [40, 40, 0]])
    scene = write_scene("rough", {"ground": (slab, "concrete")}, [site], scattering=0.3)

    def campaign(bands: list[str]) -> dict[str, Any]:
        return {
            "name": "rough",
            "scenes": [{"name": str(scene)}],
            "bands": bands,
            "sampling": {"kind": "uniform", "num_ues": 5, "max_range_m": 35.0},
            "tracer": {
                "max_depth": 1,
                "discovery": small_campaign["tracer"]["discovery"],
                "diffuse_reflection": True,
                "fields": "raymark",
            },
        }

    before = make_dataset(campaign(["6GHz"]), shard_size=2)
    whole = make_dataset(campaign(["6GHz", "39GHz"]), shard_size=5)

    plan = plan_extension(before, parse_bands("39GHz"))
    made = extend_dataset(before, plan, tmp_path / "out")

    assert made.arrays == whole.manifest.arrays
    assert made.content_hash == whole.manifest.content_hash
    stored = before.select(scene="rough", band="6GHz").path_table(0, 5)
    assert (stored.interaction == DIFFUSE).any()


@pytest.mark.parametrize("kind", ["kept by power", "more needed than kept"])
def test_extension_searches_nothing_when_paths_are_ranked_at_references(
    kind: str,
    small_campaign: dict[str, Any],
    make_dataset: Callable[..., Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset(campaign_of(small_campaign, KINDS[kind], ["2.6GHz"]))

    def search(*_: Any, **__: Any) -> None:
        raise AssertionError("a search was begun")

    plan = plan_extension(dataset, parse_bands("39GHz"))
    monkeypatch.setattr(ChainSearch, "__init__", search)
    made = extend_dataset(dataset, plan, tmp_path / "out")

    assert [band.name for band in made.campaign.bands] == ["2.6GHz", "39GHz"]


def test_extension_takes_the_place_of_the_dataset_when_no_folder_is_given(
    two_bands: Dataset, tmp_path: Path
) -> None:
    dataset = copied(two_bands, tmp_path / "data")

    extend_dataset(dataset, plan_extension(dataset, parse_bands("39GHz")))

    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    extended = open_dataset(tmp_path / "data")
    assert extended.bands == ("2.6GHz", "6GHz", "39GHz")
    old = two_bands.select(scene="street_canyon", band="6GHz").path_table(0, 25)
    new = extended.select(scene="street_canyon", band="6GHz").path_table(0, 25)
    np.testing.assert_array_equal(old.amplitude, new.amplitude)


def test_extension_goes_on_when_it_was_interrupted(
    two_bands: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = copied(two_bands, tmp_path / "data")
    plan = plan_extension(dataset, parse_bands("39GHz"))

    def stop(_stage: str, done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extend_dataset(dataset, plan, progress=stop)
    assert open_dataset(tmp_path / "data").bands == ("2.6GHz", "6GHz")

    done: list[int] = []
    real = extension.ExtendedSite.arrays

    def count(self: Any, shard: Any) -> Any:
        done.append(shard.part)
        return real(self, shard)

    monkeypatch.setattr(extension.ExtendedSite, "arrays", count)
    extend_dataset(dataset, plan)

    assert done == [1, 2]
    assert open_dataset(tmp_path / "data").bands == ("2.6GHz", "6GHz", "39GHz")


def test_dataset_is_put_back_when_its_replacement_was_cut_off(
    two_bands: Dataset, tmp_path: Path
) -> None:
    """Killed between its two renames, and by then some file of the user's was in the dataset."""
    dataset = copied(two_bands, tmp_path / "data")
    (tmp_path / "data" / "notes.txt").write_text("mine")
    plan = plan_extension(dataset, parse_bands("39GHz"))
    extend_dataset(dataset, plan, tmp_path / "data.extended")
    (tmp_path / "data").rename(tmp_path / "data.before")

    again = open_for_extension(tmp_path / "data")
    assert again.bands == ("2.6GHz", "6GHz")
    extend_dataset(again, plan)

    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert open_dataset(tmp_path / "data").bands == ("2.6GHz", "6GHz", "39GHz")
    assert (tmp_path / "data" / "notes.txt").read_text() == "mine"
    assert verify_dataset(tmp_path / "data") == []


def test_users_folders_stay_when_they_have_the_names_of_an_extension(
    two_bands: Dataset, tmp_path: Path
) -> None:
    before = copied(two_bands, tmp_path / "data.before").folder
    with pytest.raises(DatasetError, match="holds no dataset"):
        open_for_extension(tmp_path / "data")
    dataset = copied(two_bands, tmp_path / "data")
    plan = plan_extension(dataset, parse_bands("39GHz"))

    with pytest.raises(DatasetError, match=r"data\.before is in the way; move it elsewhere"):
        extend_dataset(dataset, plan)
    assert verify_dataset(before) == []
    before.remove_tree()
    (tmp_path / "data.extended").mkdir()
    (tmp_path / "data.extended" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"data\.extended is not empty and holds no dataset"):
        extend_dataset(dataset, plan)
    assert (tmp_path / "data.extended" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("6GHz", r"has band '6GHz' already; leave it out"),
        ("39GH", r"unknown band '39GH'.* in '39GH'"),
        ("500GHz", r"carrier of band '500GHz' must be from 0\.1 to 300 GHz"),
    ],
)
def test_plan_says_what_is_wrong_when_a_band_cannot_be_added(
    two_bands: Dataset, bands: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_extension(two_bands, parse_bands(bands))


def test_plan_names_the_material_when_it_has_no_value_at_a_band(two_bands: Dataset) -> None:
    message = r"bands\[2\] '45GHz': material 'brick' is defined for 1-40 GHz"
    with pytest.raises(SceneError, match=message):
        plan_extension(two_bands, parse_bands("45GHz"))


def test_plan_says_so_when_the_software_is_another(two_bands: Dataset, tmp_path: Path) -> None:
    dataset = copied(two_bands, tmp_path / "data")
    software = {**dataset.manifest.software, "sionna-rt": "1.0.0"}
    write_manifest(dataset.folder, dataset.manifest.model_copy(update={"software": software}))

    with pytest.raises(DatasetError, match=r"made with sionna-rt 1\.0\.0 \(now 2\.2\.0\); add"):
        plan_extension(open_dataset(dataset.folder), parse_bands("39GHz"))


def test_plan_says_so_when_the_scene_is_another(two_bands: Dataset, tmp_path: Path) -> None:
    dataset = copied(two_bands, tmp_path / "data")
    site = dataset.manifest.sites[0].model_copy(update={"scene_hash": "0" * 64})
    write_manifest(dataset.folder, dataset.manifest.model_copy(update={"sites": (site,)}))

    with pytest.raises(DatasetError, match="another version of scene 'street_canyon'"):
        plan_extension(open_dataset(dataset.folder), parse_bands("39GHz"))


def test_extension_says_so_when_other_paths_are_found(
    two_bands: Dataset,
    small_campaign: dict[str, Any],
    make_dataset: Callable[..., Dataset],
    tmp_path: Path,
) -> None:
    plan = plan_extension(two_bands, parse_bands("39GHz"))
    data = campaign_of(small_campaign, {**KINDS["some cut off"], "max_num_paths": 2}, ["2.6GHz"])
    other = make_dataset(data, shard_size=10)

    with pytest.raises(DatasetError, match=r"paths/.* are not found again on this machine"):
        extend_dataset(other, plan, tmp_path / "out")


def test_folder_is_left_as_it_is_when_an_extension_goes_elsewhere(
    two_bands: Dataset, tmp_path: Path
) -> None:
    plan = plan_extension(two_bands, parse_bands("39GHz"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")

    with pytest.raises(DatasetError, match="is not empty and holds no dataset"):
        extend_dataset(two_bands, plan, tmp_path / "out")
