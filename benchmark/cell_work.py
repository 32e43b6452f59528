"""What the jobs of a run are, wherever they are done; dataset and run lie where all reach them."""

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.measuring import Survey, measure
from raymark.benchmark.model_code import code_places, folder_of
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import cities_of, load_task
from raymark.benchmark.worker import Outcome, fit_apart, make_and_forget
from raymark.dataset import open_dataset
from raymark.storage import Place
from raymark.work.fresh import printing_to, run_confined
from raymark.work.sandbox import Reach, reach_of, sandbox_name

_ONE_LOADS = threading.Lock()
"""Cells of one process are loaded one after the other."""


_OF_MODELS = ("sklearn.ensemble", "scipy.stats")
"""What many models import, loaded once for all cells: seconds each."""


_TELLING = ("raymark.generator", "raymark.scenes")
"""Whoever has these and the preset of a dataset can draw its UEs again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlace:
    """Where the data of a run lie.

    Attributes:
        dataset: Folder of the dataset.
        content_hash: Of the dataset.
        window_size: Of the suite [links].
        measurements: Folder of what was measured.
        maps: Folder of maps; None if no model asks for one.
    """

    dataset: Place
    content_hash: str
    window_size: int
    measurements: Path
    maps: Path | None = None


def measure_survey(survey: Survey, place: DataPlace, with_csi: bool) -> None:
    """Keep what a survey measures."""
    measure(survey, open_dataset(place.dataset), place.measurements, with_csi=with_csi)


def fit_cell(
    model: ModelFolder, seed: int, task: Task, place: DataPlace, with_csi: bool, output: Path
) -> Outcome:
    """Load the data of a cell here, and fit in a fresh process that is confined to them.

    Args:
        model: What to fit.
        seed: Of the cell.
        task: Of the cell.
        place: Where the data lie.
        with_csi: Whether the model reads CSI.
        output: File that gets what the model prints, if it prints anything.

    Raises:
        WorkError: If the model raises, or its process dies.
        ScoringError: If what comes back is no prediction.
    """
    with _ONE_LOADS:
        splits = _splits(place)
        data = load_task(task, seed, splits.dataset, splits, place.measurements, with_csi=with_csi)
        if model.needs_map:
            cities = cities_of(task, seed, splits.dataset, place.maps, task.scenes)
            data = data.with_cities(cities)
    of_the_run = (place.measurements.parent, place.dataset.local_path, place.maps)
    reach = _reach_of(model, hidden=[path for path in of_the_run if path is not None])
    with tempfile.TemporaryDirectory(prefix="raymark-") as room, printing_to(output):
        apart = data.with_csi_in(Path(room))
        content = run_confined(
            fit_apart, model, seed, apart, room=Path(room), reach=reach, loaded=_OF_MODELS
        )
    outcome = Outcome.from_bytes(content, len(data.test)).of(data.asked)
    outcome.record["sandbox"] = sandbox_name()
    return outcome


def try_model(model: ModelFolder) -> None:
    """Import the code of a model, and make one, in a fresh process that is confined to it.

    Raises:
        WorkError: If it cannot be imported or made; its file and line are named.
    """
    with tempfile.TemporaryDirectory(prefix="raymark-") as room:
        reach = _reach_of(model)
        run_confined(make_and_forget, model, room=Path(room), reach=reach, loaded=_OF_MODELS)


def _reach_of(model: ModelFolder, *, hidden: Sequence[Path] = ()) -> Reach:
    telling = [folder_of(package) for package in _TELLING]
    return reach_of(code_places(model), searched=[model.folder.parent], hidden=[*hidden, *telling])


@lru_cache(maxsize=1)
def _splits(place: DataPlace) -> Splits:
    return Splits(open_dataset(place.dataset), place.window_size)
