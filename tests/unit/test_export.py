import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from raymark.benchmark import Suite, Task
from raymark.benchmark.export import export_task
from raymark.benchmark.features import feature_matrix
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.task_links import truth_of
from raymark.benchmark.tf_data import load_part
from raymark.dataset import Dataset
from raymark.errors import ConfigError, DatasetError

ARRAYS = {
    "site_index",
    "band_index",
    "window",
    "window_step",
    "path_range_m",
    "path_azimuth_rad",
    "path_zenith_rad",
    "path_power_db",
    "path_mask",
    "aoa_profile_db",
    "distance_m",
    "gain_db",
    "has_signal",
    "delay_spread_s",
    "azimuth_spread_rad",
}
ROUND_TRIP_M = 2e-5
"""The dataset keeps positions as float32: within 128 m of the origin they are 8 um apart."""


@pytest.fixture(scope="module")
def task(benchmark_task: Callable[..., Task]) -> Task:
    return benchmark_task("cross-band", "yard")


@pytest.fixture(scope="module")
def data(task: Task, load_benchmark_task: Callable[[Task], TaskData]) -> TaskData:
    return load_benchmark_task(task)


@pytest.fixture(scope="module")
def exported(
    benchmark_suite: Suite,
    task: Task,
    benchmark_dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("exported") / "new" / "task.h5"
    export_task(benchmark_suite, task, benchmark_dataset, path, seed=0, with_csi=True)
    return path


def test_exported_arrays_are_those_of_a_models_data(exported: Path, data: TaskData) -> None:
    parts = {
        "train": data.train.measurements,
        "validation": data.validation.measurements,
        "test": data.test,
    }
    with h5py.File(exported) as file:
        for part, links in parts.items():
            for name in ARRAYS:
                np.testing.assert_array_equal(file[part][name], getattr(links, name), err_msg=name)
            np.testing.assert_array_equal(
                file[part]["features"], feature_matrix(links).astype("f4")
            )
            rows = np.array([len(links) - 1, 0])
            np.testing.assert_array_equal(file[part]["csi"][:][rows], links.csi(rows))
        for part, labelled in (("train", data.train), ("validation", data.validation)):
            np.testing.assert_array_equal(file[part]["position_m"], labelled.position_m)
            np.testing.assert_array_equal(file[part]["los"], labelled.los)


def test_exported_test_part_holds_no_position_and_no_label(exported: Path) -> None:
    with h5py.File(exported) as file:
        assert set(file["test"]) == ARRAYS | {
            "features",
            "csi",
            "site_name",
            "site",
            "ue_index",
            "asked",
        }
        assert set(file) == {"train", "validation", "test", "site_origin_m", "site_yaw_rad"}


def test_exported_file_says_what_it_is_of(
    exported: Path, benchmark_suite: Suite, task: Task
) -> None:
    with h5py.File(exported) as file:
        assert dict(file.attrs) == {
            "task": task.id,
            "slug": task.slug,
            "suite_hash": benchmark_suite.hash,
            "content_hash": benchmark_suite.content_hash,
            "seed": 0,
        }


def test_exported_names_of_test_links_are_those_of_the_truth_in_its_order(
    exported: Path, task: Task, benchmark_dataset: Dataset, benchmark_splits: Splits
) -> None:
    truth = truth_of(task, benchmark_dataset, benchmark_splits)
    with h5py.File(exported) as file:
        assert file["test"]["site"].asstr()[:].tolist() == truth["site"].tolist()
        assert file["test"]["ue_index"][:].tolist() == truth["ue_index"].tolist()


def test_exported_origin_and_yaw_turn_site_into_world_coordinates(
    exported: Path, benchmark_dataset: Dataset
) -> None:
    ue_m = benchmark_dataset.select(scene="yard", band="6GHz").position_m[:, :2]
    with h5py.File(exported) as file:
        assert [name.decode().rsplit("/")[-1] for name in file["train"]["site_name"]] == [
            "west",
            "east",
        ]
        site, position_m = file["train"]["site_index"][:], file["train"]["position_m"][:]
        yaw, origin_m = file["site_yaw_rad"][:][site], file["site_origin_m"][:][site]
    x, y = position_m.T
    world_m = origin_m + np.stack(
        [x * np.cos(yaw) - y * np.sin(yaw), x * np.sin(yaw) + y * np.cos(yaw)], axis=1
    )

    np.testing.assert_allclose(origin_m[site == 0][0], [-60.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(yaw[site == 1][0], np.deg2rad(170.0), rtol=1e-6)
    gap_m = np.linalg.norm(world_m[:, None] - ue_m[None], axis=-1).min(axis=1)
    assert gap_m.max() < ROUND_TRIP_M


def test_no_csi_and_no_other_file_is_written_when_it_is_not_asked_for(
    benchmark_suite: Suite,
    benchmark_task: Callable[..., Task],
    benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:
    path = tmp_path / "task.h5"

    export_task(
        benchmark_suite, benchmark_task("interpolation", "yard"), benchmark_dataset, path, seed=0
    )

    with h5py.File(path) as file:
        assert not any("csi" in file[part] for part in ("train", "validation", "test"))
    assert [p.name for p in tmp_path.iterdir()] == ["task.h5"]


def test_existing_file_is_left_alone_unless_it_may_be_overwritten(
    benchmark_suite: Suite, task: Task, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "task.h5"
    path.write_text("mine", encoding="utf-8")

    with pytest.raises(DatasetError, match=r"task.h5 exists; choose another name or add --overwr"):
        export_task(benchmark_suite, task, benchmark_dataset, path, seed=0)

    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("seed", [1, -1])
def test_seed_is_refused_when_the_task_has_none_such(
    benchmark_suite: Suite, task: Task, benchmark_dataset: Dataset, tmp_path: Path, seed: int
) -> None:
    with pytest.raises(ConfigError, match=rf"has the seeds \(0,\), got {seed}"):
        export_task(benchmark_suite, task, benchmark_dataset, tmp_path / "task.h5", seed=seed)

    assert not list(tmp_path.iterdir())


def test_dataset_is_refused_when_it_is_another_one(
    benchmark_suite: Suite, task: Task, small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"is for the dataset with content hash"):
        export_task(benchmark_suite, task, small_dataset, tmp_path / "task.h5", seed=0)


def test_one_sentence_says_how_to_get_tensorflow_when_it_is_missing(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)

    with pytest.raises(ConfigError, match=r'TensorFlow is not installed; `pip install "raymark\['):
        load_part(exported, "train", ["features"])


@pytest.mark.slow
def test_loader_needs_no_tensorflow_when_it_is_only_imported() -> None:
    code = "import sys, raymark.benchmark.tf_data; print('tensorflow' in sys.modules)"

    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert result.stdout.strip() == "False"
