"""Commands that show the campaigns that ship with raymark."""

from typing import Annotated

import typer
from rich.table import Table

from raymark.cli.console import out

app = typer.Typer(help="The campaigns that ship with raymark.", no_args_is_help=True)


@app.command("list")
def presets_list() -> None:
    """List the presets."""
    from raymark.generator.plan import load_campaign, preset_names  # noqa: PLC0415

    table = Table("preset", "description", box=None)
    for name in preset_names():
        table.add_row(name, load_campaign(name).description)
    out.print(table)


@app.command("show")
def presets_show(name: Annotated[str, typer.Argument()]) -> None:
    """Print a preset as YAML, to be saved and edited."""
    from raymark.generator.plan import preset_text  # noqa: PLC0415

    typer.echo(preset_text(name), nl=False)
