"""Commands for models that are trained elsewhere: what they get, and what they answer."""

from pathlib import Path
from typing import Annotated

import typer

from raymark.cli.bench import OwnSuiteOption, SuiteOption, TracksOption, print_row
from raymark.cli.console import out, resumable_bars, stage_bars, waiting
from raymark.cli.options import LARGEST_SEED, DataOption, Overwrite, dataset_place, listed
from raymark.errors import ConfigError, counted
from raymark.storage import Place

app = typer.Typer()


@app.command("new-submission")
def new_submission(
    name: Annotated[str, typer.Argument(help="Name of the submission and its folder")],
    data: DataOption,
    suite: SuiteOption,
    folder: Annotated[Path, typer.Option("--out", help="Where the folder goes")] = Path(),
    tracks: TracksOption = "",
) -> None:
    """Make the folder of a submission: keys, file names and links are filled in."""
    from raymark.benchmark import load_suite  # noqa: PLC0415
    from raymark.benchmark.submission_scaffold import new_submission as make  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.models import model_names  # noqa: PLC0415

    made = make(
        name,
        folder,
        suite=load_suite(suite),
        dataset=open_dataset(data),
        tracks=listed(tracks),
        built_in=model_names(),
    )
    out.print(
        f"wrote {made}: fill in submission.yaml, card.md, and x_m and y_m (world frame [m]) in "
        f"predictions/; remove the tasks that you do not answer, then\n"
        f"  raymark bench check {made} --data {data} --suite {suite}",
        soft_wrap=True,
    )


@app.command()
def check(
    submission: Annotated[Path, typer.Argument(metavar="SUBMISSION", help="Its folder")],
    data: DataOption,
    suite: OwnSuiteOption = "",
    runs: Annotated[
        Path | None,
        typer.Option(metavar="RUNS", help="A run: shows the row that the submission would get"),
    ] = None,
    pretraining: Annotated[
        list[Place] | None,
        typer.Option(
            parser=dataset_place,
            metavar="DIR",
            help="A dataset that it was trained on before, searched for test UEs; may be given "
            "several times",
        ),
    ] = None,
) -> None:
    """Check the predictions of a model that was run elsewhere; needs no network."""
    from raymark.benchmark import load_suite  # noqa: PLC0415
    from raymark.benchmark.checking import check_submission  # noqa: PLC0415
    from raymark.benchmark.submission import submitted_suite  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.models import model_names  # noqa: PLC0415

    loaded = load_suite(suite or submitted_suite(submission))
    searched = [open_dataset(folder) for folder in pretraining or []]
    with stage_bars("files") as progress:
        checked = check_submission(
            submission,
            loaded,
            open_dataset(data),
            runs=runs,
            pretraining=searched,
            built_in=model_names(),
            progress=progress,
        )
    num_tasks = len({found.task.id for found in checked.cells})
    all_tasks, files = counted(len(loaded.tasks()), "task"), counted(len(checked.cells), "file")
    out.print(
        f"{submission}: '{checked.record.name}' predicts {num_tasks} of {all_tasks} of "
        f"{loaded.name}@{loaded.version} ({files}); every point once, all finite"
    )
    stated = checked.record.trust.pretraining or ()
    if stated:
        num_stated = counted(len(stated), "dataset")
        out.print(f"trained before on {num_stated}, of which {len(searched)} hold no test UE")
    if checked.board is None:
        out.print("add --runs RUNS for the row that it would get on a board")
    else:
        print_row(checked.board, checked.record.name)


@app.command()
def export(
    data: DataOption,
    target: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="HDF5 file; a folder for a whole suite")
    ],
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Id of a task; all of --suite if left out")
    ] = None,
    suite: Annotated[
        str, typer.Option(help="Name of a suite, or a YAML file; its TASK, or all of its tasks")
    ] = "",
    tracks: TracksOption = "",
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_SEED,
            help="Seed: of TASK 0 if not given, of a suite all of them",
        ),
    ] = None,
    csi: Annotated[bool, typer.Option("--csi", help="Add the noisy CSI")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write what a model receives for a task, or for all of a suite, for use in any framework."""
    from raymark.benchmark import find_task, load_suite  # noqa: PLC0415
    from raymark.benchmark.export import export_suite, export_task  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415

    if task is not None and not tracks:
        loaded = load_suite(suite or task.split("/", maxsplit=1)[0])
        with waiting("measuring and writing"):
            export_task(
                loaded,
                find_task(task, loaded),
                open_dataset(data),
                target,
                seed=seed or 0,
                with_csi=csi,
                overwrite=overwrite,
            )
        out.print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB)")
        return
    if task is not None or not suite:
        raise ConfigError("give the id of one TASK, or --suite NAME for all of its tasks")
    with resumable_bars(target) as progress:
        num_files = export_suite(
            load_suite(suite),
            open_dataset(data),
            target,
            tracks=listed(tracks),
            seeds=() if seed is None else (seed,),
            with_csi=csi,
            overwrite=overwrite,
            progress=progress,
        )
    out.print(f"{target} holds {counted(num_files, 'file')} <task>/seed-<s>.h5", soft_wrap=True)
