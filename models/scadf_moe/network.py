"""The network of SCADF-MoE, its ablations and its rivals: encoders, fusion, task heads, positions.

Read it from the bottom: `FusionNetwork.forward` is the model in ten lines. (P), (M) and (A) mark
what is known from the paper, its review and the authors' other code; the rest is our decision.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from raymark.config import Strict
from raymark.models.neural.anchoring import AnchoredHead
from raymark.models.neural.attention import FusionBlock
from raymark.models.neural.diversity import diversity_loss
from raymark.models.neural.encoders import (
    AngleEncoder,
    DeepSetsEncoder,
    ImageEncoder,
    ProfileEncoder,
    ScalarEncoder,
)
from raymark.models.neural.heads import (
    Mmoe,
    ModalityTaskMoe,
    Ple,
    PositionHead,
    SharedHead,
    TaskHead,
    TaskRouting,
)
from raymark.models.neural.inputs import Batch, Modality
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.path_sets import NUM_PATH_FEATURES
from raymark.models.neural.soft_moe import (
    Feed,
    FeedForward,
    FeedOutput,
    SoftMoe,
    SparseMoe,
)

NUM_AZIMUTH_BINS = 64


class FusionSettings(Strict):
    """Sizes and choices of the network; every ablation is one of them."""

    width: int = Field(default=64, gt=0)
    image_widths: tuple[int, ...] = (16, 32, 64, 128)
    image_channels: tuple[int, ...] = (0, 1, 2)
    num_heads: int = Field(default=4, gt=0)
    num_blocks: int = Field(default=2, ge=0)
    hidden: int = Field(default=64, gt=0)
    modality_experts: int = Field(default=4, ge=0, description="0 leaves the mixtures out")
    fusion: Literal["soft-moe", "sparse-moe", "dense", "concat"] = "soft-moe"
    num_experts: int = Field(default=8, gt=0)
    slots_per_expert: int = Field(default=2, gt=0)
    is_uniform: bool = Field(default=False, description="Every token to every slot alike")
    head: Literal["modality-task", "mmoe", "ple", "shared"] = "modality-task"
    has_residual: bool = Field(default=True, description="Own tokens beside those of the head")
    diversity: Literal["mmd", "orthogonality", "none"] = "mmd"
    diversity_weight: float = Field(default=0.05, ge=0)
    balance_weight: float = Field(default=0.01, ge=0, description="Of sparse mixtures")
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits_together(self) -> "FusionSettings":
        if self.width % (4 * self.num_heads):
            raise ValueError(f"width must be a multiple of 4 num_heads, got {self.width}")
        if self.fusion == "sparse-moe" and self.num_experts < 2:
            raise ValueError("fusion 'sparse-moe' needs at least 2 experts")
        return self


class Encoders(nn.Module):
    """One encoder per modality (P: four); `paths`, the estimated path set, is ours."""

    def __init__(self, modalities: tuple[Modality, ...], settings: FusionSettings) -> None:
        """Create the parameters."""
        super().__init__()
        self.modalities, width = modalities, settings.width
        makers: dict[str, Callable[[], nn.Module]] = {
            "image": lambda: ImageEncoder(
                width, channels=settings.image_channels, widths=settings.image_widths
            ),
            "profile": lambda: ProfileEncoder(width, num_bins=NUM_AZIMUTH_BINS),
            "distance": lambda: ScalarEncoder(width),
            "gain": lambda: ScalarEncoder(width),
            "ue_angle": lambda: AngleEncoder(width),
            "paths": lambda: DeepSetsEncoder(width, num_features=NUM_PATH_FEATURES),
        }
        self.of = nn.ModuleDict({name: makers[name]() for name in modalities})

    def forward(self, batch: Batch) -> Float[Tensor, "b s m d"]:
        """Return one token for every vertex and modality."""
        return torch.stack([self._encode(name, batch) for name in self.modalities], dim=2)

    def _encode(self, name: Modality, batch: Batch) -> Float[Tensor, "b s d"]:
        if name == "paths":
            return self.of[name](batch.paths, batch.path_mask)
        if name == "image" and batch.image is not None:
            # Most of the cost is in images: none is spent on missing vertices.
            present = self.of[name](batch.image[batch.mask].unsqueeze(1)).squeeze(1)
            tokens = present.new_zeros((*batch.mask.shape, present.shape[-1]))
            tokens[batch.mask] = present
            return tokens
        return self.of[name](getattr(batch, name))


class Embeddings(nn.Module):
    """Tells tokens their modality, vertex and band; the band is a function of the carrier."""

    def __init__(self, num_modalities: int, window_size: int, width: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.modality = nn.Parameter(0.02 * torch.randn(num_modalities, width))
        self.vertex = nn.Parameter(0.02 * torch.randn(window_size, width))
        self.band = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))

    def forward(
        self, tokens: Float[Tensor, "b s m d"], carrier: Float[Tensor, "b"]
    ) -> tuple[Float[Tensor, "b s m d"], Float[Tensor, "b d"]]:
        """Return tokens with embeddings added, and the band's vector, which conditions routers."""
        band = self.band(carrier.unsqueeze(-1))
        tokens = tokens + self.modality + self.vertex[:, None] + band[:, None, None]
        return tokens, band


