"""The command line in this process, whose libraries are loaded already."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator

import pytest

from raymark.cli import main

COMMAND = (sys.executable, "-c", "from raymark.cli import main; main()")
"""The same in a process of its own."""


def raymark(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command and return its exit code and what it printed."""
    command = ["raymark", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        _called(command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _called(command: list[str]) -> Iterator[None]:
    """Put a command where `main` finds it; what it adds to the path is taken away again."""
    arguments, path = sys.argv, list(sys.path)
    sys.argv = command
    try:
        yield
    finally:
        sys.argv, sys.path[:] = arguments, path
