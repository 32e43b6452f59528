"""The routine checks, one session each, run with the tools of the environment that nox is in."""

import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]

FOLDERS = ("raymark", "scenes", "generator", "benchmark", "models", "tests", "perf", "docs")
SCRIPTS = ("docs", "docs/website", "docs/figures", "docs/sionna_reports", "perf")
ROOT = Path(__file__).parent


@nox.session
def format(session: nox.Session) -> None:  # noqa: A001 - the name of the command
    session.run("ruff", "format", *FOLDERS, "noxfile.py")
    session.run("ruff", "check", "--fix", *FOLDERS, "noxfile.py")


@nox.session
def lint(session: nox.Session) -> None:
    session.run("ruff", "format", "--check", *FOLDERS, "noxfile.py")
    session.run("ruff", "check", *FOLDERS, "noxfile.py")


@nox.session
def types(session: nox.Session) -> None:
    """Check types and layers on an installed copy: both tools miss `package-dir` in a checkout."""
    config = str(ROOT / "pyproject.toml")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "pip", "install", "-q", "--no-deps", "--target", folder, ".")
        with session.chdir(folder):
            mypy = ("mypy", "--config-file", config, "--scripts-are-modules")
            session.run(*mypy, "-p", "raymark", env={"MYPYPATH": folder})
            for scripts in SCRIPTS:
                files = sorted(map(str, (ROOT / scripts).glob("*.py")))
                session.run(*mypy, *files, env={"MYPYPATH": f"{folder}:{ROOT / 'docs'}"})
            session.run("lint-imports", "--config", config, env={"PYTHONPATH": folder})


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into `build/site`; any warning fails, and so does what its checks find."""
    no_advertising = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", env=no_advertising)
    session.run("python", "docs/website/checks.py", "build/site")


@nox.session
def tests(session: nox.Session) -> None:
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run what `tests` leaves out: the slow tests, and those that need more than `.[test]`."""
    session.run("pytest", "-m", "slow or needs", *session.posargs)
