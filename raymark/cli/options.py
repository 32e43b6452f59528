"""Options that several commands share."""

from typing import Annotated

import typer

from raymark.cluster.description import FORMS

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there")]
Seed = Annotated[int, typer.Option(help="Seed of the drawn UEs, links or noise")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="CLUSTER", help=f"Workers on Dask: {FORMS}")
]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def listed(text: str) -> list[str]:
    """Return the parts of an option that are separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
