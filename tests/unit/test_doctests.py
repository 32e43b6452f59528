"""The examples in docstrings run and print what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

from raymark.errors import ConfigError

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "raymark": "raymark",
    "scenes": "raymark.scenes",
    "generator": "raymark.generator",
    "benchmark": "raymark.benchmark",
    "models": "raymark.models",
}


def module_name(path: Path) -> str:
    """Name under which a source is imported; folders and packages differ by the first part."""
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGES[first], *(part for part in rest if part != "__init__")])


SOURCES = {
    module_name(path): path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))
}
WITH_EXAMPLES = [name for name, path in SOURCES.items() if ">>> " in path.read_text("utf-8")]


def failures(test: doctest.DocTest) -> str:
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_print_what_they_show_when_they_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except (ImportError, ConfigError) as error:  # an extra that is not installed
        pytest.skip(str(error))
    tests = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]

    assert tests
    assert [said for test in tests if (said := failures(test))] == []


def test_examples_are_found_when_listed() -> None:
    assert len(WITH_EXAMPLES) > 5
    assert "raymark.seeding" in WITH_EXAMPLES


def test_wrong_example_is_seen_when_it_runs() -> None:
    """The rule above can fail."""
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "sum", None, 0)

    assert "Got:\n    2" in failures(test)
