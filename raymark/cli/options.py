"""Options that several commands share."""

from typing import Annotated

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there")]
Seed = Annotated[int, typer.Option(help="Seed of the drawn UEs, links or noise")]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
