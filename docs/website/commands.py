"""The page of the command line, from what each command says of itself."""

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from raymark.cli import app


def commands_page() -> str:
    """Return a section for every command, with its usage, arguments and options."""
    head = (
        "# Command line\n\nWhat `raymark COMMAND --help` says of every command. Results go to "
        "stdout, progress to stderr;\nwrong input ends with one sentence and exit code 2.\n"
    )
    return "\n".join([head, *_sections(typer.main.get_command(app), "raymark")])


def _sections(command: Any, name: str) -> Iterator[str]:
    yield _section(command, name)
    for inner, found in sorted(getattr(command, "commands", {}).items()):
        if not found.hidden:
            yield from _sections(found, f"{name} {inner}")


def _section(command: Any, name: str) -> str:
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [
        f"{'#' * min(len(name.split()) + 1, 4)} {name}",
        f"```text\n{usage}\n```",
        _plain(command.help or ""),
        _table("argument", [x for x in command.params if x.param_type_name == "argument"], context),
        _table("option", [x for x in command.params if x.param_type_name == "option"], context),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _table(heading: str, params: list[Any], context: Any) -> str:
    records = [record for param in params if (record := param.get_help_record(context))]
    rows = [f"| `{name}` | {_cell(text)} |" for name, text in records if "--help" not in name]
    return "\n".join([f"| {heading} | |\n|---|---|", *rows]) if rows else ""


def _cell(text: str) -> str:
    return _plain(" ".join(text.split())).replace("|", "\\|")


def _plain(text: str) -> str:
    """Let brackets, as of units, be what they are, outside of code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"[\[<]", r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)
