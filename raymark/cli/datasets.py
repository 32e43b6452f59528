"""Commands that make datasets and read them."""

from pathlib import Path
from typing import Annotated

import typer

from raymark.cli.cluster import described_workers, examine_cluster, print_findings
from raymark.cli.console import (
    duration,
    err,
    print_error,
    progress_bar,
    resumable_bars,
    resumable_tracing,
)
from raymark.cli.console import out as console_out
from raymark.cli.options import (
    LARGEST_SEED,
    AsJson,
    Cluster,
    DatasetArgument,
    Overwrite,
    Seed,
    TimeLimit,
    TrustCode,
)
from raymark.cli.tables import Column, percent, print_rows, rows_of
from raymark.errors import ConfigError, counted
from raymark.radio import FingerprintKind, ProfileMethod
from raymark.storage import Place, PlaceLike, as_place

app = typer.Typer()

CampaignArgument = Annotated[
    str, typer.Argument(metavar="CAMPAIGN", help="Name of a preset, or a YAML file")
]
ShardSize = Annotated[int, typer.Option(min=1, help="UEs per file; the content stays the same")]


@app.command()
def doctor(cluster: Cluster = None, as_json: AsJson = False) -> None:
    """Report whether this machine, or every worker, can make datasets; exit code 1 if not."""
    from raymark.generator.doctor import examine  # noqa: PLC0415

    if cluster is not None:
        if as_json:
            raise ConfigError("--json is for this machine; leave it out with --cluster")
        examine_cluster(cluster, examine)
        return
    findings = examine(Path.cwd())
    print_findings(findings, as_json=as_json)
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)


@app.command()
def bands(as_json: AsJson = False) -> None:
    """List the bands that have a name; any carrier, such as 39GHz, is one too."""
    from raymark.radio import BAND_PRESETS  # noqa: PLC0415

    rows = [
        {**band.model_dump(mode="json"), "unambiguous_range_m": band.unambiguous_range_m}
        for band in BAND_PRESETS.values()
    ]
    columns = [
        Column(heading="band", key="name"),
        Column(heading="carrier [GHz]", key="carrier_hz", show=lambda hz: f"{hz / 1e9:g}"),
        Column(heading="span [MHz]", key="bandwidth_hz", show=lambda hz: f"{hz / 1e6:g}"),
        Column(heading="tones", key="num_subcarriers"),
        Column(heading="unambiguous [m]", key="unambiguous_range_m", show=lambda m: f"{m:.0f}"),
        Column(heading="noise figure [dB]", key="noise_figure_db"),
    ]
    print_rows(rows, columns, as_json=as_json)


@app.command()
def plan(
    campaign: CampaignArgument,
    shard_size: ShardSize = 1000,
    as_json: AsJson = False,
    _trusted: TrustCode = None,
) -> None:
    """Check a campaign and show links, shards, size and time; nothing is written."""
    from raymark.generator.estimate import estimate  # noqa: PLC0415
    from raymark.generator.plan import (  # noqa: PLC0415
        load_campaign,
        make_plan,
        search_notes,
        shards_of,
    )

    made = make_plan(load_campaign(campaign))
    cost = estimate(made, shard_size)
    bands = [band.name for band in made.campaign.bands]
    rows = [
        {
            "scene": site.scene.name,
            "site": site.site.name,
            "num_ues": len(site.ues),
            "num_shards": sum(1 for _ in shards_of(len(site.ues), shard_size)),
        }
        for site in made.sites
    ]
    columns = [
        Column(heading="scene", key="scene"),
        Column(heading="site", key="site"),
        Column(heading="UEs", key="num_ues"),
        Column(heading="shards", key="num_shards"),
    ]
    print_rows(rows, columns, as_json=as_json)
    if as_json:
        return
    facts = [
        ("bands", ", ".join(bands)),
        ("links", f"{made.num_links}, each at {counted(len(bands), 'band')}"),
        ("config", made.config_hash[:12]),
        ("size", f"about {cost.size_bytes / 1e6:.1f} MB"),
        ("time", f"about {duration(cost.seconds)} on this machine ({cost.basis})"),
        ("memory", f"about {cost.memory_bytes / 1e6:.0f} MB for each process that traces"),
        *(("note", note) for note in search_notes(made.campaign)),
    ]
    for key, value in facts:
        console_out.print(f"{key:<9} {value}", soft_wrap=True)


