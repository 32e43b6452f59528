"""The mean of the training positions: what a model must beat to have learnt anything."""

import numpy as np

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction


class Model(Localizer):
    """Puts every UE at the mean training position in the site's frame."""

    def fit(self, train: Labelled, validation: Labelled) -> None:  # noqa: ARG002 - the contract
        """Take the mean."""
        self._position_m = train.position_m.mean(axis=0)
        self._covariance_m2 = np.cov(train.position_m, rowvar=False).reshape(2, 2)
        self.num_parameters = 2

    def predict(self, test: Measurements) -> Prediction:
        """Return the mean for every link, and the training positions' covariance."""
        return Prediction(
            position_m=np.tile(self._position_m, (len(test), 1)),
            covariance_m2=np.tile(self._covariance_m2, (len(test), 1, 1)),
        )
