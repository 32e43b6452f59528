"""What raymark publishes as its own: the content decides, and no name."""

import shutil
from pathlib import Path

import pytest
from command_line import raymark

from raymark.benchmark import load_suite, suite_names
from raymark.benchmark.release_part import shipped_name, suite_of
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import write_manifest
from raymark.release.record import TIERS_BYTES


def copy_of(dataset: Dataset, folder: Path, *, name: str, content_hash: str) -> Dataset:
    """Return a copy whose manifest says another name of the campaign and another content."""
    shutil.copytree(dataset.folder, folder)
    campaign = dataset.manifest.campaign.model_copy(update={"name": name})
    changed = {"campaign": campaign, "content_hash": content_hash}
    write_manifest(folder, dataset.manifest.model_copy(update=changed))
    return open_dataset(folder)


@pytest.mark.parametrize("name", ["mini", "small"])
def test_dataset_is_nobodys_when_only_its_name_is_a_shipped_one(
    small_dataset: Dataset, tmp_path: Path, name: str
) -> None:
    content_hash = small_dataset.manifest.content_hash
    assert content_hash is not None
    users = copy_of(small_dataset, tmp_path / "users", name=name, content_hash=content_hash)

    assert shipped_name(users) is None
    assert suite_of(users, None) is None


def test_dataset_is_the_shipped_one_when_its_content_is(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    suite = load_suite("small")
    ours = copy_of(small_dataset, tmp_path / "ours", name="mine", content_hash=suite.content_hash)

    assert shipped_name(ours) == suite.preset
    assert suite_of(ours, None) == suite


def test_every_dataset_of_a_shipped_suite_has_a_size_that_it_may_have() -> None:
    assert set(TIERS_BYTES) == {load_suite(name).preset for name in suite_names()}


@pytest.mark.parametrize("text", ["street_canyon", "street_canyon:", ":28GHz"])
def test_fingerprints_are_refused_when_they_are_no_scene_and_band(
    text: str, small_dataset: Dataset, tmp_path: Path
) -> None:
    asked = ["--version", "1.0.0", "--out", tmp_path / "new", "--materialize", text]

    done = raymark("release", "build", small_dataset.folder, *asked)

    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert f"--materialize takes SCENE:BAND, such as etoile:6GHz, or all; got '{text}'" in said
