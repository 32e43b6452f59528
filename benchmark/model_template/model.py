"""A model to start from: the nearest training link in the space of standardised features."""

import numpy as np
from scipy.spatial import cKDTree

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import feature_matrix


class Model(Localizer):
    """Mean position of the k nearest training links."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose k on validation data."""
        inputs = feature_matrix(train.measurements)
        self._mean, self._scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
        self._tree = cKDTree(self._standardised(train.measurements))
        self._position_m = train.position_m

        def predict(k: int) -> np.ndarray:
            return self._locate(validation.measurements, k)

        self._k, trials = tune(self.config["num_neighbours"], predict, validation)
        self.choices = {"num_neighbours": self._k, "validation_error_m": trials}
        self.num_parameters = inputs.size

    def predict(self, test: Measurements) -> Prediction:
        """Locate the links of a test."""
        return Prediction(position_m=self._locate(test, self._k))

    def _locate(self, links: Measurements, k: int) -> np.ndarray:
        k = min(k, len(self._position_m))
        nearest = self._tree.query(self._standardised(links), k=list(range(1, k + 1)))[1]
        return self._position_m[nearest].mean(axis=1)

    def _standardised(self, links: Measurements) -> np.ndarray:
        return (feature_matrix(links) - self._mean) / self._scale
