"""Set transformer over the estimated paths of one link."""

from torch import nn

from raymark.models.neural.anchoring import AnchoredHead
from raymark.models.neural.encoders import SetTransformerEncoder
from raymark.models.neural.inputs import Batch
from raymark.models.neural.localizer import NeuralLocalizer
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.path_sets import NUM_PATH_FEATURES


class PathTransformer(nn.Module):
    """Self-attention among the paths, attention pooling, and the anchored head."""

    def __init__(self, *, width: int, num_layers: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.encoder = SetTransformerEncoder(
            width, num_features=NUM_PATH_FEATURES, num_layers=num_layers
        )
        self.head = AnchoredHead(width)

    def forward(self, batch: Batch) -> NetworkOutput:
        """Locate every link."""
        features = self.encoder(batch.paths, batch.path_mask)
        return NetworkOutput(position=self.head(features, batch.anchor))


class Model(NeuralLocalizer):
    """A set transformer over the estimated paths ([lee2019])."""

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        return self.network_of(PathTransformer)
