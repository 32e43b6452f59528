"""Options that several commands share."""

from typing import Annotated

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there")]
Seed = Annotated[int, typer.Option(help="Seed of the drawn UEs, links or noise")]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def listed(text: str) -> list[str]:
    """Return the parts of an option that are separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
