"""Transformer over the angular spectra of one link's delay bins."""

from torch import nn

from raymark.models.neural.localizer import NeuralLocalizer
from raymark.models.neural.single_link import CsiTransformer


class Model(NeuralLocalizer):
    """A transformer on the CSI."""

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        return self.network_of(CsiTransformer)
