"""The head that weighs the first path's point against a position of its own."""

import pytest
import torch
from torch.nn import functional

from raymark.models.neural.anchoring import AnchoredHead, gate_of

SCORES = torch.tensor([-3.0, -0.75, -0.3, 0.0, 0.4, 0.75, 3.0])


def test_gate_is_the_hard_sigmoid() -> None:
    gate = gate_of(SCORES)

    torch.testing.assert_close(gate, functional.hardsigmoid(4 * SCORES), rtol=0, atol=1e-7)
    assert gate[0] == gate[1] == 0.0
    assert gate[-1] == gate[-2] == 1.0


def test_gate_has_a_gradient_when_it_is_shut_or_open() -> None:
    scores = SCORES.clone().requires_grad_()

    gate_of(scores).sum().backward()

    assert scores.grad is not None
    assert (scores.grad > 0).all()


@pytest.mark.parametrize("bias", [-1.5, 1.5], ids=["shut", "open"])
def test_head_is_trained_when_all_of_its_gates_are_at_one_end(bias: float) -> None:
    torch.manual_seed(0)
    features, anchor = torch.randn(64, 8), torch.randn(64, 2)
    in_sight = features[:, :1] > 0
    target = torch.where(in_sight, anchor, features[:, 1:3])
    head = AnchoredHead(8)
    torch.nn.init.constant_(head.gate.bias, bias)
    torch.nn.init.zeros_(head.gate.weight)
    assert gate_of(head.gate(features)).unique().item() == float(bias > 0)

    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        (head(features, anchor) - target).square().mean().backward()
        optimizer.step()

    assert (head(features, anchor) - target).square().mean() < 0.05
