"""The command that says what to cite."""

from pathlib import Path
from typing import Annotated

import typer

from raymark.cli.catalog import IndexOption, Offline, catalog_of
from raymark.cli.console import out

app = typer.Typer()


@app.command()
def cite(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DATASET|BOARD",
            help="A dataset or release (folder, URL or NAME[@VERSION]), a run or a board",
        ),
    ],
    index: IndexOption = None,
    offline: Offline = False,
) -> None:
    """Print BibTeX of a dataset with scenes and programs, or of a board with its models."""
    from raymark.storage import as_place  # noqa: PLC0415

    place = as_place(target)
    if not place.exists() and "/" not in target:
        from raymark.catalog import parse_reference  # noqa: PLC0415

        entry = catalog_of(index, offline=offline).entry(parse_reference(target))
        out.print(entry.citation.rstrip(), soft_wrap=True)
        return
    works, unnamed = _works_in(target)
    out.print("\n\n".join(works), soft_wrap=True)
    if unnamed:
        out.print(f"\n% no work is named for: {', '.join(unnamed)}", soft_wrap=True)


def _works_in(target: str) -> tuple[list[str], list[str]]:
    """Return the works behind a folder, and the models that name none."""
    from raymark.benchmark.citing import board_works, is_board, works_of_models  # noqa: PLC0415
    from raymark.dataset import Dataset  # noqa: PLC0415
    from raymark.models import shipped_references  # noqa: PLC0415
    from raymark.release.citing import dataset_works, each_once, release_in  # noqa: PLC0415

    folder = Path(target)
    if is_board(folder):
        return board_works(folder, shipped_references)
    dataset = Dataset(target)
    release = release_in(dataset)
    works = dataset_works(dataset, release)
    if release is None or release.benchmark is None or not release.benchmark.has_predictions:
        return works, []
    if dataset.folder.local_path is None:  # cards are not read from afar
        names = ((name, "") for name in release.benchmark.models)
        of_models, unnamed = works_of_models(names, shipped_references)
    else:
        of_models, unnamed = board_works(folder, shipped_references)
    return each_once([*works, *of_models]), unnamed
