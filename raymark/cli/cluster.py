"""Commands about the workers that `--cluster` spreads work over."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from raymark.cli.console import err, out
from raymark.cli.options import AsJson
from raymark.cli.tables import Column, print_levels, print_rows
from raymark.errors import counted
from raymark.work.cluster import FORMS

app = typer.Typer(help="Describe the workers of --cluster, and check them.", no_args_is_help=True)


@app.command()
def examples(as_json: AsJson = False) -> None:
    """List the descriptions that ship with raymark."""
    from raymark.work.cluster import example_names, example_text  # noqa: PLC0415

    rows = [
        {"name": name, "workers": example_text(name).partition("\n")[0].removeprefix("# ")}
        for name in example_names()
    ]
    columns = [Column(heading="example", key="name"), Column(heading="workers", key="workers")]
    print_rows(rows, columns, as_json=as_json)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of an example")]) -> None:
    """Print an example as YAML, to be saved and edited."""
    from raymark.work.cluster import example_text  # noqa: PLC0415

    typer.echo(example_text(name), nl=False)


@app.command()
def check(cluster: Annotated[str, typer.Argument(metavar="CLUSTER", help=FORMS)]) -> None:
    """Check a description and show what it asks for; no worker is started."""
    from raymark.work.cluster import read_cluster  # noqa: PLC0415

    found = read_cluster(cluster).check()
    if found.workers:
        _print_workers(found.workers)
    typer.echo(found.text)
    for note in found.notes:
        err.print(note)


def described_workers(text: str, *, time_limit_min: float) -> Any:
    """Read what `--cluster` says, and return workers that start when they are entered."""
    from raymark.work.cluster import cluster_workers, read_cluster  # noqa: PLC0415

    return cluster_workers(
        read_cluster(text),
        time_limit_s=60 * time_limit_min,
        report=lambda line: err.print(line, soft_wrap=True),
    )


def examine_cluster(text: str, examine: Callable[[Path], Sequence[Any]]) -> None:
    """Start or reach a cluster and print what every worker finds; exit code 1 if one is unfit."""
    from raymark.work.cluster import (  # noqa: PLC0415
        examine_workers,
        open_cluster,
        read_cluster,
        wait_for_workers,
    )

    description = read_cluster(text)
    with open_cluster(description) as client:
        wait_for_workers(client, description, report=err.print)
        err.print("Every worker examines itself (the first time compiles kernels) ...")
        reports = examine_workers(client, examine)
    for report in reports:
        out.print(_title(report), style="bold", soft_wrap=True)
        print_findings(report.findings)
    good = sum(report.is_good for report in reports)
    out.print(f"{good} of {counted(len(reports), 'worker')} can make datasets")
    if good < len(reports):
        raise typer.Exit(1)


def print_findings(findings: Sequence[Any], *, as_json: bool = False) -> None:
    """Print what was found: marks, subjects and texts."""
    rows = [
        {"level": "ok" if found.is_good else "FAIL", "subject": found.subject, "text": found.text}
        for found in findings
    ]
    print_levels(rows, as_json=as_json)


def _print_workers(reports: Sequence[Any]) -> None:
    columns = [
        Column(heading="worker", key="address"),
        Column(heading="host", key="host"),
        Column(heading="pid", key="pid"),
        Column(heading="threads", key="num_threads"),
        Column(heading="memory [GB]", key="memory_bytes", show=lambda size: f"{size / 1e9:.1f}"),
    ]
    print_rows([dataclasses.asdict(report) for report in reports], columns)


def _title(report: Any) -> str:
    memory = f"{report.memory_bytes / 1e9:.1f} GB"
    return f"{report.host}, process {report.pid}, {memory}, {report.address}"