@app.command()
def generate(
    campaign: Annotated[
        str | None, typer.Argument(metavar="CAMPAIGN", help="Name of a preset, or a YAML file")
    ] = None,
    out: Annotated[
        Place | None,
        typer.Option(parser=as_place, metavar="DIR", help="Folder of the dataset, or s3://..."),
    ] = None,
    shard_size: ShardSize = 1000,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing")] = (
        False
    ),
    extend: Annotated[
        Place | None,
        typer.Option(
            parser=as_place, metavar="DIR", help="Dataset that gets the --bands, in place"
        ),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands to add, such as 39GHz,n78; needs --extend")
    ] = None,
    repair: Annotated[
        Place | None,
        typer.Option(
            parser=as_place, metavar="DIR", help="Dataset whose lost or damaged files to make again"
        ),
    ] = None,
    cluster: Cluster = None,
    time_limit_min: TimeLimit = 60.0,
    _trusted: TrustCode = None,
) -> None:
    """Make a dataset, add bands to one, or repair it; the same command goes on when interrupted."""
    if repair is not None:
        if any(x is not None for x in (campaign, out, extend, bands, cluster)) or dry_run:
            raise ConfigError("--repair DIR stands alone: the dataset knows its campaign")
        _repair(repair)
        return
    if extend is not None:
        if campaign is not None or bands is None or cluster is not None:
            raise ConfigError("--extend DIR needs --bands, and no campaign or --cluster")
        _extend(extend, bands, out, dry_run=dry_run)
        return
    if campaign is None or out is None or bands is not None:
        raise ConfigError(
            "give a CAMPAIGN and --out DIR, --extend DIR and --bands, or --repair DIR"
        )
    from raymark.dataset.writing.folder import require_room  # noqa: PLC0415
    from raymark.generator.generate import make_dataset, planned_dataset  # noqa: PLC0415
    from raymark.generator.plan import load_campaign  # noqa: PLC0415

    chosen = load_campaign(campaign)
    require_room(chosen, out, overwrite=overwrite)
    workers = None if cluster is None else described_workers(cluster, time_limit_min=time_limit_min)
    bars = resumable_tracing if workers is None else resumable_bars
    with (
        bars(out) as progress,
        planned_dataset(chosen, workers, shard_size=shard_size, progress=progress) as planned,
    ):
        if dry_run:
            console_out.print(
                f"would trace {counted(planned.num_links, 'link')} into {out}; nothing was written"
            )
            return
        report = make_dataset(planned, out, overwrite=overwrite, progress=progress)
    for name, reason in report.failures:
        print_error(f"{name}: {reason}")
    if report.failures:
        print_error(
            f"{counted(len(report.failures), 'task')} failed for good, the rest is done; "
            f"{out / 'logs'} tells more, and the same command tries them again"
        )
        raise typer.Exit(1)
    print_summary(out)


def _extend(folder: Place, bands: str, out: Place | None, *, dry_run: bool) -> None:
    from raymark.generator.extension import (  # noqa: PLC0415
        extend_dataset,
        open_for_extension,
        plan_extension,
    )
    from raymark.radio import parse_bands  # noqa: PLC0415

    dataset = open_for_extension(folder)
    with resumable_tracing(folder) as progress:
        made = plan_extension(dataset, parse_bands(bands, option="--bands"), progress=progress)
        if dry_run:
            console_out.print(
                f"would add {bands} to {counted(made.num_links, 'link')}; nothing was written"
            )
            return
        extend_dataset(dataset, made, out, progress=progress)
    print_summary(out or folder)


def _repair(folder: Place) -> None:
    from raymark.generator.repair import repair_dataset  # noqa: PLC0415

    with resumable_tracing(folder) as progress:
        made = repair_dataset(folder, progress=progress)
    for name in made:
        console_out.print(f"made again: {name}", soft_wrap=True)
    if not made:
        console_out.print(f"{folder}: every file is there, as the manifest says", soft_wrap=True)


@app.command()
def status(folder: DatasetArgument) -> None:
    """Show how far a dataset is."""
    from raymark.dataset.journal import dataset_status  # noqa: PLC0415

    state = dataset_status(folder)
    console_out.print(f"{state.id}: {state.state}")
    console_out.print(f"UEs     {state.num_ues_done} of {state.num_ues}")
    console_out.print(f"shards  {state.num_shards_done}")
    console_out.print(f"size    {state.size_bytes / 1e6:.1f} MB")
    if state.state != "complete":
        console_out.print("run the same `raymark generate` command to go on")


@app.command()
def unlock(folder: DatasetArgument) -> None:
    """Remove the lock that a killed `generate` has left on a dataset in object storage."""
    console_out.print(f"removed the lock of {folder.unlock()}")


