"""The localizers that match links with a map: learn, choose how to read, locate, keep."""

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Labelled, Localizer, Measurements, Mixture, Prediction, tune
from raymark.models.twin.features import heard_rows, is_blind
from raymark.models.twin.knowledge import Knowledge
from raymark.models.twin.matching import Modes
from raymark.models.twin.posterior import Posterior, Reading, posterior, weights

READING_NAME = "reading.json"


class TwinLocalizer(Localizer):
    """Compares the estimated paths of links with those that a map has at candidate points.

    Labelled links tell how wrong the map is: widths of the likelihood and detection are learnt at
    their places, for each band, single paths are corrected by those near them, and the antenna is
    put where they have it, if validation links are explained better so. How far the likelihood is
    trusted, whether mean or mode of the posterior is told, and whether paths are corrected, is
    chosen by the errors of validation links that show a path.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Learn what the maps are wrong by, and choose how their posterior is read."""
        self._learn_motion(train)
        links, heard = validation.measurements, heard_rows(validation.measurements)
        self._knowledge, densities = Knowledge.chosen(train, validation, self.config["is_posed"])
        modes = {
            is_corrected: self._modes(links, is_corrected)
            for is_corrected in self.config["is_corrected"]
        }
        grid = itertools.product(*(self.config[name] for name in Reading.__slots__))
        readings = [Reading(**dict(zip(Reading.__slots__, values, strict=True))) for values in grid]

        def predict(reading: Reading) -> Float[np.ndarray, "link 2"]:
            return self._read(modes[reading.is_corrected], links, reading).position_m[heard]

        self._reading, trials = tune(readings, predict, validation.take(heard))
        self.choices = {
            **asdict(self._reading),
            "is_posed": self._knowledge.is_posed,
            "validation_error_m": trials,
            "validation_log_density": densities,
            "calibration": self._knowledge.to_dict(),
        }
        self.num_parameters = self._knowledge.num_parameters

    def predict(self, test: Measurements) -> Prediction:
        """Return position and covariance of every link."""
        found = self._read(self._modes(test, self._reading.is_corrected), test, self._reading)
        return Prediction(position_m=found.position_m, covariance_m2=found.covariance_m2)

    def mixture(self, test: Measurements) -> Mixture:
        """Return the whole posterior of every link: its candidates, and how sharply each fits."""
        modes, temper = self._modes(test, self._reading.is_corrected), self._reading.temper
        return Mixture(
            weight=self._weights(modes, test, temper),
            mean_m=modes.centre_m,
            covariance_m2=modes.covariance_m2 / temper,
        )

    def save(self, folder: Path) -> None:
        """Write what was learnt; the map is no part of it."""
        self._knowledge.save(folder)
        text = json.dumps(asdict(self._reading), indent=1) + "\n"
        (folder / READING_NAME).write_text(text, encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` has written."""
        self._knowledge = Knowledge.load(folder)
        self._reading = Reading(**json.loads((folder / READING_NAME).read_text(encoding="utf-8")))

    def _learn_motion(self, train: Labelled) -> None:
        """Learn what those need that use the other links of a window."""

    def _weights(
        self,
        modes: Modes,
        links: Measurements,  # noqa: ARG002 - for those that use the other links of a window
        temper: float,
    ) -> Float[np.ndarray, "link mode"]:
        """Return the share of each candidate in the posterior of its link."""
        return weights(modes, temper)

    def _read(self, modes: Modes, links: Measurements, reading: Reading) -> Posterior:
        share = self._weights(modes, links, reading.temper)
        return posterior(modes, share, reading, is_blind(links))

    def _modes(self, links: Measurements, is_corrected: bool) -> Modes:
        count = self.config["num_modes"]
        return self._knowledge.modes(links, num_modes=count, is_corrected=is_corrected)
