"""SCADF-MoE: soft mixtures of experts over the modalities of a short trajectory."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raymark.benchmark import Measurements
from raymark.config import validate
from raymark.models.neural.inputs import BatchSource
from raymark.models.neural.localizer import NeuralLocalizer
from raymark.models.scadf_moe.diagnostics import slot_similarity, task_gradient_cosine
from raymark.models.scadf_moe.network import FusionNetwork, FusionSettings

_PROBE_WINDOWS = 64


class Model(NeuralLocalizer):
    """SCADF-MoE; its ablations and the rivals on the same encoders are configurations of it."""

    network: FusionNetwork

    def make_network(self) -> FusionNetwork:
        """Return the network of `config: network:`."""
        settings = validate(FusionSettings, self.settings.network, where="config: network")
        return FusionNetwork(self.modalities, self.settings.window_size, settings)

    def diagnose(
        self, train: BatchSource, target: Float[Tensor, "link 2"], held_out: BatchSource
    ) -> dict[str, Any]:
        """Return the share of each modality by band, the slots' likeness, the tasks' agreement."""
        rows = train.rows[:_PROBE_WINDOWS]
        goal = target[torch.from_numpy(np.maximum(rows, 0)).to(self.device)]
        return {
            "modality_share": self._modality_share(held_out, held_out.links),
            "slot_similarity": slot_similarity(self.network),
            "task_gradient_cosine": task_gradient_cosine(
                self.network, train.batch(rows, None), goal
            ),
        }

    @torch.no_grad()
    def _modality_share(
        self, source: BatchSource, links: Measurements
    ) -> dict[str, dict[str, float]]:
        """Return, for each band, the mean share of the dispatch weights of each modality."""
        outputs = [self.network(source.batch(rows, None)) for rows in self.batches(source)]
        shares = [one.diagnostics["modality_share"] for one in outputs if one.diagnostics]
        if not shares:
            return {}
        share = torch.cat(shares).double().cpu().numpy()
        band = links.band_index[source.rows.max(axis=1)]
        return {
            links.bands[i].name: dict(
                zip(self.modalities, share[band == i].mean(axis=0).tolist(), strict=True)
            )
            for i in np.unique(band)
        }
