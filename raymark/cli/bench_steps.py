"""Steps that the commands of the benchmark, `quickstart` and `train` share."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from raymark.cli.cluster import opened
from raymark.cli.console import err, out, print_error, progress_bar, stage_bars
from raymark.cli.options import INTERRUPTED


def run_and_show(
    suite: str, data: Path, runs: Path, folder: Path, *, tracks: Sequence[str]
) -> None:
    """Run the models that are not expensive on some tracks of a suite and write their board.

    A processor that rounds otherwise makes another dataset than the published one; the run goes on
    with what is there, and says so.
    """
    from raymark.benchmark import load_suite  # noqa: PLC0415

    loaded = rebound(load_suite(suite), data)
    report = run_suite(loaded, data, runs, models=[], tracks=tracks, jobs=0)
    for place, reason in report.failures:
        print_error(f"{place}: {reason}")
    show_board(runs, folder, data=data, submissions=[], overwrite=True)


def rebound(suite: Any, data: Path) -> Any:
    """Return the suite itself on its own dataset, else the suite bound to the one that is there."""
    from raymark.dataset import open_dataset  # noqa: PLC0415

    found = open_dataset(data).manifest.content_hash or ""
    if found == suite.content_hash:
        return suite
    err.print(f"{data} is not the published dataset of '{suite.name}': compare with no other board")
    return suite.rebound(found)


def run_suite(
    suite: Any,
    data: Path,
    folder: Path,
    *,
    models: Sequence[str],
    tracks: Sequence[str] = (),
    seeds: Sequence[int] = (),
    jobs: int = 0,
    cluster: str | None = None,
    time_limit_s: float = 0.0,
) -> Any:
    """Run models on tasks of a suite, audited first, and return the report.

    What is wrong with the tracks, seeds, models or the cluster is said before anything is written.
    """
    from raymark.benchmark.audit import TABLE_NAME  # noqa: PLC0415
    from raymark.benchmark.cluster_run import ClusterJobs  # noqa: PLC0415
    from raymark.benchmark.run import Runner  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.models import get_model  # noqa: PLC0415
    from raymark.work.cluster import read_cluster  # noqa: PLC0415

    suite.tasks_of(tracks)
    suite.seeds_of(seeds)
    dataset = open_dataset(data)
    chosen = [get_model(name) for name in _chosen_models(models)]
    described = None if cluster is None else read_cluster(cluster)
    runner = Runner(suite, dataset, folder, num_jobs=jobs)
    try:
        if not (folder / "audit" / TABLE_NAME).is_file():
            audit_splits(suite, dataset, folder / "audit")
        with contextlib.ExitStack() as stack:
            workers = None
            if described is not None:
                client = stack.enter_context(opened(described))
                workers = ClusterJobs(client=client, time_limit_s=time_limit_s)
            progress = stack.enter_context(stage_bars())
            return runner.run(
                chosen, tracks=tracks, seeds=seeds, progress=progress, cluster=workers
            )
    except KeyboardInterrupt:
        err.print(f"interrupted; nothing is lost: run the same command to go on in {folder}")
        raise typer.Exit(INTERRUPTED) from None


def _chosen_models(names: Sequence[str]) -> list[str]:
    """Return the models to run: those that are named, or all, or all that are not expensive."""
    from raymark.models import default_model_names, model_names  # noqa: PLC0415

    if list(names) == ["all"]:
        return model_names()
    if names:
        return list(names)
    chosen = default_model_names()
    num_left = len(model_names()) - len(chosen)
    if num_left:
        err.print(
            f"{num_left} expensive models are left out: name them, or add --models all "
            "(`raymark bench models` lists them)"
        )
    return chosen


def audit_splits(suite: Any, dataset: Any, folder: Path) -> Any:
    """Write the audit of every split of a suite, and return its table."""
    from raymark.benchmark.audit import audit_suite, splits_of  # noqa: PLC0415

    total = sum(1 for _ in splits_of(suite))
    with progress_bar("audit", total, "splits") as advance:
        return audit_suite(suite, dataset, folder, progress=lambda _key: advance(1))


def show_board(
    runs: Path, folder: Path, *, data: Path | None, submissions: Sequence[Path], overwrite: bool
) -> None:
    """Write the board of a run and of submissions, and print its standings."""
    from raymark.benchmark.board import terminal_table, write_board  # noqa: PLC0415
    from raymark.benchmark.publication import build_board  # noqa: PLC0415
    from raymark.benchmark.store import RunFolder  # noqa: PLC0415
    from raymark.benchmark.submission import read_submission  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.storage.atomic import require_new_folder  # noqa: PLC0415

    require_new_folder(folder, overwrite=overwrite)
    source = RunFolder(runs)
    suite = source.info().suite
    read = [read_submission(path, suite, source.truth) for path in submissions]
    dataset = None if data is None else open_dataset(data)
    with stage_bars() as progress:
        made = build_board(source, read, dataset=dataset, progress=progress)
    written = write_board(made, folder, overwrite=overwrite)
    out.print(terminal_table(made, width=out.width))
    out.print(f"wrote {', '.join(path.name for path in written)} to {folder}")
