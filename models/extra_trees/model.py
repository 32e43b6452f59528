"""Extremely randomised trees on the estimated paths."""

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction
from raymark.benchmark.features import feature_matrix
from raymark.models.extra_trees.forest import TunedForest


class Model(Localizer):
    """A forest of extremely randomised trees (Geurts, Ernst and Wehenkel, 2006)."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose leaf size and share of features on validation data."""
        seen = feature_matrix(validation.measurements)
        self._forest = TunedForest(self.config, seed=self.seed)
        self._forest.fit(
            feature_matrix(train.measurements),
            train.position_m,
            lambda forest: forest.predict(seen),
            validation,
        )
        self.choices, self.num_parameters = self._forest.choices, self._forest.num_nodes

    def predict(self, test: Measurements) -> Prediction:
        """Return the forest's mean, and the covariance of its trees."""
        position_m, covariance_m2 = self._forest.predict(feature_matrix(test))
        return Prediction(position_m=position_m, covariance_m2=covariance_m2)
