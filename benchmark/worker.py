"""What happens in a model's process: fit, predict, measure. No test position ever enters it."""

import dataclasses
import io
import json
import operator
import platform
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from raymark.benchmark.localizer import Localizer, ModelFolder, Prediction
from raymark.benchmark.model_errors import told_by_line
from raymark.benchmark.predictions import checked_prediction
from raymark.benchmark.task_data import TaskData
from raymark.config import Strict, validate
from raymark.errors import ScoringError, sentence_of
from raymark.work.peak_memory import peak_memory_bytes, reset_peak_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a model's process gives back.

    Attributes:
        prediction: Positions in the sites' frames.
        record: Times, memory, parameters and choices, named as in `CellResult`.
    """

    prediction: Prediction
    record: dict[str, Any]

    def of(self, rows: Int[np.ndarray, "link"]) -> "Outcome":
        """Return the same for some of the links."""
        covariance_m2 = self.prediction.covariance_m2
        taken = Prediction(
            position_m=self.prediction.position_m[rows],
            covariance_m2=None if covariance_m2 is None else covariance_m2[rows],
        )
        return dataclasses.replace(self, prediction=taken)

    def to_bytes(self) -> bytes:
        """Return it as bytes that run no code when they are read."""
        arrays = {"position_m": self.prediction.position_m}
        if self.prediction.covariance_m2 is not None:
            arrays["covariance_m2"] = self.prediction.covariance_m2
        file = io.BytesIO()
        record = np.frombuffer(json.dumps(self.record).encode(), dtype="u1")
        np.savez(file, allow_pickle=False, record=record, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, num_links: int) -> "Outcome":
        """Read what came out of a model's process, which may hold anything, and check all of it.

        Args:
            content: As `to_bytes` returns it.
            num_links: Number of test links.

        Raises:
            ScoringError: If it is no outcome, or holds a prediction that cannot be scored.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            fields = json.loads(arrays.pop("record").tobytes())
            record = validate(FitRecord, dict(fields), where="the record").model_dump()
            prediction = checked_prediction(Prediction(**arrays), num_links)
        except ScoringError:
            raise
        except Exception as error:
            raise ScoringError(
                f"what came from the model's process is no prediction: {sentence_of(error)}"
            ) from error
        return cls(prediction=prediction, record=record)


class FitRecord(Strict):
    """What a model's process tells of the fit, fields of `CellResult`."""

    fit_s: float
    predict_ms_per_point: float
    peak_memory_mb: float
    num_parameters: int | None
    choices: dict[str, Any]
    history: dict[str, list[float]]
    diagnostics: dict[str, Any]
    hardware: str


def fit_apart(model: ModelFolder, seed: int, data: TaskData) -> bytes:
    """Do what `fit_and_predict` does in a confined process; the CSI lies in its working directory.

    Raises:
        ScoringError: As `fit_and_predict`.
    """
    return fit_and_predict(model, seed, data.with_csi_held()).to_bytes()


def fit_and_predict(model: ModelFolder, seed: int, data: TaskData) -> Outcome:
    """Fit a fresh model and locate the test links.

    Raises:
        WorkError: If the model raises; its file and line are named.
        ScoringError: If what it returns is no prediction, has the wrong shape or holds values that
            are not finite, or its choices, history or diagnostics cannot be stored.
    """
    reset_peak_memory()
    with told_by_line(model.folder):
        localizer = model.create(seed)
        torch.manual_seed(seed)
        start = time.perf_counter()
        localizer.fit(data.train, data.validation)
        fitted = time.perf_counter()
        returned = localizer.predict(data.test)
        predicted = time.perf_counter()
    return Outcome(
        prediction=checked_prediction(returned, len(data.test)),
        record={
            "fit_s": fitted - start,
            "predict_ms_per_point": 1e3 * (predicted - fitted) / len(data.test),
            "peak_memory_mb": peak_memory_bytes() / 1024**2,
            **report_of(localizer),
        },
    )


def make_and_forget(model: ModelFolder) -> bytes:
    """Import the code of a model and make one, to see whether both can be done; return nothing.

    Raises:
        WorkError: If its code raises; its file and line are named.
        ConfigError: If it holds no `Model` of the right kind.
    """
    with told_by_line(model.folder):
        model.create(0)
    return b""


def report_of(localizer: Localizer) -> dict[str, Any]:
    """Return what a fitted model says of itself, checked, and the hardware.

    Raises:
        ScoringError: If something cannot be stored, or a learning curve is not finite.
    """
    return {
        "num_parameters": _count(localizer.num_parameters),
        "choices": _plain("choices", localizer.choices),
        "history": _curves(localizer.history),
        "diagnostics": _plain("diagnostics", localizer.diagnostics),
        "hardware": f"{platform.machine()}, {_processor()}",
    }


def _count(num_parameters: Any) -> int | None:
    if num_parameters is None:
        return None
    try:
        return operator.index(num_parameters)
    except TypeError as error:
        raise ScoringError(f"num_parameters must be an integer, got {num_parameters!r}") from error


def _plain(name: str, values: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(values)))
    except (TypeError, ValueError) as error:
        raise ScoringError(f"{name} must hold plain numbers and texts: {error}") from error


def _curves(history: dict[str, list[float]]) -> dict[str, list[float]]:
    curves = _plain("history", history)
    for name, values in curves.items():
        if not isinstance(values, list) or not all(isinstance(x, int | float) for x in values):
            raise ScoringError(f"history '{name}' must be a list of one number an epoch")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ScoringError(
                f"history '{name}' is {values[bad[0]]} at epoch {bad[0]} of {len(values)}: a model "
                "must stop, or skip what fails, before its loss is not finite"
            )
    return curves


def _processor() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "1 CPU core"
