"""A benchmark run on real workers gives the numbers of one on this machine."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client

from raymark.benchmark.run import Runner
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite
from raymark.dataset import Dataset
from raymark.models import get_model
from raymark.work.cluster import LocalCluster, open_cluster
from raymark.work.dask_workers import DaskWorkers
from raymark.work.executor import ThisMachine

BeginRun = Callable[[Suite, Path], Runner]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with open_cluster(LocalCluster(num_workers=2)) as connected:
        connected.wait_for_workers(2, timeout=120)
        yield connected


@pytest.mark.slow
def test_predictions_are_those_of_one_machine_when_cells_run_on_a_cluster(
    client: Client,
    benchmark_dataset: Dataset,
    benchmark_run: RunFolder,
    yard_suite: Suite,
    tmp_path: Path,
) -> None:
    choice = RunChoice(models=tuple(get_model(name) for name in ("train_centroid", "wknn")))
    workers = DaskWorkers(client, time_limit_s=300.0)
    stages: list[str] = []

    report = Runner(yard_suite, benchmark_dataset, tmp_path / "runs").run(
        choice, executor=workers, progress=lambda stage, _done, _total: stages.append(stage)
    )

    assert report.failures == ()
    assert stages.count("models") == report.num_run + 1
    found = {
        (c.task.id, c.result.model, c.result.seed): c for c in RunFolder(tmp_path / "runs").cells()
    }
    expected = list(benchmark_run.cells())
    assert len(found) == len(expected)
    for cell in expected:
        other = found[cell.task.id, cell.result.model, cell.result.seed]
        pd.testing.assert_frame_equal(other.predictions, cell.predictions, check_exact=True)


@pytest.mark.slow
def test_network_predicts_the_same_when_fitted_on_a_cluster(
    client: Client, benchmark_dataset: Dataset, yard_suite: Suite, tmp_path: Path
) -> None:
    """A network shows whether the threads and seeds of a worker are those of a process here."""
    suite = yard_suite.model_copy(update={"seeds": (0,), "tracks": yard_suite.tracks[:1]})
    choice = RunChoice(models=(get_model("csi_mlp"),))
    here, there = tmp_path / "here", tmp_path / "there"
    Runner(suite, benchmark_dataset, here).run(choice, executor=ThisMachine(1))

    Runner(suite, benchmark_dataset, there).run(
        choice, executor=DaskWorkers(client, time_limit_s=300.0)
    )

    pairs = zip(RunFolder(here).cells(), RunFolder(there).cells(), strict=True)
    for mine, other in pairs:
        pd.testing.assert_frame_equal(mine.predictions, other.predictions, check_exact=True)


@pytest.mark.slow
def test_failure_is_recorded_once_when_a_model_raises_on_a_cluster(
    client: Client, measured_run: BeginRun, yard_suite: Suite, tmp_path: Path
) -> None:
    folder = tmp_path / "raises"
    shutil.copytree(get_model("train_centroid").folder, folder)
    text = (folder / "model.py").read_text(encoding="utf-8")
    (folder / "model.py").write_text(
        text.replace(
            "def fit(", "def fit(self, *_):\n        raise ValueError('no')\n\n    def _(", 1
        ),
        encoding="utf-8",
    )
    suite = yard_suite.model_copy(update={"seeds": (0,), "tracks": yard_suite.tracks[:1]})

    report = measured_run(suite, tmp_path / "runs").run(
        RunChoice(models=(get_model(str(folder)),)),
        executor=DaskWorkers(client, time_limit_s=300.0),
    )

    ((place, reason),) = report.failures
    assert place.endswith("/raises/seed-0")
    assert reason.startswith("ValueError: no at ")
    assert reason.endswith("/raises/model.py:12 in fit")
