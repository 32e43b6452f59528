"""Weighted nearest neighbours by the cosine of angle-delay images of the estimated paths."""

import itertools

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import path_loss_free_power_db
from raymark.radio.frames import wrap_rad

_AZIMUTH_BIN_RAD = np.pi / 32
_RANGE_BIN_M = 6.0
_MAX_RANGE_M = 384.0


class Model(Localizer):
    """Mean position of the k most alike training links, weighted by likeness.

    Each estimated path is drawn as a smooth dot on a grid of azimuth and range, as high as the path
    stands above the weakest one that counts [dB]. Two links are alike by the cosine of their
    images, less a penalty for the difference of their gains.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose width, k and the weight of the gain on validation data."""
        self._train = train
        grid = itertools.product(
            self.config["width_bins"], self.config["num_neighbours"], self.config["gain_weight"]
        )
        images = {
            width: (_images(train.measurements, width), _images(validation.measurements, width))
            for width in self.config["width_bins"]
        }

        def predict(trial: tuple[float, int, float]) -> Float[np.ndarray, "link 2"]:
            width, k, weight = trial
            own, other = images[width]
            return self._locate(own, other, validation.measurements, k, weight)

        self._trial, trials = tune(grid, predict, validation)
        names = ("width_bins", "num_neighbours", "gain_weight")
        chosen = dict(zip(names, self._trial, strict=True))
        self.choices = {**chosen, "validation_error_m": trials}
        self.num_parameters = train.position_m.size + images[self._trial[0]][0].size

    def predict(self, test: Measurements) -> Prediction:
        """Return the weighted mean of the neighbours' positions."""
        width, k, weight = self._trial
        own, other = _images(self._train.measurements, width), _images(test, width)
        return Prediction(position_m=self._locate(own, other, test, k, weight))

    def _locate(
        self,
        own: Float[np.ndarray, "train pixel"],
        other: Float[np.ndarray, "link pixel"],
        links: Measurements,
        k: int,
        gain_weight: float,
    ) -> Float[np.ndarray, "link 2"]:
        gain_gap_db = np.abs(_gain_db(links)[:, None] - _gain_db(self._train.measurements)[None, :])
        distance = 1 - other @ own.T + gain_weight * gain_gap_db
        nearest = np.argpartition(distance, min(k, len(own)) - 1, axis=1)[:, :k]
        near = np.take_along_axis(distance, nearest, axis=1)
        weight = 1 / (near - near.min(axis=1, keepdims=True) + 0.05)
        position_m = self._train.position_m[nearest]
        return (weight[..., None] * position_m).sum(axis=1) / weight.sum(axis=1, keepdims=True)


def _gain_db(links: Measurements) -> Float[np.ndarray, "link"]:
    return 10 * np.log10((10 ** (path_loss_free_power_db(links) / 10)).sum(axis=1))


def _images(links: Measurements, width_bins: float) -> Float[np.ndarray, "link pixel"]:
    """Return images of unit length (0 for links without paths), float32."""
    azimuth = np.arange(-np.pi, np.pi, _AZIMUTH_BIN_RAD)
    distance = np.arange(0, _MAX_RANGE_M, _RANGE_BIN_M)
    turn = wrap_rad(links.path_azimuth_rad[..., None] - azimuth)
    step = links.path_range_m[..., None] - distance
    rows = np.exp(-0.5 * (turn / (width_bins * _AZIMUTH_BIN_RAD)) ** 2)
    columns = np.exp(-0.5 * (step / (width_bins * _RANGE_BIN_M)) ** 2)
    power_db = links.path_power_db
    floor_db = np.where(links.path_mask, power_db, np.inf).min(axis=1, keepdims=True) - 3
    height = np.where(links.path_mask, power_db - floor_db, 0.0)
    image = np.einsum("lp,lpa,lpd->lad", height, rows, columns, optimize=True)
    flat = image.reshape(len(links), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return (flat / np.where(length > 0, length, 1.0)).astype("f4")
