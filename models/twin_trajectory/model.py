"""Trace and match, with the other links of the window."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Labelled, Measurements
from raymark.models.twin.localizer import TwinLocalizer
from raymark.models.twin.matching import Modes
from raymark.models.twin.windows import Windows, step_of, window_weights

MOTION_NAME = "motion.json"


class Model(TwinLocalizer):
    """Candidates of consecutive links lie within steps as large as those of training windows."""

    def save(self, folder: Path) -> None:
        """Write what was learnt; the map is no part of it."""
        super().save(folder)
        text = json.dumps({"step_m": self._step_m}) + "\n"
        (folder / MOTION_NAME).write_text(text, encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` has written."""
        super().load(folder)
        text = (folder / MOTION_NAME).read_text(encoding="utf-8")
        self._step_m = float(json.loads(text)["step_m"])

    def _learn_motion(self, train: Labelled) -> None:
        self._step_m = step_of(train.position_m, _windows_of(train.measurements))

    def _weights(
        self, modes: Modes, links: Measurements, temper: float
    ) -> Float[np.ndarray, "link mode"]:
        windows = _windows_of(links)
        return window_weights(modes, windows, temper=temper, step_m=self._step_m)


def _windows_of(links: Measurements) -> Windows:
    return Windows(window=links.window, step=links.window_step)
