"""Commands that list, show, draw and check scenes."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from raymark.cli.console import out as console_out
from raymark.cli.console import waiting
from raymark.cli.options import AsJson, Overwrite, SceneArgument, Seed, TrustCode, dataset_place
from raymark.cli.tables import Column, print_levels, print_rows
from raymark.storage import Place

app = typer.Typer(help="The scenes that datasets are made of.", no_args_is_help=True)

_CARD_WIDTH = 100


@app.command("list")
def scenes_list(as_json: AsJson = False) -> None:
    """List the scenes with their sites."""
    from raymark.scenes import get_scene, scene_names  # noqa: PLC0415

    rows = []
    for name in scene_names():
        scene = get_scene(name)
        sites = [site.model_dump(mode="json") for site in scene.sites]
        rows.append({"name": name, **scene.settings.model_dump(mode="json"), "sites": sites})
    columns = [
        Column(heading="scene", key="name"),
        Column(heading="title", key="title"),
        Column(heading="sites", key="sites", show=_site_names),
        Column(heading="licence", key="licence"),
    ]
    print_rows(rows, columns, as_json=as_json)


def _site_names(sites: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(site["name"] for site in sites)


@app.command("show")
def scenes_show(name: SceneArgument, _trusted: TrustCode = None) -> None:
    """Show a scene's card, extent, materials, parameters and sites."""
    from rich.markdown import Markdown  # noqa: PLC0415

    from raymark.scenes import get_scene  # noqa: PLC0415

    scene = get_scene(name)
    settings = scene.settings
    console_out.print(Markdown(scene.card), width=min(console_out.width, _CARD_WIDTH))
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
    _trusted: TrustCode = None,
) -> None:
    """Draw a plan of a scene: buildings by height, sites, UEs by LOS, NLOS and outage."""
    from raymark.generator.preview import preview_scene  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    with waiting("tracing UEs for the plan"):
        preview_scene(get_scene(name), out, num_ues=num_ues, seed=seed)
    console_out.print(f"wrote {out}")


@app.command("view")
def scenes_view(
    name: SceneArgument,
    out: Annotated[Path, typer.Option(help="HTML file")],
    data: Annotated[
        Place | None,
        typer.Option(
            parser=dataset_place,
            metavar="DIR",
            help="Dataset whose links are shown; traced anew if not given",
        ),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="One site; all of the scene if not given")
    ] = None,
    band: Annotated[
        str | None,
        typer.Option(help="Band of the gains, such as 28GHz; the dataset's first, or 6GHz"),
    ] = None,
    num_links: Annotated[int, typer.Option(min=1, max=10_000, help="Links per site at most")] = 200,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    _trusted: TrustCode = None,
) -> None:
    """Write an interactive 3D page: the scene, its sites, UEs and the paths of each link."""
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.generator.viewer import ViewChoice, view_scene  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    scene, dataset = get_scene(name), None if data is None else open_dataset(data)
    choice = ViewChoice(site=site, band=band, num_links=num_links, seed=seed)
    with waiting("gathering triangles and paths"):
        view_scene(scene, out, choice, dataset=dataset, overwrite=overwrite)
    console_out.print(f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")


@app.command("check")
def scenes_check(
    name: SceneArgument,
    bands: Annotated[
        str | None, typer.Option(help="Bands that it must serve, such as 2.6GHz,28GHz")
    ] = None,
    as_json: AsJson = False,
    _trusted: TrustCode = None,
) -> None:
    """Report whether datasets can be made of a scene; exit code 1 if not."""
    from raymark.generator.scene_check import check_scene  # noqa: PLC0415
    from raymark.radio import parse_bands  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    wanted = parse_bands(bands, option="--bands") if bands is not None else None
    with waiting("checking geometry, materials and sites"):
        findings = check_scene(get_scene(name), wanted)
    print_levels([dataclasses.asdict(finding) for finding in findings], as_json=as_json)
    if any(finding.level == "FAIL" for finding in findings):
        raise typer.Exit(1)
