"""Extremely randomised trees on what all sites measure of a UE, side by side."""

import itertools

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesRegressor

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, UeLinks, tune
from raymark.benchmark.features import feature_matrix


class Model(Localizer):
    """A forest (Geurts, Ernst and Wehenkel, 2006) that answers in the frame of the scene."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose leaf size and share of features on validation data."""
        ues, seen = UeLinks.of(train.measurements), UeLinks.of(validation.measurements)
        inputs, asked = _features(ues), _features(seen)
        position_m = ues.common_positions(train.position_m)[ues.first_row]
        grid = itertools.product(self.config["min_samples_leaf"], self.config["max_features"])
        forests: dict[tuple[int, float], ExtraTreesRegressor] = {}

        def predict(trial: tuple[int, float]) -> Float[np.ndarray, "link 2"]:
            forest = ExtraTreesRegressor(
                self.config["num_trees"],
                min_samples_leaf=trial[0],
                max_features=trial[1],
                random_state=self.seed,
            )
            forests[trial] = forest.fit(inputs, position_m)
            return seen.positions_of_links(forest.predict(asked))

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
        ues = UeLinks.of(test)
        inputs = _features(ues).astype("f4")
        by_tree = np.stack([tree.predict(inputs) for tree in self._forest.estimators_])
        centred = by_tree - by_tree.mean(axis=0)
        covariance_m2 = np.einsum("tui,tuj->uij", centred, centred) / len(by_tree)
        covariance_m2 += self.config["least_variance_m2"] * np.eye(2)
        return Prediction(
            position_m=ues.positions_of_links(by_tree.mean(axis=0)),
            covariance_m2=ues.covariances_of_links(covariance_m2),
        )


def _features(ues: UeLinks) -> Float[np.ndarray, "ue feature"]:
    """Return the features of each UE's links and the mask of its sites, side by side."""
    per_site = ues.by_site(feature_matrix(ues.links))
    heard = ues.is_heard[..., None]
    return np.concatenate([per_site, heard], axis=2, dtype="f8").reshape(len(ues), -1)
