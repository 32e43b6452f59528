"""Commands of the benchmark."""

from pathlib import Path
from typing import Annotated, Any

import typer

from raymark.cli.cluster import described_workers
from raymark.cli.console import err, out, print_error, resumable_bars, stage_bars
from raymark.cli.options import (
    AsJson,
    Cluster,
    DataOption,
    MapsOption,
    Overwrite,
    TimeLimit,
    dataset_place,
    listed,
)
from raymark.cli.run_plan import print_plan
from raymark.cli.tables import Column, print_rows, rows_of
from raymark.errors import ConfigError, counted
from raymark.storage import Place, PlaceLike

app = typer.Typer(help="Tasks, models, runs and the board.", no_args_is_help=True)

SuiteOption = Annotated[
    str, typer.Option(help="Name of a suite (mini, small, v1, ...), or a YAML file")
]
OwnSuiteOption = Annotated[
    str, typer.Option("--suite", help="A YAML file, for a suite that does not ship with raymark")
]
RunsArgument = Annotated[Path, typer.Argument(metavar="RUNS", help="Folder of a run")]
RunDataOption = Annotated[
    Place | None,
    typer.Option(
        parser=dataset_place,
        metavar="DIR",
        help="Dataset of the run: the truth is compared with it, its buildings are drawn",
    ),
]
TracksOption = Annotated[str, typer.Option(help="Only these tracks, separated by commas")]


@app.command()
def tasks(suite: SuiteOption = "small", as_json: AsJson = False) -> None:
    """List the tasks of a suite."""
    from raymark.benchmark import load_suite  # noqa: PLC0415

    loaded = load_suite(suite)
    rows = [
        {"id": task.id, "is_ranked": task.is_ranked, **task.model_dump(mode="json")}
        for task in loaded.tasks()
    ]
    columns = [
        Column(heading="task", key="id"),
        Column(heading="trained on", key="train", show=_links_text),
        Column(heading="shots", key="shots"),
        Column(heading="ranked", key="is_ranked"),
    ]
    print_rows(rows, columns, as_json=as_json)
    if as_json:
        return
    out.print(f"suite {loaded.name}@{loaded.version}, {counted(len(rows), 'task')}")
    if any(task.shots for task in loaded.tasks()):
        out.print("shots: links of the task's own scene that are trained on, too")
    out.print(f"suite_hash    {loaded.hash}", soft_wrap=True)
    out.print(f"content_hash  {loaded.content_hash}", soft_wrap=True)
    if loaded.superseded_by:
        out.print(f"superseded by {loaded.superseded_by}")


def _links_text(train: Any) -> str:
    return ", ".join(f"{links['scene']} {links['band']}" for links in train)


