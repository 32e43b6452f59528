"""Commands that show the campaigns that ship with raymark."""

from typing import Annotated

import typer

from raymark.cli.options import AsJson
from raymark.cli.tables import Column, print_rows

app = typer.Typer(help="The campaigns that ship with raymark.", no_args_is_help=True)


@app.command("list")
def presets_list(as_json: AsJson = False) -> None:
    """List the presets."""
    from raymark.generator.plan import load_campaign, preset_names  # noqa: PLC0415

    rows = [
        {"name": name, "description": load_campaign(name).description} for name in preset_names()
    ]
    columns = [
        Column(heading="preset", key="name"),
        Column(heading="description", key="description"),
    ]
    print_rows(rows, columns, as_json=as_json)


@app.command("show")
def presets_show(name: Annotated[str, typer.Argument()]) -> None:
    """Print a preset as YAML, to be saved and edited."""
    from raymark.generator.plan import preset_text  # noqa: PLC0415

    typer.echo(preset_text(name), nl=False)