class ModalityMixtures(nn.Module):
    """A soft mixture with one slot per expert over the vertices of each modality (A: M4oE)."""

    def __init__(self, num_modalities: int, settings: FusionSettings) -> None:
        """Create the parameters."""
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(settings.width) for _ in range(num_modalities))
        self.mixtures = nn.ModuleList(
            SoftMoe(
                settings.width,
                num_experts=settings.modality_experts,
                slots_per_expert=1,
                hidden=settings.hidden,
                is_uniform=settings.is_uniform,
            )
            for _ in range(num_modalities)
        )

    def forward(
        self,
        tokens: Float[Tensor, "b s m d"],
        mask: Bool[Tensor, "b s"],
        band: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b s m d"]:
        """Return tokens to which each modality's mixture has added its part."""
        parts = zip(self.norms, self.mixtures, tokens.unbind(dim=2), strict=True)
        mixed = [one + mixture(norm(one), mask, band).tokens for norm, mixture, one in parts]
        return torch.stack(mixed, dim=2)


class ConcatMlp(nn.Module):
    """The rival without attention: one MLP over all tokens of a window at once."""

    def __init__(self, num_tokens: int, settings: FusionSettings) -> None:
        """Create the parameters."""
        super().__init__()
        size = num_tokens * settings.width
        self.norm = nn.LayerNorm(settings.width)
        self.body = nn.Sequential(
            nn.Linear(size, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, size)
        )

    def forward(
        self,
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        condition: Float[Tensor, "b d"] | None = None,
    ) -> FeedOutput:
        """Return the new tokens."""
        del condition
        there = mask.unsqueeze(-1)
        mixed = self.body((self.norm(tokens) * there).flatten(1)).view_as(tokens)
        return FeedOutput(tokens=(tokens + mixed) * there)


class FusionNetwork(nn.Module):
    """From a batch of windows to the positions of their vertices and centroids."""

    def __init__(
        self, modalities: tuple[Modality, ...], window_size: int, settings: FusionSettings
    ) -> None:
        """Make the network for windows of at most `window_size` vertices."""
        super().__init__()
        self.settings, count, width = settings, len(modalities), settings.width
        self.encoders = Encoders(modalities, settings)
        self.embeddings = Embeddings(count, window_size, width)
        self.mixtures = ModalityMixtures(count, settings) if settings.modality_experts else None
        self.blocks = nn.ModuleList(_fusion_blocks(count * window_size, settings))
        self.norm = nn.LayerNorm(width)
        self.head = _task_head(window_size, settings)
        # Only a network that sees estimated paths may take the first path's point as a candidate.
        self.is_anchored = "paths" in modalities
        self.vertex_position = AnchoredHead(2 * width) if self.is_anchored else PositionHead(width)
        self.centroid_position = PositionHead(width)

    def forward(self, batch: Batch) -> NetworkOutput:
        """Locate the vertices and the centroid of every window."""
        encoded = self.encoders(batch)
        tokens, band = self.embeddings(encoded, batch.carrier)
        if self.mixtures is not None:
            tokens = self.mixtures(tokens, batch.mask, band)
        tokens, fed = self._fuse(tokens, batch.mask, band)
        tasks = self.head(self.norm(tokens), batch.mask, self.embeddings.vertex)
        vertices, centroid = tasks.features[:, :-1], tasks.features[:, -1]
        return NetworkOutput(
            position=self._vertex_positions(vertices, encoded, batch),
            centroid=self.centroid_position(centroid),
            penalty=self._penalty(fed, tasks.routing),
            diagnostics=_diagnostics(fed, tokens.shape[2]),
        )

    def _vertex_positions(
        self, features: Float[Tensor, "b s d"], encoded: Float[Tensor, "b s m d"], batch: Batch
    ) -> Float[Tensor, "b s 2"]:
        if not self.is_anchored:
            return self.vertex_position(features)
        # Whether a path is the line of sight is seen best before tokens are mixed.
        own = encoded[:, :, self.encoders.modalities.index("paths")]
        return self.vertex_position(torch.cat([features, own], dim=-1), batch.anchor)

    def _fuse(
        self,
        tokens: Float[Tensor, "b s m d"],
        mask: Bool[Tensor, "b s"],
        band: Float[Tensor, "b d"],
    ) -> tuple[Float[Tensor, "b s m d"], list[FeedOutput]]:
        """Let all tokens of a window work on each other; return them and what each block did."""
        flat, shape = tokens.flatten(1, 2), tokens.shape[1:3]
        present = mask.repeat_interleave(shape[1], dim=1)
        fed: list[FeedOutput] = []
        for block in self.blocks:
            fed.append(block(flat, present, band))
            flat = fed[-1].tokens
        return flat.unflatten(1, shape), fed

    def _penalty(self, fed: list[FeedOutput], task: TaskRouting | None) -> Float[Tensor, ""]:
        """Return the weighted losses that keep experts apart (P: MMD) and sparse ones in use."""
        outputs = [one.routing.outputs for one in fed if one.routing is not None]
        outputs += [task.outputs] if task is not None else []
        settings, total = self.settings, self.norm.weight.new_zeros(())
        if settings.diversity != "none" and outputs:
            losses = [diversity_loss(one, settings.diversity) for one in outputs]
            total = total + settings.diversity_weight * torch.stack(losses).mean()
        balance = [one.balance_loss for one in fed if one.balance_loss is not None]
        return total + settings.balance_weight * torch.stack(balance).mean() if balance else total


def _fusion_blocks(num_tokens: int, settings: FusionSettings) -> list[nn.Module]:
    if settings.fusion == "concat":
        return [ConcatMlp(num_tokens, settings)]
    return [
        FusionBlock(
            settings.width,
            num_heads=settings.num_heads,
            feed=_feed(settings),
            dropout=settings.dropout,
        )
        for _ in range(settings.num_blocks)
    ]


def _feed(settings: FusionSettings) -> Feed:
    """Return the feed-forward part of a block (P: soft mixture)."""
    width, hidden, count = settings.width, settings.hidden, settings.num_experts
    if settings.fusion == "soft-moe":
        return SoftMoe(
            width,
            num_experts=count,
            slots_per_expert=settings.slots_per_expert,
            hidden=hidden,
            is_uniform=settings.is_uniform,
        )
    if settings.fusion == "sparse-moe":
        return SparseMoe(width, num_experts=count, hidden=hidden)
    return FeedForward(width, hidden=hidden)


def _task_head(window_size: int, settings: FusionSettings) -> TaskHead:
    """Return the head (P: modality-task mixture)."""
    width, hidden, has_residual = settings.width, settings.hidden, settings.has_residual
    if settings.head == "modality-task":
        return ModalityTaskMoe(
            width, num_vertices=window_size, hidden=hidden, has_residual=has_residual
        )
    if settings.head == "mmoe":
        return Mmoe(width, hidden=hidden, has_residual=has_residual)
    if settings.head == "ple":
        return Ple(width, hidden=hidden, has_residual=has_residual)
    return SharedHead(width, hidden=hidden)


def _diagnostics(fed: list[FeedOutput], num_modalities: int) -> dict[str, Tensor]:
    """Return each modality's share of the dispatch weights [b m], mean over the blocks.

    (P) claims that the most reliable cue dominates at each band: this is where it would show.
    """
    routings = [one.routing for one in fed if one.routing is not None]
    if not routings:
        return {}
    weights = [one.dispatch.sum(dim=(2, 3)).unflatten(1, (-1, num_modalities)) for one in routings]
    share = torch.stack([w.sum(dim=1) / w.sum(dim=(1, 2)).unsqueeze(-1) for w in weights])
    return {"modality_share": share.mean(dim=0)}
