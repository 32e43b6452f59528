"""Any model along tracks: `MODEL+filter` takes earlier links too, `MODEL+smoother` all.

The model is fitted as ever, and locates link by link; how UEs move is learnt from labelled training
tracks, and how far the model's own uncertainty can be relied on from validation tracks.
"""

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float

from raymark.benchmark.localizer import Localizer, ModelFolder, Prediction
from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.predictions import checked_prediction, finite_array
from raymark.benchmark.step_model import StepModel, Tracks, tracks_of
from raymark.benchmark.track_filter import Estimates, Evidence, filtered, smoothed
from raymark.config import nearest
from raymark.errors import CheckpointError, ConfigError, ScoringError

Method = Literal["filter", "smoother"]

EARLIER, LATER = "earlier links", "later links"
SEPARATOR = "+"
SCALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Tried factors of the model's covariances: errors of neighbouring links are alike, so that they
tell less than as many independent ones."""
OUTLIER_SHARES = (0.01, 0.1, 0.3)
"""Tried shares of links that tell nothing."""
_RESTARTS = 1e-3
"""Restarts of a track for each outlier: two or three wrong links that agree move it away."""

_STATE_NAME = "following.json"
_LEAST_VARIANCE_M2 = 1e-2
_QUANTILE_90, _MEDIAN = 4.605, 1.386
"""Of the squared distance of two coordinates, in units of their variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Where links may be: a model's whole posterior, where one mean and covariance is not all.

    A grid is one, too: cells with their weights, and a covariance of the size of a cell.

    Attributes:
        weight: Shares, which add up to 1.
        mean_m: x and y in the frame of each link's site [m].
        covariance_m2: About that [m^2].
    """

    weight: Float[np.ndarray, "link component"]
    mean_m: Float[np.ndarray, "link component 2"]
    covariance_m2: Float[np.ndarray, "link component 2 2"]


@runtime_checkable
class GivesMixture(Protocol):
    """A model that tells its whole posterior; a `Localizer` that defines `mixture` is one."""

    def mixture(self, test: Measurements) -> Mixture:
        """Return where every link of `test` may be, in its order."""


class Follower(Localizer):
    """A model, and what is made of its estimates along tracks."""

    def __init__(self, base: Localizer, method: Method) -> None:
        """Follow the UEs that a model locates.

        Args:
            base: The model, which is not fitted yet.
            method: Which links of a track each estimate may use.
        """
        super().__init__(base.config, seed=base.seed)
        self._base, self._method = base, method

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Fit the model, learn steps from `train`, and choose by `validation` how to trust it."""
        self._base.on_progress, self._base.resume_folder = self.on_progress, self.resume_folder
        self._base.fit(train, validation)
        self._steps = StepModel.fit(train)
        self._choose(validation)
        self.num_parameters = self._base.num_parameters
        self.history, self.diagnostics = self._base.history, self._base.diagnostics
        self.choices = {**self._base.choices, self._method: {**self._state, **self._trials}}

    def predict(self, test: Measurements) -> Prediction:
        """Return where every link is, by the links of its track that may be used."""
        tracks = tracks_of(test)
        trial = [(self._state["scale"], self._state["outlier_share"])]
        found = self._run(self._mixture(test, self._state["variance_m2"]), tracks, trial)
        position_m, covariance_m2 = _by_row(found, tracks, trial=0)
        return Prediction(
            position_m=position_m, covariance_m2=covariance_m2 * self._state["spread"]
        )

    def save(self, folder: Path) -> None:
        """Write the model, and what was learnt of tracks."""
        self._base.save(folder)
        state = {"steps": asdict(self._steps), "state": self._state}
        (folder / _STATE_NAME).write_text(json.dumps(state) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` has written."""
        self._base.load(folder)
        try:
            kept = json.loads((folder / _STATE_NAME).read_text(encoding="utf-8"))
            self._steps = StepModel.of_plain(kept["steps"])
            self._state = dict(kept["state"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{folder / _STATE_NAME} cannot be read: {error}") from error

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether the model does."""
        return self._base.keeps_checkpoints

    def _choose(self, validation: Labelled) -> None:
        """Choose scale and share of outliers by the mean error, then calibrate the result."""
        links, true_m = validation.measurements, validation.position_m
        alone = checked_prediction(self._base.predict(links), len(links))
        squared_m2 = ((alone.position_m - true_m) ** 2).sum(axis=1)
        # A median, since outliers are dealt with apart.
        variance_m2 = max(float(np.median(squared_m2)) / _MEDIAN, _LEAST_VARIANCE_M2)
        tracks, trials = tracks_of(links), list(itertools.product(SCALES, OUTLIER_SHARES))
        found = self._run(self._mixture(links, variance_m2), tracks, trials)
        placed = [_by_row(found, tracks, trial=i) for i in range(len(trials))]
        errors_m = [float(np.linalg.norm(at_m - true_m, axis=1).mean()) for at_m, _ in placed]
        best = int(np.argmin(errors_m))
        offset_m, covariance_m2 = placed[best][0] - true_m, placed[best][1]
        squared = np.einsum("li,lij,lj->l", offset_m, np.linalg.inv(covariance_m2), offset_m)
        self._state = {
            "scale": trials[best][0],
            "outlier_share": trials[best][1],
            "variance_m2": variance_m2,
            "spread": max(float(np.quantile(squared, 0.9)) / _QUANTILE_90, 1e-6),
        }
        self._trials = {
            "validation_error_m": {
                "alone": float(np.sqrt(squared_m2).mean()),
                **{str(trial): error for trial, error in zip(trials, errors_m, strict=True)},
            }
        }

    def _mixture(self, links: Measurements, variance_m2: float) -> Mixture:
        """Return what the model tells of each link; without a covariance all have one variance."""
        if isinstance(self._base, GivesMixture):
            return checked_mixture(self._base.mixture(links), len(links))
        alone = checked_prediction(self._base.predict(links), len(links))
        covariance_m2 = alone.covariance_m2
        if covariance_m2 is None:
            covariance_m2 = np.broadcast_to(variance_m2 * np.eye(2), (len(links), 2, 2))
        return Mixture(
            weight=np.ones((len(links), 1)),
            mean_m=alone.position_m[:, None],
            covariance_m2=covariance_m2[:, None],
        )

    def _run(
        self, mixture: Mixture, tracks: Tracks, trials: list[tuple[float, float]]
    ) -> Estimates:
        evidence = evidence_of(mixture, tracks, trials, self._steps)
        return (filtered if self._method == "filter" else smoothed)(evidence, self._steps)


def checked_mixture(returned: Mixture, num_links: int) -> Mixture:
    """Return what a model told of links as arrays of numpy.

    Raises:
        ScoringError: If an array has the wrong shape or values that are not finite, shares do not
            add up to 1, or a covariance is none.
    """
    num = np.shape(returned.weight)[-1]
    weight = finite_array("weight", returned.weight, (num_links, num))
    covariance_m2 = finite_array("covariance_m2", returned.covariance_m2, (num_links, num, 2, 2))
    if (weight < 0).any() or not np.allclose(weight.sum(axis=1), 1.0, atol=1e-3):
        raise ScoringError("weight of a mixture must be shares that add up to 1 for each link")
    if (np.linalg.eigvalsh(covariance_m2) < 0).any():
        raise ScoringError("covariance_m2 of a mixture has a negative eigenvalue")
    mean_m = finite_array("mean_m", returned.mean_m, (num_links, num, 2))
    return Mixture(weight=weight, mean_m=mean_m, covariance_m2=covariance_m2)


def evidence_of(
    mixture: Mixture, tracks: Tracks, trials: list[tuple[float, float]], steps: StepModel
) -> Evidence:
    """Return what the links of tracks tell, at some scales of the covariances and outlier shares.

    Args:
        mixture: What the model tells.
        tracks: The order of the links.
        trials: Scale and outlier share of each; the first axis of the batch.
        steps: Says how large the area is in which outliers lie.
    """
    row = tracks.row.T
    scale, outlier = np.array(trials).T[:, :, None]
    # The mean density of labelled positions, if these were normal.
    density = 1 / (4 * np.pi * np.sqrt(np.linalg.det(steps.covariance_m2)))
    covariance_m2 = mixture.covariance_m2[row][:, None] * scale[..., None, None, None]
    with np.errstate(divide="ignore"):  # a share of 0 is none at all
        log_weight = np.log(mixture.weight[row])[:, None] + np.log(1 - outlier)[..., None]
        log_outlier = np.log(outlier * density)
    return Evidence(
        present=row >= 0,
        gap=tracks.gap.T,
        told_m=tracks.told_m.swapaxes(0, 1),
        mean_m=mixture.mean_m[row][:, None],
        covariance_m2=covariance_m2 + _LEAST_VARIANCE_M2 * np.eye(2),
        log_weight=log_weight,
        log_outlier=np.broadcast_to(log_outlier, (len(row), *log_outlier.shape)),
        restart=_RESTARTS * outlier,
    )


def _by_row(
    found: Estimates, tracks: Tracks, *, trial: int
) -> tuple[Float[np.ndarray, "link 2"], Float[np.ndarray, "link 2 2"]]:
    """Return the estimates of one trial in the order of the links."""
    is_there = tracks.row.T >= 0
    row = tracks.row.T[is_there]
    position_m, covariance_m2 = np.empty((len(row), 2)), np.empty((len(row), 2, 2))
    position_m[row] = found.mean_m[:, trial][is_there]
    covariance_m2[row] = found.covariance_m2[:, trial][is_there]
    return position_m, covariance_m2


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingModel(ModelFolder):
    """A model's folder, followed along tracks; its name is `MODEL+METHOD`.

    Attributes:
        method: Which links of a track each estimate may use.
        looks_ahead: Whether the model itself uses later links of a window.
    """

    method: Method
    looks_ahead: bool = False

    @classmethod
    def of(cls, model: ModelFolder, method: Method) -> "FollowingModel":
        """Return a model followed by a method."""
        looks_ahead = model.info.is_trajectory
        links = "all others, later ones too"
        if method == "filter":
            links = "those before it" + (" and later ones of its window" if looks_ahead else "")
        info = model.info.model_copy(
            update={
                "title": f"{model.info.title} + {method}",
                "summary": f"{model.info.summary.rstrip('.')}; each link with {links}.",
                "is_trajectory": True,
                "tuning": f"{model.info.tuning}; for the {method} scale of the covariances and "
                f"share of outliers, {len(SCALES) * len(OUTLIER_SHARES)} tries",
            }
        )
        return cls(
            name=f"{model.name}{SEPARATOR}{method}",
            folder=model.folder,
            module=model.module,
            info=info,
            card=model.card,
            method=method,
            looks_ahead=looks_ahead,
        )

    @property
    def other_links(self) -> tuple[str, ...]:
        """Which other links of a track it uses, for the board; later ones are not ranked."""
        is_online = self.method == "filter" and not self.looks_ahead
        return (EARLIER,) if is_online else (EARLIER, LATER)

    def create(self, seed: int) -> Localizer:
        """Return a fresh model that is followed.

        Raises:
            ConfigError: If its `model.py` cannot be imported or holds no `Model` of the right kind.
        """
        return Follower(ModelFolder.create(self, seed), self.method)


def split_name(name: str) -> tuple[str, Method | None]:
    """Return the name of a model, and the method by which it is followed, if there is one.

    Raises:
        ConfigError: If the name, which is of no folder, asks for another method.

    >>> split_name("wknn+filter"), split_name("wknn")
    (('wknn', 'filter'), ('wknn', None))
    """
    for method in get_args(Method):
        if name.endswith(SEPARATOR + method):
            return name.removesuffix(SEPARATOR + method), method
    model, separator, wanted = name.rpartition(SEPARATOR)
    if separator and not Path(name).is_dir():
        known = [*get_args(Method), "sites"]  # the last is `site_fusion`'s
        raise ConfigError(
            f"'{model}' is followed by '{wanted}', which is unknown{nearest(wanted, known)} "
            f"(there are: {', '.join(known)})"
        )
    return name, None
