"""Encoders: from an image, a profile, a number or a set of paths to one vector a link."""

import itertools
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from raymark.models.neural.attention import AttentionPool, FusionBlock
from raymark.models.neural.soft_moe import FeedForward

_PATCH = 4
"""The first convolution takes patches of 4 by 4: beams of one column, and 4 delay bins."""

_NORM_GROUPS = 4
"""Groups of channels that are normalised each by itself ([wu2018], eq. 7)."""


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al., CVPR 2016), normalised image by image.

    Batch normalisation does not go with averaged weights: its averaged statistics are those of no
    network, and early in training the average erred several times as far as the last weights.
    """

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        """Make the block; a stride or more channels put a 1 x 1 convolution on the shortcut."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False),
            _group_norm(num_out),
            nn.ReLU(),
            nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False),
            _group_norm(num_out),
        )
        is_same = num_in == num_out and stride == 1
        self.shortcut = (
            nn.Identity() if is_same else nn.Conv2d(num_in, num_out, 1, stride, bias=False)
        )

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """Return the block's output."""
        return torch.relu(self.body(image) + self.shortcut(image))


class ImageEncoder(nn.Module):
    """A small ResNet on chosen channels of the CSI images, in bfloat16 where that is fast."""

    def __init__(
        self, width: int, *, channels: tuple[int, ...], widths: tuple[int, ...] = (32, 64, 128, 256)
    ) -> None:
        """Make the encoder.

        Args:
            width: Length of the vector it returns.
            channels: Of the image: 0 and 1 are the CFR, 2 the log angle-delay power.
            widths: Channels of the four stages.
        """
        super().__init__()
        self.channels = list(channels)
        num_halvings = len(widths) - 1
        self.fewest_delays = _PATCH * (2 ** (num_halvings - 1) + 1) if num_halvings else _PATCH
        self.stem = nn.Conv2d(len(channels), widths[0], _PATCH, _PATCH)
        stages = [ResidualBlock(widths[0], widths[0], 1)]
        stages += [ResidualBlock(a, b, 2) for a, b in itertools.pairwise(widths)]
        self.stages = nn.Sequential(*stages)
        self.out = nn.Linear(widths[-1], width)

    def forward(self, image: Float[Tensor, "b s c h w"]) -> Float[Tensor, "b s d"]:
        """Return one vector per image.

        Raises:
            ValueError: The last stage would meet maps of one column. There, the bfloat16 gradient
                of a convolution of stride 2 reads memory that nobody wrote (oneDNN of torch 2.13).
        """
        if image.shape[-1] < self.fewest_delays:
            raise ValueError(
                f"image: {image.shape[-1]} delay bins, but {len(self.stages)} stages need at least "
                f"{self.fewest_delays}"
            )
        flat = image[:, :, self.channels].flatten(0, 1)
        with torch.autocast(flat.device.type, dtype=torch.bfloat16):
            maps = self.stages(self.stem(flat))
        return self.out(maps.float().mean(dim=(2, 3))).unflatten(0, image.shape[:2])


class ProfileEncoder(nn.Module):
    """1-D convolutions over the azimuth of an AoA profile."""

    def __init__(self, width: int, *, num_bins: int) -> None:
        """Make the encoder for profiles of `num_bins` bins."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 32, 5, 2, 2),
            nn.GELU(),
            nn.Conv1d(32, 64, 5, 2, 2),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(64 * math.ceil(num_bins / 4), width),
        )

    def forward(self, profile: Float[Tensor, "b s azimuth"]) -> Float[Tensor, "b s d"]:
        """Return one vector per profile."""
        return self.body(profile.flatten(0, 1).unsqueeze(1)).unflatten(0, profile.shape[:2])


class ScalarEncoder(nn.Module):
    """An MLP on one number.

    It gets no Fourier features of the number: no two links have the same gain to a fraction of a
    decibel, and a network that sees it so finely learns links by heart.
    """

    def __init__(self, width: int) -> None:
        """Make the encoder."""
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, value: Float[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """Return one vector per number."""
        return self.body(value.unsqueeze(-1))


class AngleEncoder(nn.Module):
    """An MLP on cosine and sine of an angle."""

    def __init__(self, width: int) -> None:
        """Make the encoder."""
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, half_turns: Float[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """Return one vector per angle [half turns]."""
        angle = math.pi * half_turns
        return self.body(torch.stack([angle.cos(), angle.sin()], dim=-1))


class DeepSetsEncoder(nn.Module):
    """Layers over each path with the mean and maximum of the set, then attention pooling.

    Zaheer et al., NeurIPS 2017, with the equivariant layers of their eq. 4.
    """

    def __init__(self, width: int, *, num_features: int, num_layers: int = 2) -> None:
        """Make the encoder for paths of `num_features` features."""
        super().__init__()
        self.embed = nn.Linear(num_features, width)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(3 * width),
                nn.Linear(3 * width, width),
                nn.GELU(),
                nn.Linear(width, width),
            )
            for _ in range(num_layers)
        )
        self.pool = AttentionPool(width)

    def forward(
        self, paths: Float[Tensor, "b s path f"], mask: Bool[Tensor, "b s path"]
    ) -> Float[Tensor, "b s d"]:
        """Return one vector per set; an empty set gives zeros."""
        present = mask.flatten(0, 1)
        tokens = self.embed(paths.flatten(0, 1))
        for layer in self.layers:
            tokens = tokens + layer(_with_context(tokens, present))
        return self.pool(tokens, present).unflatten(0, paths.shape[:2])


class SetTransformerEncoder(nn.Module):
    """Self-attention among the paths of a link, then attention pooling (Lee et al., ICML 2019)."""

    def __init__(
        self, width: int, *, num_features: int, num_layers: int = 2, num_heads: int = 4
    ) -> None:
        """Make the encoder for paths of `num_features` features."""
        super().__init__()
        self.embed = nn.Linear(num_features, width)
        self.blocks = nn.ModuleList(
            FusionBlock(width, num_heads=num_heads, feed=FeedForward(width, hidden=2 * width))
            for _ in range(num_layers)
        )
        self.pool = AttentionPool(width)

    def forward(
        self, paths: Float[Tensor, "b s path f"], mask: Bool[Tensor, "b s path"]
    ) -> Float[Tensor, "b s d"]:
        """Return one vector per set; an empty set gives zeros."""
        present = mask.flatten(0, 1)
        tokens = self.embed(paths.flatten(0, 1))
        for block in self.blocks:
            tokens = block(tokens, present).tokens
        return self.pool(tokens, present).unflatten(0, paths.shape[:2])


def _group_norm(num_channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(_NORM_GROUPS, num_channels), num_channels)


def _with_context(
    tokens: Float[Tensor, "n path d"], mask: Bool[Tensor, "n path"]
) -> Float[Tensor, "n path d3"]:
    """Append the mean and the maximum over the paths that are there."""
    there = mask.unsqueeze(-1)
    mean = (tokens * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
    least = torch.finfo(tokens.dtype).min
    largest = tokens.masked_fill(~there, least).amax(dim=1, keepdim=True)
    largest = largest * there.any(dim=1, keepdim=True)
    return torch.cat([tokens, mean.expand_as(tokens), largest.expand_as(tokens)], dim=-1)
