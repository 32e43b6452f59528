import itertools
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from raymark.models.neural.diversity import (
    MAX_ROWS,
    MIN_BANDWIDTH,
    DiversityKind,
    diversity_loss,
    median_bandwidths,
    mmd_squared,
)

ROUNDING = 1e-12
"""Float64 of values of about 1."""

SINGLE = 1e-5
"""Float32 of means of some hundred values of about 1."""

every_loss = pytest.mark.parametrize("kind", ["mmd", "orthogonality"])


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def naive_mmd_squared(x: Tensor, y: Tensor, bandwidths: Tensor) -> float:
    def mean_kernel(first: Tensor, second: Tensor) -> float:
        values = [
            math.exp(-((a - b).norm().item() ** 2) / (2 * bandwidth**2))
            for a, b in itertools.product(first, second)
            for bandwidth in bandwidths.tolist()
        ]
        return sum(values) / len(values)

    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


@pytest.mark.parametrize("num_rows", [1, 7, 200])
def test_mmd_is_exactly_zero_when_a_set_meets_itself(num_rows: int) -> None:
    x = torch.randn(num_rows, 5)
    assert mmd_squared(x, x.clone(), torch.tensor([0.5, 2.0])).item() == 0


def test_mmd_equals_the_closed_form_when_sets_are_point_masses() -> None:
    x, y = torch.zeros(3, 2, dtype=torch.float64), torch.zeros(4, 2, dtype=torch.float64)
    y[:, 0] = 1.5
    bandwidths = torch.tensor([0.5, 2.0], dtype=torch.float64)
    kernel = (math.exp(-(1.5**2) / (2 * 0.5**2)) + math.exp(-(1.5**2) / (2 * 2.0**2))) / 2
    found = mmd_squared(x, y, bandwidths).item()
    assert found == pytest.approx(1 + 1 - 2 * kernel, abs=ROUNDING)


def test_mmd_matches_a_double_loop_when_sets_differ_in_size() -> None:
    x, y = normal(6, 3), normal(4, 3) + 0.5
    bandwidths = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)
    expected = naive_mmd_squared(x, y, bandwidths)
    assert mmd_squared(x, y, bandwidths).item() == pytest.approx(expected, abs=ROUNDING)
    assert expected > 0


def test_bandwidths_are_multiples_of_the_median_distance_when_points_differ() -> None:
    points = torch.tensor([[0.0], [1.0], [3.0]], requires_grad=True)
    found = median_bandwidths(points, (0.5, 1.0))
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0]), atol=SINGLE, rtol=0)
    assert not found.requires_grad


def test_bandwidths_stay_positive_when_points_coincide() -> None:
    found = median_bandwidths(torch.ones(4, 3), (1.0, 2.0))
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0]) * MIN_BANDWIDTH)


def test_mmd_loss_matches_pairwise_calls_when_there_are_several_experts() -> None:
    outputs = normal(4, 3, 2, 5)
    rows = F.normalize(outputs, dim=-1).transpose(0, 1).flatten(1, 2)
    bandwidths = median_bandwidths(rows.flatten(0, 1))
    terms = [
        math.exp(-naive_mmd_squared(x, y, bandwidths)) for x, y in itertools.combinations(rows, 2)
    ]
    found = diversity_loss(outputs, "mmd").item()
    assert found == pytest.approx(sum(terms) / 3, abs=ROUNDING)


def test_orthogonality_loss_matches_pairwise_cosines_when_there_are_several_experts() -> None:
    outputs = normal(4, 3, 2, 5)
    terms = [
        F.cosine_similarity(outputs[:, i], outputs[:, k], dim=-1).square().mean().item()
        for i, k in itertools.combinations(range(3), 2)
    ]
    found = diversity_loss(outputs, "orthogonality").item()
    assert found == pytest.approx(sum(terms) / 3, abs=ROUNDING)


@every_loss
def test_loss_is_one_when_experts_agree(kind: DiversityKind) -> None:
    outputs = torch.randn(8, 1, 2, 5).expand(-1, 4, -1, -1)
    assert diversity_loss(outputs, kind).item() == pytest.approx(1.0, abs=SINGLE)


def test_orthogonality_loss_is_zero_when_experts_are_orthogonal() -> None:
    outputs = torch.eye(4)[None, :, None, :].expand(3, -1, -1, -1)
    assert diversity_loss(outputs, "orthogonality").item() == 0


def test_mmd_loss_equals_the_closed_form_when_experts_are_orthogonal_constants() -> None:
    # All distances between experts are sqrt(2). With 20 experts most pairs are of two experts, so
    # the median is sqrt(2) as well.
    outputs = torch.eye(20, dtype=torch.float64)[None, :, None, :].expand(3, -1, -1, -1)
    kernel = sum(math.exp(-1 / (2 * factor**2)) for factor in (0.25, 0.5, 1.0, 2.0, 4.0)) / 5
    found = diversity_loss(outputs, "mmd").item()
    assert found == pytest.approx(math.exp(-(2 - 2 * kernel)), abs=1e-9)  # the root of rounding


@every_loss
def test_loss_falls_when_experts_move_apart(kind: DiversityKind) -> None:
    common, own = normal(8, 1, 2, 5), torch.eye(5, dtype=torch.float64)[None, :4, None, :]
    losses = [diversity_loss(common + gap * own, kind).item() for gap in (0.0, 0.5, 2.0, 8.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1] + 0.1


@every_loss
def test_experts_move_apart_when_they_follow_the_gradient(kind: DiversityKind) -> None:
    outputs = (torch.randn(8, 1, 2, 5) + 0.1 * torch.randn(8, 4, 2, 5)).requires_grad_()
    optimiser = torch.optim.Adam([outputs], lr=0.05)
    losses = []
    for _ in range(30):
        loss = diversity_loss(outputs, kind)
        optimiser.zero_grad()
        loss.backward()
        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


@every_loss
def test_loss_ignores_scale_when_outputs_grow(kind: DiversityKind) -> None:
    outputs = normal(4, 3, 2, 5)
    expected = diversity_loss(outputs, kind).item()
    assert diversity_loss(100 * outputs, kind).item() == pytest.approx(expected, abs=ROUNDING)


@every_loss
def test_loss_looks_at_the_first_rows_when_there_are_many(kind: DiversityKind) -> None:
    outputs = torch.randn(MAX_ROWS, 3, 2, 5)
    expected = diversity_loss(outputs[: MAX_ROWS // 2], kind)
    assert torch.equal(diversity_loss(outputs, kind), expected)


@pytest.mark.parametrize("kind", ["mmd", "orthogonality", "none"])
def test_loss_is_zero_when_there_is_one_expert(kind: DiversityKind) -> None:
    assert diversity_loss(torch.randn(4, 1, 2, 5), kind).item() == 0


def test_loss_is_zero_when_none_is_asked_for() -> None:
    assert diversity_loss(torch.randn(4, 3, 2, 5), "none").item() == 0


@every_loss
def test_loss_stays_in_float32_when_autocast_is_on(kind: DiversityKind) -> None:
    outputs = torch.randn(4, 3, 2, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = diversity_loss(outputs, kind)
    assert found.dtype == torch.float32
    assert torch.equal(found, diversity_loss(outputs.float(), kind))


@every_loss
def test_gradient_is_finite_when_outputs_are_zero_or_equal(kind: DiversityKind) -> None:
    outputs = torch.zeros(4, 3, 2, 5)
    outputs[2:] = 1
    outputs.requires_grad_()
    diversity_loss(outputs, kind).backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
