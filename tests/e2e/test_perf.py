"""The scripts behind our figures of speed run, each in its smallest form."""

import importlib
import sys
from pathlib import Path

import pytest

from raymark.dataset import Dataset

pytestmark = pytest.mark.slow

PERF = Path(__file__).parents[2] / "perf"
MODULES = {"sionna_paths", "stub_cluster", "timing"}
"""What the scripts import."""

ARGUMENTS = {
    "completeness": [
        *["--scene", "street_canyon", "--num-ues", "4"],
        *["--discovery", "{discovery_rays: 1000}", "--reference", "{discovery_rays: 3000}"],
    ],
    "download": ["{data}", "--megabytes", "2", "--repeats", "1"],
    "generation": [
        *["--scene", "street_canyon", "--discovery", "quick"],
        *["--sizes", "10"],
    ],
    "interval_coverage": ["--num-trials", "20"],
    "loading": ["{data}", "--scene", "street_canyon", "--quick"],
    "path_estimation": ["--num-links", "2"],
    "release_verify": ["--megabytes", "2", "--repeats", "1"],
    "scaling": [
        *["--scene", "street_canyon", "--discovery", "quick", "--shard-size", "10"],
        *["--num-shards", "1", "--most-workers", "1"],
    ],
    "scattering": ["--num-los", "2", "--num-nlos", "2", "--rays", "10000"],
    "scene_import": ["--num", "50"],
    "scheduler_rate": ["--quick", "--parts", "ways"],
    "scoring": ["--num-cells", "4", "--num-points", "50"],
    "sizing": ["--scene", "street_canyon", "--quick", "--discovery", "quick"],
    "stages": ["--scene", "street_canyon", "--quick"],
    "synthesis": ["--num-ues", "20"],
    "tracing": [
        *["--scene", "street_canyon", "--quick"],
        *["--num-ues", "2", "--peer-rays", "10000"],
        *["--discovery", "quick", "--thorough", "quick"],
    ],
    "training": ["{data}", "--steps", "1", "--num-links", "20"],
}


def test_every_script_is_run_when_it_is_listed() -> None:
    assert {path.stem for path in PERF.glob("*.py")} == MODULES | set(ARGUMENTS)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(name, marks=pytest.mark.needs("mapbox_earcut"))
        if name == "scene_import"
        else name
        for name in ARGUMENTS
    ],
)
def test_script_prints_its_figures_when_run_small(
    script: str,
    small_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In this process: most of the time of its own would go into loading the ray tracer."""
    arguments = [text.replace("{data}", str(small_dataset.folder)) for text in ARGUMENTS[script]]
    monkeypatch.syspath_prepend(str(PERF))
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
    monkeypatch.chdir(tmp_path)

    importlib.import_module(script).main()

    assert any(character.isdigit() for character in capfd.readouterr().out)
