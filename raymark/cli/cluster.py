"""Commands about the workers that `--cluster` spreads work over."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from raymark.cli.console import err, out
from raymark.work.cluster import FORMS

app = typer.Typer(help="Describe the workers of --cluster, and check them.", no_args_is_help=True)


@app.command()
def examples() -> None:
    """List the descriptions that ship with raymark."""
    from raymark.work.cluster import example_names, example_text  # noqa: PLC0415

    table = Table("example", "workers", box=None)
    for name in example_names():
        table.add_row(name, example_text(name).partition("\n")[0].removeprefix("# "))
    out.print(table)


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
        out.print(_worker_table(found.workers))
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
        out.print(findings_table(report.findings))
    good = sum(report.is_good for report in reports)
    out.print(f"{good} of {len(reports)} workers can make datasets")
    if good < len(reports):
        raise typer.Exit(1)


def findings_table(findings: Sequence[Any]) -> Table:
    """Return what was found as a table of marks, subjects and texts."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    for finding in findings:
        mark = Text("ok", "green") if finding.is_good else Text("FAIL", "red")
        table.add_row(mark, finding.subject, finding.text)
    return table


def _worker_table(reports: Sequence[Any]) -> Table:
    table = Table("worker", "host", "pid", "threads", "memory", box=None)
    for report in reports:
        memory = f"{report.memory_bytes / 1e9:.1f} GB"
        table.add_row(report.address, report.host, str(report.pid), str(report.num_threads), memory)
    return table


def _title(report: Any) -> str:
    memory = f"{report.memory_bytes / 1e9:.1f} GB"
    return f"{report.host}, process {report.pid}, {memory}, {report.address}"
