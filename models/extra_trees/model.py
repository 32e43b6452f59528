"""Extremely randomised trees on the estimated paths."""

import itertools

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesRegressor

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import feature_matrix


class Model(Localizer):
    """A forest of extremely randomised trees (Geurts, Ernst and Wehenkel, 2006)."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose leaf size and share of features on validation data."""
        inputs, seen = feature_matrix(train.measurements), feature_matrix(validation.measurements)
        grid = itertools.product(self.config["min_samples_leaf"], self.config["max_features"])
        forests: dict[tuple[int, float], ExtraTreesRegressor] = {}

        def predict(trial: tuple[int, float]) -> Float[np.ndarray, "link 2"]:
            forest = ExtraTreesRegressor(
                self.config["num_trees"],
                min_samples_leaf=trial[0],
                max_features=trial[1],
                random_state=self.seed,
            )
            forests[trial] = forest.fit(inputs, train.position_m)
            return forest.predict(seen)

        best, trials = tune(grid, predict, validation)
        self._forest = forests[best]
        self.choices = {
            "min_samples_leaf": best[0],
            "max_features": best[1],
            "validation_error_m": trials,
        }
        self.num_parameters = sum(tree.tree_.node_count for tree in self._forest.estimators_)

    def predict(self, test: Measurements) -> Prediction:
        """Return the forest's mean, and the covariance of its trees."""
        inputs = feature_matrix(test).astype("f4")
        by_tree = np.stack([tree.predict(inputs) for tree in self._forest.estimators_])
        centred = by_tree - by_tree.mean(axis=0)
        covariance_m2 = np.einsum("tli,tlj->lij", centred, centred) / len(by_tree)
        return Prediction(
            position_m=by_tree.mean(axis=0),
            covariance_m2=covariance_m2 + self.config["least_variance_m2"] * np.eye(2),
        )
