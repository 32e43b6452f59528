from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from raymark.models.neural.soft_moe import (
    Experts,
    Feed,
    FeedForward,
    FeedOutput,
    Routing,
    SlotRouter,
    SoftMoe,
    SparseMoe,
    balance_loss,
    masked_softmax,
    routing_parameters,
    zero_masked,
)

WIDTH, HIDDEN = 6, 10

ROUNDING = 1e-12
"""Float64 of values of about 1."""

COARSE = 0.05
"""Bfloat16 has 8 bits; a few products in a row of values of about 1."""

MakeFeed = Callable[[], Feed]


def soft(num_experts: int = 3, slots_per_expert: int = 2, **options: bool | float) -> SoftMoe:
    return SoftMoe(
        WIDTH,
        num_experts=num_experts,
        slots_per_expert=slots_per_expert,
        hidden=HIDDEN,
        **options,  # type: ignore[arg-type]
    ).double()


def sparse(num_experts: int = 4, num_chosen: int = 2) -> SparseMoe:
    layer = SparseMoe(WIDTH, num_experts=num_experts, hidden=HIDDEN, num_chosen=num_chosen)
    return layer.double()


def plain() -> FeedForward:
    return FeedForward(WIDTH, hidden=HIDDEN).double()


every_feed = pytest.mark.parametrize(
    "make", [soft, lambda: soft(is_uniform=True), sparse, plain], ids=["soft", "flat", "top", "ff"]
)


def expert(experts: Experts, index: int, rows: Tensor) -> Tensor:
    """One expert on its own, written as two linear layers."""
    hidden = F.gelu(rows @ experts.weight_in[index] + experts.bias_in[index])
    return hidden @ experts.weight_out[index] + experts.bias_out[index]


def routing_of(output: FeedOutput) -> Routing:
    assert output.routing is not None
    return output.routing


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(2, 5, WIDTH, dtype=torch.float64)


@pytest.fixture
def mask() -> Tensor:
    return torch.tensor([[True, False, True, True, False], [True] * 5])


@pytest.fixture
def full() -> Tensor:
    return torch.ones(2, 5, dtype=torch.bool)


def test_experts_equal_separate_networks_when_evaluated_together() -> None:
    experts = Experts(WIDTH, num_experts=3, hidden=HIDDEN).double()
    slots = torch.randn(2, 3, 4, WIDTH, dtype=torch.float64)
    outputs = experts(slots)
    for index in range(3):
        expected = expert(experts, index, slots[:, index])
        torch.testing.assert_close(outputs[:, index], expected, atol=ROUNDING, rtol=0)


def test_experts_start_as_linear_layers_do_when_created() -> None:
    experts = Experts(64, num_experts=4, hidden=256)
    for weight, fan_in in ((experts.weight_in, 64), (experts.weight_out, 256)):
        bound = fan_in**-0.5
        assert weight.abs().max() <= bound
        # The standard deviation of a uniform variable, from 65,536 draws.
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_soft_moe_equals_the_experts_network_when_there_is_one_expert_slot_and_token() -> None:
    layer = soft(num_experts=1, slots_per_expert=1)
    token = torch.randn(3, 1, WIDTH, dtype=torch.float64)
    output = layer(token, torch.ones(3, 1, dtype=torch.bool))
    expected = expert(layer.experts, 0, token)
    torch.testing.assert_close(output.tokens, expected, atol=ROUNDING, rtol=0)


def test_soft_moe_gives_all_tokens_one_output_when_there_is_one_slot(
    tokens: Tensor, full: Tensor
) -> None:
    layer = soft(num_experts=1, slots_per_expert=1)
    output = layer(tokens, full)
    mixed = torch.einsum("bt,btd->bd", routing_of(output).dispatch[..., 0, 0], tokens)
    expected = expert(layer.experts, 0, mixed)[:, None].expand_as(tokens)
    torch.testing.assert_close(output.tokens, expected, atol=ROUNDING, rtol=0)


def test_soft_moe_equals_the_mean_of_experts_when_there_is_one_token_and_equal_slots() -> None:
    layer = soft(num_experts=3, slots_per_expert=1)
    assert layer.router is not None
    layer.router.phi.data[:] = layer.router.phi.data[:1]
    token = torch.randn(2, 1, WIDTH, dtype=torch.float64)
    output = layer(token, torch.ones(2, 1, dtype=torch.bool))
    expected = sum(expert(layer.experts, index, token) for index in range(3)) / 3
    torch.testing.assert_close(output.tokens, expected, atol=ROUNDING, rtol=0)


