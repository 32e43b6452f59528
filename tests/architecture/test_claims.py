"""What pages, docstrings, comments and messages name is there: modules, files, links, commands."""

import ast
import builtins
import importlib
import importlib.util
import io
import re
import shlex
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main

from raymark.cli import app
from raymark.errors import RaymarkError

ROOT = Path(__file__).parents[2]
PACKAGES = ("raymark", "scenes", "generator", "benchmark", "models")
PLACES = (*PACKAGES, "docs", "perf", "tests")
SOURCES = sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted(
    path
    for folder, pattern in [
        (".", "*.md"),
        ("docs", "**/*.md"),
        *((x, "**/*.md*") for x in PACKAGES),
    ]
    for path in (ROOT / folder).glob(pattern)
    if path.name != "CHANGELOG.md"  # tells of what was
)

DOTTED = re.compile(r"(?<![\w./@-])raymark(?:\.(?!mplstyle)[A-Za-z_]\w*)+")
CODE = re.compile(r"`([^`\n]+)`")
FENCED_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FENCED_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
FILE = re.compile(rf"(?:{'|'.join(PLACES)})/[\w./-]+\.\w+")
SECTION = re.compile(r"^(Args|Attributes):\n((?:[ \t]+.*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^    (\w+)(?:, (\w+))*: ", re.MULTILINE)

MADE_AT_RUN_TIME = {"csi_real", "csi_imag", "gain_vs_distance", "los_map"}
"""Columns and file names that no source has in one piece."""


def where_found(faults_of: Callable[[Path], Iterable[object]], paths: list[Path]) -> str:
    """Return a line for each fault of the files, with its file."""
    return "\n".join(f"{p.relative_to(ROOT)}: {fault}" for p in paths for fault in faults_of(p))


@cache
def prose_of(path: Path) -> str:
    """Return what a file says to people: of a source its comments and strings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    return "\n".join(token.string for token in tokens if token.type in kinds)


@cache
def exists(dotted: str) -> bool:
    """Return whether a name is that of a module, or of something in one."""
    parts = dotted.split(".")
    for i in range(len(parts), 0, -1):
        name = ".".join(parts[:i])
        if _has_module(name):
            return _has_member(name, parts[i:])
    return False


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _has_member(module: str, path: list[str]) -> bool:
    if not path:
        return True
    try:
        found: object = importlib.import_module(module)
    except (ImportError, RaymarkError):  # an extra that is not installed: nothing can be said
        return True
    for name in path:
        fields = {**getattr(found, "__annotations__", {}), **getattr(found, "model_fields", {})}
        if not hasattr(found, name) and name not in fields:
            return False
        found = getattr(found, name, None)
    return True


def imported_names(text: str) -> Iterator[str]:
    """Names of ours that the Python blocks of a page import."""
    for block in FENCED_PYTHON.findall(text):
        for node in ast.walk(ast.parse(textwrap.dedent(block))):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "raymark":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unresolved(path: Path) -> list[str]:
    text = prose_of(path)
    return [name for name in [*DOTTED.findall(text), *imported_names(text)] if not exists(name)]


def missing_files(path: Path) -> list[str]:
    named = [file for code in CODE.findall(prose_of(path)) for file in FILE.findall(code)]
    return [file for file in named if not (ROOT / file).exists()]


def test_dotted_names_resolve() -> None:
    assert where_found(unresolved, [*PAGES, *SOURCES]) == ""


def test_files_that_are_named_exist() -> None:
    assert where_found(missing_files, [*PAGES, *SOURCES]) == ""


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {f"#{heading.replace(' ', '-')}" for heading in plain}


def broken_links(text: str, page: Path) -> list[str]:
    broken = []
    for target, anchor in LINK.findall(text):
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target + anchor)
    return broken


def test_links_lead_somewhere() -> None:
    """A template's links are those of the folder that it is written to."""
    pages = [path for path in PAGES if path.suffix == ".md"]

    assert where_found(lambda path: broken_links(prose_of(path), path), pages) == ""


@cache
def command_line() -> typer.core.TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group


def commands_in(text: str) -> Iterator[str]:
    for block in FENCED_SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;", line):
                if part.strip().startswith("raymark "):
                    yield part.strip()
    for code in CODE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if code.startswith("raymark "):
            yield code


def words_of(command: str) -> list[str]:
    try:
        return shlex.split(command, comments=True)[1:]
    except ValueError:  # a quote is part of a message
        return command.split()[1:]


def faults_of(command: str) -> list[str]:
    """Return what a command names that the command line does not have."""
    found: list[Any] = [command_line()]
    words, faults = words_of(command), []
    while words and all(isinstance(item, typer.core.TyperGroup) for item in found):
        names = words.pop(0).split("|")
        if not re.fullmatch(r"[a-z][a-z-]*", names[0]):
            break  # `raymark --version`, `raymark ...`
        faults += [name for name in names if not any(name in item.commands for item in found)]
        found = [item.commands[name] for item in found for name in names if name in item.commands]
    given_to = [param for item in found for param in item.params]
    options = {option for param in given_to for option in (*param.opts, *param.secondary_opts)}
    given = [word.partition("=")[0].strip("[]") for word in words if word.startswith("--")]
    return faults + [option for option in given if option not in options | {"--help"}]


