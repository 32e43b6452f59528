"""Numbers beside the measurements of a link that a network is given, by a localizer of its own."""

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raymark.benchmark import Labelled, Measurements
from raymark.models.neural.inputs import Augmentation, Batch, BatchSource
from raymark.models.neural.localizer import NeuralLocalizer


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedBatch(Batch):
    """A batch with notes.

    Attributes:
        notes: What the localizer has noted of each link.
    """

    notes: Float[Tensor, "b s note"]


class NotedSource(BatchSource):
    """Makes batches with the notes of their links."""

    def __init__(
        self,
        *args: Any,
        notes: Float[np.ndarray, "link note"],
        device: torch.device,
        **options: Any,
    ) -> None:
        """Take the arguments of `BatchSource`, and the notes of its links."""
        super().__init__(*args, device=device, **options)
        self._notes = torch.from_numpy(notes.astype("f4")).to(device)

    def batch(self, rows: Int[np.ndarray, "b s"], augmentation: Augmentation | None) -> NotedBatch:
        """Return the batch of some windows."""
        batch = super().batch(rows, augmentation)
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        at = torch.from_numpy(np.maximum(rows, 0)).to(self._notes.device)
        return NotedBatch(**values, notes=self._notes[at])


class NotedLocalizer(NeuralLocalizer):
    """A localizer whose network gets notes: of training links they may depend on the labels."""

    @abstractmethod
    def prepare(self, train: Labelled, validation: Labelled) -> None:
        """Learn what notes depend on, before the network is made."""

    @abstractmethod
    def notes(
        self, links: Measurements, training: Labelled | None
    ) -> Float[np.ndarray, "link note"]:
        """Return the notes of links.

        Args:
            links: The measurements.
            training: The same links with their labels while the network learns from them.
        """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Prepare the notes, then train."""
        self.prepare(train, validation)
        super().fit(train, validation)

    def _source(self, links: Measurements, training: Labelled | None = None) -> BatchSource:
        return NotedSource(
            links,
            self.scaler,
            window_size=self.settings.window_size,
            has_image=self.has_image,
            channels=training.channels if training is not None else None,
            device=self.device,
            notes=self.notes(links, training),
        )
