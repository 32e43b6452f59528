"""Models that look where they must not, keep what they saw, and spoil what others do."""

import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from raymark.benchmark.model_code import folder_of
from raymark.benchmark.run import Runner
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.store import CellResult, RunFolder
from raymark.benchmark.task import Suite
from raymark.benchmark.worker import Outcome
from raymark.dataset import Dataset
from raymark.errors import ScoringError
from raymark.models import get_model
from raymark.work.executor import ThisMachine
from raymark.work.sandbox import reach_of, sandbox_name

needs_sandbox = pytest.mark.skipif(
    sandbox_name() == "none", reason="this system has no Landlock, and runs say so"
)

HEAD = """
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from raymark.benchmark import Localizer, Prediction
from raymark.benchmark import localizer as shared


class Centroid(Localizer):
    def fit(self, train, validation):
        self.position_m = train.position_m.mean(axis=0)
        self.look(train)

    def predict(self, test):
        return Prediction(position_m=np.tile(self.position_m, (len(test), 1)))
"""

HOARDER = """
class Model(Centroid):
    def look(self, train):
        places = [Path.home(), Path(tempfile.gettempdir()), Path.cwd(), Path(__file__).parent]
        files = [place / "hoard.npy" for place in (*places, Path("/tmp"), Path("/dev/shm"))]
        found = [str(file) for file in files if file.exists()]
        found += ["a module"] if hasattr(shared, "HOARD") else []
        shared.HOARD = train.position_m
        for file in files:
            with contextlib.suppress(OSError):
                np.save(file, train.position_m)
        self.diagnostics = {"found": found, "pid": left_behind()}


def left_behind():
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"])
        os.write(writing, str(pid).encode())
        os._exit(0)
    return int(os.read(reading, 20))
"""

SABOTEUR = """
class Model(Centroid):
    def look(self, train):
        np.mean = np.zeros
        Prediction.__init__ = None
        Localizer.fit = Localizer.predict = None
        for descriptor in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"nonsense" * 100)
"""

LOOKER = """
class Model(Centroid):
    def look(self, train):
        self.diagnostics = {
            "inputs": os.listdir("."),
            "arguments": sys.argv[1:],
            "variables": sorted(os.environ),
            "seen": [name for place in self.config["places"] for name in seen(Path(place))],
        }


def seen(place):
    files = [place] if place.suffix else [*place.rglob("*")]
    found = [str(file) for file in files if file.is_dir()]
    for file in files:
        with contextlib.suppress(OSError):
            file.read_bytes()[:1] and found.append(str(file))
    return found
"""


