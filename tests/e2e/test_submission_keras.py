"""A third party's way: export a task, train Keras on it, submit predictions."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from raymark.benchmark import Suite, Task
from raymark.benchmark.export import export_task
from raymark.benchmark.scoring import score_cell
from raymark.benchmark.submission import read_submission
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task_links import truth_of
from raymark.dataset import Dataset

TRAIN = """
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from raymark.benchmark.tf_data import load_part
from raymark.errors import ConfigError

path, out = Path(sys.argv[1]), Path(sys.argv[2])
try:
    load_part(path, "train", ["featurs"])
except ConfigError as error:
    print(error)

import keras

keras.utils.set_random_seed(0)
train = load_part(path, "train", ["features"], batch_size=16, seed=0)
validation = load_part(path, "validation", ["features"])
test = load_part(path, "test", ["features"])

scale = keras.layers.Normalization(name="scale")
scale.adapt(train.map(lambda inputs, _: inputs["features"]))
features = keras.Input(shape=train.element_spec[0]["features"].shape[1:], name="features")
hidden = keras.layers.Dense(32, activation="relu")(scale(features))
model = keras.Model({"features": features}, keras.layers.Dense(2)(hidden))
model.compile(keras.optimizers.Adam(0.03), "mse")
model.fit(train, validation_data=validation, epochs=30, verbose=0)
position_m = model.predict(test, verbose=0)

with h5py.File(path) as file:
    site = file["test"]["site_index"][:]
    yaw, origin_m = file["site_yaw_rad"][:][site], file["site_origin_m"][:][site]
    x, y = position_m.T
    table = pd.DataFrame(
        {
            "site": file["test"]["site"].asstr()[:],
            "ue_index": file["test"]["ue_index"][:],
            "x_m": origin_m[:, 0] + x * np.cos(yaw) - y * np.sin(yaw),
            "y_m": origin_m[:, 1] + x * np.sin(yaw) + y * np.cos(yaw),
        }
    )
    stored = [len(part) for part in (file["train"]["features"], file["test"]["features"])]
    folder = out / "predictions" / file.attrs["slug"]
seen = [sum(len(batch["features"]) for batch, _ in train), len(table)]
assert seen == stored, (seen, stored)
folder.mkdir(parents=True)
table.to_parquet(folder / "seed-0.parquet")
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("tensorflow"),
]


def test_keras_predictions_are_scored_when_submitted_by_a_third_party(
    benchmark_suite: Suite,
    benchmark_task: Callable[..., Task],
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    tmp_path: Path,
) -> None:
    task = benchmark_task("interpolation", "yard")
    exported, folder = tmp_path / "task.h5", tmp_path / "submission"
    export_task(benchmark_suite, task, benchmark_dataset, exported, seed=0)
    folder.mkdir()
    info = {
        "name": "tiny_keras",
        "title": "Tiny Keras",
        "summary": "One hidden layer.",
        "is_trajectory": False,
        "suite": benchmark_suite.name,
        "suite_hash": benchmark_suite.hash,
        "content_hash": benchmark_suite.content_hash,
        "tuning": "nothing",
        "inputs": ["paths"],
        "pretraining": [],
        "openness": "code",
        "replication": "none",
    }
    (folder / "submission.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    (folder / "card.md").write_text("# Tiny Keras\n", encoding="utf-8")

    child = subprocess.run(
        [sys.executable, "-c", TRAIN, str(exported), str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert "part 'train' has no arrays ['featurs']" in child.stdout

    def truth(asked: Task) -> pd.DataFrame:
        return truth_of(asked, benchmark_dataset, benchmark_splits)

    _, (cell,) = read_submission(folder, benchmark_suite, truth)
    error_m = score_cell(cell, truth(task)).errors.error_m
    true_m = truth(task)[["x_m", "y_m"]].to_numpy()
    centroid_error_m = np.linalg.norm(true_m - true_m.mean(axis=0), axis=1)
    assert np.isfinite(error_m).all()
    assert error_m.mean() < 2 * centroid_error_m.mean()
