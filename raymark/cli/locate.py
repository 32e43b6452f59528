"""The command that locates links on a map whose city has no labels."""

from pathlib import Path
from typing import Annotated, Any

import typer

from raymark.cli.console import err, out, resumable_tracing
from raymark.cli.options import Overwrite, TrustCode
from raymark.cli.tables import Column, percent, print_rows, rows_of
from raymark.errors import ConfigError, counted

app = typer.Typer()

_MOST_ROWS = 30

_COLUMNS = [
    Column(heading="link", key="link"),
    Column(heading="x [m]", key="x_m", show=lambda value: f"{value:.2f}"),
    Column(heading="y [m]", key="y_m", show=lambda value: f"{value:.2f}"),
    Column(heading="deviation [m]", key="deviation_m"),
    Column(heading="paths", key="num_paths"),
    Column(heading="explained", key="num_explained"),
    Column(heading="peak", key="peak_share", show=percent),
]

_ERROR_COLUMNS = [
    Column(heading="links", key="links"),
    Column(heading="number", key="number"),
    Column(heading="median [m]", key="median_m"),
    Column(heading="P90 [m]", key="p90_m"),
]


@app.command()
def locate(
    scene: Annotated[str, typer.Option(help="Name or folder of the scene that is the map")],
    csi: Annotated[
        Path, typer.Option(metavar="FILE", help="CSI: .npz, or HDF5 of `raymark fingerprints`")
    ],
    site: Annotated[
        str | None, typer.Option(help="Site that received it; the only one if not given")
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="Band, such as 6GHz; that of the file if not given")
    ] = None,
    receiver: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML of band and front-end, if not the usual ones"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Gets table, arrays and figures")
    ] = None,
    plot: Annotated[
        list[int] | None,
        typer.Option(metavar="LINK", help="Draw this link's posterior; several times"),
    ] = None,
    view: Annotated[bool, typer.Option("--view", help="Write the 3D page of all links")] = False,
    range_m: Annotated[
        float, typer.Option("--range", min=20, max=5000, help="Farthest candidates [m]")
    ] = 200.0,
    half_width: Annotated[
        float, typer.Option(min=1, max=89, help="Half the sector around the boresight [deg]")
    ] = 80.0,
    spacing: Annotated[float, typer.Option(min=0.5, max=50, help="Of the candidates [m]")] = 2.0,
    path_error: Annotated[
        float, typer.Option(min=0.01, max=50, help="What paths' lengths are off by on the map [m]")
    ] = 1.0,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where traced maps are kept")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Trace the map anew if its scene was edited")
    ] = False,
    overwrite: Overwrite = False,
    _trusted: TrustCode = None,
) -> None:
    """Locate links by their CSI on a map of a city that has no labels at all."""
    from raymark.cli.locating import (  # noqa: PLC0415
        DEFAULT_AREA,
        Assumptions,
        LocatingSettings,
        MapKeeping,
        Output,
        locate_on_map,
    )
    from raymark.config import validate_options  # noqa: PLC0415
    from raymark.dataset.samplings import GridSampling  # noqa: PLC0415
    from raymark.radio import read_receiver  # noqa: PLC0415
    from raymark.scenes import get_scene  # noqa: PLC0415

    values = {
        **DEFAULT_AREA.model_dump(exclude={"kind"}),
        "spacing_m": spacing,
        "max_range_m": range_m,
        "sector_half_width_deg": half_width,
    }
    names = {"spacing_m": "spacing", "max_range_m": "range"}
    keeping = MapKeeping(renew=renew) if cache is None else MapKeeping(folder=cache, renew=renew)
    settings = LocatingSettings(
        site=site,
        band=band,
        receiver=None if receiver is None else read_receiver(receiver),
        area=validate_options(GridSampling, values, names=names),
        assumptions=Assumptions(range_m=path_error),
        keeping=keeping,
    )
    output = None
    if folder is not None:
        links = tuple(plot or ())
        output = Output(folder=folder, links=links, with_page=view, overwrite=overwrite)
    elif plot or view:
        raise ConfigError("--plot and --view write files; say where they go (--out DIR)")
    with resumable_tracing(keeping.folder) as progress:
        located = locate_on_map(
            get_scene(scene), csi, settings, output=output, tell=_tell, progress=progress
        )
    _print(located)
    if folder is not None:
        out.print(f"wrote {folder} ({counted(len(located.found), 'link')})", soft_wrap=True)


def _tell(step: str) -> None:
    err.print(f"{step} ...")


def _print(located: Any) -> None:
    """Print where links are, and all that was assumed."""
    found = located.found
    print_rows(rows_of(found.table().head(_MOST_ROWS)), _COLUMNS)
    if len(found) > _MOST_ROWS:
        rest = counted(len(found) - _MOST_ROWS, "more link")
        out.print(f"... and {rest}; --out DIR writes all", soft_wrap=True)
    for note in located.notes:
        out.print(f"note: {note}", soft_wrap=True)
    out.print(f"{found.ms_per_link:.3g} ms a link for the matching", soft_wrap=True)
    if located.errors:
        out.print("errors against the positions in the file:")
        print_rows(located.errors, _ERROR_COLUMNS)
