"""Pages of the Python reference: an entry for each name of each `__all__`, read from sources."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from website.links import ROOT

MODULES = (
    "raymark.errors",
    "raymark.progress",
    "raymark.seeding",
    "raymark.radio.frames",
    "raymark.radio.synthesis",
    "raymark.radio.fingerprints",
    "raymark.radio.estimation",
    "raymark.dataset.campaign",
    "raymark.dataset.samplings",
    "raymark.dataset.verification",
    "raymark.generator.plan",
    "raymark.generator.generate",
    "raymark.generator.tracing.runtime",
    "raymark.scenes.scene_files",
)
"""Modules without `__all__` that users import from: what they define without `_` is public."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModule:
    """A package or module with public names.

    Attributes:
        name: Its dotted name.
        summary: The first line of its docstring.
        names: What has its entry here.
        elsewhere: What this package offers, too, by the full name of its entry.
    """

    name: str
    summary: str
    names: tuple[str, ...]
    elsewhere: dict[str, str]


@cache
def package_folders() -> dict[str, str]:
    """Return the folder of each package whose folder is not that of its parent."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders: dict[str, str] = settings["tool"]["setuptools"]["package-dir"]
    return folders


@cache
def packages() -> tuple[str, ...]:
    """Return all packages that are installed."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(settings["tool"]["setuptools"]["packages"])


def source_of(name: str) -> Path:
    """Return the source of a package or module."""
    package = max((x for x in package_folders() if f"{name}.".startswith(f"{x}.")), key=len)
    path = ROOT.joinpath(package_folders()[package], *name.removeprefix(package).split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def public_modules() -> tuple[PublicModule, ...]:
    """Return every package with an `__all__`, and the modules beside them, by name."""
    found = [_package(name) for name in packages()]
    return tuple(sorted([x for x in found if x] + [_module(x) for x in MODULES], key=_by_name))


def _by_name(module: PublicModule) -> str:
    return module.name


def _package(name: str) -> PublicModule | None:
    tree = _parsed(name)
    listed = names_in_all(tree)
    if not listed:
        return None
    shown = {x: f"{origin}.{x}" for x, origin in _origins(tree).items() if _lists(origin, x)}
    return PublicModule(
        name=name,
        summary=_summary(tree),
        names=tuple(x for x in listed if x not in shown),
        elsewhere={x: shown[x] for x in listed if x in shown},
    )


def _module(name: str) -> PublicModule:
    tree = _parsed(name)
    names = tuple(x for node in tree.body for x in _defined(node) if not x.startswith("_"))
    return PublicModule(name=name, summary=_summary(tree), names=names, elsewhere={})


def _parsed(name: str) -> ast.Module:
    return ast.parse(source_of(name).read_text(encoding="utf-8"))


def _summary(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def names_in_all(tree: ast.Module) -> list[str]:
    """Return what `__all__` of a source lists."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and "__all__" in _defined(node):
            return list(ast.literal_eval(node.value))
    return []


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        yield from (x.id for x in ast.walk(target or ast.Pass()) if isinstance(x, ast.Name))


def _origins(tree: ast.Module) -> dict[str, str]:
    """Return the module that each imported name is imported from."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in nodes for alias in node.names}


def _lists(origin: str, name: str) -> bool:
    if origin in MODULES:
        return name in _module(origin).names
    return origin in packages() and name in names_in_all(_parsed(origin))


def reference_pages() -> dict[str, str]:
    """Return the pages of the reference by their place on the site."""
    pages = {f"api/{module.name}.md": _page(module) for module in public_modules()}
    return {"api/index.md": _index(), **pages}


def _index() -> str:
    rows = [
        f"| [`{module.name}`]({module.name}.md) | {module.summary} | "
        f"{len(module.names) + len(module.elsewhere)} |"
        for module in public_modules()
    ]
    return "\n".join(
        [
            "# Python reference",
            "",
            "Every public name: what `__all__` of a package lists, and what those modules define",
            "that users import from. Shapes stand in annotations, units end names, and errors are",
            "under *Raises*; frames and signs are in [Conventions](../conventions.md).",
            "",
            "| module | | names |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _page(module: PublicModule) -> str:
    parts = [f"# {module.name}", _entry(module.name, "members: false", "show_root_heading: false")]
    if module.elsewhere:
        rows = [f"- [`{x}`][{full}]" for x, full in module.elsewhere.items()]
        parts.append("\n".join(["Here, too, with its entry elsewhere:", "", *rows]))
    parts += [_entry(f"{module.name}.{name}") for name in module.names]
    return "\n\n".join(parts) + "\n"


def _entry(name: str, *options: str) -> str:
    lines = ["    options:", *(f"      {option}" for option in options)] if options else []
    return "\n".join([f"::: {name}", *lines])
