"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from raymark.storage import Place, as_place
from raymark.work.cluster import FORMS

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON, with all that is known")]
Seed = Annotated[int, typer.Option(help="Seed of the drawn UEs, links or noise")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="CLUSTER", help=f"Workers on Dask: {FORMS}")
]

TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit",
        min=0.1,
        help="Longest time of one task with --cluster [min]; then another worker tries",
    ),
]
DatasetArgument = Annotated[
    Place, typer.Argument(parser=as_place, metavar="DIR", help="Folder or URL of a dataset")
]
DataOption = Annotated[
    Place,
    typer.Option(parser=as_place, metavar="DIR", help="Folder or URL of the suite's dataset"),
]


def _trust(folders: list[Path] | None) -> list[Path]:
    for folder in folders or []:
        from raymark.scenes import trust_folder  # noqa: PLC0415

        trust_folder(folder)
    return folders or []


MapsOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Maps of `raymark bench maps`, for models that know the city"),
]

TrustCode = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust-code",
        metavar="DIR",
        callback=_trust,
        help="Run the geometry.py of this scene folder (read it first); may be repeated",
    ),
]
"""Its callback does what it says: commands take it as `_trusted` and need not look at it."""


def listed(text: str) -> list[str]:
    """Return the parts of an option that are separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
