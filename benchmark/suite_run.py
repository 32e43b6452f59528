"""Run models on a suite as a whole: what is wrong is said first, then audited, then run."""

from collections.abc import Sequence
from pathlib import Path

from raymark.benchmark.audit import TABLE_NAME, audit_suite
from raymark.benchmark.cell_work import try_model
from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.run import Progress, Runner, RunReport
from raymark.benchmark.run_cells import Hashes, RunChoice, cells_of
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Suite
from raymark.benchmark.tracks import TRACKS
from raymark.config import nearest
from raymark.dataset import Dataset
from raymark.dataset.verification import require_content
from raymark.errors import ConfigError
from raymark.work.executor import TaskKind, Workers, this_machine


def run_suite(
    suite: Suite,
    dataset: Dataset,
    folder: Path,
    choice: RunChoice,
    *,
    workers: Workers | None = None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> RunReport:
    """Run models on tasks of a suite, audited first, or go on where an interrupted run stopped.

    What is wrong with the dataset, tracks, seeds, models, maps or splits is said before anything is
    written, so that the corrected command finds the folder free.

    Args:
        suite: What to run.
        dataset: Its dataset.
        folder: Where everything is kept; `audit` in it holds the audit of the splits.
        choice: Which models, tracks, scenes, bands and seeds.
        workers: Who measures and fits, such as `raymark.work.cluster.cluster_workers`; this machine
            with a job for every core if not given.
        progress: Told how far each stage is.

    Raises:
        ConfigError: If the dataset is another one, the suite has no such track, scene or band (the
            nearest is offered) or seed, none of its tracks is for a model, a map is missing, two
            models have the same name, or the folder holds something else. A model of the user's
            that cannot be imported is one of these, too.
        DatasetError: If the dataset lacks a scene or band of the tasks.
        SchemaError: If the arrays of the dataset are not those of its content hash.
        SplitError: If a split leaks, cannot be made, or differs from the published one.
    """
    tasks = choice.tasks_of(suite)
    suite.seeds_of(choice.seeds)
    require_dataset(suite, dataset)
    _try_models(choice.models)
    cells_of(suite, choice, Hashes(choice.models, choice.maps))
    require_content(dataset)
    splits = Splits(dataset, suite.window_size)
    is_audited = (folder / "audit" / TABLE_NAME).is_file()
    splits.require(tasks if is_audited else suite.tasks())
    runner = Runner(suite, dataset, folder, splits=splits)
    if not is_audited:
        audit_suite(suite, dataset, folder / "audit", progress=progress)
    with workers or this_machine() as executor:
        return runner.run(choice, executor=executor, progress=progress)


def maps_of(
    suite: Suite, *, grades: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[tuple[str, int]]:
    """Return grade and seed of every map that a suite's models get.

    Args:
        suite: The suite.
        grades: Only these of its grades; all if empty.
        seeds: Only these of its seeds; all if empty.

    Raises:
        ConfigError: If it has no tracks with maps, no such grade or no such seed.
    """
    found = (TRACKS[settings.track].map_grade for settings in suite.tracks)
    known = list(dict.fromkeys(grade for grade in found if grade is not None))
    if not known:
        raise ConfigError(
            f"suite '{suite.name}' has no track with maps (map-...); suite small-map has"
        )
    for grade in grades:
        if grade not in known:
            raise ConfigError(
                f"suite '{suite.name}' has no maps of grade '{grade}'{nearest(grade, known)} "
                f"(it has: {', '.join(known)})"
            )
    chosen = [grade for grade in known if not grades or grade in grades]
    return [(grade, seed) for grade in chosen for seed in suite.seeds_of(seeds)]


def _try_models(models: Sequence[ModelFolder]) -> None:
    """Import the models of a user, each in a fresh process, before any work is done."""
    own = [model for model in models if not model.is_shipped]
    if not own:
        return
    with this_machine(1) as executor:
        tried = executor.run(TaskKind(name="try"), try_model, own, lambda model: (model,))
        faults = [one.error for one in tried if one.error is not None]
    if faults:
        raise ConfigError(f"{'; '.join(faults)}; nothing was run")
