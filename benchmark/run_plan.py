"""What a run would do, and how long that takes, before anything is measured or fitted."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.measuring import is_measured
from raymark.benchmark.run_cells import Hashes, RunChoice, cells_of
from raymark.benchmark.store import RunFolder
from raymark.benchmark.suite_data import require_dataset
from raymark.benchmark.task import Suite
from raymark.benchmark.task_links import surveys_of
from raymark.dataset import Dataset

COSTS = Path(__file__).with_name("costs.csv")
"""Seconds of one fit by suite and model, and of one survey for each 1,000 links, as measured."""

MEASURING = "measuring"
"""Name of the surveys' row in that table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """The cells of one model in a run.

    Attributes:
        name: Of the model.
        num_cells: Its tasks times seeds.
        num_finished: How many of them the folder holds already.
        fit_s: Seconds of one fit: the median of those in the folder, else what was measured on this
            suite; None if neither is known.
    """

    name: str
    num_cells: int
    num_finished: int
    fit_s: float | None

    @property
    def core_s(self) -> float | None:
        """Seconds of one core that are still to come; None where nobody knows."""
        left = self.num_cells - self.num_finished
        if not left:
            return 0.0
        return None if self.fit_s is None else left * self.fit_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A run before it begins.

    Attributes:
        models: Its models.
        num_surveys: Measurements that are needed.
        num_measured: How many of them the folder holds already.
        survey_s: Seconds of one survey; None if nobody measured it.
    """

    models: tuple[PlannedModel, ...]
    num_surveys: int
    num_measured: int
    survey_s: float | None

    @property
    def core_s(self) -> float:
        """Seconds of one core that are known to come; models of `unknown` are not in it."""
        surveys_s = (self.num_surveys - self.num_measured) * (self.survey_s or 0.0)
        return surveys_s + sum(model.core_s or 0.0 for model in self.models)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What nobody has measured yet on this suite: models, and `measuring` for surveys."""
        names = [model.name for model in self.models if model.core_s is None]
        is_dark = self.survey_s is None and self.num_surveys > self.num_measured
        return (*names, *([MEASURING] if is_dark else []))


def plan_run(suite: Suite, dataset: Dataset, folder: Path, choice: RunChoice) -> RunPlan:
    """Tell what `run_suite` with the same arguments would do; nothing is written.

    Args:
        suite: What to run.
        dataset: Its dataset.
        folder: Where the run is, or will be.
        choice: Which models, tracks and seeds.

    Raises:
        ConfigError: If the dataset is another one, or the suite has no such track or seed.
    """
    require_dataset(suite, dataset)
    run = RunFolder(folder)
    hashes = Hashes(choice.models, choice.maps)
    cells = cells_of(suite, choice, hashes)
    done = [run.is_finished(c.task, c.model.name, c.seed, c.hash) for c in cells]
    surveys = {survey for cell in cells for survey in surveys_of(cell.task, cell.seed)}
    measured = [is_measured(x, dataset, run.measurements, with_csi=False) for x in surveys]
    links = len(dataset.index) / max(1, len(dataset.scenes))
    survey_s = _published(suite, MEASURING)
    return RunPlan(
        models=tuple(
            PlannedModel(
                name=model.name,
                num_cells=sum(cell.model == model for cell in cells),
                num_finished=sum(
                    x for x, cell in zip(done, cells, strict=True) if cell.model == model
                ),
                fit_s=_fit_s(run, suite, model),
            )
            for model in choice.models
        ),
        num_surveys=len(surveys),
        num_measured=sum(measured),
        survey_s=None if survey_s is None else survey_s * links / 1000,
    )


def _fit_s(run: RunFolder, suite: Suite, model: ModelFolder) -> float | None:
    kept = run.fit_times(model.name)
    return float(np.median(kept)) if kept else _published(suite, model.name)


def _published(suite: Suite, name: str) -> float | None:
    """Return what was measured of a model on a suite, whatever its version."""
    costs = _costs()
    found = costs.loc[(costs["suite"] == suite.name) & (costs["model"] == name), "fit_s"]
    return float(found.iloc[0]) if len(found) else None


@lru_cache(maxsize=1)
def _costs() -> pd.DataFrame:
    return pd.read_csv(COSTS)
