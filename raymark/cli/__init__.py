"""The `raymark` command: parse, call one library function, print."""

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from raymark.cli.bench import app as bench_app
from raymark.cli.bench import (
    print_board,
    print_failures,
    tell_of_another_dataset,
    tell_of_expensive_models,
)
from raymark.cli.catalog import app as catalog_app
from raymark.cli.citing import app as citing_app
from raymark.cli.cluster import app as cluster_app
from raymark.cli.console import err, out, print_error, resumable_tracing
from raymark.cli.datasets import app as datasets_app
from raymark.cli.datasets import print_summary
from raymark.cli.interop import app as deepmimo_app
from raymark.cli.interop import waird_app
from raymark.cli.locate import app as locate_app
from raymark.cli.maps import app as maps_app
from raymark.cli.models import app as models_app
from raymark.cli.options import Overwrite
from raymark.cli.presets import app as presets_app
from raymark.cli.release import app as release_app
from raymark.cli.scene_making import app as scene_making_app
from raymark.cli.scenes import app as scenes_app
from raymark.cli.submissions import app as submissions_app
from raymark.errors import RaymarkError
from raymark.extras import explain_missing

app = typer.Typer(
    help="Ray-traced radio datasets for localization, and a benchmark on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",  # "rich" would swallow units such as [m]
)


def main() -> None:
    """Run the command line; a wrong input or a missing extra ends with one sentence and code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal knows every letter
    try:
        app()
    except RaymarkError as error:
        print_error(str(error))
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print_error(f"{place}{error.strerror or error}")
        sys.exit(2)
    except ModuleNotFoundError as error:
        sentence = explain_missing(error)
        if sentence is None:
            raise
        print_error(sentence)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version")] = False,
) -> None:
    if version:
        from raymark import __version__  # noqa: PLC0415

        out.print(f"raymark {__version__}")
        raise typer.Exit


@app.command("quickstart")
def show_quickstart(
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything it makes")] = Path(
        "raymark-quickstart"
    ),
    overwrite: Overwrite = False,
) -> None:
    """Make the `mini` dataset, look into it, compare models on it, and say what to do next."""
    from raymark.cli.quickstart import quickstart  # noqa: PLC0415

    err.print("Three city layouts are traced (the first run compiles kernels) ...")
    with resumable_tracing(folder) as progress:
        report = quickstart(folder, overwrite=overwrite, progress=progress)
    dataset = report.dataset
    print_summary(dataset)
    out.print()
    if not report.is_published:
        tell_of_another_dataset(report.suite, dataset)
    tell_of_expensive_models(report.num_models)
    print_failures(report.run, folder / "runs")
    print_board(report.board, folder / "board")
    out.print(
        f"\nDataset: {dataset}\nFigures: {folder / 'figures'} ({len(report.figures)} files)\n"
        f"Board:   {folder / 'board' / 'index.html'} (open it in a browser; 200 UEs a scene are "
        "too few to compare models by)",
        soft_wrap=True,
    )
    out.print(
        "\nWhat next:\n"
        f"  check every hash               raymark verify {dataset}\n"
        f"  fingerprints as HDF5           raymark fingerprints {dataset} --scene munich "
        "--band 28GHz --out munich.h5\n"
        "  a campaign of your own         raymark presets show mini > my.yaml, edit, "
        "raymark generate my.yaml --out DIR\n"
        "  a model of your own            raymark bench new-model my_model\n"
        f"  a release to publish           raymark release build {dataset} --version 1.0.0 "
        "--out DIR (pip install 'raymark[release]')\n"
        f"  in Python                      raymark.open_dataset('{dataset}')",
        soft_wrap=True,
    )


app.add_typer(datasets_app)
app.add_typer(catalog_app, name="datasets")
app.add_typer(citing_app)
app.add_typer(presets_app, name="presets")
scenes_app.add_typer(scene_making_app)
app.add_typer(scenes_app, name="scenes")
app.add_typer(models_app)
app.add_typer(locate_app)
bench_app.add_typer(maps_app)
bench_app.add_typer(submissions_app)
app.add_typer(bench_app, name="bench")
app.add_typer(release_app, name="release")
app.add_typer(cluster_app, name="cluster")
app.add_typer(deepmimo_app, name="deepmimo")
app.add_typer(waird_app, name="waird")
