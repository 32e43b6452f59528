import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from raymark.models.neural.attention import AttentionPool, FusionBlock, SelfAttention
from raymark.models.neural.soft_moe import Feed, FeedForward, SoftMoe, SparseMoe

WIDTH, HEADS = 8, 2

ROUNDING = 1e-12
"""Float64 of values of about 1."""

SINGLE = 1e-5
"""Float32 of sums of some ten values of about 1."""

COARSE = 0.1
"""Bfloat16 has 8 bits; several products in a row of values of about 1."""

MakeFeed = Callable[[], Feed]

every_feed = pytest.mark.parametrize(
    "make",
    [
        lambda: SoftMoe(WIDTH, num_experts=3, slots_per_expert=2, hidden=10),
        lambda: SparseMoe(WIDTH, num_experts=3, hidden=10),
        lambda: FeedForward(WIDTH, hidden=10),
    ],
    ids=["soft", "sparse", "plain"],
)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(2, 5, WIDTH)


@pytest.fixture
def mask() -> Tensor:
    return torch.tensor([[True, False, True, True, False], [True] * 5])


def naive_attention(layer: SelfAttention, rows: Tensor) -> Tensor:
    """Multi-head attention among the rows of one set, head by head."""
    query, key, value = layer.query_key_value(rows).chunk(3, dim=1)
    gathered = []
    for head in range(HEADS):
        part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        logits = query[:, part] @ key[:, part].T / math.sqrt(WIDTH // HEADS)
        gathered.append(logits.softmax(dim=1) @ value[:, part])
    result: Tensor = layer.out(torch.cat(gathered, dim=1))
    return result


def test_self_attention_matches_the_formula_when_tokens_are_masked(
    tokens: Tensor, mask: Tensor
) -> None:
    layer = SelfAttention(WIDTH, num_heads=HEADS).double()
    output = layer(tokens.double(), mask)
    for row, valid, result in zip(tokens.double(), mask, output, strict=True):
        expected = naive_attention(layer, row[valid])
        torch.testing.assert_close(result[valid], expected, atol=ROUNDING, rtol=0)
        assert (result[~valid] == 0).all()


def test_self_attention_is_zero_when_a_set_is_empty(tokens: Tensor, mask: Tensor) -> None:
    layer = SelfAttention(WIDTH, num_heads=HEADS)
    mask[0] = False
    output = layer(tokens, mask)
    assert (output[0] == 0).all()
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_self_attention_drops_weights_when_it_trains(tokens: Tensor, mask: Tensor) -> None:
    layer = SelfAttention(WIDTH, num_heads=HEADS, dropout=0.5)
    assert not torch.equal(layer(tokens, mask), layer(tokens, mask))
    layer.eval()
    assert torch.equal(layer(tokens, mask), layer(tokens, mask))


def test_pool_matches_the_formula_when_tokens_are_masked(tokens: Tensor, mask: Tensor) -> None:
    layer = AttentionPool(WIDTH, num_heads=HEADS).double()
    output = layer(tokens.double(), mask)
    for row, valid, result in zip(tokens.double(), mask, output, strict=True):
        key, value = layer.key_value(row[valid]).chunk(2, dim=1)
        gathered = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            logits = key[:, part] @ layer.query[head] / math.sqrt(WIDTH // HEADS)
            gathered.append(logits.softmax(dim=0) @ value[:, part])
        expected = layer.out(torch.cat(gathered))
        torch.testing.assert_close(result, expected, atol=ROUNDING, rtol=0)


def test_pool_is_zero_with_finite_gradients_when_a_set_is_empty(
    tokens: Tensor, mask: Tensor
) -> None:
    layer = AttentionPool(WIDTH, num_heads=HEADS)
    mask[0] = False
    tokens.requires_grad_()
    output = layer(tokens, mask)
    assert (output[0] == 0).all()
    assert (output[1] != 0).any()
    output.square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()
    assert (tokens.grad[0] == 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_pool_is_invariant_when_tokens_are_permuted(tokens: Tensor, mask: Tensor) -> None:
    layer = AttentionPool(WIDTH, num_heads=HEADS)
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted = layer(tokens[:, order], mask[:, order])
    torch.testing.assert_close(permuted, layer(tokens, mask), atol=SINGLE, rtol=0)


def test_block_adds_both_branches_when_the_feed_is_plain(tokens: Tensor) -> None:
    block = FusionBlock(WIDTH, num_heads=HEADS, feed=FeedForward(WIDTH, hidden=10)).double()
    assert isinstance(block.feed, FeedForward)
    nn.init.constant_(block.feed_norm.weight, 2.0)  # else the two norms are alike
    output = block(tokens.double(), torch.ones(2, 5, dtype=torch.bool))
    norm = nn.LayerNorm(WIDTH).double()
    for row, result in zip(tokens.double(), output.tokens, strict=True):
        middle = row + naive_attention(block.attention, norm(row))
        expected = middle + block.feed.layers(2 * norm(middle))
        torch.testing.assert_close(result, expected, atol=ROUNDING, rtol=0)


@every_feed
def test_block_is_equivariant_when_tokens_are_permuted(
    make: MakeFeed, tokens: Tensor, mask: Tensor
) -> None:
    block = FusionBlock(WIDTH, num_heads=HEADS, feed=make())
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted = block(tokens[:, order], mask[:, order]).tokens
    torch.testing.assert_close(permuted, block(tokens, mask).tokens[:, order], atol=SINGLE, rtol=0)


@every_feed
@pytest.mark.parametrize("content", [1e6, float("nan")])
def test_block_ignores_masked_tokens_when_their_content_changes(
    make: MakeFeed, content: float, tokens: Tensor, mask: Tensor
) -> None:
    block = FusionBlock(WIDTH, num_heads=HEADS, feed=make())
    other = tokens.masked_fill(~mask[..., None], content)
    after = block(other, mask).tokens
    assert torch.equal(after, block(tokens, mask).tokens)
    assert (after[~mask] == 0).all()
    after.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in block.parameters())


@every_feed
def test_block_hands_on_routing_and_loss_when_the_feed_has_them(
    make: MakeFeed, tokens: Tensor, mask: Tensor
) -> None:
    feed = make()
    output = FusionBlock(WIDTH, num_heads=HEADS, feed=feed)(tokens, mask, torch.randn(2, WIDTH))
    assert (output.routing is not None) == isinstance(feed, SoftMoe)
    assert (output.balance_loss is not None) == isinstance(feed, SparseMoe)


@every_feed
def test_block_runs_in_bfloat16_when_autocast_is_on(
    make: MakeFeed, tokens: Tensor, mask: Tensor
) -> None:
    block = FusionBlock(WIDTH, num_heads=HEADS, feed=make())
    pool = AttentionPool(WIDTH, num_heads=HEADS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = pool(block(tokens, mask, torch.randn(2, WIDTH)).tokens, mask)
    assert pooled.dtype == torch.bfloat16
    if not isinstance(block.feed, SparseMoe):  # rounding may change a hard choice
        expected = pool(block(tokens, mask).tokens, mask)
        torch.testing.assert_close(pooled.float(), expected, atol=COARSE, rtol=COARSE)
    pooled.float().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in block.parameters())
