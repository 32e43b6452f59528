"""Lists on the terminal: whole in a pipe, wrapped in a window, or as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from raymark.cli.console import cell, out

Row = Mapping[str, Any]
"""One thing of a list: values that JSON can hold, by names that carry their units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a list.

    Attributes:
        heading: What stands above it, with its unit.
        key: Name of its value in a row.
        show: How the value is written.
        style: Colour of a value, if it has one.
    """

    heading: str
    key: str
    show: Callable[[Any], str] = cell
    style: Callable[[Any], str] = lambda _value: ""


def print_rows(
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    as_json: bool = False,
    has_headings: bool = True,
) -> None:
    """Print a list: an array of objects with all that is known, or a table of some columns.

    Args:
        rows: The things.
        columns: What the table shows of them.
        as_json: Print JSON instead.
        has_headings: Whether the table has headings.
    """
    if as_json:
        typer.echo(json.dumps(list(rows), indent=1, ensure_ascii=False, allow_nan=False))
        return
    table = Table(box=None, show_header=has_headings, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        values = [row[column.key] for row in rows]
        # A value is folded where the window ends, and never cut.
        table.add_column(column.heading, overflow="fold", justify=_side_of(values))
    for row in rows:
        table.add_row(*[_text_of(column, row[column.key]) for column in columns])
    out.print(table)


def rows_of(frame: Any) -> list[Row]:
    """Return the rows of a `pandas.DataFrame`; a missing value is None."""
    rows: list[Row] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows


def print_levels(rows: Sequence[Row], *, as_json: bool = False) -> None:
    """Print a report line by line, each with a coloured `level`, a `subject` and a `text`."""
    columns = [
        Column(heading="", key="level", style=_LEVEL_COLORS.__getitem__),
        Column(heading="", key="subject"),
        Column(heading="", key="text"),
    ]
    print_rows(rows, columns, as_json=as_json, has_headings=False)


_LEVEL_COLORS = {"ok": "green", "note": "yellow", "FAIL": "red"}


def percent(share: float) -> str:
    """Write a share: three digits in percent."""
    return f"{100 * share:.3g}%"


def _side_of(values: Sequence[Any]) -> Any:
    numbers = [isinstance(x, int | float) and not isinstance(x, bool) for x in values]
    return "right" if numbers and all(numbers) else "left"


def _text_of(column: Column, value: Any) -> Text:
    text = cell(None) if value is None else column.show(value)
    return Text(text, style=column.style(value))
