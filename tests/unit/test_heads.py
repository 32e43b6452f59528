from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from raymark.models.neural.heads import (
    Extraction,
    HeadOutput,
    Mmoe,
    ModalityTaskMoe,
    Ple,
    PositionHead,
    SharedHead,
    TaskHead,
    TaskRouting,
    task_inputs,
)
from raymark.models.neural.soft_moe import Experts, routing_parameters

WIDTH, HIDDEN, VERTICES, MODALITIES = 6, 10, 4, 3

ROUNDING = 1e-12
"""Float64 of values of about 1."""

COARSE = 0.1
"""Bfloat16 has 8 bits; several products in a row of values of about 1."""

MakeHead = Callable[[], TaskHead]


def mixture(has_residual: bool = False) -> ModalityTaskMoe:
    return ModalityTaskMoe(
        WIDTH, num_vertices=VERTICES, num_experts=3, hidden=HIDDEN, has_residual=has_residual
    ).double()


def mmoe(has_residual: bool = False) -> Mmoe:
    return Mmoe(WIDTH, num_experts=3, hidden=HIDDEN, has_residual=has_residual).double()


def ple(has_residual: bool = False) -> Ple:
    return Ple(
        WIDTH, num_specific=2, num_shared=3, hidden=HIDDEN, has_residual=has_residual
    ).double()


def shared() -> SharedHead:
    return SharedHead(WIDTH, hidden=HIDDEN).double()


every_head = pytest.mark.parametrize("make", [mixture, mmoe, ple, shared])
each_with_residual = pytest.mark.parametrize("make", [mixture, mmoe, ple])


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(2, VERTICES, MODALITIES, WIDTH, dtype=torch.float64)


@pytest.fixture
def mask() -> Tensor:
    return torch.tensor([[True, False, True, False], [True] * 4])


@pytest.fixture
def embedding() -> Tensor:
    return torch.randn(VERTICES, WIDTH, dtype=torch.float64)


def expert(experts: Experts, index: int, row: Tensor) -> Tensor:
    """One expert on one row, written as two linear layers."""
    hidden = F.gelu(row @ experts.weight_in[index] + experts.bias_in[index, 0])
    return hidden @ experts.weight_out[index] + experts.bias_out[index, 0]


def weighted(weights: Tensor, parts: list[Tensor]) -> Tensor:
    total = torch.zeros_like(parts[0])
    for weight, part in zip(weights, parts, strict=True):
        total = total + weight * part
    return total


def routing_of(output: HeadOutput) -> TaskRouting:
    assert output.routing is not None
    return output.routing


