"""Gaussian process on the estimated paths."""

import itertools

import numpy as np
from jaxtyping import Float, Int
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.preprocessing import StandardScaler

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import feature_matrix


class Model(Localizer):
    """Matern 3/2 process on standardised features, the same for both coordinates.

    Scale and noise of the kernel are chosen on validation data instead of by marginal likelihood,
    as for the other models. At most `max_num_links` training links are used, drawn at random, of
    each site as many as of the others or all that it has.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose length scale and noise on validation data."""
        site_index, limit = train.measurements.site_index, self.config["max_num_links"]
        train = train.take(drawn_rows(site_index, limit, np.random.default_rng(self.seed)))
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


def drawn_rows(
    site_index: Int[np.ndarray, "link"], limit: int, rng: np.random.Generator
) -> Int[np.ndarray, "row"]:
    """Draw at most so many links: all of small sites, and of the others as many of each."""
    order, left, drawn = rng.permutation(len(site_index)), limit, []
    sites, counts = np.unique(site_index, return_counts=True)
    for place, site in enumerate(sites[np.argsort(counts, kind="stable")]):
        rows = order[site_index[order] == site][: left // (len(sites) - place)]
        left -= len(rows)
        drawn.append(rows)
    return np.sort(np.concatenate(drawn))


def _kernel(length_scale: float, noise_variance: float) -> object:
    return ConstantKernel(1.0) * Matern(length_scale, nu=1.5) + WhiteKernel(noise_variance)
