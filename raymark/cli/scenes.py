"""Commands that list, import, check and show scenes."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from raymark.cli.console import err as console_err
from raymark.cli.console import out as console_out
from raymark.cli.console import progress_bar
from raymark.cli.options import Overwrite, Seed, TrustCode
from raymark.storage import Place, as_place

app = typer.Typer(help="The scenes that datasets are made of.", no_args_is_help=True)

_MAP_CACHE = Path.home() / ".cache" / "raymark" / "maps"

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
def scenes_show(name: SceneArgument, _trusted: TrustCode = None) -> None:
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
    _trusted: TrustCode = None,
) -> None:
    """Draw a plan of a scene: buildings by height, sites, UEs by LOS, NLOS and outage."""
    from raymark.generator.preview import preview_scene  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    preview_scene(get_scene(name), out, num_ues=num_ues, seed=seed)
    console_out.print(f"wrote {out}")


@app.command("import")
def scenes_import(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="GeoJSON, OSM XML or PBF, CityJSON or GeoParquet; or scene.xml of Sionna RT"
        ),
    ] = None,
    *,
    name: Annotated[str, typer.Option(help="Name of the scene and of its folder")],
    out: Annotated[Path, typer.Option(help="Where the folder goes")] = Path(),
    bbox: Annotated[
        str | None, typer.Option(metavar="W,S,E,N", help="Only buildings in this box, in degrees")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Download the box from OpenStreetMap, without a FILE")
    ] = False,
    cache: Annotated[
        Path, typer.Option(help="Where downloaded maps are kept", show_default=False)
    ] = _MAP_CACHE,
    crs: Annotated[str | None, typer.Option(help="CRS of FILE, such as EPSG:25832")] = None,
    materials: Annotated[Path | None, typer.Option(help="YAML of material rules")] = None,
    terrain: Annotated[Path | None, typer.Option(help="Heights: .asc or GeoTIFF")] = None,
    terrain_crs: Annotated[str | None, typer.Option(help="CRS of the terrain")] = None,
    terrain_spacing: Annotated[float, typer.Option(help="Grid of the ground in metres")] = 10.0,
    bands: Annotated[
        str | None, typer.Option(help="Bands that its materials must serve: 2.6GHz,28GHz")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of heights that are not known")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make a scene folder of a map's buildings or a scene of Sionna RT; report what was done."""
    from raymark.config import validate  # noqa: PLC0415
    from raymark.scenes.importing import ImportOptions, find_map, import_scene  # noqa: PLC0415

    values = {
        "bbox": bbox,
        "crs": crs,
        "seed": seed,
        "rules": materials,
        "bands": bands,
        "terrain": terrain,
        "terrain_crs": terrain_crs,
        "terrain_spacing_m": terrain_spacing,
    }
    options = validate(ImportOptions, values, where="import")
    with console_err.status("importing"):
        source = find_map(file, options, fetch=fetch, cache=cache)
        report = import_scene(source, name=name, out=out, options=options, overwrite=overwrite)
    table = Table("buildings", "", box=None)
    table.add_row("read, with parts", f"{report.num_features}")
    table.add_row("in the scene", f"{report.num_buildings}")
    for height_source, count in report.height_sources.items():
        table.add_row(f"  height {height_source}", f"{count}")
    console_out.print(table)
    if report.findings:
        findings = Table("action", "count", "reason", box=None)
        for found in report.findings:
            findings.add_row(found.action, f"{found.count}", found.reason)
        console_out.print(findings)
    folder = out / name
    console_out.print(
        f"wrote {folder} ({report.num_triangles} triangles; {', '.join(report.materials)})\n"
        f"next: raymark scenes add-site {folder} --write, then raymark scenes preview {folder} "
        f"--out {name}.png",
        soft_wrap=True,
    )


@app.command("export")
def scenes_export(
    name: SceneArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="GeoJSON file to write")],
    origin: Annotated[
        str | None,
        typer.Option(metavar="LON,LAT", help="Where (0, 0) lies; as imported, or 0,0"),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.05, help="Largest error of sloped roofs' heights [m]")
    ] = 0.5,
    overwrite: Overwrite = False,
    _trusted: TrustCode = None,
) -> None:
    """Write the footprints of a scene's buildings, as `scenes import` reads them."""
    from raymark.scenes import get_scene  # noqa: PLC0415
    from raymark.scenes.footprints import export_footprints, parse_origin  # noqa: PLC0415

    place = None if origin is None else parse_origin(origin)
    num = export_footprints(
        get_scene(name), out, origin=place, tolerance_m=tolerance, overwrite=overwrite
    )
    console_out.print(f"wrote {out} ({num} buildings and parts)", soft_wrap=True)


