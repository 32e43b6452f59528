"""The head that weighs the first path's point against a position of its own."""

import pytest
import torch
from torch import Tensor

from raymark.models.neural.anchoring import AnchoredHead, gate_of

SCORES = torch.tensor([-3.0, -0.75, -0.3, 0.0, 0.4, 0.75, 3.0])


def test_gate_is_the_hard_sigmoid() -> None:
    gate = gate_of(SCORES)

    torch.testing.assert_close(gate, ((4 * SCORES + 3) / 6).clamp(0, 1), rtol=0, atol=1e-7)
    assert gate[0] == gate[1] == 0.0
    assert gate[-1] == gate[-2] == 1.0


def test_gate_has_a_gradient_when_it_is_shut_or_open() -> None:
    scores = SCORES.clone().requires_grad_()

    gate_of(scores).sum().backward()

    assert scores.grad is not None
    assert (scores.grad > 0).all()


def drawn(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return features, anchors and targets: half of these are the anchors."""
    features, anchor = (torch.randn(512, size, generator=generator) for size in (8, 2))
    return features, anchor, torch.where(features[:, :1] > 0, anchor, features[:, 1:3])


@pytest.mark.parametrize("bias", [-1.5, 1.5], ids=["shut", "open"])
def test_head_is_trained_when_all_of_its_gates_are_at_one_end(bias: float) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    head = AnchoredHead(8)
    torch.nn.init.constant_(head.gate.bias, bias)
    torch.nn.init.zeros_(head.gate.weight)
    assert gate_of(head.gate(drawn(generator)[0])).unique().item() == float(bias > 0)

    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(300):
        features, anchor, target = drawn(generator)
        optimizer.zero_grad()
        (head(features, anchor) - target).square().mean().backward()
        optimizer.step()

    features, anchor, target = drawn(generator)
    assert (head(features, anchor) - target).square().mean() < 0.15
