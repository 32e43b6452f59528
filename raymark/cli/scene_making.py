"""Commands that make scenes: import, degrade, export, and sites."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from raymark.cli.console import out as console_out
from raymark.cli.console import progress_bar, waiting
from raymark.cli.options import Overwrite, SceneArgument, Seed, TrustCode
from raymark.cli.tables import Column, Row, percent, print_rows
from raymark.errors import counted

app = typer.Typer()

_MAP_CACHE = Path.home() / ".cache" / "raymark" / "maps"


@app.command("import")
def scenes_import(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="GeoJSON, OSM XML or PBF, CityJSON, GeoParquet, a picture of two colours; or "
            "scene.xml of Sionna RT"
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
    metres_per_pixel: Annotated[
        float | None, typer.Option(help="Side of a pixel, if FILE is a picture")
    ] = None,
    buildings: Annotated[
        str | None,
        typer.Option(metavar="dark|light", help="Colour of its buildings; the rarer if not given"),
    ] = None,
    height_m: Annotated[
        float | None,
        typer.Option(help="Height of buildings that the map does not know; drawn if not given"),
    ] = None,
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
    from raymark.config import validate_options  # noqa: PLC0415
    from raymark.scenes.importing import (  # noqa: PLC0415
        ImportOptions,
        find_map,
        import_scene,
        target_folder,
    )

    values = {
        "bbox": bbox,
        "crs": crs,
        "metres_per_pixel": metres_per_pixel,
        "buildings": buildings,
        "height_m": height_m,
        "seed": seed,
        "rules": materials,
        "bands": bands,
        "terrain": terrain,
        "terrain_crs": terrain_crs,
        "terrain_spacing_m": terrain_spacing,
    }
    names = {"rules": "materials", "terrain_spacing_m": "terrain-spacing"}
    options = validate_options(ImportOptions, values, names=names)
    folder = target_folder(out, name, overwrite=overwrite)
    with waiting("downloading and importing" if fetch else "importing"):
        source = find_map(file, options, fetch=fetch, cache=cache)
        report = import_scene(source, name=name, out=out, options=options, overwrite=overwrite)
    counts = {
        "read, with parts": report.num_features,
        "in the scene": report.num_buildings,
        **{f"  height {source}": count for source, count in report.height_sources.items()},
    }
    print_rows(
        [{"what": what, "count": count} for what, count in counts.items()],
        [Column(heading="buildings", key="what"), Column(heading="count", key="count")],
    )
    if report.findings:
        columns = [Column(heading=key, key=key) for key in ("action", "count", "reason")]
        print_rows([found.model_dump() for found in report.findings], columns)
    console_out.print(
        f"wrote {folder} ({counted(report.num_triangles, 'triangle')}; "
        f"{', '.join(report.materials)})\n"
        f"next: raymark scenes add-site {folder} --write, then raymark scenes preview {folder} "
        f"--out {name}.png",
        soft_wrap=True,
    )


@app.command("degrade")
def scenes_degrade(
    name: SceneArgument,
    grade: Annotated[
        str, typer.Option(help="How wrong: exact, surveyed, open, or one error alone, as shift")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the scene to make")],
    seed: Annotated[int, typer.Option(help="Seed of all errors: another is another map")] = 0,
    _trusted: TrustCode = None,
) -> None:
    """Make a scene of another whose map is wrong as real maps are: a city's own, OpenStreetMap."""
    from raymark.scenes import get_scene  # noqa: PLC0415
    from raymark.scenes.degrading import get_grade  # noqa: PLC0415
    from raymark.scenes.degrading.degrade_scene import degrade_scene  # noqa: PLC0415

    wrong, scene = get_grade(grade), get_scene(name)
    with waiting("making the map wrong"):
        report = degrade_scene(scene, out, grade=wrong, seed=seed)
    counts = {
        "in the scene": report.num_source_buildings,
        "  missing": report.num_missing,
        "  merged into another": report.num_merged,
        "  without a roof, left out": report.num_without_roof,
        "on the map": report.num_buildings,
        "  shifted": report.num_moved,
        "  with another height": report.num_new_heights,
        "  whose height is not known": report.num_unknown_heights,
        "  made anew as prisms": report.num_rebuilt,
    }
    print_rows(
        [{"what": what, "count": count} for what, count in counts.items()],
        [Column(heading="buildings", key="what"), Column(heading="count", key="count")],
    )
    console_out.print(
        f"rms of shifts {report.rms_shift_m:.2f} m, of known heights {report.rms_height_m:.2f} m, "
        f"of unknown ones {report.rms_unknown_height_m:.2f} m, of antennas' coordinates "
        f"{report.rms_position_m:.2f} m and angles {report.rms_angle_deg:.2f} deg\n"
        f"wrote {out} ({counted(report.num_triangles, 'triangle')}; "
        f"{', '.join(report.materials)})",
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
    with waiting("finding footprints"):
        num = export_footprints(
            get_scene(name), out, origin=place, tolerance_m=tolerance, overwrite=overwrite
        )
    console_out.print(
        f"wrote {out} ({counted(num, 'building or part', 'buildings and parts')})", soft_wrap=True
    )


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
    from raymark.config import validate_options  # noqa: PLC0415
    from raymark.generator.site_candidates import SitingSettings  # noqa: PLC0415
    from raymark.generator.site_writing import (  # noqa: PLC0415
        add_sites,
        draw_proposals,
        require_writable,
    )
    from raymark.generator.siting import NUM_TRACED, propose_sites  # noqa: PLC0415
    from raymark.plots import require_figure_name  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    scene = get_scene(name)
    if write:
        require_writable(scene)
    if out is not None:
        require_figure_name(out)
    options = {
        "mast_height_m": mast_height,
        "height_m": height,
        "range_m": range_m,
        "min_nlos_share": min_nlos,
    }
    option_names = {
        "mast_height_m": "mast-height",
        "height_m": "height",
        "range_m": "range",
        "min_nlos_share": "min-nlos",
    }
    settings = validate_options(SitingSettings, options, names=option_names)
    with progress_bar("tracing candidates", NUM_TRACED, "sites") as advance:
        plan = propose_sites(scene, settings, seed=seed, report=advance)
    rows = [_proposal_row(rank, proposal) for rank, proposal in enumerate(plan.proposals, start=1)]
    columns = [
        *(Column(heading=key, key=key) for key in ("rank", "name", "kind")),
        Column(heading="position [m]", key="position_m", show=_position_text),
        Column(heading="azimuth [deg]", key="azimuth_deg", show=_whole),
        Column(heading="downtilt [deg]", key="downtilt_deg", show=_whole),
        *(
            Column(heading=share, key=f"{share.lower()}_share", show=percent)
            for share in ("LOS", "NLOS", "outage", "coverage")
        ),
        Column(heading="score", key="score"),
    ]
    print_rows(rows, columns)
    if not all(proposal.meets_rule for proposal in plan.proposals):
        console_out.print(f"score -: less than {min_nlos:.0%} NLOS among the covered points")
    if out is not None:
        draw_proposals(scene, plan, out, num_best=num)
        console_out.print(f"wrote {out}")
    if write:
        added = add_sites(scene, plan, num, seed=seed)
        names = ", ".join(site.name for site in added)
        console_out.print(f"added {names} to {scene.folder / 'scene.yaml'}", soft_wrap=True)


def _proposal_row(rank: int, proposal: Any) -> Row:
    site, coverage = proposal.site, proposal.coverage
    return {
        "rank": rank,
        **site.model_dump(mode="json"),
        "kind": proposal.kind,
        "los_share": coverage.los_share,
        "nlos_share": coverage.nlos_share,
        "outage_share": coverage.outage_share,
        "coverage_share": coverage.share,
        "score": round(proposal.score, 2) if proposal.meets_rule else None,
    }


def _position_text(position_m: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in position_m)


def _whole(value: float) -> str:
    return f"{value:.0f}"
