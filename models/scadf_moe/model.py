"""SCADF-MoE: soft mixtures of experts over the modalities of a short trajectory."""

from torch import nn

from raymark.config import validate
from raymark.models.neural.localizer import NeuralLocalizer
from raymark.models.scadf_moe.network import FusionNetwork, FusionSettings


class Model(NeuralLocalizer):
    """SCADF-MoE, its ablations, and the rivals that share its encoders."""

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        settings = validate(FusionSettings, self.settings.network, where="config: network")
        return FusionNetwork(self.settings.modalities, self.settings.window_size, settings)