def test_soft_moe_matches_a_naive_loop_when_tokens_are_masked(tokens: Tensor, mask: Tensor) -> None:
    layer = soft()
    assert layer.router is not None
    output = layer(tokens, mask)
    for row, valid, result in zip(tokens, mask, output.tokens, strict=True):
        x = row[valid]
        phi = layer.router.phi.flatten(0, 1)
        cosine = (x @ phi.T) / x.norm(dim=1)[:, None] / phi.norm(dim=1)[None]
        logits = 8.0 * cosine
        slots = logits.softmax(dim=0).T @ x
        made = torch.stack([expert(layer.experts, i // 2, slots[i]).squeeze(0) for i in range(6)])
        expected = logits.softmax(dim=1) @ made
        torch.testing.assert_close(result[valid], expected, atol=ROUNDING, rtol=0)


def test_routing_weights_sum_to_one_when_tokens_are_masked(tokens: Tensor, mask: Tensor) -> None:
    routing = routing_of(soft()(tokens, mask))
    ones = torch.ones(2, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(routing.dispatch.sum(dim=1), ones, atol=ROUNDING, rtol=0)
    rows = routing.combine.sum(dim=(2, 3))
    torch.testing.assert_close(rows, mask.double(), atol=ROUNDING, rtol=0)
    assert (routing.dispatch[~mask] == 0).all()


@every_feed
def test_feed_is_equivariant_when_tokens_are_permuted(
    make: MakeFeed, tokens: Tensor, mask: Tensor
) -> None:
    layer, order = make(), torch.tensor([3, 1, 4, 0, 2])
    expected = layer(tokens, mask).tokens[:, order]
    permuted = layer(tokens[:, order], mask[:, order]).tokens
    torch.testing.assert_close(permuted, expected, atol=ROUNDING, rtol=0)


@every_feed
@pytest.mark.parametrize("content", [1e6, float("nan")])
def test_feed_ignores_masked_tokens_when_their_content_changes(
    make: MakeFeed, content: float, tokens: Tensor, mask: Tensor
) -> None:
    layer = make()
    before, after = layer(tokens, mask), layer(tokens.masked_fill(~mask[..., None], content), mask)
    assert torch.equal(before.tokens, after.tokens)
    assert (after.tokens[~mask] == 0).all()
    if before.balance_loss is not None:
        assert torch.equal(before.balance_loss, after.balance_loss)


def test_film_changes_nothing_when_it_starts(tokens: Tensor, mask: Tensor) -> None:
    layer = soft()
    condition = torch.randn(2, WIDTH, dtype=torch.float64)
    assert torch.equal(layer(tokens, mask, condition).tokens, layer(tokens, mask).tokens)


def test_film_moves_the_routing_alone_when_it_has_learned(tokens: Tensor, mask: Tensor) -> None:
    layer = soft()
    assert layer.film is not None
    condition = torch.randn(2, WIDTH, dtype=torch.float64)
    without = layer(tokens, mask)
    torch.nn.init.normal_(layer.film.linear.weight)
    assert torch.equal(layer(tokens, mask).tokens, without.tokens)
    moved = routing_of(layer(tokens, mask, condition))
    assert not torch.allclose(moved.dispatch, routing_of(without).dispatch, atol=0.01)
    slots = torch.einsum("btep,btd->bepd", moved.dispatch, tokens)
    assert torch.allclose(moved.outputs, layer.experts(slots), atol=ROUNDING, rtol=0)


def test_dispatch_is_nearly_one_hot_when_the_scale_is_large(tokens: Tensor, full: Tensor) -> None:
    # Cosines of random tokens differ by more than 0.001, hence logits by more than 10.
    routing = routing_of(soft(initial_scale=1e4)(tokens, full))
    assert routing.dispatch.amax(dim=1).min() > 0.99


def test_uniform_router_gives_means_when_tokens_are_masked(tokens: Tensor, mask: Tensor) -> None:
    layer = soft(is_uniform=True)
    output = layer(tokens, mask)
    for row, valid, result in zip(tokens, mask, output.tokens, strict=True):
        mean = row[valid].mean(dim=0)
        expected = sum(expert(layer.experts, index, mean) for index in range(3)) / 3
        assert isinstance(expected, Tensor)
        shape = result[valid].shape
        torch.testing.assert_close(result[valid], expected.expand(shape), atol=ROUNDING, rtol=0)
    assert routing_parameters(layer) == []


def test_soft_moe_gradients_are_finite_when_tokens_are_masked(tokens: Tensor, mask: Tensor) -> None:
    layer = soft()
    tokens = zero_masked(tokens, mask).requires_grad_()
    layer(tokens, mask, torch.randn(2, WIDTH).double()).tokens.square().sum().backward()
    assert tokens.grad is not None
    assert (tokens.grad[~mask] == 0).all()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any()


def test_sparse_moe_matches_a_loop_over_tokens_when_two_are_chosen(
    tokens: Tensor, mask: Tensor
) -> None:
    layer = sparse()
    output = layer(tokens, mask).tokens
    for row, column in mask.nonzero().tolist():
        token = tokens[row, column]
        logits = layer.gate.weight @ token
        chosen = sorted(range(4), key=lambda index: -logits[index].item())[:2]
        weight = {index: logits[index].exp() for index in chosen}
        parts = [weight[i] * expert(layer.experts, i, token)[0] for i in chosen]
        expected = sum(parts) / sum(weight.values())
        torch.testing.assert_close(output[row, column], expected, atol=ROUNDING, rtol=0)


def test_sparse_moe_equals_the_full_mixture_when_all_are_chosen(
    tokens: Tensor, full: Tensor
) -> None:
    layer = sparse(num_experts=3, num_chosen=3)
    gate = (tokens @ layer.gate.weight.T).softmax(dim=-1)
    expected = sum(gate[..., i : i + 1] * expert(layer.experts, i, tokens) for i in range(3))
    output = layer(tokens, full).tokens
    torch.testing.assert_close(output, expected, atol=ROUNDING, rtol=0)


def test_balance_loss_is_one_when_loads_are_equal(tokens: Tensor, mask: Tensor) -> None:
    layer = sparse()
    torch.nn.init.zeros_(layer.gate.weight)
    loss = layer(tokens, mask).balance_loss
    assert loss is not None
    assert loss.item() == pytest.approx(1.0, abs=ROUNDING)


def test_balance_loss_is_the_number_of_experts_when_one_takes_all(full: Tensor) -> None:
    probabilities = torch.zeros(2, 5, 4, dtype=torch.float64)
    probabilities[..., 1] = 1
    chosen = torch.ones(2, 5, 1, dtype=torch.int64)
    assert balance_loss(probabilities, chosen, full).item() == pytest.approx(4.0, abs=ROUNDING)


def test_balance_loss_falls_when_the_gate_follows_its_gradient() -> None:
    layer = sparse()
    # A common offset makes all tokens prefer the same experts, so that there is much to gain.
    tokens = torch.randn(4, 20, WIDTH, dtype=torch.float64) + 1
    mask = torch.ones(4, 20, dtype=torch.bool)
    optimiser = torch.optim.SGD([layer.gate.weight], lr=0.1)
    losses = []
    for _ in range(20):
        loss = layer(tokens, mask).balance_loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert losses[-1] > 0.9


def test_routing_parameters_are_all_slot_vectors_and_scales_when_layers_are_nested() -> None:
    layers = torch.nn.ModuleList([soft(), torch.nn.Sequential(soft(), sparse()), plain()])
    found = {id(parameter) for parameter in routing_parameters(layers)}
    expected = {
        id(parameter)
        for name, parameter in layers.named_parameters()
        if name.endswith((".phi", ".scale"))
    }
    assert len(found) == 4
    assert found == expected


def test_router_logits_stay_in_float32_when_autocast_is_on() -> None:
    router = SlotRouter(WIDTH, num_experts=2, slots_per_expert=1)
    queries = torch.randn(1, 3, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = router(queries)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, router(queries))


def test_masked_softmax_is_zero_when_nothing_takes_part() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[False] * 3, [True, False, True]])
    weights = masked_softmax(logits, mask, dim=1)
    assert (weights[0] == 0).all()
    assert weights[1, 1] == 0
    weights.square().sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@every_feed
def test_feed_runs_in_bfloat16_when_autocast_is_on(
    make: MakeFeed, tokens: Tensor, mask: Tensor
) -> None:
    layer = make().float()
    tokens = tokens.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(tokens, mask).tokens
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), layer(tokens, mask).tokens, atol=COARSE, rtol=COARSE)
    output.float().square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())
