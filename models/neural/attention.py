"""Attention over masked sets of tokens: self-attention, pooling, and the pre-norm block."""

import dataclasses
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float
from torch import Tensor, nn

from raymark.models.neural.soft_moe import (
    Feed,
    FeedOutput,
    masked_softmax,
    widened,
    zero_masked,
)


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product attention among the valid tokens ([vaswani2017], eq. 1).

    Args:
        width: Features of a token, a multiple of the number of heads.
        num_heads: Number of heads.
        dropout: Share of attention weights dropped in training.
    """

    def __init__(self, width: int, *, num_heads: int, dropout: float = 0.0) -> None:
        """Create the parameters."""
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t d"]:
        """Return what each valid token gathers, 0 for masked ones."""
        projected = self.query_key_value(zero_masked(tokens, mask))
        heads = projected.unflatten(-1, (3, self.num_heads, -1)).transpose(1, 3)
        query, key, value = heads.unbind(dim=2)
        # An empty set attends to its zeros: some kernels answer a row without keys with NaN.
        keys = mask | ~mask.any(dim=1, keepdim=True)
        gathered = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=keys[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return zero_masked(self.out(gathered.transpose(1, 2).flatten(2)), mask)


class AttentionPool(nn.Module):
    """One vector from a set: each head gathers the tokens by its own learned query.

    It is the pooling by attention of [lee2019] (section 3.2) with one seed and without its
    feed-forward part.
    """

    def __init__(self, width: int, *, num_heads: int = 4) -> None:
        """Create the parameters."""
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.randn(num_heads, width // num_heads))
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b d"]:
        """Return the pooled vectors; 0 for an empty set."""
        projected = self.key_value(zero_masked(tokens, mask))
        key, value = projected.unflatten(-1, (2, self.num_heads, -1)).unbind(dim=2)
        logits = torch.einsum("bthc,hc->bth", key, self.query) / math.sqrt(self.query.shape[1])
        weights = masked_softmax(widened(logits), mask[..., None], dim=1).to(value.dtype)
        pooled = self.out(torch.einsum("bth,bthc->bhc", weights, value).flatten(1))
        return zero_masked(pooled, mask.any(dim=1))


class FusionBlock(nn.Module):
    """Pre-norm transformer block whose feed-forward layer is given: x + A(N(x)), x + F(N(x)).

    Args:
        width: Features of a token.
        num_heads: Heads of the self-attention.
        feed: The feed-forward layer, a mixture of experts or a plain one.
        dropout: Share dropped in training of the attention weights and of both branches.
    """

    def __init__(self, width: int, *, num_heads: int, feed: Feed, dropout: float = 0.0) -> None:
        """Create the parameters."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads=num_heads, dropout=dropout)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = feed
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        condition: Float[Tensor, "b d"] | None = None,
    ) -> FeedOutput:
        """Return the new tokens (0 where masked) with the routing and loss of the feed layer."""
        tokens = zero_masked(tokens, mask)
        tokens = tokens + self.dropout(self.attention(self.attention_norm(tokens), mask))
        fed: FeedOutput = self.feed(self.feed_norm(tokens), mask, condition)
        return dataclasses.replace(fed, tokens=tokens + self.dropout(fed.tokens))
