"""Who may import whom: seen in fresh processes, and in the sources."""

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACER = {"sionna", "mitsuba", "drjit"}
DASK = {"dask", "distributed", "dask_jobqueue", "dask_kubernetes", "tornado"}

PACKAGES = {
    "raymark": ROOT / "raymark",
    "raymark.cli": ROOT / "raymark" / "cli",
    "raymark.scenes": ROOT / "scenes",
    "raymark.generator": ROOT / "generator",
    "raymark.benchmark": ROOT / "benchmark",
    "raymark.models": ROOT / "models",
}

CLIENTS = {"raymark.scenes", "raymark.generator", "raymark.benchmark", "raymark.models"}

MAY_IMPORT = {
    "raymark": set(),
    "raymark.scenes": set(),
    "raymark.generator": {"raymark.scenes"},
    "raymark.benchmark": set(),
    "raymark.models": {"raymark.benchmark"},
    "raymark.cli": CLIENTS,
}
"""Beside itself and the kernel, which all may import; nobody imports the command line."""


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after running `code`."""
    report = "import json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    child = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    return set(json.loads(child.stdout.splitlines()[-1]))


def test_reading_and_learning_load_no_ray_tracer_when_imported() -> None:
    loaded = modules_after("import raymark.benchmark, raymark.models, raymark.dataset")

    assert not loaded & TRACER
    assert "torch" in loaded


@pytest.mark.slow
def test_generating_loads_the_ray_tracer_when_imported() -> None:
    """The test above can fail: it sees the ray tracer where there is one.

    Torch would add two seconds to every generating process; only fields of our own need it.
    """
    loaded = modules_after("import raymark.generator.generate")

    assert loaded >= TRACER
    assert "torch" not in loaded


def test_command_line_loads_neither_torch_nor_the_ray_tracer_when_imported() -> None:
    loaded = modules_after("import raymark.cli")

    assert not loaded & {*TRACER, "torch", "pandas", "matplotlib"}
    assert "typer" in loaded


@pytest.mark.slow
def test_nothing_loads_dask_when_no_cluster_is_opened() -> None:
    """Neither the commands nor a description of a cluster, read and checked."""
    code = """
import raymark.cli, raymark.work.cluster, raymark.benchmark, raymark.models
import raymark.generator.generate, raymark.work.cluster.checks, raymark.work.cluster.starting
for name in raymark.work.cluster.example_names():
    raymark.work.cluster.example_text(name)
raymark.work.cluster.read_cluster("local:2")
raymark.work.cluster.software()
"""
    loaded = modules_after(code)

    assert not loaded & DASK
    assert loaded >= {"yaml", "torch"}


def test_opening_a_cluster_loads_dask_when_one_is_started() -> None:
    """The test above can fail: it sees Dask where there is some."""
    code = """
from raymark.work.cluster.settings import dask_configured
with dask_configured():
    pass
"""
    assert modules_after(code) >= {"dask", "distributed"}


def sources() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        inner = [other for other in PACKAGES.values() if folder in other.parents]
        for path in sorted(folder.rglob("*.py")):
            if path.name == "__main__.py":  # the command, too
                yield "raymark.cli", path
            elif not any(other in path.parents for other in inner):
                yield package, path


@functools.cache
def imported(path: Path) -> set[str]:
    """Full names of all modules that a source imports anywhere, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def package_of(module: str) -> str:
    return next((p for p in sorted(PACKAGES, reverse=True) if f"{module}.".startswith(f"{p}.")), "")


def imports_above(package: str, path: Path) -> set[str]:
    """Packages that a source imports and may not."""
    found = {package_of(name) for name in imported(path)} - {"", "raymark", package}
    return found - MAY_IMPORT[package]


def test_sources_import_only_what_lies_below_them() -> None:
    above = {path: imports_above(package, path) for package, path in sources()}

    assert len(above) > 300
    assert {path: found for path, found in above.items() if found} == {}


@pytest.mark.parametrize("line", ["import raymark.generator.plan", "from raymark import models"])
def test_import_rule_sees_the_kernel_when_it_looks_up(tmp_path: Path, line: str) -> None:
    """A canary: a line as anybody might write it, in a function of the kernel."""
    path = tmp_path / "reader.py"
    path.write_text(f"def read():\n    {line}\n", encoding="utf-8")

    assert imports_above("raymark", path)


def test_sources_import_the_ray_tracer_only_in_the_tracing_package() -> None:
    found = {
        path: {name.split(".")[0] for name in imported(path)} & TRACER for _, path in sources()
    }
    folders = {path.parent for path, names in found.items() if names}

    assert folders == {ROOT / "generator" / "tracing"}
    assert set.union(*found.values()) == TRACER
