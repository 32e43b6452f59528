"""Run models on a suite: cell by cell, resumable, with every failure on record."""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raymark.benchmark.cell_work import DataPlace, fit_cell, measure_survey
from raymark.benchmark.detections import count_paths
from raymark.benchmark.following import LATER, FollowingModel
from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.measuring import MEASURING_VERSION, Survey, is_measured
from raymark.benchmark.model_code import code_hash
from raymark.benchmark.references import REFERENCES, References
from raymark.benchmark.run_cells import Hashes, RunCell, RunChoice, cells_of
from raymark.benchmark.site_frames import world_frame_covariances, world_frame_positions
from raymark.benchmark.software import software_versions
from raymark.benchmark.store import (
    CellResult,
    ModelRecord,
    RunFolder,
    RunInfo,
    Trust,
    cell_hash_of,
    prediction_table,
)
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import load_task
from raymark.benchmark.task_links import survey_of_test, surveys_of, truth_of
from raymark.benchmark.worker import Outcome
from raymark.dataset import Dataset
from raymark.errors import WorkError
from raymark.work.executor import Executor, TaskKind
from raymark.work.fresh import run_fresh

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a run went.

    Attributes:
        num_run: Cells that were run now.
        num_kept: Cells that an earlier run had finished.
        failures: Place below `cells` and reason of every cell that failed now.
        num_old_failures: Cells that failed earlier, and that nobody asked for now.
        sandboxes: In which the models were that ran now and did not fail.
    """

    num_run: int
    num_kept: int
    failures: tuple[tuple[str, str], ...]
    num_old_failures: int = 0
    sandboxes: tuple[str, ...] = ()


class Runner:
    """One suite on one dataset, kept in one folder."""

    def __init__(
        self, suite: Suite, dataset: Dataset, folder: Path, *, splits: Splits | None = None
    ) -> None:
        """Check that suite and dataset belong together, and open the folder.

        Args:
            suite: What to run.
            dataset: Its dataset.
            folder: Where everything is kept.
            splits: Those of the dataset that are made already.

        Raises:
            ConfigError: If the dataset is another one, or the folder holds something else.
        """
        require_dataset(suite, dataset)
        self.suite, self.dataset, self.folder = suite, dataset, RunFolder(folder)
        self.splits = splits or Splits(dataset, suite.window_size)
        self._place = DataPlace(
            dataset=dataset.folder.resolve(),
            content_hash=dataset.manifest.content_hash or "",
            window_size=suite.window_size,
            measurements=self.folder.measurements.resolve(),
        )
        self.folder.start(
            RunInfo(
                suite=suite,
                dataset_id=dataset.manifest.id,
                content_hash=suite.content_hash,
            )
        )

    def run(
        self,
        choice: RunChoice,
        *,
        executor: Executor,
        progress: Progress = lambda _stage, _done, _total: None,
    ) -> RunReport:
        """Run every model on every task and seed that is not finished yet.

        Args:
            choice: Which models, tracks and seeds.
            executor: Who measures and fits; it must reach dataset and folder.
            progress: Told how far each stage is.

        Raises:
            ConfigError: If the suite has no such track, scene or band (the nearest is offered) or
                seed, a map is missing, or a model knows the city and no track has maps.
            WorkError: If a measurement fails.
        """
        tasks = choice.tasks_of(self.suite)
        seeds, models = self.suite.seeds_of(choice.seeds), choice.models
        self._place = replace(self._place, maps=choice.maps and choice.maps.resolve())
        hashes = Hashes(models, choice.maps)
        cells = cells_of(self.suite, choice, hashes)
        self._drop_stale(cells, hashes)
        pending = [
            c for c in cells if not self.folder.is_finished(c.task, c.model.name, c.seed, c.hash)
        ]
        for model in models:
            self.folder.write_model(_record_of(model))
        self._measure(tasks, seeds, pending, executor, progress)
        self._references(tasks, progress)
        self._note_detections(tasks, seeds, progress)
        sandboxes = self._run_cells(pending, executor, progress)
        noted = self.folder.failures()
        asked = {self.folder.place(cell.task, cell.model.name, cell.seed) for cell in cells}
        return RunReport(
            num_run=len(pending),
            num_kept=len(cells) - len(pending),
            failures=tuple((place, text) for place, text in noted.items() if place in asked),
            num_old_failures=len(set(noted) - asked),
            sandboxes=tuple(sorted(sandboxes)),
        )

    def _drop_stale(self, cells: Sequence[RunCell], hashes: "Hashes") -> None:
        """Remove what earlier code of a model predicted, on all tracks, and of other maps here.

        What is not run now may have maps that are not made yet: there the code alone decides.
        """
        wanted = {(cell.task.id, cell.model.name, cell.seed): cell.hash for cell in cells}
        for model, task in itertools.product(hashes.models, self.suite.tasks()):
            code = hashes.code[model.name]
            for seed in task.seeds:
                expected = wanted.get((task.id, model.name, seed))
                if expected is None and not model.needs_map:
                    expected = hashes.of(task, model, seed)
                is_stale = functools.partial(_is_stale, expected, code)
                self.folder.drop_stale(task, model.name, seed, is_stale)

    def _measure(
        self,
        tasks: Sequence[Task],
        seeds: Sequence[int],
        cells: Sequence[RunCell],
        executor: Executor,
        progress: Progress,
    ) -> None:
        """Estimate what open cells and references need, and what shows which links are heard."""
        wanted: dict[Survey, bool] = {}
        for cell in cells:
            for survey in surveys_of(cell.task, cell.seed):
                wanted[survey] = wanted.get(survey, False) or cell.needs_csi
        for task in tasks:
            heard = [survey_of_test(task, seed) for seed in self._unnoted(task, seeds)]
            for survey in [*surveys_of(task, task.seeds[0]), *heard]:
                wanted.setdefault(survey, False)
        kept = self.folder.measurements
        missing = [s for s, csi in wanted.items() if not is_measured(s, self.dataset, kept, csi)]

        def arguments(survey: Survey) -> tuple[Any, ...]:
            return measure_survey, survey, self._place, wanted[survey]

        progress("measure", 0, len(missing))
        done = executor.run(TaskKind(name="measure"), run_fresh, missing, arguments)
        for i, finished in enumerate(done, start=1):
            if finished.error is not None:
                raise WorkError(finished.error)
            progress("measure", i, len(missing))

    def _references(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Keep the truth of each task and what the oracles and the bound make of it."""
        references = References(self.dataset, self.splits)
        for i, task in enumerate(tasks):
            progress("references", i, len(tasks))
            seed, cell_hash = task.seeds[0], _reference_hash(task)
            names = references.names(task)
            finished = (self.folder.is_finished(task, name, seed, cell_hash) for name in names)
            truth = truth_of(task, self.dataset, self.splits)
            if self.folder.has_truth(task) and self.folder.truth(task).equals(truth):
                if all(finished):
                    continue
            else:
                self.folder.write_truth(task, truth)
            data = load_task(
                task, seed, self.dataset, self.splits, self.folder.measurements, with_csi=False
            )
            for name in names:
                self.folder.write_model(REFERENCES[name])
                self.folder.write_cell(
                    task,
                    references.predict(name, task, truth, data),
                    model=name,
                    seed=seed,
                    cell_hash=cell_hash,
                )
        progress("references", len(tasks), len(tasks))

    def _note_detections(
        self, tasks: Sequence[Task], seeds: Sequence[int], progress: Progress
    ) -> None:
        """Keep which test links show a path, so that scores need no measurements."""
        missing = [(task, seed) for task in tasks for seed in self._unnoted(task, seeds)]
        for i, (task, seed) in enumerate(missing):
            progress("detectable links", i, len(missing))
            counts = count_paths(task, seed, self.dataset, self.splits, self.folder.measurements)
            self.folder.write_detections(task, seed, counts)
        if missing:
            progress("detectable links", len(missing), len(missing))

    def _unnoted(self, task: Task, seeds: Sequence[int]) -> list[int]:
        """Return the seeds, that of the references among them, whose detections are not kept."""
        wanted = dict.fromkeys((task.seeds[0], *seeds))
        return [seed for seed in wanted if self.folder.detections(task, seed) is None]

    def _run_cells(
        self, cells: Sequence[RunCell], executor: Executor, progress: Progress
    ) -> set[str]:
        """Fit and keep; return the sandboxes in which the models were."""
        sandboxes = set[str]()

        def arguments(cell: RunCell) -> tuple[Any, ...]:
            output = self.folder.output(cell.task, cell.model.name, cell.seed).resolve()
            return cell.model, cell.seed, cell.task, self._place, cell.needs_csi, output

        progress("models", 0, len(cells))
        # A model that raises is not tried again: it would raise again.
        done = executor.run(TaskKind(name="fit", max_failures=1), fit_cell, cells, arguments)
        for i, fit in enumerate(done, start=1):
            cell = fit.job
            if fit.error is None:
                self._keep(cell, fit.result)
                sandboxes.add(fit.result.record["sandbox"])
            else:
                details = fit.attempts[-1].details
                self.folder.write_failure(cell.task, cell.model.name, cell.seed, fit.error, details)
            progress("models", i, len(cells))
        return sandboxes

    def _keep(self, cell: RunCell, outcome: Outcome) -> None:
        """Write predictions in world coordinates."""
        truth = self.folder.truth(cell.task)
        sites = self.dataset.select(scene=cell.task.scene, band=cell.task.band).sites
        site_index = np.array([[s.site for s in sites].index(x) for x in truth["site"]])
        covariance_m2 = outcome.prediction.covariance_m2
        if covariance_m2 is not None:
            covariance_m2 = world_frame_covariances(covariance_m2, site_index, sites)
        position_m = world_frame_positions(outcome.prediction.position_m, site_index, sites)
        self.folder.write_cell(
            cell.task,
            prediction_table(truth, position_m, covariance_m2),
            model=cell.model.name,
            seed=cell.seed,
            cell_hash=cell.hash,
            model_hash=cell.model_hash,
            software=software_versions(),
            **outcome.record,
        )


def _is_stale(expected: str | None, code: str, result: CellResult) -> bool:
    """Return whether a cell was made from other inputs than today's, or of other code."""
    if expected is not None:
        return result.cell_hash != expected
    return result.model_hash != code


def _reference_hash(task: Task) -> str:
    return cell_hash_of(task, [MEASURING_VERSION, code_hash(References.__module__)])


def _record_of(model: ModelFolder) -> ModelRecord:
    links = model.other_links if isinstance(model, FollowingModel) else ()
    return ModelRecord(
        name=model.name,
        title=model.info.title,
        kind="reference" if LATER in links else "model",
        is_trajectory=model.info.is_trajectory,
        summary=model.info.summary,
        card=model.card,
        tuning=model.info.tuning,
        config=model.info.config,
        trust=Trust(
            inputs=(*model.info.inputs, *links),
            pretraining=() if model.is_shipped else None,
            openness="code and weights" if model.is_shipped else None,
            replication="raymark bench run",
        ),
    )
