"""Extremely randomised trees on what all sites measure of a UE, side by side."""

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, UeLinks
from raymark.benchmark.features import feature_matrix
from raymark.models.extra_trees.forest import TunedForest


class Model(Localizer):
    """A forest (Geurts, Ernst and Wehenkel, 2006) that answers in the frame of the scene."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose leaf size and share of features on validation data."""
        ues, seen = UeLinks.of(train.measurements), UeLinks.of(validation.measurements)
        asked = _features(seen)
        self._forest = TunedForest(self.config, seed=self.seed)
        self._forest.fit(
            _features(ues),
            ues.common_positions(train.position_m)[ues.first_row],
            lambda forest: seen.positions_of_links(forest.predict(asked)),
            validation,
        )
        self.choices, self.num_parameters = self._forest.choices, self._forest.num_nodes

    def predict(self, test: Measurements) -> Prediction:
        """Return the forest's mean, and the covariance of its trees."""
        ues = UeLinks.of(test)
        position_m, covariance_m2 = self._forest.predict(_features(ues))
        return Prediction(
            position_m=ues.positions_of_links(position_m),
            covariance_m2=ues.covariances_of_links(covariance_m2),
        )


def _features(ues: UeLinks) -> Float[np.ndarray, "ue feature"]:
    """Return the features of each UE's links and the mask of its sites, side by side."""
    per_site = ues.by_site(feature_matrix(ues.links))
    heard = ues.is_heard[..., None]
    return np.concatenate([per_site, heard], axis=2, dtype="f8").reshape(len(ues), -1)
