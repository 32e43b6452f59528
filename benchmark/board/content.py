"""What a board shows, as values: who makes one computes nothing for the page, and vice versa."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Integer

from raymark.benchmark.labels import DETECTABLE, NLOS_LABEL

ModelKind = Literal["model", "reference", "bound"]
EVERY = "all"
"""In the columns scene, band and label: the aggregate over all of them."""

HEADLINE_TRACK = "unseen-nlos"
HEADLINE_LABELS = (DETECTABLE, NLOS_LABEL)
HEADLINE_METRICS = ("skill", "p90_m")
"""What models are ranked by: the first of each that the board has.

A run of an older version, whose dataset is not at hand, does not know which links show a path.
"""

CDF_LEVELS: Float[np.ndarray, "101"] = np.linspace(0.0, 1.0, 101)
"""Probabilities at which the quantiles of a `Cdf` stand."""

ROW_KEYS = (
    "task",
    "track",
    "shots",
    "scene",
    "band",
    "fold",
    "model",
    "gain_db",
    "seed",
    "label",
    "num_points",
)
"""Columns of `Board.rows` before its metrics."""

SUMMARY_KEYS = (
    "track",
    "shots",
    "scene",
    "band",
    "label",
    "model",
    "num_points",
    "num_blocks",
    "detectable_share",
)
"""Columns of `Board.summary` before its measures."""

BUDGET_KEYS = (
    "track",
    "shots",
    "scene",
    "band",
    "label",
    "model",
    "gain_db",
    "detectable_share",
)
"""Columns of `Board.budgets` before its metrics."""

COMPARISON_COLUMNS = (
    "track",
    "shots",
    "scene",
    "band",
    "label",
    "metric",
    "model",
    "rival",
    "difference",
    "low",
    "high",
    "p_holm",
)
AUDIT_COLUMNS = (
    "track",
    "scene",
    "fold",
    "num_train",
    "num_validation",
    "num_test",
    "distance_q10_m",
    "distance_q50_m",
    "distance_q90_m",
    "oracle_nn_median_m",
    "oracle_nn_p90_m",
    "centroid_median_m",
    "buffer_m",
    "variogram_m",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteInfo:
    """The suite and the dataset that the board was computed from.

    `truth_is_checked` tells whether the truth was compared with the dataset, `detections_are_known`
    whether links that show a path are told apart from those that do not; `sandboxes` are those in
    which the models of the run were, `none` among them if some were in none.
    """

    name: str
    version: int
    hash: str
    description: str
    dataset_id: str
    content_hash: str
    seeds: tuple[int, ...]
    num_scenes: int
    superseded_by: str | None = None
    truth_is_checked: bool = False
    detections_are_known: bool = False
    sandboxes: tuple[str, ...] = ()

    @property
    def trust(self) -> str:
        """What the numbers stand on, as a sentence or two."""
        truth = (
            "Truth compared with the dataset."
            if self.truth_is_checked
            else "Truth unchecked: the dataset was not at hand (--data)."
        )
        unknown = (
            ""
            if self.detections_are_known
            else " Links that show no path are not told apart: the run did not note them, and the "
            "dataset was not at hand (--data)."
        )
        sandboxes = ", ".join(self.sandboxes) or "not stated"
        return f"{truth}{unknown} Sandbox of the models: {sandboxes}."


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackInfo:
    """A track; `shots` is empty unless models see a number of labelled shots of the test scene."""

    name: str
    title: str
    description: str
    is_ranked: bool
    shots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A row of the board; references and bounds are shown apart and get no rank.

    `inputs` to `replication` say how far its numbers can be relied on; None is not stated.
    """

    name: str
    title: str
    kind: ModelKind
    is_trajectory: bool
    summary: str
    card_markdown: str
    num_parameters: int | None
    fit_s: float | None
    predict_ms_per_point: float | None
    peak_memory_mb: float | None
    verified: bool
    inputs: str | None = None
    pretraining: str | None = None
    openness: str | None = None
    replication: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Buildings of a scene from above: a transparent PNG over `extent_m` (x0, y0, x1, y1)."""

    extent_m: tuple[float, float, float, float]
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ErrorMap:
    """Where the errors of one cell stand: test points, their label and each model's error.

    `is_detected` tells which points show a path, where that is known.
    """

    track: str
    shots: int | None
    scene: str
    band: str
    x_m: Float[np.ndarray, " point"]
    y_m: Float[np.ndarray, " point"]
    los: Integer[np.ndarray, " point"]
    is_detected: Bool[np.ndarray, " point"] | None
    error_m: dict[str, Float[np.ndarray, " point"]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cdf:
    """Quantiles of one model's horizontal error in one cell, at `CDF_LEVELS`."""

    track: str
    shots: int | None
    scene: str
    band: str
    label: str
    model: str
    error_m: Float[np.ndarray, "101"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Board:
    """Everything that the outputs show.

    `rows` has one row per task, model, seed and label; `summary` one per cell, label and model,
    with `<metric>_std` over seeds and `<metric>_low`, `<metric>_high` of the bootstrap, and the
    aggregates under scene or band `"all"`. A metric that does not apply is `pandas.NA`.
    `layouts` and `sites_m` (x and y of each base station by its name) are told by scene, where the
    dataset was at hand.
    `budgets` has one row per cell, label, model and processing gain, of tracks that were asked at
    more than one.
    """

    suite: SuiteInfo
    tracks: tuple[TrackInfo, ...]
    models: tuple[ModelRow, ...]
    rows: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    audits: pd.DataFrame
    cdfs: tuple[Cdf, ...]
    maps: tuple[ErrorMap, ...]
    layouts: dict[str, Layout]
    sites_m: dict[str, dict[str, tuple[float, float]]]
    budgets: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(BUDGET_KEYS)))
