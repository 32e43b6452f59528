"""How networks are trained, and how it went."""

from dataclasses import dataclass, field

from pydantic import Field

from raymark.config import Strict


class Recipe(Strict):
    """How a network is trained; the same for all but where a model's card says why."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="Windows of a batch")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    warm_up_share: float = Field(default=0.1, gt=0, lt=1, description="Of the epochs, for the rate")
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    patience: int = Field(default=30, gt=0, description="Epochs without progress on validation")
    clip_norm: float = Field(default=1.0, gt=0)
    path_dropout: float = Field(default=0.1, ge=0, lt=1)
    vertex_dropout: float = Field(default=0.3, ge=0, lt=1)


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
