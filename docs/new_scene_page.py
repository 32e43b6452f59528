"""Run docs/new_scene.md in a fresh folder, and write what its commands print into the page.

Run it from anywhere: `python docs/new_scene_page.py`. A test runs the page, too, and compares what
is printed with what is shown: words to the letter, numbers within `TOLERANCE` (a model's scores
within `MODEL_TOLERANCE`).
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PAGE = Path(__file__).with_name("new_scene.md")
MAP_SCRIPT = Path(__file__).with_name("make_block.py")

TOLERANCE = 0.25
"""Largest difference of a number, as a share of the larger one."""

MODEL_TOLERANCE = 0.6
"""The same for a model's scores of these 80 UEs. Estimates that are rounded otherwise, as by
another instruction set of the same machine, moved them by up to 13 %; paths that were, moved the
median of extra_trees in LOS by 34 %."""

_SMALLEST = 0.02
"""Largest difference of numbers near zero, such as a share of 0.00%."""

WIDTH = "100"
"""Columns of the terminal."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")
_PLACE = re.compile(r"\b(roof|mast)\b")
_MODEL = re.compile(r"\b(extra_trees|wknn)\b")
_PROGRAMS = {
    "python": [sys.executable],
    "raymark": [sys.executable, "-c", "from raymark.cli import main; main()"],
}


def blocks(text: str, kind: str) -> list[str]:
    """Return the bodies of the fenced blocks of one language."""
    return [body for language, body in _FENCE.findall(text) if language == kind]


def commands(text: str) -> list[str]:
    """Return the commands of a page, in order."""
    return [line for body in blocks(text, "sh") for line in body.splitlines() if line]


def run_command(words: list[str], folder: Path) -> str:
    """Return what a command of the page prints in a process of its own."""
    done = subprocess.run(  # noqa: S603 - the commands of our own page
        [*_PROGRAMS[words[0]], *words[1:]],
        cwd=folder,
        env={**os.environ, "COLUMNS": WIDTH, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"$ {shlex.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def printed_page(
    text: str, folder: Path, run: Callable[[list[str], Path], str] = run_command
) -> str:
    """Return a page with what its commands print when they run in a folder.

    The text blocks after a block of commands show what they print, one after the other; what is
    left out of one, "...", stays so.

    Args:
        text: The page.
        folder: An empty one, where the commands run.
        run: Runs one, given as words.
    """
    (folder / "docs").mkdir()
    shutil.copy(MAP_SCRIPT, folder / "docs")
    _write_files(text, folder)
    printed: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        language, body = match.groups()
        if language == "sh":
            lines = (command for command in body.splitlines() if command)
            printed.extend(run(shlex.split(command), folder) for command in lines)
        if language != "text":
            return match.group()
        return f"```text\n{_left_out_alike(body, printed.pop(0))}```"

    made = _FENCE.sub(replacement, text)
    if printed:
        raise ValueError(f"the page shows nothing of what its last commands print: {printed}")
    return made


def differences(shown: str, printed: str) -> list[str]:
    """Return the lines of two pages that differ, with both of their forms.

    Numbers may differ by `TOLERANCE`, a model's scores by `MODEL_TOLERANCE`. A hash may be any,
    and so may the numbers of a line that names the place of a site: on another processor, sites may
    rank otherwise.
    """
    pairs = zip(_lines(shown), _lines(printed), strict=True)
    return [f"{old!r} is now {new!r}" for old, new in pairs if not _is_alike(old, new)]


def _is_alike(old: str, new: str) -> bool:
    old, new = _HASH.sub("hash", old), _HASH.sub("hash", new)
    words = [_PLACE.sub("place", _NUMBER.sub("#", line)) for line in (old, new)]
    if words[0] != words[1]:
        return False
    if _PLACE.search(old):
        return True
    tolerance = MODEL_TOLERANCE if _MODEL.search(old) else TOLERANCE
    return all(
        abs(a - b) <= max(_SMALLEST, tolerance * max(abs(a), abs(b)))
        for a, b in zip(_numbers(old), _numbers(new), strict=True)
    )


def _numbers(line: str) -> Iterator[float]:
    for text in _NUMBER.findall(line):
        yield float(text.rstrip("%.,").replace(",", ""))


def _lines(text: str) -> list[str]:
    return [words for line in text.splitlines() if (words := " ".join(line.split()))]


def _left_out_alike(shown: str, printed: str) -> str:
    lines = [line.rstrip() for line in printed.splitlines()]
    before, dots, after = (f"\n{shown}").partition("\n...\n")
    if dots:
        num_before, num_after = len(before.splitlines()) - 1, len(after.splitlines())
        lines = [*lines[:num_before], "...", *lines[len(lines) - num_after :]]
    return "".join(f"{line}\n" for line in lines)


def _write_files(text: str, folder: Path) -> None:
    for body in [*blocks(text, "yaml"), *blocks(text, "python")]:
        path = folder / body.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(body, encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as workspace:
        PAGE.write_text(printed_page(PAGE.read_text(encoding="utf-8"), Path(workspace)), "utf-8")
