"""Truth, results and arrays are tied to the dataset: what only claims to be right is refused."""

import json
import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest

from raymark.benchmark.export import export_task
from raymark.benchmark.publication import build_board
from raymark.benchmark.scoring import score_run
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.truths import Truths
from raymark.config import sealed_json
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import MANIFEST_NAME
from raymark.dataset.verification import require_content
from raymark.errors import ConfigError, SchemaError, ScoringError
from raymark.storage import file_sha256


@pytest.fixture
def copied(benchmark_run: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(benchmark_run.root, tmp_path / "copied")))


@pytest.fixture
def doctored(benchmark_dataset: Dataset, tmp_path: Path) -> Dataset:
    """A dataset with other positions, whose every hash was made again but the published one."""
    here = benchmark_dataset.folder.require_local("this test")
    folder = Path(shutil.copytree(here, tmp_path / "doctored"))
    shards = []
    for record in benchmark_dataset.manifest.shards:
        path = folder / record.file("paths")
        with h5py.File(path, "r+") as file:
            file["ue/position_m"][:, 0] += 1.0
        shards.append(record.model_copy(update={"paths_sha256": file_sha256(path)}))
    index = pd.read_parquet(folder / "index.parquet")
    index.assign(x_m=index["x_m"] + 1).to_parquet(folder / "index.parquet", index=False)
    update = {"shards": tuple(shards), "index_sha256": file_sha256(folder / "index.parquet")}
    changed = benchmark_dataset.manifest.model_copy(update=update)
    (folder / MANIFEST_NAME).write_text(sealed_json(changed), encoding="utf-8")
    return open_dataset(folder)


def forge_truth(folder: RunFolder, task: Task) -> None:
    """Write what a model has predicted as the truth, and its hash beside it."""
    path = folder.root / "truth" / f"{task.slug}.parquet"
    predictions = pd.read_parquet(folder.cell(task, "wknn", 0) / "predictions.parquet")
    table = pd.read_parquet(path).assign(x_m=predictions["x_m"], y_m=predictions["y_m"])
    folder.write_truth(task, table)


def test_truth_is_that_of_the_dataset_when_nothing_was_changed(
    benchmark_run: RunFolder, benchmark_dataset: Dataset, yard_suite: Suite
) -> None:
    truths = Truths(benchmark_run, benchmark_dataset)

    for task in yard_suite.tasks():
        assert truths.of(task).equals(benchmark_run.truth(task))
    assert truths.are_checked
    assert not Truths(benchmark_run).are_checked


def test_forged_truth_is_refused_when_the_dataset_is_at_hand_and_unchecked_when_not(
    copied: RunFolder, benchmark_dataset: Dataset, yard_suite: Suite
) -> None:
    forge_truth(copied, yard_suite.tasks()[0])

    (scored,) = [
        cell
        for cell in score_run(copied)
        if (cell.task, cell.result.model, cell.result.seed) == (yard_suite.tasks()[0], "wknn", 0)
    ]
    assert scored.errors.error_m.max() == 0
    with pytest.raises(ScoringError, match="column x_m is not what the dataset gives"):
        score_run(copied, truths=Truths(copied, benchmark_dataset))
    with pytest.raises(ScoringError, match="column x_m is not what the dataset gives"):
        build_board(copied, dataset=benchmark_dataset)


def test_board_says_whether_its_truth_was_compared(
    benchmark_run: RunFolder, benchmark_dataset: Dataset
) -> None:
    checked = build_board(benchmark_run, dataset=benchmark_dataset).suite
    unchecked = build_board(benchmark_run).suite

    assert checked.trust.startswith("Truth compared with the dataset.")
    assert unchecked.trust.startswith("Truth unchecked")
    assert checked.sandboxes == unchecked.sandboxes
    assert len(checked.sandboxes) == 1


@pytest.mark.parametrize("change", [{"model": "wknn"}, {"seed": 1}, {"task": "tests/other@1"}])
def test_result_is_refused_when_it_is_of_another_cell_than_its_place(
    copied: RunFolder, yard_suite: Suite, change: dict[str, object]
) -> None:
    path = copied.cell(yard_suite.tasks()[0], "train_centroid", 0) / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(result | change), encoding="utf-8")

    with pytest.raises(ScoringError, match=r"result\.json: it is of .*, and lies in the place of"):
        list(copied.cells())


def test_cell_is_refused_when_the_suite_has_no_such_seed(
    copied: RunFolder, yard_suite: Suite
) -> None:
    task = yard_suite.tasks()[0]
    made = copied.cell(task, "train_centroid", 0)
    moved = shutil.copytree(made, made.with_name("seed-7"))
    result = json.loads((moved / "result.json").read_text(encoding="utf-8"))
    (moved / "result.json").write_text(json.dumps(result | {"seed": 7}), encoding="utf-8")

    with pytest.raises(ScoringError, match=r"seed-7, and lies in the place of"):
        list(copied.cells())


def test_model_is_refused_when_its_record_lies_under_another_name(copied: RunFolder) -> None:
    (copied.root / "models" / "wknn.json").rename(copied.root / "models" / "mine.json")

    with pytest.raises(ConfigError, match=r"mine\.json: it is of model 'wknn'"):
        copied.models()


def test_run_is_refused_when_its_content_hash_was_edited(copied: RunFolder) -> None:
    path = copied.root / "run.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(info | {"content_hash": "ff" * 32}), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"run\.json: content_hash is ffffffffffff, its suite"):
        copied.info()


def test_dataset_is_refused_when_only_its_manifest_says_what_it_is(
    doctored: Dataset,
    benchmark_dataset: Dataset,
    benchmark_run: RunFolder,
    yard_suite: Suite,
    tmp_path: Path,
) -> None:
    require_content(benchmark_dataset)

    assert doctored.manifest.content_hash == benchmark_dataset.manifest.content_hash
    out = tmp_path / "task.h5"
    with pytest.raises(SchemaError, match=r"dataset\.json: content_hash is .*, the arrays give"):
        export_task(yard_suite, yard_suite.tasks()[0], doctored, out, seed=0)
    assert not out.exists()
    with pytest.raises(SchemaError, match="manifest or data were edited; get the dataset again"):
        Truths(benchmark_run, doctored)
