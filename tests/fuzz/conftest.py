"""Small, whole folders of every kind, to be damaged in copies."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from raymark.benchmark.checkpoint import TrainingSummary, write_checkpoint
from raymark.benchmark.localizer import read_model_folder
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import SUITES_FOLDER, Suite
from raymark.catalog import publish_release
from raymark.dataset import Dataset
from raymark.dataset.subset import Cut, cut_dataset
from raymark.generator.plan import preset_text
from raymark.release import BuildSettings, build_release
from raymark.release.record import About, Author
from raymark.work.cluster import example_names, example_text

MakeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def tiny_dataset(small_dataset: Dataset, make_once: MakeOnce) -> Path:
    """Ten UEs at one band."""

    def fill(folder: Path) -> None:
        cut_dataset(small_dataset, folder / "data", Cut(num_ues=10, bands=("6GHz",)))

    return make_once("tiny_dataset", fill)


@pytest.fixture(scope="session")
def tiny_foreign(make_once: MakeOnce) -> Path:
    """An environment of WAIR-D with three UEs in line of sight, and a picture of a house."""

    def fill(folder: Path) -> None:
        bs_m, ue_m = np.array([0.0, 0, 6]), np.array([[9.0, 1, 1.5], [5, 5, 1.5], [1, 9, 1.5]])
        away_m = ue_m - bs_m
        length_m = np.linalg.norm(away_m, axis=1)
        angles = np.column_stack(
            [np.arccos(away_m[:, 2] / length_m), np.arctan2(away_m[:, 1], away_m[:, 0])]
        )
        paths, responses = {}, {}
        for i in range(3):
            there = angles[i : i + 1]
            back = [np.pi, np.pi] + there * [-1, 1]
            paths[f"bs0_ue{i}"] = {"taud": length_m[i : i + 1] / 0.3, "dod": there, "doa": back}
            responses[f"bs0_ue{i}"] = np.array([1e-4 + 0j])
        inside = folder / "data" / "00743"
        inside.mkdir(parents=True)
        np.save(inside / "Info.npy", np.concatenate([[20, 20, 0, 0], 2 * ue_m[:, :2].ravel()]))
        np.save(inside / "Path.npy", np.array(paths, dtype=object))
        np.save(inside / "H_28_0_G.npy", np.array(responses, dtype=object))
        plan = np.zeros((40, 40), dtype="u1")
        plan[10:20, 10:20] = 255
        Image.fromarray(plan).save(folder / "data" / "plan.png")

    return make_once("tiny_foreign", fill)


@pytest.fixture(scope="session")
def tiny_site(small_release: Path, make_once: MakeOnce) -> Path:
    """An index with a release beside it."""

    def fill(folder: Path) -> None:
        index = str(folder / "data" / "index.json")
        publish_release(small_release, str(folder / "data" / "walls"), index)

    return make_once("tiny_site", fill)


@pytest.fixture(scope="session")
def tiny_release(tiny_dataset: Path, make_once: MakeOnce) -> Path:
    """A release of it, with fingerprints."""

    def fill(folder: Path) -> None:
        about = About(title="Tiny", authors=(Author(name="Doe, Jane"),))
        settings = BuildSettings(
            version="1.0.0", about=about, materialized=(("street_canyon", "6GHz"),)
        )
        build_release(tiny_dataset / "data", folder / "data", settings)

    return make_once("tiny_release", fill)


@pytest.fixture(scope="session")
def tiny_run(benchmark_run: RunFolder, make_once: MakeOnce) -> Path:
    """A run of two models, without measurements."""

    def fill(folder: Path) -> None:
        ignored = shutil.ignore_patterns("measurements", "audit")
        shutil.copytree(benchmark_run.root, folder / "data", ignore=ignored)

    return make_once("tiny_run", fill)


@pytest.fixture(scope="session")
def tiny_submission(tiny_run: Path, make_once: MakeOnce) -> Path:
    """A model of that run under another name."""

    def fill(folder: Path) -> None:
        shutil.copytree(tiny_run / "data", folder / "run")
        run = RunFolder(folder / "run")
        suite = run.info().suite
        info = {
            "name": "theirs",
            "title": "Theirs",
            "summary": "Handed in.",
            "is_trajectory": False,
            "suite": suite.name,
            "suite_hash": suite.hash,
            "content_hash": suite.content_hash,
            "tuning": "none",
            "inputs": ["paths"],
            "pretraining": [{"name": "elsewhere"}],
            "openness": "closed",
            "replication": "none",
            "num_parameters": 5,
            "software": {"theirs": "1"},
        }
        (folder / "data").mkdir()
        (folder / "data" / "submission.yaml").write_text(json.dumps(info), encoding="utf-8")
        (folder / "data" / "card.md").write_text("# Theirs\n", encoding="utf-8")
        cells = [cell for cell in run.cells() if cell.result.model == "wknn"]
        for i, cell in enumerate(cells):
            task = folder / "data" / "predictions" / cell.task.slug
            task.mkdir(parents=True, exist_ok=True)
            if i % 2:
                cell.predictions.to_csv(task / f"seed-{cell.result.seed}.csv", index=False)
            else:
                cell.predictions.to_parquet(task / f"seed-{cell.result.seed}.parquet", index=False)

    return make_once("tiny_submission", fill)


CENTROID = """
import numpy as np

