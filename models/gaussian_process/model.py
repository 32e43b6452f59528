"""Gaussian process on the estimated paths."""

import itertools

import numpy as np
from jaxtyping import Float
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.preprocessing import StandardScaler

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import feature_matrix


class Model(Localizer):
    """Matern 3/2 process on standardised features, the same for both coordinates.

    Scale and noise of the kernel are chosen on validation data instead of by marginal likelihood,
    as for the other models. At most `max_num_links` training links are used, drawn at random.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose length scale and noise on validation data."""
        limit = self.config["max_num_links"]
        if len(train) > limit:
            draw = np.random.default_rng(self.seed).permutation(len(train))[:limit]
            train = train.take(np.sort(draw))
        self._inputs = StandardScaler().fit(feature_matrix(train.measurements))
        self._targets = StandardScaler().fit(train.position_m)
        inputs = self._inputs.transform(feature_matrix(train.measurements))
        targets = self._targets.transform(train.position_m)
        seen = self._inputs.transform(feature_matrix(validation.measurements))
        grid = itertools.product(self.config["length_scale"], self.config["noise_variance"])
        processes: dict[tuple[float, float], GaussianProcessRegressor] = {}

        def predict(trial: tuple[float, float]) -> Float[np.ndarray, "link 2"]:
            process = GaussianProcessRegressor(_kernel(*trial), optimizer=None)
            processes[trial] = process.fit(inputs, targets)
            return self._targets.inverse_transform(process.predict(seen))

        best, trials = tune(grid, predict, validation)
        self._process = processes[best]
        self.choices = {
            "length_scale": best[0],
            "noise_variance": best[1],
            "validation_error_m": trials,
        }
        self.num_parameters = int(targets.size)

    def predict(self, test: Measurements) -> Prediction:
        """Return the posterior's mean and variance."""
        inputs = self._inputs.transform(feature_matrix(test))
        mean, deviation = self._process.predict(inputs, return_std=True)
        variance_m2 = np.square(deviation * self._targets.scale_)
        return Prediction(
            position_m=self._targets.inverse_transform(mean),
            covariance_m2=variance_m2[:, :, None] * np.eye(2),
        )


def _kernel(length_scale: float, noise_variance: float) -> object:
    return ConstantKernel(1.0) * Matern(length_scale, nu=1.5) + WhiteKernel(noise_variance)
