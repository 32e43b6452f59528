import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from command_line import raymark

from raymark.benchmark import run_plan
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.run_plan import MEASURING, plan_run
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite
from raymark.dataset import Dataset
from raymark.errors import ConfigError
from raymark.models import get_model


def choice_of(*names: str) -> RunChoice:
    return RunChoice(models=tuple(get_model(name) for name in names))


def test_nothing_is_left_when_a_run_is_finished(
    benchmark_run: RunFolder, yard_suite: Suite, benchmark_dataset: Dataset
) -> None:
    plan = plan_run(
        yard_suite, benchmark_dataset, benchmark_run.root, choice_of("train_centroid", "wknn")
    )

    assert [(m.name, m.num_cells, m.num_finished) for m in plan.models] == [
        ("train_centroid", 8, 8),
        ("wknn", 8, 8),
    ]
    assert plan.num_measured == plan.num_surveys == 2  # one scene and band, two seeds
    assert plan.core_s == 0.0
    assert plan.unknown == ()


def test_time_is_that_of_fits_in_the_folder_when_cells_are_left(
    benchmark_run: RunFolder, yard_suite: Suite, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "runs")
    shutil.copytree(benchmark_run.root, run.root)
    shutil.rmtree(run.measurements)
    for task in yard_suite.tasks():
        shutil.rmtree(run.cell(task, "wknn", 1))
    kept = [cell.result.fit_s for cell in run.cells() if cell.result.model == "wknn"]
    plan = plan_run(yard_suite, benchmark_dataset, run.root, choice_of("wknn"))
    (wknn,) = plan.models

    assert (wknn.num_cells, wknn.num_finished) == (8, 4)
    assert wknn.fit_s == pytest.approx(np.median(kept))
    assert wknn.core_s == pytest.approx(4 * np.median(kept))
    assert (plan.num_surveys, plan.num_measured) == (2, 0)
    assert plan.unknown == (MEASURING,)


def test_published_times_count_when_a_run_has_not_begun(
    yard_suite: Suite,
    benchmark_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("suite,model,fit_s\ntests,wknn,3\ntests,measuring,50\nother,extra_trees,9\n")
    monkeypatch.setattr(run_plan, "COSTS", costs)
    run_plan._costs.cache_clear()
    plan = plan_run(
        yard_suite, benchmark_dataset, tmp_path / "runs", choice_of("wknn", "extra_trees")
    )
    run_plan._costs.cache_clear()
    links = len(benchmark_dataset.index) / len(benchmark_dataset.scenes)

    assert plan.core_s == pytest.approx(8 * 3.0 + 2 * 50 * links / 1000)
    assert plan.unknown == ("extra_trees",)
    assert not (tmp_path / "runs").exists()


def test_plan_is_refused_when_the_dataset_is_another(
    yard_suite: Suite, small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is for the dataset with content hash"):
        plan_run(yard_suite, small_dataset, tmp_path / "runs", choice_of("wknn"))


def test_published_times_are_of_models_that_there_are() -> None:
    costs = pd.read_csv(run_plan.COSTS)

    for name in set(costs["model"]) - {MEASURING}:
        assert get_model(name).name == name
    assert (costs["fit_s"] > 0).all()
    assert not costs.duplicated(["suite", "model"]).any()


def test_command_prints_hours_and_writes_nothing_when_dry(
    benchmark_run: RunFolder, yard_suite: Suite, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    suite = tmp_path / "own.yaml"
    suite.write_text(yaml.safe_dump(yard_suite.model_dump(mode="json")))
    where = ["--suite", suite, "--data", benchmark_dataset.folder, "--out"]
    models = ["--models", "wknn,extra_trees", "--dry-run"]
    begun = raymark("bench", "run", *where, benchmark_run.root, *models)
    fresh = raymark("bench", "run", *where, tmp_path / "runs", *models)

    assert begun.returncode == fresh.returncode == 0
    assert "0 surveys of 2 to be measured" in begun.stdout
    assert "2 surveys of 2 to be measured" in fresh.stdout
    assert "nothing was run" in fresh.stdout
    assert "hours not known, and not counted: extra_trees" in begun.stdout
    assert not (tmp_path / "runs").exists()
