"""Run models on a suite: cell by cell over the cores, resumable, with every failure on record."""

import contextlib
import importlib.metadata
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.measuring import MEASURING_VERSION, Survey, measure
from raymark.benchmark.references import REFERENCES, References
from raymark.benchmark.store import (
    ModelRecord,
    RunFolder,
    RunInfo,
    cell_hash_of,
    model_hash,
    prediction_table,
)
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import (
    Splits,
    load_task,
    surveys_of,
    truth_of,
    world_frame_covariances,
    world_frame_positions,
)
from raymark.benchmark.worker import Outcome, fit_and_predict, start_worker
from raymark.config import config_hash, nearest
from raymark.dataset import Dataset, open_dataset
from raymark.errors import ConfigError, RaymarkError

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a run went.

    Attributes:
        num_run: Cells that were run now.
        num_kept: Cells that an earlier run had finished.
        failures: Place and reason of every failed cell.
    """

    num_run: int
    num_kept: int
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    task: Task
    model: ModelFolder
    seed: int
    hash: str


class Runner:
    """One suite on one dataset, kept in one folder."""

    def __init__(self, suite: Suite, dataset: Dataset, folder: Path, *, num_jobs: int = 0) -> None:
        """Check that suite and dataset belong together, and open the folder.

        Args:
            suite: What to run.
            dataset: Its dataset.
            folder: Where everything is kept.
            num_jobs: Processes; as many as there are cores if 0.

        Raises:
            ConfigError: If the dataset is another one, or the folder holds something else.
        """
        require_dataset(suite, dataset)
        self.suite, self.dataset, self.folder = suite, dataset, RunFolder(folder)
        self.splits = Splits(dataset, suite.window_size)
        self.num_jobs = num_jobs or os.cpu_count() or 1
        self.folder.start(
            RunInfo(
                suite=suite,
                dataset_id=dataset.manifest.id,
                content_hash=suite.content_hash,
            )
        )

    def run(
        self,
        models: Sequence[ModelFolder],
        *,
        tracks: Sequence[str] = (),
        progress: Progress = lambda _stage, _done, _total: None,
    ) -> RunReport:
        """Run every model on every task and seed that is not finished yet.

        Args:
            models: What to run.
            tracks: Only these tracks; all if empty.
            progress: Told how far each stage is.

        Raises:
            ConfigError: If the suite has no such track (the nearest is offered).
        """
        tasks = self._tasks_of(tracks)
        cells = [
            _Cell(task=task, model=model, seed=seed, hash=_cell_hash(task, model, seed))
            for task in tasks
            for seed in task.seeds
            for model in models
        ]
        pending = [c for c in cells if not self._is_finished(c.task, c.model.name, c.seed, c.hash)]
        for model in models:
            self.folder.write_model(_record_of(model))
        with _pool(self.num_jobs) as pool:
            self._measure(pool, tasks, pending, progress)
        self._references(tasks, progress)
        self._run_cells(pending, progress)
        return RunReport(
            num_run=len(pending),
            num_kept=len(cells) - len(pending),
            failures=tuple(self.folder.failures()),
        )

    def _tasks_of(self, tracks: Sequence[str]) -> list[Task]:
        known = [settings.track for settings in self.suite.tracks]
        for track in tracks:
            if track not in known:
                raise ConfigError(
                    f"suite '{self.suite.name}' has no track '{track}'{nearest(track, list(known))} "
                    f"(it has: {', '.join(known)})"
                )
        return [task for task in self.suite.tasks() if not tracks or task.track in tracks]

    def _is_finished(self, task: Task, model: str, seed: int, cell_hash: str) -> bool:
        return self.folder.is_finished(task, model, seed, cell_hash)

    def _measure(
        self, pool: ProcessPoolExecutor, tasks: list[Task], cells: list[_Cell], progress: Progress
    ) -> None:
        """Estimate what the open cells and the references need."""
        wanted: dict[Survey, bool] = {}
        for cell in cells:
            with_csi = "csi" in cell.model.info.inputs
            for survey in surveys_of(cell.task, cell.seed):
                wanted[survey] = wanted.get(survey, False) or with_csi
        for task in tasks:
            for survey in surveys_of(task, task.seeds[0]):
                wanted.setdefault(survey, False)
        futures = [
            pool.submit(_measure_in_worker, survey, self.dataset.folder, self.folder.root, csi)
            for survey, csi in wanted.items()
        ]
        for i, future in enumerate(futures):
            progress("measure", i, len(futures))
            future.result()
        progress("measure", len(futures), len(futures))

    def _references(self, tasks: list[Task], progress: Progress) -> None:
        """Keep the truth of each task and what the oracles and the bound make of it."""
        references = References(self.dataset, self.splits)
        for i, task in enumerate(tasks):
            progress("references", i, len(tasks))
            seed, cell_hash = task.seeds[0], _reference_hash(task)
            names = references.names(task)
            if all(self._is_finished(task, name, seed, cell_hash) for name in names):
                continue
            truth = truth_of(task, self.dataset, self.splits)
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

    def _run_cells(self, cells: list[_Cell], progress: Progress) -> None:
        """Keep all processes busy; data is loaded here, so that no process opens the dataset."""
        queue, done = list(reversed(cells)), 0
        running: dict[Future[Outcome], _Cell] = {}
        suspects: list[_Cell] = []
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(_pool(self.num_jobs))
            while queue or running:
                while queue and len(running) < 2 * self.num_jobs:
                    cell = queue.pop()
                    running[self._submit(pool, cell)] = cell
                progress("models", done, len(cells))
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.append(cell)
                        continue
                    self._finish(cell, future)
                    done += 1
                if suspects and not running:
                    pool = stack.enter_context(_pool(self.num_jobs))
                    self._run_alone(suspects)
                    done += len(suspects)
                    suspects = []
        progress("models", done, len(cells))

    def _run_alone(self, cells: list[_Cell]) -> None:
        """Find out which of several cells killed their common pool of processes."""
        for cell in cells:
            with _pool(1) as pool:
                future = self._submit(pool, cell)
                wait([future])
                self._finish(cell, future)

    def _submit(self, pool: ProcessPoolExecutor, cell: _Cell) -> Future[Outcome]:
        data = load_task(
            cell.task,
            cell.seed,
            self.dataset,
            self.splits,
            self.folder.measurements,
            with_csi="csi" in cell.model.info.inputs,
        )
        try:
            return pool.submit(fit_and_predict, cell.model, cell.seed, data)
        except BrokenProcessPool as error:
            failed: Future[Outcome] = Future()
            failed.set_exception(error)
            return failed

    def _finish(self, cell: _Cell, future: Future[Outcome]) -> None:
        error = future.exception()
        if error is not None:
            text = (
                str(error)
                if isinstance(error, RaymarkError)
                else f"{type(error).__name__}: {error}"
            )
            if isinstance(error, BrokenProcessPool):
                text = "the model's process died (out of memory, or a crash of a library)"
            self.folder.write_failure(cell.task, cell.model.name, cell.seed, text)
            return
        outcome = future.result()
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
            software=software_versions(),
            **outcome.record,
        )


def require_dataset(suite: Suite, dataset: Dataset) -> None:
    """Check that a dataset is the one of a suite.

    Raises:
        ConfigError: If its content hash differs.
    """
    found = dataset.manifest.content_hash or ""
    if found != suite.content_hash:
        raise ConfigError(
            f"suite '{suite.name}' is for the dataset with content hash "
            f"{suite.content_hash[:12]}, {dataset.folder} has {found[:12]}; make the right one "
            f"with `raymark generate {suite.preset} --out DIR`, or add "
            "--any-data for a run that compares with no other"
        )


def software_versions() -> dict[str, str]:
    """Return the versions that predictions depend on, and the commit where there is one."""
    names = ("raymark", "numpy", "scipy", "torch", "scikit-learn")
    versions = {name: importlib.metadata.version(name) for name in names}
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return versions | ({"commit": commit.stdout.strip()} if commit.returncode == 0 else {})


@contextlib.contextmanager
def _pool(num_jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Make processes that start afresh and compute with one thread each."""
    with _one_thread_environment():
        pool = ProcessPoolExecutor(
            num_jobs, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker
        )
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _one_thread_environment() -> Iterator[None]:
    """Libraries read these when they are loaded, which is before any code of ours runs."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _measure_in_worker(survey: Survey, dataset_folder: Path, root: Path, with_csi: bool) -> None:
    measure(survey, open_dataset(dataset_folder), RunFolder(root).measurements, with_csi=with_csi)


def _cell_hash(task: Task, model: ModelFolder, seed: int) -> str:
    return cell_hash_of(task, [MEASURING_VERSION, model.name, model_hash(model), seed])


def _reference_hash(task: Task) -> str:
    parts: list[Any] = [MEASURING_VERSION, {k: config_hash(v) for k, v in REFERENCES.items()}]
    return cell_hash_of(task, parts)


def _record_of(model: ModelFolder) -> ModelRecord:
    return ModelRecord(
        name=model.name,
        title=model.info.title,
        kind="model",
        is_trajectory=model.info.is_trajectory,
        summary=model.info.summary,
        card=model.card,
        tuning=model.info.tuning,
        config=model.info.config,
    )
