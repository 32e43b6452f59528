"""Figures, audits, boards and releases need neither the ray tracer nor the scenes."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite
from raymark.dataset import Dataset

pytestmark = pytest.mark.slow

FINISHED, FAILED = 0, 1

WITHOUT_TRACER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"sionna", "mitsuba", "drjit", "trimesh", "shapely"}:
            raise ImportError(f"{name} is not installed here")
        if name.startswith(("raymark.generator", "raymark.scenes")):
            raise ImportError(f"{name} has no place here")

sys.meta_path.insert(0, Blocker())
import json
from raymark.cli import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["raymark", *arguments]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""
"""Runs some commands, one after the other, until one fails."""


def raymark(*commands: Sequence[object]) -> subprocess.CompletedProcess[str]:
    text = json.dumps([list(map(str, arguments)) for arguments in commands])
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TRACER, text],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_figures_audit_board_and_release_are_made_when_there_is_no_ray_tracer(
    benchmark_dataset: Dataset,
    two_site_dataset: Dataset,
    benchmark_run: RunFolder,
    yard_suite: Suite,
    tmp_path: Path,
) -> None:
    pytest.importorskip("mlcroissant", reason="the extra `release` is not installed")
    suite, about = tmp_path / "suite.yaml", tmp_path / "about.yaml"
    suite.write_text(yaml.safe_dump(yard_suite.model_dump(mode="json")), encoding="utf-8")
    about.write_text("title: Yard\nauthors: [{name: 'Doe, Jane'}]\n", encoding="utf-8")
    data, runs = benchmark_dataset.folder, benchmark_run.root
    release, published = tmp_path / "release", ["--about", about, "--runs", runs]

    done = raymark(
        ["inspect", two_site_dataset.folder, "--out", tmp_path / "figures"],
        ["bench", "audit", "--suite", suite, "--data", data, "--out", tmp_path / "audit"],
        ["bench", "board", runs, "--data", data, "--out", tmp_path / "board"],
        ["release", "build", data, "--version", "1.0.0", *published, "--out", release],
    )
    assert done.returncode == FINISHED, done.stderr

    for folder in (tmp_path / "board", release / "board"):
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert page.count("iVBORw0KGgo") == 2  # pictures of the buildings of both scenes


def test_process_without_the_ray_tracer_fails_when_it_is_needed(tmp_path: Path) -> None:
    """The test above can fail: a command that draws from a scene does."""
    done = raymark(["scenes", "preview", "etoile", "--out", tmp_path / "plan.png"])

    assert done.returncode == FAILED
    assert "has no place here" in done.stderr
