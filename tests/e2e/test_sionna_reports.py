"""The reports on Sionna RT: each script needs it alone, and finds what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raymark.generator.tracing.runtime import LLVM_VARIABLE, find_runtime

FOLDER = Path(__file__).parents[2] / "docs" / "sionna_reports"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))


def printed_by(name: str) -> str:
    """Run a script where its ray tracer finds the library that serves here."""
    library = find_runtime().llvm_path
    found = {} if library is None else {LLVM_VARIABLE: str(library)}
    done = subprocess.run(
        [sys.executable, str(FOLDER / name)],
        env=os.environ | found,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(pattern, text)]


def jumps_at_the_boundary(text: str) -> bool:
    below, above = numbers(r"\|sum\| (\S+)", text)
    return above / below > 2


def falls_with_the_depth(text: str) -> bool:
    right, *wrong = numbers(r"reflection: \[(\S+)\]", text)
    return len(wrong) == 2 and max(wrong) < right / 2


def grows_with_the_table(text: str) -> bool:
    small, large = numbers(r": (\d+) paths", text)
    return small < large


def hangs_on_the_company(text: str) -> bool:
    alone, together = numbers(r"have (\d+) paths", text)
    return alone != together


FINDS: dict[str, Callable[[str], bool]] = {
    "company.py": hangs_on_the_company,
    "lost_paths.py": grows_with_the_table,
    "unused_depth.py": falls_with_the_depth,
    "wedge_sign.py": jumps_at_the_boundary,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_finds_the_defect_that_it_reports(name: str) -> None:
    text = printed_by(name)

    assert "expected: " in text
    assert FINDS[name](text), text


def test_scripts_need_sionna_alone() -> None:
    for name in SCRIPTS:
        assert "raymark" not in (FOLDER / name).read_text(encoding="utf-8")
