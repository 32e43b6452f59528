"""Geometry from the sites that see a UE, trees from all sites for the rest."""

import numpy as np
from jaxtyping import Bool, Float
from sklearn.ensemble import ExtraTreesClassifier

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, UeLinks, tune
from raymark.benchmark.features import first_path, path_loss_free_power_db
from raymark.benchmark.fusing import fused_links
from raymark.dataset.schema import LOS
from raymark.models.aoa_toa.model import end_of_first_path
from raymark.models.site_trees.model import Model as SiteTrees

_MEDIAN_OF_SQUARES = 0.455
"""Median of a squared standard normal variable."""
_LEAST_STD = 1e-3


class Model(Localizer):
    """A classifier judges each link by what is measured; those in LOS are located by geometry.

    Links in LOS of one UE are fused by inverse covariance. Training labels teach the classifier,
    and how far ranges and azimuths of LOS links are wrong.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Fit trees and classifier; choose on validation data when to switch."""
        self._trees = SiteTrees(self.config["trees"], seed=self.seed)
        self._trees.fit(train, validation)
        self._fit_los(train)
        rest = self._trees.predict(validation.measurements)

        def predict(threshold: float) -> Float[np.ndarray, "link 2"]:
            return self._switched(validation.measurements, rest, threshold).position_m

        self._threshold, trials = tune(self.config["thresholds"], predict, validation)
        self.choices = {
            "threshold": self._threshold,
            "validation_error_m": trials,
            "trees": self._trees.choices,
        }
        self.num_parameters = self._trees.num_parameters

    def predict(self, test: Measurements) -> Prediction:
        """Return geometry where a site is judged in LOS, else what the trees tell."""
        return self._switched(test, self._trees.predict(test), self._threshold)

    def _fit_los(self, train: Labelled) -> None:
        is_los = train.los == LOS
        self._classifier = ExtraTreesClassifier(
            self.config["num_trees"], min_samples_leaf=2, random_state=self.seed
        ).fit(self._clues(train.measurements), is_los)
        position_m, found = self._ends(train.measurements)
        sure = is_los & found
        self._std = np.full(2, np.inf)
        if sure.any():
            off = _along_and_across(position_m, position_m - train.position_m)[sure]
            off[:, 1] /= np.linalg.norm(position_m[sure], axis=1).clip(_LEAST_STD)
            self._std = np.sqrt(np.median(off**2, axis=0) / _MEDIAN_OF_SQUARES).clip(_LEAST_STD)

    def _switched(self, links: Measurements, rest: Prediction, threshold: float) -> Prediction:
        position_m, found = self._ends(links)
        is_los = self._is_los(links, threshold) & found
        told = Prediction(position_m=position_m, covariance_m2=self._covariances(position_m))
        return fused_links(UeLinks.of(links), told, is_los, rest)

    def _is_los(self, links: Measurements, threshold: float) -> Bool[np.ndarray, "link"]:
        if not np.isfinite(self._std).all():
            return np.zeros(len(links), dtype=bool)
        column = list(self._classifier.classes_).index(True)
        return self._classifier.predict_proba(self._clues(links))[:, column] >= threshold

    def _ends(
        self, links: Measurements
    ) -> tuple[Float[np.ndarray, "link 2"], Bool[np.ndarray, "link"]]:
        return end_of_first_path(links, within_db=self.config["within_db"])

    def _covariances(
        self, position_m: Float[np.ndarray, "link 2"]
    ) -> Float[np.ndarray, "link 2 2"]:
        """Return how uncertain the ends of LOS paths are: along by range, across by azimuth.

        Of training without LOS links nothing is known, and nothing is switched. At the foot of the
        site, where paths shorter than its height end, any direction is along.
        """
        std = np.where(np.isfinite(self._std), self._std, 1.0)
        range_m = np.linalg.norm(position_m, axis=1)
        is_off = range_m > _LEAST_STD
        along = np.where(is_off, position_m.T / np.where(is_off, range_m, 1.0), [[1.0], [0.0]]).T
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        spread = (std[1] * range_m).clip(_LEAST_STD)
        variance = np.stack([np.full_like(range_m, std[0]), spread], axis=1) ** 2
        axes = np.stack([along, across], axis=2)
        return np.einsum("lia,la,lja->lij", axes, variance, axes)

    def _clues(self, links: Measurements) -> Float[np.ndarray, "link clue"]:
        """Return what tells whether the first path goes straight to the UE, and alone."""
        column, found = first_path(links, within_db=self.config["within_db"])
        rows = np.arange(len(links))
        power_db = path_loss_free_power_db(links)
        range_m = links.path_range_m[rows, column].astype("f8")
        first_db = power_db[rows, column]
        below_m = -range_m * np.cos(links.path_zenith_rad[rows, column])
        clues = [
            range_m,
            first_db + 20 * np.log10(range_m.clip(1.0)),
            first_db - power_db.max(axis=1),
            below_m - links.height_m,
            links.path_azimuth_rad[rows, column],
            links.delay_spread_s * 1e9,
            links.azimuth_spread_rad,
            links.path_mask.sum(axis=1),
        ]
        return np.where(found[:, None], np.stack(clues, axis=1), 0.0)


def _along_and_across(
    position_m: Float[np.ndarray, "link 2"], offset_m: Float[np.ndarray, "link 2"]
) -> Float[np.ndarray, "link 2"]:
    """Return offsets along the way from the site and across it [m]."""
    along = position_m / np.linalg.norm(position_m, axis=1, keepdims=True).clip(_LEAST_STD)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    return np.stack([(offset_m * along).sum(axis=1), (offset_m * across).sum(axis=1)], axis=1)