from raymark.benchmark import Localizer, Prediction


class Model(Localizer):
    def fit(self, train, validation):
        self.position_m = train.position_m.mean(axis=0)

    def predict(self, test):
        return Prediction(position_m=np.tile(self.position_m, (len(test), 1)))

    def save(self, folder):
        np.save(folder / "position.npy", self.position_m)

    def load(self, folder):
        self.position_m = np.load(folder / "position.npy").reshape(2)
"""


@pytest.fixture(scope="session")
def tiny_checkpoint(
    benchmark_dataset: Dataset,
    benchmark_suite: Suite,
    make_once: MakeOnce,
) -> Path:
    """A fitted model, and beside it the folder of its code."""

    def fill(folder: Path) -> None:
        info = {"title": "C", "summary": "C.", "is_trajectory": False, "inputs": ["scalars"]}
        (folder / "kept_centroid").mkdir()
        for name, text in {
            "model.py": CENTROID,
            "model.yaml": json.dumps({**info, "tuning": "none", "config": {}}),
            "card.md": "# C\n",
        }.items():
            (folder / "kept_centroid" / name).write_text(text, encoding="utf-8")
        model = read_model_folder(folder / "kept_centroid")
        localizer = model.create(0)
        localizer.position_m = np.array([1.0, 2.0])
        training = TrainingSummary(
            num_train=3,
            num_validation=2,
            fit_s=0.5,
            num_parameters=2,
            validation_mean_m=3.0,
            validation_median_m=2.0,
            validation_p90_m=9.0,
            choices={},
            history={"loss": [1.0]},
            diagnostics={},
            hardware="any",
        )
        write_checkpoint(
            folder / "data",
            model,
            localizer,
            benchmark_suite.tasks()[0],
            dataset=benchmark_dataset,
            training=training,
        )

    return make_once("tiny_checkpoint", fill)


@pytest.fixture(scope="session")
def tiny_texts(make_once: MakeOnce) -> Path:
    """A campaign, a suite and a description of every kind of cluster."""

    def fill(folder: Path) -> None:
        texts = {
            "campaign": preset_text("mini"),
            "suite": (SUITES_FOLDER / "mini.yaml").read_text(encoding="utf-8"),
            **{f"cluster-{name}": example_text(name) for name in example_names()},
        }
        (folder / "data").mkdir()
        for name, text in texts.items():
            (folder / "data" / f"{name}.yaml").write_text(text, encoding="utf-8")

    return make_once("tiny_texts", fill)


@pytest.fixture(scope="session")
def tiny_scene(write_scene: Callable[..., Path], make_once: MakeOnce) -> Path:
    """A scene of two boxes."""

    def fill(folder: Path) -> None:
        boxes = {
            f"box{i}": (trimesh.creation.box(bounds=[[x, 0, 0], [x + 9, 9, 20]]), "concrete")
            for i, x in enumerate([-20.0, 20.0])
        }
        site = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 25.0}
        shutil.copytree(write_scene("data", boxes, [site]), folder / "data")

    return make_once("tiny_scene", fill)
