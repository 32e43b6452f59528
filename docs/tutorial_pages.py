"""Run the tutorials and write their pages: text, code, and what the code shows.

    python docs/tutorial_pages.py [NAME ...] [--out FOLDER]

A tutorial is a script in docs/tutorials, whose cells are run in order, in a process and a folder of
its own. What a notebook would show below a cell stands there on the page: what is printed, and the
value of the last line as figure, table or text. Bars and warnings go to stderr and are not shown. A
test runs them, too, and compares the pages.
"""

import argparse
import ast
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from new_scene_page import differences as lines_that_differ
from website.notebooks import TUTORIALS, read_cells, tutorial_names

_NOTICE = "<!-- `python docs/tutorial_pages.py {name}` makes this page of {name}.py -->"
_BOARD = re.compile(r"<div><table><caption>PublishedBoard.*?</div>", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]{2,}")
_LOOKS = re.compile(r'<style.*?</style>\n?| border="1" class="dataframe"', re.DOTALL)


def run_cell(source: str, names: dict[str, Any]) -> tuple[str, Any]:
    """Run a cell; return what it prints, and the value of its last line if that is one."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), names)  # noqa: S102 - our own script
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # noqa: S307
    return printed.getvalue(), value


def shown(value: Any, figure: Path) -> Iterator[str]:
    """Yield a value as a notebook shows it: its picture, else its table, else its text.

    Args:
        value: The value of a cell; None shows nothing.
        figure: Gets the picture, if the value has one.
    """
    if value is None:
        return
    if hasattr(value, "_repr_png_"):
        figure.write_bytes(value._repr_png_())
        yield f"![figure of the cell above]({figure.name})"
    elif hasattr(value, "_repr_html_"):
        # What pandas says of its looks is for notebooks: a page has its own.
        html = _LOOKS.sub("", value._repr_html_())
        yield html if html.startswith("<div") else f"<div>{html}</div>"
    else:
        yield _fence("text", repr(value))


def _fence(language: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
    return f"```{language}\n{lines}\n```"


def page_of(script: Path, out: Path) -> str:
    """Run a script in the working directory; return its page.

    Args:
        script: The tutorial.
        out: Gets the figures.
    """
    parts, names, num_figures = [_NOTICE.format(name=script.stem)], {"__name__": "__main__"}, 0
    for cell in read_cells(script):
        if not cell.is_code:
            parts.append(cell.source)
            continue
        parts.append(_fence("python", cell.source))
        printed, value = run_cell(cell.source, names)
        parts += [_fence("text", printed)] if printed else []
        figure = out / f"{script.stem}-{num_figures + 1}.png"
        parts += shown(value, figure)
        num_figures += figure.is_file()
    return "\n\n".join(parts) + "\n"


def differences(shown: str, printed: str) -> list[str]:
    """Return where two pages of a tutorial differ.

    Numbers may differ as on the page of docs/new_scene_page.py. On a board any may, and the order
    of the models with them: the scores of few links hang on how a processor rounds.
    """
    old, new = ([sorted(_WORD.findall(x)) for x in _BOARD.findall(p)] for p in (shown, printed))
    faults = [] if old == new else ["the words of a board are others"]
    return faults + lines_that_differ(_BOARD.sub("", shown), _BOARD.sub("", printed))


def run_alone(name: str, out: Path) -> None:
    """Run a tutorial in a process and a folder of its own; write its page and figures to `out`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603 - this very script
            [sys.executable, __file__, "--here", name, "--out", str(out.resolve())],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
        )


def main() -> None:
    """Write the pages of the tutorials that are named, or of all."""
    parser = argparse.ArgumentParser(description="Run the tutorials and write their pages.")
    parser.add_argument("names", nargs="*", default=[], choices=[*tutorial_names(), []])
    parser.add_argument("--out", type=Path, default=TUTORIALS)
    parser.add_argument("--here", metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here is None:
        for name in given.names or tutorial_names():
            run_alone(name, given.out)
            print(f"wrote {given.out / name}.md", flush=True)
        return
    for old in given.out.glob(f"{given.here}-*.png"):
        old.unlink()
    page = page_of(TUTORIALS / f"{given.here}.py", given.out)
    (given.out / f"{given.here}.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
