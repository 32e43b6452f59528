"""The tutorial runs as it is printed, and prints what it shows."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "new_scene.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WIDTH = "100"
"""Columns of the terminal that the page was printed in."""


def blocks(text: str, kind: str) -> list[str]:
    return [body for language, body in FENCE.findall(text) if language == kind]


def write_files(text: str, folder: Path) -> None:
    for body in [*blocks(text, "yaml"), *blocks(text, "python")]:
        path = folder / body.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(body, encoding="utf-8")


def run(command: str, folder: Path) -> str:
    words = shlex.split(command)
    programs = {
        "python": [sys.executable],
        "raymark": [sys.executable, "-c", "from raymark.cli import main; main()"],
    }
    done = subprocess.run(
        [*programs[words[0]], *words[1:]],
        cwd=folder,
        env={**os.environ, "COLUMNS": WIDTH, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def masked(text: str) -> list[str]:
    """Return the lines of a text without what another processor may print otherwise.

    These are numbers, hashes, whether a site is a roof or a mast, and widths of columns.
    """
    text = re.sub(r"\b[0-9a-f]{64}\b|[-+]?\d[\d.,]*(e[-+]?\d+)?%?", "#", text)
    text = re.sub(r"\b(roof|mast)\b", "place", text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line]


def missing_lines(shown: str, printed: str) -> list[str]:
    """Return the lines that are shown but were not printed in this order."""
    left = iter(masked(printed))
    return [line for line in masked(shown) if line != "..." and line not in left]


@pytest.mark.slow
def test_tutorial_prints_what_it_shows_when_its_commands_run(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (tmp_path / "docs").mkdir()
    shutil.copy(DOCS / "make_block.py", tmp_path / "docs")
    write_files(text, tmp_path)
    commands = "\n".join(blocks(text, "sh")).splitlines()
    printed = "\n".join(run(command, tmp_path) for command in commands if command)
    assert missing_lines("\n".join(blocks(text, "text")), printed) == []
    for name in ("sites.png", "plan.png", "quarter.html"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_tutorial_reaches_a_number_when_fewer_than_ten_commands_ran() -> None:
    commands = "\n".join(blocks(PAGE.read_text(encoding="utf-8"), "sh")).split("\n")
    names = [command for command in commands if command]
    assert names.index("raymark bench score runs") + 1 < 10


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ("a 1\nb 2", []),
        ("a 9\n...\nc 7", []),
        ("b 2\na 1", ["a #"]),
        ("a 1\nd 4", ["d #"]),
    ],
)
def test_missing_lines_names_them_when_they_were_not_printed(
    shown: str, missing: list[str]
) -> None:
    assert missing_lines(shown, "a 1\nb 2\nc 3") == missing


def test_map_is_the_same_when_made_twice(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.geojson", "b.geojson", "other.geojson")]
    for file, seed in zip(files, ("0", "0", "1"), strict=True):
        subprocess.run(
            [sys.executable, str(DOCS / "make_block.py"), str(file), seed],
            check=True,
            capture_output=True,
        )
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert texts[0] == texts[1] != texts[2]
