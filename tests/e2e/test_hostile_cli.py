"""The command line, whatever stands in files, in names and around it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import raymark

from raymark.benchmark.store import RunFolder
from raymark.cli.console import _Printer
from raymark.dataset import Dataset


def test_sentence_says_why_when_a_name_is_too_long(tmp_path: Path) -> None:
    name = "a" * 300
    for arguments in (
        ("plan", name),
        ("verify", tmp_path / name),
        ("release", "verify", tmp_path / name),
        ("scenes", "show", name),
        ("bench", "new-model", name, "--out", tmp_path),
        ("bench", "board", tmp_path / name, "--out", tmp_path / "board"),
    ):
        done = raymark(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert "error: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_texts_of_files_do_not_steer_the_terminal(tmp_path: Path) -> None:
    campaign = tmp_path / "x.yaml"
    campaign.write_text('name: "a\\x1b[2J\\x1b]0;owned\\a\\u202Ez"\n', encoding="utf-8")

    done = raymark("plan", campaign)

    assert done.returncode == 2
    assert not {"\x1b", "\a", "\u202e"} & set(done.stderr + done.stdout)


def test_printer_shows_signs_for_control_characters_when_it_writes_to_a_terminal() -> None:
    file = io.StringIO()
    printer = _Printer(file=file, force_terminal=True, markup=False, highlight=False, width=80)

    printer.print("a\x1b[2Jb\x9bc\u202ed\ne\tf", style="red")

    text = file.getvalue()
    assert "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c" in text
    assert text.count("\x1b") == text.count("\x1b[31m") + text.count("\x1b[0m")
    assert not {"\x9b", "\u202e"} & set(text)


def test_command_runs_as_a_module_when_the_terminal_knows_ascii_only(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "raymark", "plan", "münchen"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: unknown preset 'm\\xfcnchen'")


def test_verify_tells_what_it_cannot_prove(small_dataset: Dataset) -> None:
    done = raymark("verify", small_dataset.folder)

    assert done.returncode == 0
    assert "not proven  Amplitudes" in done.stdout
    assert "the seal is a hash without a secret" in done.stdout


@pytest.mark.parametrize("name", ["wknn", "train_centroid"])
def test_submission_is_refused_when_it_is_named_as_a_row_of_every_board(
    benchmark_run: RunFolder, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "submission"
    (folder / "predictions").mkdir(parents=True)
    (folder / "card.md").write_text("# ours\n", encoding="utf-8")
    suite = benchmark_run.info().suite
    lines = {
        "name": name,
        "title": "Ours",
        "summary": "Ours",
        "is_trajectory": "false",
        "suite": suite.name,
        "suite_hash": suite.hash,
        "content_hash": suite.content_hash,
        "tuning": "none",
        "inputs": ["paths"],
        "pretraining": [],
        "openness": "code",
        "replication": "none",
    }
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    (folder / "submission.yaml").write_text(text, encoding="utf-8")

    done = raymark(
        *("bench", "board", benchmark_run.root, "--out", tmp_path / "board"),
        *("--submission", folder),
    )

    assert done.returncode == 2
    assert f"'{name}' is a row that boards have already" in done.stderr
