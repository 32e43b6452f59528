"""Tutorials: scripts in jupytext's percent format, read into cells and written as notebooks."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from website.links import ROOT

TUTORIALS = ROOT / "docs" / "tutorials"

_PAGE_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")
_MARK = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a notebook: text in Markdown, or code."""

    is_code: bool
    source: str


def notebook_files() -> dict[str, str]:
    """Return the notebooks of all tutorials by their place on the site, to be downloaded."""
    return {
        f"tutorials/{name}.ipynb": notebook(read_cells(TUTORIALS / f"{name}.py"))
        for name in tutorial_names()
    }


def with_downloads(page: str, name: str) -> str:
    """Return the page of a tutorial with links to its notebook and its script below the title."""
    title = re.search(r"^# .*\n", page, re.MULTILINE)
    at = title.end() if title else 0
    links = f"Download: [notebook]({name}.ipynb), [script]({name}.py)"
    return f"{page[:at]}\n{links}\n{page[at:]}"


def tutorial_names() -> list[str]:
    """Return the names of all tutorials."""
    return sorted(path.stem for path in TUTORIALS.glob("*.py"))


def read_cells(path: Path) -> list[Cell]:
    """Return the cells of a script."""
    head, *parts = _MARK.split(path.read_text(encoding="utf-8"))
    if head:
        raise ValueError(f"{path} does not begin with a cell, '# %%'")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [_cell(body.strip(), is_code=mark is None) for mark, body in pairs]


def _cell(body: str, *, is_code: bool) -> Cell:
    source = body if is_code else re.sub(r"^# ?", "", body, flags=re.MULTILINE)
    return Cell(is_code=is_code, source=source)


def notebook(cells: list[Cell]) -> str:
    """Return cells as a notebook (nbformat 4.5) that nobody has run, its links to pages as text."""
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
            },
            "cells": [_as_json(index, cell) for index, cell in enumerate(cells)],
        },
        indent=1,
    )


def _as_json(index: int, cell: Cell) -> dict[str, object]:
    made: dict[str, object] = {"id": f"cell-{index}", "metadata": {}}
    if not cell.is_code:
        return {**made, "cell_type": "markdown", "source": _PAGE_LINK.sub(r"\1", cell.source)}
    code: dict[str, object] = {"cell_type": "code", "execution_count": None, "outputs": []}
    return {**made, **code, "source": cell.source}
