"""The tutorial runs as it is printed, and prints what it shows."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from command_line import raymark

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("new_scene_page", DOCS / "new_scene_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text() -> str:
    return (DOCS / "new_scene.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_tutorial_prints_what_it_shows_when_its_commands_run(
    script: ModuleType, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", script.WIDTH)
    monkeypatch.chdir(tmp_path)

    def run(words: list[str], folder: Path) -> str:
        """In this process: half of the time of its own would go into loading the ray tracer."""
        if words[0] != "raymark":
            return str(script.run_command(words, folder))
        done = raymark(*words[1:])
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = script.printed_page(text, tmp_path, run)

    assert script.differences(text, printed) == [], "run `python docs/new_scene_page.py`"
    for name in ("sites.png", "plan.png", "quarter.html"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_tutorial_reaches_a_number_when_fewer_than_ten_commands_ran(
    script: ModuleType, text: str
) -> None:
    assert script.commands(text).index("raymark bench score runs") + 1 < 10


@pytest.mark.parametrize(
    ("shown", "printed", "num_different"),
    [
        ("a 1\n\nb 2", "a   1\nb 2", 0),
        ("a 10.0 and 1,000", "a 12.4 and 1,200", 0),
        ("a 10.0", "a 13.5", 1),
        ("los wknn 10.0", "los wknn 20.0", 0),
        ("los wknn 10.0", "los wknn 30.0", 1),
        ("a 10.0", "b 10.0", 1),
        ("a 100\nb 2%", "a 160\nb 5%", 2),
        ("misses 0.00% of it", "misses 0.01% of it", 0),
        (" 1 bs0 roof -25.5, 3.0 120", " 1 bs0 mast 112.5, 7.0 30", 0),
        (f"content hash {'a1' * 32}", f"content hash {'b2' * 32}", 0),
    ],
)
def test_differences_are_the_lines_with_other_words_or_numbers_far_apart(
    script: ModuleType, shown: str, printed: str, num_different: int
) -> None:
    assert len(script.differences(shown, printed)) == num_different


def test_page_holds_what_its_commands_print_when_it_is_written(
    script: ModuleType, tmp_path: Path
) -> None:
    show = "python -c 'for i in range(5): print(i, end=chr(10))'"
    page = f"# A page\n\n```sh\n{show}\n{show}\n```\n```text\n9\n...\n9\n```\n```text\n```\nEnd.\n"

    printed = script.printed_page(page, tmp_path)

    assert printed == page.replace("9\n...\n9\n", "0\n...\n4\n").replace(
        "text\n```\nEnd", "text\n0\n1\n2\n3\n4\n```\nEnd"
    )


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
