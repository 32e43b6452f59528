"""What a model was trained on before, as it states it, and whether that holds the test links."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.spatial import cKDTree

from raymark.config import Strict
from raymark.dataset import Dataset
from raymark.dataset.verification import require_content
from raymark.errors import ScoringError

SAME_PLACE_M = 1e-3
"""Two UEs nearer than this [m] are one: positions are stored as float32, and drawn at random."""


class PretrainingData(Strict):
    """One dataset that a model was trained on before it saw the suite."""

    name: str = Field(min_length=1, max_length=200, description="What it is called")
    content_hash: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Of a raymark dataset"
    )
    source: str = Field(default="", description="Where it is from, if it is no raymark dataset")

    @property
    def title(self) -> str:
        """Its name, with the beginning of its hash."""
        return f"{self.name} ({self.content_hash[:12]})" if self.content_hash else self.name


def refuse_suites_dataset(stated: Iterable[PretrainingData], content_hash: str) -> None:
    """Refuse a model that was trained on the dataset of the suite: it holds every test link.

    Raises:
        ScoringError: If that is stated.
    """
    for data in stated:
        if data.content_hash == content_hash:
            raise ScoringError(
                f"pretraining data '{data.name}' is the dataset of the suite "
                f"({content_hash[:12]}), which holds the test links: such a model cannot be scored"
            )


def refuse_test_links(
    stated: Sequence[PretrainingData], datasets: Sequence[Dataset], truths: Iterable[pd.DataFrame]
) -> None:
    """Refuse pretraining datasets that are at hand and hold a UE where one is tested.

    Args:
        stated: What the submission states.
        datasets: Those of them that are at hand.
        truths: The test links of the tasks that are answered; x_m and y_m in the world frame [m].

    Raises:
        ScoringError: If a dataset is not among those stated, or holds the place of a test UE.
        SchemaError: If the arrays of a dataset are not those of its content hash.
    """
    hashes = {data.content_hash for data in stated}
    tested_m = np.unique(np.concatenate([t[["x_m", "y_m"]].to_numpy("f8") for t in truths]), axis=0)
    for dataset in datasets:
        found = dataset.manifest.content_hash
        if found not in hashes:
            raise ScoringError(
                f"{dataset.folder} (content hash {(found or 'none')[:12]}) is not among the "
                "pretraining data that the submission states; state it, or leave it out"
            )
        require_content(dataset)
        nearest_m, _ = cKDTree(dataset.index[["x_m", "y_m"]].to_numpy("f8")).query(tested_m)
        num_same = int((nearest_m < SAME_PLACE_M).sum())
        if num_same:
            raise ScoringError(
                f"{dataset.folder}, stated as pretraining data, holds {num_same} of "
                f"{len(tested_m)} tested places: such a model cannot be scored on this suite"
            )
