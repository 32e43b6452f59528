"""Weighted nearest neighbours by a few scalars of each link."""

import itertools

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import first_path

_LEAST_DISTANCE = 1e-6
"""Keeps the weight of a training link that is measured alike finite; scalars have unit spread."""


class Model(Localizer):
    """Mean position of the k nearest training links in the space of standardized scalars."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose k and the weight of the gain on validation data."""
        heard = train.take(np.flatnonzero(first_path(train.measurements)[1]))
        self._mean_m = train.position_m.mean(axis=0)
        self._known_m = heard.position_m
        self._own = _scalars(heard.measurements)
        self._spread = self._own.std(axis=0) if len(heard) else np.ones(self._own.shape[1])
        self._spread = np.where(self._spread > 0, self._spread, 1.0)
        grid = itertools.product(self.config["num_neighbours"], self.config["gain_weight"])
        self._trial, trials = tune(
            grid, lambda trial: self._locate(validation.measurements, *trial), validation
        )
        names = ("num_neighbours", "gain_weight")
        self.choices = {
            **dict(zip(names, self._trial, strict=True)),
            "num_scalars": self._own.shape[1],
            "validation_error_m": trials,
        }
        self.num_parameters = self._own.size + self._known_m.size

    def predict(self, test: Measurements) -> Prediction:
        """Return the weighted mean of the neighbours' positions."""
        return Prediction(position_m=self._locate(test, *self._trial))

    def _locate(self, links: Measurements, k: int, gain_weight: float) -> Float[np.ndarray, "n 2"]:
        position_m = np.tile(self._mean_m, (len(links), 1))
        heard = np.flatnonzero(first_path(links)[1])
        if not len(self._own) or not len(heard):
            return position_m
        weight = np.ones(self._own.shape[1])
        weight[_GAIN] = gain_weight
        scale = weight / self._spread
        k = min(k, len(self._own))
        asked = _scalars(links.take(heard)) * scale
        distance, nearest = cKDTree(self._own * scale).query(asked, k=np.arange(1, k + 1))
        share = 1 / np.maximum(distance, _LEAST_DISTANCE)
        share /= share.sum(axis=1, keepdims=True)
        position_m[heard] = (share[..., None] * self._known_m[nearest]).sum(axis=1)
        return position_m


_GAIN = 1


def _scalars(links: Measurements) -> Float[np.ndarray, "link scalar"]:
    """Return distance [m], gain [dB], azimuth at the BS [rad], and at the UE where it is known."""
    column, _ = first_path(links)
    azimuth_rad = links.path_azimuth_rad[np.arange(len(links)), column]
    columns = [links.distance_m, links.gain_db, azimuth_rad]
    if links.ue_azimuth_rad is not None:
        columns += [np.cos(links.ue_azimuth_rad), np.sin(links.ue_azimuth_rad)]
    return np.stack(columns, axis=1).astype("f8")
