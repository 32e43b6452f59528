"""Habits that no linter checks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("raymark", "scenes", "generator", "benchmark", "models")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix()
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions and classes, and public methods of public classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{prefix}{node.name}.")


def test_sources_are_found_when_listed() -> None:
    assert len(SOURCES) > 30
    assert ROOT / "generator" / "generate.py" in SOURCES


@each_source
def test_module_is_no_box_of_odds_and_ends(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
    assert path.parent.name not in {"utils", "helpers", "common"}


@each_source
def test_public_names_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = dict(public_definitions(tree.body))

    assert ast.get_docstring(tree), "the module has none"
    assert [name for name, node in found.items() if not ast.get_docstring(node)] == []


@each_source
def test_annotations_are_not_strings(path: Path) -> None:
    """Postponed annotations would blind the checks of shapes."""
    text = path.read_text(encoding="utf-8")

    assert "from __future__ import annotations" not in text


def test_docstring_rule_finds_a_bare_method_when_there_is_one() -> None:
    """The rule above can fail."""
    tree = ast.parse('class A:\n    """Doc."""\n    def f(self): ...\n    def _g(self): ...\n')

    bare = [name for name, node in public_definitions(tree.body) if not ast.get_docstring(node)]
    assert bare == ["A.f"]