def wrong_commands(path: Path) -> list[str]:
    named = commands_in(prose_of(path))
    return [f"{command}: no {fault}" for command in named for fault in faults_of(command)]


def test_commands_exist_with_their_options() -> None:
    assert where_found(wrong_commands, [*PAGES, *SOURCES]) == ""


@cache
def words_of_code() -> frozenset[str]:
    """All names in the sources, the tests and their data, and those of Python itself."""
    words = set(dir(builtins))
    for path in [*SOURCES, *(ROOT / "perf").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words |= set(_names(node))
    return frozenset(words)


def _names(node: ast.AST) -> Iterator[str]:
    for field in ("id", "attr", "arg", "name", "asname", "module", "value"):
        value = getattr(node, field, None)
        if isinstance(value, str) and not re.search(r"\s", value):
            yield from re.findall(r"\w+", value)


def unknown_calls(text: str) -> list[str]:
    """Return names of functions and constants of ours that no code has."""
    quoted = re.findall(r"`(_?[a-z]+(?:_[a-z0-9]+)+)(?:\(\))?`", text)
    return sorted(set(quoted) - words_of_code() - MADE_AT_RUN_TIME)


def test_names_in_docstrings_and_comments_are_those_of_code() -> None:
    assert where_found(lambda path: unknown_calls(prose_of(path)), SOURCES) == ""


def undefined_entries(tree: ast.AST) -> list[str]:
    """Return what `Args` and `Attributes` describe that a function or class does not have."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = f"{ast.get_docstring(node) or ''}\n"
            for section, body in SECTION.findall(text):
                named = {name for groups in ENTRY.findall(body) for name in groups if name}
                defined = _parameters(node) if section == "Args" else _members(node)
                if defined is not None:
                    found += [f"{node.name}: {name}" for name in sorted(named - defined)]
    return found


def _parameters(node: ast.AST) -> set[str] | None:
    if isinstance(node, ast.ClassDef):
        found = [x for x in node.body if isinstance(x, ast.FunctionDef) and x.name == "__init__"]
        return _parameters(found[0]) if found else None
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {argument.arg for argument in every if argument}


def _members(node: ast.AST) -> set[str] | None:
    if not isinstance(node, ast.ClassDef) or len(node.bases) > 0:
        return None  # a base may have more
    return {name for inner in ast.walk(node) for name in _names(inner)}


def test_docstrings_describe_only_what_is_there() -> None:
    def undefined(path: Path) -> list[str]:
        return undefined_entries(ast.parse(path.read_text(encoding="utf-8")))

    assert where_found(undefined, SOURCES) == ""


def test_pages_and_sources_are_found_when_listed() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "storage.md"} <= set(PAGES)
    assert len(SOURCES) > 200


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("raymark.radio.fingerprints.azimuth_bins", True),
        ("raymark.open_dataset", True),
        ("raymark.azimuth_bins", False),
        ("raymark.campaign.Campaign", False),
    ],
)
def test_names_are_looked_up_when_they_are_given(name: str, there: bool) -> None:
    assert exists(name) is there


def test_wrong_imports_are_seen_when_a_page_has_some() -> None:
    text = "```python\nfrom raymark.radio import Band, Bend\n```\n"

    assert [name for name in imported_names(text) if not exists(name)] == ["raymark.radio.Bend"]


def test_broken_links_are_seen_when_a_page_has_some() -> None:
    page = ROOT / "README.md"
    text = "[a](LICENSE) [b](docs/none.md) [c](#licence-and-citation) [d](#none) [e](https://x.y)"

    assert broken_links(text, page) == ["docs/none.md", "#none"]


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        ("raymark bench board runs --data small", []),
        ("raymark bench tasks|nothing", ["nothing"]),
        ("raymark verify small --fast", ["--fast"]),
        ("raymark fly", ["fly"]),
    ],
)
def test_wrong_commands_are_seen_when_a_text_has_some(command: str, faults: list[str]) -> None:
    assert list(commands_in(f"Say `{command}`.")) == [command]
    assert faults_of(command) == faults


def test_wrong_docstrings_are_seen_when_a_source_has_some() -> None:
    text = "Doc.\n\n    Attributes:\n        x: It.\n        los: No.\n    "
    source = f'class A:\n    """{text}"""\n\n    x: int\n'

    assert undefined_entries(ast.parse(source)) == ["A: los"]
    assert unknown_calls("see `check_campaign` and `check_scheduler`") == ["check_scheduler"]
