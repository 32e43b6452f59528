"""Classical geometry: range and azimuth of the first path give the position."""

import numpy as np
from jaxtyping import Bool, Float

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, tune
from raymark.benchmark.features import first_path


class Model(Localizer):
    """Walks the first path's range from the BS, along its azimuth, as if in line of sight.

    Only the threshold that tells the first path from stronger, later ones is fitted. Links without
    any path are put at the mean training position.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Choose the threshold on validation data."""
        self._fallback_m = train.position_m.mean(axis=0)

        def predict(within_db: float) -> Float[np.ndarray, "link 2"]:
            return self._locate(validation.measurements, within_db)

        self._within_db, trials = tune(self.config["within_db"], predict, validation)
        self.choices = {"within_db": self._within_db, "validation_error_m": trials}
        self.num_parameters = 1

    def predict(self, test: Measurements) -> Prediction:
        """Return the end of the first path of every link."""
        return Prediction(position_m=self._locate(test, self._within_db))

    def _locate(self, links: Measurements, within_db: float) -> Float[np.ndarray, "link 2"]:
        position_m, found = end_of_first_path(links, within_db=within_db)
        return np.where(found[:, None], position_m, self._fallback_m)


def end_of_first_path(
    links: Measurements, *, within_db: float
) -> tuple[Float[np.ndarray, "link 2"], Bool[np.ndarray, "link"]]:
    """Return where the first path of every link ends [m], and whether it has any."""
    column, found = first_path(links, within_db=within_db)
    rows = np.arange(len(links))
    range_m = links.path_range_m[rows, column].astype("f8")
    azimuth_rad = links.path_azimuth_rad[rows, column].astype("f8")
    # The UE stands a known height below the panel, so the range gives the ground distance.
    ground_m = np.sqrt(np.maximum(range_m**2 - links.height_m**2, 0.0))
    return ground_m[:, None] * np.stack([np.cos(azimuth_rad), np.sin(azimuth_rad)], -1), found
