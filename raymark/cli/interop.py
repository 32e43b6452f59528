"""Commands that exchange datasets with other programs and data sets."""

from pathlib import Path
from typing import Annotated

import typer

from raymark.cli.console import out, waiting
from raymark.cli.options import DatasetArgument
from raymark.errors import counted

app = typer.Typer(help="Scenario folders of DeepMIMO v4, both ways.", no_args_is_help=True)
waird_app = typer.Typer(help="Environments of WAIR-D, as datasets.", no_args_is_help=True)


@app.command("export")
def export(
    dataset: DatasetArgument,
    scene: Annotated[str, typer.Option(help="Scene of the dataset")],
    band: Annotated[str, typer.Option(help="Band of the dataset")],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Scenario folder to write")],
    site: Annotated[str | None, typer.Option(help="One site; all if not given")] = None,
    keep_element_patterns: Annotated[
        bool, typer.Option("--keep-element-patterns", help="Leave them in the powers")
    ] = False,
) -> None:
    """Write a scenario folder that `deepmimo.load` reads."""
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.interop import export_deepmimo  # noqa: PLC0415

    with waiting("writing the scenario"):
        made = export_deepmimo(
            open_dataset(dataset),
            folder,
            scene=scene,
            band=band,
            site=site,
            keep_element_patterns=keep_element_patterns,
        )
    out.print(
        f"wrote {made.folder}: {counted(made.num_sites, 'transmitter')}, "
        f"{counted(made.num_ues, 'receiver')}, {counted(made.num_paths, 'path')}"
    )


@app.command("import")
def import_scenario(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Folder of a scenario")],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the dataset")],
    options: Annotated[
        Path | None, typer.Option(help="YAML: tx_sets, azimuth_deg, max_ues, licence, ...")
    ] = None,
) -> None:
    """Make a dataset of a scenario; docs/interop.md lists the options."""
    from raymark.cli.datasets import print_summary  # noqa: PLC0415
    from raymark.config import read_yaml, validate  # noqa: PLC0415
    from raymark.interop import DeepmimoImport, import_deepmimo  # noqa: PLC0415

    values = read_yaml(options) if options else {}
    with waiting("importing the scenario"):
        import_deepmimo(scenario, folder, validate(DeepmimoImport, values, where=str(options)))
    print_summary(folder)


@waird_app.callback()
def _waird() -> None:
    """Environments of WAIR-D, as datasets."""


@waird_app.command("import")
def import_environment(
    scenario: Annotated[Path, typer.Argument(metavar="FOLDER", help="A scenario: scenario_2")],
    environment: Annotated[
        str, typer.Option("--env", metavar="NAME", help="Its environment: 00743")
    ],
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the dataset")],
    options: Annotated[
        Path | None, typer.Option(help="YAML: carriers_ghz, front_end, max_ues, licence, ...")
    ] = None,
) -> None:
    """Make a dataset of an environment; docs/interop.md lists the options and what is decided."""
    from raymark.cli.datasets import print_summary  # noqa: PLC0415
    from raymark.config import read_yaml, validate  # noqa: PLC0415
    from raymark.interop import WairdImport, import_waird  # noqa: PLC0415

    values = read_yaml(options) if options else {}
    with waiting("importing the environment"):
        manifest = import_waird(
            scenario, environment, folder, validate(WairdImport, values, where=str(options))
        )
    print_summary(folder)
    for note in manifest.notes:
        out.print(note, soft_wrap=True)
