"""The contract of a localization model, and what its folder holds."""

import dataclasses
import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import Field

from raymark.benchmark.measurements import Input, Labelled, Measurements
from raymark.config import Strict, read_text, read_yaml, validate
from raymark.errors import CheckpointError, ConfigError

T = TypeVar("T")

INFO_NAME = "model.yaml"
CARD_NAME = "card.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Where a model puts the UEs.

    Attributes:
        position_m: x and y in the frame of each link's site [m].
        covariance_m2: Its own uncertainty, in the same frame, if the model has one [m^2].
    """

    position_m: Float[np.ndarray, "link 2"]
    covariance_m2: Float[np.ndarray, "link 2 2"] | None = None


class Localizer(ABC):
    """A model: fitted on labelled links, it locates links of which it sees measurements only.

    A class of this kind called `Model` stands in `model.py` of every model folder. It is made
    anew for every task and seed, in a process that never receives a test position.

    Attributes:
        num_parameters: Fitted numbers, for the board; None where that says nothing.
        choices: What the model chose on validation data, for the record.
        history: Learning curves: one number an epoch, by name (`validation_error_m`).
        diagnostics: Plain numbers that the model reports about itself.
        on_progress: Told during `fit` how many epochs are done, how many there are at most, and
            a short text; set by whoever shows it.
        resume_folder: Where `fit` may keep its state, to go on where it was stopped.
    """

    def __init__(self, config: dict[str, Any], *, seed: int) -> None:
        """Keep the configuration of `model.yaml` and the seed of every random draw."""
        self.config, self.seed = config, seed
        self.num_parameters: int | None = None
        self.choices: dict[str, Any] = {}
        self.history: dict[str, list[float]] = {}
        self.diagnostics: dict[str, Any] = {}
        self.on_progress: Callable[[int, int, str], None] | None = None
        self.resume_folder: Path | None = None

    @abstractmethod
    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Learn from `train`; `validation` is for choices only."""

    @abstractmethod
    def predict(self, test: Measurements) -> Prediction:
        """Return a finite position for every link of `test`, in its order."""

    def save(self, folder: Path) -> None:
        """Write what `fit` has learnt to files in `folder`.

        Raises:
            CheckpointError: If the model cannot.
        """
        raise CheckpointError(f"{self._keeps_none}; there is nothing to write to {folder}")

    def load(self, folder: Path) -> None:
        """Take up what `save` has written to `folder`, in place of `fit`.

        Raises:
            CheckpointError: If the model cannot, or the files do not fit it.
        """
        raise CheckpointError(f"{self._keeps_none}; there is nothing to read from {folder}")

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether the model defines how it is kept."""
        return type(self).save is not Localizer.save

    @property
    def _keeps_none(self) -> str:
        name = type(self).__module__.removesuffix(".model").rpartition(".")[2]
        return f"model '{name}' keeps no checkpoint: its model.py defines no save and load"


class ModelInfo(Strict):
    """The whole of a folder's `model.yaml`."""

    title: str = Field(min_length=1)
    summary: str = Field(min_length=1, description="One sentence for the board")
    is_trajectory: bool = Field(description="Whether it uses the other links of a window")
    inputs: tuple[Input, ...] = Field(min_length=1, description="What it uses of the measurements")
    tuning: str = Field(min_length=1, description="What is chosen on validation, in how many tries")
    is_expensive: bool = Field(
        default=False, description="Runs only when asked for by name, or with all models"
    )
    config: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model as its folder describes it.

    Attributes:
        name: Name of the folder.
        folder: Where it lies.
        module: Name under which Python imports its `model.py`.
        info: Its `model.yaml`.
        card: Its `card.md`.
    """

    name: str
    folder: Path
    module: str
    info: ModelInfo
    card: str

    @property
    def needs_map(self) -> bool:
        """Whether it reads maps of the city."""
        return "map" in self.info.inputs

    @property
    def hears_sites(self) -> bool:
        """Whether it takes the links of a UE at several sites."""
        return "other_sites" in self.info.inputs

    @property
    def is_shipped(self) -> bool:
        """Whether it is one of raymark's own."""
        return self.module.startswith("raymark.")

    def with_config(self, config: dict[str, Any]) -> "ModelFolder":
        """Return the same model with another configuration."""
        info = self.info.model_copy(update={"config": config})
        return dataclasses.replace(self, info=info)

    def create(self, seed: int) -> Localizer:
        """Return a fresh model.

        Raises:
            ConfigError: If `model.py` cannot be imported or holds no `Model` of the right kind.
        """
        if not self.is_shipped and str(self.folder.parent) not in sys.path:
            sys.path.insert(0, str(self.folder.parent))
        try:
            module = importlib.import_module(self.module)
        except Exception as error:
            raise ConfigError(
                f"model '{self.name}' cannot be imported from {self.folder / 'model.py'}: "
                f"{type(error).__name__}: {error}"
            ) from error
        model = getattr(module, "Model", None)
        if not (isinstance(model, type) and issubclass(model, Localizer)):
            raise ConfigError(
                f"{self.folder / 'model.py'} must hold a class 'Model' that is a "
                "raymark.benchmark.Localizer"
            )
        return model(dict(self.info.config), seed=seed)


def read_model_folder(folder: Path, *, package: str = "") -> ModelFolder:
    """Read what a model's folder says of it; its code is imported only when it is made.

    Args:
        folder: Holds `model.py`, `model.yaml` and `card.md`.
        package: Package whose folder is the parent; none for a folder of a user.

    Raises:
        ConfigError: If a file is missing or `model.yaml` holds a wrong key or value.
    """
    for name in ("model.py", INFO_NAME, CARD_NAME):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} is no model folder: {name} is missing")
    if not folder.name.isidentifier():
        raise ConfigError(f"the folder of a model must be named as Python names, got {folder.name}")
    return ModelFolder(
        name=folder.name,
        folder=folder.resolve(),
        module=f"{package}.{folder.name}.model".lstrip("."),
        info=validate(ModelInfo, read_yaml(folder / INFO_NAME), where=str(folder / INFO_NAME)),
        card=read_text(folder / CARD_NAME),
    )


def mean_error_m(position_m: Float[np.ndarray, "link 2"], labelled: Labelled) -> float:
    """Return the mean horizontal error [m]: what models are tuned by on validation data."""
    return float(np.linalg.norm(position_m - labelled.position_m, axis=1).mean())


def tune(
    candidates: Iterable[T],
    predict: Callable[[T], Float[np.ndarray, "link 2"]],
    validation: Labelled,
) -> tuple[T, dict[str, float]]:
    """Return the candidate with the least mean error on validation data, and all their errors [m].

    Args:
        candidates: Configurations to try; their number is the model's tuning budget.
        predict: Fits a candidate on training data and locates the validation links.
        validation: The validation links.
    """
    trials = [(candidate, mean_error_m(predict(candidate), validation)) for candidate in candidates]
    best = min(range(len(trials)), key=lambda i: trials[i][1])
    return trials[best][0], {str(candidate): error for candidate, error in trials}
