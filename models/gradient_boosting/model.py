"""Gradient-boosted trees on the estimated paths, one ensemble per coordinate."""

import itertools

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingRegressor

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import feature_matrix

Ensembles = list[HistGradientBoostingRegressor]


class Model(Localizer):
    """Histogram gradient boosting; every coordinate keeps the number of trees that validates best.

    That number is read off the error after each tree, so that it costs no further fit.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose learning rate, leaves and the number of trees on validation data."""
        inputs, seen = feature_matrix(train.measurements), feature_matrix(validation.measurements)
        grid = itertools.product(self.config["learning_rate"], self.config["max_leaf_nodes"])
        fitted: dict[tuple[float, int], tuple[Ensembles, list[int]]] = {}

        def predict(trial: tuple[float, int]) -> Float[np.ndarray, "link 2"]:
            ensembles = [self._fit_one(inputs, target, trial) for target in train.position_m.T]
            staged = [np.stack(list(e.staged_predict(seen))) for e in ensembles]
            truth = validation.position_m.T
            num_trees = [
                1 + int(np.square(stages - target).mean(axis=1).argmin())
                for stages, target in zip(staged, truth, strict=True)
            ]
            fitted[trial] = ensembles, num_trees
            chosen = [stages[n - 1] for stages, n in zip(staged, num_trees, strict=True)]
            return np.stack(chosen, axis=1)

        best, trials = tune(grid, predict, validation)
        self._ensembles, self._num_trees = fitted[best]
        self.choices = {
            "learning_rate": best[0],
            "max_leaf_nodes": best[1],
            "num_trees": self._num_trees,
            "validation_error_m": trials,
        }
        self.num_parameters = sum(self._num_trees) * best[1]

    def predict(self, test: Measurements) -> Prediction:
        """Return the sum of the chosen trees."""
        inputs = feature_matrix(test)
        coordinates = [
            list(ensemble.staged_predict(inputs))[num_trees - 1]
            for ensemble, num_trees in zip(self._ensembles, self._num_trees, strict=True)
        ]
        return Prediction(position_m=np.stack(coordinates, axis=1))

    def _fit_one(
        self,
        inputs: Float[np.ndarray, "link feature"],
        target_m: Float[np.ndarray, "link"],
        trial: tuple[float, int],
    ) -> HistGradientBoostingRegressor:
        ensemble = HistGradientBoostingRegressor(
            learning_rate=trial[0],
            max_leaf_nodes=trial[1],
            max_iter=self.config["max_num_trees"],
            min_samples_leaf=min(20, max(2, len(inputs) // 20)),
            early_stopping=False,
            random_state=self.seed,
        )
        return ensemble.fit(inputs, target_m)
