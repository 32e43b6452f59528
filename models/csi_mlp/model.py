"""MLP on the angle-delay power and the gain of one link."""

from torch import nn

from raymark.models.neural.localizer import NeuralLocalizer
from raymark.models.neural.single_link import CsiMlp


class Model(NeuralLocalizer):
    """A plain MLP on CSI features."""

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        return self.network_of(CsiMlp)