@app.command()
def show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Id of a task")],
    suite: OwnSuiteOption = "",
) -> None:
    """Print a task as YAML."""
    import yaml  # noqa: PLC0415

    from raymark.benchmark import find_task, load_suite  # noqa: PLC0415

    found = find_task(task, load_suite(suite) if suite else None)
    text = yaml.safe_dump(found.model_dump(mode="json"), sort_keys=False)
    typer.echo(f"# {found.id}\n{text}", nl=False)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models."""
    from raymark.models import get_model, model_names  # noqa: PLC0415

    rows = [
        {"name": name, **get_model(name).info.model_dump(mode="json")} for name in model_names()
    ]
    columns = [
        Column(heading="model", key="name"),
        Column(heading="summary", key="summary"),
        Column(heading="tuning", key="tuning"),
        Column(
            heading="runs",
            key="is_expensive",
            show=lambda is_expensive: "on request" if is_expensive else "",
        ),
        Column(heading="needs", key="inputs", show=lambda x: "maps" if "map" in x else ""),
    ]
    print_rows(rows, columns, as_json=as_json)
    if not as_json:
        out.print("on request: costly; `raymark bench run` takes it by name, or with --models all")
        out.print("maps: knows the city; `raymark bench run` needs --maps DIR for it")


@app.command()
def audit(
    data: DataOption,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Gets table and maps")],
    suite: SuiteOption = "small",
) -> None:
    """Audit every split for leakage: distances, oracles, variogram, maps; print the hashes."""
    from raymark.benchmark import load_suite  # noqa: PLC0415
    from raymark.benchmark.audit import audit_suite  # noqa: PLC0415
    from raymark.benchmark.suite_data import require_dataset  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415

    loaded, dataset = load_suite(suite), open_dataset(data)
    require_dataset(loaded, dataset)
    with stage_bars("splits") as progress:
        table = audit_suite(loaded, dataset, folder, progress=progress)
    quantiles = ["distance_q10_m", "distance_q50_m", "distance_q90_m"]
    columns = [
        Column(heading="track", key="track"),
        Column(heading="scene", key="scene"),
        Column(heading="fold", key="fold"),
        Column(heading="train", key="num_train"),
        Column(heading="val.", key="num_validation"),
        Column(heading="test", key="num_test"),
        Column(heading="nearest [m]", key="nearest_m"),
        Column(heading="hash", key="hash", show=lambda sha256: sha256[:12]),
    ]
    rows = [
        {**row, "nearest_m": " / ".join(f"{row[name]:.1f}" for name in quantiles)}
        for row in rows_of(table)
    ]
    print_rows(rows, columns)
    out.print("nearest: distance from test to training points, 10 %, 50 % and 90 % quantiles")
    out.print(f"wrote {folder}")


@app.command()
def run(
    data: DataOption,
    folder: Annotated[Path, typer.Option("--out", metavar="RUNS", help="Folder of the run")],
    suite: SuiteOption = "small",
    models: Annotated[
        str,
        typer.Option(
            help="Names or folders of models, separated by commas; 'all'; all but the expensive "
            "ones if not given"
        ),
    ] = "",
    tracks: TracksOption = "",
    scenes: Annotated[str, typer.Option(help="Only these scenes, separated by commas")] = "",
    bands: Annotated[str, typer.Option(help="Only these bands, separated by commas")] = "",
    seeds: Annotated[
        str, typer.Option(help="Only these seeds of the suite, separated by commas")
    ] = "",
    maps: MapsOption = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; as many as cores if 0")] = 0,
    any_data: Annotated[
        bool, typer.Option("--any-data", help="Use a dataset that is not the suite's published one")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what is to be done and its hours; do nothing")
    ] = False,
    cluster: Cluster = None,
    time_limit_min: TimeLimit = 24 * 60.0,
) -> None:
    """Run models on a suite; the same command goes on where it stopped."""
    from raymark.benchmark import load_suite  # noqa: PLC0415
    from raymark.benchmark.run_cells import RunChoice  # noqa: PLC0415
    from raymark.benchmark.suite_run import run_suite  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.models import choose_models  # noqa: PLC0415
    from raymark.work.executor import this_machine  # noqa: PLC0415

    if cluster is not None and jobs:
        raise ConfigError("--jobs is for this machine; the workers of --cluster are its own")
    loaded, dataset = load_suite(suite), open_dataset(data)
    loaded = suited(loaded, dataset, any_data=any_data)
    served = {"with_maps": maps is not None, "with_sites": loaded.has_sites}
    choice = RunChoice(
        models=tuple(choose_models(listed(models), **served)),
        tracks=tuple(listed(tracks)),
        scenes=tuple(listed(scenes)),
        bands=tuple(listed(bands)),
        seeds=seed_numbers(seeds),
        maps=maps,
    )
    if not listed(models):
        tell_of_expensive_models(len(choice.models), **served)
    if dry_run:
        print_plan(loaded, dataset, folder, choice, jobs=jobs)
        return
    workers = this_machine(jobs)
    if cluster is not None:
        workers = described_workers(cluster, time_limit_min=time_limit_min)
    with resumable_bars(folder) as progress:
        report = run_suite(loaded, dataset, folder, choice, workers=workers, progress=progress)
    out.print(f"{counted(report.num_run, 'cell')} run, {report.num_kept} kept, in {folder}")
    if report.sandboxes:
        out.print(f"sandbox of the models: {', '.join(report.sandboxes)}")
    print_failures(report, folder)
    if report.num_old_failures:
        old = counted(report.num_old_failures, "cell")
        err.print(f"{old} that nobody asked for now failed earlier")
    if report.failures:
        raise typer.Exit(1)
    out.print(f"next: raymark bench board {folder} --data {data} --out DIR")


@app.command()
def score(
    runs: RunsArgument,
    csv: Annotated[Path | None, typer.Option(help="Write all rows to a CSV file")] = None,
    data: RunDataOption = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every metric from the stored predictions."""
    from raymark.benchmark.scoring import score_rows, score_run  # noqa: PLC0415
    from raymark.benchmark.store import RunFolder  # noqa: PLC0415
    from raymark.benchmark.truths import Truths  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.storage import require_file, write_text  # noqa: PLC0415

    folder = RunFolder(runs)
    if csv is not None:
        require_file(csv, overwrite=True)
    truths = Truths(folder, None if data is None else open_dataset(data))
    rows = score_rows(score_run(folder, truths=truths))
    plain = rows[rows["gain_db"].isna()]
    keys = ["track", "label", "model"]
    names = ["median_m", "p90_m", "mse_m2"]
    mean = plain.groupby(keys, sort=False)[names].mean().reset_index()
    columns = [
        *(Column(heading=key, key=key) for key in keys),
        Column(heading="median [m]", key="median_m"),
        Column(heading="P90 [m]", key="p90_m"),
        Column(heading="MSE [m²]", key="mse_m2"),
    ]
    print_rows(rows_of(mean), columns, as_json=as_json)
    if not as_json:
        out.print(f"{counted(len(rows), 'row')}; means over scenes, bands, folds and seeds")
        out.print(
            "truth compared with the dataset"
            if truths.are_checked
            else "truth unchecked: give the dataset of the run with --data"
        )
    if csv is not None:
        write_text(csv, rows.to_csv(index=False))
        (err if as_json else out).print(f"wrote {csv}")