@app.command()
def verify(folder: DatasetArgument) -> None:
    """Check hashes, schema and physics of every file; exit code 2 if anything is wrong."""
    from raymark.dataset.manifest import data_files, read_manifest  # noqa: PLC0415
    from raymark.dataset.verification import (  # noqa: PLC0415
        unknown_files,
        unproven_parts,
        verify_dataset,
    )

    manifest = read_manifest(folder)
    total = len(data_files(manifest)) + len(manifest.documents)
    with progress_bar("verify", total, "files") as advance:
        faults = verify_dataset(folder, progress=lambda _file: advance(1))
    for fault in faults:
        print_error(fault)
    if faults:
        err.print(f"`raymark generate --repair {folder}` makes lost and damaged files again")
        raise typer.Exit(2)
    console_out.print(
        f"{folder}: {counted(total, 'file')} checked, hashes, schema and physics are right"
    )
    for sentence in unproven_parts(manifest):
        console_out.print(f"not proven  {sentence}", soft_wrap=True)
    for name in unknown_files(folder):
        console_out.print(f"not checked  {name}: no part of the dataset", soft_wrap=True)


@app.command()
def fingerprints(
    folder: DatasetArgument,
    scene: Annotated[str, typer.Option(help="Scene of the dataset")],
    band: Annotated[str, typer.Option(help="Band of the dataset")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write")],
    kind: Annotated[
        FingerprintKind, typer.Option(help="From noisy CSI, or the tracer's values")
    ] = ("measured"),
    site: Annotated[str | None, typer.Option(help="One site; all if not given")] = None,
    method: Annotated[ProfileMethod, typer.Option(help="Angle-of-arrival estimator")] = "bartlett",
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=LARGEST_SEED, help="Seed of the noise; the campaign's"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the fingerprints of one scene at one band as arrays (HDF5)."""
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.dataset.materialization import materialize  # noqa: PLC0415

    dataset = open_dataset(folder)
    total = len(dataset.select(scene=scene, band=band, site=site))
    with progress_bar(f"{scene} {band}", total, "links") as advance:
        sha256 = materialize(
            dataset,
            out,
            scene=scene,
            band=band,
            kind=kind,
            method=method,
            site=site,
            seed=seed,
            overwrite=overwrite,
            progress=advance,
        )
    console_out.print(
        f"wrote {out} ({counted(total, 'link')}, {out.stat().st_size / 1e6:.1f} MB, {sha256[:12]})"
    )


@app.command()
def inspect(
    folder: DatasetArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the figures")],
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Draw maps, gains, spreads and example links, with their data beside them."""
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.plots.inspection import inspect_dataset, num_figures  # noqa: PLC0415

    dataset = open_dataset(folder)
    with progress_bar("figures", num_figures(dataset), "figures") as advance:
        figures = inspect_dataset(
            dataset,
            out,
            seed=seed,
            overwrite=overwrite,
            progress=lambda _path: advance(1),
        )
    print_summary(folder)
    console_out.print(f"\nwrote {counted(len(figures), 'figure')} to {out}")


def print_summary(folder: PlaceLike) -> None:
    """Print what a dataset holds, and its content hash."""
    from raymark.dataset import open_dataset  # noqa: PLC0415

    dataset = open_dataset(folder)
    print_rows(rows_of(dataset.summary()), _SUMMARY_COLUMNS)
    for key, value in dataset.manifest.completeness.items():
        console_out.print(f"{key}: the search misses {value.share_in_words}")
    console_out.print(f"content hash {dataset.manifest.content_hash}")


_SUMMARY_COLUMNS = (
    Column(heading="scene", key="scene"),
    Column(heading="band", key="band"),
    Column(heading="links", key="links"),
    Column(heading="LOS", key="los_share", show=percent),
    Column(heading="NLOS", key="nlos_share", show=percent),
    Column(heading="outage", key="outage_share", show=percent),
    Column(heading="gain,\nLOS\n[dB]", key="median_gain_los_db"),
    Column(heading="gain,\nNLOS\n[dB]", key="median_gain_nlos_db"),
    Column(heading="paths", key="median_num_paths"),
    Column(heading="delay\nspread\n[ns]", key="median_delay_spread_ns"),
    Column(heading="late\npower,\nNLOS", key="late_share_nlos", show=percent),
    Column(heading="from\nbehind,\nNLOS", key="behind_share_nlos", show=percent),
)
"""Columns of `Dataset.summary`: shares, medians over links, and what CSI leaves out."""
