"""The command that makes the maps of a suite."""

from pathlib import Path
from typing import Annotated

import typer

from raymark.cli.bench import SuiteOption, seed_numbers
from raymark.cli.console import err, out, resumable_tracing
from raymark.cli.options import DataOption, TrustCode, listed
from raymark.errors import counted

app = typer.Typer()


@app.command("maps")
def make_maps(
    data: DataOption,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Gets the maps")],
    suite: SuiteOption = "small-map",
    grades: Annotated[
        str, typer.Option(help="Only these grades of the suite, separated by commas")
    ] = "",
    seeds: Annotated[
        str, typer.Option(help="Only these seeds of the suite, separated by commas")
    ] = "",
    spacing: Annotated[float, typer.Option(min=0.5, max=50, help="Of the points [m]")] = 2.0,
    _trusted: TrustCode = None,
) -> None:
    """Make the maps that models of a suite get; the same command goes on where it stopped."""
    from raymark.benchmark import load_suite  # noqa: PLC0415
    from raymark.benchmark.suite_run import maps_of  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.dataset.map_names import map_name  # noqa: PLC0415
    from raymark.generator.city_maps import make_map  # noqa: PLC0415
    from raymark.scenes.degrading import get_grade  # noqa: PLC0415

    wanted = maps_of(load_suite(suite), grades=listed(grades), seeds=seed_numbers(seeds))
    dataset = open_dataset(data)
    for grade, seed in wanted:
        err.print(f"map {map_name(grade, seed)} ...")
        with resumable_tracing(folder) as progress:
            make_map(
                dataset,
                folder,
                grade=get_grade(grade),
                seed=seed,
                spacing_m=spacing,
                progress=progress,
            )
    out.print(f"{counted(len(wanted), 'map')} in {folder}", soft_wrap=True)
    out.print(f"next: raymark bench run --suite {suite} --data {data} --maps {folder} --out RUNS")