@app.command("view")
def scenes_view(
    name: SceneArgument,
    out: Annotated[Path, typer.Option(help="HTML file")],
    data: Annotated[
        Place | None,
        typer.Option(
            parser=as_place,
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
    with console_err.status("gathering triangles and paths"):
        view_scene(scene, out, choice, dataset=dataset, overwrite=overwrite)
    console_out.print(f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")


@app.command("add-site")
def scenes_add_site(
    name: SceneArgument,
    num: Annotated[int, typer.Option(min=1, max=12, help="Sites to draw or add")] = 1,
    out: Annotated[Path | None, typer.Option(help="Draw a plan: PNG, PDF or SVG file")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Add the best to the scene.yaml of your own scene")
    ] = False,
    mast_height: Annotated[float, typer.Option(help="Panel above the roof [m]")] = 3.0,
    height: Annotated[float, typer.Option(help="Panel of a street mast above ground [m]")] = 10.0,
    range_m: Annotated[float, typer.Option("--range", help="Radius of the sector [m]")] = 200.0,
    min_nlos: Annotated[
        float, typer.Option(help="Least share of NLOS among the covered points, 0 to 1")
    ] = 0.25,
    seed: Seed = 0,
    _trusted: TrustCode = None,
) -> None:
    """Propose sites for a scene, on roof edges and street masts, by coverage and NLOS share."""
    from raymark.config import validate  # noqa: PLC0415
    from raymark.generator.site_candidates import SitingSettings  # noqa: PLC0415
    from raymark.generator.site_writing import (  # noqa: PLC0415
        add_sites,
        draw_proposals,
        require_writable,
    )
    from raymark.generator.siting import NUM_TRACED, propose_sites  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    scene = get_scene(name)
    if write:
        require_writable(scene)
    options = {
        "mast_height_m": mast_height,
        "height_m": height,
        "range_m": range_m,
        "min_nlos_share": min_nlos,
    }
    settings = validate(SitingSettings, options, where="add-site")
    with progress_bar("tracing candidates", NUM_TRACED, "sites") as advance:
        plan = propose_sites(scene, settings, seed=seed, report=advance)
    table = Table(
        *("rank", "name", "kind", "position [m]", "azimuth", "downtilt"),
        *("LOS", "NLOS", "outage", "coverage", "score"),
        box=None,
    )
    for rank, proposal in enumerate(plan.proposals, start=1):
        site, coverage = proposal.site, proposal.coverage
        table.add_row(
            f"{rank}",
            site.name,
            proposal.kind,
            ", ".join(f"{value:.1f}" for value in site.position_m),
            f"{site.azimuth_deg:.0f}",
            f"{site.downtilt_deg:.0f}",
            f"{coverage.los_share:.0%}",
            f"{coverage.nlos_share:.0%}",
            f"{coverage.outage_share:.0%}",
            f"{coverage.share:.0%}",
            f"{proposal.score:.2f}" if proposal.meets_rule else f"below {min_nlos:.0%} NLOS",
        )
    console_out.print(table)
    if out is not None:
        draw_proposals(scene, plan, out, num_best=num)
        console_out.print(f"wrote {out}")
    if write:
        added = add_sites(scene, plan, num, seed=seed)
        names = ", ".join(site.name for site in added)
        console_out.print(f"added {names} to {scene.folder / 'scene.yaml'}", soft_wrap=True)


@app.command("check")
def scenes_check(
    name: SceneArgument,
    bands: Annotated[
        str | None, typer.Option(help="Bands that it must serve, such as 2.6GHz,28GHz")
    ] = None,
    _trusted: TrustCode = None,
) -> None:
    """Report whether datasets can be made of a scene; exit code 1 if not."""
    from raymark.generator.scene_check import check_scene  # noqa: PLC0415
    from raymark.radio import parse_bands  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    findings = check_scene(get_scene(name), parse_bands(bands) if bands is not None else None)
    table = Table(box=None, show_header=False, padding=(0, 1))
    styles = {"ok": "green", "note": "yellow", "FAIL": "red"}
    for finding in findings:
        table.add_row(Text(finding.level, styles[finding.level]), finding.subject, finding.text)
    console_out.print(table)
    if any(finding.level == "FAIL" for finding in findings):
        raise typer.Exit(1)
