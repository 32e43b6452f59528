"""Links that a checkpoint locates are handed out as its task hands them out."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from raymark.benchmark import UeLinks
from raymark.benchmark.checkpoint import Checkpoint, open_checkpoint
from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.locating import Located, locate_dataset
from raymark.benchmark.odometry import Odometry
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import load_task
from raymark.benchmark.training import train_model
from raymark.config import validate
from raymark.dataset import Dataset
from raymark.errors import CheckpointError, ConfigError, RaymarkError, SplitError
from raymark.models import get_model

SEES_ALL = """
import numpy as np

from raymark.benchmark import Localizer, Prediction, UeLinks


class Model(Localizer):
    def fit(self, train, validation):
        pass

    def predict(self, test):
        self.seen = test
        ues = UeLinks.of(test)
        count = (ues.row >= 0).sum(axis=1)
        place_m = np.stack([count, np.arange(len(ues))], axis=1).astype("f8")
        return Prediction(position_m=ues.positions_of_links(place_m))

    def save(self, folder):
        (folder / "nothing").touch()

    def load(self, folder):
        pass
"""

OF_UES = {"kind": "random-tracks", "unit": "ue"}
OF_WALKS = {
    "kind": "crossing-tracks",
    "windows": "tracks",
    "validation_share": 0.3,
    "test_share": 0.3,
}


@pytest.fixture(params=[("paths", "other_sites")])
def model(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelFolder:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sees_all", raising=False)
    folder = tmp_path / "models" / "sees_all"
    folder.mkdir(parents=True)
    info = {
        "title": "Sees all",
        "summary": "Made by a test.",
        "is_trajectory": False,
        "inputs": list(request.param),
        "tuning": "nothing",
    }
    (folder / "model.py").write_text(SEES_ALL, encoding="utf-8")
    (folder / "model.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    (folder / "card.md").write_text("# Sees all\n", encoding="utf-8")
    return get_model(str(folder))


def task_on(dataset: Dataset, yard_suite: Suite, track: dict[str, Any]) -> Task:
    content_hash = dataset.manifest.content_hash
    changes = {"content_hash": content_hash, "tracks": [track], "split_hashes": {}}
    data = yard_suite.model_dump(mode="json") | changes
    return validate(Suite, data, where="test").tasks()[0]


def trained(model: ModelFolder, task: Task, dataset: Dataset, folder: Path) -> Checkpoint:
    train_model(model, task, dataset, folder, seed=0)
    return open_checkpoint(folder, model=model)


def test_ues_are_located_by_all_sites_that_hear_them_when_the_task_says_so(
    model: ModelFolder, yard_suite: Suite, shared_dataset: Dataset, tmp_path: Path
) -> None:
    task = task_on(shared_dataset, yard_suite, {"track": "multi-site", "split": OF_UES})
    kept = trained(model, task, shared_dataset, tmp_path / "kept")

    located = locate_dataset(kept, shared_dataset)

    seen = vars(kept.localizer)["seen"]
    assert UeLinks.of(seen).row.shape == (160, 2)
    table = located.positions
    assert table["site"].value_counts().to_dict() == {"west": 160, "east": 160}
    np.testing.assert_allclose(table["x_m"], 2.0, atol=1e-9)  # the sites of each UE
    by_site = table.pivot(index="ue_index", columns="site", values="y_m")
    np.testing.assert_allclose(by_site["west"], by_site["east"], atol=1e-9)
    # Each UE counts once, in the part of its link at the first site.
    split = Splits(shared_dataset, task.window_size).get(task, "yard").table
    expected = split.loc[split["site"] == "west", "part"].value_counts()
    assert sorted(located.errors["points"]) == sorted(expected)
    assert "each UE is located by its links at 2 sites" in " ".join(located.notes)


def test_links_of_other_sites_are_counted_when_the_task_hears_one_alone(
    model: ModelFolder, yard_suite: Suite, shared_dataset: Dataset, tmp_path: Path
) -> None:
    task = task_on(shared_dataset, yard_suite, {"track": "multi-site-1", "split": OF_UES})

    located = locate_dataset(
        trained(model, task, shared_dataset, tmp_path / "kept"), shared_dataset
    )

    assert set(located.positions["site"]) == {"west"}
    assert len(located.positions) == located.errors["points"].sum() == 160
    assert "160 links of other sites" in " ".join(located.notes)


def test_ues_are_refused_when_the_sites_of_a_dataset_see_their_own(
    model: ModelFolder,
    yard_suite: Suite,
    shared_dataset: Dataset,
    benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:
    task = task_on(shared_dataset, yard_suite, {"track": "multi-site", "split": OF_UES})
    kept = trained(model, task, shared_dataset, tmp_path / "kept")

    with pytest.raises(SplitError, match=r"the sites of yard in .* see UEs of their own; use a"):
        locate_dataset(kept, benchmark_dataset)


@pytest.mark.parametrize("model", [("paths",)], indirect=True)
def test_steps_are_measured_as_in_a_run_when_the_task_has_odometry(
    model: ModelFolder, yard_suite: Suite, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    track = {"track": "sequence", "split": OF_WALKS, "odometry": Odometry().model_dump()}
    task = task_on(benchmark_dataset, yard_suite, track)
    kept = trained(model, task, benchmark_dataset, tmp_path / "kept")

    located: Located = locate_dataset(kept, benchmark_dataset)

    seen = vars(kept.localizer)["seen"]
    splits = Splits(benchmark_dataset, task.window_size)
    in_a_run = load_task(
        task, 0, benchmark_dataset, splits, tmp_path / "kept" / "measurements", with_csi=False
    ).test
    assert in_a_run.odometry_m is not None
    expected = {tuple(step) for step in in_a_run.odometry_m if step.any()}
    assert expected
    assert expected <= {tuple(step) for step in seen.odometry_m}
    assert len(located.positions) == len(seen)


def test_maps_are_refused_when_the_model_reads_none(
    model: ModelFolder, yard_suite: Suite, shared_dataset: Dataset, tmp_path: Path
) -> None:
    task = task_on(shared_dataset, yard_suite, {"track": "multi-site", "split": OF_UES})
    kept = trained(model, task, shared_dataset, tmp_path / "kept")

    sentence = r"none is among those chosen \(sees_all\); leave --maps out"
    with pytest.raises(ConfigError, match=sentence):
        locate_dataset(kept, shared_dataset, maps=tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        train_model(model, task, shared_dataset, tmp_path / "new", seed=0, maps=tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        RunChoice(models=(model,), maps=tmp_path)
    assert not (tmp_path / "new").exists()


def test_folder_stays_free_when_the_dataset_lacks_what_the_task_asks(
    model: ModelFolder, yard_suite: Suite, shared_dataset: Dataset, tmp_path: Path
) -> None:
    task = task_on(shared_dataset, yard_suite, {"track": "multi-site", "split": OF_UES})
    absent = {
        "has no scene 'yards'": {"scene": "yards"},
        "has no band '39GHz'": {"band": "39GHz"},
    }

    for message, change in absent.items():
        changed = task.model_copy(update=change)
        with pytest.raises(RaymarkError, match=message):
            train_model(model, changed, shared_dataset, tmp_path / "kept", seed=0)
    assert not (tmp_path / "kept").exists()


def test_training_says_what_keeps_none_when_sites_are_fused(
    yard_suite: Suite, shared_dataset: Dataset, tmp_path: Path
) -> None:
    task = task_on(shared_dataset, yard_suite, {"track": "multi-site", "split": OF_UES})

    with pytest.raises(
        CheckpointError, match=r"model 'wknn\+sites' keeps no checkpoint: what \+sit"
    ):
        train_model(get_model("wknn+sites"), task, shared_dataset, tmp_path / "kept", seed=0)
    assert not (tmp_path / "kept").exists()
