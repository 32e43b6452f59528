"""Commands that publish a dataset."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from raymark.cli.console import out, print_error, progress_bar, waiting
from raymark.cli.options import AsJson, DatasetArgument, Overwrite, listed
from raymark.cli.tables import Column, print_rows
from raymark.errors import ConfigError, counted

app = typer.Typer(
    help="Publish a dataset: build, verify, compare, preview, hand out.", no_args_is_help=True
)

ReleaseArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a release")]


@app.command()
def build(
    dataset: DatasetArgument,
    version: Annotated[str, typer.Option(help="Semantic version of the data, such as 1.0.0")],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the release")],
    about: Annotated[
        Path | None, typer.Option(help="YAML with title, authors, url, doi, changelog ...")
    ] = None,
    date: Annotated[
        str | None, typer.Option(help="Day of publication; that of the dataset if not given")
    ] = None,
    materialize: Annotated[
        str, typer.Option(help="Fingerprints to add as arrays: all, or scene:band,scene:band")
    ] = "",
    suite: Annotated[
        str | None, typer.Option(help="Suite whose splits are added; the shipped one for the data")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Run of that suite: its predictions and board are added")
    ] = None,
    detail: Annotated[
        bool, typer.Option("--detail/--no-detail", help="Interaction points of the paths")
    ] = True,
    buildings: Annotated[
        bool, typer.Option("--buildings/--no-buildings", help="Heights and outlines of buildings")
    ] = True,
) -> None:
    """Build a release of a dataset; a failing check stops it and says why."""
    from raymark.benchmark import load_suite  # noqa: PLC0415
    from raymark.benchmark.release_part import (  # noqa: PLC0415
        SuiteFiles,
        shipped_name,
        suite_of,
    )
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.release import BuildSettings, build_release, read_about  # noqa: PLC0415

    opened = open_dataset(dataset)
    chosen = load_suite(suite) if suite else suite_of(opened, runs)
    kinds: dict[Literal["detail", "buildings"], bool] = {"detail": detail, "buildings": buildings}
    settings = BuildSettings(
        version=version,
        tier=shipped_name(opened),
        about=read_about(about) if about else None,
        date=date,
        materialized=_chosen_fingerprints(opened, materialize),
        left_out=tuple(kind for kind, is_kept in kinds.items() if not is_kept),
        benchmark=None if chosen is None else SuiteFiles(suite=chosen, runs=runs),
    )
    with waiting("read the dataset") as tell:
        release = build_release(dataset, folder, settings, progress=tell)
    num_bytes = sum(file.size_bytes for file in release.files.values())
    out.print(
        f"{release.about.title} {release.version}: {counted(len(release.files), 'file')}, "
        f"{num_bytes / 1e6:.1f} MB in {folder}\ncheck it: raymark release verify {folder}",
        soft_wrap=True,
    )


@app.command()
def verify(
    folder: ReleaseArgument,
    level: Annotated[
        Literal["names", "hashes", "full"],
        typer.Option(help="Names and sizes, SHA-256, or all that can be made anew"),
    ] = "hashes",
    public_key: Annotated[
        str, typer.Option(help="Who must have signed it: a public key of minisign, or its file")
    ] = "",
) -> None:
    """Prove that a release is intact; exit code 2 if anything is wrong."""
    from raymark.benchmark.release_part import benchmark_faults  # noqa: PLC0415
    from raymark.release import read_release, unproven_parts, verify_release  # noqa: PLC0415
    from raymark.release.signature import read_public_key  # noqa: PLC0415

    key = read_public_key(public_key) if public_key else None
    release = read_release(folder)
    files = release.files

    def advance_by(name: str) -> None:
        advance(int(name in files))

    with progress_bar("verify", len(files), "files") as advance:
        faults = verify_release(
            folder, level, benchmark=benchmark_faults, public_key=key, progress=advance_by
        )
    for fault in faults:
        print_error(fault)
    if faults:
        raise typer.Exit(2)
    out.print(f"{folder}: {counted(len(files), 'file')} checked and right (level {level})")
    if key is not None:
        out.print("signed by the key that was given")
    if level == "full":
        for sentence in unproven_parts(folder, release):
            out.print(f"not proven  {sentence}", soft_wrap=True)


@app.command()
def publish(
    folder: ReleaseArgument,
    to: Annotated[
        str, typer.Option("--to", metavar="PLACE", help="New folder, s3://..., hf://datasets/...")
    ],
    index: Annotated[
        str, typer.Option(help="File of the index that gets the entry; made if it is not there")
    ],
    name: Annotated[
        str | None, typer.Option(help="What others call it; made of the title if not given")
    ] = None,
) -> None:
    """Copy a release to where others get it by name; its entry of an index is written last."""
    from raymark.catalog import publish_release  # noqa: PLC0415
    from raymark.release import read_release  # noqa: PLC0415

    read_release(folder)  # refuses before a bar is shown
    num_files = sum(path.is_file() for path in folder.rglob("*"))
    with progress_bar("publish", num_files, "files") as advance:
        made = publish_release(folder, to, index, name=name, progress=lambda _name: advance(1))
    entry = made.entry
    out.print(
        f"{entry.label} is in {index}, at {', '.join(entry.mirrors)}\n"
        f"get it: raymark datasets get {entry.label} --index {index}",
        soft_wrap=True,
    )


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Folder of a release")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of another one")],
    as_json: AsJson = False,
) -> None:
    """Show what changed between two releases: data, arrays, splits, scores, files."""
    from raymark.release import diff_releases  # noqa: PLC0415

    found = diff_releases(old, new)
    if not found and not as_json:
        out.print(f"{old} and {new} hold the same")
        return
    columns = [
        Column(heading="what", key="kind"),
        Column(heading="where", key="place"),
        Column(heading="change", key="text"),
    ]
    print_rows([dataclasses.asdict(difference) for difference in found], columns, as_json=as_json)


@app.command()
def card(
    folder: ReleaseArgument,
    page: Annotated[Path, typer.Option("--out", help="HTML file to write")] = Path("card.html"),
    overwrite: Overwrite = False,
) -> None:
    """Write the card of a release as an HTML page."""
    from raymark.release import card_page  # noqa: PLC0415
    from raymark.storage import require_file, write_text  # noqa: PLC0415

    require_file(page, overwrite=overwrite)
    write_text(page, card_page(folder))
    out.print(f"wrote {page}")


@app.command()
def subset(
    dataset: DatasetArgument,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the subset")],
    scenes: Annotated[str, typer.Option(help="Scenes to keep, separated by commas")] = "",
    sites: Annotated[str, typer.Option(help="Sites to keep")] = "",
    bands: Annotated[str, typer.Option(help="Bands to keep")] = "",
    ues: Annotated[int | None, typer.Option(min=1, help="The first UEs of every site")] = None,
) -> None:
    """Cut a dataset down; the result is a dataset of its own."""
    from raymark.cli.datasets import print_summary  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.dataset.subset import Cut, cut_dataset  # noqa: PLC0415

    kept = Cut(
        scenes=tuple(listed(scenes)),
        sites=tuple(listed(sites)),
        bands=tuple(listed(bands)),
        num_ues=ues,
    )
    with waiting("cutting"):
        cut_dataset(open_dataset(dataset), folder, kept)
    print_summary(folder)


def _chosen_fingerprints(dataset: Any, text: str) -> tuple[tuple[str, str], ...]:
    if text == "all":
        return tuple((scene, band) for scene in dataset.scenes for band in dataset.bands)
    chosen = []
    for part in listed(text):
        scene, _, band = part.partition(":")
        if not (scene and band):
            raise ConfigError(
                f"--materialize takes SCENE:BAND, such as etoile:6GHz, or all; got '{part}'"
            )
        selection = dataset.select(scene=scene, band=band)  # refuses what is not there
        chosen.append((scene, selection.band.name))
    return tuple(chosen)
