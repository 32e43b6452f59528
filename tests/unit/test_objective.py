"""The loss in closed form, and over what is there only."""

import dataclasses

import pytest
import torch
from torch import Tensor

from raymark.models.neural.objective import (
    NetworkOutput,
    centroid_loss,
    masked_mean,
    trajectory_loss,
    vertex_loss,
)

TARGET = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[1.0, 1.0], [9.0, 9.0]]])
MASK = torch.tensor([[True, True], [True, False]])

ERROR = torch.tensor([[[3.0, 4.0], [0.0, 1.0]], [[2.0, 0.0], [50.0, 50.0]]])
"""Squared lengths 25, 1, 4 where there is a vertex; the last one is masked."""

CENTROID = torch.tensor([[1.0, 2.0], [4.0, 5.0]])
"""True means are (1, 0) and (1, 1): squared errors 4 and 25."""


def output_of(**changes: Tensor | None) -> NetworkOutput:
    return dataclasses.replace(NetworkOutput(position=TARGET + ERROR, centroid=CENTROID), **changes)


def value(loss: Tensor) -> float:
    assert loss.shape == ()
    return loss.item()


def test_vertex_loss_is_half_the_mean_square_of_the_vertices_that_are_there() -> None:
    assert value(vertex_loss(output_of(), TARGET, MASK)) == pytest.approx(0.5 * (25 + 1 + 4) / 3)


def test_centroid_loss_is_a_quarter_of_the_mean_square_over_windows() -> None:
    assert value(centroid_loss(output_of(), TARGET, MASK)) == pytest.approx(0.25 * (4 + 25) / 2)


def test_trajectory_loss_is_the_sum_of_its_four_parts() -> None:
    # Means of the positions: (2.5, 2.5) and (3, 1); the centroid is off by (1.5, 0.5), (1, 4).
    agreement = 0.1 * ((1.5**2 + 0.5**2) + (1 + 16)) / 2
    parts = 0.5 * 30 / 3 + 0.25 * 29 / 2 + agreement

    loss = trajectory_loss(output_of(penalty=torch.tensor(8.0)), TARGET, MASK, 0.25)

    assert value(loss) == pytest.approx(parts + 0.25 * 8.0)
    assert value(trajectory_loss(output_of(), TARGET, MASK, 1.0)) == pytest.approx(parts)


def test_trajectory_loss_is_that_of_vertices_when_there_is_no_centroid() -> None:
    loss = trajectory_loss(output_of(centroid=None), TARGET, MASK, 1.0)

    assert value(loss) == value(vertex_loss(output_of(), TARGET, MASK))


def test_trajectory_loss_is_without_penalty_when_its_share_is_zero() -> None:
    with_penalty = trajectory_loss(output_of(penalty=torch.tensor(8.0)), TARGET, MASK, 0.0)

    assert value(with_penalty) == value(trajectory_loss(output_of(), TARGET, MASK, 0.0))


def test_trajectory_loss_is_zero_when_everything_is_right() -> None:
    right = NetworkOutput(position=TARGET, centroid=masked_mean(TARGET, MASK))

    assert value(trajectory_loss(right, TARGET, MASK, 1.0)) == 0.0


def test_masked_vertices_do_not_count_whatever_is_said_of_them() -> None:
    position = (TARGET + ERROR).clone()
    position[1, 1] = -7e3
    target = TARGET.clone()
    target[1, 1] = 4e3

    changed = trajectory_loss(output_of(position=position), target, MASK, 1.0)

    assert value(changed) == value(trajectory_loss(output_of(), TARGET, MASK, 1.0))


def test_masked_vertices_get_no_gradient() -> None:
    position = (TARGET + ERROR).requires_grad_()

    trajectory_loss(output_of(position=position), TARGET, MASK, 1.0).backward()

    assert position.grad is not None
    assert (position.grad[1, 1] == 0).all()
    assert (position.grad[MASK] != 0).any(dim=-1).all()


def test_centroid_loss_is_refused_when_the_network_locates_none() -> None:
    with pytest.raises(ValueError, match="no head for the centroid"):
        centroid_loss(output_of(centroid=None), TARGET, MASK)


def test_masked_mean_is_over_what_is_there_and_zero_when_nothing_is() -> None:
    mask = torch.tensor([[True, True], [False, False]])

    torch.testing.assert_close(masked_mean(TARGET, mask), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
