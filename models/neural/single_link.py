"""Networks that see only the CSI of one link: ResNet, MLP and transformer."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from raymark.models.neural.attention import AttentionPool, FusionBlock
from raymark.models.neural.encoders import ImageEncoder
from raymark.models.neural.heads import PositionHead
from raymark.models.neural.inputs import Batch
from raymark.models.neural.localizer import NeuralLocalizer
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.soft_moe import FeedForward

NUM_BEAMS, NUM_DELAYS = 64, 64
"""Size of the CSI images of the benchmark; images of other panels are brought to it."""

_POWER = 2
"""Channel of the images that holds the log angle-delay power."""


class ResNet(nn.Module):
    """A small ResNet ([he2016]) on chosen channels of the CSI images, and an MLP."""

    def __init__(
        self, *, width: int, channels: tuple[int, ...], image_widths: tuple[int, ...]
    ) -> None:
        """Create the parameters.

        Args:
            width: Features between ResNet and MLP.
            channels: 0 and 1 are the CFR, 2 the log angle-delay power.
            image_widths: Channels of the stages.
        """
        super().__init__()
        self.encoder = ImageEncoder(width, channels=channels, widths=image_widths)
        self.head = PositionHead(width)

    def forward(self, batch: Batch) -> NetworkOutput:
        """Locate every link."""
        return NetworkOutput(position=self.head(self.encoder(images_of(batch))))


class ResNetLocalizer(NeuralLocalizer):
    """A ResNet on the channels of the CSI images that `config: network: channels:` names."""

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        return self.network_of(ResNet)


class CsiMlp(nn.Module):
    """An MLP on the log angle-delay power, averaged over neighbouring delays, and the gain."""

    def __init__(self, *, hidden: int, num_layers: int, delay_bins: int, dropout: float) -> None:
        """Create the parameters.

        Args:
            hidden: Features of the hidden layers.
            num_layers: Hidden layers.
            delay_bins: Delay bins that are averaged.
            dropout: Share of hidden features dropped in training.
        """
        super().__init__()
        self.num_groups = NUM_DELAYS // delay_bins
        sizes = [NUM_BEAMS * self.num_groups + 1, *[hidden] * num_layers]
        layers: list[nn.Module] = []
        for num_in, num_out in itertools.pairwise(sizes):
            layers += [nn.Linear(num_in, num_out), nn.LayerNorm(num_out), nn.GELU()]
            layers += [nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, 2))

    def forward(self, batch: Batch) -> NetworkOutput:
        """Locate every link."""
        power = power_of(batch, self.num_groups).flatten(2)
        features = torch.cat([power, batch.gain.unsqueeze(-1)], dim=-1)
        return NetworkOutput(position=self.layers(features))


class CsiTransformer(nn.Module):
    """A transformer whose tokens are the log angular power spectra of groups of delay bins."""

    def __init__(
        self, *, width: int, num_layers: int, delay_bins: int, hidden: int, dropout: float
    ) -> None:
        """Create the parameters.

        Args:
            width: Features of a token.
            num_layers: Transformer blocks.
            delay_bins: Delay bins in a token.
            hidden: Features within the feed-forward layers.
            dropout: Share dropped in training.
        """
        super().__init__()
        self.delay_bins = delay_bins
        self.embed = nn.Linear(NUM_BEAMS * delay_bins, width)
        self.place = nn.Parameter(0.02 * torch.randn(NUM_DELAYS // delay_bins, width))
        self.blocks = nn.ModuleList(
            FusionBlock(width, num_heads=4, feed=FeedForward(width, hidden=hidden), dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.pool = AttentionPool(width)
        self.head = PositionHead(width)

    def forward(self, batch: Batch) -> NetworkOutput:
        """Locate every link."""
        power = power_of(batch, NUM_DELAYS)
        groups = power.flatten(0, 1).transpose(1, 2).unflatten(1, (-1, self.delay_bins)).flatten(2)
        tokens = self.embed(groups) + self.place
        present = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        for block in self.blocks:
            tokens = block(tokens, present).tokens
        pooled = self.pool(self.norm(tokens), present)
        return NetworkOutput(position=self.head(pooled).view(*power.shape[:2], 2))


def images_of(batch: Batch) -> Float[Tensor, "b s 3 ant subcarrier"]:
    """Return the images of a batch.

    Raises:
        ValueError: If it has none.
    """
    if batch.image is None:
        raise ValueError("the network needs CSI images; add 'image' to `modalities` in model.yaml")
    return batch.image


def power_of(batch: Batch, num_groups: int) -> Float[Tensor, "b s beam group"]:
    """Return the log angle-delay power, averaged over the delay bins of each group."""
    power = images_of(batch)[:, :, _POWER]
    return F.adaptive_avg_pool2d(power, (NUM_BEAMS, num_groups))
