"""How networks are trained, and how it went."""

import math
from dataclasses import dataclass, field
from typing import cast

from pydantic import Field, model_validator

from raymark.config import Strict


class Recipe(Strict):
    """How a network is trained; the same for all but where a model's card says why."""

    epochs: int | None = Field(default=None, gt=0)
    steps: int | None = Field(
        default=None, gt=0, description="Gradient steps, in place of epochs: as many as they take"
    )
    batch_size: int = Field(gt=0, description="Windows of a batch")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    warm_up_share: float = Field(default=0.1, gt=0, lt=1, description="Of the epochs, for the rate")
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    path_dropout: float = Field(default=0.1, ge=0, lt=1)
    vertex_dropout: float = Field(default=0.3, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_one_length(self) -> "Recipe":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("training is as long as its epochs or as its steps; give one of them")
        return self

    def num_epochs(self, num_windows: int) -> int:
        """Return the number of epochs over so many windows."""
        if self.epochs is not None:
            return self.epochs
        return math.ceil(cast(int, self.steps) / self.num_batches(num_windows))

    def num_batches(self, num_windows: int) -> int:
        """Return the number of batches, and steps, of an epoch over so many windows."""
        return max(1, round(num_windows / self.batch_size))


@dataclass(slots=True, kw_only=True)
class Trained:
    """How training went; with the weights, all that is needed to go on.

    Attributes:
        history: Learning curves, one number an epoch.
        best_epoch: The epoch whose weights were the best on validation data.
        best_error_m: Their mean error there [m].
        loading_s: Time spent on making batches [s].
        total_s: Time spent on training, validation apart [s].
    """

    history: dict[str, list[float]] = field(
        default_factory=lambda: {"train_loss": [], "validation_error_m": []}
    )
    best_epoch: int = -1
    best_error_m: float = float("inf")
    loading_s: float = 0.0
    total_s: float = 0.0
