"""Commands that train one model, and locate links with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from raymark.cli.bench import OwnSuiteOption, suited
from raymark.cli.console import duration, out, resumable, text_bars, waiting
from raymark.cli.options import LARGEST_SEED, DataOption, MapsOption, Overwrite, dataset_place
from raymark.cli.tables import Column, print_rows, rows_of
from raymark.errors import ConfigError, counted
from raymark.storage import Place

app = typer.Typer()


@app.command()
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or folder of a model")],
    task: Annotated[str, typer.Option(help="Id of a task, see `raymark bench tasks`")],
    data: DataOption,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Gets the checkpoint")],
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of noise and model")] = 0,
    suite: OwnSuiteOption = "",
    maps: MapsOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; several times"),
    ] = None,
    any_data: Annotated[
        bool, typer.Option("--any-data", help="Use a dataset that is not the suite's published one")
    ] = False,
) -> None:
    """Train a model on a task; the same command goes on where it stopped."""
    from raymark.benchmark import find_task, load_suite  # noqa: PLC0415
    from raymark.benchmark.training import override_config, train_model  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.models import get_model  # noqa: PLC0415

    chosen = override_config(get_model(model), _settings(settings or []))
    loaded, dataset = load_suite(suite or task.split("/", maxsplit=1)[0]), open_dataset(data)
    loaded = suited(loaded, dataset, any_data=any_data)
    found = find_task(task, loaded)
    with resumable(folder), text_bars() as progress:
        made = train_model(chosen, found, dataset, folder, seed=seed, maps=maps, progress=progress)
    _print_training(made.info)
    trust = "" if chosen.is_shipped else f" --trust-code {chosen.folder}"
    out.print(
        f"next: raymark predict {folder} --data {data}{trust} --out FILE.parquet", soft_wrap=True
    )


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Its folder")],
    data: Annotated[
        Place, typer.Option(parser=dataset_place, metavar="DIR", help="Dataset of the same panel")
    ],
    file: Annotated[Path, typer.Option("--out", help=".parquet or .csv file to write")],
    scene: Annotated[str | None, typer.Option(help="Scene; the task's if not given")] = None,
    band: Annotated[str | None, typer.Option(help="Band; the task's if not given")] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=LARGEST_SEED, help="Seed of the noise; the training's"),
    ] = None,
    maps: MapsOption = None,
    trust_code: Annotated[
        Path | None,
        typer.Option(
            "--trust-code",
            metavar="DIR",
            help="Run the code of this model folder (read it first), for a model of your own",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Locate all links of one scene at one band with a trained model."""
    from raymark.benchmark.checkpoint import open_checkpoint  # noqa: PLC0415
    from raymark.benchmark.localizer import read_model_folder  # noqa: PLC0415
    from raymark.benchmark.locating import (  # noqa: PLC0415
        locate_dataset,
        require_positions_file,
        write_positions,
    )
    from raymark.dataset import open_dataset  # noqa: PLC0415

    require_positions_file(file, overwrite=overwrite)
    model = None if trust_code is None else read_model_folder(trust_code)
    opened, dataset = open_checkpoint(checkpoint, model=model), open_dataset(data)
    with waiting("measuring and locating"):
        located = locate_dataset(opened, dataset, scene=scene, band=band, seed=seed, maps=maps)
    write_positions(file, located.positions, overwrite=overwrite)
    columns = [
        Column(heading="links", key="part"),
        Column(heading="number", key="points"),
        Column(heading="mean [m]", key="mean_m"),
        Column(heading="median [m]", key="median_m"),
        Column(heading="P90 [m]", key="p90_m"),
    ]
    print_rows(rows_of(located.errors), columns)
    for note in located.notes:
        out.print(f"note: {note}", soft_wrap=True)
    out.print(
        f"{located.ms_per_point:.3g} ms a link for the model, without the estimation of paths"
    )
    out.print(f"wrote {file} ({counted(len(located.positions), 'link')})", soft_wrap=True)


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` pairs; values are YAML."""
    import yaml  # noqa: PLC0415

    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ConfigError(f"--set must be KEY=VALUE, got '{pair}'")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {pair}: the value is no valid YAML") from error
    return settings


def _print_training(info: Any) -> None:
    training = info.training
    facts = [
        ("model", f"{info.model} on {info.task_id}, seed {info.seed}"),
        ("links", f"{training.num_train} to train, {training.num_validation} to validate"),
        (
            "validation",
            f"mean {training.validation_mean_m:.3g} m, median "
            f"{training.validation_median_m:.3g} m, P90 {training.validation_p90_m:.3g} m",
        ),
        ("parameters", "-" if training.num_parameters is None else f"{training.num_parameters:,}"),
        ("fit", f"{duration(training.fit_s)} on {training.hardware}"),
    ]
    for key, value in facts:
        out.print(f"{key:<11} {value}", soft_wrap=True)
