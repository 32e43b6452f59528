"""Commands for published datasets: find them by name, get them, look after the cache."""

from typing import TYPE_CHECKING, Annotated

import typer

from raymark.cli.console import err, out, resumable, stage_bars
from raymark.cli.options import AsJson, listed
from raymark.cli.tables import Column, print_rows
from raymark.errors import ConfigError, counted

if TYPE_CHECKING:
    from raymark.catalog import Catalog, Entry

app = typer.Typer(help="Published datasets: find, get, look after the cache.", no_args_is_help=True)

IndexOption = Annotated[
    str | None,
    typer.Option("--index", metavar="ADDRESS", help="Path or URL of the index; RAYMARK_INDEX else"),
]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nobody; RAYMARK_OFFLINE=1 says so")]
NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION]", help="A dataset of the index; its latest version if none is given"
    ),
]


def catalog_of(index: str | None, *, offline: bool = False) -> "Catalog":
    """Return the catalogue that options and environment name."""
    from raymark.catalog import Catalog  # noqa: PLC0415

    return Catalog.of_environment(index, offline=offline)


@app.command("list")
def list_datasets(
    index: IndexOption = None, offline: Offline = False, as_json: AsJson = False
) -> None:
    """List the releases of the index."""
    _print_entries(catalog_of(index, offline=offline).entries(), as_json=as_json)


@app.command()
def search(
    words: Annotated[
        str, typer.Argument(metavar="'WORDS'", help="All of them stand in what is said of it")
    ],
    index: IndexOption = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """List releases by words: of name, title, description, scenes, bands, licence."""
    found = catalog_of(index, offline=offline).entries(words)
    if not found and not as_json:
        err.print(f"no release of the index has {' and '.join(words.split())}")
        return
    _print_entries(found, as_json=as_json)


@app.command()
def show(
    name: NameArgument,
    index: IndexOption = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Show what the index says of a release."""
    from raymark.catalog import parse_reference  # noqa: PLC0415

    entry = catalog_of(index, offline=offline).entry(parse_reference(name))
    if as_json:
        print_rows([entry.model_dump(mode="json")], (), as_json=True)
        return
    parts = (f"{part} {_megabytes(size)}" for part, size in entry.part_bytes.items())
    facts = [
        ("name", entry.label),
        ("title", entry.title),
        ("about", " ".join(entry.description.split())),
        ("date", entry.date),
        ("scenes", ", ".join(entry.scenes)),
        ("bands", ", ".join(entry.bands)),
        ("links", f"{entry.num_links}, each at {counted(len(entry.bands), 'band')}"),
        ("size", f"{_megabytes(entry.size_bytes)}: {', '.join(parts)}"),
        ("licence", entry.licence),
        ("content", entry.content_hash),
        ("record", entry.heads["release.json"].sha256),
        *(("from", mirror) for mirror in entry.mirrors),
    ]
    if entry.superseded_by:
        facts.append(("newer", f"superseded by {entry.superseded_by}"))
    for key, value in facts:
        out.print(f"{key:<9} {value}", soft_wrap=True)
    out.print(f"\n{entry.attribution}", soft_wrap=True)


@app.command()
def get(
    name: NameArgument,
    scene: Annotated[str, typer.Option(help="Scenes to get, separated by commas")] = "",
    band: Annotated[str, typer.Option(help="Bands to get")] = "",
    tier: Annotated[
        str,
        typer.Option(
            help="Parts to get beside the paths: detail, buildings, fingerprints, benchmark"
        ),
    ] = "",
    index: IndexOption = None,
    offline: Offline = False,
) -> None:
    """Get a release or a part of it into the cache, and print its folder."""
    from raymark.catalog import make_choice, parse_reference  # noqa: PLC0415

    choice = make_choice(tuple(listed(scene)), tuple(listed(band)), tuple(listed(tier)))
    catalog = catalog_of(index, offline=offline)
    with resumable(catalog.cache.folder), stage_bars("MB") as show_bar:
        held = catalog.get(
            parse_reference(name),
            choice,
            before=print_rights,
            progress=lambda done, total: show_bar("get", -(-done // 10**6), -(-total // 10**6)),
        )
    held.let_go()
    out.print(str(held.folder), soft_wrap=True)


@app.command()
def cache(
    remove: Annotated[
        str, typer.Option(help="Names of datasets to remove, separated by commas, or all")
    ] = "",
    keep: Annotated[
        float | None,
        typer.Option(min=0, metavar="MB", help="Remove the longest unused until so much is left"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the datasets of the cache, the last used first, or remove some of them."""
    from raymark.catalog.cache import DatasetCache  # noqa: PLC0415

    kept = DatasetCache.of_environment()
    if remove and keep is not None:
        raise ConfigError("--remove names datasets and --keep a size; give one of them")
    if remove or keep is not None:
        wanted = listed(remove)
        gone = kept.remove_named(wanted) if wanted else kept.shrink_to(round((keep or 0) * 1e6))
        size_bytes = sum(item.size_bytes for item in gone)
        out.print(f"removed {counted(len(gone), 'dataset')}, {_megabytes(size_bytes)}")
        return
    rows = [
        {
            "dataset": item.label,
            "what": item.choice if item.is_finished else "not yet all of it",
            "size_bytes": item.size_bytes,
            "used_on": item.used_on.isoformat(timespec="seconds"),
            "folder": str(item.folder),
        }
        for item in kept.listed()
    ]
    columns = [
        Column(heading="dataset", key="dataset"),
        Column(heading="what", key="what"),
        Column(heading="size", key="size_bytes", show=_megabytes),
        Column(heading="last used", key="used_on"),
        Column(heading="folder", key="folder"),
    ]
    print_rows(rows, columns, as_json=as_json)
    if not as_json:
        total = sum(int(str(row["size_bytes"])) for row in rows)
        out.print(f"{_megabytes(total)} of {_megabytes(kept.limit_bytes)} in {kept.folder}")


def _print_entries(entries: "list[Entry]", *, as_json: bool) -> None:
    rows = [
        {
            **entry.model_dump(mode="json", exclude={"heads", "citation", "part_bytes"}),
            "label": entry.label,
            "parts": list(entry.parts),
            "size_bytes": entry.size_bytes,
        }
        for entry in entries
    ]
    columns = [
        Column(heading="dataset", key="label"),
        Column(heading="title", key="title"),
        Column(heading="scenes", key="scenes", show=", ".join),
        Column(heading="bands", key="bands", show=", ".join),
        Column(heading="links", key="num_links"),
        Column(heading="size", key="size_bytes", show=_megabytes),
        Column(heading="licence", key="licence"),
    ]
    print_rows(rows, columns, as_json=as_json)


def print_rights(entry: "Entry") -> None:
    """Say under which licence a release is, and how it is cited, before it is fetched."""
    if entry.superseded_by:
        err.print(f"{entry.label} is superseded by {entry.superseded_by}")
    err.print(
        f"{entry.title} {entry.version} is under {entry.licence}; of its scenes:\n"
        f"{entry.attribution}\nWhoever uses it cites:\n\n{entry.citation}",
        soft_wrap=True,
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