@app.command()
def board(
    runs: RunsArgument,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the board")],
    data: RunDataOption = None,
    submission: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder of a submission; may be given several times"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the board: HTML page, Markdown, CSV and JSON, all from stored predictions."""
    from raymark.benchmark.publication import publish_board  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.models import model_names  # noqa: PLC0415

    with stage_bars() as progress:
        published = publish_board(
            runs,
            folder,
            submissions=submission or [],
            built_in=model_names(),
            dataset=None if data is None else open_dataset(data),
            overwrite=overwrite,
            progress=progress,
        )
    print_board(published, folder)


@app.command("new-model")
def new_model(
    name: Annotated[str, typer.Argument(help="Name of the model and its folder")],
    folder: Annotated[Path, typer.Option("--out", help="Where the folder goes")] = Path(),
) -> None:
    """Make a working model folder to start from."""
    from raymark.benchmark.scaffold import new_model as make  # noqa: PLC0415
    from raymark.models import model_names  # noqa: PLC0415

    made = make(name, folder, built_in=model_names())
    out.print(f"wrote {made}: edit model.py, then")
    out.print(f"  raymark bench run --suite mini --data DIR --models {made} --out runs")


def suited(suite: Any, dataset: Any, *, any_data: bool) -> Any:
    """Return a suite for a dataset: bound to any, which is said, or else its own is required."""
    from raymark.benchmark.suite_data import bound_to, require_dataset  # noqa: PLC0415

    if not any_data:
        try:
            require_dataset(suite, dataset)
        except ConfigError as error:
            hint = "or add --any-data for a run that compares with no other"
            raise ConfigError(f"{error}, {hint}") from error
        return suite
    made = bound_to(suite, dataset)
    if made is not suite:
        tell_of_another_dataset(suite.name, dataset.folder)
    return made


def print_failures(report: Any, folder: Path) -> None:
    """Print what failed in a run, once for all cells that failed of the same."""
    from raymark.benchmark.model_errors import kinds_of_failure  # noqa: PLC0415

    for kind in kinds_of_failure(report.failures):
        first, num = kind.places[0], len(kind.places)
        where = f"in {first}" if num == 1 else f"in {num} cells, the first is {first}"
        print_error(f"{kind.model}: {kind.reason} ({where})")
    if report.failures:
        err.print(
            f"failure.txt in the folder of a cell below {folder / 'cells'} has the whole traceback",
            soft_wrap=True,
        )


def print_board(published: Any, folder: Path) -> None:
    """Print the standings of a board, and where it lies."""
    from raymark.benchmark.board import terminal_table  # noqa: PLC0415

    out.print(terminal_table(published.board, width=out.width))
    out.print(published.board.suite.trust, soft_wrap=True)
    out.print(f"wrote {', '.join(path.name for path in published.files)} to {folder}")


def print_row(board: Any, model: str) -> None:
    """Print the row of one model in the standings, and among how many it is ranked."""
    from raymark.benchmark.board import headline, terminal_table  # noqa: PLC0415
    from raymark.benchmark.board.headline import cell, values_of  # noqa: PLC0415

    at = headline(board)
    values = values_of(cell(board, at), at.metric)
    ranked = [row.name for row in board.models if row.kind == "model" and row.name in values]
    if model not in ranked:
        out.print("it has no rank: it does not predict every fold and cell of the headline")
        return
    out.print(terminal_table(board, width=out.width, only=model))
    out.print(f"ranked among {counted(len(ranked), 'model')}, itself included")


def tell_of_another_dataset(suite: str, data: PlaceLike) -> None:
    """Say that scores on this dataset compare with no others."""
    err.print(f"{data} is not the published dataset of '{suite}': compare with no other board")


def tell_of_expensive_models(
    num_chosen: int, *, with_maps: bool = False, with_sites: bool = False
) -> None:
    """Say how many models were not chosen because nobody named them."""
    from raymark.models import choose_models  # noqa: PLC0415

    every = choose_models(["all"], with_maps=with_maps, with_sites=with_sites)
    num_left = len(every) - num_chosen
    if num_left:
        err.print(
            f"left out: {counted(num_left, 'expensive model')}; name them, or add --models all "
            "(`raymark bench models` lists them)"
        )


def seed_numbers(text: str) -> tuple[int, ...]:
    """Read the seeds of an option, separated by commas."""
    parts = listed(text)
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"--seeds takes whole numbers separated by commas, got '{text}'")
    return tuple(int(part) for part in parts)
