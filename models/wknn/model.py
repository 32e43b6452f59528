"""Weighted nearest neighbours by the cosine of angle-delay images of the estimated paths."""

import itertools

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import path_loss_free_power_db
from raymark.radio.frames import wrap_rad

_AZIMUTH_BIN_RAD, _RANGE_BIN_M = np.pi / 32, 6.0
_AZIMUTH_RAD = np.arange(-np.pi, np.pi, _AZIMUTH_BIN_RAD)
_RANGE_M = np.arange(0, 384.0, _RANGE_BIN_M)


class Model(Localizer):
    """Mean position of the k most alike training links, weighted by likeness.

    Each estimated path is drawn as a smooth dot on a grid of azimuth and range, as high as the path
    stands above the weakest one that counts [dB]. Two links are alike by the cosine of their
    images, less a penalty for the difference of their gains. A link without a path is put
    where such training links are in the mean; if there are none, its gain alone decides.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose width, k and the weight of the gain on validation data."""
        self._train = train
        grid = itertools.product(
            self.config["width_bins"], self.config["num_neighbours"], self.config["gain_weight"]
        )
        likeness = {
            width: self._likeness(validation.measurements, width)
            for width in self.config["width_bins"]
        }

        def predict(trial: tuple[float, int, float]) -> Float[np.ndarray, "link 2"]:
            width, k, weight = trial
            return self._locate(likeness[width], validation.measurements, k, weight)

        self._trial, trials = tune(grid, predict, validation)
        names = ("width_bins", "num_neighbours", "gain_weight")
        chosen = dict(zip(names, self._trial, strict=True))
        self.choices = {**chosen, "validation_error_m": trials}
        image_size = len(_AZIMUTH_RAD) * len(_RANGE_M)
        self.num_parameters = train.position_m.size + len(train) * image_size

    def predict(self, test: Measurements) -> Prediction:
        """Return the weighted mean of the neighbours' positions."""
        width, k, weight = self._trial
        return Prediction(position_m=self._locate(self._likeness(test, width), test, k, weight))

    def _likeness(self, links: Measurements, width: float) -> Float[np.ndarray, "link train"]:
        """Return the cosine of each link's image to that of each training link."""
        return _images(links, width) @ _images(self._train.measurements, width).T

    def _locate(
        self,
        likeness: Float[np.ndarray, "link train"],
        links: Measurements,
        k: int,
        gain_weight: float,
    ) -> Float[np.ndarray, "link 2"]:
        gain_gap_db = np.abs(_gain_db(links)[:, None] - _gain_db(self._train.measurements)[None, :])
        distance = 1 - likeness + gain_weight * gain_gap_db
        nearest = np.argpartition(distance, min(k, likeness.shape[1]) - 1, axis=1)[:, :k]
        near = np.take_along_axis(distance, nearest, axis=1)
        weight = 1 / (near - near.min(axis=1, keepdims=True) + 0.05)
        position_m = (weight[..., None] * self._train.position_m[nearest]).sum(axis=1)
        position_m /= weight.sum(axis=1, keepdims=True)
        is_blind = ~links.path_mask.any(axis=1)
        trained_blind = ~self._train.measurements.path_mask.any(axis=1)
        if trained_blind.any():
            position_m[is_blind] = self._train.position_m[trained_blind].mean(axis=0)
        elif not gain_weight:  # neither image nor gain tells training links apart
            position_m[is_blind] = self._train.position_m.mean(axis=0)
        return position_m


def _gain_db(links: Measurements) -> Float[np.ndarray, "link"]:
    return 10 * np.log10((10 ** (path_loss_free_power_db(links) / 10)).sum(axis=1))


def _images(links: Measurements, width_bins: float) -> Float[np.ndarray, "link pixel"]:
    """Return images of unit length (0 for links without paths), float32."""
    turn = wrap_rad(links.path_azimuth_rad[..., None] - _AZIMUTH_RAD)
    step = links.path_range_m[..., None] - _RANGE_M
    rows = np.exp(-0.5 * (turn / (width_bins * _AZIMUTH_BIN_RAD)) ** 2)
    columns = np.exp(-0.5 * (step / (width_bins * _RANGE_BIN_M)) ** 2)
    power_db = links.path_power_db
    floor_db = np.where(links.path_mask, power_db, np.inf).min(axis=1, keepdims=True) - 3
    height = np.where(links.path_mask, power_db - floor_db, 0.0)
    image = np.einsum("lp,lpa,lpd->lad", height, rows, columns, optimize=True)
    flat = image.reshape(len(links), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return (flat / np.where(length > 0, length, 1.0)).astype("f4")
