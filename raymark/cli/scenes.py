"""Commands that list, import, check and show scenes."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from raymark.cli.options import Seed
from raymark.console import out as console_out

app = typer.Typer(help="The scenes that datasets are made of.", no_args_is_help=True)

SceneArgument = Annotated[str, typer.Argument(metavar="SCENE", help="Name or folder of a scene")]


@app.command("list")
def scenes_list() -> None:
    """List the scenes with their sites."""
    from raymark.scenes import get_scene, scene_names  # noqa: PLC0415

    table = Table("scene", "title", "sites", "licence", box=None)
    for name in scene_names():
        scene = get_scene(name)
        sites = ", ".join(site.name for site in scene.sites)
        table.add_row(name, scene.settings.title, sites, scene.settings.licence)
    console_out.print(table)


@app.command("show")
def scenes_show(name: SceneArgument) -> None:
    """Show a scene's card, extent, materials, parameters and sites."""
    from rich.markdown import Markdown  # noqa: PLC0415

    from raymark.scenes import get_scene  # noqa: PLC0415

    scene = get_scene(name)
    settings = scene.settings
    console_out.print(Markdown(scene.card))
    x0, y0, x1, y1 = scene.extent_m
    console_out.print(f"\nsource       {settings.source}\nlicence      {settings.licence}")
    console_out.print(f"attribution  {settings.attribution}", soft_wrap=True)
    console_out.print(f"extent       {x1 - x0:.0f} x {y1 - y0:.0f} m")
    console_out.print(f"materials    {', '.join(settings.materials)}")
    for key, value in scene.params.items():
        console_out.print(f"parameter    {key} = {value}")
    for site in scene.sites:
        share = settings.los_share.get(site.name)
        los = f", LOS share {share:.0%}" if share is not None else ""
        console_out.print(
            f"site {site.name}     at {site.position_m} m, azimuth {site.azimuth_deg:g} deg, "
            f"downtilt {site.downtilt_deg:g} deg{los}; {site.note}",
            soft_wrap=True,
        )


@app.command("preview")
def scenes_preview(
    name: SceneArgument,
    out: Annotated[Path, typer.Option(help="PNG file")],
    num_ues: Annotated[int, typer.Option(min=1, help="UEs drawn per site")] = 500,
    seed: Seed = 0,
) -> None:
    """Draw a plan of a scene: buildings by height, sites, UEs by LOS, NLOS and outage."""
    from raymark.generator.preview import preview_scene  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    preview_scene(get_scene(name), out, num_ues=num_ues, seed=seed)
    console_out.print(f"wrote {out}")