def write_model(parent: Path, name: str, code: str, **config: Any) -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    info = {
        "title": name,
        "summary": "Made by a test.",
        "is_trajectory": False,
        "inputs": ["scalars", "csi"],
        "tuning": "nothing",
        "config": config,
    }
    (folder / "model.py").write_text(HEAD + code, encoding="utf-8")
    (folder / "model.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    (folder / "card.md").write_text(f"# {name}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, benchmark_dataset: Dataset, yard_suite: Suite
) -> dict[tuple[str, int], tuple[CellResult, np.ndarray]]:
    """Result and predictions of cells that one process runs one after the other, models beside."""
    parent = tmp_path_factory.mktemp("confined")
    places = [parent / "runs", benchmark_dataset.folder.require_local("this test")]
    places += [Path(f"/proc/{name}/cmdline") for name in ("1", _own_id())]
    # With these, a preset's seed is a dataset's UEs.
    places += [folder_of(f"raymark.{name}") for name in ("generator", "scenes")]
    folders = [
        write_model(parent, "hoarder", HOARDER),
        write_model(parent, "looker", LOOKER, places=[str(place) for place in places]),
        write_model(parent, "saboteur", SABOTEUR),
    ]
    models = [*(get_model(str(folder)) for folder in folders), get_model("train_centroid")]
    suite = yard_suite.model_copy(update={"tracks": yard_suite.tracks[:1]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("SECRET_TOKEN", "of the user")
        runner = Runner(suite, benchmark_dataset, parent / "runs")
        report = runner.run(RunChoice(models=tuple(models)), executor=ThisMachine(1))
    assert {place.split("/")[1] for place, _ in report.failures} <= {"saboteur"}
    assert report.sandboxes == (sandbox_name(),)
    return {
        (cell.result.model, cell.result.seed): (
            cell.result,
            cell.predictions[["x_m", "y_m"]].to_numpy(),
        )
        for cell in RunFolder(parent / "runs").cells()
        if "x_m" in cell.predictions  # the bound has errors alone
    }


def _own_id() -> str:
    return Path("/proc/self").resolve().name if Path("/proc").is_dir() else "self"


@pytest.mark.slow
def test_nothing_is_found_of_the_cell_before_when_a_model_hoards_labels(
    results: dict[tuple[str, int], tuple[CellResult, np.ndarray]],
) -> None:
    for seed in (0, 1):
        assert results["hoarder", seed][0].diagnostics["found"] == []


@pytest.mark.slow
def test_no_process_outlives_its_cell_when_a_model_leaves_one(
    results: dict[tuple[str, int], tuple[CellResult, np.ndarray]],
) -> None:
    for seed in (0, 1):
        status = Path(f"/proc/{results['hoarder', seed][0].diagnostics['pid']}/cmdline")
        assert not status.is_file() or b"sleep(600)" not in status.read_bytes()


@pytest.mark.slow
def test_other_models_are_as_if_alone_when_one_spoils_its_process(
    results: dict[tuple[str, int], tuple[CellResult, np.ndarray]],
) -> None:
    for seed in (0, 1):
        expected = results["train_centroid", seed][1]
        for name in ("hoarder", "looker"):
            np.testing.assert_allclose(results[name, seed][1], expected, rtol=1e-9)


@pytest.mark.slow
def test_process_begins_with_nothing_but_its_inputs_when_a_model_looks_around(
    results: dict[tuple[str, int], tuple[CellResult, np.ndarray]],
) -> None:
    seen = results["looker", 0][0].diagnostics

    assert seen["inputs"] == seen["arguments"] == []
    assert not {"SECRET_TOKEN", "OLDPWD", "_"} & set(seen["variables"])


@needs_sandbox
@pytest.mark.slow
def test_run_dataset_generator_and_parent_are_out_of_reach_when_a_model_knows_where_they_are(
    results: dict[tuple[str, int], tuple[CellResult, np.ndarray]],
) -> None:
    for seed in (0, 1):
        assert results["looker", seed][0].diagnostics["seen"] == []
        assert results["looker", seed][0].sandbox.startswith("landlock ")


def test_reach_leaves_out_what_is_hidden_when_it_lies_in_a_folder_of_code(tmp_path: Path) -> None:
    for name in ("code/sub/run/truth", "code/sub/lib", "code/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "code" / "link").symlink_to(tmp_path / "code" / "sub" / "run")

    read = reach_of([tmp_path / "code"], hidden=[tmp_path / "code" / "sub" / "run"]).read

    own = {str(Path(p).relative_to(tmp_path)) for p in read if p.startswith(str(tmp_path))}
    assert own == {"code/sub/lib", "code/other"}


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return exec, ("raise SystemExit('code ran')",)


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no prediction"),
        (pickle.dumps(_Bomb()), "is no prediction"),
        (_npz(position_m=np.array([_Bomb()], dtype=object)), "is no prediction"),
        (_npz(position_m=np.zeros((2, 2))), "is no prediction: KeyError: 'record'"),
        (
            _npz(position_m=np.zeros((2, 2)), record=np.frombuffer(b"[" * 9, "u1")),
            "is no prediction",
        ),
        (
            _npz(position_m=np.zeros((2, 2)), record=np.frombuffer(b'{"model": "x"}', "u1")),
            "unknown key at the record: model",
        ),
    ],
)
def test_answer_of_a_models_process_is_refused_when_it_is_none(
    content: bytes, message: str
) -> None:
    with pytest.raises(ScoringError, match=message):
        Outcome.from_bytes(content, 2)


def test_answer_of_a_models_process_is_refused_when_a_link_is_missing() -> None:
    record = {
        "fit_s": 1.0,
        "predict_ms_per_point": 1.0,
        "peak_memory_mb": 1.0,
        "num_parameters": None,
        "choices": {},
        "history": {},
        "diagnostics": {},
        "hardware": "any",
    }
    content = _npz(
        position_m=np.zeros((2, 2)), record=np.frombuffer(json.dumps(record).encode(), "u1")
    )

    assert Outcome.from_bytes(content, 2).record == record
    with pytest.raises(ScoringError, match=r"position_m must have shape \(3, 2\), got \(2, 2\)"):
        Outcome.from_bytes(content, 3)