@every_head
def test_head_gives_a_row_for_each_vertex_and_the_centroid_when_vertices_are_masked(
    make: MakeHead, tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    features = make()(tokens, mask, embedding).features
    assert features.shape == (2, VERTICES + 1, WIDTH)
    assert features.isfinite().all()


@every_head
@pytest.mark.parametrize("content", [1e6, float("nan")])
def test_head_ignores_masked_vertices_when_their_content_changes(
    make: MakeHead, content: float, tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = make()
    other = tokens.masked_fill(~mask[..., None, None], content)
    before, after = (head(each, mask, embedding).features for each in (tokens, other))
    assert torch.equal(before, after)


@every_head
def test_head_is_invariant_when_modalities_are_permuted(
    make: MakeHead, tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = make()
    before, after = (head(each, mask, embedding).features for each in (tokens, tokens.flip(2)))
    torch.testing.assert_close(after, before, atol=ROUNDING, rtol=0)


@every_head
def test_head_is_equivariant_when_vertices_and_all_their_parameters_are_permuted(
    make: MakeHead, tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = make()
    order = torch.tensor([2, 0, 3, 1])
    tasks = torch.tensor([2, 0, 3, 1, VERTICES])
    expected = head(tokens, mask, embedding).features[:, tasks]
    if isinstance(head, ModalityTaskMoe):  # its slots belong to tasks as the embeddings do
        head.router.phi.data = head.router.phi.data[:, tasks]
    permuted = head(tokens[:, order], mask[:, order], embedding[order]).features
    torch.testing.assert_close(permuted, expected, atol=ROUNDING, rtol=0)


def test_mixture_keeps_its_tasks_when_only_the_tokens_are_permuted(
    tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = mixture()
    order = torch.tensor([2, 0, 3, 1])
    expected = head(tokens, mask, embedding).features
    permuted = head(tokens[:, order], mask[:, order], embedding).features
    torch.testing.assert_close(permuted, expected, atol=ROUNDING, rtol=0)


def test_task_inputs_are_means_of_valid_vertices_when_some_are_masked(
    tokens: Tensor, mask: Tensor
) -> None:
    inputs = task_inputs(tokens, mask)
    torch.testing.assert_close(inputs[0, 2], tokens[0, 2].mean(dim=0), atol=ROUNDING, rtol=0)
    centroid = tokens[0, mask[0]].mean(dim=(0, 1))
    torch.testing.assert_close(inputs[0, -1], centroid, atol=ROUNDING, rtol=0)


def test_shared_head_equals_its_formula_when_vertices_are_masked(
    tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = shared()
    features = head(tokens, mask, embedding).features
    for index, valid in enumerate(mask):
        own = tokens[index].mean(dim=1)
        rows = torch.cat([own[valid], own[valid].mean(dim=0, keepdim=True)])
        expected = rows + head.layers(rows)
        found = features[index, [*valid.nonzero().flatten().tolist(), VERTICES]]
        torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


def test_mixture_matches_a_naive_loop_when_vertices_are_masked(
    tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = mixture()
    features = head(tokens, mask, embedding).features
    tasks = torch.cat([embedding, head.centroid_embedding])
    for row, valid, result in zip(tokens, mask, features, strict=True):
        x = row[valid].flatten(0, 1)
        for task in range(VERTICES + 1):
            parts = []
            for index in range(3):
                logits = 8.0 * F.cosine_similarity(x, head.router.phi[index, task], dim=1)
                slot = logits.softmax(dim=0) @ x + tasks[task]
                parts.append(expert(head.experts, index, slot))
            gate = torch.cat([head.score(part) for part in parts]).softmax(dim=0)
            torch.testing.assert_close(result[task], weighted(gate, parts), atol=ROUNDING, rtol=0)


def test_mixture_routing_sums_to_one_when_vertices_are_masked(
    tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    routing = routing_of(mixture()(tokens, mask, embedding))
    dispatched = routing.dispatch.sum(dim=(1, 2))
    torch.testing.assert_close(dispatched, torch.ones_like(dispatched), atol=ROUNDING, rtol=0)
    gated = routing.gate.sum(dim=2)
    torch.testing.assert_close(gated, torch.ones_like(gated), atol=ROUNDING, rtol=0)
    assert (routing.dispatch[~mask] == 0).all()


@each_with_residual
def test_residual_adds_the_tasks_own_tokens_when_it_is_on(
    make: Callable[[bool], TaskHead], tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    without, head = make(False), make(True)
    head.load_state_dict(without.state_dict())
    added = head(tokens, mask, embedding).features - without(tokens, mask, embedding).features
    torch.testing.assert_close(added, task_inputs(tokens, mask), atol=ROUNDING, rtol=0)


def test_mixture_ties_vertex_tasks_when_the_embedding_is_given(
    tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = mixture()
    names = {name for name, _ in head.named_parameters() if "embedding" in name}
    assert names == {"centroid_embedding"}
    assert head.centroid_embedding.shape == (1, WIDTH)
    embedding.requires_grad_()
    before = head(tokens, mask, embedding).features
    before[:, 1].sum().backward()
    assert embedding.grad is not None
    assert embedding.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [1]


def test_mixture_slots_are_routing_parameters_when_collected() -> None:
    head = mixture()
    assert [id(p) for p in routing_parameters(head)] == [id(head.router.phi), id(head.router.scale)]


def test_mmoe_matches_a_naive_loop_when_vertices_are_masked(
    tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = mmoe()
    features = head(tokens, mask, embedding).features
    for rows, result in zip(task_inputs(tokens, mask), features, strict=True):
        for task, row in enumerate(rows):
            gate = head.centroid_gate if task == VERTICES else head.vertex_gate
            parts = [expert(head.experts, index, row) for index in range(3)]
            expected = weighted(gate(row).softmax(dim=0), parts)
            torch.testing.assert_close(result[task], expected, atol=ROUNDING, rtol=0)


def naive_extraction(layer: Extraction, v: Tensor, c: Tensor, s: Tensor) -> tuple[Tensor, ...]:
    """One layer on the three streams of one row."""
    of_v = [expert(layer.vertex, index, v) for index in range(2)]
    of_c = [expert(layer.centroid, index, c) for index in range(2)]
    of_s = [expert(layer.shared, index, s) for index in range(3)]
    new_v = weighted(layer.vertex_gate(v).softmax(dim=0), of_v + of_s)
    new_c = weighted(layer.centroid_gate(c).softmax(dim=0), of_c + of_s)
    if layer.shared_gate is not None:
        s = weighted(layer.shared_gate(s).softmax(dim=0), of_v + of_c + of_s)
    return new_v, new_c, s


def test_ple_matches_a_naive_loop_when_vertices_are_masked(
    tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = ple()
    features = head(tokens, mask, embedding).features
    for rows, result in zip(task_inputs(tokens, mask), features, strict=True):
        for task, row in enumerate(rows):
            streams = naive_extraction(head.first, row, row, row)
            vertex, centroid, _ = naive_extraction(head.last, *streams)
            expected = centroid if task == VERTICES else vertex
            torch.testing.assert_close(result[task], expected, atol=ROUNDING, rtol=0)


@every_head
def test_head_trains_all_its_parameters_when_a_loss_flows_back(
    make: MakeHead, tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head = make()
    head(tokens, mask, embedding).features.square().sum().backward()
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any()


def test_position_head_keeps_leading_axes_when_features_are_batched() -> None:
    head = PositionHead(WIDTH)
    features = torch.randn(2, 5, WIDTH)
    assert head(features).shape == (2, 5, 2)
    assert head(features[0, 0]).shape == (2,)
    widths = [tuple(p.shape) for p in head.parameters() if p.ndim == 2]
    assert widths == [(256, WIDTH), (128, 256), (2, 128)]


@every_head
def test_head_runs_in_bfloat16_when_autocast_is_on(
    make: MakeHead, tokens: Tensor, mask: Tensor, embedding: Tensor
) -> None:
    head, position = make().float(), PositionHead(WIDTH)
    tokens, embedding = tokens.float(), embedding.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = position(head(tokens, mask, embedding).features)
    expected = position(head(tokens, mask, embedding).features)
    torch.testing.assert_close(found.float(), expected, atol=COARSE, rtol=COARSE)
    found.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
