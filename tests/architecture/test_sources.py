"""Habits that no linter checks."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("raymark", "scenes", "generator", "benchmark", "models")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

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


def bare_names(text: str) -> list[str]:
    """Public names of a module that have no docstring; "" is the module itself."""
    tree = ast.parse(text)
    named = {"": tree, **dict(public_definitions(tree.body))}
    return [name for name, node in named.items() if not ast.get_docstring(node)]


def test_modules_are_no_boxes_of_odds_and_ends() -> None:
    boxes = {"utils", "util", "helpers", "helper", "common", "misc"}

    assert [path for path in SOURCES if boxes & {path.stem, path.parent.name}] == []


def test_public_names_have_docstrings() -> None:
    bare = {path: bare_names(path.read_text(encoding="utf-8")) for path in SOURCES}

    assert {path: names for path, names in bare.items() if names} == {}


def test_annotations_are_not_strings() -> None:
    """Postponed annotations would blind the checks of shapes."""
    blind = "from __future__ import annotations"

    assert [path for path in SOURCES if blind in path.read_text(encoding="utf-8")] == []


def test_docstring_rule_finds_a_bare_method_when_there_is_one() -> None:
    """The rule above can fail."""
    text = 'class A:\n    """Doc."""\n    def f(self): ...\n    def _g(self): ...\n'

    assert bare_names(text) == ["", "A.f"]


def plots_without_axes(text: str) -> tuple[int, list[str]]:
    """How many public functions of a module draw, and those that do not take the axes."""
    found = {
        name: node
        for name, node in public_definitions(ast.parse(text).body)
        if name.rpartition(".")[2].startswith("plot_") and isinstance(node, ast.FunctionDef)
    }
    bare = [x for x, node in found.items() if "ax" not in {a.arg for a in node.args.kwonlyargs}]
    return len(found), bare


def test_every_plot_takes_the_axes_to_draw_on() -> None:
    found = {path: plots_without_axes(path.read_text(encoding="utf-8")) for path in SOURCES}

    assert sum(count for count, _ in found.values()) > 20
    assert {path: bare for path, (_, bare) in found.items() if bare} == {}
    text = "def plot_a(*, ax=None): ...\ndef plot_b(ax): ...\ndef _plot_c(): ...\n"
    assert plots_without_axes(text) == (2, ["plot_b"])
