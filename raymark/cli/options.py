"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from raymark.storage import Place, as_place
from raymark.work.cluster import FORMS

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON, with all that is known")]
LARGEST_SEED = 2**32 - 1
"""As campaigns take them; what draws takes no larger ones everywhere."""
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the drawn UEs, links or noise")
]
SceneArgument = Annotated[str, typer.Argument(metavar="SCENE", help="Name or folder of a scene")]
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


def dataset_place(text: str) -> Place:
    """Return the place of a dataset; one that is named `NAME@VERSION` is fetched if need be."""
    if "@" in text and "/" not in text and not Path(text).exists():
        from raymark.catalog import Catalog, parse_reference  # noqa: PLC0415
        from raymark.cli.catalog import print_rights  # noqa: PLC0415

        # It is held for as long as the command runs.
        held = Catalog.of_environment().get(parse_reference(text), before=print_rights)
        return as_place(held.folder)
    return as_place(text)


DatasetArgument = Annotated[
    Place,
    typer.Argument(
        parser=dataset_place, metavar="DIR", help="Folder or URL of a dataset, or NAME@VERSION"
    ),
]
DataOption = Annotated[
    Place,
    typer.Option(
        parser=dataset_place, metavar="DIR", help="Folder, URL or NAME@VERSION of its dataset"
    ),
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
